"""One array of numbers out of a MATLAB `.mat` file, safe for files from anywhere.

Only what skeleton data needs: real, dense, numeric variables of versions 5 to 7, which MATLAB has
written by default since 1996 (MathWorks, "MAT-File Format"). scipy reads far more, but a single
wrong byte can make it crash the whole process (seen with 1.17), and it allocates whatever a file
promises. Tests hold this reader against scipy's on sound files.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from itertools import islice
from typing import Literal

import numpy as np
from numpy.typing import NDArray

_HEADER_BYTES = 128
_MATRIX, _COMPRESSED = 14, 15
# fmt: off
_NUMBERS = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
}
# fmt: on
"""Types of data elements and what they are to NumPy."""
_NUMERIC_CLASSES = range(6, 16)  # double, single, and integers of 8 to 64 bits
_OTHER_CLASSES = {1: "cell", 2: "struct", 3: "object", 4: "char", 5: "sparse"}
_LOGICAL, _COMPLEX = 1 << 9, 1 << 11

ByteOrder = Literal["little", "big"]


def read_array(content: bytes, variable: str, max_bytes: int) -> NDArray[np.float64]:
    """The numbers of one variable, in the shape that MATLAB shows.

    Args:
        content: the whole file.
        variable: its name.
        max_bytes: how much all compressed variables together may inflate to.

    Raises:
        ValueError: damaged, of another version, or without exactly one real numeric array of that
            name; the text is one line.
    """
    order = _byte_order(content)
    found = [
        body
        for body in _matrices(memoryview(content)[_HEADER_BYTES:], order, max_bytes)
        if _name(body, order) == variable
    ]
    if len(found) != 1:
        raise ValueError(f"{'no' if not found else 'more than one'} variable {variable}")
    return _array(found[0], order, variable)


def _byte_order(content: bytes) -> ByteOrder:
    mark = content[126:_HEADER_BYTES]
    if mark == b"IM":
        return "little"
    if mark == b"MI":
        return "big"
    if content.startswith(b"\x89HDF") or content[512:516] == b"\x89HDF":
        raise ValueError("version 7.3 of .mat is not read; save it in MATLAB with -v7")
    raise ValueError("not a .mat file of version 5 to 7, or a damaged one")


def _elements(content: memoryview, order: ByteOrder) -> Iterator[tuple[int, memoryview]]:
    """Type and content of the elements that stand one after the other in `content`."""
    position = 0
    while position < len(content):
        word = int.from_bytes(content[position : position + 4], order)
        if word >> 16:  # a small element: type and length in one word, content in the next
            kind, length, start, end = word & 0xFFFF, word >> 16, position + 4, position + 8
        else:
            kind = word
            length = int.from_bytes(content[position + 4 : position + 8], order)
            start = position + 8
            end = start + length + (0 if kind == _COMPRESSED else -length % 8)
        if start + length > min(end, len(content)):
            raise ValueError("damaged or truncated .mat file")
        yield kind, content[start : start + length]
        position = end


def _matrices(content: memoryview, order: ByteOrder, max_bytes: int) -> Iterator[memoryview]:
    """The variables of a file, unpacked."""
    for kind, body in _elements(content, order):
        if kind == _COMPRESSED:
            unpacked = _inflated(body, max_bytes)
            max_bytes -= len(unpacked)
            yield from (inner for kind, inner in _elements(unpacked, order) if kind == _MATRIX)
        elif kind == _MATRIX:
            yield body


def _inflated(packed: memoryview, max_bytes: int) -> memoryview:
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(packed, max_bytes + 1)
    except zlib.error as error:
        raise ValueError(f"damaged .mat file: {error}") from None
    if len(content) > max_bytes:
        raise ValueError(f"its variables inflate to more than {max_bytes} bytes")
    if not stream.eof:
        raise ValueError("damaged or truncated .mat file")
    return memoryview(content)


def _name(body: memoryview, order: ByteOrder) -> str | None:
    """A variable's name: its third element, after flags and dimensions."""
    parts = list(islice(_elements(body, order), 3))
    return bytes(parts[2][1]).decode("ascii", "replace") if len(parts) == 3 else None


def _array(body: memoryview, order: ByteOrder, variable: str) -> NDArray[np.float64]:
    parts = list(islice(_elements(body, order), 4))
    flags = int.from_bytes(parts[0][1][:4], order)
    kind = flags & 0xFF
    if kind not in _NUMERIC_CLASSES or flags & (_LOGICAL | _COMPLEX) or len(parts) < 4:
        what = "complex" if flags & _COMPLEX else "logical" if flags & _LOGICAL else None
        what = _OTHER_CLASSES.get(kind, what or f"of class {kind}")
        raise ValueError(f"{variable} is {what}, not an array of real numbers")
    sizes, (number, data) = parts[1][1], parts[3]
    shape = np.frombuffer(sizes[: len(sizes) // 4 * 4], _dtype("i4", order)).tolist()
    if number not in _NUMBERS or len(shape) > 32 or min(shape, default=-1) < 0:
        raise ValueError("damaged .mat file")
    dtype = _dtype(_NUMBERS[number], order)
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"damaged .mat file: {variable} has not as many numbers as it should")
    with np.errstate(invalid="ignore"):  # a signalling NaN is the caller's to find, like any other
        return np.frombuffer(data, dtype).reshape(shape, order="F").astype(np.float64)


def _dtype(code: str, order: ByteOrder) -> np.dtype[np.generic]:
    return np.dtype(code).newbyteorder("<" if order == "little" else ">")
