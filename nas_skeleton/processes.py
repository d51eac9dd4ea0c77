"""Worker processes: deaf to the signals that ask a command to stop, and gone when it ends.

A terminal or a scheduler may tell all processes of a command to stop; the command alone decides
what becomes of the work, so that its workers hear nothing.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import connection, resource_tracker
from typing import Any

# Ctrl-C, a scheduler's end of time, a closed terminal, and the warning clusters send before it.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)

LOOK_S = 0.2  # how often it is looked whether there is no time left


@contextmanager
def signals_held() -> Iterator[None]:
    """Let signals wait while processes are started, until those can ignore them."""
    resource_tracker.ensure_running()  # now, for its start lets signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore_signals() -> None:
    """Make this process one that hears nothing, not what was held while it started either."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


@contextmanager
def process_pool(
    processes: int,
    begin: Callable[..., None],
    arguments: tuple[Any, ...],
    at_once: Callable[[], bool],
) -> Iterator[ProcessPoolExecutor]:
    """A pool of new processes that are gone after the block.

    When it is left, what waits is given up, and what the processes are at is finished, unless there
    is no time for that.

    Args:
        processes: how many there may be; what is submitted first starts them (`signals_held`).
        begin: called in each of them, with `arguments`; see `ignore_signals`.
        arguments: what it is given.
        at_once: whether there is no time left, also while the block is being left.
    """
    others = set(multiprocessing.active_children())
    # "spawn": a forked torch may hang in its thread pools.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, context, begin, arguments)
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        own = {child.sentinel: child for child in set(multiprocessing.active_children()) - others}
        while own and not at_once():
            for sentinel in connection.wait(list(own), LOOK_S):
                del own[sentinel]  # type: ignore[arg-type]
        for child in own.values():
            child.kill()
