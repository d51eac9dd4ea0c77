"""Engines: how one job is trained. They compute the same function and differ in speed.

* `reference`: the plain network, as written down in papers.
* `fast` (default): dead edges left out, one ReLU per node, channels-last memory.

Both run the same loop (`loop.Trainer`). In float64 they agree to 1e-9; in float32 their rounding
differs, which training amplifies, so they agree as distributions over seeds. A checkpoint belongs
to its engine, because the fast one has no parameters for dead edges.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nas_skeleton.network.build import candidate_network
from nas_skeleton.network.initialise import derive_seed, initialise
from nas_skeleton.spaces import Space
from nas_skeleton.training.job import Job
from nas_skeleton.training.loop import Trainer, scores
from nas_skeleton.training.memory import PeakMemory
from nas_skeleton.training.result import EpochRecord, Measured
from nas_skeleton.training.task import Task

EngineName = Literal["reference", "fast"]
LATENCY_RUNS = 20


def train_job(
    job: Job,
    space: Space,
    task: Task,
    *,
    engine: EngineName = "fast",
    checkpoint_path: Path | None = None,
    checkpoint_every_s: float = 20.0,
    should_stop: Callable[[], bool] = lambda: False,
    on_epoch: Callable[[EpochRecord], None] = lambda _: None,
) -> Measured:
    """Train one job to the end, from the checkpoint at `checkpoint_path` if that is its own.

    `task` lies on the device to train on; its precision is the precision of the training. Runs with
    one thread, because the number of threads changes how sums are rounded.

    Raises:
        loop.Stopped: `should_stop` said so; everything is in the checkpoint.
        loop.Diverged: the loss is not finite.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _train(
            job,
            space,
            task,
            engine,
            checkpoint_path=checkpoint_path,
            checkpoint_every_s=checkpoint_every_s,
            should_stop=should_stop,
            on_epoch=on_epoch,
        )
    finally:
        torch.set_num_threads(threads)


def _train(job: Job, space: Space, task: Task, engine: EngineName, **options: Any) -> Measured:
    recipe = space.card.recipe(job.recipe)
    device = task.inputs.device
    peak = PeakMemory(device)
    network = build(job, space, task, engine)
    trainer = Trainer(
        network,
        task,
        recipe,
        seed=training_seed(job),
        key=f"{job.key}/{engine}",
        **options,
    )
    curve = trainer.run()
    predictions: dict[str, NDArray[np.int16]] = {
        split: scores(network, task, split).argmax(dim=1).cpu().numpy().astype(np.int16)
        for split in ("valid", "test")
        if split in task.splits
    }
    return Measured(
        curve=curve,
        predictions=predictions,
        train_time_s=trainer.train_time_s,
        latency_s=latency(network, task),
        peak_memory_bytes=peak.read(),
        engine=engine,
        device=device_name(device),
        precision=str(task.inputs.dtype).removeprefix("torch."),
    )


def training_seed(job: Job) -> int:
    """The seed all randomness of a training comes from: its identity, so no two share a stream."""
    return derive_seed(job.key)


def build(job: Job, space: Space, task: Task, engine: EngineName) -> nn.Module:
    """The job's network with its initial weights, on the task's device and in its precision."""
    network: nn.Module = candidate_network(
        space.card,
        space.card.recipe(job.recipe),
        space.cell(job.arch_index),
        classes=task.classes,
        layout=task.layout,
        plain=engine == "reference",
    )
    network = network.to(task.inputs.device, task.inputs.dtype)
    initialise(network, derive_seed(training_seed(job), "weights"))
    if engine == "fast":  # convolution weights decide the layout of every map behind them
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


@torch.inference_mode()
def latency(network: nn.Module, task: Task) -> float:
    """Median seconds of one forward pass of a single clip, in evaluation mode."""
    network.eval()
    clip = task.inputs[:1]
    times = []
    for _ in range(LATENCY_RUNS + 3):  # the first ones warm up
        started = time.perf_counter()
        network(clip)
        if clip.is_cuda:
            torch.cuda.synchronize(clip.device)
        times.append(time.perf_counter() - started)
    return statistics.median(times[3:])


def device_name(device: torch.device) -> str:
    """What the training ran on, as people call it: "cpu" or the GPU's product name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
