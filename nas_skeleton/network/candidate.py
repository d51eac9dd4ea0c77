"""The candidate network: a stem, NAS-Bench-201's macro skeleton around one cell, and a classifier.

Stem, N cells, reduction to 2C, N cells, reduction to 4C, N cells, BN, ReLU, mean over frames and
joints, mean over bodies, linear (Dong and Yang, ICLR 2020, figure 1).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from nas_skeleton.network.cell import LeanCell
from nas_skeleton.network.classifier import Classifier
from nas_skeleton.network.operations import Operations
from nas_skeleton.spaces.cell import Cell
from nas_skeleton.spaces.costs import Reduction

STAGES = 3
CellBuilder = Callable[[Cell, int, Operations], nn.Module]


class ReductionBlock(nn.Module):
    """Residual block that doubles the channels and halves the frames, with "both" the joints too.

    NAS-Bench-201's basic block with stride 2. Sizes are rounded up on both paths (the original
    rounds down on the shortcut and fails for odd sizes); for even sizes it is the same function.
    """

    def __init__(
        self, in_channels: int, out_channels: int, reduction: Reduction, operations: Operations
    ) -> None:
        super().__init__()
        stride = (2, 2) if reduction == "both" else (2, 1)
        self.conv_a = operations.wide_convolution(in_channels, out_channels, stride)
        self.norm_a = nn.BatchNorm2d(out_channels)
        self.conv_b = operations.wide_convolution(out_channels, out_channels)
        self.norm_b = nn.BatchNorm2d(out_channels)
        self.pool = nn.AvgPool2d(stride, stride, ceil_mode=True)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        out = self.norm_a(self.conv_a(torch.relu(maps)))
        out = self.norm_b(self.conv_b(torch.relu(out)))
        return out + self.shortcut(self.pool(maps))  # type: ignore[no-any-return]


class CandidateNetwork(Classifier):
    """One architecture behind a stem: `(N, C, T, V, M)` to class scores `(N, classes)`."""

    def __init__(
        self,
        cell: Cell,
        stem: nn.Module,
        *,
        channels: int,
        cells_per_stage: int,
        classes: int,
        reduction: Reduction,
        operations: Operations,
        build_cell: CellBuilder = LeanCell,
    ) -> None:
        super().__init__()
        self.operations = operations
        self.stem = stem
        blocks: list[nn.Module] = []
        width = channels
        for stage in range(STAGES):
            if stage > 0:
                blocks.append(ReductionBlock(width, 2 * width, reduction, operations))
                width *= 2
            blocks += [build_cell(cell, width, operations) for _ in range(cells_per_stage)]
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm2d(width)
        self.classifier = nn.Linear(width, classes)

    def forward(self, clips: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(clips)), clips.shape[-1])

    def head(self, maps: Tensor, bodies: int) -> Tensor:
        """Class scores `(N, classes)` of the last block's maps `(N * bodies, C, T, V)`."""
        features = self._activated(maps).mean(dim=(2, 3))
        return self.classifier(features.view(-1, bodies, features.shape[1]).mean(dim=1))  # type: ignore[no-any-return]

    def maps(self, clips: Tensor) -> Tensor:
        """What the classifier sees the means of, `(N * M, 4 * channels, T, V)`."""
        return self._activated(self.blocks(self.stem(clips)))

    def _activated(self, maps: Tensor) -> Tensor:
        """The maps of the last block after its norm and ReLU."""
        return torch.relu(self.norm(maps))
