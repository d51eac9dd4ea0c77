"""Annotation pickles of PYSKL: NTU in three dimensions, and COCO's 17 joints found in images.

A file is a dict: `annotations` is a list of dicts with `frame_dir` (the clip's name), `label` (from
0), `total_frames` and `keypoint`, an array (bodies, frames, joints, coordinates); poses found in
images come with `keypoint_score` and `img_shape` (height, width). `split` names lists of clips,
such as "xsub_train". A bare list of annotations will do. A score is never passed off as depth.

Kinetics-400 keeps its poses elsewhere: `raw_file` names another pickle, a dict from `frame_dir` to
`keypoint` (skeletons, joints, 3) with x, y and score, and `frame_inds` says in which frame (from 0)
each of these skeletons was found. Of those in one frame, the ones with the best `box_score` are
taken. That variant follows PYSKL's description of it; no real file was at hand.

Only NTU's clips say who is in them. The others are numbered by group: with `group_pattern`, clips
whose name begins alike belong together, such as those cut from one video; without, each clip stands
for itself.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from nas_skeleton.cards import Card
from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.readers import RawClip
from nas_skeleton.skeletons.readers.files import open_files, printable
from nas_skeleton.skeletons.readers.unpickling import SUFFIXES, open_pickle, unpickle

if TYPE_CHECKING:
    from nas_skeleton.skeletons.card import DatasetCard

VERSION: int = 1
NEEDS_RAW: bool = True
LAYOUTS: tuple[str, ...] = ("ntu", "coco17")
PARALLEL: bool = False

MAX_BYTES = 2 * 2**30
"""Largest pickle that is read out of a zip, into memory; one on the disk may have any size."""

MAX_FRAMES = 100_000
"""Most frames of a clip: the real ones have 300."""

# Joints and coordinates of what there is, and what it is called.
_KNOWN = {(25, 3): "ntu", (17, 2): "coco17"}
_LARGEST = 2**63  # of whole numbers; what is larger does not even print
_MOST_ANNOTATIONS, _MOST_LISTED = 2_000_000, 10_000_000  # a pickle may name one thing many times
_NTU = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})", re.ASCII)
_PLACE = re.compile(r"(annotations|split)\[")
"""How sources begin that are called by their place; a clip of such a name is called so, too."""


class Options(Card):
    """What a card may say about its pickle.

    Attributes:
        group_pattern: regular expression; what its first pair of brackets finds at the beginning
            of a clip's name is the group the clip belongs to. Groups are numbered from 1 in the
            order of their names and take the place of persons.
        people: most bodies kept in a frame of the Kinetics-400 variant.
        frames_per_second: of all clips; the files do not say.
    """

    group_pattern: str = ""
    people: Annotated[int, Field(ge=1, le=100)] = 5
    frames_per_second: Annotated[float, Field(gt=0)] | None = None

    @field_validator("group_pattern")
    @classmethod
    def _has_brackets(cls, pattern: str) -> str:
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        if pattern and not groups:
            raise ValueError("needs a pair of brackets around what names the group")
        return pattern


class _Listed(NamedTuple):
    """A clip that is only named in a list."""

    list: str


class _Who(NamedTuple):
    """Whose clip it is, as far as its name says."""

    subject: int
    group: str = ""
    camera: int | None = None
    setup: int | None = None
    trial: int | None = None


class Annotations:
    """The clips of one pickle, in its order."""

    sources: Sequence[str]

    def __init__(self, content: object, folder: Path, options: Options) -> None:
        entries, split = _parts(content)
        self._folder, self._options = folder, options
        self._lists = _lists_of(split)
        self._entries: dict[str, object] = {}
        names: set[str] = set()
        for index, entry in enumerate(entries):
            name = entry.get("frame_dir") if isinstance(entry, dict) else None
            if isinstance(name, str) and name:
                names.add(name)
            self._entries[self._source(name, f"annotations[{index}]")] = entry
        for index, (listed, lists) in enumerate(self._lists.items()):
            if listed not in names:
                self._entries[self._source(listed, f"split[{index}]")] = _Listed(lists[0])
        self._who = _Owners(names, options)
        self.sources = tuple(self._entries)

    def _source(self, name: object, place: str) -> str:
        """The clip's name; its place where it has none or the name is taken, so all differ."""
        if not isinstance(name, str) or not name or _PLACE.match(name):
            return place
        return place if printable(name) in self._entries else printable(name)

    def read(self, source: str) -> Sequence[RawClip]:
        """The clip of one annotation; the message of an `InputError` is the reason alone."""
        entry = self._entries[source]
        if isinstance(entry, _Listed):
            raise InputError(f"stands in the list {entry.list!r}, but there is no annotation of it")
        name = _value(entry, "frame_dir", str)
        label = _value(entry, "label", int)
        frames = _value(entry, "total_frames", int)
        if not 0 <= frames <= MAX_FRAMES:
            raise InputError(f"total_frames is {frames}, more than {MAX_FRAMES} or less than none")
        poses, axes = self._poses(entry, name, frames)
        if poses.shape[1] != frames:
            raise InputError(f"keypoint has {poses.shape[1]} frames, total_frames says {frames}")
        who = self._who.of(name)
        digest = hashlib.sha256(repr((name, label, poses.shape)).encode())
        digest.update(poses.tobytes())
        return [
            RawClip(
                id=printable(name),
                label=label,
                subject=who.subject,
                coordinates=poses.transpose(3, 1, 2, 0),
                digest=f"sha256 {digest.hexdigest()}",
                axes=axes,
                trial=who.trial,
                camera=who.camera,
                setup=who.setup,
                group=who.group,
                frames_per_second=self._options.frames_per_second,
                image_size=_image_size(entry),
                lists=self._lists.get(name, ()),
            )
        ]

    def _poses(
        self, entry: Any, name: str, frames: int
    ) -> tuple[NDArray[np.float64], tuple[str, ...]]:
        """`(M, T, V, C)` and the names of C."""
        if "keypoint" not in entry and "raw_file" in entry:
            return self._gathered(entry, name, frames), ("x", "y", "score")
        poses = _array(entry, "keypoint", 4)
        joints, coordinates = poses.shape[2:]
        if (joints, coordinates) not in _KNOWN:
            raise InputError(
                f"{joints} joints with {coordinates} coordinates; known are NTU's 25 with 3 and "
                "COCO's 17 with 2 and a keypoint_score"
            )
        axes = ("x", "y", "z")[:coordinates]
        if "keypoint_score" not in entry:
            return poses, axes
        score = _array(entry, "keypoint_score", 3)
        if score.shape != poses.shape[:3]:
            raise InputError(
                f"keypoint_score has shape {score.shape}, keypoint has {poses.shape[:3]}"
            )
        return np.concatenate((poses, score[..., np.newaxis]), axis=3), (*axes, "score")

    def _gathered(self, entry: Any, name: str, frames: int) -> NDArray[np.float64]:
        """The poses `(M, T, 17, 3)` out of the file in which Kinetics-400 keeps them."""
        path = _inside(self._folder, _value(entry, "raw_file", str))
        held = _pickle_beside(path)
        if not isinstance(held, dict) or name not in held:
            raise InputError(f"{path.name}, its raw_file, does not have it")
        found = _array(held[name], "keypoint", 3)
        places = _array(entry, "frame_inds", 1)
        boxes = _array(entry, "box_score", 1) if "box_score" in entry else np.ones(len(found))
        if found.shape[1:] != (17, 3) or not len(found) == len(places) == len(boxes):
            raise InputError(
                f"keypoint of its raw_file has shape {found.shape}, for {len(places)} frame_inds "
                f"and {len(boxes)} box_score; wanted are 17 joints with x, y and score for each"
            )
        if not ((places >= 0) & (places < frames) & (places == np.floor(places))).all():
            raise InputError(f"frame_inds are not all within its {frames} frames")
        at = places.astype(np.int64)
        order = np.lexsort((-boxes, at))
        at = at[order]
        rank = np.arange(len(at)) - np.searchsorted(at, at)
        kept = rank < self._options.people
        poses = np.zeros((int(rank[kept].max(initial=-1)) + 1, frames, 17, 3))
        poses[rank[kept], at[kept]] = found[order][kept]
        return poses


