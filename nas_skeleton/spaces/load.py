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

    def cost(
        self, index: int, recipe: Recipe, *, classes: int, joints: int, bodies: int = 1
    ) -> Cost:
        """Parameters and MACs per clip of the candidate, with dead edges as NAS-Bench-201 counts.

        Raises:
            InputError: no such architecture.
        """
        stem_card = self.card.stem
        if isinstance(stem_card, ImageStem):
            stem = image_stem_cost(recipe.channels, recipe.frames, joints)
        else:
            stem = stgcn_stem_cost(
                recipe.channels,
                recipe.frames,
                joints,
                blocks=stem_card.blocks,
                data_features=3 * (joints if stem_card.data_norm == "joints" else 1),
                temporal_kernel=stem_card.temporal_kernel,
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


def load_space(name: str) -> Space:
    """The space of the card `search_spaces/NAME.toml`.

    Raises:
        InputError: no such card, or a mistake in it.
    """
    return Space(load_space_card(name))
