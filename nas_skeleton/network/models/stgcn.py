"""ST-GCN: Yan, Xiong, Lin, "Spatial Temporal Graph Convolutional Networks", AAAI 2018.

The published network with learnable edge importance and one of the paper's three partitions, the
spatial one unless another is asked for. `network.stems` holds a block of it for candidates.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas_skeleton.network.dropout import Dropout
from nas_skeleton.network.graph import distance_partition, spatial_partition, uniform_partition
from nas_skeleton.network.initialise import constant, drawn, normal
from nas_skeleton.network.models.blocks import (
    FEATURES,
    DataNorm,
    GraphNetwork,
    ResidualBlock,
    graph_sum,
    temporal_conv,
    ten_blocks,
)
from nas_skeleton.skeletons.layouts import Layout

TEMPORAL_KERNEL = 9

Partition = Literal["uniform", "distance", "spatial"]


def stgcn(
    in_channels: int,
    classes: int,
    layout: Layout,
    dropout: float,
    partition: Partition = "spatial",
) -> GraphNetwork:
    """The ten blocks; `dropout` in all but the first."""
    adjacency = torch.from_numpy(_subsets(layout, partition))
    blocks = [
        ResidualBlock(
            MaskedGraphConvolution(shape.in_channels, shape.out_channels, adjacency),
            nn.Sequential(
                nn.BatchNorm2d(shape.out_channels),
                nn.ReLU(),
                temporal_conv(
                    shape.out_channels, shape.out_channels, TEMPORAL_KERNEL, shape.stride
                ),
                nn.BatchNorm2d(shape.out_channels),
                Dropout(0.0 if shape.first else dropout),
            ),
            shape,
        )
        for shape in ten_blocks(in_channels)
    ]
    data_norm = DataNorm(in_channels, len(layout.joints))
    network = GraphNetwork(data_norm, blocks, nn.Linear(FEATURES, classes))
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            drawn(module, weight=normal(0.02), bias=constant(0))
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            drawn(module, weight=normal(0.02, mean=1))
    return network


def _subsets(layout: Layout, partition: Partition) -> NDArray[np.float32]:
    if partition == "uniform":
        return uniform_partition(layout)
    if partition == "distance":
        return distance_partition(layout)
    return spatial_partition(layout, "spatial-stgcn")


class MaskedGraphConvolution(nn.Module):
    """`y[c, t, w] = sum over k, v of (conv x)[k, c, t, v] * (A * importance)[k, v, w]`.

    `stems.GraphConvolution` is the same function with the sums the other way round. Here they are
    as published, so that the multiply-accumulates are the published ones.
    """

    adjacency: Tensor

    def __init__(self, in_channels: int, out_channels: int, adjacency: Tensor) -> None:
        super().__init__()
        self.register_buffer("adjacency", adjacency.clone())
        self.importance = nn.Parameter(torch.ones_like(adjacency))
        self.project = nn.Conv2d(in_channels, out_channels * len(adjacency), 1)

    def forward(self, maps: Tensor) -> Tensor:
        return graph_sum(self.project(maps), self.adjacency * self.importance)
