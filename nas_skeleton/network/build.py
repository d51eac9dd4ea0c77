"""From a card, an architecture and a recipe to a network with its initial weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from nas_skeleton.network.candidate import CandidateNetwork, CellBuilder
from nas_skeleton.network.cell import LeanCell
from nas_skeleton.network.classifier import Classifier
from nas_skeleton.network.initialise import initialise
from nas_skeleton.network.operations import Graph, Grid
from nas_skeleton.network.reference import (
    ReferenceActionalConvolution,
    ReferenceCell,
    ReferenceGraph,
    ReferenceGraphConvolution,
)
from nas_skeleton.network.stems import (
    ActionalConvolution,
    ASGCNStem,
    GraphConvolution,
    ImageStem,
    STGCNStem,
)
from nas_skeleton.skeletons.layouts import Layout
from nas_skeleton.spaces.card import LINK_TYPES, AnyCard, SpaceCard
from nas_skeleton.spaces.card import ASGCNStem as ASGCNStemCard
from nas_skeleton.spaces.card import ImageStem as ImageStemCard
from nas_skeleton.spaces.cell import Cell
from nas_skeleton.spaces.models import Model
from nas_skeleton.spaces.recipe import ModelRecipe, Recipe, TrainingRecipe

if TYPE_CHECKING:
    from nas_skeleton.skeletons.store import Dataset
    from nas_skeleton.spaces import SearchSpace


def network_of(
    card: AnyCard,
    recipe: TrainingRecipe,
    arch: Cell | Model,
    *,
    classes: int,
    layout: Layout,
    in_channels: int,
    bodies: int,
    plain: bool = False,
) -> Classifier:
    """The network of a cell or a reference model, without particular weights.

    Args:
        card: of the space.
        recipe: one of its recipes.
        arch: what is to be built.
        classes: how many.
        layout: of the clips.
        in_channels: C of the clips, with A-links if the card has them.
        bodies: M of the clips.
        plain: build the reference form of a cell, which is the same function.

    Raises:
        InputError: the recipe asks for what a model does not have.
    """
    if isinstance(arch, Model):
        from nas_skeleton.network.models import build_model

        assert isinstance(recipe, ModelRecipe)
        return build_model(
            arch.name,
            in_channels=in_channels - (LINK_TYPES * len(layout.joints) if card.aim else 0),
            classes=classes,
            layout=layout,
            bodies=bodies,
            future=card.input.future,
            dropout=recipe.dropout,
        )
    assert isinstance(card, SpaceCard)
    assert isinstance(recipe, Recipe)
    return candidate_network(
        card,
        recipe,
        arch,
        classes=classes,
        layout=layout,
        in_channels=in_channels,
        plain=plain,
    )


def candidate_network(
    card: SpaceCard,
    recipe: Recipe,
    cell: Cell,
    *,
    classes: int,
    layout: Layout,
    in_channels: int = 3,
    plain: bool = False,
    every_edge: bool = False,
    build_cell: CellBuilder | None = None,
) -> CandidateNetwork:
    """The network without particular weights; `plain` builds the reference form of the same.

    `in_channels` is C of its clips: coordinates and scores of all modalities, then A-links.
    `every_edge` takes from the reference form what shows in the parts of a network, and not the
    rest, which is slow: each edge is computed, dead or not, with a ReLU of its own, and each layer
    has an output of its own. `build_cell` makes something else of the cells.
    """
    structural = ReferenceGraphConvolution if plain or every_edge else GraphConvolution
    stem: nn.Module
    if isinstance(card.stem, ImageStemCard):
        stem = ImageStem(in_channels, recipe.channels)
    elif isinstance(card.stem, ASGCNStemCard):
        both = ReferenceActionalConvolution if plain else ActionalConvolution
        actional_weight = card.stem.actional_weight

        def with_links(width: int, channels: int, adjacency: Tensor) -> nn.Module:
            return both(structural(width, channels, adjacency), width, actional_weight)

        stem = ASGCNStem(in_channels, recipe.channels, layout, card.stem, with_links)
    else:
        stem = STGCNStem(in_channels, recipe.channels, layout, card.stem, structural)
    graph = ReferenceGraph if plain else Graph
    return CandidateNetwork(
        cell,
        stem,
        channels=recipe.channels,
        cells_per_stage=recipe.cells_per_stage,
        classes=classes,
        reduction=card.macro.reduction,
        operations=graph(layout) if card.operations == "graph" else Grid(),
        build_cell=build_cell or (ReferenceCell if plain or every_edge else LeanCell),
    )


def build_network(
    space: str | SearchSpace,
    arch: int | str,
    *,
    dataset: str | Dataset,
    recipe: str | None = None,
    seed: int,
) -> Classifier:
    """A candidate as a `torch.nn.Module`, `(N, C, T, V, M)` to class scores `(N, classes)`.

    Where the space has A-links they lie behind the coordinates along C (`network.links`).

    Args:
        space: name of a space's card, or what `load_space` returned.
        arch: index, architecture string or name of a reference model.
        dataset: name of a data set's card, or what `load_dataset` returned; gives the layout and
            the numbers of classes and channels.
        recipe: name of a recipe of the card, which sets width and depth.
        seed: the weights depend on it and on nothing else. A training of a search derives its own
            from its whole identity, so this is not the start of the training with that seed.

    Raises:
        InputError: unknown space, architecture or recipe.
    """
    from nas_skeleton.skeletons.store import load_dataset
    from nas_skeleton.spaces import load_any_space

    dataset = load_dataset(dataset) if isinstance(dataset, str) else dataset
    space = load_any_space(space) if isinstance(space, str) else space
    network = network_of(
        space.card,
        space.card.recipe(recipe),
        space.architecture(space.resolve(arch)),
        classes=len(dataset.classes),
        layout=dataset.layout,
        in_channels=space.card.channels(dataset.channels, len(dataset.layout.joints)),
        bodies=space.card.input.bodies(dataset.bodies),
    )
    initialise(network, seed)
    return network
