"""What a data set's card may say: where the raw files come from, what they hold, how to split them.

Cards are the TOML files in `datasets/`. A card is all it takes to add a data set whose raw format
has a reader. Nothing here opens data.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from nas_skeleton.cards import Card, card_folders
from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.layouts import LAYOUTS, Layout, get_layout
from nas_skeleton.skeletons.readers import READERS, get_reader
from nas_skeleton.skeletons.steps import AnyStep

PARTS = ("train", "valid", "test")
_RANGE = re.compile(r"([0-9]{1,9})-([0-9]{1,9})")
_MOST_IN_RANGE = 1_000_000


def _expanded(values: Any) -> Any:
    """Numbers, where "3-6" stands for 3, 4, 5, 6."""
    if not isinstance(values, list | tuple):
        return values
    expanded: list[Any] = []
    for value in values:
        match = _RANGE.fullmatch(value) if isinstance(value, str) else None
        if not match:
            expanded.append(value)
            continue
        first, last = int(match[1]), int(match[2])
        if not first <= last < first + _MOST_IN_RANGE:
            raise ValueError(f"{value!r} is no range like '1-40'")
        expanded += range(first, last + 1)
    return tuple(expanded)


def _numbered(classes: Any) -> Any:
    """Class names; a number of classes without names gets "class 1" and so on."""
    if isinstance(classes, int) and 2 <= classes < 2**15:
        return tuple(f"class {number}" for number in range(1, classes + 1))
    return classes


# TOML has arrays only; a strict model would not take one for a tuple. The items stay strict.
Name = Annotated[str, Field(min_length=1)]
Names = Annotated[tuple[Name, ...], Field(strict=False)]
Number = Annotated[int, Field(ge=0, lt=2**31)]
Numbers = Annotated[tuple[Number, ...], Field(strict=False), BeforeValidator(_expanded)]
ClassName = Annotated[str, Field(pattern=r"\S")]
Classes = Annotated[
    tuple[ClassName, ...], Field(strict=False, min_length=2), BeforeValidator(_numbered)
]
Subjects = Annotated[
    tuple[Number, ...], Field(strict=False, min_length=1), BeforeValidator(_expanded)
]
Count = Annotated[int, Field(ge=0)]
Pair = Annotated[tuple[Name, Name], Field(strict=False)]
Pairs = Annotated[tuple[Pair, ...], Field(strict=False)]
Axes = Annotated[tuple[Literal["x", "y", "z", "score"], ...], Field(strict=False, min_length=2)]


class Download(Card):
    """A plain URL from which a raw file may be fetched, and what it must be then.

    `file` is one of the names in `[raw] files`.
    """

    file: Name
    url: Annotated[str, Field(pattern=r"^https://")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(gt=0)]


class RawFiles(Card):
    """Where the raw data comes from; `files` are the names looked for, the first one found wins."""

    files: Annotated[tuple[Name, ...], Field(strict=False, min_length=1)]
    get: str
    download: Download | None = None

    @field_validator("files")
    @classmethod
    def _stay_in_the_folder(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if Path(name).is_absolute() or ".." in Path(name).parts:
                raise ValueError(f"{name!r} leaves the folder of the data set")
        return names

    @model_validator(mode="after")
    def _download_is_looked_for(self) -> RawFiles:
        if self.download and self.download.file not in self.files:
            raise ValueError(f"download.file {self.download.file!r} is not among files")
        return self


class OwnLayout(Card):
    """The joints of a data set whose skeleton has no name yet, see `layouts.Layout`.

    Bones are pairs [child, parent] of joint names, left/right pairs are [left, right].
    """

    joints: Annotated[tuple[Name, ...], Field(strict=False, min_length=2)]
    bones: Pairs
    centre: Name
    centring_joint: Name
    left_right: Pairs = ()

    def layout(self, name: str) -> Layout:
        """The layout, under the data set's name.

        Raises:
            InputError: a joint that is not among `joints`, or bones that are no tree.
        """

        def index(joint: str) -> int:
            if joint not in self.joints:
                raise InputError(f"layout {name!r}: {joint!r} is not among its joints")
            return self.joints.index(joint)

        return Layout(
            name=name,
            joints=self.joints,
            edges=tuple((index(child), index(parent)) for child, parent in self.bones),
            centre=index(self.centre),
            centring_joint=index(self.centring_joint),
            left_right=tuple((index(left), index(right)) for left, right in self.left_right),
        )


class Expected(Card):
    """What a complete copy of the data holds. `data check` compares; nothing else looks at it.

    `missing` names the clips that a recording without losses would have and the distribution lacks.
    """

    clips: Count | None = None
    missing: Names | None = None
    min_frames: Count | None = None
    max_frames: Count | None = None


class Protocol(Card):
    """A split by subjects, cameras, setups, or by lists that were published with the data.

    What is for training and what for the test is said by two keys of one kind, such as
    `train_cameras` and `test_cameras`. The clips to choose with are taken out of the training side:
    those of `valid_subjects`, or of a share of its subjects (`valid_share`), or a list of their own
    (`valid_lists`). The counts, where given, are checked by `data check`.
    """

    train_subjects: Numbers = ()
    valid_subjects: Numbers = ()
    test_subjects: Numbers = ()
    train_cameras: Numbers = ()
    test_cameras: Numbers = ()
    train_setups: Numbers = ()
    test_setups: Numbers = ()
    train_lists: Names = ()
    valid_lists: Names = ()
    test_lists: Names = ()
    valid_share: Annotated[float, Field(gt=0, lt=1)] | None = None
    note: str = ""
    train_clips: Count | None = None
    valid_clips: Count | None = None
    test_clips: Count | None = None

    @model_validator(mode="after")
    def _holds_together(self) -> Protocol:
        kinds = [
            kind for kind in KINDS if self._listed("train", kind) or self._listed("test", kind)
        ]
        if len(kinds) != 1:
            raise ValueError(
                "give train_ and test_ keys of exactly one kind: subjects, cameras, setups or lists"
            )
        [kind] = kinds
        if not self._listed("train", kind) or not self._listed("test", kind):
            raise ValueError(f"train_{kind} and test_{kind} must not be empty")
        listed = [value for part in self.parts().values() for value in part]
        twice = sorted({value for value in listed if listed.count(value) > 1}, key=str)
        if twice:
            raise ValueError(
                f"{kind[:-1]} {twice[0]} is listed twice; every {kind[:-1]} is in one part only"
            )
        ways = (self.valid_subjects, self.valid_lists, self.valid_share)
        if sum(map(bool, ways)) > 1:
            raise ValueError("give one of valid_subjects, valid_lists, valid_share, or none")
        if self.valid_lists and kind != "lists":
            raise ValueError("valid_lists goes with train_lists and test_lists")
        return self

    @property
    def kind(self) -> str:
        """What the split goes by: "subjects", "cameras", "setups" or "lists"."""
        return next(kind for kind in KINDS if self._listed("train", kind))

    def parts(self) -> dict[str, tuple[Any, ...]]:
        """What is listed, of the protocol's kind, for "train", "valid" and "test"."""
        return {part: self._listed(part, self.kind) for part in PARTS}

    def expected_clips(self) -> dict[str, int | None]:
        """Clips that "train", "valid" and "test" should have, None where the card is silent."""
        return {
            "train": self.train_clips,
            "valid": self.valid_clips,
            "test": self.test_clips,
        }

    def _listed(self, part: str, kind: str) -> tuple[Any, ...]:
        return getattr(self, f"{part}_{kind}", ())


