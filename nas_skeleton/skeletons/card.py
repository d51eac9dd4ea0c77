"""What a data set's card may say: where the raw files come from, what they hold, how to split them.

Cards are the TOML files in `datasets/`. A card is all it takes to add a data set whose raw format
has a reader. Nothing here opens data.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from nas_skeleton.cards import Card, load_card
from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.layouts import LAYOUTS
from nas_skeleton.skeletons.readers import READERS

STEPS: dict[str, int] = {}
"""Cleaning steps a card may name, with their versions: none yet, clips are stored as they are."""

# TOML has arrays only; a strict model would not take one for a tuple. The items stay strict.
Name = Annotated[str, Field(min_length=1)]
Names = Annotated[tuple[Name, ...], Field(strict=False)]
Subject = Annotated[int, Field(ge=0, lt=2**31)]
Subjects = Annotated[tuple[Subject, ...], Field(strict=False)]
Count = Annotated[int, Field(ge=0)]


class RawFiles(Card):
    """Where the raw data comes from; `files` are the names looked for, the first one found wins."""

    files: Annotated[tuple[Name, ...], Field(strict=False, min_length=1)]
    get: str


class Expected(Card):
    """What a complete copy of the data holds. `data check` compares; nothing else looks at it.

    `missing` names the clips that a recording without losses would have and the distribution lacks.
    """

    clips: Count | None = None
    missing: Names | None = None
    min_frames: Count | None = None
    max_frames: Count | None = None


class Protocol(Card):
    """A split by subjects. The clip counts, where given, are checked by `data check`."""

    train_subjects: Subjects
    valid_subjects: Subjects
    test_subjects: Subjects
    note: str = ""
    train_clips: Count | None = None
    valid_clips: Count | None = None
    test_clips: Count | None = None

    @model_validator(mode="after")
    def _parts_are_disjoint(self) -> Protocol:
        subjects = [subject for part in self.parts().values() for subject in part]
        twice = sorted({subject for subject in subjects if subjects.count(subject) > 1})
        if twice:
            raise ValueError(
                f"subject {twice[0]} is listed twice; every subject is in one part only"
            )
        if not self.train_subjects or not self.test_subjects:
            raise ValueError("train_subjects and test_subjects must not be empty")
        return self

    def parts(self) -> dict[str, tuple[int, ...]]:
        """Subjects of "train", "valid" and "test"; "valid" may be empty."""
        return {
            "train": self.train_subjects,
            "valid": self.valid_subjects,
            "test": self.test_subjects,
        }

    def expected_clips(self) -> dict[str, int | None]:
        """Clips that "train", "valid" and "test" should have, None where the card is silent."""
        return {
            "train": self.train_clips,
            "valid": self.valid_clips,
            "test": self.test_clips,
        }


class DatasetCard(Card):
    """A data set: `datasets/NAME.toml`.

    `bodies` is M, the number of bodies in every clip; `steps` are cleaning steps, in order.
    """

    name: Name
    title: Name
    description: str
    licence: str
    citation: str
    reader: str
    layout: str
    bodies: Annotated[int, Field(gt=0)] = 1
    units: str
    frames_per_second: Annotated[float, Field(gt=0)]
    classes: Annotated[tuple[Name, ...], Field(strict=False, min_length=2)]
    subjects: Annotated[tuple[Subject, ...], Field(strict=False, min_length=1)]
    steps: Names = ()
    raw: RawFiles | None = None
    expected: Expected = Expected()
    default_protocol: str
    protocols: dict[str, Protocol]

    @field_validator("classes", "subjects")
    @classmethod
    def _differ(cls, values: tuple[int | str, ...]) -> tuple[int | str, ...]:
        if len(set(values)) != len(values):
            raise ValueError("an entry stands there twice")
        return values

    @model_validator(mode="after")
    def _names_are_known(self) -> DatasetCard:
        known = {
            "reader": ([self.reader], READERS),
            "layout": ([self.layout], sorted(LAYOUTS)),
            "step": (self.steps, sorted(STEPS)),
            "default_protocol": ([self.default_protocol], sorted(self.protocols)),
        }
        for key, (names, choices) in known.items():
            for name in names:
                if name not in choices:
                    raise ValueError(f"unknown {key} {name!r}: known are {_listed(choices)}")
        for name, protocol in self.protocols.items():
            listed = {subject for part in protocol.parts().values() for subject in part}
            strangers = sorted(listed - set(self.subjects))
            if strangers:
                raise ValueError(f"protocol {name!r}: subject {strangers[0]} is not in subjects")
        return self

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


def load_dataset_card(name: str) -> DatasetCard:
    """Read `datasets/NAME.toml`.

    Raises:
        InputError: no such card, or one that does not hold together (see `cards.load_card`).
    """
    card = load_card("datasets", name, DatasetCard)
    if card.name != name:
        raise InputError(f"datasets/{name}.toml: name: must be {name!r} like the file")
    return card


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
