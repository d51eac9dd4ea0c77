"""What a manifest may say: values that no sound table has are refused before a file is read.

A table may come from anywhere. Its manifest decides how large arrays are made, which folders its
names lead to, and what a terminal shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from nas_skeleton.cards import check_name
from nas_skeleton.errors import InputError
from nas_skeleton.spaces.space import CELLS
from nas_skeleton.training.result import SPLITS

if TYPE_CHECKING:
    from nas_skeleton.published.files import Manifest

MOST = 1000  # seeds, and evaluated epochs: more than any study has, and arrays stay small
MOST_CLASSES = 2**15 - 1  # predictions are at most 16 bits
MOST_JOINTS = 10_000  # and bodies and channels
LONGEST_TEXT = 10_000  # characters
SHOWN = 200  # of somebody else's text in a message


def is_plain(texts: Sequence[str]) -> bool:
    """Whether texts are of one line and without signs that a terminal would obey."""
    return "".join(texts).isprintable() and max(map(len, texts), default=0) <= LONGEST_TEXT


def printable(text: str) -> str:
    """The first line of somebody else's text, fit for a terminal."""
    line = text.partition("\n")[0][:SHOWN]
    return "".join(sign if sign.isprintable() else "?" for sign in line)


def check_stated(path: Path, manifest: Manifest) -> None:
    """Nothing, if the manifest at `path` says what a table can be.

    Raises:
        InputError: it does not; the message names the first such field.
    """
    for field in ("name", "space", "dataset"):  # of folders and of cards
        check_name(getattr(manifest, field), f"{path}: {field}")
    for fault in _faults(manifest):
        raise InputError(f"{path}: {fault}; fetch the folder again")


def _faults(manifest: Manifest) -> Iterator[str]:
    if not is_plain(list(_texts(asdict(manifest)))):
        yield "a text of several lines, too long, or with signs that cannot be printed"
    last = manifest.recipe_values.get("epochs")
    if type(last) is not int or last < 1:
        yield "recipe_values lack epochs"
        return
    for field, values, low, high in (
        ("seeds", manifest.seeds, 0, 2**63 - 1),
        ("epochs", manifest.epochs, 1, last),
    ):
        if not 1 <= len(values) <= MOST or not _ascend(values, low, high):
            yield f"{field} are not 1 to {MOST} ascending numbers from {low} to {high}"
    if not _ascend(manifest.sample, 0, CELLS - 1):
        yield f"sample is not of ascending indices from 0 to {CELLS - 1}"
    if manifest.clips.keys() != set(SPLITS) or min(manifest.clips.values()) < 0:
        yield f"clips are not counts of {', '.join(SPLITS)}"
    if not 1 <= len(manifest.classes) <= MOST_CLASSES:
        yield f"not 1 to {MOST_CLASSES} classes"
    for field in ("joints", "bodies", "channels"):
        if not 1 <= getattr(manifest, field) <= MOST_JOINTS:
            yield f"{field} is not a number from 1 to {MOST_JOINTS}"


def _ascend(values: list[int], low: int, high: int) -> bool:
    ordered = all(a < b for a, b in pairwise(values))
    return ordered and (not values or low <= values[0] <= values[-1] <= high)


def _texts(value: object) -> Iterator[str]:
    """All texts in a value of JSON, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, own in value.items():
            yield key
            yield from _texts(own)
    elif isinstance(value, list):
        for own in value:
            yield from _texts(own)
