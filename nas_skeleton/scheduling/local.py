"""Local execution: worker processes on this machine, and what Ctrl-C and a dying worker do.

The pool is pebble's: a worker that dies takes only its own jobs with it.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import pebble

from nas_skeleton.results.schema import FAILED
from nas_skeleton.scheduling import worker
from nas_skeleton.scheduling.plan import in_groups
from nas_skeleton.scheduling.signals import Signals
from nas_skeleton.scheduling.worker import Assignment, Outcome
from nas_skeleton.training.job import Job

ATTEMPTS = 3  # how often a job whose worker died is tried in all
AHEAD = 2  # groups handed out per worker: one under way, one that waits for its end
POLL_S = 0.2


@dataclass(frozen=True)
class _Group:
    """Jobs handed out together, and how often they have been by now."""

    jobs: Sequence[Job]
    attempt: int = 1


def run_jobs(
    assignment: Assignment,
    jobs: Sequence[Job],
    workers: int,
    signals: Signals,
    on_outcome: Callable[[Outcome], None],
    stored: Callable[[Sequence[Job]], list[Outcome]],
) -> None:
    """Train all `jobs` in `workers` processes; `on_outcome` hears of each as it ends.

    `stored` gives the outcomes of those of some jobs that are in the store: what a worker finished
    before it died is neither lost nor trained again.

    Raises:
        StoppedEarly: a signal came; running trainings wrote checkpoints.
        InputError: the data changed or the disk is full; running trainings wrote checkpoints.
    """
    pool = _Pool(assignment, workers)
    groups = [_Group(group) for group in in_groups(jobs, workers, assignment.side_by_side)]
    try:
        _feed(pool, groups, AHEAD * workers, signals, on_outcome, stored)
    finally:
        pool.end(at_once=signals.received > 1)
    signals.check()


def _feed(
    pool: _Pool,
    groups: Sequence[_Group],
    ahead: int,
    signals: Signals,
    on_outcome: Callable[[Outcome], None],
    stored: Callable[[Sequence[Job]], list[Outcome]],
) -> None:
    """Keep `ahead` groups handed out until all jobs have ended or a signal came."""
    waiting = iter(groups)
    running: dict[Future[list[Outcome]], _Group] = {}
    while signals.received < 2:
        while len(running) < ahead and not signals.received:
            group = next(waiting, None)
            if group is None:
                break
            running[pool.submit(group.jobs)] = group
        if not running:
            return
        done, _ = wait(running, timeout=POLL_S, return_when=FIRST_COMPLETED)
        if signals.received:
            pool.ask_to_stop()
        if not pool.alive:  # then no future that is still open will ever be done
            done = set(running)
        for future in [future for future in running if future in done]:  # in their order
            group = running.pop(future)
            try:
                outcomes, death = _outcomes(future), ""
            except _WorkerDied as error:
                outcomes, death = stored(group.jobs), str(error)
            for outcome in outcomes:
                if outcome.status != worker.STOPPED:
                    on_outcome(outcome)
            ended = {outcome.job for outcome in outcomes}
            for job in group.jobs:
                if job in ended or signals.received:
                    continue
                if group.attempt < ATTEMPTS:  # alone, so that it takes no other with it again
                    again = _Group([job], group.attempt + 1)
                    running[pool.submit(again.jobs)] = again
                else:
                    text = f"worker died {group.attempt} times{death}"
                    on_outcome(Outcome(job, FAILED, error=text, worker_died=True))


class _WorkerDied(Exception):
    """A worker died with a group; the message is empty or its exit code."""


def _outcomes(future: Future[list[Outcome]]) -> list[Outcome]:
    """What became of a group's jobs, as its worker says.

    Raises:
        _WorkerDied: it did not live to say so.
        InputError: a checkpoint, the data or the disk cannot be used.
    """
    try:
        if future.done():
            return future.result()
    except pebble.ProcessExpired as error:
        raise _WorkerDied(f", exit code {error.exitcode}") from None
    except BrokenProcessPool:
        pass
    raise _WorkerDied


class _Pool:
    """Worker processes for one assignment, replaced as a whole when pebble gives them up."""

    def __init__(self, assignment: Assignment, workers: int) -> None:
        # A forked torch may hang in its thread pools, therefore processes start afresh.
        self._context = multiprocessing.get_context("spawn")
        self._stop = self._context.Event()
        self._assignment = assignment
        self._workers = workers
        self._pool = self._start()

    def submit(self, group: Sequence[Job]) -> Future[list[Outcome]]:
        """Queue a group of jobs for the next free worker."""
        if not self.alive:
            self._pool.stop()  # type: ignore[no-untyped-call]
            self._pool.join()
            self._pool = self._start()
        return self._pool.submit(worker.work, None, self._assignment, group)

    @property
    def alive(self) -> bool:
        """Whether pebble still looks after the workers: not if all died before taking a job."""
        return bool(self._pool.active)

    def ask_to_stop(self) -> None:
        """Let running trainings write their checkpoints and end."""
        self._stop.set()

    def end(self, *, at_once: bool) -> None:
        """Wait for running trainings to write their checkpoints, or kill them `at_once`."""
        self.ask_to_stop()
        if at_once:
            self._pool.stop()  # type: ignore[no-untyped-call]
        else:
            self._pool.close()  # type: ignore[no-untyped-call]
        self._pool.join()

    def _start(self) -> pebble.ProcessPool:
        return pebble.ProcessPool(
            max_workers=self._workers,
            context=self._context,
            initializer=worker.initialise,
            initargs=(self._stop, os.getpid()),
        )
