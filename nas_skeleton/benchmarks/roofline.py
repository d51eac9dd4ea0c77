"""What a step must cost at least on this machine: arithmetic and memory traffic at measured peaks.

Arithmetic: two FLOPs per multiply-add that a training step needs (`multiply_adds`). Counted are
convolutions and the classifier, each computed directly, that is not by Winograd's method or by FFT:
the output, the gradient of the weights, and the gradient of the input. The count is a lower one:

* Only taps inside the map count, none on the zeros around it.
* Only live convolutions count (`spaces.liveness`), and not those of what is the same in all clips.
  A cell that ignores its input needs nothing.
* ST-GCN's sum over neighbours is taken before the projection and visits connected joints only. The
  bones are a tree: V joints have 3 V - 2 links, themselves included, in whatever subsets. A joint
  has neighbours in one subset at least besides itself, so that it is projected twice at least.
  So it is in cells on the graph, where convolutions of one node share its sums.
* Where structural links reach h > 1 bones, there are no fewer of them than if the joints stood in a
  row. By A-links of each type a joint acts on itself at least, and so is projected once for each;
  how many more there are is in the clips.
* What comes first needs no input gradient. That is so for the image stem's convolution. It is also
  so for the first block's sum and projection, although backpropagation as engines do it takes one:
  what the data batch norm needs follows as well from the gradient of the weights, if that is summed
  for every link on its own. So does the gradient of the edge importance, which never counts.
* Batch norm, ReLU, pools, sums, biases, the loss and the update of the weights are neglected.

Traffic is that of feature maps, counted in two ways from the operations of the lean network:

* *least*: everything elementwise rides along with its neighbours. Forward, each convolution reads
  its input and writes its output; each node reads what flows into it (outputs of convolutions,
  sources of pools and skips) and is written once. Backward moves twice as much: it reads the maps
  again, and reads and writes their gradients. Weights are neglected, and so are A-links, which
  all frames share.
* *op by op*: each operation of eager PyTorch (convolution, batch norm, ReLU, pool, sum) reads its
  inputs from memory and writes its output to memory, see `OP_BY_OP`.

The **floor** of a step is the larger of arithmetic at the peak of sgemm and *least* traffic at the
bandwidth of a copy, as if the two overlapped perfectly. The share of the roofline is floor / time.
Only other algorithms, or maps that are shared or never leave the registers, could come below it.
Both peaks are measured, on a CPU with one thread. There a copy works on as many bytes as the maps
of a forward pass have, so that it is in the cache if they are; on a GPU it is 1 GiB.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import mean

import torch

from nas_skeleton.spaces import Space
from nas_skeleton.spaces.card import LINK_TYPES, ASGCNStem, ImageStem, SpaceCard, Stem
from nas_skeleton.spaces.cell import CONVOLUTIONS, EDGES, NODES, NONE, Cell
from nas_skeleton.spaces.costs import KERNEL_SIZES, STAGES, reduced_size, taps_inside
from nas_skeleton.spaces.liveness import Role, ignores_input, roles
from nas_skeleton.spaces.recipe import Recipe

FLOPS_PER_MULTIPLY_ADD = 2
PASSES = 3  # output, gradient of the weights, gradient of the input
FIRST_PASSES = 2  # nothing before it is trained
BACKWARD = 2  # least traffic of the backward pass, in forward passes
NUMBER_BYTES = 4  # float32

# Maps read and written by the kernels of one operation, forward + backward. Convolution: input and
# output; both gradients read the output's, one writes the input's, one reads the input. Batch norm
# reads its input twice (statistics, then scaling) and backward the gradient and the input twice.
# Sums over neighbours, in front of a convolution on the graph, write three maps, which it then has
# as input instead of one; those in front of a pool write one.
OP_BY_OP = {
    "conv": 2 + 4,
    "norm": 3 + 5,
    "relu": 2 + 3,
    "pool": 2 + 2,
    "sum": 3,
    "subsets": (4 + 4) + (2 + 4),
    "neighbours": 2 + 2,
}

GEMM_SIZES = {"cpu": (512, 1024), "cuda": (4096, 8192)}
GPU_COPY_BYTES = 2**30
REPEATS = 10


@dataclass(frozen=True)
class Demand:
    """What one step of one candidate asks for: FLOPs and bytes, see the module's text.

    `maps` is the size in bytes of all maps that a forward pass writes.
    """

    flops: float
    least_bytes: float
    op_by_op_bytes: float
    maps: float


@dataclass(frozen=True)
class Peaks:
    """What the machine reached: FLOP/s of sgemm; bytes read plus written per second of a copy."""

    flops_per_s: float
    bytes_per_s: float


@dataclass(frozen=True)
class Floor:
    """Milliseconds of one step of one candidate at the machine's peaks."""

    compute_ms: float
    traffic_ms: float
    op_by_op_traffic_ms: float

    @property
    def ms(self) -> float:
        """The floor: arithmetic or least traffic, whichever takes longer."""
        return max(self.compute_ms, self.traffic_ms)


