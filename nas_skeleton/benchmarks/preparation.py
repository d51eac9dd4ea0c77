"""Preparing a large data set: made-up raw NTU files, and the real command that reads them.

A few hundred `.skeleton` files are written and then linked under as many names as wanted, so that
tens of thousands of files need the disk of a few hundred. Card, reader, cleaning, store and command
are the real ones; only the movements are made up.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle, islice, product
from pathlib import Path

import numpy as np
import psutil
from numpy.random import Generator

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.header import Header
from nas_skeleton.skeletons.load import load_dataset_card
from nas_skeleton.skeletons.writing import HEADER

KINDS = 300
"""Different files; the others are links to them."""
FRAMES = (32, 84, 300)
"""Fewest, usual and most frames; the mean of NTU RGB+D 60 is about 84."""
TWO_BODIES, GHOST = 0.2, 0.05
"""Shares of clips with a second person, and with a short track of something else."""
WHOLE = {"ntu60": 56_578, "ntu120": 113_945}
"""Clips of the data sets that is projected to."""
LOOK_EVERY_S = 0.05
JOINTS = 25

Watch = Callable[[str, int], Callable[[], None]]
"""Called with what is counted and how many there are; what it returns is called after each."""


@dataclass(frozen=True)
class PreparationCost:
    """What preparing so many clips took.

    Attributes:
        clips: how many.
        raw_mb: size of their raw files, were they no links.
        workers: processes that read.
        seconds: of the clock, with start and end of the command.
        cpu_s: of processors, of all processes together.
        peak_mb: the highest sum of the memory of all processes (what they share counts once for
            each).
        store_mb: size of the prepared store.
        resumed: whether a preparation that was killed twice ended with the same bytes.
        resumed_s: what its three parts took together, None if it was not tried.
    """

    clips: int
    raw_mb: float
    workers: int
    seconds: float
    cpu_s: float
    peak_mb: float
    store_mb: float
    resumed: bool
    resumed_s: float

    @property
    def per_core(self) -> float:
        """Clips per second of a core."""
        return self.clips / self.cpu_s

    def projected_s(self, clips: int) -> float:
        """Seconds of the clock for so many clips on this machine."""
        return clips * self.seconds / self.clips

    def projected_mb(self, clips: int) -> float:
        """Size of their store."""
        return clips * self.store_mb / self.clips


def measure_preparation(clips: int, workers: int, watch: Watch) -> PreparationCost:
    """Write raw files, prepare them, and prepare them again with two `kill -9` in between.

    Raises:
        InputError: the command fails.
    """
    with tempfile.TemporaryDirectory(prefix=".nas_skeleton-", dir=Path.cwd()) as scratch:
        raw = Path(scratch, "raw")
        raw_bytes = write_raw(raw, clips, watch("raw files", clips))
        advance = watch("preparations", 2)
        undisturbed = Path(scratch, "undisturbed")
        seconds, cpu_s, peak = _prepare(raw, undisturbed, workers)
        advance()
        killed = Path(scratch, "killed")
        parts = [_prepare(raw, killed, workers, kill_after_s=seconds * 0.4)[0] for _ in range(2)]
        parts.append(_prepare(raw, killed, workers)[0])
        advance()
        headers = [Header.read(_store(folder) / HEADER) for folder in (undisturbed, killed)]
        return PreparationCost(
            clips=len(headers[0].clips),
            raw_mb=raw_bytes / 2**20,
            workers=workers,
            seconds=seconds,
            cpu_s=cpu_s,
            peak_mb=peak / 2**20,
            store_mb=sum(p.stat().st_size for p in _store(undisturbed).iterdir()) / 2**20,
            resumed=headers[0] == headers[1],
            resumed_s=sum(parts),
        )


def write_raw(folder: Path, clips: int, advance: Callable[[], None]) -> int:
    """Write so many raw files, named like clips of NTU RGB+D 60, and tell their bytes.

    Raises:
        InputError: more clips than names.
    """
    folder.mkdir()
    names = list(islice(_names(), clips))
    if len(names) < clips:
        raise InputError(f"--prepare {clips}: at most {len(names)}")
    generator = np.random.default_rng(0)
    sizes: list[int] = []
    for kind in range(min(KINDS, clips)):
        path = folder / names[kind]
        path.write_text(_skeleton_file(generator), encoding="ascii")
        sizes.append(path.stat().st_size)
        advance()
    for name, kind in zip(names[len(sizes) :], cycle(range(len(sizes))), strict=False):
        os.link(folder / names[kind], folder / name)
        sizes.append(sizes[kind])
        advance()
    return sum(sizes)


def _names() -> Iterator[str]:
    """File names that the card `ntu60` takes, without those it leaves out."""
    missing = load_dataset_card("ntu60").left_out_ids()
    for setup, subject, trial, camera, action in product(
        range(1, 18), range(1, 41), (1, 2), (1, 2, 3), range(1, 61)
    ):
        name = f"S{setup:03}C{camera:03}P{subject:03}R{trial:03}A{action:03}"
        if name not in missing:
            yield f"{name}.skeleton"


def _skeleton_file(generator: Generator) -> str:
    """A file in the format of NTU RGB+D: people who wander, now and then something else."""
    fewest, usual, most = FRAMES
    frames = int(np.clip(generator.gamma(6, usual / 6), fewest, most))
    spans = [(0, frames)]
    if generator.random() < TWO_BODIES:
        spans.append((0, frames))
    if generator.random() < GHOST:
        spans.append((frames // 2, frames // 2 + 8))
    tracks = [_track(generator, frames, number) for number in range(len(spans))]
    lines = [str(frames)]
    for frame in range(frames):
        present = [body for body, (first, end) in enumerate(spans) if first <= frame < end]
        lines.append(str(len(present)))
        for body in present:
            lines.append(f"7205759403793{body:04} 0 1 1 1 1 0 -0.1159187 0.1413209 2")
            lines += [str(JOINTS), *tracks[body][frame]]
    return "\n".join(lines) + "\n"


def _track(generator: Generator, frames: int, number: int) -> list[list[str]]:
    """Lines of joints of a body, frame by frame, with numbers as long as Kinect's."""
    body = generator.normal(scale=(0.2, 0.5, 0.1), size=(JOINTS, 3)) + np.array((number, 0, 3))
    moves = np.cumsum(generator.normal(scale=0.01, size=(frames, JOINTS, 3)), axis=0)
    other = generator.normal(scale=200, size=(frames, JOINTS, 8))
    values = np.concatenate([body + moves, other], axis=2)
    return [[" ".join(f"{value:.7g}" for value in row) + " 2" for row in frame] for frame in values]


