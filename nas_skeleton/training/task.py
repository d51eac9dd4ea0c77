"""The learning task: network inputs, labels and splits of one data set, in memory.

Built once per worker and shared by all its trainings; a candidate changes nothing in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nas_skeleton.skeletons.inputs import encode
from nas_skeleton.skeletons.layouts import Layout
from nas_skeleton.skeletons.store import Dataset
from nas_skeleton.spaces.card import Recipe, SpaceCard


@dataclass(frozen=True)
class Task:
    """Inputs `(clips, C, T, V, M)`, labels `(clips,)`, and the clips of each split that has any."""

    inputs: Tensor
    labels: Tensor
    splits: dict[str, Tensor]
    classes: int
    layout: Layout

    def to(self, device: torch.device, dtype: torch.dtype = torch.float32) -> Task:
        """The same task with its tensors on `device`, inputs in `dtype`."""
        return Task(
            self.inputs.to(device, dtype),
            self.labels.to(device),
            {split: ids.to(device) for split, ids in self.splits.items()},
            self.classes,
            self.layout,
        )

    def labels_of(self, split: str) -> Tensor:
        """Labels of one split."""
        return self.labels[self.splits[split]]

    def part(self, split: str) -> tuple[Tensor, Tensor]:
        """Inputs and labels of one split."""
        ids = self.splits[split]
        return self.inputs[ids], self.labels[ids]


def build_task(card: SpaceCard, recipe: Recipe, dataset: Dataset, protocol: str) -> Task:
    """Encode `dataset` as the card and the recipe ask.

    Raises:
        InputError: unknown protocol, or labels or subjects outside it.
    """
    splits = dataset.split(protocol)
    inputs = encode(dataset, card.input.encoding, recipe.frames, protocol)
    return Task(
        torch.from_numpy(inputs),
        torch.from_numpy(dataset.labels.astype("int64")),
        {split: torch.from_numpy(ids) for split, ids in splits.items() if len(ids)},
        len(dataset.classes),
        dataset.layout,
    )
