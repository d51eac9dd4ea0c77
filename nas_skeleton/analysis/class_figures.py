"""Confusion by action class: the whole matrix, and the pairs most often taken for each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nas_skeleton.analysis.style import (
    COLUMN,
    GROUPS,
    LABEL,
    NOTE,
    PAGE,
    TICK,
    check_format,
    name,
    on,
    save_figure,
)
from nas_skeleton.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WRITTEN = 40  # classes up to which numbers stand in a confusion matrix
LEAST_ROW = 0.11  # inches: a class's row, for letters of five points


def confusion(
    counts: NDArray[np.int64],
    classes: Sequence[str],
    *,
    title: str = "",
    axes: Axes | None = None,
) -> Figure:
    """Draw a confusion matrix: a row for each true class, as shares of its clips, numbers in it.

    As wide as a page; from about forty classes on wider, so that their names can be read.

    Args:
        counts: `(classes, classes)` clips, a row for each true class.
        classes: their names.
        title: above.
        axes: where to draw; a new figure, if not given.

    Raises:
        InputError: no class, or not a row and a column for each.
    """
    _check(counts, classes)
    side = max(PAGE, LEAST_ROW * len(classes) + 2.2)
    figure, axes = on(axes, side, 0.88 * side)
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
    places, size = range(len(classes)), TICK if len(classes) <= 30 else 5
    axes.set_xticks(places, classes, rotation=90, fontsize=size)
    axes.set_yticks(places, classes, fontsize=size)
    axes.grid(visible=False)
    name(axes, x="given class", y="true class", title=title)
    if len(classes) <= WRITTEN:
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "white" if shares[row, column] > 60 else "black"
            text = str(counts[row, column])
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=5)
    bar = figure.colorbar(image, ax=axes, shrink=0.6, aspect=30, pad=0.01)
    bar.set_label("% of the class's clips", fontsize=LABEL)
    bar.ax.tick_params(labelsize=TICK)
    bar.outline.set_visible(False)
    return figure


def confused_pairs(
    counts: NDArray[np.int64],
    classes: Sequence[str],
    *,
    most: int = 12,
    title: str = "",
    axes: Axes | None = None,
) -> Figure:
    """Draw the classes most often taken for another one, as shares of their clips.

    Args:
        counts: `(classes, classes)` clips, a row for each true class.
        classes: their names.
        most: pairs drawn at most; the order of the classes decides between equals.
        title: above.
        axes: where to draw; a new figure, if not given.

    Raises:
        InputError: no class, or not a row and a column for each, or no clip is taken for another.
    """
    _check(counts, classes)
    clips = counts.sum(axis=1, keepdims=True)
    shares = 100 * counts / np.maximum(clips, 1)
    np.fill_diagonal(shares, 0.0)
    order = np.argsort(-shares, axis=None, kind="stable")[:most]
    rows, columns = np.unravel_index(order[shares.flat[order] > 0], shares.shape)
    if not len(rows):
        raise InputError("nothing to draw: no clip is taken for one of another class")
    figure, axes = on(axes, COLUMN, 0.5 + 0.17 * len(rows))
    drawn = shares[rows, columns]
    axes.barh(range(len(rows)), drawn, height=0.62, color=GROUPS[1].colour)
    for at, (row, column) in enumerate(zip(rows, columns, strict=True)):
        text = f" {counts[row, column]:,} of {clips[row, 0]:,}"
        axes.text(drawn[at], at, text, va="center", fontsize=NOTE)
    pairs = [
        f"{classes[row]} → {classes[column]}" for row, column in zip(rows, columns, strict=True)
    ]
    axes.set_yticks(range(len(rows)), pairs)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0, 1.3 * drawn.max())
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    name(axes, x="% of the true class's clips", title=title)
    return figure


def save_confusion_figure(
    counts: NDArray[np.int64], classes: Sequence[str], path: Path, title: str = ""
) -> None:
    """Write what `confusion` draws.

    Raises:
        InputError: a file type other than `style.FORMATS`.
    """
    check_format(path)
    save_figure(confusion(counts, classes, title=title), path)


def _check(counts: NDArray[np.int64], classes: Sequence[str]) -> None:
    if not len(classes):
        raise InputError("nothing to draw: no classes")
    if counts.shape != (len(classes), len(classes)):
        raise InputError(
            f"cannot draw: {len(classes)} classes need as many rows and columns, "
            f"the matrix has {' x '.join(map(str, counts.shape))}"
        )
