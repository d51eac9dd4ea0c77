"""NTU RGB+D 60 and 120: the raw `.skeleton` text files, in folders or the official zips.

Files are called `SsssCcccPpppRrrrAaaa.skeleton`: set-up, camera, performer, replication and action,
counted from 1. One is a list of frames, a frame a list of bodies, a body a line about itself and 25
lines of joints, 12 numbers each; the first three are metres in the camera's axes (y up, z away).
Every line is checked, because these files are large and often cut short when copied.

Whom a body id belongs to is not decided here: each id is a body of its own, in order of appearance,
and zero where it is not seen. Which samples are to be left out is the card's business.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from nas_skeleton.cards import Card
from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.readers import RawClip
from nas_skeleton.skeletons.readers.files import Files, base_name, open_files

if TYPE_CHECKING:
    from nas_skeleton.skeletons.card import DatasetCard

VERSION: int = 1
NEEDS_RAW: bool = True
LAYOUTS: tuple[str, ...] = ("ntu",)
PARALLEL: bool = True

SUFFIX = ".skeleton"
FRAMES_PER_SECOND = 30.0
MAX_BYTES = 64 * 2**20
"""Largest file that is read: the longest clip, 300 frames, has some 6 MB with many bodies."""
MAX_PLACES = 100_000
"""Most frames times bodies: a file with a new body in every frame must not fill the memory."""

_JOINTS, _BODY_VALUES, _JOINT_VALUES = 25, 10, 12
_NAME = re.compile(r"S([0-9]{3})C([0-9]{3})P([0-9]{3})R([0-9]{3})A([0-9]{3})\.skeleton")
_NOT_A_NUMBER = re.compile(rb"[-+]?1\.#(IND|QNAN|SNAN)[0-9]*")  # as Microsoft's library prints it


class Options(Card):
    """There is nothing to choose."""


@dataclass(frozen=True)
class SkeletonFiles:
    """The clips of folders and zips, ordered by name."""

    files: Files
    sources: Sequence[str]

    def read(self, source: str) -> Sequence[RawClip]:
        """The clip of one file; the message of an `InputError` is the reason alone."""
        setup, camera, subject, trial, action = parse_name(base_name(source))
        content = self.files.read(source)
        return [
            RawClip(
                id=base_name(source).removesuffix(SUFFIX),
                label=action - 1,
                subject=subject,
                coordinates=parse(content),
                digest=f"sha256 {hashlib.sha256(content).hexdigest()}",
                trial=trial,
                camera=camera,
                setup=setup,
                frames_per_second=FRAMES_PER_SECOND,
            )
        ]


def open_raw(raw: Path | None, card: DatasetCard) -> SkeletonFiles:
    """Find the files.

    Raises:
        InputError: nothing usable there.
    """
    if raw is None:
        raise InputError(f"data set {card.name!r}: its reader needs raw files")
    files = open_files(raw, (SUFFIX,), MAX_BYTES)
    return SkeletonFiles(files, sorted(files.names, key=lambda name: (base_name(name), name)))


def complete_ids(card: DatasetCard) -> Iterable[str]:  # noqa: ARG001
    """Not known: not everybody did everything before every camera."""
    return ()


def parse_name(name: str) -> tuple[int, int, int, int, int]:
    """Set-up, camera, performer, replication and action of a file name, all from 1.

    Raises:
        InputError: not such a name.
    """
    match = _NAME.fullmatch(name)
    if not match or "000" in match.groups():
        raise InputError("not a name like S001C001P001R001A001.skeleton; rename or remove the file")
    setup, camera, performer, replication, action = map(int, match.groups())
    return setup, camera, performer, replication, action


def parse(content: bytes) -> NDArray[np.float64]:
    """Coordinates `(3, T, 25, M)` of a file; M is 0 if nobody is in it. NaN stays.

    Raises:
        InputError: the file is not what its counts say; the message names line or frame.
    """
    lines = content.splitlines()
    if not any(lines):
        raise InputError("the file is empty")
    text = _Text(lines)
    frames = text.count("the number of frames")
    bodies: dict[bytes, int] = {}
    at: list[tuple[int, int]] = []  # frame and body of every skeleton
    starts: list[int] = []  # its first line of joints
    for frame in range(frames):
        text.where = f"frame {frame + 1} of {frames}"
        seen = set()
        for _ in range(text.count("the number of bodies")):
            name = text.body()
            if name in seen:
                raise InputError(f"{text.where}: body {name.decode()} twice in one frame")
            seen.add(name)
            at.append((frame, bodies.setdefault(name, len(bodies))))
            starts.append(text.joints())
    text.end()
    if not frames:
        raise InputError("it has no frames")
    if frames * len(bodies) > MAX_PLACES:
        raise InputError(f"{len(bodies)} bodies in {frames} frames, more than a recording has")
    coordinates = np.zeros((frames, len(bodies), _JOINTS, 3))
    if starts:
        numbers = _numbers(lines, starts).reshape(len(starts), _JOINTS, _JOINT_VALUES)
        in_frame, body = np.array(at).T
        coordinates[in_frame, body] = numbers[..., :3]
    return coordinates.transpose(3, 0, 2, 1)


class _Text:
    """The lines of a file, read one after the other."""

    def __init__(self, lines: list[bytes]) -> None:
        self.lines, self.next = lines, 0
        self.where = "its first line"

    def count(self, what: str) -> int:
        line = self._line()
        if not line.strip().isdigit() or len(line) > 9:
            raise self._wrong(f"{what} expected")
        return int(line)

    def body(self) -> bytes:
        """The id of a body; kept as text, a float would round its 17 digits."""
        values = self._line().split()
        if len(values) != _BODY_VALUES or not values[0].isdigit():
            raise self._wrong(f"a body's id and {_BODY_VALUES - 1} values expected")
        return values[0]

    def joints(self) -> int:
        """Pass over the joints of a body and give the place of the first."""
        count = self.count("the number of joints")
        if count != _JOINTS:
            raise self._wrong(f"{_JOINTS} joints expected")
        start = self.next
        self.next += count
        if self.next > len(self.lines):
            raise self._truncated()
        return start

    def end(self) -> None:
        """Make sure that nothing follows."""
        if any(line.strip() for line in self.lines[self.next :]):
            raise InputError(f"line {self.next + 1}: more lines than its number of frames explains")

    def _line(self) -> bytes:
        if self.next >= len(self.lines):
            raise self._truncated()
        self.next += 1
        return self.lines[self.next - 1]

    def _truncated(self) -> InputError:
        return InputError(f"truncated: it ends in {self.where}; copy or download it again")

    def _wrong(self, expected: str) -> InputError:
        return _wrong(self.next - 1, self.lines[self.next - 1], expected)


def _wrong(line: int, found: bytes, expected: str) -> InputError:
    shown = ascii(found[:40].decode("ascii", "replace"))
    return InputError(f"line {line + 1}: {expected}, found {shown}")


_COLUMNS = [str(column) for column in range(_JOINT_VALUES)]
_READ = csv.ReadOptions(use_threads=False, column_names=_COLUMNS, block_size=MAX_BYTES)
_PARSE = csv.ParseOptions(
    delimiter=" ", quote_char=False, double_quote=False, ignore_empty_lines=False
)
_CONVERT = csv.ConvertOptions(column_types=dict.fromkeys(_COLUMNS, pa.float64()), null_values=[])


def _numbers(lines: list[bytes], starts: list[int]) -> NDArray[np.float64]:
    """The numbers in the lines of joints, `(lines, 12)`.

    PyArrow reads a file as it should be five times as fast as NumPy; where it finds something else,
    the lines are read one by one, which forgives spaces and knows the line.
    """
    chosen = [line for start in starts for line in lines[start : start + _JOINTS]]
    try:
        table = csv.read_csv(
            pa.BufferReader(b"\n".join(chosen)),
            read_options=_READ,
            parse_options=_PARSE,
            convert_options=_CONVERT,
        )
    except pa.ArrowInvalid:
        places = [start + joint for start in starts for joint in range(_JOINTS)]
        return np.array([_joint(place, lines[place]) for place in places])
    return np.stack([column.to_numpy() for column in table.columns], axis=1)


def _joint(place: int, line: bytes) -> list[float]:
    values = _NOT_A_NUMBER.sub(b"nan", line).split()
    try:
        if len(values) == _JOINT_VALUES:
            return [float(value) for value in values]
    except ValueError:
        pass
    raise _wrong(place, line, f"{_JOINT_VALUES} numbers of a joint expected")