def floor(demand: Demand, peaks: Peaks) -> Floor:
    """What `demand` takes at `peaks`."""
    return Floor(
        compute_ms=1e3 * demand.flops / peaks.flops_per_s,
        traffic_ms=1e3 * demand.least_bytes / peaks.bytes_per_s,
        op_by_op_traffic_ms=1e3 * demand.op_by_op_bytes / peaks.bytes_per_s,
    )


def mean_demand(
    space: Space,
    recipe: Recipe,
    cells: list[int],
    *,
    classes: int,
    joints: int,
    bodies: int,
    channels: int = 3,
) -> Demand:
    """The mean over `cells` of what a step asks for.

    `channels` is C of the clips as the networks see them, `TrainedCard.channels`.
    """
    demands = [
        _demand(space, recipe, space.cell(index), classes, joints, bodies, channels)
        for index in cells
    ]
    return Demand(
        flops=mean(d.flops for d in demands),
        least_bytes=mean(d.least_bytes for d in demands),
        op_by_op_bytes=mean(d.op_by_op_bytes for d in demands),
        maps=mean(d.maps for d in demands),
    )


def multiply_adds(
    card: SpaceCard,
    recipe: Recipe,
    cell: Cell,
    *,
    classes: int,
    joints: int,
    bodies: int,
    in_channels: int = 3,
) -> int:
    """Multiply-adds that a training step needs for each clip, see the module's text."""
    if ignores_input(cell):
        return 0
    needed = _needed_convolutions(cell)
    gathers = len({source for source, kernel in needed if kernel > 1})
    graph = card.operations == "graph"
    channels, height, width = recipe.channels, recipe.frames, joints
    body = _stem_multiply_adds(card.stem, in_channels, channels, height, width)
    for stage in range(STAGES):
        if stage:
            out_height, out_width = reduced_size(height, width, card.macro.reduction)
            strides = (2, 2 if card.macro.reduction == "both" else 1)
            taps = taps_inside(3, height, strides[0]) * _across(3, width, graph, strides[1])
            shortcut = out_height * out_width  # the pool comes first
            body += PASSES * channels * 2 * channels * (taps + shortcut)
            body += _sums(channels, height, width, graph)
            height, width, channels = out_height, out_width, 2 * channels
            body += PASSES * channels**2 * taps_inside(3, height) * _across(3, width, graph)
            body += _sums(channels, height, width, graph)
        taps = sum(
            taps_inside(kernel, height) * _across(kernel, width, graph) for _, kernel in needed
        )
        cells = PASSES * channels**2 * taps + gathers * _sums(channels, height, width, graph)
        body += cells * recipe.cells_per_stage
    return body * bodies + PASSES * channels * classes


def _links(joints: int, hops: int = 1) -> int:
    """Links of a tree at least, in both directions and of each joint to itself.

    Of a tree's two joints furthest apart each has `hops` others within reach, or all there are.
    Without it the rest is a tree again: no tree has fewer links than a row of joints.
    """
    return joints + 2 * sum(max(joints - bones, 0) for bones in range(1, hops + 1))