def open_raw(raw: Path | None, card: DatasetCard) -> Annotations:
    """Read the pickle's table of contents; its arrays stay on the disk.

    Raises:
        InputError: no pickle or several, one with more than plain data in it, or no annotations.
    """
    if raw is None:
        raise InputError(f"data set {card.name!r}: its reader needs raw files")
    try:
        folder, content = _opened(raw)
        return Annotations(content, folder, card.checked_options())
    except _ReasonError as error:
        raise InputError(f"{raw}: {error}") from None


def complete_ids(card: DatasetCard) -> Iterable[str]:  # noqa: ARG001
    """Not known."""
    return ()


class _ReasonError(Exception):
    """Why a pickle is of no use, without its name."""


class _Owners:
    """Numbers for those whom the clips belong to."""

    def __init__(self, names: Iterable[str], options: Options) -> None:
        self._pattern = re.compile(options.group_pattern) if options.group_pattern else None
        self._are_ntu = not self._pattern and any(map(_NTU.fullmatch, names))
        groups = set() if self._are_ntu else set(map(self._group, names))
        self._numbers = {group: i for i, group in enumerate(sorted(filter(None, groups)), 1)}

    def of(self, name: str) -> _Who:
        if self._are_ntu:
            match = _NTU.fullmatch(name)
            if not match:
                raise InputError("not a name of NTU such as S001C001P001R001A001, as others are")
            setup, camera, person, replication, _ = map(int, match.groups())
            return _Who(person, "", camera, setup, replication)
        group = self._group(name)
        if not group:
            raise InputError("group_pattern of the card finds no group at the start of its name")
        return _Who(self._numbers[group], printable(group))

    def _group(self, name: str) -> str | None:
        if self._pattern is None:
            return name
        match = self._pattern.match(name)
        return match.group(1) if match else None


