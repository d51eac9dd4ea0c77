"""What a MATLAB `.mat` file holds, safe for files from anywhere.

Only what skeleton data needs: arrays of real numbers and text, also in cells and structs, of
versions 5 to 7, which MATLAB has written by default since 1996 (MathWorks, "MAT-File Format").
scipy reads far more, but a single wrong byte can make it crash the whole process (seen with 1.17),
and it allocates whatever a file promises. Tests hold this reader against scipy's on sound files.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal, TypeAlias

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
_CELL, _STRUCT, _CHAR, _OPAQUE = 1, 2, 4, 17
_OTHER_CLASSES = {
    _CELL: "cell",
    _STRUCT: "struct",
    3: "object",
    _CHAR: "char",
    5: "sparse",
    16: "a function",
    _OPAQUE: "an object",
}
_LOGICAL, _COMPLEX = 1 << 9, 1 << 11
_TEXT = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
"""Types of data elements that hold text, and how it is written."""
_DEEPEST = 8
_MOST_VALUES, _MOST_FIELDS = 250_000, 1_000
"""Values in all cells and structs of a file, and fields of a struct, that are made into objects: a
kilobyte inflates to millions."""

_NOTHING = np.zeros((0, 0))
_NOTHING.flags.writeable = False

ByteOrder = Literal["little", "big"]


@dataclass(frozen=True)
class Unread:
    """A variable of a kind that is not read, such as "sparse"."""

    kind: str


Value: TypeAlias = "NDArray[np.float64] | str | list[Value] | dict[str, Value] | Unread"
"""Numbers in MATLAB's shape; a row of text; a cell, a struct array or rows of text, in MATLAB's
order; one struct."""


def read_variables(content: bytes, max_bytes: int) -> dict[str, Value]:
    """All variables by name.

    Args:
        content: the whole file.
        max_bytes: how much all compressed variables together may inflate to. What is in the file
            may take twice as much, or twice as much as the file, once its numbers are float64.

    Raises:
        ValueError: damaged, of another version, too large, or two variables of one name; the text
            is one line.
    """
    order = _byte_order(content)
    room = _Room(_MOST_VALUES, 2 * max(max_bytes, len(content)))
    found: dict[str, Value] = {}
    for body in _matrices(memoryview(content)[_HEADER_BYTES:], order, max_bytes):
        name = _name(body, order)
        if name is None or not name.isprintable():
            raise ValueError("damaged .mat file")
        if name in found:
            raise ValueError(f"more than one variable {name}")
        found[name] = _value(body, order, name, room, depth=0)
    return found


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
    if len(parts) < 3:
        return None
    opaque = _class(parts[0][1], order) == _OPAQUE  # which have no dimensions
    return bytes(parts[1 if opaque else 2][1]).decode("ascii", "replace")


def _class(flags: memoryview, order: ByteOrder) -> int:
    return int.from_bytes(flags[:4], order) & 0xFF


@dataclass
class _Room:
    """How many values, and bytes of numbers, a file may yet have."""

    values: int
    bytes: int

    def take(self, name: str, *, values: int = 0, bytes_: int = 0) -> None:
        self.values -= values
        self.bytes -= bytes_
        if self.values < 0:
            raise ValueError(f"{name} has more than {_MOST_VALUES} entries")
        if self.bytes < 0:
            raise ValueError(f"{name} has more numbers than such a file may have; split it")


def _value(body: memoryview, order: ByteOrder, name: str, room: _Room, depth: int) -> Value:
    room.take(name, values=1)
    if not body:  # an empty place in a cell
        return _NOTHING
    parts = _elements(body, order)
    flags, sizes, _ = (part for _, part in _all_of(parts, 3))
    kind = _class(flags, order)
    if depth > _DEEPEST:
        return Unread("nested too deeply")
    if kind == _CHAR:
        number, text = _all_of(parts, 1)[0]
        shape = _shape(sizes, order)
        room.take(name, values=shape[0] if len(text) and shape else 0)
        return _text(text, number, order, shape)
    if kind == _CELL:
        return [_value(inner, order, name, room, depth + 1) for inner in _inner(parts)]
    if kind == _STRUCT:
        return _structs(parts, order, name, room, depth, math.prod(_shape(sizes, order)))
    try:
        return _array(body, order, name, room)
    except _OtherKindError as error:
        return Unread(error.kind)


def _all_of(parts: Iterator[tuple[int, memoryview]], count: int) -> list[tuple[int, memoryview]]:
    found = list(islice(parts, count))
    if len(found) != count:
        raise ValueError("damaged .mat file")
    return found


def _inner(parts: Iterator[tuple[int, memoryview]]) -> Iterator[memoryview]:
    for kind, body in parts:
        if kind != _MATRIX:
            raise ValueError("damaged .mat file")
        yield body


def _structs(
    parts: Iterator[tuple[int, memoryview]],
    order: ByteOrder,
    name: str,
    room: _Room,
    depth: int,
    count: int,
) -> Value:
    (_, width_of), (_, text) = _all_of(parts, 2)
    width = int.from_bytes(width_of[:4], order)
    if len(text) and (not 0 < width <= 1024 or len(text) % width):
        raise ValueError("damaged .mat file")
    if len(text) > _MOST_FIELDS * max(width, 1):
        raise ValueError(f"{name} is a struct of more than {_MOST_FIELDS} fields")
    fields = [
        bytes(text[start : start + width]).split(b"\0")[0].decode("ascii", "replace")
        for start in range(0, len(text), width or 1)
    ]
    if not "".join(fields).isprintable():
        raise ValueError("damaged .mat file")
    values = [_value(inner, order, name, room, depth + 1) for inner in _inner(parts)]
    if len(values) != count * len(fields):
        raise ValueError(f"damaged .mat file: {name} has not as many fields as it should")
    structs: list[Value] = [
        dict(zip(fields, values[start : start + len(fields)], strict=True))
        for start in range(0, len(values), max(len(fields), 1))
    ]
    return structs[0] if len(structs) == 1 else structs


def _text(content: memoryview, number: int, order: ByteOrder, shape: list[int]) -> Value:
    """A row of text; several rows as a list, without the spaces that make them equally long."""
    if number not in _TEXT:
        raise ValueError("damaged .mat file")
    coding = _TEXT[number]
    if coding in ("utf-16", "utf-32"):
        coding += "-le" if order == "little" else "-be"
    text = bytes(content).decode(coding, "replace")
    rows = shape[0] if shape else 0
    if rows <= 1:
        return text
    if len(text) % rows:
        raise ValueError("damaged .mat file")
    return [text[row::rows].rstrip() for row in range(rows)] if text else []


class _OtherKindError(ValueError):
    """A variable that is no array of real numbers; `kind` says what it is."""

    def __init__(self, variable: str, kind: str) -> None:
        super().__init__(f"{variable} is {kind}, not an array of real numbers")
        self.kind = kind


def _shape(sizes: memoryview, order: ByteOrder) -> list[int]:
    shape: list[int] = np.frombuffer(sizes[: len(sizes) // 4 * 4], _dtype("i4", order)).tolist()
    if len(shape) > 32 or min(shape, default=-1) < 0:
        raise ValueError("damaged .mat file")
    return shape


def _array(
    body: memoryview, order: ByteOrder, variable: str, room: _Room | None = None
) -> NDArray[np.float64]:
    parts = list(islice(_elements(body, order), 4))
    flags = int.from_bytes(parts[0][1][:4], order)
    kind = flags & 0xFF
    if kind not in _NUMERIC_CLASSES or flags & (_LOGICAL | _COMPLEX) or len(parts) < 4:
        what = "complex" if flags & _COMPLEX else "logical" if flags & _LOGICAL else None
        what = _OTHER_CLASSES.get(kind, what or f"of class {kind}")
        raise _OtherKindError(variable, what)
    shape, (number, data) = _shape(parts[1][1], order), parts[3]
    if number not in _NUMBERS:
        raise ValueError("damaged .mat file")
    dtype = _dtype(_NUMBERS[number], order)
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"damaged .mat file: {variable} has not as many numbers as it should")
    if room:
        room.take(variable, bytes_=8 * math.prod(shape))
    with np.errstate(invalid="ignore"):  # a signalling NaN is the caller's to find, like any other
        return np.frombuffer(data, dtype).reshape(shape, order="F").astype(np.float64)


def _dtype(code: str, order: ByteOrder) -> np.dtype[np.generic]:
    return np.dtype(code).newbyteorder("<" if order == "little" else ">")
