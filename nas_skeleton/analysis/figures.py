"""Figures: a cell as a graph, one picture of a run, and which classes are taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nas_skeleton.errors import InputError
from nas_skeleton.results.leaderboard import Leaderboard
from nas_skeleton.spaces import Cell, SearchSpace, Space
from nas_skeleton.spaces.liveness import Role, roles

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, which the colour-blind can tell apart; line styles for print in grey.
STYLE = {
    "skip_connect": ("#000000", "-", "skip"),
    "nor_conv_1x1": ("#E69F00", "-", "conv 1x1"),
    "nor_conv_3x3": ("#0072B2", "-", "conv 3x3"),
    "avg_pool_3x3": ("#009E73", "--", "avg pool"),
}
FORMATS = (".png", ".svg", ".pdf")
WRITTEN = 40  # classes up to which numbers stand in a confusion matrix
# Node 2 inside the triangle of the others: so no two of the straight edges cross.
_NODES = ((0.0, 0.0), (1.5, 1.0), (1.5, 0.37), (3.0, 0.0))


def draw_cell(axes: Axes, cell: Cell, title: str = "") -> None:
    """Draw a cell from input (left) to output (right); edges that do nothing are left out.

    A dotted grey edge is a convolution of a zero map, which only adds a trainable constant.
    """
    from matplotlib.patches import FancyArrowPatch

    for (source, target, name), role in zip(cell.named_edges(), roles(cell), strict=True):
        if role is Role.DEAD:
            continue
        colour, line, label = STYLE[name]
        if role is Role.BIAS:
            colour, line, label = "#999999", ":", "constant"
        arrow = FancyArrowPatch(
            _NODES[source],
            _NODES[target],
            arrowstyle="-|>",
            mutation_scale=14,
            shrinkA=11,
            shrinkB=11,
            color=colour,
            linestyle=line,
            linewidth=2,
        )
        axes.add_patch(arrow)
        x = 0.5 * (_NODES[source][0] + _NODES[target][0])
        y = 0.5 * (_NODES[source][1] + _NODES[target][1])
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
        axes.text(x, y, label, ha="center", va="center", color=colour, fontsize=8, bbox=box)
    for node, (x, y) in enumerate(_NODES):
        axes.plot(x, y, "o", markersize=20, color="white", markeredgecolor="black", zorder=3)
        axes.text(x, y, ("in", "1", "2", "out")[node], ha="center", va="center", fontsize=8)
    axes.set(xlim=(-0.35, 3.35), ylim=(-0.25, 1.25), title=title)
    axes.axis("off")


def save_run_figure(board: Leaderboard, space: SearchSpace, path: Path, title: str = "") -> None:
    """Draw accuracy against MACs for all architectures of a run, and its best cell.

    Raises:
        InputError: nothing to draw yet, or a file type other than `FORMATS`.
    """
    check_format(path)
    if board.table.empty:
        raise InputError(f"{path}: nothing to draw, no training of this run is finished")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    scatter, drawing = figure.subplots(1, 2, width_ratios=[1.25, 1])
    figure.suptitle(title, fontsize="medium")
    split = "valid" if board.ranked_by else "test"
    _draw_accuracies(scatter, board, split)
    if board.ranked_by and isinstance(space, Space):
        best = board.table.iloc[0]
        index = int(best["arch_index"])
        draw_cell(drawing, space.cell(index), f"best by validation (circled): #{index}")
    else:
        drawing.axis("off")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def save_confusion_figure(
    confusion: NDArray[np.int64], classes: Sequence[str], path: Path, title: str = ""
) -> None:
    """Draw a confusion matrix: a row for each true class, as shares of its clips.

    Raises:
        InputError: a file type other than `FORMATS`.
    """
    check_format(path)
    from matplotlib.figure import Figure

    shares = 100 * confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    side = min(4 + 0.22 * len(classes), 24)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
    places, size = range(len(classes)), 8 if len(classes) <= 40 else 5
    axes.set_xticks(places, classes, rotation=90, fontsize=size)
    axes.set_yticks(places, classes, fontsize=size)
    axes.set(xlabel="given", ylabel="true", title=title)
    if len(classes) <= WRITTEN:
        for row, column in zip(*np.nonzero(confusion), strict=True):
            colour = "white" if shares[row, column] > 60 else "black"
            text = str(confusion[row, column])
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=6)
    figure.colorbar(image, ax=axes, shrink=0.7, label="% of the class's clips")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def check_format(path: Path) -> None:
    """Nothing, if `path` is a picture that can be drawn.

    Raises:
        InputError: a file type other than `FORMATS`.
    """
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"{path}: unknown picture type; use one of {', '.join(FORMATS)}")


def _draw_accuracies(axes: Axes, board: Leaderboard, split: str) -> None:
    table = board.table
    percent = 100 * table[split]
    errors = [100 * (noise or 0.0) for noise in board.noise(split)]  # no bar where it is unknown
    axes.errorbar(
        table["macs"] / 1e6,
        percent,
        yerr=errors,
        fmt="o",
        markersize=4,
        color="#0072B2",
        ecolor="#0072B240",
        elinewidth=1,
    )
    if board.ranked_by:
        best = table.iloc[0]
        axes.plot(
            best["macs"] / 1e6, 100 * best[split], "o", markersize=12, mfc="none", mec="#D55E00"
        )
    what = "s.d. over seeds" if board.max_seeds > 1 else "binomial s.e., one seed"
    name = "validation" if split == "valid" else "test"
    axes.set(
        xlabel="MACs per clip (millions)",
        ylabel=f"{name} top-1 (%)",
        title=f"{len(table)} architectures (bars: {what})",
    )
    axes.grid(alpha=0.3)
