"""Arrays that are computed once and kept as memory maps, for later and for other processes.

They are all or nothing: written into a folder of their own and renamed when complete. Small ones
are compared with their checksum whenever they are opened, large ones by who asks for it: every
worker opens them, and reading gigabytes takes long. Whoever removes a kept file, or damages one
that is compared, loses nothing but the time to compute it again.

Nothing here removes a file because its key is out of use: another process may be reading it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

_UNFINISHED, _LOCK, _CHECKSUM = ".unfinished-", ".lock", ".sha256"
_ABANDONED_AFTER_S = 24 * 3600.0

VERIFIED_BYTES = 256 * 2**20
"""Up to this size a file is compared with its checksum whenever it is opened."""


@dataclass(frozen=True)
class Part:
    """One of the arrays that are computed together; `name` ends its file's name."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Size of its file."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


Blocks = Callable[[], Iterable[Sequence[NDArray[Any]]]]
"""Gives the arrays piece by piece, one piece of every part at a time, in order."""


class _NotComputed(Exception):
    """`blocks` failed; the only argument is its error."""


def kept(
    folder: Path,
    key: str,
    parts: Sequence[Part],
    blocks: Blocks,
    announce: Callable[[str], None] | None = None,
    *,
    verify: bool = False,
) -> list[NDArray[Any]]:
    """The arrays `KEY.NAME` of `folder`, computed and written first where they are not there.

    Args:
        folder: made if need be.
        key: names what decides the content; equal keys have equal content.
        parts: name, type and shape of every array.
        blocks: called where they are not there.
        announce: told, in one line, that they could not be written and stay in memory.
        verify: whether files of more than `VERIFIED_BYTES` are compared with their checksum too.

    Returns:
        Memory maps that are private to this process when written to (read-only where they are
        larger than the system has memory), or arrays in memory.

    Raises:
        OSError: from `blocks`; an error with the folder only leads to arrays in memory.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        arrays = _opened(folder, key, parts, verify)
        if arrays is None:
            with _alone(folder / _LOCK):  # others wait instead of computing the same
                arrays = _opened(folder, key, parts, verify)
                if arrays is None:
                    _write(folder, key, parts, blocks)
                    arrays = _opened(folder, key, parts, verify=False)
        if arrays is not None:
            return arrays
        reason = "somebody else removed or changed it"
    except _NotComputed as failed:
        raise failed.args[0] from None
    except OSError as error:
        reason = error.strerror or str(error)
    if announce:
        megabytes = sum(part.bytes for part in parts) / 1e6
        announce(
            f"network inputs stay in memory, {megabytes:.0f} MB in every process: {folder} cannot "
            f"be used ({reason})"
        )
    return _in_memory(parts, blocks)


def _opened(
    folder: Path, key: str, parts: Sequence[Part], verify: bool
) -> list[NDArray[Any]] | None:
    """The arrays, if all are there and, as far as that is looked at, as they were written."""
    arrays = []
    for part in parts:
        path = folder / f"{key}.{part.name}"
        if not path.is_file() or path.stat().st_size != part.bytes:
            return None
        known = path.with_name(f"{path.name}{_CHECKSUM}")
        if not known.is_file():
            return None
        compared = verify or part.bytes <= VERIFIED_BYTES
        if compared and known.read_bytes() != _checksum(path):
            return None
        arrays.append(_mapped(path, part))
    return arrays


def _mapped(path: Path, part: Part) -> NDArray[Any]:
    # mode "c": processes share the pages, and nothing written to the array gets to the disk
    try:
        mapped = np.memmap(path, dtype=part.dtype, mode="c", shape=part.shape)
    except OSError:  # the system does not promise more than it has, in case all of it is written
        mapped = np.memmap(path, dtype=part.dtype, mode="r", shape=part.shape)
    return np.asarray(mapped)


def _write(folder: Path, key: str, parts: Sequence[Part], blocks: Blocks) -> None:
    _clear_away(folder)
    unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=folder))
    try:
        with contextlib.ExitStack() as stack:
            files = [stack.enter_context((unfinished / part.name).open("wb")) for part in parts]
            for block in _computed(blocks):
                for file, part, piece in zip(files, parts, block, strict=True):
                    file.write(np.ascontiguousarray(piece, dtype=part.dtype).data)
            for file in files:
                file.flush()
                os.fsync(file.fileno())
        for part in parts:
            made = unfinished / part.name
            (folder / f"{key}.{part.name}{_CHECKSUM}").write_bytes(_checksum(made))
            made.replace(folder / f"{key}.{part.name}")
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _computed(blocks: Blocks) -> Iterator[Sequence[NDArray[Any]]]:
    """The blocks; what cannot be read for them is no fault of the file they are written to."""
    try:
        yield from blocks()
    except OSError as error:
        raise _NotComputed(error) from error


def _clear_away(folder: Path) -> None:
    """Remove what killed processes left behind a day ago or earlier."""
    for leftover in folder.glob(f"{_UNFINISHED}*"):
        with contextlib.suppress(OSError):
            if time.time() - leftover.stat().st_mtime > _ABANDONED_AFTER_S:
                shutil.rmtree(leftover, ignore_errors=True)


def _in_memory(parts: Sequence[Part], blocks: Blocks) -> list[NDArray[Any]]:
    arrays = [np.empty(part.shape, part.dtype) for part in parts]
    flat = [array.reshape(-1) for array in arrays]
    filled = [0] * len(parts)
    for block in blocks():
        for index, piece in enumerate(block):
            flat[index][filled[index] : filled[index] + piece.size] = piece.reshape(-1)
            filled[index] += piece.size
    return arrays


def _checksum(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest().encode()


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Keep other processes out while the body runs, where the file system can lock files."""
    guard = FileLock(lock)
    try:
        guard.acquire()
    except (NotImplementedError, OSError):  # some file systems cannot; then both compute it
        yield
        return
    try:
        yield
    finally:
        guard.release()
