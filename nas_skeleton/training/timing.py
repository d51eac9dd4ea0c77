"""How long one training will take, from a few of its batches on this machine."""

from __future__ import annotations

import math
import time

import torch

from nas_skeleton.spaces import Space
from nas_skeleton.training.engine import EngineName, build
from nas_skeleton.training.job import Job
from nas_skeleton.training.loop import EVALUATION_BATCH, Trainer, clips_per_epoch
from nas_skeleton.training.task import Task

WARM_UP, TIMED = 2, 4  # batches


def predict_seconds(job: Job, space: Space, task: Task, engine: EngineName) -> float:
    """Seconds `job` will take on one worker with nothing beside it: steps and evaluations.

    Leaves no trace: the network it times is thrown away.
    """
    recipe = space.card.recipe(job.recipe)
    network = build(job, space, task, engine)
    trainer = Trainer(network, task, recipe, seed=0)
    inputs, labels = (part[: recipe.batch_size] for part in task.part("train"))
    network.train()
    for group in trainer.optimizer.param_groups:
        group["lr"] = 0.0  # steps cost the same and a recipe that diverges does not do so here
    for _ in range(WARM_UP):
        trainer.update(inputs, labels)
    started = time.perf_counter()
    for _ in range(TIMED):
        trainer.update(inputs, labels)
    per_step = (time.perf_counter() - started) / TIMED

    network.eval()
    clips = task.inputs[:EVALUATION_BATCH]
    with torch.inference_mode():
        network(clips)  # the first pass in evaluation mode chooses its kernels
        started = time.perf_counter()
        network(clips).argmax().item()
    per_clip = (time.perf_counter() - started) / len(clips)

    per_epoch = clips_per_epoch(recipe, len(task.splits["train"]))
    steps = recipe.epochs * math.ceil(per_epoch / recipe.batch_size)
    evaluations = math.ceil(recipe.epochs / recipe.evaluate_every)
    evaluated = evaluations * sum(len(ids) for ids in task.splits.values())
    return steps * per_step + evaluated * per_clip
