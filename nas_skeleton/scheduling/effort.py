"""How much work each training is, counted on paper: what shards are balanced by.

A number without a unit, the same on every machine and whatever is trained already; only ratios mean
something. Counted is what the engine `native` computes: multiply-adds of convolutions, on taps that
fall inside the map, and passes over feature maps, each number of a map at its price (`PRICES`).
Dead edges cost nothing, and neither do skips that are all that flows into a node, biases, and what
all cells of a run share beside the network: the number of steps, loading, storing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas_skeleton.spaces import SearchSpace, Space
from nas_skeleton.spaces.card import LINK_TYPES, ASGCNStem, ImageStem, Stem
from nas_skeleton.spaces.cell import AVG_POOL, CONV_3X3, EDGES, NODES, SKIP, Cell
from nas_skeleton.spaces.costs import KERNEL_SIZES, STAGES, SUBSETS, reduced_size, taps_inside
from nas_skeleton.spaces.liveness import Role, ignores_input, roles
from nas_skeleton.spaces.recipe import Recipe

if TYPE_CHECKING:
    from nas_skeleton.results.run import Run
    from nas_skeleton.training.job import Job


@dataclass(frozen=True)
class Work:
    """What a network computes for one body of one clip.

    Attributes:
        multiply_adds: of all convolutions, and of a stem's sums over joints by A-links.
        convolution: numbers in the maps that convolutions write; a batch norm follows each.
        relu: numbers in the maps that ReLUs write; that of a batch norm's output comes with it.
        pool: numbers in the maps that 3x3 averages write.
        skip: numbers in the maps that skips copy or add.
        links: products in the cells' and reductions' sums over neighbours on the graph.
    """

    multiply_adds: float = 0.0
    convolution: float = 0.0
    relu: float = 0.0
    pool: float = 0.0
    skip: float = 0.0
    links: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(
            self.multiply_adds + other.multiply_adds,
            self.convolution + other.convolution,
            self.relu + other.relu,
            self.pool + other.pool,
            self.skip + other.skip,
            self.links + other.links,
        )


@dataclass(frozen=True)
class Prices:
    """What a step of training spends on one number of each kind of `Work`, in multiply-adds.

    `blind` is the share of a step that is left where the output does not depend on the input:
    nothing goes all the way back.
    """

    convolution: float
    relu: float
    pool: float
    skip: float
    links: float
    blind: float


# Fitted to the fastest of a few steps of engine native, by the processor's time, on one core of an
# AMD EPYC (Zen 4) with UTD-MHAD: one cell each of 4,450 of the 5,234 functional classes, in random
# order, at C=16, N=5 and at C=8, N=3, which ask for nearly the same prices. That of links, with the
# others as they are, was fitted to 250 classes of space nb201-graph on synthetic clips.
# `python -m nas_skeleton.speed --setting table --recipe quick --balance` says what fits a machine.
PRICES = Prices(convolution=21.0, relu=8.5, pool=9.0, skip=4.7, links=5.0, blind=0.4)


# Seconds of a training step of 32 clips of UTD-MHAD with 16 frames, engine fast, on one core of an
# AMD EPYC (Zen 4); multiply-adds say less, for some models wait for memory.
MODEL_EFFORTS: dict[str, float] = {
    "stgcn": 0.81,
    "agcn": 0.86,
    "aagcn": 0.99,
    "asgcn": 1.82,
    "msg3d": 2.71,
    "ctrgcn": 1.37,
    "stgcn++": 0.80,
}


def efforts(space: SearchSpace, run: Run, jobs: Sequence[Job]) -> list[float]:
    """The relative time of each of `jobs`, of which some may be the same cell with other seeds."""
    archs = list(dict.fromkeys(job.arch_index for job in jobs))
    known = dict(zip(archs, efforts_of(space, run, archs), strict=True))
    return [known[job.arch_index] for job in jobs]


def efforts_of(space: SearchSpace, run: Run, archs: Sequence[int]) -> list[float]:
    """The relative time of one training of a run for each of `archs`."""
    if not isinstance(space, Space):
        return [MODEL_EFFORTS[space.arch_string(arch)] for arch in archs]
    data = run.data
    recipe = space.card.recipe(run.arguments.recipe)
    network = Network(space, recipe, data.joints, data.channels)
    return [data.bodies * network.effort(space.cell(arch)) for arch in archs]


class Network:
    """A candidate's macro skeleton, to ask for the effort of many cells in it.

    `in_channels` is C of the clips as the network sees them, `TrainedCard.channels`.
    """

    def __init__(self, space: Space, recipe: Recipe, joints: int, in_channels: int = 3) -> None:
        graph = space.card.operations == "graph"
        links = 3 * joints - 2 if graph else 0  # of a tree, in both directions and to itself
        self._fixed = _stem(space.card.stem, recipe, joints, in_channels)
        self._numbers = 0  # of a feature map, summed over all cells
        self._links = 0  # products in a sum over neighbours, likewise
        self._taps = dict.fromkeys(KERNEL_SIZES.values(), 0)  # multiply-adds by kernel, likewise
        channels, height, width = recipe.channels, recipe.frames, joints
        for stage in range(STAGES):
            if stage:
                reduction = space.card.macro.reduction
                across = 2 if reduction == "both" else 1
                self._fixed += _reduction(channels, height, width, across, links)
                height, width = reduced_size(height, width, reduction)
                channels *= 2
            self._numbers += recipe.cells_per_stage * channels * height * width
            self._links += recipe.cells_per_stage * channels * height * links
            for kernel in self._taps:
                inside = taps_inside(kernel, height) * _taps_across(kernel, width, 1, graph)
                self._taps[kernel] += recipe.cells_per_stage * channels**2 * inside
        self._fixed += Work(convolution=channels * height * width)  # the last batch norm
        self._known: dict[tuple[int, ...], Work] = {}

    def work(self, cell: Cell) -> Work:
        """What the network with `cell` computes."""
        used = [
            (source, target, op, role)
            for (source, target), op, role in zip(EDGES, cell.operations, roles(cell), strict=True)
            if role is not Role.DEAD
        ]
        flows_in = [0] * NODES
        for _, target, *_ in used:
            flows_in[target] += 1
        convolutions = [
            (s, op) for s, _, op, role in used if op in KERNEL_SIZES and role is Role.LIVE
        ]
        counts = (
            *(sum(op == known for _, op in convolutions) for known in KERNEL_SIZES),
            len({source for source, _ in convolutions}),
            sum(op == AVG_POOL for _, _, op, _ in used),
            sum(op == SKIP and flows_in[target] > 1 for _, target, op, _ in used),
            len({source for source, op in convolutions if op == CONV_3X3})
            + len({source for source, _, op, _ in used if op == AVG_POOL}),
        )
        if counts not in self._known:
            *by_kernel, relus, pools, skips, sums = counts
            taps = sum(
                n * self._taps[k] for n, k in zip(by_kernel, KERNEL_SIZES.values(), strict=True)
            )
            numbers = [n * self._numbers for n in (sum(by_kernel), relus, pools, skips)]
            self._known[counts] = self._fixed + Work(*[taps, *numbers, sums * self._links])
        return self._known[counts]

    def effort(self, cell: Cell, prices: Prices = PRICES) -> float:
        """The relative time of a step of the network with `cell`."""
        work = self.work(cell)
        total = (
            work.multiply_adds
            + prices.convolution * work.convolution
            + prices.relu * work.relu
            + prices.pool * work.pool
            + prices.skip * work.skip
            + prices.links * work.links
        )
        return prices.blind * total if ignores_input(cell) else total


def _taps_across(kernel: int, width: int, stride: int, graph: bool) -> int:
    """Taps of a kernel over a row of joints; on the graph it has subsets of neighbours instead."""
    return SUBSETS * width if graph and kernel > 1 else taps_inside(kernel, width, stride)


def _reduction(channels: int, height: int, width: int, across: int, links: int) -> Work:
    """The block between two stages, on a (channels, height, width) map.

    `across` is its stride over joints, `links` those of the graph, if its operations are on one.
    """
    out_height, out_width = -(-height // 2), -(-width // across)
    wide = 2 * channels
    numbers = wide * out_height * out_width
    graph = links > 0
    strided = taps_inside(3, height, 2) * _taps_across(3, width, across, graph)
    inside = taps_inside(3, out_height) * _taps_across(3, out_width, 1, graph)
    return Work(
        multiply_adds=channels * wide * (strided + out_height * out_width) + wide**2 * inside,
        convolution=3 * numbers,
        relu=channels * height * width,
        pool=numbers / 2,
        links=links * (channels * height + wide * out_height),
    )


def _stem(stem: Stem, recipe: Recipe, joints: int, in_channels: int) -> Work:
    """The stem, but for sums over neighbours in the graph, which are the same for all cells."""
    channels, frames = recipe.channels, recipe.frames
    numbers = channels * frames * joints
    if isinstance(stem, ImageStem):
        taps = taps_inside(3, frames) * taps_inside(3, joints)
        return Work(in_channels * channels * taps, numbers)
    coordinates, subsets, link_types = in_channels, SUBSETS, 0
    if isinstance(stem, ASGCNStem):
        link_types = LINK_TYPES
        coordinates, subsets = in_channels - link_types * joints, 1 + 2 * stem.hops
    total = Work()
    temporal = channels**2 * taps_inside(stem.temporal_kernel, frames) * joints
    for block in range(stem.blocks):
        width = channels if block else coordinates
        projected = (subsets + link_types) * width * numbers
        linked = link_types * width * frames * joints**2
        total += Work(projected + linked + temporal, (3 if link_types else 2) * numbers)
        if block:
            total += Work(relu=numbers, skip=numbers)
    return total
