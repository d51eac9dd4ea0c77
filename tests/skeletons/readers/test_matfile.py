"""Our small `.mat` reader reads what scipy reads, and survives what scipy does not."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.io import loadmat, savemat

from nas_skeleton.skeletons.readers import matfile
from nas_skeleton.skeletons.readers.matfile import Unread, read_array, read_variables

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


# ------------------------------------------------------------------------ all that is in a file


def cell(*entries: Any) -> Any:
    found = np.empty(len(entries), dtype=object)
    for index, entry in enumerate(entries):
        found[index] = entry
    return found


@pytest.mark.parametrize("compressed", [True, False])
def test_numbers_text_cells_and_structs_are_read(compressed: bool) -> None:
    variables = {
        "numbers": np.arange(6.0).reshape(2, 3),
        "text": "grün",
        "rows": np.array(["a", "bcd"]),
        "nothing": "",
        "cell": cell("a", np.eye(2), cell("deep")),
        "struct": {"x": 1.0, "inside": {"names": cell("b", "c")}},
    }
    found = read_variables(mat(variables, do_compression=compressed), 10**6)
    numbers = found.pop("numbers")
    np.testing.assert_array_equal(numbers, variables["numbers"])
    text, eye, deep = found.pop("cell")
    assert (text, deep) == ("a", ["deep"])
    np.testing.assert_array_equal(eye, np.eye(2))
    struct: Any = found.pop("struct")
    assert struct["x"].item() == 1
    assert struct["inside"] == {"names": ["b", "c"]}
    assert found == {"text": "grün", "rows": ["a", "bcd"], "nothing": ""}


def test_struct_arrays_are_lists_of_structs() -> None:
    array = np.array([(1.0, "a"), (2.0, "b")], dtype=[("x", object), ("name", object)])
    first, second = read_variables(mat({"s": array}), 10**6)["s"]
    assert (first["name"], second["name"]) == ("a", "b")
    assert second["x"].item() == 2


def test_kinds_that_are_not_read_are_named() -> None:
    content = mat({"c": np.array([1j]), "l": np.array([True]), "n": np.array([1.0])})
    found = read_variables(content, 10**6)
    assert (found["c"], found["l"]) == (Unread("complex"), Unread("logical"))


def test_deep_nesting_is_followed_no_further_than_it_makes_sense() -> None:
    nested = b""
    for _ in range(5000):
        nested = matrix(b"", (1, 1), nested, kind=1)
    value: Any = read_variables(LITTLE + matrix(b"x", (1, 1), nested, kind=1), 0)["x"]
    while isinstance(value, list):
        (value,) = value
    assert value == Unread("nested too deeply")


def packed(content: bytes) -> bytes:
    """A compressed element of a little-endian file."""
    small = zlib.compress(content)
    return LITTLE + struct.pack("<LL", 15, len(small)) + small


FIELDS = element(5, struct.pack("<l", 1)) + element(1, b"a" * 4_000_000)  # of one letter each
ROWS = element(16, b"a" * 4_000_000)


@pytest.mark.parametrize(
    ("bomb", "reason"),
    [
        (matrix(b"x", (1, 1), FIELDS, kind=2), "x is a struct of more than 1000 fields"),
        (matrix(b"x", (1, 1), element(14, b"") * 500_000, kind=1), "x has more than 9000 entries"),
        (matrix(b"x", (4_000_000, 1), ROWS, kind=4), "x has more than 9000 entries"),
        (matrix(b"x", (2000, 2000), element(1, bytes(4_000_000))), "x has more numbers than such"),
    ],
    ids=["fields", "cells", "rows of text", "numbers that grow"],
)
def test_a_few_kilobytes_are_not_made_into_millions_of_objects(
    monkeypatch: pytest.MonkeyPatch, bomb: bytes, reason: str
) -> None:
    monkeypatch.setattr(matfile, "_MOST_VALUES", 9000)
    content = packed(bomb)
    assert len(content) < 20_000
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=reason):
            read_variables(content, 5_000_000)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_two_variables_of_one_name_are_refused() -> None:
    content = mat({"x": 1.0})
    with pytest.raises(ValueError, match="more than one variable x"):
        read_variables(content + content[128:], 10**6)


MIXED = mat({"n": np.eye(3), "t": "text", "c": cell("a", np.eye(2)), "s": {"x": 1.0, "y": "z"}})


@settings(deadline=None, max_examples=400)
@given(st.lists(st.tuples(st.integers(128, len(MIXED) - 1), st.integers(0, 255)), min_size=1))
def test_damaged_files_are_variables_or_one_line(changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(MIXED)
    for position, value in changes[:4]:
        damaged[position] = value
    fault = ""
    try:
        read_variables(bytes(damaged), 10**6)
    except ValueError as error:
        fault = str(error)
    assert fault.isprintable()
