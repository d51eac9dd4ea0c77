"""MS-G3D: Liu, Zhang, Chen, Wang, Ouyang, "Disentangling and Unifying Graph Convolutions ...".

CVPR 2020. Three blocks of two paths: graph convolutions of 13 scales frame by frame, and of 6
scales in windows of several frames at once.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas_skeleton.network.initialise import drawn, uniform
from nas_skeleton.network.models.adjacency import adjacency, disentangled_scales
from nas_skeleton.network.models.blocks import (
    DataNorm,
    GraphNetwork,
    MultiBranchTemporal,
    shortcut,
)
from nas_skeleton.skeletons.layouts import Layout

WIDTHS = (96, 192, 384)
SCALES = 13
WINDOWS = (3, 5)
WINDOW_SCALES = 6
TEMPORAL_KERNEL = 3
DILATIONS = (1, 2, 3, 4)


def msg3d(in_channels: int, classes: int, layout: Layout, bodies: int) -> GraphNetwork:
    """The three blocks, with the number of scales the authors use for NTU."""
    neighbours = adjacency(layout)
    blocks = [TwoPathBlock(in_channels, WIDTHS[0], neighbours, first=True)]
    for narrow, wide in pairwise(WIDTHS):
        blocks.append(TwoPathBlock(narrow, wide, neighbours, first=False))
    data_norm = DataNorm(in_channels, len(layout.joints), bodies)
    return GraphNetwork(data_norm, blocks, nn.Linear(WIDTHS[-1], classes))


class TwoPathBlock(nn.Module):
    """`temporal(relu(frames(x) + sum of windows(x)))`; all blocks but the first halve the frames.

    The first block changes the channels in its graph convolutions, the others after them.
    """

    def __init__(
        self, in_channels: int, out_channels: int, neighbours: NDArray[np.float64], *, first: bool
    ) -> None:
        super().__init__()
        stride = 1 if first else 2
        inner = out_channels if first else in_channels
        scales = torch.from_numpy(disentangled_scales(neighbours, SCALES))
        self.frames = nn.Sequential(
            MultiScaleGraphConvolution(in_channels, inner, scales),
            ResidualTemporal(inner, out_channels, stride),
            nn.ReLU(),
            ResidualTemporal(out_channels, out_channels),
        )
        self.windows = nn.ModuleList(
            WindowedGraphConvolution(in_channels, inner, out_channels, neighbours, window, stride)
            for window in WINDOWS
        )
        self.temporal = ResidualTemporal(out_channels, out_channels)

    def forward(self, maps: Tensor) -> Tensor:
        out = self.frames(maps)
        for window in self.windows:
            out = out + window(maps)
        return torch.relu(self.temporal(torch.relu(out)))


class ResidualTemporal(nn.Module):
    """Six branches of temporal convolution, plus the input (BN of a 1x1 convolution of it)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.branches = MultiBranchTemporal(
            in_channels, out_channels, TEMPORAL_KERNEL, DILATIONS, stride
        )
        self.shortcut = shortcut(in_channels, out_channels, stride)

    def forward(self, maps: Tensor) -> Tensor:
        return self.branches(maps) + self.shortcut(maps)  # type: ignore[no-any-return]


class MultiScaleGraphConvolution(nn.Module):
    """Sums over the neighbours of each scale, side by side, then a 1x1 convolution, BN, ReLU.

    The graph is `scales` plus a learnable part of the same shape, which starts near zero. Entry
    `[k, v, w]` weighs node v's share in node w.
    """

    scales: Tensor

    def __init__(self, in_channels: int, out_channels: int, scales: Tensor) -> None:
        super().__init__()
        self.register_buffer("scales", scales)
        self.learned = nn.Parameter(torch.zeros_like(scales))
        self.mix = nn.Sequential(
            nn.Conv2d(in_channels * len(scales), out_channels, 1),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
        )
        drawn(self, learned=uniform(1e-6))

    def forward(self, maps: Tensor) -> Tensor:
        graph = self.scales + self.learned
        gathered = torch.einsum("nctv,kvw->nkctw", maps, graph)
        return self.mix(gathered.flatten(1, 2))  # type: ignore[no-any-return]


class WindowedGraphConvolution(nn.Module):
    """Graph convolution in windows of frames, whose joints are all nodes of one graph ("G3D").

    A joint is joined to itself and its neighbours in all frames of the window. A convolution over
    the window's frames and batch norm make one frame of it; windows start every `stride` frames.
    """

    def __init__(
        self,
        in_channels: int,
        inner: int,
        out_channels: int,
        neighbours: NDArray[np.float64],
        window: int,
        stride: int,
    ) -> None:
        super().__init__()
        self.window = window
        self.stride = stride
        nodes = np.tile(neighbours + np.eye(len(neighbours)), (window, window))
        scales = torch.from_numpy(disentangled_scales(nodes, WINDOW_SCALES))
        self.graph = MultiScaleGraphConvolution(in_channels, inner, scales)
        self.collapse = nn.Conv2d(inner, out_channels, (window, 1), stride=(window, 1))
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, maps: Tensor) -> Tensor:
        n, _, _, joints = maps.shape
        half = self.window // 2
        padded = nn.functional.pad(maps, (0, 0, half, half))
        windows = padded.unfold(2, self.window, self.stride)  # (N, C, T', V, window)
        nodes = windows.transpose(3, 4).flatten(3)  # (N, C, T', window * V)
        mixed = self.graph(nodes)
        frames = mixed.reshape(n, mixed.shape[1], -1, joints)  # (N, C', T' * window, V)
        return self.norm(self.collapse(frames))  # type: ignore[no-any-return]
