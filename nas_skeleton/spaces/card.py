"""What a search-space card may say: its architectures, what surrounds cells, inputs, recipes.

Nothing in this module knows torch or data; recipes are in `recipe`.
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, Generic, Literal, Self, TypeVar, get_args

from pydantic import Field, model_validator

from nas_skeleton.cards import Card, check_card, read_card
from nas_skeleton.errors import InputError
from nas_skeleton.spaces.costs import Operations, Reduction
from nas_skeleton.spaces.models import ModelName
from nas_skeleton.spaces.recipe import AIMRecipe, ModelRecipe, Positive, Recipe, TrainingRecipe

# Raise it when the same card comes to mean other numbers than before, and whenever
# `skeletons.inputs.VERSION` is raised, which no hash of a training contains.
MEANING = 1

# The names of inputs are those of `skeletons.modalities` and `skeletons.inputs`, which this room
# does not know; a test compares them.
Modality = Literal["joint", "bone", "joint-motion", "bone-motion"]
MODALITIES: tuple[Modality, ...] = get_args(Modality)
IMAGE_CHANNELS = 3  # red, green, blue
LINK_TYPES = 2  # kinds of A-links between joints, AS-GCN's

RecipeT = TypeVar("RecipeT", bound=TrainingRecipe)


class Input(Card):
    """How prepared clips become network input (`skeletons.inputs`).

    `modalities` lie one behind the other along the channels. `motion` says whether differences
    between frames are taken of the frames as recorded, or of those that a network sees. `sampling`
    is how clips get their common number of frames.

    Of a clip, `future` frames as recorded are cut off its end before it is resampled, and lie
    behind the resampled frames as they are: what AS-GCN predicts.
    """

    encoding: Literal["centred-per-frame", "centred-first-frame", "image"]
    modalities: Annotated[tuple[Modality, ...], Field(strict=False, min_length=1)] = ("joint",)
    motion: Literal["before-sampling", "after-sampling"] = "before-sampling"
    sampling: Literal["linear", "uniform", "crop-resize", "pad-zero", "pad-repeat"] = "linear"
    future: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _holds_together(self) -> Input:
        if len(set(self.modalities)) < len(self.modalities):
            raise ValueError("a modality stands there twice")
        if self.encoding == "image" and len(self.model_dump(exclude_defaults=True)) > 1:
            raise ValueError(
                "encoding 'image' has no other modalities, motion or sampling, and no future"
            )
        if self.future and self.sampling != "linear":
            raise ValueError("future frames go with sampling 'linear'")
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


class ASGCNStem(STGCNStem):
    """ST-GCN blocks with AS-GCN's links (Li et al., CVPR 2019) instead of bones only.

    `hops`: structural links reach joints up to so many bones away, with a subset for each distance
    and side; actional links, which the card's `aim` infers clip by clip, count `actional_weight`.
    """

    kind: Literal["asgcn"]  # type: ignore[assignment]
    hops: Positive = 4
    actional_weight: Annotated[float, Field(gt=0)] = 0.5


Stem = Annotated[ImageStem | STGCNStem | ASGCNStem, Field(discriminator="kind")]


class Macro(Card):
    """The NAS-Bench-201 macro skeleton: three stages of cells with two reductions between them.

    `reduction`: "both" halves frames and joints (rounding up), "time" halves the frames only.
    """

    reduction: Reduction


class TrainedCard(Card, Generic[RecipeT]):
    """What all cards in `search_spaces/` say: inputs and recipes.

    `aim`, where it is there, lets A-links ride along with the clips (`training.aim`).
    """

    name: str
    title: str
    input: Input
    aim: AIMRecipe | None = None
    default_recipe: str
    recipes: dict[str, RecipeT]

    @model_validator(mode="after")
    def _default_recipe_exists(self) -> Self:
        if self.default_recipe not in self.recipes:
            raise ValueError(f"default_recipe {self.default_recipe!r} is not among the recipes")
        return self

    @model_validator(mode="after")
    def _links_belong_to_whole_clips(self) -> Self:
        if self.aim and self.input.sampling != "linear":
            raise ValueError("[aim] needs input.sampling 'linear': A-links belong to a whole clip")
        return self

    @model_validator(mode="after")
    def _augments_what_it_can(self) -> Self:
        for name, recipe in self.recipes.items():
            if self.input.encoding == "image" and recipe.augments:
                raise ValueError(f"recipe {name!r}: an image is not mirrored, rotated or scaled")
            if self.aim and recipe.mirror:
                raise ValueError(f"recipe {name!r}: A-links are not mirrored: leave out mirror")
        return self

    def recipe(self, name: str | None = None) -> RecipeT:
        """The recipe called `name`, by default the card's `default_recipe`.

        Raises:
            InputError: the card has no such recipe.
        """
        name = name or self.default_recipe
        if name not in self.recipes:
            known = ", ".join(sorted(self.recipes))
            raise InputError(f"unknown recipe {name!r} for space {self.name!r}: known are {known}")
        return self.recipes[name]

    def channels(self, axes: int, joints: int) -> int:
        """C of the network's input: coordinates of all modalities, and A-links if there are any."""
        return self.input.channels(axes) + (LINK_TYPES * joints if self.aim else 0)

    def with_modalities(self, names: Sequence[str]) -> Self:
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
        """12 hex digits over everything that decides what is trained, but for which and the seed.

        Covers the recipe's values and what the card says of inputs and networks; not their names.
        """
        parts = {
            "meaning": MEANING,
            # A key with a default came later than the first hashes: left out, they stay valid.
            "recipe": self.recipe(name).model_dump(exclude_defaults=True),
            "input": self.input.model_dump(exclude_defaults=True),
            **({"aim": self.aim.model_dump()} if self.aim else {}),
            **self._network_parts(),
        }
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @abstractmethod
    def _network_parts(self) -> dict[str, object]:
        """What the card says of networks, for the hash."""