def _opened(raw: Path) -> tuple[Path, object]:
    """The folder and content of a pickle, or of the uppermost one in a folder or zip."""
    try:
        if raw.name.lower().endswith(SUFFIXES) and not raw.is_dir():
            return raw.parent, open_pickle(raw)
        advice = "unpack the zip and name the pickle itself"
        files = open_files(raw, SUFFIXES, MAX_BYTES, if_larger=advice)
    except InputError as error:
        raise _ReasonError(str(error).removeprefix(f"{raw}: ")) from None
    depth = min(name.count("/") for name in files.names)
    upper = [name for name in files.names if name.count("/") == depth]
    if len(upper) > 1:
        raise _ReasonError(f"several pickles in it, such as {upper[0]} and {upper[1]}; name one")
    path = raw / upper[0]
    try:
        loose = path.is_file() and path.resolve().is_relative_to(raw.resolve())
        content = open_pickle(path) if loose else unpickle(files.read(upper[0]))
    except InputError as error:
        raise _ReasonError(f"{upper[0]}: {error}") from None
    return path.parent, content


def _parts(content: object) -> tuple[list[object], dict[Any, Any]]:
    entries = content.get("annotations") if isinstance(content, dict) else content
    split = content.get("split", {}) if isinstance(content, dict) else {}
    if not isinstance(entries, list):
        there = _keys(content) if isinstance(content, dict) else _kind(content)
        raise _ReasonError(f"no list of annotations in it; there is {there}")
    if not entries:
        raise _ReasonError("its list of annotations is empty")
    if len(entries) > _MOST_ANNOTATIONS:
        raise _ReasonError(f"{len(entries)} annotations, more than {_MOST_ANNOTATIONS}")
    if not isinstance(split, dict) or not all(
        isinstance(name, str) and isinstance(names, (list, tuple, set, frozenset))
        for name, names in split.items()
    ):
        raise _ReasonError("split is not a dict of lists of names")
    if sum(map(len, split.values())) > _MOST_LISTED:
        raise _ReasonError(f"its lists have more than {_MOST_LISTED} names")
    return entries, split


