"""From raw files to prepared clips: read, checked against the card, cleaned; several at a time.

One place for all readers decides whether a clip is what the card says. A file that is not is told
as a `Fault` and does not keep the others from being read. Nothing is written here.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import resource_tracker
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.card import DatasetCard
from nas_skeleton.skeletons.header import Fault
from nas_skeleton.skeletons.poses import Poses
from nas_skeleton.skeletons.readers import Raw, RawClip, get_reader

WORTH_PROCESSES = 1000
"""Sources from which on it pays to read with several processes."""
BATCH = 32
"""Sources that a process reads at a time."""
AHEAD = 4
"""Batches per process that may be read before the first of them is written."""


@dataclass(frozen=True, eq=False)
class PreparedClip:
    """A clip as the store gets it: what its file says of it, and float32 `(C, T, V, M)`."""

    clip: RawClip
    numbers: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ReadSource:
    """What became of one source: its clips, and what was wrong with those that are not there."""

    source: str
    clips: list[PreparedClip]
    faults: list[Fault]


def read_sources(
    card: DatasetCard,
    raw: Path | None,
    opened: Raw,
    sources: Sequence[str],
    left_out: frozenset[str],
    workers: int = 1,
) -> Iterator[ReadSource]:
    """Read `sources` in their order.

    Args:
        card: card of the data set.
        raw: where its raw files are.
        opened: the same, opened.
        sources: some of `opened.sources`.
        left_out: ids of clips to be passed over.
        workers: processes at most; several only where the reader can and there is enough to read.
            They start Python anew: a program that asks for several must guard its main module.

    Raises:
        InputError: a worker process was killed.
    """
    if workers > 1 and get_reader(card.reader).PARALLEL and len(sources) >= WORTH_PROCESSES:
        yield from _read_in_processes(card, raw, sources, left_out, workers)
    else:
        for source in sources:
            yield _read(card, opened, source, left_out)


def without_repeated(read: ReadSource, found_in: dict[str, str]) -> ReadSource:
    """The source without clips that were in others before, which become faults of it.

    Args:
        read: what a source gave.
        found_in: source by clip id of all before, to which those of `read` are added.
    """
    clips, faults = [], list(read.faults)
    for prepared in read.clips:
        first = found_in.get(prepared.clip.id)
        if first is not None:
            reason = (
                f"clip {prepared.clip.id} is also in {first}; remove one of them, or give it "
                "another name or id"
            )
            faults.append(Fault(source=read.source, reason=reason))
        else:
            found_in[prepared.clip.id] = read.source
            clips.append(prepared)
    return ReadSource(read.source, clips, faults)


def prepare_clip(clip: RawClip, card: DatasetCard) -> NDArray[np.float32]:
    """The clip as the store gets it, float32 `(C, T, V, M)`.

    Raises:
        InputError: it is not what the card says, or cannot be cleaned; one line, without its name.
    """
    _check_labels(clip, card)
    coordinates = np.asarray(clip.coordinates, dtype=np.float64)
    _check_joints(clip, card, coordinates)
    poses = Poses(
        coordinates=coordinates,
        axes=clip.axes,
        layout=card.skeleton,
        frames_per_second=clip.frames_per_second or card.frames_per_second,
        image_size=clip.image_size,
    )
    if np.isinf(coordinates).any():
        raise InputError(f"infinite coordinates in {_frames_with(np.isinf(coordinates))}")
    for step in card.steps:
        poses = step.apply(poses)
    return _checked_poses(poses, card)


def _check_labels(clip: RawClip, card: DatasetCard) -> None:
    last = len(card.classes) - 1
    if not 0 <= clip.label <= last:
        raise InputError(f"label {clip.label}, but those of {card.name} are 0 to {last}")
    if not 0 <= clip.subject < 2**31:
        raise InputError(f"subject {clip.subject} is no number of a person")
    if card.subjects is not None and clip.subject not in card.subjects:
        raise InputError(f"subject {clip.subject} is not among those of {card.name}")


def _check_joints(clip: RawClip, card: DatasetCard, coordinates: NDArray[np.float64]) -> None:
    if coordinates.ndim != 4:
        raise InputError(f"an array of shape {coordinates.shape}, not (C, T, V, M)")
    layout = card.skeleton
    if clip.axes != card.axes or len(clip.axes) != len(coordinates):
        raise InputError(
            f"its axes are {', '.join(clip.axes)}; the card's are {', '.join(card.axes)}"
        )
    if coordinates.shape[2] != len(layout.joints):
        raise InputError(
            f"{coordinates.shape[2]} joints, but layout {layout.name!r} of the card has "
            f"{len(layout.joints)}"
        )
    if clip.joints is not None and clip.joints != layout.joints:
        place = next(
            i
            for i, pair in enumerate(zip(clip.joints, layout.joints, strict=True))
            if pair[0] != pair[1]
        )
        raise InputError(
            f"joint {place} is {clip.joints[place]!r}, but {layout.joints[place]!r} in layout "
            f"{layout.name!r} of the card"
        )


def _checked_poses(poses: Poses, card: DatasetCard) -> NDArray[np.float32]:
    coordinates, frames = poses.coordinates, poses.coordinates.shape[1]
    if frames == 0:
        raise InputError("no frame" + (" is left after cleaning" if card.steps else ""))
    if np.isnan(coordinates).any():
        raise InputError(
            f"NaN coordinates in {_frames_with(np.isnan(coordinates))}; the cleaning step "
            "'fill-gaps' fills those of joints that other frames have"
        )
    if poses.frames_per_second != card.frames_per_second:
        raise InputError(
            f"{poses.frames_per_second:g} frames per second, but the card says "
            f"{card.frames_per_second:g}; the cleaning step 'same-rate' would change it"
        )
    bodies = coordinates.shape[3]
    if bodies > card.bodies:
        raise InputError(
            f"{bodies} bodies, but the card says {card.bodies}; the cleaning steps 'denoise' or "
            "'choose-bodies' would choose"
        )
    if not poses.present.any():
        raise InputError("nobody is in it")
    padded = np.zeros((*coordinates.shape[:3], card.bodies), dtype="<f4")
    with np.errstate(over="ignore"):
        padded[..., :bodies] = coordinates
    if not np.isfinite(padded).all():
        raise InputError("coordinates too large for float32")
    return padded


def _frames_with(where: NDArray[np.bool_]) -> str:
    frames: NDArray[np.bool_] = np.asarray(where.any(axis=(0, 2, 3)))
    return f"{int(frames.sum())} of {len(frames)} frames, first in frame {int(frames.argmax())}"


def _read(card: DatasetCard, raw: Raw, source: str, left_out: frozenset[str]) -> ReadSource:
    try:
        clips = raw.read(source)
    except InputError as error:
        name = PurePosixPath(source).name
        if any(name == clip or name.startswith(f"{clip}.") for clip in left_out):
            return ReadSource(source, [], [])
        return ReadSource(source, [], [Fault(source=source, reason=str(error))])
    prepared, faults = [], []
    for clip in clips:
        if clip.id in left_out:
            continue
        try:
            numbers = prepare_clip(clip, card)
        except InputError as error:
            name = source if len(clips) == 1 else f"{source}: {clip.id}"
            faults.append(Fault(source=name, reason=str(error)))
        else:
            prepared.append(PreparedClip(_without_coordinates(clip), numbers))
    return ReadSource(source, prepared, faults)


def _without_coordinates(clip: RawClip) -> RawClip:
    """What is known of a clip; its raw coordinates need not travel between processes."""
    return replace(clip, coordinates=np.empty((0, 0, 0, 0)))


# ------------------------------------------------------------------------------- several processes


@dataclass
class _Place:
    """What a worker process has at hand."""

    card: DatasetCard
    raw: Raw
    left_out: frozenset[str]


_place: _Place | None = None


def _read_in_processes(
    card: DatasetCard,
    raw: Path | None,
    sources: Sequence[str],
    left_out: frozenset[str],
    workers: int,
) -> Iterator[ReadSource]:
    pending: deque[Future[list[ReadSource]]] = deque()
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        workers,
        multiprocessing.get_context("spawn"),  # this process may have threads
        initializer=_open_place,
        initargs=(card, raw, left_out, os.getpid()),
    )
    try:
        for first in range(0, len(sources), BATCH):
            with _without_ctrl_c():  # the first ones start the processes
                pending.append(pool.submit(_read_batch, sources[first : first + BATCH]))
            if len(pending) >= AHEAD * workers:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
    except BrokenProcessPool:
        raise InputError(
            f"{raw}: a process that read it was killed, perhaps for want of memory; run the same "
            "command again, with fewer --workers"
        ) from None
    except BaseException:  # nobody waits any more for what is being read
        for process in set(multiprocessing.active_children()) - others:
            process.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Let Ctrl-C wait, and keep it for good from processes that are started meanwhile."""
    resource_tracker.ensure_running()  # now, for its start lets Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _open_place(card: DatasetCard, raw: Path | None, left_out: frozenset[str], parent: int) -> None:
    global _place  # a worker process has no other memory
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _place = _Place(card, get_reader(card.reader).open_raw(raw, card), left_out)


def _read_batch(sources: Sequence[str]) -> list[ReadSource]:
    assert _place is not None
    return [_read(_place.card, _place.raw, source, _place.left_out) for source in sources]


def _end_with(parent: int) -> None:
    """End this process when the one that started it is gone, which nobody else would tell it."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
