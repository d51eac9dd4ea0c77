"""ST-GCN++: Duan, Wang, Chen, Lin, "PYSKL: Towards Good Practices ...", ACM Multimedia 2022.

ST-GCN's ten blocks with a learnable graph and six branches of temporal convolution.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas_skeleton.network.dropout import Dropout
from nas_skeleton.network.initialise import constant, drawn, normal
from nas_skeleton.network.models.adjacency import directed_subsets
from nas_skeleton.network.models.blocks import (
    FEATURES,
    DataNorm,
    GraphNetwork,
    ResidualBlock,
    graph_sum,
    narrowed,
    shortcut,
    temporal_conv,
    ten_blocks,
)
from nas_skeleton.skeletons.layouts import Layout

DILATIONS = (1, 2, 3, 4)
BRANCHES = len(DILATIONS) + 2


def stgcnpp(in_channels: int, classes: int, layout: Layout, dropout: float) -> GraphNetwork:
    """The ten blocks; `dropout`, which the authors leave at 0, in all but the first."""
    subsets = torch.from_numpy(directed_subsets(layout))
    blocks = [
        ResidualBlock(
            FreeGraphConvolution(shape.in_channels, shape.out_channels, subsets),
            nn.Sequential(
                MultiScaleTemporal(shape.out_channels, shape.stride),
                Dropout(0.0 if shape.first else dropout),
            ),
            shape,
        )
        for shape in ten_blocks(in_channels)
    ]
    classifier = drawn(nn.Linear(FEATURES, classes), weight=normal(0.01), bias=constant(0))
    return GraphNetwork(DataNorm(in_channels, len(layout.joints)), blocks, classifier)


class FreeGraphConvolution(nn.Module):
    """Graph convolution whose graph is a parameter that starts as the skeleton's; BN, + x, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, subsets: Tensor) -> None:
        super().__init__()
        self.graph = nn.Parameter(subsets.clone())
        self.project = nn.Conv2d(in_channels, out_channels * len(subsets), 1)
        self.norm = nn.BatchNorm2d(out_channels)
        self.shortcut = shortcut(in_channels, out_channels)

    def forward(self, maps: Tensor) -> Tensor:
        out = self.norm(graph_sum(self.project(maps), self.graph))
        return torch.relu(out + self.shortcut(maps))


class MultiScaleTemporal(nn.Module):
    """Four dilated convolutions, a max pool and a 1x1 convolution side by side, then mixed.

    Each has a sixth of the channels; the first also gets those that are left over.
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        width = channels // BRANCHES
        branches: list[nn.Module] = []
        for dilation in DILATIONS:
            own = width if branches else channels - (BRANCHES - 1) * width
            temporal = temporal_conv(own, own, kernel=3, stride=stride, dilation=dilation)
            branches.append(nn.Sequential(*narrowed(channels, own), temporal))
        pool = nn.MaxPool2d((3, 1), (stride, 1), (1, 0))
        branches.append(nn.Sequential(*narrowed(channels, width), pool))
        branches.append(temporal_conv(channels, width, stride=stride))
        self.branches = nn.ModuleList(branches)
        self.mix = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, maps: Tensor) -> Tensor:
        together = torch.cat([branch(maps) for branch in self.branches], dim=1)
        return self.mix(together)  # type: ignore[no-any-return]
