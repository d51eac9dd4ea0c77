"""How long a plan will take: a short calibration on this machine, spread over MACs.

The time of a training is taken as a constant plus a term proportional to the MACs of its network,
through the measured times of the cheapest and the dearest cell. A rough figure, meant for "minutes
or hours?"; the progress display corrects it by what finished trainings really took.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from nas_skeleton.scheduling.worker import Workplace
from nas_skeleton.spaces.cell import CONV_3X3, SKIP, Cell
from nas_skeleton.training.candidates import Unsupported
from nas_skeleton.training.engines import FALLBACK, EngineName
from nas_skeleton.training.job import Job
from nas_skeleton.training.timing import predict_seconds

CHEAPEST, DEAREST = Cell((SKIP,) * 6), Cell((CONV_3X3,) * 6)


def forecast(
    place: Workplace, jobs: Sequence[Job], engine: EngineName, side_by_side: int
) -> list[float]:
    """Predicted seconds of each of `jobs` on one worker; empty for no jobs."""
    if not jobs:
        return []
    together = min(side_by_side, len(jobs))
    cheap, dear = (
        replace(jobs[0], arch_index=place.space.index(cell)) for cell in (CHEAPEST, DEAREST)
    )
    cheap_s, dear_s = (_seconds(place, job, engine, together) for job in (cheap, dear))
    cheap_macs, dear_macs = place.cost(cheap).macs, place.cost(dear).macs
    per_mac = max(0.0, dear_s - cheap_s) / (dear_macs - cheap_macs)
    return [cheap_s + per_mac * (place.cost(job).macs - cheap_macs) for job in jobs]


def _seconds(place: Workplace, job: Job, engine: EngineName, together: int) -> float:
    """Predicted seconds of one job, on the engine and in the company it will be trained with."""
    try:
        return predict_seconds(job, place.space, place.task, engine, together)
    except torch.OutOfMemoryError:
        if together > 1:
            return _seconds(place, job, engine, together // 2)
        if engine not in FALLBACK:
            raise
    except Unsupported:
        if engine not in FALLBACK:
            raise
    return _seconds(place, job, FALLBACK[engine], 1)
