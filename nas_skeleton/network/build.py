"""From a card, an architecture and a recipe to a network with its initial weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from nas_skeleton.network.candidate import CandidateNetwork
from nas_skeleton.network.cell import LeanCell
from nas_skeleton.network.initialise import initialise
from nas_skeleton.network.reference import ReferenceCell, ReferenceGraphConvolution
from nas_skeleton.network.stems import GraphConvolution, ImageStem, STGCNStem
from nas_skeleton.skeletons.layouts import Layout
from nas_skeleton.spaces.card import ImageStem as ImageStemCard
from nas_skeleton.spaces.card import Recipe, SpaceCard
from nas_skeleton.spaces.cell import Cell

if TYPE_CHECKING:
    from nas_skeleton.skeletons.store import Dataset
    from nas_skeleton.spaces import Space


def candidate_network(
    card: SpaceCard,
    recipe: Recipe,
    cell: Cell,
    *,
    classes: int,
    layout: Layout,
    in_channels: int = 3,
    plain: bool = False,
) -> CandidateNetwork:
    """The network without particular weights; `plain` builds the reference form of the same.

    `in_channels` is C of its clips: coordinates and scores of all modalities together.
    """
    stem: nn.Module
    if isinstance(card.stem, ImageStemCard):
        stem = ImageStem(in_channels, recipe.channels)
    else:
        graph_convolution = ReferenceGraphConvolution if plain else GraphConvolution
        stem = STGCNStem(in_channels, recipe.channels, layout, card.stem, graph_convolution)
    return CandidateNetwork(
        cell,
        stem,
        channels=recipe.channels,
        cells_per_stage=recipe.cells_per_stage,
        classes=classes,
        reduction=card.macro.reduction,
        build_cell=ReferenceCell if plain else LeanCell,
    )


def build_network(
    space: str | Space,
    arch: int | str,
    *,
    dataset: str | Dataset,
    recipe: str | None = None,
    seed: int,
) -> CandidateNetwork:
    """A candidate as a `torch.nn.Module`, `(N, C, T, V, M)` to class scores `(N, classes)`.

    Args:
        space: name of a space's card, or what `load_space` returned.
        arch: index or architecture string.
        dataset: name of a data set's card, or what `load_dataset` returned; gives the layout and
            the numbers of classes and channels.
        recipe: name of a recipe of the card, which sets width and depth.
        seed: the weights depend on it and on nothing else. A training of a search derives its own
            from its whole identity, so this is not the start of the training with that seed.

    Raises:
        InputError: unknown space, architecture or recipe.
    """
    from nas_skeleton.skeletons.store import load_dataset
    from nas_skeleton.spaces import load_space

    dataset = load_dataset(dataset) if isinstance(dataset, str) else dataset
    space = load_space(space) if isinstance(space, str) else space
    network = candidate_network(
        space.card,
        space.card.recipe(recipe),
        space.cell(space.resolve(arch)),
        classes=len(dataset.classes),
        layout=dataset.layout,
        in_channels=space.card.input.channels(dataset.channels),
    )
    initialise(network, seed)
    return network
