"""The store at its size: a run of many trainings, and what the commands that read it take.

The trainings are made up, with plausible values; the run, its files and the commands are real. No
training, no data set and no torch are needed.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_skeleton.benchmarks.bookkeeping import scratch_folder
from nas_skeleton.errors import InputError
from nas_skeleton.results import schema
from nas_skeleton.results.run import Arguments, Clips, DataFacts, Run, plan_run
from nas_skeleton.results.store import ResultWriter, Training
from nas_skeleton.scheduling.plan import job_of
from nas_skeleton.spaces import Space, load_space
from nas_skeleton.training.job import Job
from nas_skeleton.training.result import Accuracy, EpochRecord, Measured

FILES = 200  # workers that wrote the run
EPOCHS = 30  # each of them evaluated
CLIPS = {"train": 323, "valid": 431, "test": 430}  # of a set the size of UTD-MHAD
CLASSES = 27
KINDS = 1000  # trainings that are made up in full, from bad to good; the run repeats them
DIVERGED = 0.002  # share of trainings
TIMES = 3  # how often each command runs
COMMANDS = (
    ("show", "RUN"),
    ("show", "RUN", "--json"),
    ("missing", "RUN"),
    ("list",),
    ("collect", "RUN"),
)
_RUN = "store"
# A process's peak memory counts what its parent had before it was replaced by the command, so that
# the command is started from a process with next to nothing in it.
_MEASURE = """
import json, os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
error = process.stderr.read().decode()
_, status, usage = os.wait4(process.pid, 0)
seconds = time.perf_counter() - start
cpu = usage.ru_utime + usage.ru_stime
peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(json.dumps([os.waitstatus_to_exitcode(status), seconds, cpu, peak, error]))
"""

Watch = Callable[[str, int], Callable[[], None]]
"""Called with what is counted and how many there are; what it returns is called after each."""


@dataclass(frozen=True)
class CommandCost:
    """What one command took, from the start of Python to its end.

    Attributes:
        command: without "python -m nas_skeleton.".
        seconds: of the clock, the median of several calls.
        cpu_s: of processors, their median: what the command takes on a machine that is its own.
        peak_mb: the highest peak of its memory.
    """

    command: str
    seconds: float
    cpu_s: float
    peak_mb: float


@dataclass(frozen=True)
class StoreCost:
    """A run of made-up trainings and the commands that read it.

    Attributes:
        trainings: how many.
        files: how many workers wrote them, each a file.
        epochs: evaluated epochs of each.
        clips: predictions of each.
        disk_mb: size of the store.
        row_bytes: what one training takes of it.
        commands: what the commands took.
    """

    trainings: int
    files: int
    epochs: int
    clips: int
    disk_mb: float
    row_bytes: float
    commands: list[CommandCost]


def measure_store(trainings: int, watch: Watch) -> StoreCost:
    """Make a run of so many trainings in a folder that is thrown away, and run the commands on it.

    Raises:
        InputError: a command fails.
    """
    with scratch_folder():
        run = make_run(trainings, watch)
        stored = list(run.results_folder.iterdir())
        size = sum(path.stat().st_size for path in stored)
        advance = watch("commands", len(COMMANDS) * TIMES)
        return StoreCost(
            trainings=trainings,
            files=len(list(run.results_folder.glob("*.sqlite"))),
            epochs=EPOCHS,
            clips=CLIPS["valid"] + CLIPS["test"],
            disk_mb=size / 2**20,
            row_bytes=size / trainings,
            commands=[_cost(command, advance) for command in COMMANDS],
        )


def make_run(trainings: int, watch: Watch, name: str = _RUN) -> Run:
    """A run of so many made-up trainings in the working folder, as many workers would leave it."""
    space = load_space("nb201")
    recipe = space.card.default_recipe
    arguments = Arguments(
        space=space.name,
        dataset="made-up",
        protocol="thesis",
        recipe=recipe,
        strategy="exhaustive",
        seeds=[777 + 111 * n for n in range(-(-trainings // len(space)))],
        fingerprint="f" * 64,
        recipe_hash=space.card.recipe_hash(recipe),
    )
    rng = np.random.default_rng(777)
    labels = {
        split: rng.integers(CLASSES, size=count).astype(np.int16) for split, count in CLIPS.items()
    }
    clips = {
        split: Clips([f"clip{i}" for i in range(len(of_split))], of_split.tolist())
        for split, of_split in labels.items()
    }
    run = plan_run(name, arguments, DataFacts([f"class {n}" for n in range(CLASSES)], 20, 1, clips))
    run.write()
    kinds = [_made_up(share, labels, rng) for share in np.linspace(0.05, 0.95, KINDS)]
    packed = [
        (schema.measured_columns(kind), schema.curve_json(kind.curve), kind.predictions)
        for kind in kinds
    ]
    goodness = np.sort(rng.beta(5, 2, len(space)))  # many good cells, a tail of bad ones
    goodness = goodness[np.argsort([_macs(space, index) for index in range(len(space))])]
    jobs = itertools.islice(_jobs(arguments, len(space)), trainings)
    identity = cache(lambda index: _identity(arguments, space, index))
    advance = watch("made-up trainings", trainings)
    for number, of_file in enumerate(_dealt(list(jobs), FILES, rng)):
        rows = list[Training]()
        for job in of_file:
            kind = round((KINDS - 1) * float(goodness[job.arch_index]) + rng.normal(0, KINDS / 40))
            measured, curve, predictions = packed[min(max(kind, 0), KINDS - 1)]
            row = {**identity(job.arch_index), "key": job.key, "seed": job.seed}
            if rng.random() < DIVERGED:
                rows.append(({**row, "status": schema.DIVERGED, "error": "loss is nan"}, "[]", {}))
            else:
                rows.append(({**row, **measured}, curve, predictions))
            advance()
        ResultWriter(run.results_folder, f"node{number:03}-4711-{number:08x}").append_all(rows)
    return run


def _jobs(arguments: Arguments, archs: int) -> Iterator[Job]:
    for arch in range(archs):
        for seed in arguments.seeds:
            yield job_of(arguments, arch, seed)


def _dealt(jobs: list[Job], hands: int, rng: np.random.Generator) -> Iterator[list[Job]]:
    """Jobs dealt to workers: nearly in order, but not quite, for they take different times."""
    order = np.argsort(np.arange(len(jobs)) + rng.uniform(0, 4 * hands, len(jobs)))
    for hand in range(hands):
        yield [jobs[i] for i in order[hand::hands]]


def _macs(space: Space, index: int) -> int:
    recipe = space.card.recipe(space.card.default_recipe)
    return space.cost(index, recipe, classes=CLASSES, joints=20).macs


def _identity(arguments: Arguments, space: Space, index: int) -> dict[str, Any]:
    recipe = space.card.recipe(arguments.recipe)
    cost = space.cost(index, recipe, classes=CLASSES, joints=20)
    return schema.identity_columns(job_of(arguments, index, 0), space, cost)


def _made_up(
    share: float, labels: dict[str, NDArray[np.int16]], rng: np.random.Generator
) -> Measured:
    """A training that ends near the accuracy `share`, with the digits a real one has."""
    curve = []
    for epoch in range(1, EPOCHS + 1):
        reached = share * (1 - np.exp(-epoch / 6))
        accuracy = {}
        for split, of_split in labels.items():
            clips = len(of_split)
            hits = rng.binomial(clips, min(1.0, reached * (1.1 if split == "train" else 1)))
            among_five = rng.integers(hits, clips + 1)
            per_class = rng.binomial(clips // CLASSES, hits / clips, CLASSES)
            accuracy[split] = Accuracy(
                hits / clips,
                int(among_five) / clips,
                float(np.mean(per_class / (clips // CLASSES))),
            )
        rate = 0.005 * (1 + float(np.cos(np.pi * epoch / EPOCHS)))
        loss = float(3.3 * np.exp(-epoch * share / 8) + rng.normal(0, 0.02))
        curve.append(EpochRecord(epoch, rate, loss, accuracy))
    predictions = {}
    for split in ("valid", "test"):
        clips = len(labels[split])
        right = rng.permutation(clips) < round(clips * curve[-1].accuracy[split].top1)
        wrong = (labels[split] + rng.integers(1, CLASSES, size=clips)) % CLASSES
        predictions[split] = np.where(right, labels[split], wrong).astype(np.int16)
        # The end must be that of the predictions, as `runs check` has it.
        last = curve[-1].accuracy
        of_classes = [right[labels[split] == label].mean() for label in np.unique(labels[split])]
        last[split] = replace(last[split], mean_class=float(np.mean(of_classes)))
    return Measured(
        curve=curve,
        predictions=predictions,
        train_time_s=float(rng.uniform(5, 20)),
        latency_s=float(rng.uniform(1e-3, 5e-3)),
        peak_memory_bytes=int(rng.integers(2**27, 2**28)),
        engine="native",
        fallback="",
        device="cpu",
        precision="float32",
    )


def _cost(command: tuple[str, ...], advance: Callable[[], None]) -> CommandCost:
    """The cost of `python -m nas_skeleton.runs COMMAND` on the run in the working folder.

    Raises:
        InputError: it fails.
    """
    arguments = [_RUN if word == "RUN" else word for word in command]
    line = [sys.executable, "-m", "nas_skeleton.runs", *arguments]
    seconds, processor, peaks = [], [], []
    for _ in range(TIMES):
        done = subprocess.run(
            [sys.executable, "-c", _MEASURE, *line], capture_output=True, text=True, check=True
        )
        code, took, cpu, peak, error = json.loads(done.stdout)
        if code != 0:
            raise InputError(f"runs {' '.join(arguments)} exits {code}: {error.strip()[-500:]}")
        seconds.append(took)
        processor.append(cpu)
        peaks.append(peak / 2**20)
        advance()
    return CommandCost(f"runs {' '.join(command)}", median(seconds), median(processor), max(peaks))
