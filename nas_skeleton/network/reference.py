"""The oracle: the same network in its plainest form, written to be read, not to be fast.

Every edge is computed, dead or not, each with its own ReLU; the graph convolution is the textbook
sum, and so are the operations on the graph. A faster network must equal this one in float64.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas_skeleton.network.cell import CONVOLUTIONS, ConvNorm, edge_name
from nas_skeleton.network.operations import (
    Graph,
    GraphTimeConvolution,
    GraphTimePool,
    Operations,
)
from nas_skeleton.network.stems import ActionalConvolution, GraphConvolution
from nas_skeleton.spaces.card import LINK_TYPES
from nas_skeleton.spaces.cell import Cell


class Zero(nn.Module):
    """The operation "none"."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps * 0


class ReLUConvNorm(ConvNorm):
    """The operations "nor_conv_1x1" and "nor_conv_3x3"."""

    def forward(self, maps: Tensor) -> Tensor:
        return super().forward(torch.relu(maps))


class ReferenceCell(nn.Module):
    """Node i is the sum of the operations on the edges into it; node 3 is the output."""

    def __init__(self, cell: Cell, channels: int, operations: Operations) -> None:
        super().__init__()
        for source, target, name in cell.named_edges():
            module: nn.Module
            if name in CONVOLUTIONS:
                module = ReLUConvNorm(operations.convolution(name, channels))
            elif name == "avg_pool_3x3":
                module = operations.pool()
            else:
                module = {"none": Zero, "skip_connect": nn.Identity}[name]()
            self.add_module(edge_name(source, target), module)

    def forward(self, maps: Tensor) -> Tensor:
        nodes = [maps]
        for target in (1, 2, 3):
            incoming = [
                self.get_submodule(edge_name(source, target))(nodes[source])
                for source in range(target)
            ]
            nodes.append(torch.stack(incoming).sum(dim=0))
        return nodes[3]


class ReferenceGraphConvolution(GraphConvolution):
    """Projects every joint, then sums over subsets k and neighbours v."""

    def forward(self, maps: Tensor) -> Tensor:
        n, _, t, v = maps.shape
        projected = self.project(maps).view(n, len(self.adjacency), self.out_channels, t, v)
        return torch.einsum("nkctv,kvw->nctw", projected, self.adjacency * self.importance)


class ReferenceGraphTimeConvolution(GraphTimeConvolution):
    """The sum over frames d, subsets k, joints v and channels c, written as one."""

    def forward(self, maps: Tensor) -> Tensor:
        weight = self.weight.view(self.out_channels, len(self.adjacency), maps.shape[1], 3)
        frames = maps.shape[2]
        padded = nn.functional.pad(maps, (0, 0, 1, 1))  # a frame of zeros before and after
        seen = torch.stack([padded[:, :, d : d + frames : self.stride[0]] for d in range(3)])
        out = torch.einsum("dnctv,kvw,okcd->notw", seen, self.adjacency, weight)
        # Where einsum leaves channels innermost, torch 2.13's batch norm on a CPU gets the
        # gradients of a single clip wrong: it takes the strides for both layouts at once.
        return out.contiguous()


class ReferenceGraphTimePool(GraphTimePool):
    """The sum over all pairs of a near frame and a near joint, divided by their number."""

    def forward(self, maps: Tensor) -> Tensor:
        time = torch.arange(maps.shape[2], device=maps.device)
        near = ((time[:, None] - time).abs() <= 1).to(maps.dtype)
        sums = torch.einsum("ncsv,st,vw->nctw", maps, near, self.neighbours)
        return sums / torch.outer(near.sum(dim=0), self.neighbours.sum(dim=0))


class ReferenceGraph(Graph):
    """The operations on the graph in that form."""

    def wide_convolution(
        self, in_channels: int, out_channels: int, stride: tuple[int, int] = (1, 1)
    ) -> nn.Conv2d:
        return ReferenceGraphTimeConvolution(in_channels, out_channels, self.adjacency, stride)

    def pool(self) -> nn.Module:
        return ReferenceGraphTimePool(self.neighbours)


class ReferenceActionalConvolution(ActionalConvolution):
    """Kind by kind of link: projects every joint, then sums over joints."""

    def forward(self, maps: Tensor, links: Tensor) -> Tensor:
        kernel = self.actional.weight.view(-1, LINK_TYPES, maps.shape[1])
        actional = torch.einsum("oji,nitv,njvw->notw", kernel, maps, links)
        return self.structural(maps) + self.actional_weight * actional  # type: ignore[no-any-return]
