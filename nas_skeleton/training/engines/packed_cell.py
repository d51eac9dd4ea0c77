"""One cell position of many members whose cells differ.

Of each edge, the members that have the same operation on it form a group: their channels are
gathered, go through one stacked operation, and are added into the target node. Dead and bias edges
are what `spaces.liveness` says, as in the lean cell. Node 0 and node 3 hold all members, the two in
between those members that need them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from nas_skeleton.network.cell import CONVOLUTIONS, Bias, ConvNorm, edge_name
from nas_skeleton.network.operations import Operations
from nas_skeleton.spaces.cell import NODES, Cell
from nas_skeleton.spaces.liveness import Role, roles
from nas_skeleton.training.engines.packed_layers import Stacked, stack

BIAS = "bias"
UNCHANGED = ("skip_connect", "avg_pool_3x3")  # read the node as it is, convolutions its ReLU


@dataclass(frozen=True)
class Group:
    """The members with operation `kind` on one edge, and where they stand in its two nodes.

    A place is None where the group is the whole node in order, so that nothing need be moved.
    """

    source: int
    target: int
    kind: str
    module: nn.Module
    taken_from: Tensor | None
    added_to: Tensor | None


class StackedBias(nn.Module):
    """`network.cell.Bias` of several members."""

    def __init__(self, channels: int, members: Sequence[int]) -> None:
        super().__init__()
        self.norm = Stacked(Bias(channels).norm, members)

    def forward(self, maps: Tensor) -> Tensor:
        n, _, t, v = maps.shape
        bias = self.norm.get_parameter("bias").to(maps.dtype)  # of the maps, under autocast
        return bias.view(1, -1, 1, 1).expand(n, -1, t, v)


class PackedCell(nn.Module):
    """Cell i works on the i-th of M equal parts of the channels: `(N, M * C, T, V)` to the same.

    Args:
        cells: one per member.
        channels: C, of each member.
        operations: what makes the operations of the cells.
        like: a tensor with the dtype and the device of the weights.
    """

    def __init__(
        self, cells: Sequence[Cell], channels: int, operations: Operations, like: Tensor
    ) -> None:
        super().__init__()
        self.channels = channels
        members: dict[tuple[int, int, str], list[int]] = {}
        for member, cell in enumerate(cells):
            for (source, target, name), role in zip(cell.named_edges(), roles(cell), strict=True):
                if role is not Role.DEAD:
                    kind = BIAS if role is Role.BIAS else name
                    members.setdefault((source, target, kind), []).append(member)
        everyone = list(range(len(cells)))
        nodes = [everyone] + [
            sorted({m for (_, to, _), group in members.items() if to == node for m in group})
            for node in range(1, NODES - 1)
        ]
        nodes.append(everyone)
        self.sizes = [len(node) for node in nodes]
        self.groups: list[Group] = []
        for (source, target, kind), group in sorted(members.items()):
            module = _operation(kind, channels, operations, group).to(like.device, like.dtype)
            self.add_module(f"{edge_name(source, target)}:{kind}", module)
            taken_from = _places(group, nodes[source], like.device) if kind != BIAS else None
            added_to = _places(group, nodes[target], like.device)
            self.groups.append(Group(source, target, kind, module, taken_from, added_to))

    def forward(self, maps: Tensor) -> Tensor:
        # What has been computed for each node and waits to be added up there.
        arrived: list[list[tuple[Tensor | None, Tensor]]] = [[] for _ in range(NODES)]
        for group in self._groups(BIAS):
            arrived[group.target].append((group.added_to, group.module(maps)))
        value = maps
        for node, members in enumerate(self.sizes):
            if node > 0:
                value = self._add_up(arrived[node], members, maps)
            for kinds in (CONVOLUTIONS, UNCHANGED):
                groups = self._groups(*kinds, source=node)
                if groups:
                    read = torch.relu(value) if kinds is CONVOLUTIONS else value
                    parts = self._take(read, [group.taken_from for group in groups])
                    for group, part in zip(groups, parts, strict=True):
                        arrived[group.target].append((group.added_to, group.module(part)))
        return value

    def _groups(self, *kinds: str, source: int | None = None) -> list[Group]:
        return [g for g in self.groups if g.kind in kinds and source in (None, g.source)]

    def _take(self, value: Tensor, places: list[Tensor | None]) -> list[Tensor]:
        """The channels of the members at each of `places`."""
        some = [place for place in places if place is not None]
        taken = Take.apply(value, self.channels, *some) if some else ()  # type: ignore[no-untyped-call]
        parts = iter(taken)
        return [value if place is None else next(parts) for place in places]

    def _add_up(
        self, arrived: list[tuple[Tensor | None, Tensor]], members: int, maps: Tensor
    ) -> Tensor:
        """A node of `members` from what arrived for some of its members or for all."""
        total: Tensor | None = None
        some = [(place, part) for place, part in arrived if place is not None]
        if some or not arrived:
            shape = (len(maps), members * self.channels, *maps.shape[2:])
            places, parts = [place for place, _ in some], [part for _, part in some]
            zeros = maps.new_zeros(shape)
            total = Put.apply(zeros, self.channels, places, *parts)  # type: ignore[no-untyped-call]
        for place, part in arrived:
            if place is None:
                total = part if total is None else total + part
        assert total is not None
        return total


class Take(torch.autograd.Function):
    """Some members' channels, several times from one map; the gradient is summed in one tensor.

    Autograd's own gradient of `index_select` would be a map of the whole node for every group.
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor, channels: int, *places: Tensor) -> tuple[Tensor, ...]:
        ctx.shape, ctx.channels, ctx.places = value.shape, channels, places
        return tuple(_taken(value, channels, place) for place in places)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        total = gradients[0].new_zeros(ctx.shape)
        _add(total, ctx.channels, ctx.places, gradients)
        return (total, None, *(None for _ in ctx.places))


