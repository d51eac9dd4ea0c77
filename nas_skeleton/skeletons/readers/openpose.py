"""OpenPose's output: one JSON file per frame of a video, joined and cut into clips.

Files are called `VIDEO_000000000012_keypoints.json` after video and frame; each holds `people`, a
list with `pose_keypoints_2d` of x, y and confidence in pixels: 25 joints (BODY_25) or 18 (COCO). A
joint that was not found is all zero. Confidence is the axis "score" and never depth. A number
without a file is a frame without people.

What is done in a video, by whom and before which camera is read from its name by a regular
expression that the card gives. All frames of a video are one recording, of which clips of
`clip_frames` are cut; their ids are VIDEO_FIRST_LAST, after the numbers of their frames. VIDEO has
the folders before it from the one on in which the expression found its beginning, as in
`karate/subject3_cam1_0_99`: what tells videos apart is in their ids, and the folder or zip that all
of them lie in is not. An expression that begins with `[^/]+/` takes in one folder more.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.readers import RawClip
from nas_skeleton.skeletons.readers.cutting import CutOptions, check_pattern, windows
from nas_skeleton.skeletons.readers.files import Files, base_name, open_files
from nas_skeleton.skeletons.readers.jsonfile import entry, numbers, read_object

if TYPE_CHECKING:
    from nas_skeleton.skeletons.card import DatasetCard

VERSION: int = 1
NEEDS_RAW: bool = True
LAYOUTS: tuple[str, ...] = ("body25", "openpose18")
PARALLEL: bool = True

AXES = ("x", "y", "score")
MAX_BYTES = 16 * 2**20
"""Largest file that is read; one person takes 2 kB."""
MAX_FRAMES = 1_000_000
"""Most frames of a video: nine hours."""
MAX_NUMBERS = 2**27
"""Most numbers of a clip: five people of 25 joints for three hours."""

_JOINTS = {75: 25, 54: 18}
_KEY = "pose_keypoints_2d"
_NAME = re.compile(r"(.+)_([0-9]{1,18})_keypoints\.json", re.DOTALL)
_SUFFIX = ".json"

Frame = NDArray[np.float64]
"""The people of a frame: `(M, V, 3)`."""


class Options(CutOptions):
    """What a card must and may say about its videos.

    Attributes:
        name_pattern: regular expression, searched in the video's name with the folders before it,
            such as "wave/anna_1". The named group `action` is the name of a class or its number
            from 1; `subject`, `camera` and `trial` are numbers and may be left out. Without
            `subject`, each video is a group of its own, numbered from 1.
        people: how many of the people in a frame are taken, those with most confidence.
        frames_per_second: of all videos; the files do not say.
    """

    name_pattern: str
    people: Annotated[int, Field(ge=1, le=100)] = 5
    frames_per_second: Annotated[float, Field(gt=0)] | None = None

    @field_validator("name_pattern")
    @classmethod
    def _names_the_action(cls, pattern: str) -> str:
        return check_pattern(pattern, {"action"}, {"action", "subject", "camera", "trial"})


@dataclass(frozen=True)
class _Meaning:
    """What a video's name says; `name` is the part of it that goes into ids."""

    name: str
    label: int
    subject: int
    camera: int | None
    trial: int | None
    group: str


