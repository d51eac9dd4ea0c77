"""What became of a job, as its worker tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nas_skeleton.results import schema
from nas_skeleton.results.run import Run
from nas_skeleton.results.store import NewRows
from nas_skeleton.training.job import Job

# Outcomes that are no rows:
STOPPED = "stopped"  # its checkpoint goes on another time
ELSEWHERE = "elsewhere"  # another command is at it


@dataclass(frozen=True)
class Outcome:
    """What the parent hears about a job; the row is already in the store, unless its worker died.

    Attributes:
        job: the job.
        status: a status of `results.schema`, or `STOPPED` or `ELSEWHERE`.
        valid_top1: in [0, 1], None where there is no validation set or no finished training.
        train_time_s: seconds of training.
        error: what went wrong.
        fallback: why the training left the engine it was meant for, if it did.
        holder: `ELSEWHERE`: the worker that is at it; empty if that is not known.
        unstored: its worker died without a word, so that somebody else must store its row.
    """

    job: Job
    status: str
    valid_top1: float | None = None
    train_time_s: float = 0.0
    error: str = ""
    fallback: str = ""
    holder: str = ""
    unstored: bool = False


class Settled:
    """Outcomes of the trainings of a run that need not run again: finished, or known to diverge.

    Or trained as far as a job asks for. Whoever stored them, on whatever computer; only what is new
    is read.
    """

    _COLUMNS = ("key", "status", "final_valid_top1", "train_time_s", "error", "fallback", "epochs")

    def __init__(self, run: Run) -> None:
        self._rows = NewRows(run.results_folder, self._COLUMNS)
        self._by_key: dict[str, tuple[str, float | None, float, str, str]] = {}
        self._paused: dict[str, tuple[int, float]] = {}  # epochs and seconds so far

    def outcomes(self, jobs: Sequence[Job]) -> list[Outcome]:
        """The outcomes of those of `jobs` that are in the store by now."""
        for row in self._rows.read():
            if row["status"] == schema.PAUSED:
                so_far = (row["epochs"], row["train_time_s"])
                self._paused[row["key"]] = max(so_far, self._paused.get(row["key"], so_far))
            elif row["status"] != schema.FAILED:
                self._by_key[row["key"]] = (
                    row["status"],
                    row["final_valid_top1"],
                    row["train_time_s"] or 0.0,
                    row["error"] or "",
                    row["fallback"] or "",
                )
        return [outcome for job in jobs if (outcome := self._outcome(job))]

    def _outcome(self, job: Job) -> Outcome | None:
        if known := self._by_key.get(job.key):
            return Outcome(job, *known)
        epochs, seconds = self._paused.get(job.key, (0, 0.0))
        if job.until is not None and epochs >= job.until:
            return Outcome(job, schema.PAUSED, train_time_s=seconds)
        return None
