"""How long one training will take, from a few of its batches on this machine."""

from __future__ import annotations

import math
import time

from nas_skeleton.network.initialise import derive_seed
from nas_skeleton.spaces import SearchSpace
from nas_skeleton.training.averaging import estimation_steps
from nas_skeleton.training.candidates import Problem, scores_of_clips
from nas_skeleton.training.engines import EngineName, candidates_of
from nas_skeleton.training.job import Job
from nas_skeleton.training.loop import clips_per_epoch
from nas_skeleton.training.task import Task

WARM_UP, TIMED = 2, 4  # batches
EVALUATED = 256  # clips, at most


def predict_seconds(
    job: Job, space: SearchSpace, task: Task, engine: EngineName, side_by_side: int = 1
) -> float:
    """Seconds `job` will take of one worker that does nothing else: steps and evaluations.

    Its share of the time, where `side_by_side` trainings advance together. Leaves no trace: the
    networks that are timed are thrown away.

    Raises:
        Unsupported: the engine cannot train it here.
    """
    recipe = space.card.recipe(job.recipe)
    problem = Problem(space.card, recipe, task)
    arch = space.architecture(job.arch_index)
    state = problem.initial_state(arch, derive_seed(job.key))
    candidates = candidates_of(engine, problem, [arch] * side_by_side, [state] * side_by_side)
    candidates.set_learning_rate(0.0)  # costs the same, and a bad recipe does not diverge here
    ids = task.splits["train"][: recipe.batch_size].expand(side_by_side, -1)
    seeds = [derive_seed(job.key, member) for member in range(side_by_side)]
    for _ in range(WARM_UP):
        candidates.step(*task.training_batch(ids, seeds), seeds)
    candidates.loss_sums.tolist()  # waits for the device
    started = time.perf_counter()
    for _ in range(TIMED):
        candidates.step(*task.training_batch(ids, seeds), seeds)
    candidates.loss_sums.tolist()
    per_step = (time.perf_counter() - started) / TIMED

    clips = task.splits["train"][:EVALUATED]
    scores_of_clips(
        candidates, task, clips
    )  # the first pass in evaluation mode chooses its kernels
    started = time.perf_counter()
    scores_of_clips(candidates, task, clips).argmax().item()
    per_clip = (time.perf_counter() - started) / len(clips)

    per_epoch = clips_per_epoch(recipe, len(task.splits["train"]))
    batches = math.ceil(per_epoch / recipe.batch_size)
    steps = recipe.epochs * batches + estimation_steps(recipe, batches)
    evaluations = math.ceil(recipe.epochs / recipe.evaluate_every)
    evaluated = evaluations * sum(len(ids) for ids in task.splits.values())
    return (steps * per_step + evaluated * per_clip) / side_by_side
