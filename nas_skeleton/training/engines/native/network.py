"""Writes the candidate network down as a program; the same network as `network.candidate`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from nas_skeleton.network.candidate import STAGES
from nas_skeleton.network.cell import edge_name
from nas_skeleton.network.graph import spatial_partition
from nas_skeleton.network.operations import FRAMES, PARTITION, neighbours
from nas_skeleton.skeletons.layouts import Layout
from nas_skeleton.spaces.card import LINK_TYPES, ASGCNStem, ImageStem, SpaceCard
from nas_skeleton.spaces.cell import Cell
from nas_skeleton.spaces.liveness import Role, roles
from nas_skeleton.training.candidates import Problem
from nas_skeleton.training.engines.native.program import Links, Map, Program


@dataclass(frozen=True)
class _Graph:
    """The links of operations on the graph: of convolutions in three subsets, of pools in one."""

    subsets: Links
    mean: Links


def write(program: Program, problem: Problem, cell: Cell) -> None:
    """Add the whole network to `program`."""
    card, recipe, _ = problem.of_cells([cell])
    maps = _stem(program, card, recipe.channels, problem)
    graph = _graph(problem.task.layout) if card.operations == "graph" else None
    stride = (2, 2) if card.macro.reduction == "both" else (2, 1)
    block = 0
    for stage in range(STAGES):
        if stage > 0:
            maps = _reduction(program, maps, f"blocks.{block}", stride, graph)
            block += 1
        for _ in range(recipe.cells_per_stage):
            maps = _cell(program, maps, f"blocks.{block}", cell, graph)
            block += 1
    maps = program.norm(maps, "norm", relu=True)  # nothing else uses the last cell's output
    program.head(maps, "classifier.weight", "classifier.bias")


def _stem(program: Program, card: SpaceCard, channels: int, problem: Problem) -> Map:
    clip = problem.task.clips.shape[1:4]
    coordinates, frames, joints = clip
    stem = card.stem
    if isinstance(stem, ImageStem):
        maps = program.gather(clip, clip)
        maps = program.convolution(maps, "stem.conv.weight", channels, (3, 3), differentiate=False)
        return program.norm(maps, "stem.norm")
    hops, actional = 1, None
    if isinstance(stem, ASGCNStem):
        hops, coordinates = stem.hops, coordinates - LINK_TYPES * joints
        actional = program.gather((LINK_TYPES * joints, 1, joints), clip, first=coordinates)
    maps = program.gather((coordinates, frames, joints), clip)
    links = _links(spatial_partition(problem.task.layout, stem.partition, hops))
    per_joint = stem.data_norm == "joints"
    maps = program.norm(maps, "stem.data_norm", per_joint=per_joint, differentiate=False)
    for number in range(stem.blocks):
        name = f"stem.blocks.{number}"
        graph = f"{name}.graph.structural" if actional else f"{name}.graph"
        importance = f"{graph}.importance"
        out = program.graph(maps, links, importance)
        out = program.convolution(out, f"{graph}.project.weight", channels, (1, 1))
        program.graph_bias(out, importance, f"{graph}.project.bias", links)
        if isinstance(stem, ASGCNStem) and actional:
            seen = program.actional(maps, actional, LINK_TYPES, stem.actional_weight)
            weights = f"{name}.graph.actional.weight"
            out = program.convolution(seen, weights, channels, (1, 1), into=out)
        out = program.norm(out, f"{name}.temporal.0", relu=True)
        out = program.convolution(
            out,
            f"{name}.temporal.2.weight",
            channels,
            (stem.temporal_kernel, 1),
            bias=f"{name}.temporal.2.bias",
        )
        if number == 0:
            maps = program.norm(out, f"{name}.temporal.3", relu=True)
        else:
            total = program.copy(maps)
            maps = program.relu(program.norm(out, f"{name}.temporal.3", into=total))
    return maps


def _links(adjacency: NDArray[np.floating]) -> Links:
    """Of `adjacency`, `(subsets, V, V)`."""
    ends = np.ascontiguousarray(np.argwhere(adjacency > 0), dtype=np.int64)
    weights = adjacency[tuple(ends.T)].astype(np.float64)
    return Links(ends, weights, *adjacency.shape[:2])


def _graph(layout: Layout) -> _Graph:
    near = neighbours(layout).astype(np.float64)
    return _Graph(_links(spatial_partition(layout, PARTITION)), _links(near[None] / near.sum(0)))


def _reduction(
    program: Program, maps: Map, name: str, stride: tuple[int, int], graph: _Graph | None
) -> Map:
    channels = 2 * maps.channels
    kernel = (3, 3) if graph is None else (FRAMES, 1)

    def seen(x: Map) -> Map:
        return x if graph is None else program.graph(x, graph.subsets)

    out = seen(program.relu(maps))
    out = program.convolution(out, f"{name}.conv_a.weight", channels, kernel, stride=stride)
    out = seen(program.norm(out, f"{name}.norm_a", relu=True))
    out = program.convolution(out, f"{name}.conv_b.weight", channels, kernel)
    out = program.norm(out, f"{name}.norm_b")
    small = program.reduce(maps, stride)
    return program.convolution(small, f"{name}.shortcut.weight", channels, (1, 1), into=out)


def _cell(program: Program, maps: Map, name: str, cell: Cell, graph: _Graph | None) -> Map:
    """The cell's node 3. A node with a single skip edge is that edge's source itself."""
    nodes: dict[int, Map] = {0: maps}
    edges = [
        (source, target, operation, role)
        for (source, target, operation), role in zip(cell.named_edges(), roles(cell), strict=True)
        if role is not Role.DEAD
    ]

    # What edges read, once for all that have the same source.
    @cache
    def activated(source: int) -> Map:
        return program.relu(nodes[source])

    @cache
    def gathered(source: int) -> Map:
        return program.graph(activated(source), graph.subsets) if graph else activated(source)

    @cache
    def averaged(source: int) -> Map:
        return program.graph(nodes[source], graph.mean) if graph else nodes[source]

    wide = (FRAMES, 1) if graph else (3, 3)
    for target in (1, 2, 3):
        incoming = [edge for edge in edges if edge[1] == target]
        if len(incoming) == 1 and incoming[0][2:] == ("skip_connect", Role.LIVE):
            nodes[target] = nodes[incoming[0][0]]
            continue
        total: Map | None = None
        for source, _, operation, role in incoming:
            edge = f"{name}.{edge_name(source, target)}"
            if role is Role.BIAS:
                total = program.bias(maps.shape, f"{edge}.norm.bias", into=total)
            elif operation == "nor_conv_1x1":
                weights = f"{edge}.conv.weight"
                out = program.convolution(activated(source), weights, maps.channels, (1, 1))
                total = program.norm(out, f"{edge}.norm", into=total)
            elif operation == "nor_conv_3x3":
                weights = f"{edge}.conv.weight"
                out = program.convolution(gathered(source), weights, maps.channels, wide)
                total = program.norm(out, f"{edge}.norm", into=total)
            elif operation == "avg_pool_3x3":
                total = program.pool(averaged(source), wide, into=total)
            else:
                total = program.copy(nodes[source], into=total)
        if total is not None:
            nodes[target] = total
    return nodes.get(3) or program.zero(maps.shape)
