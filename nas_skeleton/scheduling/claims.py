"""Claims: no two workers train the same thing, however many commands and computers are at a run.

A claim is the file `runs/NAME/claims/KEY` with the name of the worker that made it. It is honoured
as long as that worker shows life (see `presence`) and can be taken over afterwards. Creating a file
that must not exist is atomic on every file system clusters use; taking one away happens under a
lock, so that nobody removes what somebody else has just taken over.

A worker that was believed dead and was not (a stopped process, a node the cluster gave up) has lost
its claims: it must ask `held` before it stores anything.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from nas_skeleton.scheduling import presence
from nas_skeleton.scheduling.lock import Locked, locked

_UNNAMED_S = 10.0  # how long a claim may be without a name: it is made and named in two steps
_TRIES = 5


class Claims:
    """The claims of one worker on the trainings of one run."""

    def __init__(self, run_folder: Path, worker: str) -> None:
        self._run_folder = run_folder
        self._folder = run_folder / "claims"
        self._worker = worker
        self._folder.mkdir(parents=True, exist_ok=True)

    def take(self, key: str) -> str | None:
        """Claim the training `key`: None if it is this worker's now, else the name of whose it is.

        The name is empty for somebody who has just begun to claim it.

        Raises:
            OSError: the disk is full or read-only.
        """
        holder: str | None = ""
        for _ in range(_TRIES):
            if self._create(key):
                return None
            holder = self._holder(key)
            if holder == self._worker:
                return None
            if holder is None:  # released in between
                continue
            if self._is_valid(key, holder):
                return holder
            self._remove(key, holder)
        return holder or ""

    def held(self, key: str) -> bool:
        """Whether this worker's claim still stands."""
        return self._holder(key) == self._worker

    def release(self, key: str) -> None:
        """Give a claim back; nothing happens if it was lost.

        If somebody stands still with the lock, the claim stays until this worker takes leave.
        """
        self._remove(key, self._worker)

    def _create(self, key: str) -> bool:
        try:
            file = os.open(self._folder / key, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        try:
            os.write(file, self._worker.encode())
        except OSError as error:
            (self._folder / key).unlink(missing_ok=True)
            raise OSError(error.errno, error.strerror, str(self._folder / key)) from None
        finally:
            os.close(file)
        return True

    def _holder(self, key: str) -> str | None:
        try:
            return (self._folder / key).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None

    def _is_valid(self, key: str, holder: str) -> bool:
        if not holder:
            return presence.age(self._run_folder, self._folder / key) < _UNNAMED_S
        return presence.lives(self._run_folder, holder)

    def _remove(self, key: str, holder: str) -> None:
        """Remove the claim if it is `holder`'s, and `holder` this worker or lost."""
        with suppress(Locked), locked(self._folder / ".lock"):
            if self._holder(key) != holder:
                return
            if holder == self._worker or not self._is_valid(key, holder):
                (self._folder / key).unlink(missing_ok=True)
