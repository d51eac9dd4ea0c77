"""The learning task: clips, labels and splits of one data set.

Built once per worker and shared by all its trainings; a candidate changes nothing in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nas_skeleton.skeletons.layouts import Layout
from nas_skeleton.skeletons.store import Dataset
from nas_skeleton.spaces.card import AnyCard
from nas_skeleton.spaces.recipe import TrainingRecipe
from nas_skeleton.training.aim import infer_links
from nas_skeleton.training.clips import Clips, FixedClips, LinkedClips, build_clips

EVALUATION_BATCH = 256


@dataclass(frozen=True)
class Task:
    """The clips as network input, labels `(clips,)`, and the clips of each split that has any.

    Labels and splits are int64 on the device of the clips.
    """

    clips: Clips
    labels: Tensor
    splits: dict[str, Tensor]
    classes: int
    layout: Layout

    def to(self, device: torch.device, dtype: torch.dtype = torch.float32) -> Task:
        """The same task with its tensors on `device`, batches in `dtype`."""
        return Task(
            self.clips.to(device, dtype),
            self.labels.to(device),
            {split: ids.to(device) for split, ids in self.splits.items()},
            self.classes,
            self.layout,
        )

    def labels_of(self, split: str) -> Tensor:
        """Labels of one split."""
        return self.labels[self.splits[split]]

    def training_batch(self, ids: Tensor, seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
        """What members train on in one step.

        Args:
            ids: clips, `(members, batch)`.
            seeds: of what is drawn at random for each member's clips.

        Returns:
            Inputs `(members, batch, C, T, V, M)` and labels `(members, batch)`.
        """
        ids = ids.to(self.device)
        if isinstance(self.clips, FixedClips):  # nothing is drawn: all members in one go
            inputs = self.clips.evaluation(ids.flatten())
            inputs = inputs.view(*ids.shape, *inputs.shape[1:])
        else:
            members = zip(ids, seeds, strict=True)
            inputs = torch.stack([self.clips.training(own, seed) for own, seed in members])
        return inputs, self.labels[ids]

    def evaluation_batches(self, ids: Tensor) -> Iterator[Tensor]:
        """The clips `ids` as inputs, so many at a time that a whole split need not fit."""
        for batch in torch.split(ids.to(self.device), EVALUATION_BATCH):
            yield self.clips.evaluation(batch)

    @property
    def device(self) -> torch.device:
        """What is trained on."""
        return self.clips.device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the inputs, and of the training where its recipe asks for no other."""
        return self.clips.dtype

    @property
    def channels(self) -> int:
        """C of the inputs: coordinates and scores of all modalities together, and A-links."""
        return self.clips.shape[1]

    @property
    def bodies(self) -> int:
        """M of the inputs."""
        return self.clips.shape[4]


def build_task(
    card: AnyCard,
    recipe: TrainingRecipe,
    dataset: Dataset,
    protocol: str,
    announce: Callable[[str], None] | None = None,
    *,
    verify: bool = False,
) -> Task:
    """Encode `dataset` as the card and the recipe ask, on the CPU.

    Args:
        card: of the space.
        recipe: one of its recipes.
        dataset: a prepared data set.
        protocol: who is in which split.
        announce: told, in one line, where inputs cannot be kept on the disk.
        verify: whether kept inputs are compared with their checksum however large they are.

    Raises:
        InputError: unknown protocol, labels or subjects outside it, or an input or augmentation
            that the data cannot have.
    """
    splits = dataset.split(protocol)
    clips = build_clips(dataset, card.input, recipe, protocol, announce, verify=verify)
    if card.aim:
        links = infer_links(dataset, card, protocol)
        clips = LinkedClips(clips, torch.from_numpy(links))
    return Task(
        clips,
        torch.from_numpy(dataset.labels.astype("int64")),
        {split: torch.from_numpy(ids) for split, ids in splits.items() if len(ids)},
        len(dataset.classes),
        dataset.layout,
    )
