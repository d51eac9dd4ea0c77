"""Writing a prepared store, all or nothing, and going on where a killed process stopped.

A store is built in the folder `.preparing` beside its place: the array grows clip by clip, and a
journal tells, line by line, which source gave what. When all is read, the header is written and the
folder renamed, so that a store that can be opened is whole. Who is killed before leaves array and
journal behind; the next one that is asked for the same goes on with the next source.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.card import DatasetCard
from nas_skeleton.skeletons.header import (
    SCHEMA,
    ClipEntry,
    Fault,
    Header,
    fingerprint,
    reader_of,
    recipe_of,
    steps_of,
)
from nas_skeleton.skeletons.preparing import PreparedClip, ReadSource, without_repeated

HEADER, ARRAY = "header.json", "clips.f32"
ENCODED = "encoded"
"""Folder beside a store with the network inputs that were made of it."""
SYNC_EVERY_S = 5.0
"""Seconds of reading that a crash of the machine may cost."""

_PLAN, _JOURNAL = "plan.json", "journal.jsonl"
_PREPARING, _UNFINISHED, _LOCK = ".preparing", ".unfinished-", ".lock"
_ABANDONED_AFTER_S = 24 * 3600.0


class _Line(BaseModel):
    """A line of the journal: what became of one source."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    source: str
    clips: list[ClipEntry]
    faults: list[Fault]


class Building:
    """A store that is being written into `folder`; `open_building` makes one.

    Attributes:
        done: sources that the journal knows.
        faults: what was wrong with some of them.
        clips: what is written, in order.
    """

    def __init__(self, folder: Path, card: DatasetCard, known: Sequence[_Line]) -> None:
        self.folder = folder
        self.card = card
        self.done = len(known)
        self.faults = [fault for line in known for fault in line.faults]
        self.clips = [entry for line in known for entry in line.clips]
        self._found_in = {entry.id: entry.source for entry in self.clips}
        self._offset = sum(_size(entry, card) for entry in self.clips)
        self._content = hashlib.sha256()
        self._synced = time.monotonic()
        self._array = (folder / ARRAY).open("r+b" if known else "w+b")
        self._journal = (folder / _JOURNAL).open("ab")
        for block in iter(lambda: self._array.read(2**20), b""):
            self._content.update(block)

    def add(self, read: ReadSource) -> None:
        """Write what a source gave.

        Raises:
            OSError: the disk is full or cannot be written.
        """
        read = without_repeated(read, self._found_in)
        entries: list[ClipEntry] = []
        for prepared in read.clips:
            written = prepared.numbers.tobytes()  # C order, whatever the reader's was
            self._content.update(written)
            self._array.write(written)
            entries.append(_entry(prepared, read.source, self._offset))
            self._offset += prepared.numbers.size
        line = _Line(source=read.source, clips=entries, faults=read.faults)
        self.clips += entries
        self.faults += read.faults
        self.done += 1
        self._journal.write(line.model_dump_json(exclude_defaults=True).encode() + b"\n")
        if time.monotonic() - self._synced >= SYNC_EVERY_S:
            self.sync()

    def sync(self) -> None:
        """Bring to the disk what was added; the array first, so that the journal never lies."""
        for file in (self._array, self._journal):
            file.flush()
            os.fsync(file.fileno())
        self._synced = time.monotonic()

    def close(self) -> None:
        """Close the files, if they are open; nothing is lost."""
        if self._journal.closed:
            return
        try:
            self.sync()
        finally:
            self._array.close()
            self._journal.close()

    def finish(self, raw: Path | None, sources: Sequence[str]) -> Header:
        """Write the header of the store, which leaves out whatever had faults.

        Raises:
            InputError: the raw files changed while they were read.
            OSError: the disk is full or cannot be written.
        """
        self.close()
        if (self.folder / _PLAN).read_text() != _plan(self.card, sources, raw):
            raise InputError(
                f"{raw or self.card.name}: changed while it was read; run the same command again"
            )
        header = Header(
            schema_version=SCHEMA,
            dataset=self.card.name,
            fingerprint=fingerprint(self.card, ((e.id, e.digest) for e in self.clips)),
            reader=reader_of(self.card),
            steps=steps_of(self.card),
            layout=self.card.skeleton.name,
            classes=list(self.card.classes),
            units=self.card.units,
            dtype="<f4",
            axes="C,T,V,M",
            channels=len(self.card.axes),
            channel_names=list(self.card.axes),
            joints=len(self.card.skeleton.joints),
            bodies=self.card.bodies,
            raw=_readable(raw),
            raw_state=raw_state(raw, sources_of(self.clips, self.faults)),
            content_sha256=self._content.hexdigest(),
            left_out=self.faults,
            clips=self.clips,
        )
        header.write(self.folder / HEADER)
        _sync(self.folder / HEADER)
        _sync(self.folder)
        return header


@contextmanager
def open_building(
    target: Path,
    card: DatasetCard,
    sources: Sequence[str],
    raw: Path | None,
    announce: Callable[[str], None],
    *,
    locked: bool,
) -> Iterator[Building]:
    """The unfinished store beside `target`: what a killed process left of the same, or a new one.

    What is left when the body is over stays, to be continued, unless `publish` has moved it away;
    but where files cannot be locked (`alone`), every process has a folder of its own, which goes.

    Raises:
        OSError: the folder cannot be made or written.
    """
    folder = target.parent / _PREPARING if locked else _beside(target)
    plan = _plan(card, sources, raw)
    known = _known(folder, plan, sources, card)
    if known:
        announce(
            f"going on with data set {card.name!r} where it was stopped: "
            f"{len(known)} of {len(sources)} sources are read"
        )
    else:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / _PLAN).write_text(plan)
        (folder / _JOURNAL).touch()
    building = Building(folder, card, known)
    try:
        yield building
    finally:
        building.close()
        if not locked:
            shutil.rmtree(folder, ignore_errors=True)


