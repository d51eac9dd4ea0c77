"""Pickles from anywhere, opened without running anything in them.

A pickle is a program: Python's own `pickle` calls whatever function it names. This reader is its
own small machine. It knows only the instructions that plain data needs; the few functions that
NumPy's arrays are written with are names to it (`pickled`), nothing is ever imported or called by
its name, and any other name ends the reading. What comes out is made of dicts, lists, tuples, sets,
text, numbers, None, arrays of numbers, and bytes as views.

Arrays stay views into the file, whatever sizes it promises. Everything else takes memory, a list
some 70 bytes for the one byte it is in a file: what is made is counted, and a file that asks for
more than `ROOM` and eight times its own size is refused. Files of sound data need a small part.
"""

from __future__ import annotations

import mmap
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.readers.pickled import (
    CALLS,
    CLASSES,
    DICT_ITEM,
    Dtype,
    Name,
    Unfinished,
    array_of,
    hashable,
    set_of,
    size_of,
)

SUFFIXES = (".pkl", ".pickle")

ROOM = 128 * 2**20
"""Bytes that the objects of a pickle may take, beside eight times the size of the file."""

_PER_BYTE = 8
"""Places on the stack take that much, so that what only moves objects need not be counted."""
_LONGEST_NUMBER = 256  # bytes; text of longer ones is refused by Python itself
_MARK = object()
"""Stands on the stack where a group of items begins."""


def open_pickle(path: Path) -> object:
    """What a pickle file holds; its arrays are read-only views into the file on disk.

    Raises:
        InputError: unreadable, no pickle, damaged, or with anything but plain data in it; the
            message is a reason without the file's name.
    """
    try:
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}") from None
    except ValueError:  # nothing to map
        raise InputError("empty file") from None
    return unpickle(memoryview(content))


def unpickle(content: bytes | memoryview) -> object:
    """What a pickle holds; its arrays are read-only views into `content`.

    Raises:
        InputError: no pickle, damaged, or with anything but plain data in it; the message is a
            reason in one line.
    """
    if not len(content):
        raise InputError("empty file")
    try:
        return _Machine(memoryview(content)).run()
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError) as error:
        # Sound pickles never get here, so there is no telling what a damaged one meant.
        raise InputError(f"not a pickle, or a damaged one ({_in_one_line(error)})") from None
    except MemoryError:
        raise InputError(
            "not a pickle, or a damaged one (a number out of all proportion)"
        ) from None


def _refuse(what: str) -> NoReturn:
    raise InputError(
        f"asks for {what}; only arrays, lists, dicts, text and numbers are read, as anything else "
        "could run a program"
    )