class Put(torch.autograd.Function):
    """Adds each part to the channels of its members in `total`; the reverse of `Take`."""

    @staticmethod
    def forward(
        ctx: Any, total: Tensor, channels: int, places: list[Tensor], *parts: Tensor
    ) -> Tensor:
        ctx.channels, ctx.places = channels, places
        ctx.mark_dirty(total)
        _add(total, channels, places, parts)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        parts = (_taken(gradient, ctx.channels, place) for place in ctx.places)
        return (None, None, None, *parts)


def lean_name(path: str) -> str:
    """The name in a lean network of a layer at `path` of a packed one."""
    return re.sub(r":\w+", "", path)


def _operation(
    kind: str, channels: int, operations: Operations, members: Sequence[int]
) -> nn.Module:
    if kind == BIAS:
        return StackedBias(channels, members)
    if kind in CONVOLUTIONS:
        return stack(ConvNorm(operations.convolution(kind, channels)), members)
    return operations.pool() if kind == "avg_pool_3x3" else nn.Identity()


def _places(members: list[int], node: list[int], device: torch.device) -> Tensor | None:
    """Where `members` stand in `node`; None if they are all of it."""
    if members == node:
        return None
    return torch.tensor([node.index(member) for member in members], device=device)


def _taken(maps: Tensor, channels: int, places: Tensor) -> Tensor:
    n, _, t, v = maps.shape
    members = maps.reshape(n, -1, channels * t * v)
    return members.index_select(1, places).view(n, -1, t, v)


def _add(total: Tensor, channels: int, places: Sequence[Tensor], parts: Sequence[Tensor]) -> None:
    n, _, t, v = total.shape
    members = total.view(n, -1, channels * t * v)
    for place, part in zip(places, parts, strict=True):
        members.index_add_(1, place, part.reshape(n, -1, channels * t * v))
