"""What a run costs beside its trainings: start-up, handing out jobs, storing rows, ending.

A real campaign of short trainings runs through the real scheduler and store, in a working folder
that is thrown away. What a worker does between the end of one training and the end of the next is
either that training's own time or bookkeeping.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from nas_skeleton.benchmarks.settings import Setting
from nas_skeleton.errors import InputError
from nas_skeleton.results.run import Run
from nas_skeleton.scheduling.campaign import Campaign
from nas_skeleton.scheduling.means import Means
from nas_skeleton.scheduling.outcome import Outcome
from nas_skeleton.scheduling.signals import Signals
from nas_skeleton.scheduling.start import start_campaign
from nas_skeleton.skeletons.store import load_dataset
from nas_skeleton.spaces import Space, load_space

TRAINING_S = 2.0  # how long a training is meant to take
RUN = 200  # trainings of the run that the result is scaled to
PER_WORKER = 12
GROUPS = 3  # of candidates side by side, at least, so that there is something between them
TOGETHER_S = 0.02  # outcomes of one group arrive together
_SPACE = "bookkeeping"

Watch = Callable[[int], Callable[[], None]]
"""Called with the number of trainings; what it returns is called after each."""


@dataclass(frozen=True)
class Bookkeeping:
    """The cost of everything but training.

    Attributes:
        trainings: how many were run.
        workers: in how many processes.
        engine: by which engine.
        training_s: mean seconds of a training, by its own watch.
        between_s: mean seconds that a worker spends beside a training, after the first.
        startup_s: mean seconds from the start until a worker begins its first training.
        ending_s: seconds from the last result to the end.
        share_between: `between_s` over two-second trainings.
        share_of_run: all of it as a share of a run of `RUN` two-second trainings on as many
            workers.
    """

    trainings: int
    workers: int
    engine: str
    training_s: float
    between_s: float
    startup_s: float
    ending_s: float
    share_between: float
    share_of_run: float


def measure_bookkeeping(
    space: Space, dataset: str, setting: Setting, means: Means, watch: Watch
) -> Bookkeeping:
    """Run some trainings with `setting`'s sizes, each of about two seconds.

    Raises:
        InputError: a training failed, or no worker had two to do one after the other.
        StoppedEarly: a signal came.
    """
    count = means.workers * max(PER_WORKER, GROUPS * means.side_by_side)
    with scratch_folder(), Signals().handled() as signals:
        trial = scratch_campaign(space, dataset, setting, means, count, "trial")
        expected = mean(trial.forecast(trial.jobs).seconds)
        epochs = max(1, round(setting.recipe.epochs * TRAINING_S / expected))
        sized = Setting(setting.name, setting.recipe.model_copy(update={"epochs": epochs}))
        campaign = scratch_campaign(space, dataset, sized, means, count, "run")
        advance = watch(count)
        ended: dict[str, tuple[float, float]] = {}

        def on_outcome(outcome: Outcome) -> None:
            if outcome.error:
                raise InputError(f"bookkeeping: a training failed: {outcome.error}")
            ended[outcome.job.key] = (time.perf_counter(), outcome.train_time_s)
            advance()

        started = time.perf_counter()
        campaign.execute(campaign.jobs, signals, on_outcome)
        finished = time.perf_counter()
        engine = str(campaign.run.rows(["engine"])["engine"].iloc[0])
        workers = [
            _groups(sorted(ended[key] for key in keys)) for keys in _keys_by_worker(campaign.run)
        ]

    startup_s, between_s = _beside(workers, started)
    ending_s = finished - max(when for when, _ in ended.values())
    beside = means.workers * (startup_s + ending_s) + RUN * between_s
    return Bookkeeping(
        trainings=count,
        workers=means.workers,
        engine=engine,
        training_s=mean(trained for _, trained in ended.values()),
        between_s=between_s,
        startup_s=startup_s,
        ending_s=ending_s,
        share_between=between_s / TRAINING_S,
        share_of_run=beside / (beside + RUN * TRAINING_S),
    )


@dataclass
class _Group:
    """Trainings of one worker whose outcomes came together: when, and their own time."""

    ended: float
    trained_s: float
    size: int


def _groups(outcomes: list[tuple[float, float]]) -> list[_Group]:
    """Outcomes `(when, training time)` of one worker, sorted, in groups."""
    groups: list[_Group] = []
    for ended, trained_s in outcomes:
        if groups and ended - groups[-1].ended < TOGETHER_S:
            last = groups[-1]
            groups[-1] = _Group(ended, last.trained_s + trained_s, last.size + 1)
        else:
            groups.append(_Group(ended, trained_s, 1))
    return groups


def _beside(workers: list[list[_Group]], started: float) -> tuple[float, float]:
    """Mean seconds until a worker's first training begins, and per training after the first group.

    A worker that started so late that nothing was left for it does not count.

    Raises:
        InputError: no worker had a second group.
    """
    active = [groups for groups in workers if groups]
    later_ones = sum(group.size for groups in active for group in groups[1:])
    if not later_ones:
        raise InputError(
            "bookkeeping: no worker had two trainings to do one after the other: "
            "try again with fewer workers"
        )
    startup_s = mean(groups[0].ended - groups[0].trained_s - started for groups in active)
    beside_s = sum(
        later.ended - earlier.ended - later.trained_s
        for groups in active
        for earlier, later in itertools.pairwise(groups)
    )
    return startup_s, beside_s / later_ones


def scratch_campaign(
    space: Space, dataset: str, setting: Setting, means: Means, trials: int, name: str
) -> Campaign:
    """A campaign of `trials` architectures in the working folder; its recipe is the setting."""
    card = space.card.model_dump(exclude_none=True)  # TOML has no null
    recipes = {setting.name: setting.recipe.model_dump(exclude_none=True)}
    card |= {"name": f"{_SPACE}-{name}", "default_recipe": setting.name, "recipes": recipes}
    path = Path("search_spaces") / f"{card['name']}.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(_toml(card)), encoding="utf-8")
    return start_campaign(
        load_space(card["name"]),
        load_dataset(dataset),
        means,
        seeds=[777],
        trials=trials,
        name=name,
    )


def _toml(table: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """A card as TOML: for plain values JSON is TOML too."""
    tables = {key: value for key, value in table.items() if isinstance(value, dict)}
    if prefix:
        yield f"[{prefix}]"
    for key in table.keys() - tables.keys():
        yield f"{key} = {json.dumps(table[key])}"
    for key, value in tables.items():
        yield from _toml(value, f"{prefix}.{key}" if prefix else key)


@contextlib.contextmanager
def scratch_folder() -> Iterator[None]:
    """A working folder that sees the data sets of the present one and is removed afterwards.

    It lies in the present one: it is the disk where runs lie that counts.
    """
    datasets = Path.cwd() / "datasets"
    with tempfile.TemporaryDirectory(prefix=".nas_skeleton-", dir=Path.cwd()) as folder:
        (Path(folder) / "datasets").symlink_to(datasets, target_is_directory=True)
        with contextlib.chdir(folder):
            yield


def _keys_by_worker(run: Run) -> Iterator[list[str]]:
    """The trainings of each worker: every worker writes a file of its own."""
    for path in sorted(run.results_folder.glob("*.sqlite")):
        with contextlib.closing(sqlite3.connect(path)) as connection:
            yield [key for (key,) in connection.execute("SELECT key FROM trainings")]
