"""Progress on standard error: a bar with an ETA on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from nas_skeleton.cores import usable_cores

if TYPE_CHECKING:
    from nas_skeleton.skeletons.store import Dataset

# Between two lines in a log: often at first, and no thousands of lines a day.
SECONDS_BETWEEN_LINES, SHARE_BETWEEN_LINES, MOST_BETWEEN_LINES = 10.0, 1 / 60, 600.0


def duration(seconds: float) -> str:
    """Seconds as "42 s", "6 min 10 s", "3 h 05 min" or "2 d 4 h"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole // 60 % 60:02d} min"
    return f"{whole // 86400} d {whole // 3600 % 24} h"


def between_lines(elapsed: float) -> float:
    """Seconds between two lines in a log, after so many."""
    return min(MOST_BETWEEN_LINES, max(SECONDS_BETWEEN_LINES, SHARE_BETWEEN_LINES * elapsed))


class Progress:
    """Counts finished units of work out of `total`, which may take different times.

    Args:
        what: what is counted, for the bar and the lines, such as "trainings".
        total: number of units.
        expected: seconds of work expected in all, any scale; the ETA goes by the share that is
            done. None: every unit counts the same.
        under_way: how much of that work is usually begun but not finished: half a unit for each
            of several workers.
    """

    def __init__(
        self, what: str, total: int, expected: float | None = None, under_way: float = 0.0
    ) -> None:
        self.what = what
        self.total = total
        self.expected = expected or float(total)
        self.under_way = under_way
        self.done = 0
        self.worked = 0.0
        self._started = self._said = time.monotonic()
        self._bar: Any = None

        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=total,
                desc=what,
                dynamic_ncols=True,
                bar_format="{desc} {percentage:3.0f} % |{bar}| {n_fmt}/{total_fmt}{postfix}",
            )

    def close(self) -> None:
        """Leave the terminal in order."""
        if self._bar is not None:
            self._bar.close()

    def say(self, line: str) -> None:
        """Print a line that stays, above the bar if there is one."""
        if self._bar is not None:
            self._bar.clear()
        click.echo(line, err=True)
        if self._bar is not None:
            self._bar.refresh()

    def skip(self, units: int) -> None:
        """The first `units` were done before; they took no time now."""
        self.done += units
        self.expected -= units
        if self._bar is not None:
            self._bar.update(units)

    def advance(self, expected: float = 1.0, note: str = "", units: int = 1) -> None:
        """So many more units are done, expected to take `expected`; `note` stands beside them."""
        self.done += units
        self.worked += expected
        elapsed = time.monotonic() - self._started
        reached = min(self.worked + self.under_way, self.expected)
        left = elapsed * (self.expected / reached - 1) if self.done < self.total else 0.0
        times = f"{duration(elapsed)} gone, about {duration(left)} left"
        if self._bar is not None:
            self._bar.set_postfix_str("  ".join(filter(None, (times, note))), refresh=False)
            self._bar.update(units)
        elif self.done >= self.total or time.monotonic() - self._said >= between_lines(elapsed):
            self._said = time.monotonic()
            text = f"{self.done}/{self.total} {self.what}, {times}"
            click.echo("; ".join(filter(None, (text, note))), err=True)


class Bytes:
    """Shows how far a download of `size` bytes is; call it with the bytes that are there."""

    def __init__(self, what: str, size: int) -> None:
        self._what = what
        self._size = size
        self._started = self._said = time.monotonic()
        self._bar: Any = None

    def __enter__(self) -> Bytes:
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=self._size, desc=self._what, unit="B", unit_scale=True, dynamic_ncols=True
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, done: int, _total: int | None = None) -> None:
        now = time.monotonic()
        if self._bar is not None:
            self._bar.n = done
            self._bar.refresh()
        elif done >= self._size or now - self._said >= between_lines(now - self._started):
            self._said = now
            megabytes = f"{done / 1e6:.1f} of {self._size / 1e6:.1f} MB"
            click.echo(f"{self._what}: {megabytes}, {100 * done / self._size:.0f} %", err=True)


def open_dataset(name: str, *, to_train: bool = True) -> Dataset:
    """Open a data set; where it must be prepared first, say so and show progress.

    To train on it, also say if it is not complete.
    """
    from nas_skeleton.skeletons.store import load_dataset

    with preparing(name) as progress:
        dataset = load_dataset(
            name,
            progress=progress,
            announce=lambda line: click.echo(line, err=True),
            workers=usable_cores(),
        )
    for line in incomplete(dataset) if to_train else ():
        click.echo(line, err=True)
    return dataset


def incomplete(dataset: Dataset) -> Iterator[str]:
    """What a user should know before they compare numbers with other people's."""
    expected, name = dataset.card.expected.clips, dataset.name
    if expected is not None and len(dataset) != expected:
        yield (
            f"data set {name!r} has {len(dataset):,} clips here, {expected:,} in full: its splits "
            f"are not the published ones; see `python -m nas_skeleton.data check {name}`"
        )


@contextmanager
def preparing(name: str) -> Iterator[Callable[[int, int], None]]:
    """A callback `(clips done, clips in all)` for `skeletons.store.prepare` that shows progress.

    Nothing is shown if it is never called.
    """
    shown: Progress | None = None

    def advance(done: int, total: int) -> None:
        nonlocal shown
        if shown is None:
            shown = Progress(f"clips of {name}", total)
            if done > 1:  # the rest of an interrupted one
                shown.skip(done)
                return
        shown.advance()

    try:
        yield advance
    finally:
        if shown is not None:
            shown.close()