class SpaceCard(TrainedCard[Recipe]):
    """A space of cells: `search_spaces/NAME.toml`.

    `operations` is what the cells' operations are to joints: "grid", neighbours are those next in
    index, as in an image; "graph", neighbours are those that a bone joins (`network.operations`).
    Indices, architecture strings and keys are the same.
    """

    cell: Literal["nb201"]
    operations: Operations = "grid"
    stem: Stem
    macro: Macro

    @model_validator(mode="after")
    def _graphs_keep_their_joints(self) -> SpaceCard:
        if self.operations == "graph" and self.macro.reduction != "time":
            raise ValueError("operations 'graph' need macro.reduction 'time': joints must stay")
        if self.operations == "graph" and self.input.encoding == "image":
            raise ValueError("operations 'graph' need clips with joints, not images")
        return self

    @model_validator(mode="after")
    def _stem_has_its_links(self) -> SpaceCard:
        if isinstance(self.stem, ASGCNStem) != (self.aim is not None):
            raise ValueError("stem kind 'asgcn' and a table [aim] go together")
        if self.input.future:
            raise ValueError("cells do not predict: leave out input.future")
        return self

    def _network_parts(self) -> dict[str, object]:
        grid = self.operations == "grid"  # was there before other operations were
        return {
            "stem": self.stem.model_dump(),
            "macro": self.macro.model_dump(),
            **({} if grid else {"operations": self.operations}),
        }


class ModelsCard(TrainedCard[ModelRecipe]):
    """Hand-designed reference models, a space of its own: `search_spaces/NAME.toml`.

    The index of an architecture is its place in `models`.
    """

    models: Annotated[tuple[ModelName, ...], Field(strict=False, min_length=1)]

    @model_validator(mode="after")
    def _models_fit_together(self) -> ModelsCard:
        if len(set(self.models)) < len(self.models):
            raise ValueError("a model stands there twice")
        alone = self.models == ("asgcn",)
        if alone != (self.aim is not None) or alone != bool(self.input.future):
            raise ValueError("model 'asgcn' needs a table [aim] and input.future, no other does")
        if "asgcn" in self.models and not alone:
            raise ValueError("model 'asgcn' sees other inputs: it needs a card of its own")
        return self

    def _network_parts(self) -> dict[str, object]:
        return {"models": self.models}  # an index must not come to mean another one


AnyCard = SpaceCard | ModelsCard


def load_space_card(name: str) -> AnyCard:
    """Read `search_spaces/NAME.toml`; raises `InputError` as `cards.check_card` does."""
    content, path = read_card("search_spaces", name)
    card: AnyCard
    if "models" in content:
        card = check_card(content, path, ModelsCard)
    else:
        card = check_card(content, path, SpaceCard)
    if card.name != name:
        raise InputError(f"search_spaces/{name}.toml: name: must be {name!r} like the file")
    return card