def publish(building: Building, target: Path) -> None:
    """Make a finished building the store at `target`; a store that is there gives way.

    Raises:
        OSError: the place cannot be written.
    """
    aside = _beside(target)
    if target.is_dir():
        # A folder cannot be exchanged in one step. Who looks between the two renames finds no
        # store, which is a state that everybody can handle.
        target.rename(aside)
    building.folder.rename(target)
    _sync(target.parent)
    for name in (_PLAN, _JOURNAL):
        (target / name).unlink()
    shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def alone(target: Path, announce: Callable[[str], None]) -> Iterator[bool]:
    """Keep other processes from preparing the same store; False where files cannot be locked.

    Also clears away what processes that were killed left behind a day ago or earlier.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    guard = FileLock(target.parent / _LOCK)
    try:
        try:
            guard.acquire(timeout=0)
        except Timeout:
            announce(f"waiting for another process that prepares {target}")
            guard.acquire()
    except NotImplementedError:  # some cluster file systems cannot; then a race stays possible
        yield False
        return
    try:
        for leftover in target.parent.glob(f"{_UNFINISHED}*"):
            if time.time() - leftover.stat().st_mtime > _ABANDONED_AFTER_S:
                shutil.rmtree(leftover, ignore_errors=True)
        yield True
    finally:
        guard.release()


def _plan(card: DatasetCard, sources: Sequence[str], raw: Path | None) -> str:
    """What a journal belongs to: the card, the raw files as they are now, their order."""
    listed = hashlib.sha256("\n".join(sources).encode("utf-8", "surrogateescape")).hexdigest()
    return json.dumps(
        {
            "card": recipe_of(card),
            "name": card.name,
            "subjects": card.subjects,
            "sources": listed,
            "state": raw_state(raw, sources),
        },
        sort_keys=True,
    )


def sources_of(clips: Iterable[ClipEntry], faults: Iterable[Fault]) -> set[str]:
    """What a store was read from, as far as it tells."""
    return {clip.source for clip in clips} | {fault.source for fault in faults}


def raw_state(raw: Path | None, sources: Iterable[str]) -> str:
    """Hex SHA-256 of size and time of the files that the sources are read from.

    It changes when one of them is changed or removed; not by files that are no sources. Sources
    that are no files, such as annotations in a pickle, count only where `raw` itself is the file.
    """
    digest = hashlib.sha256()
    if raw is None:
        return digest.hexdigest()
    files = [raw] if raw.is_file() else sorted({raw / _file_of(source) for source in sources})
    for path in files:
        try:
            status = path.stat()
        except (OSError, ValueError):
            continue
        said = f"{path.name} {status.st_size} {status.st_mtime_ns}\n"
        digest.update(said.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _file_of(source: str) -> str:
    """The file of a source, which may be a member of a zip in the raw folder."""
    archive, found, _ = source.partition(".zip/")
    return f"{archive}.zip" if found else source


def _known(folder: Path, plan: str, sources: Sequence[str], card: DatasetCard) -> list[_Line]:
    """The lines of the journal in `folder` that belong to the plan and whose clips are there.

    The array and the journal are cut off behind them.
    """
    try:
        if (folder / _PLAN).read_text() != plan:
            return []
        size = (folder / ARRAY).stat().st_size
        journal = (folder / _JOURNAL).read_bytes()
    except (OSError, UnicodeDecodeError):
        return []
    lines: list[_Line] = []
    kept = offset = 0
    for text in journal.splitlines(keepends=True):
        try:
            line = _Line.model_validate_json(text)
        except ValidationError:
            break
        end = offset + 4 * sum(_size(entry, card) for entry in line.clips)
        if (
            not text.endswith(b"\n")
            or len(lines) >= len(sources)
            or line.source != sources[len(lines)]
            or end > size
        ):
            break
        lines.append(line)
        kept, offset = kept + len(text), end
    if lines:
        os.truncate(folder / ARRAY, offset)
        os.truncate(folder / _JOURNAL, kept)
    return lines


def _size(entry: ClipEntry, card: DatasetCard) -> int:
    """Numbers that a clip takes in the array."""
    return entry.length * len(card.axes) * len(card.skeleton.joints) * card.bodies


def _entry(prepared: PreparedClip, source: str, offset: int) -> ClipEntry:
    clip = prepared.clip
    return ClipEntry(
        id=clip.id,
        label=clip.label,
        subject=clip.subject,
        trial=clip.trial,
        camera=clip.camera,
        setup=clip.setup,
        length=prepared.numbers.shape[1],
        offset=offset,
        source=source,
        digest=clip.digest,
        group=clip.group,
        lists=list(clip.lists),
    )


def _readable(raw: Path | None) -> str | None:
    """The path as a header can have it, None for a name that is no text."""
    try:
        return None if raw is None else str(raw.resolve()).encode().decode()
    except UnicodeEncodeError:
        return None


def _beside(target: Path) -> Path:
    return target.parent / f"{_UNFINISHED}{uuid.uuid4().hex}"


def _sync(path: Path) -> None:
    """Make sure that a file, or the list of files in a folder, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
