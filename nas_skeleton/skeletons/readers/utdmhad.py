"""UTD-MHAD skeletons: the official `Skeleton.zip`, or a folder with its `.mat` files.

Files are called `a{action}_s{subject}_t{trial}_skeleton.mat`, all counted from 1, in any folder.
The variable `d_skel` is (20 joints, 3 coordinates, T frames) in metres, in the camera's axes. The
inertial and depth files of the same recording may lie beside them and are passed over; any other
`.mat` is an error, because a clip that is silently left out changes every result.
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
from nas_skeleton.skeletons.readers.matfile import read_array

if TYPE_CHECKING:
    from nas_skeleton.skeletons.card import DatasetCard

VERSION: int = 1
NEEDS_RAW: bool = True
LAYOUTS: tuple[str, ...] = ("utdmhad",)
PARALLEL: bool = True

JOINTS, COORDINATES, TRIALS = 20, 3, 4
VARIABLE = "d_skel"
MAX_BYTES = 16 * 2**20
"""Largest `.mat` that is read, also after inflation: the real ones have 30 kB."""

_NAME = re.compile(r"a([1-9][0-9]{0,3})_s([1-9][0-9]{0,3})_t([1-9][0-9]{0,3})_skeleton\.mat")
_OTHER_MODALITY = re.compile(r"a[0-9]+_s[0-9]+_t[0-9]+_(inertial|depth)\.mat")


class Options(Card):
    """There is nothing to choose."""


@dataclass(frozen=True, order=True)
class ClipName:
    """What a file name says; all counted from 1."""

    action: int
    subject: int
    trial: int

    @property
    def id(self) -> str:
        return f"a{self.action}_s{self.subject}_t{self.trial}"


@dataclass(frozen=True)
class SkeletonFiles:
    """The clips of a zip or a folder, ordered by action, subject and trial."""

    files: Files
    sources: Sequence[str]

    def read(self, source: str) -> Sequence[RawClip]:
        """The clip of one file; the message of an `InputError` is the reason alone."""
        name = parse_name(base_name(source))
        content = self.files.read(source)
        digest = f"sha256 {hashlib.sha256(content).hexdigest()}"
        return [to_clip(name, read_mat(content), digest)]


def open_raw(raw: Path | None, card: DatasetCard) -> SkeletonFiles:
    """Find the files of a zip or a folder.

    Raises:
        InputError: nothing usable there.
    """
    if raw is None:
        raise InputError(f"data set {card.name!r}: its reader needs raw files")
    files = open_files(raw, (".mat",), MAX_BYTES)
    names = [name for name in files.names if not _OTHER_MODALITY.fullmatch(base_name(name))]
    if not names:
        raise InputError(f"{raw}: no a*_s*_t*_skeleton.mat in it; is it the right file or folder?")
    return SkeletonFiles(files, sorted(names, key=_place))


def complete_ids(card: DatasetCard) -> Iterable[str]:
    """Every action by every subject of the card in four trials."""
    for action in range(1, len(card.classes) + 1):
        for subject in card.subjects or ():
            for trial in range(1, TRIALS + 1):
                yield ClipName(action, subject, trial).id


def parse_name(name: str) -> ClipName:
    """Read a file name such as `a1_s2_t3_skeleton.mat`.

    Raises:
        InputError: not such a name, or a trial that there is not.
    """
    match = _NAME.fullmatch(name)
    if not match:
        raise InputError("not a name like a1_s2_t3_skeleton.mat; rename or remove the file")
    clip = ClipName(*(int(number) for number in match.groups()))
    if clip.trial > TRIALS:
        raise InputError(f"trial {clip.trial}, but there are {TRIALS}")
    return clip


def to_clip(name: ClipName, joints: NDArray[np.float64], digest: str) -> RawClip:
    """A clip from `(20, 3, T)` joint positions, rearranged to `(C, T, V, M)`."""
    return RawClip(
        id=name.id,
        label=name.action - 1,
        subject=name.subject,
        trial=name.trial,
        coordinates=joints.transpose(1, 2, 0)[..., np.newaxis],
        digest=digest,
    )


def read_mat(content: bytes) -> NDArray[np.float64]:
    """The variable `d_skel` of a `.mat` file as float64 `(20, 3, T)`, all finite, T at least 2.

    Raises:
        InputError: no readable `.mat` file, no `d_skel`, or one of another kind.
    """
    try:
        joints = read_array(content, VARIABLE, MAX_BYTES)
    except ValueError as error:
        raise InputError(str(error)) from None
    if joints.ndim != 3 or joints.shape[:2] != (JOINTS, COORDINATES) or joints.shape[2] < 2:
        wanted = f"({JOINTS}, {COORDINATES}, frames >= 2)"
        raise InputError(f"{VARIABLE} has shape {joints.shape}, not {wanted}")
    if not np.isfinite(joints).all():
        raise InputError(f"{VARIABLE} has NaN or infinite coordinates")
    return joints


def _place(source: str) -> tuple[bool, tuple[int, ...], str]:
    """Where a file stands: by its numbers, those without a proper name at the end."""
    match = _NAME.fullmatch(base_name(source))
    return not match, tuple(int(number) for number in match.groups()) if match else (), source
