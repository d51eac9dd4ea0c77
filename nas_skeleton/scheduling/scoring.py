"""Worker processes that score cells; this process keeps each score as it comes.

A worker needs neither data set nor store: the clips come with its first task. It has one thread, as
those that train have.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker

from nas_skeleton.errors import InputError
from nas_skeleton.proxies.examples import Examples
from nas_skeleton.results.proxies import Identity, ProxyRun
from nas_skeleton.scheduling import signals
from nas_skeleton.spaces import Space

AHEAD = 2  # cells handed out for each worker: one to score, one to go on with
LOOK_S = 0.2  # how often a signal is looked for


@dataclass(frozen=True)
class Assignment:
    """What all cells of a run have in common."""

    space: Space
    identity: Identity
    examples: Examples


def score_cells(
    assignment: Assignment,
    run: ProxyRun,
    archs: Iterable[int],
    workers: int,
    should_stop: Callable[[], bool],
    on_scored: Callable[[int], None],
) -> None:
    """Score cells and keep the scores, until none is left or `should_stop` says so.

    Cells that workers are at when that happens are scored and kept. The number of workers changes
    no score.

    Raises:
        InputError: a worker was killed, or the disk is full or read-only.
    """
    left = iter(archs)
    at_work: set[Future[tuple[int, dict[str, float], float]]] = set()
    pool = ProcessPoolExecutor(
        workers,
        multiprocessing.get_context("spawn"),  # a forked torch may hang in its thread pools
        initializer=_begin,
        initargs=(assignment,),
    )
    try:
        while True:
            with _without_signals():
                while not should_stop() and len(at_work) < AHEAD * workers:
                    arch = next(left, None)
                    if arch is None:
                        break
                    at_work.add(pool.submit(_score, arch))
            if not at_work:
                return
            done, at_work = wait(at_work, LOOK_S, FIRST_COMPLETED)
            for future in done:
                arch, scores, seconds = future.result()
                run.append(arch, scores, seconds)
                on_scored(arch)
            if should_stop():
                at_work = {future for future in at_work if not future.cancel()}
    except BrokenProcessPool:
        raise InputError(
            "a process that scored cells was killed, perhaps for want of memory: run the same "
            "command again, with fewer --workers"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)
        run.close()


_assignment: Assignment | None = None  # of this process, once it is a worker


def _begin(assignment: Assignment) -> None:
    """Make this process a worker: it hears of signals from its parent, and ends with it."""
    import torch

    import nas_skeleton.proxies.score  # noqa: F401 -- now, so that no cell's seconds contain it

    global _assignment
    signals.ignore()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals.SIGNALS)
    torch.set_num_threads(1)
    _assignment = assignment
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _score(arch: int) -> tuple[int, dict[str, float], float]:
    """Index, scores by name, and seconds of this process, which has one thread."""
    from nas_skeleton.proxies.score import score_cell

    assert _assignment is not None
    started = time.process_time()
    scores = score_cell(_assignment.space, _assignment.identity.job(arch), _assignment.examples)
    return arch, scores, time.process_time() - started


@contextmanager
def _without_signals() -> Iterator[None]:
    """Let signals wait while processes are started, until those can ignore them."""
    resource_tracker.ensure_running()  # now, for its start lets signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals.SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
