"""JSON from outside: objects and lists of numbers, or one line that says what is there instead."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_skeleton.errors import InputError


def read_object(content: bytes) -> dict[str, Any]:
    """The one object of a JSON file.

    Raises:
        InputError: empty, no JSON, or something else in it; the message is the reason alone.
    """
    if not content.strip():
        raise InputError("empty file")
    try:
        found = json.loads(content)
    except json.JSONDecodeError as error:
        raise InputError(
            f"no JSON, or cut off: {error.msg} in line {error.lineno}, column {error.colno}"
        ) from None
    except UnicodeDecodeError:
        raise InputError("no JSON: it is no text") from None
    except ValueError:  # an integer of thousands of digits
        raise InputError("no sensible JSON: a number is out of all proportion") from None
    except RecursionError:
        raise InputError("no sensible JSON: it is nested too deeply") from None
    if not isinstance(found, dict):
        raise InputError(f"it holds {_kind(found)}, not an object {{…}}")
    return found


def entry(holder: object, key: str, kind: type[Any], where: str = "") -> Any:
    """`holder[key]`, which must be of that kind.

    Args:
        holder: should be an object of a JSON file.
        key: what is looked for.
        kind: dict, list, int or str; True is no int.
        where: what stands in front of the key in errors, such as "data[3].".

    Raises:
        InputError: `holder` is no object, the key is missing, or its value is of another kind.
    """
    if not isinstance(holder, dict):
        raise InputError(f"{where.rstrip('.') or 'it'} is {_kind(holder)}, not an object {{…}}")
    if key not in holder:
        raise InputError(f"no {where}{key} in it; there is {_some(holder)}")
    value = holder[key]
    if type(value) is not kind:
        raise InputError(f"{where}{key} is {_kind(value)}, not {_NAMES[kind]}")
    return value


def numbers(values: list[Any], where: str) -> NDArray[np.float64]:
    """A list of numbers; NaN, which JSON writers of Python leave, stays.

    Raises:
        InputError: something else is among them, or a number too large.
    """
    kinds = set(map(type, values))
    if not kinds <= {int, float}:
        stranger = next(value for value in values if type(value) not in (int, float))
        raise InputError(f"{where} holds {_kind(stranger)} among its numbers")
    try:
        array = np.array(values, np.float64)
    except OverflowError:
        raise InputError(f"{where} holds a number too large") from None
    if np.isinf(array).any():
        raise InputError(f"{where} holds an infinite number")
    return array


_NAMES: dict[type[Any], str] = {
    dict: "an object {…}",
    list: "a list",
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    type(None): "null",
}


def _kind(value: object) -> str:
    return _NAMES[type(value)]


def _some(holder: dict[str, Any]) -> str:
    names = sorted(holder)
    shown = ", ".join(ascii(name[:40]) for name in names[:8])
    return (shown or "nothing") + (f" and {len(names) - 8} more" if len(names) > 8 else "")
