"""Parameters and multiply-accumulates of a candidate, counted on paper.

The convention is NAS-Bench-201's. All edges count as stored, also dead ones. MACs are those of
convolutions and linear layers (the head's bias counts as one each); batch norm, pooling, ReLU and
sums are ignored. NAS-Bench-201 and the skeleton literature call this number FLOPs. Feature maps are
(height, width) = (frames, joints).

With operations on the graph (`network.operations`) the convolutions have as many weights as 3x3
ones, 3 subsets of neighbours times 3 frames, and as many MACs. On top of them come the sums over
neighbours in front of each, counted densely as in ST-GCN's published code: V per number of the 3C
channels that they write. A pool's mean over neighbours is a pool and ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nas_skeleton.errors import InputError
from nas_skeleton.spaces.cell import CONV_1X1, CONV_3X3, Cell

Reduction = Literal["both", "time"]
Operations = Literal["grid", "graph"]

KERNEL_SIZES = {CONV_1X1: 1, CONV_3X3: 3}
SUBSETS = 3  # of a joint's neighbours, which the graph's convolutions tell apart
STAGES = 3  # channels double and the map shrinks between them


@dataclass(frozen=True, slots=True)
class Cost:
    """Trainable parameters, and multiply-accumulates of one forward pass of one clip."""

    params: int
    macs: int

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.params + other.params, self.macs + other.macs)

    def times(self, repeats: int) -> Cost:
        """The cost of `repeats` such parts, each with weights of its own."""
        return Cost(self.params * repeats, self.macs * repeats)


def conv_norm_cost(
    in_channels: int, out_channels: int, kernel_size: int, height: int, width: int
) -> Cost:
    """A square convolution without bias, then batch norm. `height`, `width`: of its output map."""
    weights = in_channels * out_channels * kernel_size**2
    return Cost(weights + 2 * out_channels, weights * height * width)


def neighbours_cost(channels: int, height: int, width: int) -> Cost:
    """The sums over neighbours of a (channels, height, width) map, in every subset."""
    return Cost(0, SUBSETS * channels * height * width**2)


def cell_cost(
    cell: Cell, channels: int, height: int, width: int, operations: Operations = "grid"
) -> Cost:
    """One cell on a (channels, height, width) map."""
    total = Cost(0, 0)
    for op in cell.operations:
        if op in KERNEL_SIZES:
            total += conv_norm_cost(channels, channels, KERNEL_SIZES[op], height, width)
        if op == CONV_3X3 and operations == "graph":
            total += neighbours_cost(channels, height, width)
    return total


def reduced_size(height: int, width: int, reduction: Reduction) -> tuple[int, int]:
    """Size of a map after a reduction: "both" halves both sides, "time" the height; rounding up.

    Rounding up is what a 3x3 convolution of stride 2 and padding 1 does; the shortcut's pool must
    do the same (`ceil_mode=True`). For even sides this is NAS-Bench-201's reduction.
    """
    return -(-height // 2), -(-width // 2) if reduction == "both" else width


def reduction_cost(channels: int, height: int, width: int) -> Cost:
    """The residual block between stages, from `channels` to twice as many.

    Two 3x3 convolutions with batch norm, and a shortcut of an average pool and a 1x1 convolution
    without bias or batch norm. `height`, `width`: of its output map.
    """
    wide = 2 * channels
    shortcut = channels * wide
    return (
        conv_norm_cost(channels, wide, 3, height, width)
        + conv_norm_cost(wide, wide, 3, height, width)
        + Cost(shortcut, shortcut * height * width)
    )


def taps_inside(kernel: int, size: int, stride: int = 1) -> int:
    """Taps of an odd kernel that fall inside a row of `size`, over all its positions.

    It stands at every `stride`-th position: with padding on both sides of half the kernel.
    """
    half = kernel // 2
    return sum(min(at + half, size - 1) - max(at - half, 0) + 1 for at in range(0, size, stride))


def image_stem_cost(channels: int, height: int, width: int, *, in_channels: int = 3) -> Cost:
    """NAS-Bench-201's stem: a 3x3 convolution from `in_channels`, no bias, and batch norm."""
    return conv_norm_cost(in_channels, channels, 3, height, width)


