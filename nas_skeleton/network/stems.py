"""Stems: what turns a batch of clips into feature maps for the cells.

A stem maps `(N, C, T, V, M)` to `(N * M, channels, T, V)`. It never changes the number of frames or
joints; the macro skeleton's reductions do.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from nas_skeleton.network.graph import spatial_partition
from nas_skeleton.network.links import split_links
from nas_skeleton.skeletons.layouts import Layout
from nas_skeleton.spaces import card as cards
from nas_skeleton.spaces.card import LINK_TYPES

# From numbers of channels, in and out, and an adjacency `(K, V, V)`.
GraphConvolutionBuilder = Callable[[int, int, Tensor], nn.Module]


def bodies_to_batch(clips: Tensor) -> Tensor:
    """`(N, C, T, V, M)` to `(N * M, C, T, V)`: every body is a sample of its own until the head."""
    n, c, t, v, m = clips.shape
    return clips.permute(0, 4, 1, 2, 3).reshape(n * m, c, t, v)


class ImageStem(nn.Module):
    """NAS-Bench-201's stem: a 3x3 convolution and batch norm, without ReLU."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, clips: Tensor) -> Tensor:
        return self.norm(self.conv(bodies_to_batch(clips)))  # type: ignore[no-any-return]


class STGCNStem(nn.Module):
    """Batch norm of the coordinates, of each joint or of all together, then ST-GCN blocks."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        layout: Layout,
        card: cards.STGCNStem,
        graph_convolution: GraphConvolutionBuilder,
        hops: int = 1,
    ) -> None:
        super().__init__()
        adjacency = torch.from_numpy(spatial_partition(layout, card.partition, hops))
        self.joints = len(layout.joints)
        self.per_joint = card.data_norm == "joints"
        self.data_norm = nn.BatchNorm1d(in_channels * (self.joints if self.per_joint else 1))
        widths = [in_channels] + [channels] * card.blocks
        self.blocks = nn.Sequential(
            *(
                STGCNBlock(
                    graph_convolution(width, channels, adjacency),
                    channels,
                    card.temporal_kernel,
                    residual=i > 0,
                )
                for i, width in enumerate(widths[:-1])
            )
        )

    def forward(self, clips: Tensor) -> Tensor:
        return self.blocks(self.normed(clips))  # type: ignore[no-any-return]

    def normed(self, clips: Tensor) -> Tensor:
        """Normalised coordinates `(N * M, C, T, V)`."""
        bodies = bodies_to_batch(clips)
        n, c, t, v = bodies.shape
        if self.per_joint:
            flat = self.data_norm(bodies.permute(0, 3, 1, 2).reshape(n, v * c, t))
            return flat.view(n, v, c, t).permute(0, 2, 3, 1)  # type: ignore[no-any-return]
        normed = self.data_norm(bodies.reshape(n, c, t * v))
        return normed.view(n, c, t, v)  # type: ignore[no-any-return]


class ASGCNStem(STGCNStem):
    """ST-GCN blocks whose joints are joined by structural and actional links.

    Li et al., "Actional-Structural Graph Convolutional Networks", CVPR 2019. Clips are
    `(N, C + LINK_TYPES * V, T, V, M)`: the links ride along behind the coordinates.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        layout: Layout,
        card: cards.ASGCNStem,
        graph_convolution: GraphConvolutionBuilder,
    ) -> None:
        coordinates = in_channels - LINK_TYPES * len(layout.joints)
        super().__init__(coordinates, channels, layout, card, graph_convolution, card.hops)

    def forward(self, clips: Tensor) -> Tensor:
        coordinates, links = split_links(clips, self.joints)
        of_bodies = links.permute(0, 4, 1, 2, 3).flatten(0, 1)
        maps = self.normed(coordinates)
        for block in self.blocks:
            maps = block(maps, of_bodies)
        return maps


class STGCNBlock(nn.Module):
    """Graph convolution, BN, ReLU, temporal convolution, BN, plus the input, ReLU.

    As in the published ST-GCN, but for dropout; the first block of a network has no residual.
    """

    def __init__(
        self, graph: nn.Module, channels: int, temporal_kernel: int, *, residual: bool
    ) -> None:
        super().__init__()
        padding = (temporal_kernel // 2, 0)
        self.graph = graph
        self.temporal = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, (temporal_kernel, 1), padding=padding),
            nn.BatchNorm2d(channels),
        )
        self.residual = residual

    def forward(self, maps: Tensor, *links: Tensor) -> Tensor:
        out: Tensor = self.temporal(self.graph(maps, *links))
        return torch.relu(out + maps if self.residual else out)


class GraphConvolution(nn.Module):
    """`y[c, t, w] = sum over k, v of (conv x)[k, c, t, v] * (A * importance)[k, v, w]`.

    `importance` is the learnable edge importance, which starts at one and cannot create edges. The
    sum over neighbours is taken before the 1x1 convolution: the same function, less work.
    """

    adjacency: Tensor

    def __init__(self, in_channels: int, out_channels: int, adjacency: Tensor) -> None:
        super().__init__()
        self.register_buffer("adjacency", adjacency.clone())
        self.importance = nn.Parameter(torch.ones_like(adjacency))
        self.project = nn.Conv2d(in_channels, out_channels * len(adjacency), 1)
        self.out_channels = out_channels

    def forward(self, maps: Tensor) -> Tensor:
        n, c, t, v = maps.shape
        weights = self.adjacency * self.importance  # (K, V, W)
        k = len(weights)
        # (N, C, T, V) x (V, K * W), then (N, K * C, T, W)
        gathered = torch.matmul(maps, weights.permute(1, 0, 2).reshape(v, k * v))
        gathered = gathered.view(n, c, t, k, v).permute(0, 3, 1, 2, 4).reshape(n, k * c, t, v)
        kernel = self.project.weight.view(k, self.out_channels, c).permute(1, 0, 2)
        out = nn.functional.conv2d(gathered, kernel.reshape(self.out_channels, k * c, 1, 1))
        assert self.project.bias is not None
        bias = self.project.bias.view(k, self.out_channels).T @ weights.sum(dim=1)  # (C, W)
        return out + bias[None, :, None, :]


class ActionalConvolution(nn.Module):
    """A graph convolution over the skeleton, and one over the clip's own actional links, added up.

    `y = structural(x) + actional_weight * sum over j, v of (conv x)[j, c, t, v] * links[j, v, w]`.
    The sum over joints is taken before the 1x1 convolution, which has no bias: batch norm follows.
    (`network.models.actional` is the published form, whose biases are in the published counts.)

    Args:
        structural: the former, from `in_channels` to `structural.out_channels`.
        in_channels: of the maps.
        actional_weight: the paper's lambda.
    """

    def __init__(
        self, structural: GraphConvolution, in_channels: int, actional_weight: float
    ) -> None:
        super().__init__()
        self.structural = structural
        self.actional_weight = actional_weight
        self.actional = nn.Conv2d(LINK_TYPES * in_channels, structural.out_channels, 1, bias=False)

    def forward(self, maps: Tensor, links: Tensor) -> Tensor:
        """`maps` `(N, C, T, V)`, `links` `(N, LINK_TYPES, V, V)` to `(N, out, T, V)`."""
        gathered = torch.matmul(maps[:, None], links[:, :, None])  # (N, J, C, T, V)
        actional: Tensor = self.actional(gathered.flatten(1, 2))
        return self.structural(maps) + self.actional_weight * actional  # type: ignore[no-any-return]