def _store(folder: Path) -> Path:
    return folder / "datasets" / "ntu60" / "prepared"


def _prepare(
    raw: Path, folder: Path, workers: int, kill_after_s: float | None = None
) -> tuple[float, float, float]:
    """Run `data prepare` in `folder`; seconds of the clock and of processors, highest memory."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "nas_skeleton.data", "prepare", "ntu60"]
    before = os.times()
    started = time.perf_counter()
    peak = 0.0
    with ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(
                [*command, f"--raw={raw}", f"--workers={workers}"],
                cwd=folder,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
        while process.poll() is None:
            if kill_after_s is not None and time.perf_counter() - started > kill_after_s:
                os.killpg(process.pid, signal.SIGKILL)
                break
            peak = max(peak, _memory(process.pid))
            time.sleep(LOOK_EVERY_S)
        _, error = process.communicate()
    seconds, after = time.perf_counter() - started, os.times()
    if kill_after_s is None and process.returncode != 0:
        raise InputError(f"data prepare failed: {' '.join(error.split())[-500:]}")
    own = (after.children_user, after.children_system)
    return seconds, sum(own) - before.children_user - before.children_system, peak


def _memory(pid: int) -> float:
    """Bytes of a process and those below it."""
    total = 0.0
    try:
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            total += each.memory_info().rss
    except psutil.Error:  # one of them ended meanwhile
        pass
    return total
