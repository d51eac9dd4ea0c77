"""What a search-space card may say: the cell, its stem, the macro skeleton, recipes.

A recipe is pure data here; `training` gives it meaning. Nothing in this module knows torch or data.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal

from pydantic import Field, model_validator

from nas_skeleton.cards import Card, load_card
from nas_skeleton.errors import InputError

MEANING = 1  # raise it when the same card comes to mean other numbers than before

Positive = Annotated[int, Field(gt=0)]
Reduction = Literal["both", "time"]
Precision = Literal["float32", "tf32", "bfloat16"]


class Input(Card):
    """How prepared clips become network input (`skeletons.inputs`)."""

    encoding: Literal["centred-per-frame", "centred-first-frame", "image"]


class ImageStem(Card):
    """3x3 convolution and batch norm on the clip seen as an image, as in NAS-Bench-201."""

    kind: Literal["image"]


class STGCNStem(Card):
    """Data batch norm and ST-GCN blocks (Yan, Xiong, Lin, AAAI 2018).

    `data_norm`: what the first batch norm normalises: "joints", every coordinate of every joint, as
    published; "coordinates", x, y and z over all joints, which keeps still joints still.
    `partition`: "spatial-stgcn" splits neighbours as the published code does (hop distance to the
    centre counts as infinite beyond one hop); "spatial-distance" uses true distances.
    """

    kind: Literal["stgcn"]
    blocks: Positive
    data_norm: Literal["joints", "coordinates"]
    partition: Literal["spatial-stgcn", "spatial-distance"]
    temporal_kernel: Positive

    @model_validator(mode="after")
    def _odd_kernel(self) -> STGCNStem:
        if self.temporal_kernel % 2 == 0:
            raise ValueError("temporal_kernel must be odd, so that the frames stay aligned")
        return self


Stem = Annotated[ImageStem | STGCNStem, Field(discriminator="kind")]


class Macro(Card):
    """The NAS-Bench-201 macro skeleton: three stages of cells with two reductions between them.

    `reduction`: "both" halves frames and joints (rounding up), "time" halves the frames only.
    """

    reduction: Reduction


class Recipe(Card):
    """How one candidate is built and trained. Frozen: its hash is part of a training's identity.

    `channels` is the width of the first stage, `frames` the length clips are resampled to. The
    learning rate follows a cosine to 0, constant within an epoch. `drop_last` leaves out the last
    batch of an epoch where it is smaller than the others: other clips are left out every epoch.
    Accuracies are measured every `evaluate_every` epochs and always after the last.

    `precision` is that of the arithmetic; weights and their updates stay float32. "float32": IEEE
    single precision on every device. Only on a GPU: "tf32", inputs of convolutions and matrix
    products are rounded to TensorFloat-32 (10 bits of mantissa); "bfloat16", forward and backward
    passes run under PyTorch's autocast to bfloat16 (7 bits), evaluation as well.
    """

    channels: Positive
    cells_per_stage: Positive
    frames: Annotated[int, Field(ge=4)]
    epochs: Positive
    batch_size: Annotated[int, Field(ge=2)]
    drop_last: bool
    learning_rate: Annotated[float, Field(gt=0)]
    momentum: Annotated[float, Field(ge=0, lt=1)]
    nesterov: bool
    weight_decay: Annotated[float, Field(ge=0)]
    evaluate_every: Positive
    precision: Precision = "float32"

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Recipe:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        return self


class SpaceCard(Card):
    """A search space: `search_spaces/NAME.toml`."""

    name: str
    title: str
    cell: Literal["nb201"]
    input: Input
    stem: Stem
    macro: Macro
    default_recipe: str
    recipes: dict[str, Recipe]

    @model_validator(mode="after")
    def _default_recipe_exists(self) -> SpaceCard:
        if self.default_recipe not in self.recipes:
            raise ValueError(f"default_recipe {self.default_recipe!r} is not among the recipes")
        return self

    def recipe(self, name: str | None = None) -> Recipe:
        """The recipe called `name`, by default the card's `default_recipe`.

        Raises:
            InputError: the card has no such recipe.
        """
        name = name or self.default_recipe
        if name not in self.recipes:
            known = ", ".join(sorted(self.recipes))
            raise InputError(f"unknown recipe {name!r} for space {self.name!r}: known are {known}")
        return self.recipes[name]

    def recipe_hash(self, name: str | None = None) -> str:
        """12 hex digits over everything that decides what is trained, but for the cell and seed.

        Covers the recipe's values and the space's input, stem and macro skeleton; not their names.
        """
        parts = {
            "meaning": MEANING,
            # A key with a default came later than the first hashes: left out, they stay valid.
            "recipe": self.recipe(name).model_dump(exclude_defaults=True),
            "input": self.input.model_dump(),
            "stem": self.stem.model_dump(),
            "macro": self.macro.model_dump(),
        }
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def load_space_card(name: str) -> SpaceCard:
    """Read `search_spaces/NAME.toml`; raises `InputError` as `cards.load_card` does."""
    card = load_card("search_spaces", name, SpaceCard)
    if card.name != name:
        raise InputError(f"search_spaces/{name}.toml: name: must be {name!r} like the file")
    return card