def aim_encoder_cost(hidden: int, features: int, joints: int) -> Cost:
    """What finds the A-links of one body: AS-GCN's inference module without its decoder.

    Four perceptrons of two linear layers, of joints, pairs, joints and pairs, and a linear layer
    from pairs to three types (`network.aim`). `features` are the numbers seen of a joint.
    """
    pairs, types = joints * (joints - 1), 3
    sizes = ((joints, features), (pairs, 2 * hidden), (joints, hidden), (pairs, 3 * hidden))
    total = Cost((hidden + 1) * types, pairs * hidden * types)
    for rows, width in sizes:
        weights = width * hidden + hidden**2
        total += Cost(weights + 4 * hidden, rows * weights)  # two biases, and a batch norm
    return total


def network_cost(
    cell: Cell,
    *,
    channels: int,
    cells_per_stage: int,
    classes: int,
    height: int,
    width: int,
    stem: Cost,
    reduction: Reduction,
    operations: Operations = "grid",
    bodies: int = 1,
) -> Cost:
    """A whole candidate: stem, three stages of cells, two reductions, last batch norm, head.

    Args:
        cell: the cell, repeated `cells_per_stage` times in each stage.
        channels: width of the first stage, which the stem delivers; the stages have 1, 2, 4 times
            as many.
        cells_per_stage: NAS-Bench-201's N.
        classes: outputs of the linear head.
        height: rows of the map the stem delivers (frames).
        width: its columns (joints).
        stem: cost of the stem for one body.
        reduction: which sides the reductions halve, see `reduced_size`.
        operations: what the cells' operations are to joints; "graph" keeps all joints, that is, it
            goes with reduction "time".
        bodies: how many bodies a clip has. Everything before the head runs once for each with the
            same weights; the head runs once, on their mean.

    Raises:
        InputError: a size below 1 or an unknown reduction.
    """
    sizes = {
        "channels": channels,
        "cells_per_stage": cells_per_stage,
        "classes": classes,
        "height": height,
        "width": width,
        "bodies": bodies,
    }
    for name, size in sizes.items():
        if size < 1:
            raise InputError(f"network cost: {name} is {size}, must be at least 1")
    if reduction not in ("both", "time"):
        raise InputError(f"network cost: unknown reduction {reduction!r}: known are both, time")

    body = stem
    for stage in range(STAGES):
        if stage > 0:
            before = neighbours_cost(channels, height, width)
            height, width = reduced_size(height, width, reduction)
            body += reduction_cost(channels, height, width)
            channels *= 2
            if operations == "graph":
                body += before + neighbours_cost(channels, height, width)
        body += cell_cost(cell, channels, height, width, operations).times(cells_per_stage)
    body += Cost(2 * channels, 0)  # the last batch norm
    head = (channels + 1) * classes
    return Cost(body.params + head, body.macs * bodies + head)


def stgcn_stem_cost(
    channels: int,
    frames: int,
    joints: int,
    *,
    blocks: int,
    temporal_kernel: int,
    data_features: int,
    in_channels: int = 3,
    subsets: int = 3,
    link_types: int = 0,
) -> Cost:
    """Batch norm of `data_features` coordinates, then ST-GCN blocks from `in_channels`.

    A block: 1x1 convolution to `subsets` times the channels with bias, the sum over joints with the
    learnable edge importance (counted densely, as the published code computes it), batch norm,
    temporal convolution with bias, batch norm. With AS-GCN's links also a 1x1 convolution without
    bias to `link_types` times the channels, and the sum over joints for each type. To infer the
    links of a clip is counted apart, by `aim_encoder_cost`.
    """
    total = Cost(2 * data_features, 0)
    size = frames * joints
    for block in range(blocks):
        width = in_channels if block == 0 else channels
        project, temporal = subsets * channels * width, channels * channels * temporal_kernel
        linked = link_types * channels * width
        total += Cost(
            linked
            + project
            + subsets * channels
            + subsets * joints**2
            + 4 * channels
            + temporal
            + channels,
            (linked + project + (subsets + link_types) * channels * joints + temporal) * size,
        )
    return total