class Videos:
    """The videos of folders or a zip, by name; files that belong to none come last."""

    sources: Sequence[str]

    def __init__(self, files: Files, card: DatasetCard) -> None:
        self._files, self._classes = files, card.classes
        self._options: Options = card.checked_options()
        self._joints = len(card.skeleton.joints)
        self._frames: dict[str, list[tuple[int, str]]] = {}
        strangers = []
        for name in files.names:
            match = _NAME.fullmatch(base_name(name))
            if match:
                video = name[: len(name) - len(base_name(name))] + match[1]
                self._frames.setdefault(video, []).append((int(match[2]), name))
            else:
                strangers.append(name)
        self._places = {video: place for place, video in enumerate(sorted(self._frames), 1)}
        self._called: dict[str, list[str]] = {}
        for video in self._places:
            match = self._search(video)
            if match:
                self._called.setdefault(_name_from(match), []).append(video)
        self.sources = (*self._places, *strangers)

    def read(self, source: str) -> Sequence[RawClip]:
        """The clips of one video; the message of an `InputError` is the reason alone."""
        if source not in self._frames:
            raise InputError(
                "not a name like VIDEO_000000000012_keypoints.json; rename or remove the file"
            )
        meaning = self._meaning(source)
        files = sorted(self._frames[source])
        first, last = files[0][0], files[-1][0]
        twice = next((a for a, b in pairwise(files) if a[0] == b[0]), None)
        if twice:
            raise InputError(f"two files for frame {twice[0]}, one is {base_name(twice[1])}")
        if last - first >= MAX_FRAMES:
            raise InputError(f"frames {first} to {last}: more than the {MAX_FRAMES} that are read")
        digest = hashlib.sha256()
        people: dict[int, Frame] = {}
        for number, name in files:
            try:
                content = self._files.read(name)
                digest.update(b"%d %d " % (number, len(content)))
                digest.update(content)
                found = read_frame(content, self._options.people, self._joints)
            except InputError as error:
                raise InputError(f"frame {number}: {error}") from None
            if len(found):
                people[number] = found
        clips = windows(last - first + 1, self._options.clip_frames, self._options.overlap)
        return [
            RawClip(
                id=f"{meaning.name}_{first + clip.start}_{first + clip.stop - 1}",
                label=meaning.label,
                subject=meaning.subject,
                coordinates=self._joined(people, range(first + clip.start, first + clip.stop)),
                digest=f"sha256 {digest.hexdigest()}",
                axes=AXES,
                camera=meaning.camera,
                trial=meaning.trial,
                group=meaning.group,
                frames_per_second=self._options.frames_per_second,
            )
            for clip in clips
        ]

    def _joined(self, people: dict[int, Frame], frames: range) -> NDArray[np.float64]:
        """`(3, T, V, M)`; frames without people are zero."""
        there = [number for number in frames if number in people]
        bodies = max((len(people[number]) for number in there), default=0)
        if len(frames) * bodies * self._joints * len(AXES) > MAX_NUMBERS:
            raise InputError(
                f"a clip of {len(frames)} frames and {bodies} people is too large; set clip_frames "
                "in the card's reader_options"
            )
        coordinates = np.zeros((len(frames), bodies, self._joints, len(AXES)))
        for number in there:
            found = people[number]
            coordinates[number - frames.start, : len(found)] = found
        return coordinates.transpose(3, 0, 2, 1)

    def _search(self, video: str) -> re.Match[str] | None:
        return re.search(self._options.name_pattern, video)

    def _meaning(self, video: str) -> _Meaning:
        match = self._search(video)
        if not match:
            raise InputError(f"name_pattern of the card does not fit the name {video!r}")
        name = _name_from(match)
        other = next((other for other in self._called[name] if other != video), None)
        if other:
            raise InputError(
                f"its clips would be called like those of {other}; rename one, or let "
                "name_pattern begin with [^/]+/ for the folder that tells them apart"
            )
        said = match.groupdict()
        whole = {key: _whole(key, said.get(key)) for key in ("subject", "camera", "trial")}
        subject = whole["subject"]
        return _Meaning(
            name=name,
            label=self._label(said["action"]),
            subject=self._places[video] if subject is None else subject,
            camera=whole["camera"],
            trial=whole["trial"],
            group=name if subject is None else "",
        )

    def _label(self, action: str | None) -> int:
        if action in self._classes:
            return self._classes.index(action)
        if action and action.isdecimal() and 0 < int(action[:9]) <= len(self._classes):
            return int(action) - 1
        raise InputError(
            f"action {action!r} in its name is no class of the card and no number from 1 to "
            f"{len(self._classes)}"
        )


def open_raw(raw: Path | None, card: DatasetCard) -> Videos:
    """Find the frames and sort them by video.

    Raises:
        InputError: nothing usable there.
    """
    if raw is None:
        raise InputError(f"data set {card.name!r}: its reader needs raw files")
    return Videos(open_files(raw, (_SUFFIX,), MAX_BYTES), card)


def complete_ids(card: DatasetCard) -> Iterable[str]:  # noqa: ARG001
    """Not known."""
    return ()


def read_frame(content: bytes, people: int, joints: int) -> Frame:
    """The people of a frame, at most so many, in the order of the file.

    Somebody of whom only face or hands were found is passed over.

    Raises:
        InputError: not what OpenPose writes, or with other joints than the card's layout.
    """
    found = []
    for place, person in enumerate(entry(read_object(content), "people", list)):
        where = f"people[{place}]."
        pose = numbers(entry(person, _KEY, list, where), where + _KEY)
        if not len(pose):
            continue
        if len(pose) not in _JOINTS:
            known = " or ".join(str(count) for count in _JOINTS)
            raise InputError(f"{where}{_KEY} has {len(pose)} numbers, not {known}")
        if _JOINTS[len(pose)] != joints:
            raise InputError(
                f"{where}{_KEY} has {_JOINTS[len(pose)]} joints, the card's layout has {joints}"
            )
        found.append(pose.reshape(joints, len(AXES)))
    if len(found) > people:
        surest = np.argsort([-np.nan_to_num(pose[:, 2]).mean() for pose in found], kind="stable")
        found = [found[place] for place in sorted(surest[:people])]
    return np.array(found).reshape(len(found), joints, len(AXES))


def _name_from(match: re.Match[str]) -> str:
    """A video's name from the folder on in which a pattern was found."""
    return match.string[match.string.rfind("/", 0, match.start() + 1) + 1 :]


def _whole(key: str, said: str | None) -> int | None:
    if said is None:
        return None
    if not said.isdecimal() or len(said) > 9:
        raise InputError(f"{key} {said!r} in its name is no number; mend name_pattern of the card")
    return int(said)
