"""2s-AGCN and AAGCN: graphs that depend on the clip, Shi, Zhang, Cheng, Lu.

"Two-Stream Adaptive Graph Convolutional Networks", CVPR 2019, and "Skeleton-Based Action
Recognition with Multi-Stream Adaptive Graph Convolutional Networks", TIP 2020. One stream each:
joints, bones and their motion are other inputs of the same network.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from nas_skeleton.network.initialise import constant, drawn, normal
from nas_skeleton.network.models.adjacency import directed_subsets
from nas_skeleton.network.models.blocks import (
    FEATURES,
    DataNorm,
    GraphNetwork,
    ResidualBlock,
    Shape,
    conv_norm,
    drawn_by_fan_out,
    shortcut,
    ten_blocks,
)
from nas_skeleton.skeletons.layouts import Layout

TEMPORAL_KERNEL = 9


def agcn(in_channels: int, classes: int, layout: Layout, bodies: int) -> GraphNetwork:
    """2s-AGCN, one stream."""
    subsets = torch.from_numpy(directed_subsets(layout))

    def spatial(shape: Shape) -> nn.Module:
        return AdaptiveGraphConvolution(shape.in_channels, shape.out_channels, subsets)

    return _network(spatial, in_channels, classes, len(layout.joints), bodies)


def aagcn(in_channels: int, classes: int, layout: Layout, bodies: int) -> GraphNetwork:
    """AAGCN, one stream.

    The authors keep the graph fixed for the first 5 epochs. That is a matter of training; here it
    is a parameter like any other, learnable from the start.
    """
    subsets = torch.from_numpy(directed_subsets(layout))

    def spatial(shape: Shape) -> nn.Module:
        return nn.Sequential(
            GatedGraphConvolution(shape.in_channels, shape.out_channels, subsets),
            Attention(shape.out_channels, len(layout.joints)),
        )

    return _network(spatial, in_channels, classes, len(layout.joints), bodies)


def _network(
    spatial: Callable[[Shape], nn.Module], in_channels: int, classes: int, joints: int, bodies: int
) -> GraphNetwork:
    blocks = []
    for shape in ten_blocks(in_channels):
        channels = shape.out_channels
        temporal = conv_norm(channels, channels, TEMPORAL_KERNEL, shape.stride)
        blocks.append(ResidualBlock(spatial(shape), temporal, shape))
    classifier = drawn(nn.Linear(FEATURES, classes), weight=normal(math.sqrt(2 / classes)))
    network = GraphNetwork(DataNorm(in_channels, joints, bodies), blocks, classifier)
    drawn_by_fan_out(network)
    for module in network.modules():
        if isinstance(module, GraphConvolutionOfClip):
            module.draw_projections()
    return network


class GraphConvolutionOfClip(nn.Module, ABC):
    """For each subset k a graph per clip: `relu(BN(sum over k of project_k(x G_k)) + shortcut(x))`.

    `G_k` is a learnable part and one that compares joints of the clip, `similarity`, for joints v
    and w `<theta_k(x)_v, phi_k(x)_w>` divided by the number of its terms.
    """

    def __init__(self, in_channels: int, out_channels: int, subsets: int) -> None:
        super().__init__()
        narrow = out_channels // 4
        self.theta = nn.ModuleList(nn.Conv2d(in_channels, narrow, 1) for _ in range(subsets))
        self.phi = nn.ModuleList(nn.Conv2d(in_channels, narrow, 1) for _ in range(subsets))
        self.project = nn.ModuleList(
            nn.Conv2d(in_channels, out_channels, 1) for _ in range(subsets)
        )
        # Almost zero: a block starts as its shortcuts.
        self.norm = drawn(nn.BatchNorm2d(out_channels), weight=constant(1e-6))
        self.shortcut = shortcut(in_channels, out_channels)

    def draw_projections(self) -> None:
        """Theirs is a normal distribution that knows they are several to be added."""
        for project in self.project:
            assert isinstance(project, nn.Conv2d)
            values = project.weight.numel() * len(self.project)
            drawn(project, weight=normal(math.sqrt(2 / values)), bias=constant(0))

    @abstractmethod
    def graph(self, subset: int, similarity: Tensor) -> Tensor:
        """`G_k`, `(N, V, V)`, from the similarities, of the same shape."""

    def forward(self, maps: Tensor) -> Tensor:
        flat = maps.flatten(1, 2)  # (N, C * T, V)
        out = maps.new_zeros(())
        for subset, project in enumerate(self.project):
            theta = self.theta[subset](maps).flatten(1, 2)  # (N, C' * T, V)
            phi = self.phi[subset](maps).flatten(1, 2)
            similarity = theta.transpose(1, 2) @ phi / theta.shape[1]
            gathered = flat @ self.graph(subset, similarity)
            out = out + project(gathered.view(maps.shape))
        return torch.relu(self.norm(out) + self.shortcut(maps))


class AdaptiveGraphConvolution(GraphConvolutionOfClip):
    """2s-AGCN: the skeleton's graph, plus a learnable one, plus a softmax over similarities."""

    skeleton: Tensor

    def __init__(self, in_channels: int, out_channels: int, subsets: Tensor) -> None:
        super().__init__(in_channels, out_channels, len(subsets))
        self.register_buffer("skeleton", subsets.clone())
        self.learned = nn.Parameter(torch.full_like(subsets, 1e-6))

    def graph(self, subset: int, similarity: Tensor) -> Tensor:
        return self.skeleton[subset] + self.learned[subset] + similarity.softmax(dim=-2)


