"""What a pickle may call, and what is made instead: arrays, numbers, text, sets and dicts.

The functions here stand for those that NumPy and Python write into pickles by name. They take what
`unpickling` found in the file, trust none of it, and import and call nothing by its name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_skeleton.errors import InputError

DICT_ITEM = 100
"""Bytes that an item of a dict takes, at most."""
_LONGEST_CODE = 20  # of a type of numbers, such as "<f4"
_MOST_AXES = 32


class Name:
    """A class or function a pickle refers to: only what it is called."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Dtype:
    """Type of an array's numbers, complete once its state is set."""

    __slots__ = ("code", "order")

    def __init__(self, code: str) -> None:
        self.code = code
        self.order = "="

    def dtype(self) -> np.dtype[Any]:
        """As NumPy has it; `InputError` if it is of neither numbers nor text."""
        kind, size = self.code[:1], self.code[1:]
        known = kind in "biufSU" and size.isdecimal() and len(size) <= 9
        if not known or (kind in "biuf" and size not in ("1", "2", "4", "8")):
            raise InputError(
                f"has an array of {self.code[:20]!r}, which is neither numbers nor text"
            )
        dtype = np.dtype(self.code)
        return dtype.newbyteorder(">") if self.order == ">" else dtype.newbyteorder("<")


class Unfinished:
    """An array whose numbers are yet to come, and where the pickle keeps it in mind."""

    __slots__ = ("remembered",)

    def __init__(self) -> None:
        self.remembered: list[int] = []


def array_of(kind: object, shape: object, numbers: object, order: object) -> NDArray[Any]:
    """An array, a view into its numbers: of type `kind`, in the order "C" or "F".

    Raises:
        InputError: an array of objects, or of what is neither numbers nor text.
        TypeError, ValueError: parts that do not belong together.
    """
    if isinstance(numbers, list):
        raise InputError("has an array of objects, which is not read; save lists instead")
    if not isinstance(kind, Dtype) or type(shape) is not tuple or len(shape) > _MOST_AXES:
        raise TypeError("an array is not put together as NumPy does it")
    if not all(type(size) is int and size >= 0 for size in shape) or order not in ("C", "F"):
        raise TypeError("an array is not put together as NumPy does it")
    content = _raw(numbers)
    dtype = kind.dtype()
    if math.prod(shape) * dtype.itemsize != len(content):
        raise ValueError("an array has not as many numbers as it should")
    if not len(content):
        return np.zeros(shape, dtype)
    return np.ndarray(shape, dtype, content, order=order)


def _unfinished(*_arguments: object) -> Unfinished:
    return Unfinished()


def _from_buffer(numbers: object, kind: object, shape: object, order: object) -> NDArray[Any]:
    return array_of(kind, shape, numbers, order)


def _scalar(kind: object, numbers: object) -> object:
    return array_of(kind, (), numbers, "C").item()


def _dtype(code: object, *_flags: object) -> Dtype:
    if isinstance(code, Name):  # `dtype(bool)` and its like; never written by NumPy itself
        raise TypeError("a type of numbers has no code")
    text = code if isinstance(code, str) else str(_raw(code), "ascii")
    if len(text) > _LONGEST_CODE:
        raise ValueError("a type of numbers has a code of no sense")
    return Dtype(text)


def _encoded(text: object, encoding: object) -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise TypeError("bytes are not written as pickle does it")
    return text.encode("latin-1")


def _ordered_dict(*arguments: Any) -> dict[Any, Any]:
    pairs = arguments[0] if arguments else ()
    if type(pairs) not in (tuple, list):
        raise TypeError("a dict is not put together as pickle does it")
    return {hashable(key): value for key, value in pairs}


def _no_bytes(*arguments: object) -> bytes:
    if arguments:
        raise TypeError("bytes are not written as pickle does it")
    return b""


def set_of(items: object = ()) -> set[Any]:
    """A set of plain values; TypeError for anything else."""
    if type(items) not in (tuple, list):
        raise TypeError("a set is not put together as pickle does it")
    return {hashable(item) for item in items}  # type: ignore[attr-defined]


def _raw(numbers: object) -> memoryview:
    """Bytes as the machine holds them, or the text that Python 2 kept them in."""
    if isinstance(numbers, memoryview):
        return numbers
    if isinstance(numbers, str):
        return memoryview(numbers.encode("latin-1"))
    if isinstance(numbers, bytes):
        return memoryview(numbers)
    raise TypeError("an array's numbers are no bytes")


def hashable(key: object) -> object:
    """A key, if it is a plain value: hashing a deeply nested one never ends."""
    if isinstance(key, memoryview):
        return bytes(key)
    if type(key) is tuple and all(type(part) in _PLAIN for part in key):
        return key
    if type(key) not in _PLAIN:
        raise TypeError("a key is neither text nor a number")
    return key


def size_of(argument: object) -> int:
    """Bytes that a function may take for what it makes of an argument."""
    if isinstance(argument, (str, bytes, memoryview)):
        return len(argument)
    return DICT_ITEM * len(argument) if isinstance(argument, (list, tuple)) else 0


_PLAIN = (str, int, float, bool, bytes, type(None))

CLASSES = frozenset({"numpy.ndarray", "builtins.bytes", "__builtin__.bytes"})
"""Classes that are only ever arguments."""

CALLS: dict[str, Callable[..., Any]] = {
    "numpy.dtype": _dtype,
    "_codecs.encode": _encoded,
    "builtins.bytes": _no_bytes,
    "__builtin__.bytes": _no_bytes,
    "builtins.set": set_of,
    "__builtin__.set": set_of,
    "builtins.frozenset": set_of,
    "__builtin__.frozenset": set_of,
    "collections.OrderedDict": _ordered_dict,
    # NumPy 2 calls its core `_core`.
    **{f"numpy.{core}.multiarray._reconstruct": _unfinished for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray.scalar": _scalar for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": _from_buffer for core in ("core", "_core")},
}
"""What a pickle may call, and what is done instead."""
