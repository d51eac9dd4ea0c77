"""The cell as it is trained: dead edges left out, bias edges as a vector, one ReLU per node.

This is exact, not an approximation (see `spaces.liveness` for the rules); the plain form of the
same function is `reference.ReferenceCell`, and tests compare the two in float64. Parameter names
are the same in both, so a state dict of one names the parameters of the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nas_skeleton.network.operations import Operations
from nas_skeleton.spaces.cell import Cell
from nas_skeleton.spaces.liveness import Role, roles

CONVOLUTIONS = ("nor_conv_1x1", "nor_conv_3x3")


def edge_name(source: int, target: int) -> str:
    """Name of an edge's module, the same in the lean and the reference cell."""
    return f"edge_{source}_{target}"


class ConvNorm(nn.Module):
    """Convolution without bias, then batch norm (eps 1e-5, momentum 0.1). The ReLU comes before."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.BatchNorm2d(conv.out_channels)

    def forward(self, activated: Tensor) -> Tensor:
        return self.norm(self.conv(activated))  # type: ignore[no-any-return]


class Bias(nn.Module):
    """What ReLU-Conv-BN makes of a zero map: the bias of its batch norm, one value a channel.

    `norm` has that bias where it is shared with a convolution.
    """

    def __init__(self, channels: int, norm: nn.Module | None = None) -> None:
        super().__init__()
        self.norm = norm or nn.Module()
        if norm is None:
            self.norm.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, maps: Tensor) -> Tensor:
        bias = self.norm.bias
        assert isinstance(bias, Tensor)
        return bias[None, :, None, None].expand_as(maps)


UsedEdge = tuple[int, int, nn.Module]  # source, target, and what it computes


def flow(maps: Tensor, used: Sequence[UsedEdge], scales: Sequence[Tensor] = ()) -> Tensor:
    """The output of a cell whose edges with something to contribute are `used`, sources first.

    Args:
        maps: `(N, C, T, V)`; the output has this shape.
        used: a `ConvNorm` gets its source after ReLU, any other module gets it as it is.
        scales: a factor for what each edge contributes; none for one.
    """
    nodes: dict[int, Tensor] = {0: maps}
    activated: dict[int, Tensor] = {}
    for place, (source, target, module) in enumerate(used):
        value = nodes.get(source, maps)  # a bias edge has a zero source: only the shape counts
        if isinstance(module, ConvNorm):
            if source not in activated:
                activated[source] = torch.relu(value)
            value = activated[source]
        out = module(value)
        if scales:
            out = out * scales[place]
        nodes[target] = nodes[target] + out if target in nodes else out
    return nodes[3] if 3 in nodes else torch.zeros_like(maps)


class LeanCell(nn.Module):
    """One cell, `(N, C, T, V)` to the same shape."""

    def __init__(self, cell: Cell, channels: int, operations: Operations) -> None:
        super().__init__()
        self._used: list[UsedEdge] = []
        for (source, target, name), role in zip(cell.named_edges(), roles(cell), strict=True):
            module: nn.Module
            if role is Role.DEAD:
                continue
            if role is Role.BIAS:
                module = Bias(channels)
            elif name in CONVOLUTIONS:
                module = ConvNorm(operations.convolution(name, channels))
            else:
                module = operations.pool() if name == "avg_pool_3x3" else nn.Identity()
            self.add_module(edge_name(source, target), module)
            self._used.append((source, target, module))

    def forward(self, maps: Tensor) -> Tensor:
        return flow(maps, self._used)
