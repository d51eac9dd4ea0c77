"""UTD-MHAD skeletons: the official `Skeleton.zip`, or a folder with its `.mat` files.

Files are called `a{action}_s{subject}_t{trial}_skeleton.mat`, all counted from 1, in any folder.
The variable `d_skel` is (20 joints, 3 coordinates, T frames) in metres, in the camera's axes. The
inertial and depth files of the same recording may lie beside them and are passed over; any other
`.mat` is an error, because a clip that is silently left out changes every result.
"""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.card import DatasetCard
from nas_skeleton.skeletons.readers import RawClip
from nas_skeleton.skeletons.readers.matfile import read_array

VERSION: int = 1
NEEDS_RAW: bool = True

JOINTS, COORDINATES, TRIALS = 20, 3, 4
VARIABLE = "d_skel"
MAX_BYTES = 16 * 2**20
"""Largest `.mat` that is read, also after inflation: the real ones have 30 kB."""

_NAME = re.compile(r"a([1-9][0-9]{0,3})_s([1-9][0-9]{0,3})_t([1-9][0-9]{0,3})_skeleton\.mat")
_OTHER_MODALITY = re.compile(r"a[0-9]+_s[0-9]+_t[0-9]+_(inertial|depth)\.mat")


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
class _File:
    """A clip's file, not yet read; `source` is short, `where` names it in full in errors."""

    name: ClipName
    source: str
    where: str
    load: Callable[[], bytes]


def read(raw: Path | None, card: DatasetCard) -> tuple[int, Iterator[RawClip]]:
    """The clips of a zip or a folder, ordered by action, subject and trial.

    Raises:
        InputError: at once for unusable names and archives, while reading for unusable contents.
    """
    if raw is None:
        raise InputError(f"data set {card.name!r}: its reader needs raw files")
    files = _in_folder(raw, card) if raw.is_dir() else _in_zip(raw, card)
    known: dict[ClipName, _File] = {}
    for file in files:
        first = known.setdefault(file.name, file)
        if first is not file:
            raise InputError(f"{file.where}: the same clip as {first.source}; remove one of them")
    if not known:
        raise InputError(f"{raw}: no a*_s*_t*_skeleton.mat in it; is it the right file or folder?")
    return len(known), (_clip(known[name]) for name in sorted(known))


def complete_ids(card: DatasetCard) -> Iterable[str]:
    """Every action by every subject of the card in four trials."""
    for action in range(1, len(card.classes) + 1):
        for subject in card.subjects:
            for trial in range(1, TRIALS + 1):
                yield ClipName(action, subject, trial).id


def parse_name(name: str, card: DatasetCard, where: str) -> ClipName:
    """Read a file name such as `a1_s2_t3_skeleton.mat`.

    Raises:
        InputError: not such a name, or an action, subject or trial that the card does not have.
    """
    match = _NAME.fullmatch(name)
    if not match:
        raise InputError(
            f"{where}: not a name like a1_s2_t3_skeleton.mat; rename or remove the file"
        )
    clip = ClipName(*(int(number) for number in match.groups()))
    if clip.action > len(card.classes):
        raise InputError(f"{where}: action {clip.action}, but {card.name} has {len(card.classes)}")
    if clip.subject not in card.subjects:
        raise InputError(f"{where}: subject {clip.subject} is not among those of {card.name}")
    if clip.trial > TRIALS:
        raise InputError(f"{where}: trial {clip.trial}, but there are {TRIALS}")
    return clip


def to_clip(name: ClipName, joints: NDArray[np.float64], *, source: str, digest: str) -> RawClip:
    """A clip from `(20, 3, T)` joint positions, rearranged to `(C, T, V, M)`."""
    return RawClip(
        id=name.id,
        label=name.action - 1,
        subject=name.subject,
        trial=name.trial,
        coordinates=joints.transpose(1, 2, 0)[..., np.newaxis],
        source=source,
        digest=digest,
    )


def read_mat(content: bytes, where: str) -> NDArray[np.float64]:
    """The variable `d_skel` of a `.mat` file as float64 `(20, 3, T)`, all finite, T at least 2.

    Raises:
        InputError: no readable `.mat` file, no `d_skel`, or one of another kind.
    """
    try:
        joints = read_array(content, VARIABLE, MAX_BYTES)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None
    if joints.ndim != 3 or joints.shape[:2] != (JOINTS, COORDINATES) or joints.shape[2] < 2:
        wanted = f"({JOINTS}, {COORDINATES}, frames >= 2)"
        raise InputError(f"{where}: {VARIABLE} has shape {joints.shape}, not {wanted}")
    if not np.isfinite(joints).all():
        raise InputError(f"{where}: {VARIABLE} has NaN or infinite coordinates")
    return joints


def _clip(file: _File) -> RawClip:
    content = file.load()
    joints = read_mat(content, file.where)
    digest = f"sha256 {hashlib.sha256(content).hexdigest()}"
    return to_clip(file.name, joints, source=file.source, digest=digest)


def _in_zip(archive: Path, card: DatasetCard) -> Iterator[_File]:
    try:
        # Closed by the garbage collector, once the last clip's loader is gone.
        opened = zipfile.ZipFile(archive)
        members = opened.infolist()
    except OSError as error:
        raise InputError(f"{archive}: cannot be read: {error.strerror or error}") from None
    except Exception as error:  # zipfile raises more than BadZipFile on damaged directories
        raise InputError(
            f"{archive}: not a zip file, or a truncated one ({error}); download it again"
        ) from None
    for member in members:
        path = PurePosixPath(member.filename)
        where = f"{archive}: {_printable(member.filename)}"
        if member.is_dir() or "__MACOSX" in path.parts or not _is_clip_file(path.name):
            continue
        if member.file_size > MAX_BYTES:
            raise InputError(f"{where}: {member.file_size} bytes, too large for a clip")
        clip = parse_name(path.name, card, where)
        yield _File(clip, path.name, where, partial(_load_member, opened, member, where))


def _load_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, where: str) -> bytes:
    try:
        with archive.open(member) as stream:
            content = stream.read(MAX_BYTES + 1)  # its size in the directory may be a lie
    except Exception as error:  # bad CRC, truncation, encryption, unknown compression, ...
        raise InputError(
            f"{where}: cannot be unpacked ({error or type(error).__name__}); download the zip again"
        ) from None
    if len(content) > MAX_BYTES:
        raise InputError(f"{where}: more than {MAX_BYTES} bytes, too large for a clip")
    return content


def _in_folder(folder: Path, card: DatasetCard) -> Iterator[_File]:
    def unreadable(error: OSError) -> None:
        raise InputError(f"{error.filename}: cannot be read: {error.strerror}")

    for place, folders, names in os.walk(folder, onerror=unreadable):
        folders.sort()
        for name in sorted(names):
            if not _is_clip_file(name):
                continue
            path = Path(place, name)
            where = _printable(str(path))
            if not path.is_file():
                raise InputError(f"{where}: not a regular file")
            yield _File(
                parse_name(name, card, where), name, where, partial(_load_file, path, where)
            )


def _load_file(path: Path, where: str) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{where}: cannot be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise InputError(f"{where}: more than {MAX_BYTES} bytes, too large for a clip")
    return content


def _is_clip_file(name: str) -> bool:
    """Whether a file is, or pretends to be, a skeleton clip; `._*` files are left by macOS."""
    return (
        name.lower().endswith(".mat")
        and not name.startswith("._")
        and not _OTHER_MODALITY.fullmatch(name)
    )


def _printable(name: str) -> str:
    return name if name.isprintable() else ascii(name)
