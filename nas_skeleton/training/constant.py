"""What networks come to whose cells ignore their input (`spaces.liveness.ignores_input`).

Their class scores are the same for every clip, so all that training can do is to fit how frequent
the classes are: no network is needed to say where that ends.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch

from nas_skeleton.spaces import Architecture
from nas_skeleton.training.candidates import Problem
from nas_skeleton.training.job import Job
from nas_skeleton.training.latency import latency
from nas_skeleton.training.loop import learning_rate, measure
from nas_skeleton.training.result import ANALYTIC, EpochRecord, Measured, Paused
from nas_skeleton.training.threads import one_thread
from nas_skeleton.training.train import device_name


def constant_result(
    job: Job, arch: Architecture, problem: Problem, looks: Collection[int] = ()
) -> Measured | Paused:
    """The result of a job whose network gives every clip the same scores, without training it.

    The constant scores with the least cross-entropy over the training clips are the logarithms of
    the class frequencies there. Of equally frequent classes the first in the data set's order comes
    first. A real training stops near this optimum, so a clip or two of difference in the sizes of
    the classes may decide otherwise there.

    Returns:
        A record for each epoch that a training would have been evaluated after, all alike; engine
        "analytic", no training time and no memory.
    """
    task, recipe = problem.task, problem.recipe
    counts = torch.bincount(task.labels_of("train"), minlength=task.classes).cpu()
    frequencies = counts.double() / counts.sum()
    present = frequencies[counts > 0]
    loss = -(present * present.log()).sum().item()
    order = counts.argsort(descending=True, stable=True)
    scores = torch.empty(task.classes, dtype=torch.float64)
    scores[order] = -torch.arange(task.classes, dtype=torch.float64)  # the order, without ties
    labels = {split: task.labels_of(split).cpu() for split in task.splits}
    accuracy = {
        split: measure(scores.expand(len(of_split), -1), of_split)
        for split, of_split in labels.items()
    }
    last = job.until or recipe.epochs
    looked_at = {last, *looks, *range(recipe.evaluate_every, last, recipe.evaluate_every)}
    curve = [
        EpochRecord(epoch, learning_rate(recipe, epoch - 1), loss, accuracy)
        for epoch in sorted(looked_at)
        if epoch <= last
    ]
    if last < recipe.epochs:
        return Paused(curve, 0.0, ANALYTIC, "", device_name(task.device), recipe.precision)
    held_out = {split: len(labels[split]) for split in ("valid", "test") if split in labels}
    log_frequencies = np.log(np.maximum(frequencies.numpy(), np.finfo(np.float16).tiny))
    return Measured(
        curve=curve,
        predictions={
            split: np.full(clips, int(order[0]), np.int16) for split, clips in held_out.items()
        },
        train_time_s=0.0,
        latency_s=_latency(problem, arch),
        peak_memory_bytes=0,
        engine=ANALYTIC,
        fallback="",
        device=device_name(task.device),
        precision=recipe.precision,
        scores={
            split: np.tile(log_frequencies.astype(np.float16), (clips, 1))
            for split, clips in held_out.items()
        },
        evaluate_every=recipe.evaluate_every,
    )


def _latency(problem: Problem, arch: Architecture) -> float:
    with one_thread():  # as that of networks that are trained
        return latency(problem, arch)