KINDS = ("subjects", "cameras", "setups", "lists")


class DatasetCard(Card):
    """A data set: `datasets/NAME.toml`.

    `bodies` is M, the number of bodies in every prepared clip; `axes` the names of C; `steps` are
    cleaning steps, in order. `subjects` may be left out where the data knows no persons.
    `leave_out` names a text file beside the card with ids of clips that are to be passed over, one
    a line.
    `subset_of` is set by the program in a card that stands for some classes of another.
    """

    name: Name
    title: Name
    description: str
    licence: str
    citation: str
    reader: str
    reader_options: dict[str, Any] = Field(default_factory=dict)
    layout: Annotated[
        Annotated[Name, Tag("name")] | Annotated[OwnLayout, Tag("own")],
        Discriminator(lambda value: "name" if isinstance(value, str) else "own"),
    ]
    axes: Axes = ("x", "y", "z")
    bodies: Annotated[int, Field(gt=0)] = 1
    units: str
    frames_per_second: Annotated[float, Field(gt=0)]
    classes: Classes
    subjects: Subjects | None = None
    steps: Annotated[tuple[AnyStep, ...], Field(strict=False)] = ()
    leave_out: Name | None = None
    raw: RawFiles | None = None
    expected: Expected = Expected()
    default_protocol: str
    protocols: dict[str, Protocol]
    subset_of: Name | None = None

    @field_validator("classes", "subjects", "axes")
    @classmethod
    def _differ(cls, values: tuple[int | str, ...] | None) -> tuple[int | str, ...] | None:
        if values is not None and len(set(values)) != len(values):
            raise ValueError("an entry stands there twice")
        return values

    @model_validator(mode="after")
    def _holds_together(self) -> DatasetCard:
        known: dict[str, tuple[str, Sequence[str]]] = {
            "reader": (self.reader, READERS),
            "default_protocol": (self.default_protocol, sorted(self.protocols)),
        }
        if isinstance(self.layout, str):
            known["layout"] = (self.layout, sorted(LAYOUTS))
        for key, (name, choices) in known.items():
            if name not in choices:
                raise ValueError(f"unknown {key} {name!r}: known are {_listed(choices)}")
        if self.subjects is not None:
            for name, protocol in self.protocols.items():
                strangers = sorted(
                    {*protocol.train_subjects, *protocol.valid_subjects, *protocol.test_subjects}
                    - set(self.subjects)
                )
                if strangers:
                    raise ValueError(
                        f"protocol {name!r}: subject {strangers[0]} is not in subjects"
                    )
        self._check_reader()
        for step in self.steps:
            fault = step.fault(self.skeleton, self.axes)
            if fault:
                raise ValueError(f"step {step.name!r}: {fault}")
        return self

    def _check_reader(self) -> None:
        try:
            layout = self.skeleton.name
        except InputError as error:
            raise ValueError(str(error)) from None
        reader = get_reader(self.reader)
        if reader.LAYOUTS and layout not in reader.LAYOUTS:
            raise ValueError(
                f"layout {layout!r} does not fit reader {self.reader!r}, whose files have the "
                f"joints of {_listed(reader.LAYOUTS)}"
            )
        try:
            self.checked_options()
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in ("reader_options", *first["loc"]))
            unknown = first["type"] == "extra_forbidden"
            raise ValueError(f"{key}: {'unknown key' if unknown else first['msg']}") from None

    @cached_property
    def skeleton(self) -> Layout:
        """The layout of the joints.

        Raises:
            InputError: a layout of its own that does not hold together.
        """
        if isinstance(self.layout, str):
            return get_layout(self.layout)
        return self.layout.layout(self.name)

    def checked_options(self) -> Any:
        """`reader_options` as the reader's `Options`.

        Raises:
            ValidationError: they are not.
        """
        return get_reader(self.reader).Options.model_validate(self.reader_options)

    def left_out_ids(self) -> frozenset[str]:
        """The ids in the card's file `leave_out`; lines that begin with # are comments.

        Raises:
            InputError: the file is not there.
        """
        if self.leave_out is None:
            return frozenset()
        where = f"datasets/{self.name}.toml: leave_out"
        if Path(self.leave_out).name != self.leave_out:
            raise InputError(f"{where}: the name of a file beside the card")
        for folder in card_folders("datasets"):
            path = folder / self.leave_out
            if path.is_file():
                lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
                return frozenset(line.strip() for line in lines if line.strip() and line[0] != "#")
        raise InputError(f"{where}: there is no file {self.leave_out!r}")

    def protocol(self, name: str | None = None) -> Protocol:
        """The protocol called `name`, by default the card's `default_protocol`.

        Raises:
            InputError: the card has no such protocol.
        """
        name = name or self.default_protocol
        if name not in self.protocols:
            raise InputError(
                f"unknown protocol {name!r} for data set {self.name!r}: known are "
                f"{_listed(sorted(self.protocols))}"
            )
        return self.protocols[name]


Counts = dict[Literal["train_clips", "valid_clips", "test_clips"], Count]


class SubsetCard(Card):
    """Some classes of another data set: `datasets/NAME.toml` with `subset_of` and `classes`.

    Everything but what stands here is as in the other card, whose prepared store it shares. Classes
    are named in full or by their first word, such as "A001".
    """

    name: Name
    title: Name
    description: str
    subset_of: Name
    classes: Annotated[tuple[Name, ...], Field(strict=False, min_length=2)]
    expected: Expected = Expected()
    counts: dict[str, Counts] = Field(default_factory=dict)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
