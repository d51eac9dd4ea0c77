"""The header of a prepared store, a JSON file beside the array: what is in it and where it is from.

It is read with the same suspicion as any file from outside: whatever does not add up is an error
before a single coordinate is used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from nas_skeleton.skeletons.card import DatasetCard
from nas_skeleton.skeletons.readers import get_reader

SCHEMA: Final = 1
"""Version of the store's format; raise it when older programs could not read a newer store."""

Count = Annotated[int, Field(ge=0, lt=2**62)]
Positive = Annotated[int, Field(gt=0, lt=2**31)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Versioned(_Part):
    """A reader or cleaning step that the clips went through, with what the card said of it."""

    name: str
    version: int
    options: dict[str, Any] = {}


class Fault(_Part):
    """A raw file, or one clip of it, that could not be used, and why."""

    source: str
    reason: str


class ClipEntry(_Part):
    """One clip: who, what, how many frames, and where in the array (`offset`, in numbers)."""

    id: str
    label: Count
    subject: Count
    trial: int | None
    camera: int | None
    setup: int | None
    length: Positive
    offset: Count
    source: str
    digest: str
    group: str = ""
    lists: list[str] = []


class Header(_Part):
    """Everything about a prepared data set but the coordinates.

    The array holds the clips one after the other, each float32 `(channels, length, joints, bodies)`
    in C order. `channel_names` are the names of C. `raw` is where they were read, on the machine
    that did it, and `raw_state` tells whether those files changed since (`writing.raw_state`);
    `left_out` is what was wrong with files that were passed over on the user's word.
    """

    schema_version: Literal[1]
    dataset: str
    fingerprint: str
    reader: Versioned
    steps: list[Versioned]
    layout: str
    classes: list[str]
    units: str
    dtype: Literal["<f4"]
    axes: Literal["C,T,V,M"]
    channels: Positive
    channel_names: list[str] = ["x", "y", "z"]
    joints: Positive
    bodies: Positive
    raw: str | None
    raw_state: str = ""
    content_sha256: str
    left_out: list[Fault] = []
    clips: Annotated[list[ClipEntry], Field(min_length=1)]

    @model_validator(mode="after")
    def _adds_up(self) -> Header:
        offset = 0
        for clip in self.clips:
            if clip.offset != offset:
                raise ValueError(f"clip {clip.id!r} should start at {offset}, not {clip.offset}")
            if clip.label >= len(self.classes):
                raise ValueError(f"clip {clip.id!r} has label {clip.label} outside the classes")
            offset += clip.length * self.numbers_per_frame
        if len({clip.id for clip in self.clips}) != len(self.clips):
            raise ValueError("two clips have the same id")
        return self

    @property
    def numbers_per_frame(self) -> int:
        """Numbers that one frame takes in the array."""
        return self.channels * self.joints * self.bodies

    @property
    def numbers(self) -> int:
        """Numbers in the whole array."""
        return sum(clip.length for clip in self.clips) * self.numbers_per_frame

    def write(self, path: Path) -> None:
        """Write as JSON, one line per clip."""
        head = json.dumps(self.model_dump(exclude={"clips"}), indent=1).removesuffix("\n}")
        clips = ",\n".join(clip.model_dump_json(exclude_defaults=True) for clip in self.clips)
        path.write_text(f'{head},\n "clips": [\n{clips}\n]\n}}\n', encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Header:
        """Read what `write` wrote.

        Raises:
            ValueError: not a header, or one that does not add up; one line.
            OSError: the file cannot be read.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise ValueError(f"{key}: {first['msg']}" if key else first["msg"]) from None


def steps_of(card: DatasetCard) -> list[Versioned]:
    """The card's cleaning steps, the versions this program has, and options that were given."""
    return [
        Versioned(
            name=step.name,
            version=step.version,
            options=step.model_dump(mode="json", exclude_defaults=True, exclude={"name"}),
        )
        for step in card.steps
    ]


def reader_of(card: DatasetCard) -> Versioned:
    """The card's reader, its version and the options that were given."""
    options = card.checked_options().model_dump(mode="json", exclude_defaults=True)
    version = get_reader(card.reader).VERSION
    return Versioned(name=card.reader, version=version, options=options)


def recipe_of(card: DatasetCard) -> dict[str, Any]:
    """All of a card that decides what clips become, whatever the raw files are.

    What came later than the first fingerprints is left out where a card does not use it, so that
    they stay valid.
    """
    parts: dict[str, Any] = {
        "reader": _listed(reader_of(card)),
        "layout": asdict(card.skeleton),
        "classes": card.classes,
        "bodies": card.bodies,
        "steps": [_listed(step) for step in steps_of(card)],
    }
    if card.axes != ("x", "y", "z"):
        parts["axes"] = card.axes
    if card.steps:  # some resample to it
        parts["frames_per_second"] = card.frames_per_second
    if card.leave_out:
        parts["leave_out"] = sorted(card.left_out_ids())
    return parts


def fingerprint(card: DatasetCard, clips: Iterable[tuple[str, str]]) -> str:
    """SHA-256, in hex, of all that decides what the prepared clips are.

    That is: reader, layout, classes, cleaning steps, with versions and options, and id and content
    digest of every raw clip in the order of the store. Paths, times and the machine do not matter;
    a zip and a folder with the same files agree.

    Args:
        card: card of the data set.
        clips: (id, digest) of every clip.
    """
    parts = {**recipe_of(card), "clips": list(clips)}
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _listed(part: Versioned) -> list[Any]:
    return [part.name, part.version, *([part.options] if part.options else [])]