def _lists_of(split: dict[str, Iterable[object]]) -> dict[str, tuple[str, ...]]:
    """The lists in which each clip stands."""
    lists: dict[str, dict[str, None]] = {}
    for name, clips in split.items():
        if not name.isprintable():
            raise _ReasonError(f"the list {name[:40]!a} of split has no printable name")
        for clip in clips:
            if not isinstance(clip, str):
                raise _ReasonError(f"the list {name!r} of split holds {_kind(clip)}, not a name")
            lists.setdefault(clip, {})[name] = None
    return {clip: tuple(names) for clip, names in lists.items()}


def _inside(folder: Path, named: str) -> Path:
    """The file of that name below `folder`, which may lie deeper or less deep than it says."""
    parts = [part for part in PurePosixPath(named).parts if part not in ("/", "..")]
    for start in range(len(parts)):
        path = folder.joinpath(*parts[start:])
        with suppress(OSError):  # such as a name that no file can have
            if path.is_file() and path.resolve().is_relative_to(folder.resolve()):
                return path
    raise InputError(f"its poses are in {printable(named)}, which is not beside the annotations")


@lru_cache(maxsize=16)
def _pickle_beside(path: Path) -> object:
    try:
        return open_pickle(path)
    except InputError as error:
        raise InputError(f"its raw_file {printable(path.name)}: {error}") from None


def _value(entry: object, key: str, kind: type[Any]) -> Any:
    if not isinstance(entry, dict):
        raise InputError(f"the annotation is {_kind(entry)}, not a dict")
    if key not in entry:
        raise InputError(f"no {key} in the annotation; there is {_keys(entry)}")
    if type(entry[key]) is not kind:
        raise InputError(f"{key} is {_kind(entry[key])}, not {_NAMES[kind]}")
    if kind is int and not -_LARGEST < entry[key] < _LARGEST:
        raise InputError(f"{key} is a number out of all proportion")
    return entry[key]


def _array(entry: object, key: str, axes: int) -> NDArray[np.float64]:
    value = entry.get(key) if isinstance(entry, dict) else None
    if isinstance(value, list) and axes == 1:
        value = np.array(value) if {*map(type, value)} <= {int, float} else value
    if not isinstance(value, np.ndarray):
        what = f"is {_kind(value)}, not an array" if value is not None else "is missing"
        raise InputError(f"{key} {what}; there is {_keys(entry)}")
    if value.ndim != axes or value.dtype.kind not in "fiu":
        raise InputError(
            f"{key} has shape {value.shape} of {value.dtype}, not {axes} axes of numbers"
        )
    if not value.size:  # whatever shape it claims, nothing may be made of that size
        value = value[:1]
    with np.errstate(invalid="ignore"):  # a signalling NaN is a NaN
        return value.astype(np.float64)


def _image_size(entry: Any) -> tuple[int, int] | None:
    shape = entry.get("img_shape")
    if shape is None:
        return None
    sizes = tuple(shape) if isinstance(shape, (tuple, list)) else ()
    if len(sizes) != 2 or not all(type(size) is int and 0 < size < _LARGEST for size in sizes):
        raise InputError("img_shape is not height and width in pixels")
    return sizes[1], sizes[0]


def _keys(entry: object) -> str:
    names = sorted(key for key in entry if isinstance(key, str)) if isinstance(entry, dict) else []
    return printable(", ".join(name[:40] for name in names[:12])) or "nothing"


_NAMES: dict[type[Any], str] = {str: "text", int: "a whole number"}


def _kind(value: object) -> str:
    return _NAMES.get(type(value), f"a {type(value).__name__}")
