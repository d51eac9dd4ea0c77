"""Cleaning steps: what happens to a clip between its file and the prepared store.

A step is a few fields in a data set's card, such as `{ name = "centre", when = "every-frame" }`;
the card's order counts. Its name, version and fields are part of the data set's fingerprint. Steps
are deterministic and look at one clip at a time; what training draws at random is not decided here.
"""

from __future__ import annotations

from typing import Annotated, get_args

from pydantic import Field

from nas_skeleton.skeletons.steps.frames import DropEmptyFrames, FillGaps, SameRate
from nas_skeleton.skeletons.steps.geometry import Centre, Rotate
from nas_skeleton.skeletons.steps.images import CentreUnitSquare, ScaleImage
from nas_skeleton.skeletons.steps.step import Step
from nas_skeleton.skeletons.steps.tracking import (
    ChooseBodies,
    Denoise,
    MainBodyFirst,
    SecondBody,
)

AnyStep = Annotated[
    Centre
    | CentreUnitSquare
    | ChooseBodies
    | Denoise
    | DropEmptyFrames
    | FillGaps
    | MainBodyFirst
    | Rotate
    | SameRate
    | ScaleImage
    | SecondBody,
    Field(discriminator="name"),
]
"""A step as a card has it; `name` says which."""

STEPS: dict[str, type[Step]] = {
    step.model_fields["name"].default: step for step in get_args(get_args(AnyStep)[0])
}
"""Step models by the names that cards use."""

__all__ = ["STEPS", "AnyStep", "Step"]
