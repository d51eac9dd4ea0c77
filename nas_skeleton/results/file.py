"""One file of results: SQLite, written by one process, read by any number beside it.

It must survive kill -9, power loss and full disks, on local disks and on network file systems
(NFS, Lustre), whose locks may be missing, known to one computer only, or hang. Therefore:

* One writer per file, and a rollback journal. Not WAL: its processes share memory, which two
  computers do not have.
* journal_mode TRUNCATE, synchronous FULL: before a page of the file changes, its old content is
  synced in the journal; then the file is synced; cutting the journal to nothing, which is synced
  too, is the commit. DELETE would need EXTRA to survive a power loss, and makes and removes a name
  in every commit: names are what network file systems cache longest.
* The writer locks as SQLite does, against other programs that open the file (`sqlite3 FILE`). Where
  the file system has no locks it goes on without: nobody else writes.
* Readers take no lock and never write. A reader that held a lock could hold up the writer; one that
  could not see the lock of a writer on another computer would take the journal of a commit under
  way for that of a dead writer, and "roll back" what is being written. They read, look whether a
  commit came between, and then read again (a sequence lock). What a writer that died in a commit
  left is rolled back in a copy.
* What decides about a file is looked up on the opened file: opening is when NFS asks the server for
  news, while `stat` may answer from a cache that is a minute old.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import sqlite3
import tempfile
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from nas_skeleton.errors import InputError
from nas_skeleton.results.schema import COLUMNS, SCHEMA

SUFFIX = ".sqlite"
# What a training left beside its columns, compressed, in a table of its own: the columns of 100,000
# trainings are then read without 300 MB of curves between them.
DETAILS = ("curve", "valid_predictions", "test_predictions")
BUSY_S = 60.0  # how long a writer waits for another program that locks its file at this moment
READABLE = (1, SCHEMA)
_PAUSE_S = 0.01  # before a reader that met a commit looks again
_LOCKED_S = 2.0  # how long one that found no quiet moment waits for a lock
_NO_SUPER_JOURNAL = 16  # bytes of a journal that must not be what they are in hostile ones
_MOST_DETAILS = 2**26  # bytes of a curve, unpacked: a small file may pretend to be a huge one
_BESIDE_SQLITE = 2**30 + 1024  # a byte that SQLite leaves alone: it locks the 512 from 2**30 on
T = TypeVar("T")

_TABLES = (
    "CREATE TABLE trainings (id INTEGER PRIMARY KEY, "
    + ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    + ")",
    "CREATE TABLE details (id INTEGER PRIMARY KEY, "
    + ", ".join(f"{name} BLOB" for name in DETAILS)
    + ")",
    f"PRAGMA user_version = {SCHEMA}",
)


# --- writing


def open_for_writing(path: Path) -> sqlite3.Connection:
    """A connection for the one process that writes `path`, which may exist from before.

    Raises:
        sqlite3.OperationalError: the folder cannot be written, or another program locks the file.
        OSError: the same, where the system says it.
        InputError: the file is of another version.
    """
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        _sync_folder(path.parent.parent)  # SQLite syncs the file's folder, not those above
    locks = "" if _has_locks(path) else "&nolock=1"
    uri = f"{path.absolute().as_uri()}?mode=rwc{locks}"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = TRUNCATE")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")  # macOS: as far as the disk, not its cache
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version not in (0, SCHEMA):
            raise InputError(f"{path}: results of schema {version} cannot be continued: move it")
    except BaseException:
        connection.close()
        raise
    return connection


def insert(
    connection: sqlite3.Connection, rows: Sequence[tuple[Mapping[str, Any], Mapping[str, bytes]]]
) -> None:
    """Write rows `(columns, details)` in one transaction: when this returns, they are on the disk.

    Raises:
        sqlite3.DatabaseError: they are not. The connection must not be used again.
    """
    connection.execute("BEGIN IMMEDIATE")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    for statement in _TABLES if version == 0 else ():
        connection.execute(statement)
    for columns, details in rows:
        row = connection.execute(_insertion("trainings", columns), list(columns.values())).lastrowid
        if details:
            values = {"id": row, **{name: zlib.compress(text) for name, text in details.items()}}
            connection.execute(_insertion("details", values), list(values.values()))
    connection.execute("COMMIT")


def _insertion(table: str, values: Mapping[str, Any]) -> str:
    return f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})"


def _has_locks(path: Path) -> bool:
    """Whether the file system of `path` knows locks; makes the file if it is not there."""
    with path.open("ab") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _BESIDE_SQLITE)
        except OSError as error:
            return error.errno in (errno.EAGAIN, errno.EACCES)  # somebody holds it
    return True


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems cannot
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- reading


@dataclass(frozen=True)
class Opened:
    """A file opened for reading: its tables as they were at one moment."""

    connection: sqlite3.Connection
    version: int
    columns: frozenset[str]

    def select(
        self, names: Sequence[str], where: str = "TRUE", values: Sequence[Any] = (), limit: int = -1
    ) -> list[tuple[Any, ...]]:
        """Row id, columns and details called `names` of rows that meet a condition, as stored.

        A column that came to be after the file was written is NULL. In the order of row ids.
        """
        tables = "trainings"
        if self.version > 1 and not set(DETAILS).isdisjoint(names):
            tables = "trainings LEFT JOIN details USING (id)"
        known = (name if name in self.columns else f"NULL AS {name}" for name in names)
        return self.connection.execute(
            f"SELECT {', '.join(('trainings.rowid', *known))} FROM {tables} "
            f"WHERE {where} ORDER BY trainings.rowid LIMIT ?",
            (*values, limit),
        ).fetchall()

    def unpack(self, detail: bytes | str | None) -> bytes:
        """A detail as it was given to the writer; empty if it has none.

        Raises:
            sqlite3.DatabaseError: it is damaged.
        """
        if not detail:
            return b""
        if self.version == 1:  # not compressed; curves are text
            return detail.encode() if isinstance(detail, str) else detail
        try:
            unpacker = zlib.decompressobj()
            unpacked = unpacker.decompress(detail, _MOST_DETAILS)  # type: ignore[arg-type]
            if unpacker.unconsumed_tail or not unpacker.eof:
                raise zlib.error("too long, or cut off")
            return unpacked
        except (zlib.error, TypeError) as error:
            raise sqlite3.DatabaseError(f"damaged details: {error}") from None


def read(path: Path, query: Callable[[Opened], T]) -> T | None:
    """What `query` finds in a file, as of one moment; None if nothing was ever committed to it.

    `query` may be called several times.

    Raises:
        InputError: the file is damaged or from another version.
    """
    trouble = ""
    for look in (_look, _look, _look, _look_at_copy, _look_with_lock) * 4:
        try:
            return look(path, query)
        except FileNotFoundError:  # moved away
            return None
        except sqlite3.DatabaseError as error:
            trouble = str(error)
        time.sleep(_PAUSE_S)
    raise InputError(
        f"{path}: damaged results file: {trouble}; move it away and run the search again"
    )


def state(path: Path) -> tuple[int, ...]:
    """Numbers of which at least one changes with every commit.

    Raises:
        FileNotFoundError: there is no such file.
    """
    with path.open("rb", buffering=0) as file:
        header = file.read(100)
        stat = os.fstat(file.fileno())
    commits = int.from_bytes(header[24:28], "big")  # SQLite's file change counter
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, commits


def journal(path: Path) -> tuple[int, ...]:
    """Numbers that tell one commit under way from another; empty if there is none.

    A commit under way may be that of a writer that died in it.
    """
    try:
        with path.with_name(f"{path.name}-journal").open("rb", buffering=0) as file:
            header = file.read(28)
            stat = os.fstat(file.fileno())
    except FileNotFoundError:
        return ()
    return (stat.st_size, stat.st_mtime_ns, *header) if stat.st_size else ()


class _Disturbed(sqlite3.OperationalError):
    """A commit came between."""


def _look(path: Path, query: Callable[[Opened], T]) -> T | None:
    """Read while nobody commits.

    The order decides: a commit that was under way at the first look at the counter has ended by the
    look at the journal; one that began after it is seen in the journal, or by its counter.
    """
    before = state(path)
    if journal(path):
        raise _Disturbed("its writer commits all the time")
    found = _ask(path, "mode=ro&immutable=1", query)
    if journal(path) or state(path) != before:
        raise _Disturbed("its writer commits all the time")
    return found


def _look_at_copy(path: Path, query: Callable[[Opened], T]) -> T | None:
    """Read a copy, in which an unfinished commit is rolled back."""
    before = state(path), journal(path)
    with tempfile.TemporaryDirectory(prefix="nas_skeleton-") as folder:
        copy = Path(folder) / path.name
        shutil.copyfile(path, copy)
        if before[1]:
            shutil.copyfile(f"{path}-journal", f"{copy}-journal")
            with Path(f"{copy}-journal").open("ab") as end:  # where SQLite looks for the name of
                end.write(bytes(_NO_SUPER_JOURNAL))  # another file, which it would remove
        if (state(path), journal(path)) != before:
            raise _Disturbed("its writer commits all the time")
        return _ask(copy, "mode=rw", query)


def _look_with_lock(path: Path, query: Callable[[Opened], T]) -> T | None:
    """Read while the writer waits, which it does if both see each other's locks."""
    return _ask(path, "mode=ro", query)


def _ask(path: Path, mode: str, query: Callable[[Opened], T]) -> T | None:
    uri = f"{path.absolute().as_uri()}?{mode}"
    with closing(
        sqlite3.connect(uri, uri=True, timeout=_LOCKED_S, isolation_level=None)
    ) as connection:
        connection.execute("BEGIN")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:  # the first commit was not finished
            return None
        if version not in READABLE:
            raise InputError(
                f"{path}: results of schema {version}, this version reads up to {SCHEMA}; use the "
                "version of nas_skeleton that wrote them"
            )
        columns = {
            name
            for table in ("trainings", "details")
            for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")
        }
        return query(Opened(connection, version, frozenset(columns)))
