"""A lock on a file, for what processes of one or several computers must do one at a time."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

LOCK_S = 60.0
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


class Locked(Exception):
    """Somebody held the lock for too long."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock `path`; where the file system knows no locks, go on without.

    What is done under it is safe without it but for moments of bad luck, which cost a training
    that runs twice and is counted once.

    Raises:
        Locked: it does not open in time.
        OSError: the disk is full or read-only.
    """
    lock = filelock.FileLock(path, timeout=LOCK_S)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise Locked(f"{path}: locked for {LOCK_S:.0f} s by another process") from None
    except NotImplementedError:
        pass
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    try:
        yield
    finally:
        if lock.is_locked:
            lock.release()
