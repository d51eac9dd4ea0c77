"""Local execution: worker processes on this machine, and what Ctrl-C and a dying worker do.

The pool is pebble's: a worker that dies takes only its own job with it.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool

import pebble

from nas_skeleton.results.schema import FAILED
from nas_skeleton.scheduling import worker
from nas_skeleton.scheduling.signals import Signals
from nas_skeleton.scheduling.worker import Assignment, Outcome
from nas_skeleton.training.job import Job

ATTEMPTS = 3  # how often a job whose worker died is tried in all
POLL_S = 0.2


def run_jobs(
    assignment: Assignment,
    jobs: Iterable[Job],
    workers: int,
    signals: Signals,
    on_outcome: Callable[[Outcome], None],
) -> None:
    """Train all `jobs` in `workers` processes; `on_outcome` hears of each as it ends.

    Raises:
        StoppedEarly: a signal came; running trainings wrote checkpoints.
        InputError: the data changed or the disk is full; running trainings wrote checkpoints.
    """
    pool = _Pool(assignment, workers)
    try:
        _feed(pool, iter(jobs), workers, signals, on_outcome)
    finally:
        pool.end(at_once=signals.received > 1)
    signals.check()


def _feed(
    pool: _Pool,
    waiting: Iterator[Job],
    workers: int,
    signals: Signals,
    on_outcome: Callable[[Outcome], None],
) -> None:
    """Keep every worker busy until all jobs have ended or a signal came."""
    running: dict[Future[Outcome], tuple[Job, int]] = {}
    while signals.received < 2:
        while len(running) < workers and not signals.received:
            job = next(waiting, None)
            if job is None:
                break
            running[pool.submit(job)] = (job, 1)
        if not running:
            return
        done, _ = wait(running, timeout=POLL_S, return_when=FIRST_COMPLETED)
        if signals.received:
            pool.ask_to_stop()
        if not pool.alive:  # then no future that is still open will ever be done
            done = set(running)
        for future in done:
            job, attempt = running.pop(future)
            outcome = _outcome(future, job, attempt)
            if outcome.worker_died and signals.received:
                continue
            if outcome.worker_died and attempt < ATTEMPTS:
                running[pool.submit(job)] = (job, attempt + 1)
            elif outcome.status != worker.STOPPED:
                on_outcome(outcome)


def _outcome(future: Future[Outcome], job: Job, attempt: int) -> Outcome:
    """What became of a job: what its worker says, or that it died."""
    exitcode = None
    try:
        if future.done():
            return future.result()
    except pebble.ProcessExpired as error:
        exitcode = error.exitcode
    except BrokenProcessPool:
        pass
    code = "" if exitcode is None else f", exit code {exitcode}"
    return Outcome(job, FAILED, error=f"worker died {attempt} times{code}", worker_died=True)


class _Pool:
    """Worker processes for one assignment, replaced as a whole when pebble gives them up."""

    def __init__(self, assignment: Assignment, workers: int) -> None:
        # A forked torch may hang in its thread pools, therefore processes start afresh.
        self._context = multiprocessing.get_context("spawn")
        self._stop = self._context.Event()
        self._assignment = assignment
        self._workers = workers
        self._pool = self._start()

    def submit(self, job: Job) -> Future[Outcome]:
        """Queue `job` for the next free worker."""
        if not self.alive:
            self._pool.stop()  # type: ignore[no-untyped-call]
            self._pool.join()
            self._pool = self._start()
        return self._pool.submit(worker.work, None, self._assignment, job)

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
