"""Kinetics skeletons as ST-GCN published them: one JSON file per clip, poses found by OpenPose.

A file holds `data`, a list of frames, each with `frame_index` (from 1) and `skeleton`, a list of
people with `pose` (x and y of 18 joints, from 0 to 1) and `score`; and `label_index` (from 0). The
clips lie in folders such as `kinetics_train`, beside a `kinetics_train_label.json` that names them
with their labels. A folder's name up to its last `_` apart ("train", "val") is the list that its
clips stand in. What that file says of `has_skeleton` is known to be wrong at times; what counts is
what a clip's own file holds.

The score is an axis of its own. A joint that was not found has x, y and score zero. Nobody knows
who the people are, so every clip is a group of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nas_skeleton.cards import Card
from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.readers import RawClip
from nas_skeleton.skeletons.readers.files import Files, base_name, open_files, printable
from nas_skeleton.skeletons.readers.jsonfile import entry, numbers, read_object

if TYPE_CHECKING:
    from nas_skeleton.skeletons.card import DatasetCard

VERSION: int = 1
NEEDS_RAW: bool = True
LAYOUTS: tuple[str, ...] = ("openpose18",)
PARALLEL: bool = True

AXES = ("x", "y", "score")
MAX_BYTES = 256 * 2**20
"""Largest file that is read: the list of all 240,000 clips for training has some 25 MB."""
MAX_FRAMES = 20_000
"""Most frames of a clip: the real ones have 300."""

_JOINTS = 18
_SUFFIX, _LIST_SUFFIX = ".json", "_label.json"


class Options(Card):
    """What a card may say about its clips.

    Attributes:
        people: how many of the people in a frame are taken, the first ones; ST-GCN takes five.
        frames_per_second: of all clips; the files do not say.
    """

    people: Annotated[int, Field(ge=1, le=100)] = 5
    frames_per_second: Annotated[float, Field(gt=0)] | None = None


class KineticsFiles:
    """The clips of folders or a zip, by name; clips that are only listed come last."""

    sources: Sequence[str]

    def __init__(self, files: Files, options: Options) -> None:
        self._files, self._options = files, options
        self._labels: dict[str, dict[str, Any]] = {}  # of each folder
        clips = []
        for name in files.names:
            if not name.endswith(_LIST_SUFFIX):
                clips.append(name)
                continue
            try:
                self._labels[base_name(name).removesuffix(_LIST_SUFFIX)] = read_object(
                    files.read(name)
                )
            except InputError as error:
                raise InputError(f"{name}: {error}") from None
        there = {(_folder(name), _stem(name)) for name in clips}
        self._missing = {
            printable(f"{folder}/{clip}{_SUFFIX}"): folder
            for folder, labels in self._labels.items()
            for clip, said in labels.items()
            if (folder, clip) not in there and _has_skeleton(said)
        }
        self._groups = {clip: i for i, clip in enumerate(sorted({*map(_stem, clips)}), 1)}
        self.sources = (*clips, *sorted(set(self._missing) - set(clips)))

    def read(self, source: str) -> Sequence[RawClip]:
        """The clip of one file; the message of an `InputError` is the reason alone."""
        if source in self._missing:
            folder = self._missing[source]
            raise InputError(f"listed in {folder}{_LIST_SUFFIX}, but there is no such file")
        content = self._files.read(source)
        clip = read_object(content)
        label = entry(clip, "label_index", int)
        folder, stem = _folder(source), _stem(source)
        self._compare(folder, stem, label)
        return [
            RawClip(
                id=stem,
                label=label,
                subject=self._groups[stem],
                group=stem,
                coordinates=poses(clip, self._options.people),
                digest=f"sha256 {hashlib.sha256(content).hexdigest()}",
                axes=AXES,
                frames_per_second=self._options.frames_per_second,
                lists=(folder.rpartition("_")[2],) if folder else (),
            )
        ]

    def _compare(self, folder: str, stem: str, label: int) -> None:
        """Hold a clip's label against the list of its folder, if there is one."""
        labels = self._labels.get(folder)
        if labels is None:
            return
        if stem not in labels:
            raise InputError(f"not listed in {folder}{_LIST_SUFFIX}")
        listed = entry(labels[stem], "label_index", int, f"{folder}{_LIST_SUFFIX}: {stem}.")
        if listed != label:
            raise InputError(f"label_index is {label}, {folder}{_LIST_SUFFIX} says {listed}")


def open_raw(raw: Path | None, card: DatasetCard) -> KineticsFiles:
    """Find the files and read the lists of labels.

    Raises:
        InputError: nothing usable there.
    """
    if raw is None:
        raise InputError(f"data set {card.name!r}: its reader needs raw files")
    files = open_files(raw, (_SUFFIX,), MAX_BYTES)
    try:
        found = KineticsFiles(files, card.checked_options())
    except InputError as error:
        raise InputError(f"{raw}: {error}") from None
    if not found.sources:
        raise InputError(f"{raw}: no clips in it, only lists of labels")
    return found


def complete_ids(card: DatasetCard) -> Iterable[str]:  # noqa: ARG001
    """Not known."""
    return ()


def poses(clip: dict[str, Any], people: int) -> NDArray[np.float64]:
    """`(3, T, 18, M)` of a clip: x, y and score; frames without people are zero.

    Raises:
        InputError: the content is not what it should be; the message names the key.
    """
    frames = entry(clip, "data", list)
    found: dict[int, list[NDArray[np.float64]]] = {}
    for place, frame in enumerate(frames):
        where = f"data[{place}]."
        index = entry(frame, "frame_index", int, where)
        if not 1 <= index <= MAX_FRAMES:
            raise InputError(f"{where}frame_index is {index}, not from 1 to {MAX_FRAMES}")
        if index in found:
            raise InputError(f"{where}frame_index {index} is there twice")
        there = entry(frame, "skeleton", list, where)[:people]
        found[index] = [_person(one, f"{where}skeleton[{i}].") for i, one in enumerate(there)]
    bodies = max(map(len, found.values()), default=0)
    coordinates = np.zeros((max(found, default=0), bodies, _JOINTS, len(AXES)))
    for index, persons in found.items():
        for body, person in enumerate(persons):
            coordinates[index - 1, body] = person
    return coordinates.transpose(3, 0, 2, 1)


def _person(person: object, where: str) -> NDArray[np.float64]:
    """`(18, 3)`."""
    pose = numbers(entry(person, "pose", list, where), f"{where}pose")
    score = numbers(entry(person, "score", list, where), f"{where}score")
    for key, found, count in (("pose", pose, 2 * _JOINTS), ("score", score, _JOINTS)):
        if len(found) != count:
            raise InputError(f"{where}{key} has {len(found)} numbers, not {count}")
    return np.column_stack((pose.reshape(_JOINTS, 2), score))


def _folder(name: str) -> str:
    return base_name(name.rpartition("/")[0])


def _stem(name: str) -> str:
    return base_name(name)[: -len(_SUFFIX)]


def _has_skeleton(said: object) -> bool:
    return not isinstance(said, dict) or said.get("has_skeleton") is not False