def _projections(joints: int) -> int:
    """Pairs of joint and subset at least; a single joint has no neighbours."""
    return min(2 * joints, _links(joints))


def _across(kernel: int, joints: int, graph: bool, stride: int = 1) -> int:
    """Taps of a kernel over a row of joints; on the graph subsets of neighbours."""
    return _projections(joints) if graph and kernel > 1 else taps_inside(kernel, joints, stride)


def _sums(channels: int, height: int, width: int, graph: bool) -> int:
    """Sums over neighbours and their gradient, whose links have no weights to train."""
    return (PASSES - 1) * channels * height * _links(width) if graph else 0


def _needed_convolutions(cell: Cell) -> list[tuple[int, int]]:
    """Source and kernel size of the live convolutions of what differs between clips."""
    varies = [True] + [False] * (NODES - 1)
    needed: list[tuple[int, int]] = []
    # In the order of EDGES a node is settled before it is a source.
    for (source, target), op, role in zip(EDGES, cell.operations, roles(cell), strict=True):
        if role is Role.LIVE and varies[source]:
            varies[target] = True
            if op in KERNEL_SIZES:
                needed.append((source, KERNEL_SIZES[op]))
    return needed


def _stem_multiply_adds(
    stem: Stem, in_channels: int, channels: int, frames: int, joints: int
) -> int:
    """Of one body of one clip."""
    if isinstance(stem, ImageStem):
        return (
            FIRST_PASSES * in_channels * channels * taps_inside(3, frames) * taps_inside(3, joints)
        )
    coordinates, links, projected = in_channels, _links(joints), _projections(joints)
    if isinstance(stem, ASGCNStem):
        coordinates = in_channels - LINK_TYPES * joints
        links = _links(joints, stem.hops) + LINK_TYPES * joints
        projected += LINK_TYPES * joints
    total = 0
    for block in range(stem.blocks):
        inputs, passes = (channels, PASSES) if block else (coordinates, FIRST_PASSES)
        total += (passes - 1) * inputs * links * frames  # without the importance's gradient
        total += passes * inputs * projected * channels * frames
        total += PASSES * channels**2 * taps_inside(stem.temporal_kernel, frames) * joints
    return total


def live_part(cell: Cell) -> Cell:
    """The cell with "none" on the edges that a lean network does not compute."""
    return Cell(
        tuple(
            op if role is Role.LIVE else NONE
            for op, role in zip(cell.operations, roles(cell), strict=True)
        )
    )


@dataclass
class _Maps:
    """Numbers in feature maps, of one body of one clip."""

    read: float = 0.0  # forward, least
    written: float = 0.0
    op_by_op: float = 0.0  # read and written, forward and backward

    def add(self, size: float, *, read: float, written: float, **operations: int) -> None:
        """`size` numbers in a map, so many maps read and written, so many operations on them."""
        self.read += size * read
        self.written += size * written
        self.op_by_op += size * sum(OP_BY_OP[name] * count for name, count in operations.items())


def _demand(
    space: Space,
    recipe: Recipe,
    cell: Cell,
    classes: int,
    joints: int,
    bodies: int,
    in_channels: int,
) -> Demand:
    live = live_part(cell)
    arithmetic = multiply_adds(
        space.card,
        recipe,
        cell,
        classes=classes,
        joints=joints,
        bodies=bodies,
        in_channels=in_channels,
    )
    maps = _Maps()
    graph = space.card.operations == "graph"
    height, width, channels = recipe.frames, joints, recipe.channels
    _stem(maps, space.card.stem, in_channels, channels, height, width)
    for stage in range(STAGES):
        if stage:
            before = channels * height * width
            height, width = reduced_size(height, width, space.card.macro.reduction)
            channels *= 2
            _reduction(maps, before, channels * height * width, graph)
        for _ in range(recipe.cells_per_stage):
            _cell(maps, live, channels * height * width, graph)
    maps.add(channels * height * width, read=1, written=0, norm=1, relu=1)
    numbers = NUMBER_BYTES * recipe.batch_size * bodies
    return Demand(
        flops=float(FLOPS_PER_MULTIPLY_ADD * arithmetic * recipe.batch_size),
        least_bytes=numbers * (1 + BACKWARD) * (maps.read + maps.written),
        op_by_op_bytes=numbers * maps.op_by_op,
        maps=numbers * maps.written,
    )


