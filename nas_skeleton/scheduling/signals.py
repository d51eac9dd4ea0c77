"""Signals that ask a command to stop: one lets it save everything, a second Ctrl-C ends it at once.

Schedulers may repeat theirs (a warning, then the end of time, to one process or to all of a job),
so only Ctrl-C counts twice.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from nas_skeleton.errors import StoppedEarly
from nas_skeleton.processes import SIGNALS


class Signals:
    """Hears the signals that ask this process to stop.

    `received` tells that one came, `at_once` that there is no time to save anything.

    Args:
        saving: what a user reads is done first.
    """

    def __init__(self, saving: str = "running trainings are saved first") -> None:
        self.received = False
        self.at_once = False
        self._text = f"\nStopping: {saving}; Ctrl-C again stops at once.\n".encode()

    @contextmanager
    def handled(self) -> Iterator[Signals]:
        """Handle the signals inside the block, and restore what handled them before."""
        before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def check(self) -> None:
        """Raise `StoppedEarly` if a signal came."""
        if self.received:
            raise StoppedEarly(
                "stopped by a signal: finished trainings are stored, others have a checkpoint; run "
                "the same command again to go on"
            )

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.received:
            self.at_once |= number == signal.SIGINT
            return
        self.received = True  # os.write: a handler may interrupt anything, a print too
        os.write(2, self._text)
