"""The oracle: the same network in its plainest form, written to be read, not to be fast.

Every edge is computed, dead or not, each with its own ReLU; the graph convolution is the textbook
sum. A faster network must equal this one in float64.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas_skeleton.network.cell import KERNEL_SIZE, ConvNorm, Pool, edge_name
from nas_skeleton.network.stems import GraphConvolution
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

    def __init__(self, cell: Cell, channels: int) -> None:
        super().__init__()
        for source, target, name in cell.named_edges():
            module: nn.Module
            if name in KERNEL_SIZE:
                module = ReLUConvNorm(channels, KERNEL_SIZE[name])
            else:
                module = {"none": Zero, "skip_connect": nn.Identity, "avg_pool_3x3": Pool}[name]()
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