class _Machine:
    """Runs the instructions of one pickle over a stack and a memory of earlier objects."""

    def __init__(self, content: memoryview) -> None:
        self._content = content
        self._at = 0
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._left = ROOM + _PER_BYTE * len(content)

    def run(self) -> object:
        stop = b"."[0]
        content, instructions, costs = self._content, _INSTRUCTIONS, _COSTS
        while True:
            code = content[self._at]
            self._at += 1
            if code == stop:
                break
            self._left -= costs[code]
            if self._left < 0:
                _no_room()
            instruction = instructions.get(code)
            if instruction is None:
                name = _REFUSED.get(code)
                if name:
                    _refuse(name)
                raise ValueError(f"byte {self._at - 1} is no instruction")
            instruction(self)
        (result,) = self._stack
        if isinstance(result, (Name, Dtype, Unfinished)):
            raise TypeError("it holds no data")
        return result

    def _spend(self, bytes_: int) -> None:
        """Count what is about to be made, or has just been."""
        self._left -= bytes_
        if self._left < 0:
            _no_room()

    # --- reading the bytes that follow an instruction

    def _bytes(self, count: int) -> memoryview:
        end = self._at + count
        if end > len(self._content):
            raise ValueError("it ends too early")
        piece = self._content[self._at : end]
        self._at = end
        return piece

    def _number(self, width: int, signed: bool = False) -> int:
        return int.from_bytes(self._bytes(width), "little", signed=signed)

    def _line(self, encoding: str = "utf-8") -> str:
        piece = bytearray()
        while (byte := self._content[self._at]) != 0x0A:
            piece.append(byte)
            self._at += 1
        self._at += 1
        return piece.decode(encoding)

    def _group(self) -> list[Any]:
        """Take everything above the last mark off the stack."""
        stack = self._stack
        for place in range(len(stack) - 1, -1, -1):
            if stack[place] is _MARK:
                items = stack[place + 1 :]
                del stack[place:]
                return items
        raise ValueError("a group has no beginning")

    # --- plain values

    def push_text(self, width: int) -> None:
        self._push(str(self._bytes(self._number(width)), "utf-8", "surrogatepass"))

    def push_text_line(self) -> None:
        self._push(self._line("raw-unicode-escape"))

    def push_old_text(self, width: int) -> None:
        """Text as Python 2 had it, of which nobody knows the alphabet."""
        self._push(str(self._bytes(self._number(width)), "latin-1"))

    def _push(self, text: str) -> None:
        self._spend(sys.getsizeof(text))
        self._stack.append(text)

    def push_bytes(self, width: int) -> None:
        self._stack.append(self._bytes(self._number(width)))

    def push_integer(self, width: int, signed: bool) -> None:
        self._stack.append(self._number(width, signed))

    def push_long(self, width: int) -> None:
        length = self._number(width)
        if length > _LONGEST_NUMBER:
            raise ValueError("a number out of all proportion")
        self._stack.append(self._number(length, signed=True))

    def push_integer_line(self) -> None:
        line = self._line()
        self._stack.append({"00": False, "01": True}.get(line, line))
        if self._stack[-1] is line:
            self._stack[-1] = int(line.removesuffix("L"))

    def push_float(self) -> None:
        self._stack.append(float(np.frombuffer(self._bytes(8), ">f8")[0]))

    def push_float_line(self) -> None:
        self._stack.append(float(self._line()))

    def push_name_line(self) -> None:
        module = self._line()
        self._push_name(module, self._line())

    def push_stacked_name(self) -> None:
        name = self._stack.pop()
        self._push_name(self._stack.pop(), name)

    def _push_name(self, module: object, name: object) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise TypeError("a function has no name")
        full = f"{module}.{name}"
        if full not in CALLS and full not in CLASSES:
            _refuse(ascii(full[:100]))
        self._stack.append(Name(sys.intern(full)))

    # --- containers

    def push_tuple(self, count: int) -> None:
        if count > len(self._stack):
            raise IndexError("a tuple has too few items")
        items = self._stack[len(self._stack) - count :]
        del self._stack[len(self._stack) - count :]
        self._stack.append(tuple(items))

    def append(self) -> None:
        item = self._stack.pop()
        self._top(list).append(item)

    def append_all(self) -> None:
        items = self._group()
        self._top(list).extend(items)

    def set_item(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._top(dict)[self._key(key)] = value

    def set_all_items(self) -> None:
        pairs = self._pairs()
        self._top(dict).update(pairs)

    def _pairs(self) -> Iterator[tuple[Any, Any]]:
        items = self._group()
        if len(items) % 2:
            raise ValueError("a dict has a key without a value")
        self._spend(DICT_ITEM * (len(items) // 2))
        return ((self._key(key), value) for key, value in zip(items[::2], items[1::2], strict=True))

    def _key(self, key: object) -> object:
        if isinstance(key, memoryview):  # it is copied
            self._spend(len(key))
        return hashable(key)

    def add_all(self) -> None:
        items = self._set()
        self._top(set).update(items)

    def push_frozen_set(self) -> None:
        self._stack.append(self._set())

    def _set(self) -> set[Any]:
        items = self._group()
        self._spend(size_of(items))
        return set_of(items)

    def _top(self, kind: type[Any]) -> Any:
        if type(self._stack[-1]) is not kind:
            raise TypeError(f"there is no {kind.__name__} to put something into")
        return self._stack[-1]

    # --- remembering

    def remember(self, index: int) -> None:
        thing = self._stack[-1]
        if isinstance(thing, Unfinished):
            thing.remembered.append(index)
        self._memo[index] = thing

    def recall(self, index: int) -> None:
        self._stack.append(self._memo[index])

    # --- NumPy

    def call(self) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        if not isinstance(function, Name) or function.name not in CALLS:
            raise TypeError("something is called that is no function")
        if type(arguments) is not tuple:
            raise TypeError("arguments are no tuple")
        self._spend(sum(map(size_of, arguments)))  # of which copies are made
        self._stack.append(CALLS[function.name](*arguments))

    def set_state(self) -> None:
        state, thing = self._stack.pop(), self._stack.pop()
        if isinstance(thing, Dtype):
            thing.order = ">" if isinstance(state[1], str) and state[1] == ">" else "="
            if state[2] is not None or state[3] is not None:
                raise InputError("has an array of records, which is not read")
            self._stack.append(thing)
        elif isinstance(thing, Unfinished):
            _version, shape, kind, fortran, numbers = state
            self._spend(len(numbers) if isinstance(numbers, str) else 0)
            array = array_of(kind, shape, numbers, "F" if fortran else "C")
            for index in thing.remembered:
                self._memo[index] = array
            self._stack.append(array)
        else:
            raise TypeError("a state is set on something that has none")


def _in_one_line(error: Exception) -> str:
    text = " ".join(str(error).split())[:120]
    return text if text.isprintable() else ascii(text)


def _no_room() -> NoReturn:
    raise InputError(
        "makes more objects than a file of its size should; it is no sound one, or it has numbers "
        "in lists that should be arrays"
    )


_REFUSED = {
    ord("P"): "an object kept outside the file",
    ord("Q"): "an object kept outside the file",
    ord("i"): "an object of a class",
    ord("o"): "an object of a class",
    0x81: "an object of a class",
    0x82: "a registered class",
    0x83: "a registered class",
    0x84: "a registered class",
    0x92: "an object of a class",
    0x97: "numbers kept outside the file",
    0x98: "numbers kept outside the file",
}

_INSTRUCTIONS: dict[int, Callable[[_Machine], object]] = {
    # protocol and frames say nothing that is needed
    0x80: lambda m: m._bytes(1),
    0x95: lambda m: m._bytes(8),
    # stack
    ord("("): lambda m: m._stack.append(_MARK),
    ord("0"): lambda m: m._stack.pop(),
    ord("1"): lambda m: m._group(),
    ord("2"): lambda m: m._stack.append(m._stack[-1]),
    # plain values
    ord("N"): lambda m: m._stack.append(None),
    0x88: lambda m: m._stack.append(True),
    0x89: lambda m: m._stack.append(False),
    ord("I"): _Machine.push_integer_line,
    ord("L"): _Machine.push_integer_line,
    ord("J"): lambda m: m.push_integer(4, signed=True),
    ord("K"): lambda m: m.push_integer(1, signed=False),
    ord("M"): lambda m: m.push_integer(2, signed=False),
    0x8A: lambda m: m.push_long(1),
    0x8B: lambda m: m.push_long(4),
    ord("F"): _Machine.push_float_line,
    ord("G"): _Machine.push_float,
    ord("V"): _Machine.push_text_line,
    ord("X"): lambda m: m.push_text(4),
    0x8C: lambda m: m.push_text(1),
    0x8D: lambda m: m.push_text(8),
    ord("T"): lambda m: m.push_old_text(4),
    ord("U"): lambda m: m.push_old_text(1),
    ord("B"): lambda m: m.push_bytes(4),
    ord("C"): lambda m: m.push_bytes(1),
    0x8E: lambda m: m.push_bytes(8),
    0x96: lambda m: m.push_bytes(8),
    # containers
    ord("]"): lambda m: m._stack.append([]),
    ord("l"): lambda m: m._stack.append(m._group()),
    ord("a"): _Machine.append,
    ord("e"): _Machine.append_all,
    ord(")"): lambda m: m._stack.append(()),
    ord("t"): lambda m: m._stack.append(tuple(m._group())),
    0x85: lambda m: m.push_tuple(1),
    0x86: lambda m: m.push_tuple(2),
    0x87: lambda m: m.push_tuple(3),
    ord("}"): lambda m: m._stack.append({}),
    ord("d"): lambda m: m._stack.append(dict(m._pairs())),
    ord("s"): _Machine.set_item,
    ord("u"): _Machine.set_all_items,
    0x8F: lambda m: m._stack.append(set()),
    0x90: _Machine.add_all,
    0x91: _Machine.push_frozen_set,
    # memory
    0x94: lambda m: m.remember(len(m._memo)),
    ord("p"): lambda m: m.remember(int(m._line())),
    ord("q"): lambda m: m.remember(m._number(1)),
    ord("r"): lambda m: m.remember(m._number(4)),
    ord("g"): lambda m: m.recall(int(m._line())),
    ord("h"): lambda m: m.recall(m._number(1)),
    ord("j"): lambda m: m.recall(m._number(4)),
    # NumPy
    ord("c"): _Machine.push_name_line,
    0x93: _Machine.push_stacked_name,
    ord("R"): _Machine.call,
    ord("b"): _Machine.set_state,
}

_COSTS = [0] * 256
"""Bytes that the instructions take at least for what they make, beside its place on the stack."""
for _cost, _codes in {
    32: b"M\x8a\x8bG",  # numbers
    56: b"t\x85\x86\x87",  # tuples
    72: b"]l}d",  # empty lists and dicts
    168: b"s",  # in a dict that was empty
    128: b"\x94qpr",  # memory
    200: b"BC\x8e\x96",  # views of bytes
    232: b"\x8f\x91",  # sets
    300: b"Rc\x93",  # arrays and what they need
}.items():
    for _code in _codes:
        _COSTS[_code] = _cost
