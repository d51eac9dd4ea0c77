"""MADS (Martial Arts, Dancing and Sports): MATLAB files with the joints of one long sequence each.

How the variables in these files are called is not documented where this was written. So the reader
looks at what is there: of all variables, also inside of structs and cells, exactly one must hold a
pose of the card's joints in three coordinates for every frame, as

* numbers of shape (T, V, 3), in whatever order of the three axes,
* numbers of shape (T, 3 V) or (3 V, T), joint after joint with x, y, z, or
* a cell or struct array with (V, 3) or (3, V) for every frame, empty where there is no pose.

If there is none or more than one, the message lists what there is, and `variable` names the right
one. A frame without a pose is NaN; a cleaning step of the card may fill such gaps. Action and
subject are read from the names of files and folders by `name_pattern`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import field_validator

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.readers import RawClip
from nas_skeleton.skeletons.readers.cutting import CutOptions, check_pattern, windows
from nas_skeleton.skeletons.readers.files import Files, open_files
from nas_skeleton.skeletons.readers.matfile import Unread, Value, read_variables

if TYPE_CHECKING:
    from nas_skeleton.skeletons.card import DatasetCard

VERSION: int = 1
NEEDS_RAW: bool = True
LAYOUTS: tuple[str, ...] = ()
PARALLEL: bool = True

SUFFIX = ".mat"
MAX_BYTES = 2**28
"""Largest file that is read, also after inflation: a sequence of 80 s is some 2 MB of joints."""


class Options(CutOptions):
    """How sequences are found, named and cut.

    Attributes:
        variable: where the poses are, such as "GTpose" or "GTpose.joints"; by default the only
            variable that can be them.
        name_pattern: regular expression that is found in the file's path without its ending, with
            groups `action` (a class of the card, upper or lower case alike, or its number from 1)
            and `subject` (a number).
    """

    variable: str = ""
    name_pattern: str = r"(?P<action>[A-Za-z]+)_?(?P<subject>[0-9]+)"

    @field_validator("name_pattern")
    @classmethod
    def _has_groups(cls, pattern: str) -> str:
        return check_pattern(pattern, {"action", "subject"}, {"action", "subject"})


@dataclass(frozen=True)
class SequenceFiles:
    """The sequences of a folder or a zip, ordered by name."""

    files: Files
    card: DatasetCard
    options: Options

    @property
    def sources(self) -> Sequence[str]:
        return self.files.names

    def read(self, source: str) -> Sequence[RawClip]:
        """The clips of one sequence; the message of an `InputError` is the reason alone."""
        name, label, subject = parse_name(source, self.card, self.options)
        content = self.files.read(source)
        if not content:
            raise InputError("the file is empty")
        try:
            variables = read_variables(content, MAX_BYTES)
        except ValueError as error:
            raise InputError(str(error)) from None
        poses = find_poses(variables, len(self.card.skeleton.joints), self.options.variable)
        cuts = windows(len(poses), self.options.clip_frames, self.options.overlap)
        return [
            RawClip(
                id=f"{name}_{cut[0]}_{cut[-1]}" if self.options.clip_frames else name,
                label=label,
                subject=subject,
                coordinates=poses[cut[0] : cut[-1] + 1].transpose(2, 0, 1)[..., np.newaxis],
                digest=f"sha256 {hashlib.sha256(content).hexdigest()}",
            )
            for cut in cuts
        ]


def open_raw(raw: Path | None, card: DatasetCard) -> SequenceFiles:
    """Find the files.

    Raises:
        InputError: nothing usable there.
    """
    if raw is None:
        raise InputError(f"data set {card.name!r}: its reader needs raw files")
    options = Options.model_validate(card.reader_options)
    return SequenceFiles(open_files(raw, (SUFFIX,), MAX_BYTES), card, options)


def complete_ids(card: DatasetCard) -> Iterable[str]:  # noqa: ARG001
    """Not known."""
    return ()


def parse_name(source: str, card: DatasetCard, options: Options) -> tuple[str, int, int]:
    """Id of a sequence, label and subject.

    The id is the path from where the pattern was found, so that it does not depend on the folder in
    which the data lies.

    Raises:
        InputError: the pattern is not found, or finds no class of the card.
    """
    path = source[: -len(SUFFIX)]
    match = re.search(options.name_pattern, path)
    if not match or not _is_number(match["subject"]):
        raise InputError(
            "no action and subject number in its name; rename it or set name_pattern "
            "in the card's reader_options"
        )
    action = (match["action"] or "").casefold()
    labels = {name.casefold(): label for label, name in enumerate(card.classes)}
    if action not in labels and _is_number(action):
        label = int(action) - 1
    elif action in labels:
        label = labels[action]
    else:
        raise InputError(f"action {match['action']!r} in its name is no class of {card.name}")
    return path[match.start() :].replace("/", "_"), label, int(match["subject"])


def _is_number(text: str | None) -> bool:
    return bool(text) and str(text).isdecimal() and len(str(text)) < 10


def find_poses(variables: dict[str, Value], joints: int, variable: str) -> NDArray[np.float64]:
    """The poses `(T, V, 3)` among the variables of a file.

    Args:
        variables: of the file.
        joints: V.
        variable: where they are; empty for the only place where they can be.

    Raises:
        InputError: there are none, or several and nothing says which.
    """
    everything = dict(_places(variables))
    if variable and variable not in everything:
        raise InputError(f"no variable {variable!r} in it, there is: {_listed(everything)}")
    chosen = {variable: everything[variable]} if variable else everything
    found = {place: _poses(value, joints) for place, value in chosen.items()}
    fitting = {place: poses for place, poses in found.items() if poses is not None}
    if not fitting:
        raise InputError(
            f"no poses of {joints} joints in 3 coordinates in it, there is: {_listed(chosen)}"
        )
    if len(fitting) > 1:
        raise InputError(
            f"poses in {', '.join(fitting)}; say which with variable in the card's reader_options"
        )
    return next(iter(fitting.values()))


def _places(variables: dict[str, Value], prefix: str = "") -> Iterator[tuple[str, Value]]:
    """Every variable and every field of a struct by its path; a struct array field by field."""
    for name, value in variables.items():
        yield prefix + name, value
        if isinstance(value, dict):
            yield from _places(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            structs = [entry for entry in value if isinstance(entry, dict)]
            if structs and len(structs) == len(value):
                fields: dict[str, Value] = {
                    field: [struct[field] for struct in structs if field in struct]
                    for field in structs[0]
                }
                yield from _places(fields, f"{prefix}{name}.")


def _poses(value: Value, joints: int) -> NDArray[np.float64] | None:
    """`(T, V, 3)` if that is what the value can be."""
    if isinstance(value, list):
        return _frames(value, joints)
    if not isinstance(value, np.ndarray) or not value.size:
        return None
    if value.ndim == 2:
        flat = [array for array in (value, value.T) if array.shape[1] == 3 * joints]
        return flat[0].reshape(-1, joints, 3) if flat else None
    if value.ndim != 3:
        return None
    orders = [
        order
        for order in permutations(range(3))
        if (value.shape[order[1]], value.shape[order[2]]) == (joints, 3)
    ]
    return value.transpose(orders[0]) if len(orders) == 1 else None


def _frames(value: list[Value], joints: int) -> NDArray[np.float64] | None:
    """Poses from one array for each frame; at least one must be there."""
    poses = np.full((len(value), joints, 3), np.nan)
    there = False
    for frame, array in enumerate(value):
        if not isinstance(array, np.ndarray):
            return None
        if array.shape in ((joints, 3), (3, joints)):
            poses[frame], there = array if array.shape == (joints, 3) else array.T, True
        elif array.size:
            return None
    return poses if there else None


def _listed(places: dict[str, Value]) -> str:
    """What there is, for messages."""
    found = [f"{place} ({_described(value)})" for place, value in places.items() if place]
    return ", ".join(found[:12]) + (", ..." if len(found) > 12 else "") or "nothing"


def _described(value: Value) -> str:
    if isinstance(value, np.ndarray):
        return "numbers " + " x ".join(map(str, value.shape))
    if isinstance(value, dict):
        return "struct"
    if isinstance(value, list):
        first = f", the first: {_described(value[0])}" if value else ""
        return f"{len(value)} entries{first}"[:80]
    return value.kind if isinstance(value, Unread) else "text"
