"""What a search-space card may say: the cell, its stem, the macro skeleton, recipes.

A recipe is pure data here; `training` gives it meaning. Nothing in this module knows torch or data.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from nas_skeleton.cards import Card, load_card
from nas_skeleton.errors import InputError

# Raise it when the same card comes to mean other numbers than before, and whenever
# `skeletons.inputs.VERSION` is raised, which no hash of a training contains.
MEANING = 1

Positive = Annotated[int, Field(gt=0)]
Reduction = Literal["both", "time"]
Precision = Literal["float32", "tf32", "bfloat16"]
# The names of inputs are those of `skeletons.modalities` and `skeletons.inputs`, which this room
# does not know; a test compares them.
Modality = Literal["joint", "bone", "joint-motion", "bone-motion"]
MODALITIES: tuple[Modality, ...] = get_args(Modality)
IMAGE_CHANNELS = 3  # red, green, blue


class Input(Card):
    """How prepared clips become network input (`skeletons.inputs`).

    `modalities` lie one behind the other along the channels. `motion` says whether differences
    between frames are taken of the frames as recorded, or of those that a network sees. `sampling`
    is how clips get their common number of frames.
    """

    encoding: Literal["centred-per-frame", "centred-first-frame", "image"]
    modalities: Annotated[tuple[Modality, ...], Field(strict=False, min_length=1)] = ("joint",)
    motion: Literal["before-sampling", "after-sampling"] = "before-sampling"
    sampling: Literal["linear", "uniform", "crop-resize", "pad-zero", "pad-repeat"] = "linear"

    @model_validator(mode="after")
    def _holds_together(self) -> Input:
        if len(set(self.modalities)) < len(self.modalities):
            raise ValueError("a modality stands there twice")
        if self.encoding == "image" and len(self.model_dump(exclude_defaults=True)) > 1:
            raise ValueError("encoding 'image' has no other modalities, motion or sampling")
        return self

    def channels(self, axes: int) -> int:
        """C of the network's input for clips with `axes` numbers per joint."""
        return IMAGE_CHANNELS if self.encoding == "image" else axes * len(self.modalities)

    def bodies(self, bodies: int) -> int:
        """M of the network's input for clips with `bodies` bodies."""
        return 1 if self.encoding == "image" else bodies


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

    Training clips may be changed at random, each anew in every epoch (`training.augmentation`):
    `mirror` is the probability of exchanging left and right, `rotation` the largest angle about
    each axis in radians, `scaling` the largest relative change of size.
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
    mirror: Annotated[float, Field(ge=0, le=1)] = 0.0
    rotation: Annotated[float, Field(ge=0, le=3.2)] = 0.0
    scaling: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Recipe:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        return self

    @property
    def augments(self) -> bool:
        """Whether training clips are changed at random."""
        return bool(self.mirror or self.rotation or self.scaling)


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

    @model_validator(mode="after")
    def _images_are_not_augmented(self) -> SpaceCard:
        for name, recipe in self.recipes.items():
            if self.input.encoding == "image" and recipe.augments:
                raise ValueError(f"recipe {name!r}: an image is not mirrored, rotated or scaled")
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

    def with_modalities(self, names: Sequence[str]) -> SpaceCard:
        """The same card for networks that see these modalities, in this order.

        Raises:
            InputError: an unknown modality, one that stands there twice, or an encoding that has
                none to choose.
        """
        for name in names:
            if name not in MODALITIES:
                known = ", ".join(MODALITIES)
                raise InputError(f"unknown modality {name!r}: known are {known}, joined by '+'")
        if tuple(names) == self.input.modalities:
            return self
        if self.input.encoding == "image":
            raise InputError(
                f"space {self.name!r} sees clips as images: it has no other modality than 'joint'"
            )
        if len(set(names)) < len(names):
            raise InputError(f"modality {'+'.join(names)!r}: one of them stands there twice")
        chosen = self.input.model_copy(update={"modalities": tuple(names)})
        return self.model_copy(update={"input": chosen})

    def recipe_hash(self, name: str | None = None) -> str:
        """12 hex digits over everything that decides what is trained, but for the cell and seed.

        Covers the recipe's values and the space's input, stem and macro skeleton; not their names.
        """
        parts = {
            "meaning": MEANING,
            # A key with a default came later than the first hashes: left out, they stay valid.
            "recipe": self.recipe(name).model_dump(exclude_defaults=True),
            "input": self.input.model_dump(exclude_defaults=True),
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
