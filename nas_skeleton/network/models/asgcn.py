"""AS-GCN: a classifier over actional and structural links that also predicts the coming poses.

Li et al.: "Actional-Structural Graph Convolutional Networks for Skeleton-based Action Recognition",
CVPR 2019. Actional links come with the clips (`network.links`): nothing here infers any. It differs
from the published code where that is wrong: block 1 is evaluated once, and an offset is added to
the coordinate it belongs to.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nas_skeleton.errors import InputError
from nas_skeleton.network.classifier import Classifier
from nas_skeleton.network.dropout import Dropout
from nas_skeleton.network.graph import spatial_partition
from nas_skeleton.network.initialise import constant, drawn, normal, uniform
from nas_skeleton.network.links import split_links
from nas_skeleton.network.models.actional import (
    ActionalBlock,
    ActionalGraphConvolution,
    batch_norm,
)
from nas_skeleton.network.models.blocks import DataNorm
from nas_skeleton.network.stems import bodies_to_batch
from nas_skeleton.skeletons.layouts import Layout

HOPS = 4  # structural links join joints up to so many bones apart
WIDTHS = (64, 64, 64, 128, 128, 128, 256, 256, 256)
PREDICTION_WEIGHT = 0.01  # of the prediction's share in the loss


class Observation(NamedTuple):
    """What the first T frames of every body became.

    Attributes:
        maps: `(N * M, 256, T', V)`.
        last_pose: `(N * M, C, 1, V)`, as in the clip.
        links: `(N * M, LINK_TYPES, V, V)`.
    """

    maps: Tensor
    last_pose: Tensor
    links: Tensor


class ASGCN(Classifier):
    """Clips with links, `(N, in_channels + 2 * V, T + future, V, M)`, to scores `(N, classes)`.

    The scores depend on the first T frames only. The last `future` frames are there for the loss,
    as what the prediction should have been.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        layout: Layout,
        *,
        future: int = 10,
        dropout: float = 0.0,
    ) -> None:
        """The network without particular weights.

        Args:
            in_channels: C, numbers per joint, without links.
            classes: outputs.
            layout: the V joints and their bones.
            future: frames to predict, at least one.
            dropout: probability to drop a feature at the end of a block's temporal convolution,
                0.5 as published for NTU; `network.dropout` says how it is drawn.

        Raises:
            InputError: no frame to predict.
        """
        super().__init__()
        if future < 1:
            raise InputError(f"future is {future}: AS-GCN predicts at least one frame")
        self.in_channels = in_channels
        self.joints = len(layout.joints)
        self.future = future
        structural = torch.from_numpy(spatial_partition(layout, "spatial-stgcn", HOPS))
        self.data_norm = DataNorm(in_channels, self.joints)
        drawn(self.data_norm.norm, weight=normal(0.02, mean=1))
        self.blocks = nn.ModuleList()
        width = in_channels
        for i, out in enumerate(WIDTHS):
            stride = 2 if i > 0 and out > width else 1  # wider maps have half the frames
            self.blocks.append(
                ActionalBlock(
                    width, out, structural, stride=stride, dropout=dropout, residual=i > 0
                )
            )
            width = out
        self.classifier = drawn(nn.Linear(width, classes), weight=normal(0.02), bias=constant(0))
        self.prediction = PredictionHead(width, in_channels, structural, future, dropout)

    def forward(self, clips: Tensor) -> Tensor:
        return self._scores(self._observe(clips), bodies=clips.shape[-1])

    def predict(self, clips: Tensor) -> Tensor:
        """The `future` poses expected after the first T frames, `(N, in_channels, future, V, M)`.

        `clips` are as for the scores; their last `future` frames are not looked at.
        """
        return self._poses(self._observe(clips), bodies=clips.shape[-1])

    def loss(self, clips: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy plus 0.01 times the squared error of the first body's future poses."""
        bodies = clips.shape[-1]
        seen = self._observe(clips)
        target = clips[:, : self.in_channels, -self.future :, :, 0]
        error = nn.functional.mse_loss(self._poses(seen, bodies)[..., 0], target)
        entropy = nn.functional.cross_entropy(self._scores(seen, bodies), labels)
        return entropy + PREDICTION_WEIGHT * error

    def _observe(self, clips: Tensor) -> Observation:
        coordinates, links_of_clips = split_links(clips, self.joints)
        observed = coordinates[:, :, : -self.future]
        links = bodies_to_batch(links_of_clips)
        maps = self.data_norm(observed)
        for block in self.blocks:
            maps = block(maps, links)
        return Observation(maps, bodies_to_batch(observed[:, :, -1:]), links)

    def _scores(self, seen: Observation, bodies: int) -> Tensor:
        features = seen.maps.mean(dim=(2, 3))
        features = features.reshape(-1, bodies, features.shape[1]).mean(dim=1)
        return self.classifier(features)  # type: ignore[no-any-return]

    def _poses(self, seen: Observation, bodies: int) -> Tensor:
        poses: Tensor = self.prediction(*seen)
        return poses.reshape(-1, bodies, *poses.shape[1:]).permute(0, 2, 3, 4, 1)


class PredictionHead(nn.Module):
    """Maps of the observed frames and the last observed pose to the poses that follow.

    Blocks shorten the maps to 5 frames, a block without padding to one; a last one, which sees the
    last pose too, gives every coordinate of every coming frame as an offset from the last pose.
    """

    def __init__(
        self, width: int, coordinates: int, structural: Tensor, future: int, dropout: float
    ) -> None:
        super().__init__()
        hidden = 128
        self.blocks = nn.ModuleList(
            ActionalBlock(
                width if i == 0 else hidden,
                hidden,
                structural,
                temporal_kernel=kernel,
                stride=stride,
                dropout=dropout,
            )
            for i, (kernel, stride) in enumerate([(9, 1), (9, 2), (9, 2), (9, 2), (3, 2)])
        )
        # The published network sees 290 frames, of which 5 are left here: then this does nothing.
        self.pool = nn.AdaptiveAvgPool2d((5, None))
        self.to_one_frame = ActionalBlock(
            hidden,
            hidden,
            structural,
            temporal_kernel=5,
            dropout=dropout,
            residual=False,
            padding=False,
        )
        self.future = future
        offsets = coordinates * future
        self.graph = ActionalGraphConvolution(hidden + coordinates, offsets, structural)
        # The published code has transposed convolutions here, the same function for 1x1 kernels,
        # which it leaves as PyTorch starts them: from the number of output channels.
        bound = uniform(1 / math.sqrt(self.graph.project.out_channels))
        drawn(self.graph.project, weight=bound, bias=bound)
        self.temporal = nn.Sequential(
            batch_norm(offsets),
            nn.ReLU(),
            nn.Conv2d(offsets, offsets, 1),
            batch_norm(offsets),
            Dropout(dropout),
        )
        # The published network has two more edge importances than layers for them: they do nothing,
        # but are in its parameter count.
        self.idle_importance = nn.Parameter(torch.ones(2, *structural.shape))

    def forward(self, maps: Tensor, last_pose: Tensor, links: Tensor) -> Tensor:
        """Maps `(N, C', T', V)`, a pose `(N, C, 1, V)` and links to poses `(N, C, future, V)`."""
        for block in self.blocks:
            maps = block(maps, links)
        maps = self.to_one_frame(self.pool(maps), links)
        maps = self.graph(torch.cat((maps, last_pose), dim=1), links)
        offsets: Tensor = self.temporal(maps)
        n, c, _, v = last_pose.shape
        return last_pose + offsets.reshape(n, c, self.future, v)
