"""Worker processes that score cells; this process keeps each score as it comes.

A worker needs neither data set nor store: the clips come with its first task. It has one thread, as
those that train have.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from nas_skeleton.errors import InputError
from nas_skeleton.processes import LOOK_S, ignore_signals, process_pool, signals_held
from nas_skeleton.proxies.examples import Examples
from nas_skeleton.results.proxies import Identity, ProxyRun
from nas_skeleton.scheduling.signals import Signals
from nas_skeleton.spaces import Space

AHEAD = 2  # cells handed out for each worker: one to score, one to go on with


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
    signals: Signals,
    on_scored: Callable[[int], None],
) -> None:
    """Score cells and keep the scores, until none is left or a signal asks to stop.

    Cells that workers are at when that happens are scored and kept, unless there is no time for it.
    The number of workers changes no score.

    Raises:
        InputError: a worker was killed, or the disk is full or read-only.
    """
    left = iter(archs)
    at_work: set[Future[tuple[int, dict[str, float], float]]] = set()
    try:
        with process_pool(workers, _begin, (assignment,), lambda: signals.at_once) as pool:
            while not signals.at_once:
                with signals_held():
                    while not signals.received and len(at_work) < AHEAD * workers:
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
                if signals.received:
                    at_work = {future for future in at_work if not future.cancel()}
    except BrokenProcessPool:
        raise InputError(
            "a process that scored cells was killed, perhaps for want of memory: run the same "
            "command again, with fewer --workers"
        ) from None
    finally:
        run.close()


_assignment: Assignment | None = None  # of this process, once it is a worker


def _begin(assignment: Assignment) -> None:
    """Make this process a worker: it hears of signals from its parent, and ends with it."""
    import torch

    import nas_skeleton.proxies.score  # noqa: F401 -- now, so that no cell's seconds contain it

    global _assignment
    ignore_signals()
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
