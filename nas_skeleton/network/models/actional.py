"""AS-GCN's graph convolution, over fixed and inferred links, and the block around it.

Li et al.: "Actional-Structural Graph Convolutional Networks", CVPR 2019. Structural
links are the same for every body (`network.graph`); actional links are each body's own and arrive
with its maps (`network.links`, `network.aim`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas_skeleton.network.dropout import Dropout
from nas_skeleton.network.initialise import constant, drawn, normal
from nas_skeleton.spaces.card import LINK_TYPES

ACTIONAL_WEIGHT = 0.5  # lambda in the paper


class ActionalGraphConvolution(nn.Module):
    """`y[c, t, w] = sum over k, v of (conv x)[k, c, t, v] * A[k, v, w]`.

    A is the structural links times their learnable importance, which starts at one and cannot
    create links, then the actional links times `ACTIONAL_WEIGHT`. The sum over joints is taken
    before the 1x1 convolution: the same function, less work.
    """

    structural: Tensor

    def __init__(self, in_channels: int, out_channels: int, structural: Tensor) -> None:
        super().__init__()
        self.register_buffer("structural", structural.clone())
        self.importance = nn.Parameter(torch.ones_like(structural))
        subsets = len(structural) + LINK_TYPES
        self.project = drawn(
            nn.Conv2d(in_channels, out_channels * subsets, 1), weight=normal(0.02), bias=constant(0)
        )
        self.out_channels = out_channels

    def forward(self, maps: Tensor, links: Tensor) -> Tensor:
        """`(N, C, T, V)` and actional links `(N, LINK_TYPES, V, V)` to `(N, C', T, V)`."""
        weights = self.links(links)
        k, c = weights.shape[1], maps.shape[1]
        gathered = torch.einsum("nctv,nkvw->nkctw", maps, weights).flatten(1, 2)
        kernel = self.project.weight.view(k, self.out_channels, c).transpose(0, 1)
        out = nn.functional.conv2d(gathered, kernel.reshape(self.out_channels, k * c, 1, 1))
        assert self.project.bias is not None
        bias = self.project.bias.view(k, self.out_channels).T @ weights.sum(dim=2)  # (N, C', W)
        return out + bias.unsqueeze(2)

    def links(self, actional: Tensor) -> Tensor:
        """All links `(N, K, V, V)` as they are weighed in the sum."""
        structural = (self.structural * self.importance).expand(len(actional), -1, -1, -1)
        return torch.cat((structural, ACTIONAL_WEIGHT * actional), dim=1)


class ActionalBlock(nn.Module):
    """Graph convolution, BN, ReLU, temporal convolution, BN, dropout, plus the input, ReLU.

    Where the output has another shape than the input, the residual is a 1x1 convolution and BN.
    Without `padding` the temporal convolution takes `temporal_kernel - 1` frames off; such a block
    can have no residual.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        structural: Tensor,
        *,
        temporal_kernel: int = 9,
        stride: int = 1,
        dropout: float = 0.0,
        residual: bool = True,
        padding: bool = True,
    ) -> None:
        super().__init__()
        self.graph = ActionalGraphConvolution(in_channels, out_channels, structural)
        self.temporal = nn.Sequential(
            batch_norm(out_channels),
            nn.ReLU(),
            drawn(
                nn.Conv2d(
                    out_channels,
                    out_channels,
                    (temporal_kernel, 1),
                    (stride, 1),
                    (temporal_kernel // 2 if padding else 0, 0),
                ),
                weight=normal(0.02),
                bias=constant(0),
            ),
            batch_norm(out_channels),
            Dropout(dropout),
        )
        self.residual: nn.Module | None = None
        if residual and in_channels == out_channels and stride == 1:
            self.residual = nn.Identity()
        elif residual:
            shortcut = nn.Conv2d(in_channels, out_channels, 1, (stride, 1))
            self.residual = nn.Sequential(
                drawn(shortcut, weight=normal(0.02), bias=constant(0)), batch_norm(out_channels)
            )

    def forward(self, maps: Tensor, links: Tensor) -> Tensor:
        """`(N, C, T, V)` and actional links `(N, LINK_TYPES, V, V)` to `(N, C', T', V)`."""
        out: Tensor = self.temporal(self.graph(maps, links))
        return torch.relu(out if self.residual is None else out + self.residual(maps))


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm whose weights start around one, as published."""
    return drawn(nn.BatchNorm2d(channels), weight=normal(0.02, mean=1))