class GatedGraphConvolution(GraphConvolutionOfClip):
    """AAGCN: a learnable graph that starts as the skeleton's, plus gate times tanh of similarity.

    The one gate of all subsets starts closed.
    """

    def __init__(self, in_channels: int, out_channels: int, subsets: Tensor) -> None:
        super().__init__(in_channels, out_channels, len(subsets))
        self.learned = nn.Parameter(subsets.clone())
        self.gate = nn.Parameter(torch.zeros(1))

    def graph(self, subset: int, similarity: Tensor) -> Tensor:
        return self.learned[subset] + self.gate * similarity.tanh()


class Attention(nn.Module):
    """AAGCN's attention to joints, then frames, then channels: each time `x + x * weight`.

    The convolution over joints sees them in the order of the layout: its kernel is as long as the
    body has joints (one less if even).
    """

    def __init__(self, channels: int, joints: int) -> None:
        super().__init__()
        kernel = joints if joints % 2 else joints - 1
        glorot = math.sqrt(2 / ((channels + 1) * kernel))
        self.joints = drawn(
            nn.Conv1d(channels, 1, kernel, padding=kernel // 2),
            weight=normal(glorot),
            bias=constant(0),
        )
        self.frames = drawn(
            nn.Conv1d(channels, 1, 9, padding=4), weight=constant(0), bias=constant(0)
        )
        narrow = channels // 2
        self.squeeze = drawn(
            nn.Linear(channels, narrow), weight=normal(math.sqrt(2 / channels)), bias=constant(0)
        )
        self.excite = drawn(nn.Linear(narrow, channels), weight=constant(0), bias=constant(0))

    def forward(self, maps: Tensor) -> Tensor:
        by_joint = self.joints(maps.mean(dim=2)).sigmoid()  # (N, 1, V)
        maps = maps + maps * by_joint[:, :, None]
        by_frame = self.frames(maps.mean(dim=3)).sigmoid()  # (N, 1, T)
        maps = maps + maps * by_frame[..., None]
        by_channel = self.excite(self.squeeze(maps.mean(dim=(2, 3))).relu()).sigmoid()  # (N, C)
        return maps + maps * by_channel[..., None, None]  # type: ignore[no-any-return]
