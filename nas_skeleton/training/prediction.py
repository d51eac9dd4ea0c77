"""Future poses by a trained AS-GCN, and how far they are from what people did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas_skeleton.errors import InputError
from nas_skeleton.network.models.asgcn import ASGCN
from nas_skeleton.skeletons.poses import SPATIAL
from nas_skeleton.spaces import Architecture
from nas_skeleton.training.candidates import Problem

Poses = NDArray[np.float32]


@dataclass(frozen=True)
class Prediction:
    """Poses of some clips, in the unit and about the origin of the network's input.

    Attributes:
        places: which of C are coordinates of space, not scores.
        last: the last pose that was seen, `(N, C, V, M)`.
        predicted: the poses after it, `(N, C, F, V, M)`.
        true: what came, likewise.
    """

    places: list[int]
    last: Poses
    predicted: Poses
    true: Poses

    def error(self) -> float:
        """Mean distance between a joint and where it was predicted, over bodies that are there."""
        return self._distance(self.predicted)

    def error_of_standing_still(self) -> float:
        """The same where the last pose is predicted to stay: what a prediction has to beat."""
        return self._distance(np.broadcast_to(self.last[:, :, None], self.true.shape))

    def _distance(self, poses: Poses) -> float:
        there = np.abs(self.true).max(axis=(1, 2, 3)) > 0  # (N, M)
        apart = np.square((poses - self.true)[:, self.places]).sum(axis=1)
        distances = np.sqrt(apart).mean(axis=(1, 2))
        return float(distances[there].mean()) if there.any() else 0.0


@torch.inference_mode()
def predict(
    problem: Problem,
    arch: Architecture,
    weights: dict[str, Tensor],
    ids: Tensor,
    axes: Sequence[str],
) -> Prediction:
    """Predict the future of the task's clips `ids`, int64 `(N,)`; `axes` name C.

    Raises:
        InputError: the architecture predicts no poses, it saw something else than joints, or the
            weights are not its own.
    """
    if problem.card.input.modalities != ("joint",):
        seen_as = "+".join(problem.card.input.modalities)
        raise InputError(f"this network saw {seen_as}: only one that saw joints predicts poses")
    network = problem.network(arch)
    if not isinstance(network, ASGCN):
        raise InputError(f"{arch} predicts no poses: only the model asgcn does")
    missing, unexpected = network.load_state_dict(weights, strict=False)
    lacking = [name for name in missing if name in dict(network.named_parameters())]
    if lacking or unexpected:
        raise InputError(f"the weights are not those of this network: {[*lacking, *unexpected][0]}")
    network.eval()
    channels, future = network.in_channels, network.future
    parts = []
    for clips in problem.task.evaluation_batches(ids):
        coordinates = clips[:, :channels]
        seen, true = coordinates[:, :, :-future], coordinates[:, :, -future:]
        parts.append((seen[:, :, -1], network.predict(clips), true))
    last, predicted, truth = (
        torch.cat(part).float().cpu().numpy() for part in zip(*parts, strict=True)
    )
    places = [place for place, axis in enumerate(axes) if axis in SPATIAL]
    return Prediction(places, last, predicted, truth)
