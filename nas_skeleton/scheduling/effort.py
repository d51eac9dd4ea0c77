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

from nas_skeleton.spaces import Space
from nas_skeleton.spaces.card import ImageStem, Recipe, Stem
from nas_skeleton.spaces.cell import AVG_POOL, EDGES, NODES, SKIP, Cell
from nas_skeleton.spaces.costs import KERNEL_SIZES, STAGES, reduced_size, taps_inside
from nas_skeleton.spaces.liveness import Role, ignores_input, roles

if TYPE_CHECKING:
    from nas_skeleton.results.run import Run
    from nas_skeleton.training.job import Job

SUBSETS = 3  # of neighbours, of which ST-GCN sums each


@dataclass(frozen=True)
class Work:
    """What a network computes for one body of one clip.

    Attributes:
        multiply_adds: of all convolutions.
        convolution: numbers in the maps that convolutions write; a batch norm follows each.
        relu: numbers in the maps that ReLUs write; that of a batch norm's output comes with it.
        pool: numbers in the maps that 3x3 averages write.
        skip: numbers in the maps that skips copy or add.
    """

    multiply_adds: float = 0.0
    convolution: float = 0.0
    relu: float = 0.0
    pool: float = 0.0
    skip: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(
            self.multiply_adds + other.multiply_adds,
            self.convolution + other.convolution,
            self.relu + other.relu,
            self.pool + other.pool,
            self.skip + other.skip,
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
    blind: float


# Fitted to the fastest of a few steps of engine native, by the processor's time, on one core of an
# AMD EPYC (Zen 4) with UTD-MHAD: one cell each of 4,450 of the 5,234 functional classes, in random
# order, at C=16, N=5 and at C=8, N=3, which ask for nearly the same prices.
# `python -m nas_skeleton.speed --setting table --recipe quick --balance` says what fits a machine.
PRICES = Prices(convolution=21.0, relu=8.5, pool=9.0, skip=4.7, blind=0.4)


def efforts(space: Space, run: Run, jobs: Sequence[Job]) -> list[float]:
    """The relative time of each of `jobs`, of which some may be the same cell with other seeds."""
    data = run.data
    networks: dict[str, Network] = {}
    known: dict[tuple[int, str], float] = {}
    for job in jobs:
        at = job.arch_index, job.recipe
        if at in known:
            continue
        if job.recipe not in networks:
            networks[job.recipe] = Network(
                space, space.card.recipe(job.recipe), data.joints, data.channels
            )
        known[at] = data.bodies * networks[job.recipe].effort(space.cell(job.arch_index))
    return [known[job.arch_index, job.recipe] for job in jobs]


class Network:
    """A candidate's macro skeleton, to ask for the effort of many cells in it."""

    def __init__(self, space: Space, recipe: Recipe, joints: int, in_channels: int = 3) -> None:
        self._fixed = _stem(space.card.stem, recipe, joints, in_channels)
        self._numbers = 0  # of a feature map, summed over all cells
        self._taps = dict.fromkeys(KERNEL_SIZES.values(), 0)  # multiply-adds by kernel, likewise
        channels, height, width = recipe.channels, recipe.frames, joints
        for stage in range(STAGES):
            if stage:
                reduction = space.card.macro.reduction
                self._fixed += _reduction(channels, height, width, 2 if reduction == "both" else 1)
                height, width = reduced_size(height, width, reduction)
                channels *= 2
            self._numbers += recipe.cells_per_stage * channels * height * width
            for kernel in self._taps:
                inside = taps_inside(kernel, height) * taps_inside(kernel, width)
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
        )
        if counts not in self._known:
            *by_kernel, relus, pools, skips = counts
            taps = sum(
                n * self._taps[k] for n, k in zip(by_kernel, KERNEL_SIZES.values(), strict=True)
            )
            numbers = [n * self._numbers for n in (sum(by_kernel), relus, pools, skips)]
            self._known[counts] = self._fixed + Work(taps, *numbers)
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
        )
        return prices.blind * total if ignores_input(cell) else total


def _reduction(channels: int, height: int, width: int, across: int) -> Work:
    """The block between two stages, on a (channels, height, width) map; `across` is its stride."""
    out_height, out_width = -(-height // 2), -(-width // across)
    wide = 2 * channels
    numbers = wide * out_height * out_width
    strided = taps_inside(3, height, 2) * taps_inside(3, width, across)
    inside = taps_inside(3, out_height) * taps_inside(3, out_width)
    return Work(
        multiply_adds=channels * wide * (strided + out_height * out_width) + wide**2 * inside,
        convolution=3 * numbers,
        relu=channels * height * width,
        pool=numbers / 2,
    )


def _stem(stem: Stem, recipe: Recipe, joints: int, in_channels: int) -> Work:
    """The stem, but for sums over neighbours in the graph."""
    channels, frames = recipe.channels, recipe.frames
    numbers = channels * frames * joints
    if isinstance(stem, ImageStem):
        taps = taps_inside(3, frames) * taps_inside(3, joints)
        return Work(in_channels * channels * taps, numbers)
    total = Work()
    temporal = channels**2 * taps_inside(stem.temporal_kernel, frames) * joints
    for block in range(stem.blocks):
        projected = SUBSETS * (channels if block else in_channels) * numbers
        total += Work(projected + temporal, 2 * numbers)
        if block:
            total += Work(relu=numbers, skip=numbers)
    return total
