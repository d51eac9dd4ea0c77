"""Writes the candidate network down as a program; the same network as `network.candidate`."""

from __future__ import annotations

import numpy as np

from nas_skeleton.network.candidate import STAGES
from nas_skeleton.network.cell import KERNEL_SIZE, edge_name
from nas_skeleton.network.graph import spatial_partition
from nas_skeleton.spaces.card import ImageStem, SpaceCard, STGCNStem
from nas_skeleton.spaces.cell import Cell
from nas_skeleton.spaces.liveness import Role, roles
from nas_skeleton.training.candidates import Problem
from nas_skeleton.training.engines.native.program import Links, Map, Program


def write(program: Program, problem: Problem, cell: Cell) -> None:
    """Add the whole network to `program`."""
    card, recipe = problem.card, problem.recipe
    _, coordinates, frames, joints, _ = problem.task.clips.shape
    maps = program.gather(coordinates, frames, joints)
    maps = _stem(program, maps, card, recipe.channels, problem)
    stride = (2, 2) if card.macro.reduction == "both" else (2, 1)
    block = 0
    for stage in range(STAGES):
        if stage > 0:
            maps = _reduction(program, maps, f"blocks.{block}", stride)
            block += 1
        for _ in range(recipe.cells_per_stage):
            maps = _cell(program, maps, f"blocks.{block}", cell)
            block += 1
    maps = program.norm(maps, "norm", relu=True)  # nothing else uses the last cell's output
    program.head(maps, "classifier.weight", "classifier.bias")


def _stem(program: Program, maps: Map, card: SpaceCard, channels: int, problem: Problem) -> Map:
    if isinstance(card.stem, ImageStem):
        maps = program.convolution(maps, "stem.conv.weight", channels, (3, 3), differentiate=False)
        return program.norm(maps, "stem.norm")
    links = _links(card.stem, problem)
    per_joint = card.stem.data_norm == "joints"
    maps = program.norm(maps, "stem.data_norm", per_joint=per_joint, differentiate=False)
    for number in range(card.stem.blocks):
        name = f"stem.blocks.{number}"
        importance = f"{name}.graph.importance"
        out = program.graph(maps, importance, links)
        out = program.convolution(out, f"{name}.graph.project.weight", channels, (1, 1))
        program.graph_bias(out, importance, f"{name}.graph.project.bias", links)
        out = program.norm(out, f"{name}.temporal.0", relu=True)
        out = program.convolution(
            out,
            f"{name}.temporal.2.weight",
            channels,
            (card.stem.temporal_kernel, 1),
            bias=f"{name}.temporal.2.bias",
        )
        if number == 0:
            maps = program.norm(out, f"{name}.temporal.3", relu=True)
        else:
            total = program.copy(maps)
            maps = program.relu(program.norm(out, f"{name}.temporal.3", into=total))
    return maps


def _links(stem: STGCNStem, problem: Problem) -> Links:
    adjacency = spatial_partition(problem.task.layout, stem.partition)
    ends = np.ascontiguousarray(np.argwhere(adjacency > 0), dtype=np.int64)
    weights = adjacency[tuple(ends.T)].astype(np.float64)
    return Links(ends, weights, *adjacency.shape[:2])


def _reduction(program: Program, maps: Map, name: str, stride: tuple[int, int]) -> Map:
    channels = 2 * maps.channels
    out = program.convolution(
        program.relu(maps), f"{name}.conv_a.weight", channels, (3, 3), stride=stride
    )
    out = program.norm(out, f"{name}.norm_a", relu=True)
    out = program.convolution(out, f"{name}.conv_b.weight", channels, (3, 3))
    out = program.norm(out, f"{name}.norm_b")
    small = program.reduce(maps, stride)
    return program.convolution(small, f"{name}.shortcut.weight", channels, (1, 1), into=out)


def _cell(program: Program, maps: Map, name: str, cell: Cell) -> Map:
    """The cell's node 3. A node with a single skip edge is that edge's source itself."""
    nodes: dict[int, Map] = {0: maps}
    edges = [
        (source, target, operation, role)
        for (source, target, operation), role in zip(cell.named_edges(), roles(cell), strict=True)
        if role is not Role.DEAD
    ]
    activated: dict[int, Map] = {}
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
            elif operation in KERNEL_SIZE:
                if source not in activated:
                    activated[source] = program.relu(nodes[source])
                kernel = KERNEL_SIZE[operation]
                out = program.convolution(
                    activated[source], f"{edge}.conv.weight", maps.channels, (kernel, kernel)
                )
                total = program.norm(out, f"{edge}.norm", into=total)
            elif operation == "avg_pool_3x3":
                total = program.pool(nodes[source], into=total)
            else:
                total = program.copy(nodes[source], into=total)
        if total is not None:
            nodes[target] = total
    return nodes.get(3) or program.zero(maps.shape)
