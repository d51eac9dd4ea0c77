"""Spaces with their cards: what can be trained, how, and what a candidate costs.

`Space` has cells, `ModelSpace` hand-designed models; whoever only trains, stores or ranks does not
ask which of the two a `SearchSpace` is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Self, SupportsIndex

from nas_skeleton.cards import card_names
from nas_skeleton.errors import InputError
from nas_skeleton.spaces.card import (
    LINK_TYPES,
    AnyCard,
    ASGCNStem,
    ImageStem,
    ModelsCard,
    SpaceCard,
    load_space_card,
)
from nas_skeleton.spaces.cell import Cell
from nas_skeleton.spaces.costs import (
    Cost,
    aim_encoder_cost,
    image_stem_cost,
    network_cost,
    stgcn_stem_cost,
)
from nas_skeleton.spaces.models import Model
from nas_skeleton.spaces.recipe import Recipe
from nas_skeleton.spaces.space import CellSpace, checked_index

Architecture = Cell | Model


class SearchSpace(ABC):
    """Architectures by index, and the card that says how they are trained."""

    card: AnyCard

    @property
    def name(self) -> str:
        """The card's name."""
        return self.card.name

    def link_cost(self, *, axes: int, joints: int, bodies: int) -> Cost:
        """What it takes to infer the A-links of one clip, which no `cost` of a network contains."""
        aim = self.card.aim
        if aim is None:
            return Cost(0, 0)
        one = aim_encoder_cost(aim.hidden, aim.frames * self.card.input.channels(axes), joints)
        return Cost(one.params, one.macs * bodies)

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def architecture(self, index: SupportsIndex) -> Architecture:
        """The architecture at `index`."""

    @abstractmethod
    def arch_string(self, index: SupportsIndex) -> str:
        """Its name in tables."""

    @abstractmethod
    def index(self, arch: str) -> int:
        """The index of the architecture with that name."""

    @abstractmethod
    def nb201_key(self, index: SupportsIndex) -> str:
        """NAS-Bench-201's "unique string"; of a model its name."""

    @abstractmethod
    def functional_key(self, index: SupportsIndex) -> str:
        """Equal for architectures that are the same function."""

    @abstractmethod
    def functional_classes(self) -> Mapping[str, tuple[int, ...]]:
        """Functional key -> ascending indices of its architectures."""

    @abstractmethod
    def check_index(self, index: SupportsIndex) -> int:
        """`index` as a plain int; raises `InputError` where the space has no such index."""

    @abstractmethod
    def with_modality(self, modality: str) -> Self:
        """The space whose networks see these modalities, joined by "+"; itself if empty.

        Raises:
            InputError: as `TrainedCard.with_modalities`.
        """

    def resolve(self, arch: int | str) -> int:
        """The index of an architecture given as an index, as digits, or as its string.

        Raises:
            InputError: not an architecture of this space.
        """
        if isinstance(arch, str) and not arch.strip().lstrip("-").isdecimal():
            return self.index(arch)
        return self.check_index(int(arch))


class ModelSpace(SearchSpace):
    """The reference models of one card, in its order."""

    card: ModelsCard

    def __init__(self, card: ModelsCard) -> None:
        self.card = card

    def __len__(self) -> int:
        return len(self.card.models)

    def architecture(self, index: SupportsIndex) -> Model:
        return Model(self.card.models[self.check_index(index)])

    def arch_string(self, index: SupportsIndex) -> str:
        return self.architecture(index).name

    def index(self, arch: str) -> int:
        if arch not in self.card.models:
            known = ", ".join(self.card.models)
            raise InputError(f"no model {arch!r:.60} in space {self.name!r}: it has {known}")
        return self.card.models.index(arch)

    def nb201_key(self, index: SupportsIndex) -> str:
        return self.arch_string(index)

    def functional_key(self, index: SupportsIndex) -> str:
        return self.arch_string(index)

    def functional_classes(self) -> Mapping[str, tuple[int, ...]]:
        return {name: (index,) for index, name in enumerate(self.card.models)}

    def check_index(self, index: SupportsIndex) -> int:
        return checked_index(index, len(self))

    def with_modality(self, modality: str) -> ModelSpace:
        return ModelSpace(self.card.with_modalities(modality.split("+"))) if modality else self


class Space(CellSpace, SearchSpace):
    """The cells of NAS-Bench-201 (see `CellSpace`) behind the stem of one card."""

    card: SpaceCard

    def __init__(self, card: SpaceCard) -> None:
        self.card = card

    def architecture(self, index: SupportsIndex) -> Cell:
        return self.cell(index)

    def with_modality(self, modality: str) -> Space:
        return Space(self.card.with_modalities(modality.split("+"))) if modality else self

    def cost(
        self,
        index: int,
        recipe: Recipe,
        *,
        classes: int,
        joints: int,
        bodies: int = 1,
        channels: int = 3,
    ) -> Cost:
        """Parameters and MACs per clip of the candidate, with dead edges as NAS-Bench-201 counts.

        `channels` is C of the clips as the network sees them, `TrainedCard.channels`.

        Raises:
            InputError: no such architecture.
        """
        stem_card = self.card.stem
        if isinstance(stem_card, ImageStem):
            stem = image_stem_cost(recipe.channels, recipe.frames, joints, in_channels=channels)
        else:
            linked = isinstance(stem_card, ASGCNStem)
            coordinates = channels - LINK_TYPES * joints if linked else channels
            stem = stgcn_stem_cost(
                recipe.channels,
                recipe.frames,
                joints,
                blocks=stem_card.blocks,
                data_features=coordinates * (joints if stem_card.data_norm == "joints" else 1),
                temporal_kernel=stem_card.temporal_kernel,
                in_channels=coordinates,
                subsets=1 + 2 * (stem_card.hops if isinstance(stem_card, ASGCNStem) else 1),
                link_types=LINK_TYPES if linked else 0,
            )
        return network_cost(
            self.cell(index),
            channels=recipe.channels,
            cells_per_stage=recipe.cells_per_stage,
            classes=classes,
            height=recipe.frames,
            width=joints,
            stem=stem,
            reduction=self.card.macro.reduction,
            operations=self.card.operations,
            bodies=bodies,
        )


def load_space(name: str, modality: str = "") -> Space:
    """The cells of the card `search_spaces/NAME.toml`.

    `modality`, where not empty, replaces the modalities of the card; several are joined by "+".

    Raises:
        InputError: no such card, a mistake in it, no card of cells, or a modality that it cannot
            have.
    """
    space = load_any_space(name, modality)
    if not isinstance(space, Space):
        raise InputError(f"space {name!r} has reference models, no cells: choose another --space")
    return space


def load_any_space(name: str, modality: str = "") -> SearchSpace:
    """As `load_space`, for cells and for reference models."""
    card = load_space_card(name)
    space = Space(card) if isinstance(card, SpaceCard) else ModelSpace(card)
    return space.with_modality(modality)


def find_model(name: str, modality: str = "") -> tuple[ModelSpace, int]:
    """The first card, by name, that has the reference model `name`, and its index there.

    Raises:
        InputError: no card has it.
    """
    known: list[str] = []
    for card_name in card_names("search_spaces"):
        try:
            space = load_any_space(card_name)
        except InputError:
            continue  # somebody else's mistake
        if isinstance(space, ModelSpace):
            if name in space.card.models:
                return space.with_modality(modality), space.index(name)
            known += space.card.models
    raise InputError(f"unknown model {name!r}: known are {', '.join(known)}")
