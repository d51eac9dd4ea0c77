"""How a run is getting on: what is done, who is at it, how fast, and how long it will take."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from nas_skeleton.results import schema
from nas_skeleton.results.run import Run
from nas_skeleton.scheduling.adaptive import missing_pairs, search_of
from nas_skeleton.scheduling.effort import efforts_of
from nas_skeleton.scheduling.presence import Seen, look_around
from nas_skeleton.spaces import SearchSpace

NEEDED = ("arch_index", "seed", "status", "finished_at", "train_time_s")  # columns of rows
WINDOW_S = 3600.0  # the pace is that of the last hour


@dataclass(frozen=True)
class Status:
    """How far a run is.

    Attributes:
        done: trainings finished.
        paused: trainings that a search had trained for a part of their epochs.
        diverged: trainings whose loss became infinite: a result, not repeated.
        failed: trainings that ended with an error; they count as missing too.
        missing: trainings without a result, running ones among them.
        running: trainings that a living worker is at.
        per_hour: trainings that ended per hour, over the last hour or less; None before there are
            any.
        left_s: seconds until nothing is missing at that pace, weighted by the efforts of what was
            done and what is left; None where nobody is at work or there is no pace yet.
        spent: what a search that decides by results has asked for by now, in whole trainings with
            all seeds; None of a run whose trainings are planned.
        workers: those that are at the run, and those that were lost without taking leave.
    """

    done: int
    paused: int
    diverged: int
    failed: int
    missing: int
    running: int
    per_hour: float | None
    left_s: float | None
    spent: float | None
    workers: list[Seen]

    def counts(self) -> dict[str, int]:
        """The numbers of trainings by what became of them."""
        names = ("done", "running", "paused", "diverged", "failed", "missing")
        return {name: getattr(self, name) for name in names}

    def as_json(self) -> dict[str, Any]:
        """Everything in plain values."""
        return {
            "trainings": self.counts(),
            "trainings_per_hour": self.per_hour,
            "seconds_left": self.left_s,
            "budget_spent": self.spent,
            "workers": [
                {**asdict(seen.presence), "last_sign_s": seen.age_s, "lives": seen.lives}
                for seen in self.workers
            ],
        }


def run_status(run: Run, space: SearchSpace, rows: pd.DataFrame, now: datetime.datetime) -> Status:
    """The status of a run.

    Args:
        run: the run.
        space: what it searches in.
        rows: its rows, with the columns `NEEDED` at least.
        now: the time, with its zone.
    """
    workers = list(look_around(run.folder))
    counts = rows["status"].value_counts()
    ended = rows[~rows["status"].isin(schema.UNSETTLED)]
    settled = set(zip(ended["arch_index"].tolist(), ended["seed"].tolist(), strict=True))
    search = search_of(run, space)
    missing = missing_pairs(run, space, search, settled)
    living = [seen.presence for seen in workers if seen.lives]
    running = {pair for presence in living for pair in presence.jobs}
    lately, window_s = _lately(ended, now if living else None)
    left_s = None
    if living and lately:
        pace = _effort(run, space, lately) / window_s
        left_s = _effort(run, space, (arch for arch, _ in missing)) / pace
    return Status(
        done=int(counts.get(schema.DONE, 0)),
        paused=int(counts.get(schema.PAUSED, 0)),
        diverged=int(counts.get(schema.DIVERGED, 0)),
        failed=int(counts.get(schema.FAILED, 0)),
        missing=len(missing),
        running=len(running.intersection(missing)),
        per_hour=3600 * len(lately) / window_s if lately else None,
        left_s=left_s,
        spent=None if search is None else search.search.spent,
        workers=workers,
    )


def _effort(run: Run, space: SearchSpace, archs: Iterable[int]) -> float:
    """The sum of the relative times of trainings of these architectures."""
    times = Counter(archs)
    known = zip(times.values(), efforts_of(space, run, list(times)), strict=True)
    return sum(count * effort for count, effort in known)


def _lately(ended: pd.DataFrame, now: datetime.datetime | None) -> tuple[list[int], float]:
    """Architectures of what ended within the last hour, and how many seconds that took.

    The hour ends now, or with the last row where nobody is at work any more. It begins no sooner
    than the trainings in it: an hour in which a run began is a shorter one.
    """
    if ended.empty:
        return [], 0.0
    last = ended["finished_at"].max()  # as text: ISO 8601 in UTC sorts by time
    end = pd.Timestamp(now) if now else pd.Timestamp(last)
    begin = end - pd.Timedelta(seconds=WINDOW_S)
    inside = ended[ended["finished_at"] > begin.isoformat(timespec="seconds")]
    if inside.empty:
        return [], 0.0
    times = pd.to_datetime(inside["finished_at"], utc=True, format="ISO8601")
    took = pd.to_timedelta(inside["train_time_s"].fillna(0.0), unit="s")
    began = max((times - took).min(), begin)
    return inside["arch_index"].tolist(), max(1.0, (end - began).total_seconds())
