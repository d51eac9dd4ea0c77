"""Local execution: worker processes on this machine, and what Ctrl-C and a dying worker do.

The pool is pebble's: a worker that dies takes only its own job with it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from types import FrameType

import pebble

from nas_skeleton.errors import StoppedEarly
from nas_skeleton.results.schema import FAILED
from nas_skeleton.scheduling import worker
from nas_skeleton.scheduling.worker import Assignment, Outcome
from nas_skeleton.training.job import Job

STOPPED_MESSAGE = "stopped by a signal; everything is saved: run the same command again"
ATTEMPTS = 2  # how often a job whose worker died is tried in all
POLL_S = 0.2
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Signals:
    """Counts the signals that ask this process to stop: one stops cleanly, two at once."""

    def __init__(self) -> None:
        self.received = 0

    @contextmanager
    def handled(self) -> Iterator[Signals]:
        """Handle the signals inside the block, and restore what handled them before."""
        before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        self.received += 1


def run_jobs(
    assignment: Assignment,
    jobs: Iterable[Job],
    workers: int,
    on_outcome: Callable[[Outcome], None],
) -> None:
    """Train all `jobs` in `workers` processes; `on_outcome` hears of each as it ends.

    Raises:
        StoppedEarly: a signal came; running trainings wrote checkpoints.
        InputError: the data changed or the disk is full; running trainings wrote checkpoints.
    """
    waiting = iter(jobs)
    context = multiprocessing.get_context("spawn")  # a forked torch may hang in its thread pools
    stop = context.Event()
    pool = pebble.ProcessPool(
        max_workers=workers,
        context=context,
        initializer=worker.initialise,
        initargs=(stop, os.getpid()),
    )
    running: dict[Future[Outcome], tuple[Job, int]] = {}

    def submit(job: Job, attempt: int) -> None:
        running[pool.submit(worker.train, None, assignment, job)] = (job, attempt)

    with Signals().handled() as signals:
        try:
            while True:
                while len(running) < workers and not signals.received:
                    job = next(waiting, None)
                    if job is None:
                        break
                    submit(job, 1)
                if not running:
                    break
                done, _ = wait(running, timeout=POLL_S, return_when=FIRST_COMPLETED)
                if signals.received:
                    stop.set()
                if signals.received > 1:
                    break
                for future in done:
                    job, attempt = running.pop(future)
                    try:
                        outcome = future.result()
                    except pebble.ProcessExpired as error:
                        if attempt < ATTEMPTS and not signals.received:
                            submit(job, attempt + 1)
                            continue
                        why = f"worker died {attempt} times: exit code {error.exitcode}"
                        outcome = Outcome(job, FAILED, error=why)
                    if outcome.status != worker.STOPPED:
                        on_outcome(outcome)
        finally:
            stop.set()  # whatever ended the loop, workers checkpoint and leave
            if signals.received > 1:
                pool.stop()  # type: ignore[no-untyped-call]
            else:
                pool.close()  # type: ignore[no-untyped-call]
            pool.join()
    if signals.received:
        raise StoppedEarly(STOPPED_MESSAGE)
