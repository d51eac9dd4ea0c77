"""Our small `.mat` reader reads what scipy reads, and survives what scipy does not."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.io import loadmat, savemat

from nas_skeleton.skeletons.readers.matfile import read_array

NUMERIC = ["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"]


def mat(variables: dict[str, Any], **options: Any) -> bytes:
    file = io.BytesIO()
    savemat(file, variables, **options)
    return file.getvalue()


def element(kind: int, content: bytes, order: str = "<") -> bytes:
    return struct.pack(f"{order}LL", kind, len(content)) + content + bytes(-len(content) % 8)


def matrix(name: bytes, shape: tuple[int, ...], inside: bytes, kind: int = 6, order: str = "<"):
    flags = element(6, struct.pack(f"{order}LL", kind, 0), order)
    sizes = element(5, struct.pack(f"{order}{len(shape)}l", *shape), order)
    return element(14, flags + sizes + element(1, name, order) + inside, order)


LITTLE, BIG = bytes(124) + b"\x00\x01IM", bytes(124) + b"\x01\x00MI"


@settings(deadline=None)
@given(
    wanted=st.sampled_from(NUMERIC).flatmap(
        lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=2, max_dims=4, min_side=0))
    ),
    name=st.sampled_from(["d", "d_skel", "a_rather_long_name_of_31_letters"]),
    compressed=st.booleans(),
)
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_it_reads_what_scipy_wrote_as_scipy_does(wanted: Any, name: str, compressed: bool) -> None:
    content = mat({"before": "text", name: wanted, "then": [1]}, do_compression=compressed)
    array = read_array(content, name, 10**6)
    assert array.dtype == np.float64
    np.testing.assert_array_equal(array, wanted.astype(np.float64))
    np.testing.assert_array_equal(array, loadmat(io.BytesIO(content))[name].astype(np.float64))


@pytest.mark.parametrize(("header", "order"), [(LITTLE, "<"), (BIG, ">")])
def test_both_byte_orders_and_narrowed_numbers_are_read(header: bytes, order: str) -> None:
    # MATLAB stores a double array as small integers where they suffice
    data = element(3, struct.pack(f"{order}6h", 1, -2, 3, -4, 500, 6), order)
    content = header + matrix(b"x", (2, 3), data, order=order)
    np.testing.assert_array_equal(read_array(content, "x", 0), [[1, 3, 500], [-2, -4, 6]])


@pytest.mark.parametrize("amount", [1, 3, 50])
def test_variables_that_inflate_to_gigabytes_are_refused(amount: int) -> None:
    packed = zlib.compress(bytes(10**6))
    content = LITTLE + (struct.pack("<LL", 15, len(packed)) + packed) * amount
    with pytest.raises(ValueError, match="inflate to more than 999999 bytes"):
        read_array(content, "x", 999_999)


def test_cells_within_cells_are_not_followed() -> None:
    nested = b""
    for _ in range(5000):
        nested = matrix(b"", (1, 1), nested, kind=1)
    with pytest.raises(ValueError, match="x is cell"):
        read_array(LITTLE + matrix(b"x", (1, 1), nested, kind=1), "x", 0)


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        ((2, 2), element(9, bytes(24))),  # too few numbers
        ((2, 2), element(9, bytes(40))),  # too many
        ((2, -2), element(9, bytes(32))),
        ((), element(9, bytes(8))),
        ((1,) * 40, element(9, bytes(8))),
        ((2**31 - 1,) * 8, element(9, bytes(8))),
        ((2, 2), element(8, bytes(32))),  # a type that does not exist
        ((2, 2), element(77, bytes(32))),
        ((2, 2), element(14, bytes(32))),
        ((2, 2), struct.pack("<L", 9 | 32 << 16) + bytes(4)),  # "small", but 32 bytes
    ],
)
def test_a_variable_that_contradicts_itself_is_refused(shape: tuple[int, ...], data: bytes) -> None:
    with pytest.raises(ValueError, match=r"damaged"):
        read_array(LITTLE + matrix(b"x", shape, data), "x", 0)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=300), st.sampled_from([LITTLE, BIG, bytes(124)]))
def test_random_bytes_are_refused(content: bytes, header: bytes) -> None:
    with pytest.raises(ValueError, match=r"mat file|variable"):
        read_array(header + content, "x", 1000)
