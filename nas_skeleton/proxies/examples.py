"""The batch that all cells of a run are scored on: training clips, several of each of its classes.

EPE-NAS compares clips of one class, and a plain batch of 32 clips of 27 classes has few such pairs.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from nas_skeleton.errors import InputError
from nas_skeleton.network.initialise import derive_seed
from nas_skeleton.skeletons.layouts import Layout
from nas_skeleton.training.task import Task

CLIPS_OF_A_CLASS = 2  # at least, where the training clips have them


@dataclass(frozen=True)
class Examples:
    """Clips `(N, C, T, V, M)`, their labels `(N,)`, and what networks must know of the data."""

    clips: Tensor
    labels: Tensor
    classes: int
    layout: Layout


def draw_examples(task: Task, count: int, seed: int) -> Examples:
    """`count` training clips as they are evaluated, from as many classes as can have two of them.

    Classes come in random order, half as many as clips if there are so many; then one clip of each
    class in turn, the clips of a class in random order, until there are enough; other classes fill
    up. Depends on the seed and the training split alone.

    Raises:
        InputError: there are fewer training clips.
    """
    ids = task.splits.get("train", torch.empty(0, dtype=torch.int64))
    if count > len(ids):
        raise InputError(f"--clips {count}: the protocol has only {len(ids)} training clips")
    generator = Generator().manual_seed(derive_seed(seed, "proxies"))
    labels = task.labels[ids].tolist()
    order = torch.randperm(len(ids), generator=generator).tolist()
    sizes = Counter(labels)
    paired = [label for label in dict.fromkeys(labels[at] for at in order) if sizes[label] > 1]
    first = set(paired[: max(1, count // CLIPS_OF_A_CLASS)])
    turns = Counter[int]()

    def rank(at: int) -> tuple[bool, int]:
        label = labels[at]
        turns[label] += 1
        return label not in first, turns[label]

    ranks = {at: rank(at) for at in order}
    chosen = ids[sorted(order, key=ranks.__getitem__)[:count]]
    return Examples(task.clips.evaluation(chosen), task.labels[chosen], task.classes, task.layout)
