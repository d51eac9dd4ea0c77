"""A search space with its card: cells, stem, recipes, and what a candidate costs."""

from __future__ import annotations

from nas_skeleton.spaces.card import ImageStem, Recipe, SpaceCard, load_space_card
from nas_skeleton.spaces.costs import Cost, image_stem_cost, network_cost, stgcn_stem_cost
from nas_skeleton.spaces.space import CellSpace


class Space(CellSpace):
    """The cells of NAS-Bench-201 (see `CellSpace`) behind the stem of one card."""

    def __init__(self, card: SpaceCard) -> None:
        self.card = card

    @property
    def name(self) -> str:
        """The card's name."""
        return self.card.name

    def resolve(self, arch: int | str) -> int:
        """The index of an architecture given as an index, as digits, or as its string.

        Raises:
            InputError: not an architecture of this space.
        """
        if isinstance(arch, str) and not arch.strip().lstrip("-").isdecimal():
            return self.index(arch)
        return self.check_index(int(arch))

    def with_modality(self, modality: str) -> Space:
        """The space whose networks see these modalities, joined by "+"; itself if empty.

        Raises:
            InputError: as `SpaceCard.with_modalities`.
        """
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

        `channels` is C of the clips as the network sees them, `Input.channels`.

        Raises:
            InputError: no such architecture.
        """
        stem_card = self.card.stem
        if isinstance(stem_card, ImageStem):
            stem = image_stem_cost(recipe.channels, recipe.frames, joints, in_channels=channels)
        else:
            stem = stgcn_stem_cost(
                recipe.channels,
                recipe.frames,
                joints,
                blocks=stem_card.blocks,
                data_features=channels * (joints if stem_card.data_norm == "joints" else 1),
                temporal_kernel=stem_card.temporal_kernel,
                in_channels=channels,
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
            bodies=bodies,
        )


def load_space(name: str, modality: str = "") -> Space:
    """The space of the card `search_spaces/NAME.toml`.

    `modality`, where not empty, replaces the modalities of the card; several are joined by "+".

    Raises:
        InputError: no such card, a mistake in it, or a modality that it cannot have.
    """
    return Space(load_space_card(name)).with_modality(modality)
