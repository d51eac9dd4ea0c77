"""Northwestern-UCLA skeletons as JSON, one file per clip: `all_sqe.zip`, or a folder of such files.

Files are called `aAA_sSS_eEE_vVV.json`: action, subject, take and view. One holds its own name as
`file_name`, the class counted from 1 as `label`, and `skeletons`: frames of 20 joints of 3
coordinates in metres, in the camera's axes. There are ten actions, numbered 1 to 12 without 7 and
10; name, label and content must agree.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nas_skeleton.cards import Card
from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.readers import RawClip
from nas_skeleton.skeletons.readers.files import Files, base_name, open_files
from nas_skeleton.skeletons.readers.jsonfile import entry, read_object

if TYPE_CHECKING:
    from nas_skeleton.skeletons.card import DatasetCard

VERSION: int = 1
NEEDS_RAW: bool = True
LAYOUTS: tuple[str, ...] = ("nwucla",)
PARALLEL: bool = True

ACTIONS = (1, 2, 3, 4, 5, 6, 8, 9, 11, 12)
"""Numbers in file names, in the order of the labels."""
MAX_BYTES = 16 * 2**20
"""Largest file that is read: the real ones have less than 200 kB."""

_SUFFIX = ".json"
_NAME = re.compile(r"a([0-9]{2})_s([0-9]{2})_e([0-9]{2})_v([0-9]{2})\.json")
_JOINTS, _COORDINATES = 20, 3


class Options(Card):
    """There is nothing to choose."""


@dataclass(frozen=True)
class JsonFiles:
    """The clips of a zip or a folder, ordered by name."""

    files: Files
    sources: Sequence[str]

    def read(self, source: str) -> Sequence[RawClip]:
        """The clip of one file; the message of an `InputError` is the reason alone."""
        name = base_name(source)
        action, subject, take, view = parse_name(name)
        content = self.files.read(source)
        coordinates, label = parse(content, name.removesuffix(_SUFFIX))
        if ACTIONS[label - 1] != action:
            raise InputError(
                f"its label {label} stands for action {ACTIONS[label - 1]}, its name says {action}"
            )
        return [
            RawClip(
                id=name.removesuffix(_SUFFIX),
                label=label - 1,
                subject=subject,
                coordinates=coordinates,
                digest=f"sha256 {hashlib.sha256(content).hexdigest()}",
                trial=take,
                camera=view,
            )
        ]


def open_raw(raw: Path | None, card: DatasetCard) -> JsonFiles:
    """Find the files.

    Raises:
        InputError: nothing usable there.
    """
    if raw is None:
        raise InputError(f"data set {card.name!r}: its reader needs raw files")
    files = open_files(raw, (_SUFFIX,), MAX_BYTES)
    return JsonFiles(files, sorted(files.names, key=lambda name: (base_name(name), name)))


def complete_ids(card: DatasetCard) -> Iterable[str]:  # noqa: ARG001
    """Not known: people did the actions as often as they liked."""
    return ()


def parse_name(name: str) -> tuple[int, int, int, int]:
    """Action, subject, take and view of a file name, as they are numbered there.

    Raises:
        InputError: not such a name, or an action that there is not.
    """
    match = _NAME.fullmatch(name)
    if not match:
        raise InputError("not a name like a01_s01_e00_v01.json; rename or remove the file")
    action, subject, take, view = map(int, match.groups())
    if action not in ACTIONS:
        known = ", ".join(map(str, ACTIONS))
        raise InputError(f"action {action} in its name, but there are {known}")
    return action, subject, take, view


def parse(content: bytes, stem: str) -> tuple[NDArray[np.float64], int]:
    """Coordinates `(3, T, 20, 1)` of a file and its label, from 1.

    Args:
        content: the whole file.
        stem: what it should call itself.

    Raises:
        InputError: it is not what it says.
    """
    clip = read_object(content)
    name, label = entry(clip, "file_name", str), entry(clip, "label", int)
    if name != stem:
        raise InputError(f"file_name is {name[:50]!a}, its name says {stem!r}")
    if not 1 <= label <= len(ACTIONS):
        raise InputError(f"label is {label}, not a number from 1 to {len(ACTIONS)}")
    try:
        joints = np.asarray(entry(clip, "skeletons", list))
    except (ValueError, OverflowError):
        raise InputError("skeletons: not the same number of joints everywhere") from None
    if joints.dtype.kind not in "iuf" or joints.ndim != 3:
        raise InputError("skeletons: not frames of joints of numbers")
    if joints.shape[1:] != (_JOINTS, _COORDINATES):
        raise InputError(
            f"skeletons has shape {joints.shape}, not (frames, {_JOINTS}, {_COORDINATES})"
        )
    return joints.astype(np.float64).transpose(2, 0, 1)[..., np.newaxis], label
