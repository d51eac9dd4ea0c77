"""CTR-GCN: Chen, Zhang, Yuan, Li, Deng, Hu, "Channel-wise Topology Refinement ...", ICCV 2021.

Every channel has a graph of its own: a learnable one for all, refined by how joints differ in the
clip.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from nas_skeleton.network.initialise import constant, drawn, normal
from nas_skeleton.network.models.adjacency import directed_subsets
from nas_skeleton.network.models.blocks import (
    FEATURES,
    DataNorm,
    GraphNetwork,
    MultiBranchTemporal,
    ResidualBlock,
    drawn_by_fan_out,
    shortcut,
    ten_blocks,
)
from nas_skeleton.skeletons.layouts import Layout

TEMPORAL_KERNEL = 5
DILATIONS = (1, 2)


def ctrgcn(in_channels: int, classes: int, layout: Layout, bodies: int) -> GraphNetwork:
    """The ten blocks."""
    subsets = torch.from_numpy(directed_subsets(layout))
    blocks = []
    for shape in ten_blocks(in_channels):
        channels = shape.out_channels
        temporal = MultiBranchTemporal(channels, channels, TEMPORAL_KERNEL, DILATIONS, shape.stride)
        for module in temporal.modules():
            if isinstance(module, nn.BatchNorm2d):
                drawn(module, weight=normal(0.02, mean=1))
        spatial = RefinedGraphConvolution(shape.in_channels, channels, subsets)
        blocks.append(ResidualBlock(spatial, temporal, shape))
    classifier = drawn(nn.Linear(FEATURES, classes), weight=normal(math.sqrt(2 / classes)))
    network = GraphNetwork(DataNorm(in_channels, len(layout.joints), bodies), blocks, classifier)
    drawn_by_fan_out(network)
    return network


class RefinedGraphConvolution(nn.Module):
    """The sum of one refined graph convolution per subset; BN, + x, ReLU.

    `graph[k, u, v]` weighs joint v's share in joint u: the published code's order, other than in
    ST-GCN, so that at the start a joint receives from its children by subset 1, not its parent.
    """

    def __init__(self, in_channels: int, out_channels: int, subsets: Tensor) -> None:
        super().__init__()
        self.graph = nn.Parameter(subsets.clone())
        self.gate = nn.Parameter(torch.zeros(1))
        self.subsets = nn.ModuleList(
            ChannelwiseGraphConvolution(in_channels, out_channels) for _ in subsets
        )
        # Almost zero: a block starts as its shortcuts.
        self.norm = drawn(nn.BatchNorm2d(out_channels), weight=constant(1e-6))
        self.shortcut = shortcut(in_channels, out_channels)

    def forward(self, maps: Tensor) -> Tensor:
        out = maps.new_zeros(())
        for graph, convolution in zip(self.graph, self.subsets, strict=True):
            out = out + convolution(maps, graph, self.gate)
        return torch.relu(self.norm(out) + self.shortcut(maps))


class ChannelwiseGraphConvolution(nn.Module):
    """`y[c, t, u] = sum over v of R[c, u, v] * (project x)[c, t, v]`, R the refined graph.

    `R = graph + gate * widen(tanh(a_u - b_v))`, a and b few channels of x, averaged over frames.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        narrow = max(in_channels // 8, 8)  # 8 for the few channels of the input
        self.ours = nn.Conv2d(in_channels, narrow, 1)
        self.theirs = nn.Conv2d(in_channels, narrow, 1)
        self.widen = nn.Conv2d(narrow, out_channels, 1)
        self.project = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, maps: Tensor, graph: Tensor, gate: Tensor) -> Tensor:
        ours = self.ours(maps).mean(dim=2)  # (N, C', V)
        theirs = self.theirs(maps).mean(dim=2)
        difference = torch.tanh(ours[..., :, None] - theirs[..., None, :])  # (N, C', U, V)
        refined = graph + gate * self.widen(difference)  # (N, C, U, V)
        return torch.einsum("ncuv,nctv->nctu", refined, self.project(maps))
