"""How long a plan will take: a short calibration on this machine, spread over efforts.

The time of a training is taken to grow in a straight line with its effort (see `effort`), through
the measured times of the cheapest and the dearest cell. A rough figure, meant for "minutes or
hours?" and for telling a training that hangs; the progress display corrects it by what finished
trainings really took. The calibration also finds out how many candidates fit side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from nas_skeleton.scheduling.effort import efforts
from nas_skeleton.scheduling.worker import Workplace
from nas_skeleton.spaces import Space
from nas_skeleton.spaces.cell import CONV_3X3, NONE, SKIP, Cell
from nas_skeleton.training.candidates import Unsupported
from nas_skeleton.training.engines import FALLBACK, EngineName
from nas_skeleton.training.job import Job
from nas_skeleton.training.memory import is_out_of_memory
from nas_skeleton.training.timing import predict_seconds

# The input straight to the output, and everything there is.
CHEAPEST, DEAREST = Cell((NONE, NONE, NONE, SKIP, NONE, NONE)), Cell((CONV_3X3,) * 6)


@dataclass(frozen=True)
class Forecast:
    """What a plan takes.

    Attributes:
        seconds: of each job, on one worker.
        side_by_side: how many of the dearest candidates a worker can advance together.
    """

    seconds: list[float]
    side_by_side: int


def forecast(
    place: Workplace,
    jobs: Sequence[Job],
    engine: EngineName,
    side_by_side: int,
    check: Callable[[], None] = lambda: None,
) -> Forecast:
    """The forecast of `jobs`, of which `side_by_side` at most are advanced together."""
    if not jobs:
        return Forecast([], side_by_side)
    space = place.space
    if not isinstance(space, Space):
        return _of_models(place, jobs, engine, side_by_side, check)
    cheap, dear = (replace(jobs[0], arch_index=space.index(cell)) for cell in (CHEAPEST, DEAREST))
    # The dearest first: what it leaves room for is what all are given.
    dear_s, fitting = _seconds(place, dear, engine, min(side_by_side, len(jobs)))
    cheap_s, _ = _seconds(place, cheap, engine, fitting)
    least, most, *of_jobs = efforts(place.space, place.run, [cheap, dear, *jobs])
    slope = max(0.0, dear_s - cheap_s) / (most - least)
    seconds = [cheap_s + slope * max(0.0, effort - least) for effort in of_jobs]
    return Forecast(seconds, fitting if fitting < len(jobs) else side_by_side)


def _of_models(
    place: Workplace,
    jobs: Sequence[Job],
    engine: EngineName,
    side_by_side: int,
    check: Callable[[], None],
) -> Forecast:
    """Each model by itself: there are few, and they differ in more than size."""
    together = min(side_by_side, len(jobs))
    known: dict[int, float] = {}
    ranked = sorted(zip(efforts(place.space, place.run, jobs), range(len(jobs)), strict=True))
    # The dearest first: what it leaves room for is what all are given.
    for job in (jobs[place_of] for _, place_of in reversed(ranked)):
        check()
        if job.arch_index not in known:
            known[job.arch_index], together = _seconds(place, job, engine, together)
    return Forecast([known[job.arch_index] for job in jobs], together)


def _seconds(place: Workplace, job: Job, engine: EngineName, together: int) -> tuple[float, int]:
    """Predicted seconds of one job, on the engine and in the company it will be trained with.

    And the size of that company: where memory is short, half of it and half again.
    """
    try:
        return predict_seconds(job, place.space, place.task, engine, together), together
    except Unsupported:
        if engine not in FALLBACK:
            raise
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        if together > 1:
            return _seconds(place, job, engine, together // 2)
        if engine not in FALLBACK:
            raise
    return _seconds(place, job, FALLBACK[engine], 1)
