"""What the reference models share: data norm, the plan of ten blocks, temporal convolutions, head.

Feature maps are `(N * M, channels, T, V)`: every body is a sample of its own between data norm and
head. What makes a model itself (its graph convolution, its temporal convolution) is in its module.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nas_skeleton.network.classifier import Classifier
from nas_skeleton.network.initialise import constant, drawn, normal

FEATURES = 256  # channels of the last of the ten blocks


class Shape(NamedTuple):
    """Channels into and out of a block, its stride along the frames, whether it is the first."""

    in_channels: int
    out_channels: int
    stride: int
    first: bool


def ten_blocks(in_channels: int) -> list[Shape]:
    """The plan of ST-GCN (Yan, Xiong, Lin, AAAI 2018), which most later models kept."""
    widths = [in_channels, 64, 64, 64, 64, 128, 128, 128, 256, 256, FEATURES]
    halves = {4, 7}  # blocks 5 and 8 double the channels and halve the frames, rounding up
    return [
        Shape(widths[i], widths[i + 1], stride=2 if i in halves else 1, first=i == 0)
        for i in range(10)
    ]


class GraphNetwork(Classifier):
    """Data norm, blocks, mean over frames and joints, mean over bodies, linear."""

    def __init__(
        self, data_norm: DataNorm, blocks: Iterable[nn.Module], classifier: nn.Linear
    ) -> None:
        super().__init__()
        self.data_norm = data_norm
        self.blocks = nn.Sequential(*blocks)
        self.classifier = classifier

    def forward(self, clips: Tensor) -> Tensor:
        n, m = clips.shape[0], clips.shape[-1]
        maps: Tensor = self.blocks(self.data_norm(clips))
        features = maps.mean(dim=(2, 3)).view(n, m, -1).mean(dim=1)
        return self.classifier(features)  # type: ignore[no-any-return]


class DataNorm(nn.Module):
    """Batch norm of every coordinate of every joint: `(N, C, T, V, M)` to `(N * M, C, T, V)`.

    With `bodies` 1 all bodies share the statistics ("VC" in PYSKL's code). With `bodies` M each
    place of a body has its own ("MVC"): such a model can tell the first body from the second.
    """

    def __init__(self, in_channels: int, joints: int, bodies: int = 1) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(bodies * joints * in_channels)

    def forward(self, clips: Tensor) -> Tensor:
        n, c, t, v, m = clips.shape
        series = clips.permute(0, 4, 3, 1, 2).reshape(-1, self.norm.num_features, t)
        maps: Tensor = self.norm(series).reshape(n * m, v, c, t)
        return maps.permute(0, 2, 3, 1).contiguous()


class ResidualBlock(nn.Module):
    """`relu(temporal(spatial(x)) + shortcut(x))`; a first block has no shortcut."""

    def __init__(self, spatial: nn.Module, temporal: nn.Module, shape: Shape) -> None:
        super().__init__()
        self.spatial = spatial
        self.temporal = temporal
        self.shortcut = None if shape.first else shortcut(*shape[:3])

    def forward(self, maps: Tensor) -> Tensor:
        out: Tensor = self.temporal(self.spatial(maps))
        return torch.relu(out if self.shortcut is None else out + self.shortcut(maps))


def shortcut(in_channels: int, out_channels: int, stride: int = 1) -> nn.Module:
    """The identity where the shape stays; else a 1x1 convolution and batch norm."""
    if in_channels == out_channels and stride == 1:
        return nn.Identity()
    return conv_norm(in_channels, out_channels, stride=stride)


def conv_norm(
    in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1, dilation: int = 1
) -> nn.Sequential:
    """Convolution along the frames, then batch norm."""
    return nn.Sequential(
        temporal_conv(in_channels, out_channels, kernel, stride, dilation),
        nn.BatchNorm2d(out_channels),
    )


def temporal_conv(
    in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1, dilation: int = 1
) -> nn.Conv2d:
    """Convolution of an odd `kernel` along the frames, padded so that stride 1 keeps T."""
    return nn.Conv2d(
        in_channels,
        out_channels,
        (kernel, 1),
        stride=(stride, 1),
        padding=(dilation * (kernel // 2), 0),
        dilation=(dilation, 1),
    )


def narrowed(in_channels: int, out_channels: int) -> tuple[nn.Module, ...]:
    """How a branch of a multi-scale temporal convolution begins: fewer channels, BN, ReLU."""
    return nn.Conv2d(in_channels, out_channels, 1), nn.BatchNorm2d(out_channels), nn.ReLU()


class MultiBranchTemporal(nn.Module):
    """Dilated convolutions, a max pool and a 1x1 convolution side by side, each ending in BN.

    Of MS-G3D, and used by CTR-GCN. Every branch has the same share of the output channels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        dilations: tuple[int, ...],
        stride: int = 1,
    ) -> None:
        super().__init__()
        width = out_channels // (len(dilations) + 2)
        convolutions = [
            nn.Sequential(
                *narrowed(in_channels, width),
                conv_norm(width, width, kernel, stride, dilation),
            )
            for dilation in dilations
        ]
        pool = nn.Sequential(
            *narrowed(in_channels, width),
            nn.MaxPool2d((3, 1), (stride, 1), (1, 0)),
            nn.BatchNorm2d(width),
        )
        plain = conv_norm(in_channels, width, stride=stride)
        self.branches = nn.ModuleList([*convolutions, pool, plain])

    def forward(self, maps: Tensor) -> Tensor:
        return torch.cat([branch(maps) for branch in self.branches], dim=1)


def graph_sum(projected: Tensor, weights: Tensor) -> Tensor:
    """`y[c, t, w] = sum over k, v of x[k, c, t, v] * weights[k, v, w]`.

    Args:
        projected: `(N, K * C, T, V)`, one map per subset.
        weights: `(K, V, V)`.
    """
    n, _, t, v = projected.shape
    maps = projected.reshape(n, len(weights), -1, t, v)
    return torch.einsum("nkctv,kvw->nctw", maps, weights)


def drawn_by_fan_out(network: nn.Module) -> None:
    """Every `Conv2d` starts as He et al. (ICCV 2015) propose, by fan-out; its bias at zero.

    What 2s-AGCN's and CTR-GCN's published code does.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * math.prod(module.kernel_size)
            drawn(module, weight=normal(math.sqrt(2 / fan_out)), bias=constant(0))
