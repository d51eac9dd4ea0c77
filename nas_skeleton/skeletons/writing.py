"""Writing a prepared store, all or nothing.

A store is written into a folder of its own beside its place and renamed when it is complete and on
the disk, so that a store that can be opened is whole, however many processes write at once and
whenever they are killed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.card import DatasetCard
from nas_skeleton.skeletons.header import (
    SCHEMA,
    ClipEntry,
    Header,
    Versioned,
    fingerprint,
    steps_of,
)
from nas_skeleton.skeletons.layouts import get_layout
from nas_skeleton.skeletons.readers import RawClip, get_reader

HEADER, ARRAY = "header.json", "clips.f32"

_UNFINISHED, _LOCK = ".unfinished-", ".lock"
_ABANDONED_AFTER_S = 24 * 3600.0


def write_store(
    folder: Path, card: DatasetCard, clips: Iterable[RawClip], raw: Path | None
) -> Header:
    """Write array and header into `folder`, with one clip in memory at a time.

    Args:
        folder: an empty folder.
        card: card of the data set.
        clips: its clips; the store keeps their order.
        raw: where they come from, None if they are made up.

    Raises:
        InputError: a clip that does not fit the card's layout or number of bodies, or float32.
        OSError: the disk is full or cannot be written.
    """
    entries: list[ClipEntry] = []
    channels = offset = 0
    content = hashlib.sha256()
    with (folder / ARRAY).open("wb") as file:
        for clip in clips:
            with np.errstate(over="ignore"):  # what overflows is found by _fault
                numbers = clip.coordinates.astype("<f4")
            channels = channels or numbers.shape[0]
            fault = _fault(numbers, card, channels)
            if fault:
                raise InputError(f"{raw or card.name}: {clip.source}: {fault}")
            written = numbers.tobytes()  # C order, whatever the reader's was
            content.update(written)
            file.write(written)
            entries.append(_entry(clip, length=numbers.shape[1], offset=offset))
            offset += numbers.size
        file.flush()
        os.fsync(file.fileno())
    header = Header(
        schema_version=SCHEMA,
        dataset=card.name,
        fingerprint=fingerprint(card, [(entry.id, entry.digest) for entry in entries]),
        reader=Versioned(name=card.reader, version=get_reader(card.reader).VERSION),
        steps=steps_of(card),
        layout=card.layout,
        classes=list(card.classes),
        units=card.units,
        dtype="<f4",
        axes="C,T,V,M",
        channels=channels,
        joints=len(get_layout(card.layout).joints),
        bodies=card.bodies,
        raw=None if raw is None else str(raw.resolve()),
        content_sha256=content.hexdigest(),
        clips=entries,
    )
    header.write(folder / HEADER)
    _sync(folder / HEADER)
    _sync(folder)
    return header


@contextmanager
def unfinished_folder(target: Path) -> Iterator[Path]:
    """A new folder beside `target` to write in; whatever is left of it in the end is removed.

    Also clears away what killed processes left behind a day ago or earlier.

    Raises:
        OSError: the folder cannot be made.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for leftover in target.parent.glob(f"{_UNFINISHED}*"):
        if time.time() - leftover.stat().st_mtime > _ABANDONED_AFTER_S:
            shutil.rmtree(leftover, ignore_errors=True)
    folder = _beside(target)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(folder: Path, target: Path, keep: str | None) -> None:
    """Make the complete store in `folder` the one at `target`.

    Args:
        folder: a store that `write_store` finished.
        target: where it belongs; a store that is there gives way.
        keep: a fingerprint; if the store at `target` has it, it stays and `folder` is left unused.

    Raises:
        OSError: the place cannot be written.
    """
    with _alone(target.parent / _LOCK):
        if keep is not None and _fingerprint_at(target) == keep:
            return
        aside = _beside(target)
        if target.is_dir():
            # A folder cannot be exchanged in one step. Who looks between the two renames finds no
            # store, which is a state that everybody can handle.
            target.rename(aside)
        folder.rename(target)
        _sync(target.parent)
    shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Keep other processes out while the body runs, where the file system can lock files."""
    guard = FileLock(lock)
    try:
        guard.acquire()
    except NotImplementedError:  # some cluster file systems cannot; then a race stays possible
        yield
        return
    try:
        yield
    finally:
        guard.release()


def _fault(numbers: NDArray[np.float32], card: DatasetCard, channels: int) -> str | None:
    joints = len(get_layout(card.layout).joints)
    if numbers.ndim != 4 or numbers.shape[2] != joints:
        return f"{numbers.shape[2]} joints, but layout {card.layout!r} of the card has {joints}"
    if numbers.shape[3] != card.bodies:
        return f"{numbers.shape[3]} bodies, but the card says {card.bodies}"
    if numbers.shape[0] != channels:
        return f"{numbers.shape[0]} coordinates per joint, the clips before it have {channels}"
    if not np.isfinite(numbers).all():
        return "coordinates too large for float32"
    return None


def _entry(clip: RawClip, *, length: int, offset: int) -> ClipEntry:
    return ClipEntry(
        id=clip.id,
        label=clip.label,
        subject=clip.subject,
        trial=clip.trial,
        camera=clip.camera,
        setup=clip.setup,
        length=length,
        offset=offset,
        source=clip.source,
        digest=clip.digest,
    )


def _fingerprint_at(folder: Path) -> str | None:
    try:
        return Header.read(folder / HEADER).fingerprint
    except (OSError, ValueError):
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
