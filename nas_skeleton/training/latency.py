"""How long one forward pass of a network takes, whatever engine trains it."""

from __future__ import annotations

import statistics
import time

import torch

from nas_skeleton.spaces import Architecture
from nas_skeleton.training.candidates import Problem
from nas_skeleton.training.engines.precision import Arithmetic

RUNS = 5  # after one that warms up; more would cost more than it tells


@torch.inference_mode()
def latency(problem: Problem, arch: Architecture, clips: int = 1) -> float:
    """Median seconds of one forward pass of `clips` clips through the lean PyTorch network.

    In evaluation mode, on the problem's device: the figure belongs to the architecture.
    """
    arithmetic = Arithmetic(problem)
    network = problem.network(arch).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    [batch] = problem.task.evaluation_batches(torch.zeros(clips, dtype=torch.int64))
    times = []
    for _ in range(RUNS + 1):
        started = time.perf_counter()
        with arithmetic.flags(), arithmetic.forward():
            network(batch)
        if batch.is_cuda:
            torch.cuda.synchronize(batch.device)
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])