def _cell(maps: _Maps, live: Cell, size: float, graph: bool) -> None:
    used = [(edge, op) for edge, op in zip(EDGES, live.operations, strict=True) if op != NONE]
    convolutions = [edge for edge, op in used if op in CONVOLUTIONS]
    names = [name for *_, name in live.named_edges()]
    targets = {target for (_, target), _ in used}
    sources = {source for (source, _), _ in used}
    maps.add(
        size,
        read=len(used) + len(convolutions),
        written=len(targets) + len(convolutions),
        conv=len(convolutions),
        norm=len(convolutions),
        relu=len({source for source, _ in convolutions}),
        pool=names.count("avg_pool_3x3"),
        subsets=names.count("nor_conv_3x3") * graph,
        neighbours=names.count("avg_pool_3x3") * graph,
        # forward per further input of a node, backward per further use of one
        sum=2 * len(used) - len(targets) - len(sources),
    )


def _reduction(maps: _Maps, before: float, after: float, graph: bool) -> None:
    """Two convolutions with batch norm, and a shortcut that rides along in the sum."""
    maps.add(before, read=2, written=0, relu=1, subsets=graph)
    maps.add(after, read=2, written=3, conv=2, norm=2, relu=1, sum=1, subsets=graph)
    maps.add(after, read=0, written=0, pool=1, conv=1)


def _stem(
    maps: _Maps, stem: Stem, in_channels: int, channels: int, frames: int, joints: int
) -> None:
    """With A-links a block has a convolution more, which at least is one with the other."""
    size = channels * frames * joints
    linked = int(isinstance(stem, ASGCNStem))
    coordinates = in_channels - linked * LINK_TYPES * joints
    maps.add(coordinates * frames * joints, read=1, written=0, norm=1)
    if isinstance(stem, ImageStem):
        maps.add(size, read=1, written=2, conv=1, norm=1)
        return
    for block in range(stem.blocks):
        residual = int(block > 0)
        maps.add(size, read=2 + residual, written=3, norm=2, relu=2)
        maps.add(size, read=0, written=0, conv=2 + linked, sum=residual + linked)
        if residual:
            maps.add(size, read=1, written=0)


def measure_peaks(device: torch.device, maps: float) -> Peaks:
    """The peaks of `device` now; on a CPU for maps of `maps` bytes in all, with one thread."""
    copied = GPU_COPY_BYTES if device.type == "cuda" else maps
    return Peaks(_gemm_peak(device), _copy_peak(device, int(copied)))


def _gemm_peak(device: torch.device) -> float:
    best = 0.0
    for size in GEMM_SIZES[device.type]:
        a, b = (torch.rand(size, size, device=device) for _ in range(2))
        out = torch.empty_like(a)
        seconds = _best(device, lambda a=a, b=b, out=out: torch.mm(a, b, out=out))  # type: ignore[misc]
        best = max(best, 2 * size**3 / seconds)
    return best


def _copy_peak(device: torch.device, size: int) -> float:
    numbers = max(size // NUMBER_BYTES // 2, 1024)  # source and destination together
    source = torch.rand(numbers, device=device)
    destination = torch.empty_like(source)
    seconds = _best(device, lambda: destination.copy_(source))
    return 2 * NUMBER_BYTES * numbers / seconds


def _best(device: torch.device, work: Callable[[], object]) -> float:
    """Seconds of the fastest of several calls, on a GPU between two events."""
    work()
    times: list[float] = []
    for _ in range(REPEATS):
        if device.type == "cuda":
            begin = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            begin.record()
            work()
            end.record()
            end.synchronize()
            times.append(float(begin.elapsed_time(end)) / 1e3)
        else:
            started = time.perf_counter()
            work()
            times.append(time.perf_counter() - started)
    return min(times)
