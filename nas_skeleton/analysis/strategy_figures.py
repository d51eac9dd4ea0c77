"""Figures of a comparison of strategies: their regret as they go, and their mean ranks."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nas_skeleton.analysis.ranking import Ranking, cliques
from nas_skeleton.analysis.style import check_format

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, then the same with other lines.
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LINES = ("-", "--", ":")
WIDTH = 90  # letters of a title in one line
LEAST = 0.01  # points: below, a logarithmic axis is straight, so that 0 has a place


def save_courses(
    regrets: Mapping[str, NDArray[np.float64]],
    grid: NDArray[np.float64],
    path: Path,
    *,
    axis: str,
    title: str,
) -> None:
    """Draw the median regret of each strategy, and the band of the middle half.

    Args:
        regrets: by strategy, `(searches, points)`, shares; NaN where a search had found nothing.
        grid: the points.
        path: .png, .svg or .pdf.
        axis: what the points are.
        title: of the picture.

    Raises:
        InputError: another type of file.
    """
    check_format(path)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    for at, (name, values) in enumerate(regrets.items()):
        known = ~np.isnan(values).any(axis=0)  # before, it would be the median of the quick ones
        low, median, high = 100 * np.quantile(values[:, known], [0.25, 0.5, 0.75], axis=0)
        colour, line = COLOURS[at % len(COLOURS)], LINES[at // len(COLOURS) % len(LINES)]
        axes.fill_between(grid[known], low, high, color=colour, alpha=0.12, linewidth=0)
        axes.plot(grid[known], median, line, color=colour, linewidth=1.8, label=name)
    axes.set_yscale("symlog", linthresh=LEAST, linscale=0.3)
    axes.set(xlabel=axis, ylabel="test regret (points): median, middle half")
    axes.set_title("\n".join(textwrap.wrap(title, WIDTH)), fontsize=10, loc="left")
    axes.set_xlim(0, float(grid[-1]))
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    figure.savefig(path, dpi=150)


def save_critical_differences(ranking: Ranking, path: Path, title: str) -> None:
    """Draw mean ranks on a line, and bars over strategies that cannot be told apart (Demsar 2006).

    Raises:
        InputError: another type of file than `style.FORMATS`.
    """
    check_format(path)
    from matplotlib.figure import Figure

    assert ranking.critical_difference is not None
    ranks = [standing.rank for standing in ranking.standings]
    names = [standing.strategy for standing in ranking.standings]
    rows = -(-len(names) // 2)
    figure = Figure(figsize=(9, 1.7 + 0.33 * rows), layout="constrained")
    axes = figure.subplots()
    groups = cliques(ranks, ranking.critical_difference)
    _rank_axis(axes, len(names), ranking.critical_difference)
    for at, (first, last) in enumerate(groups):
        height = -0.35 - 0.3 * at
        axes.plot([ranks[first] - 0.03, ranks[last] + 0.03], [height] * 2, "k", linewidth=4)
    below = -0.35 - 0.3 * len(groups)
    for at, (name, mean_rank) in enumerate(zip(names, ranks, strict=True)):
        left = at < rows
        height = below - 0.55 * (at if left else len(names) - 1 - at) - 0.3
        end = 0.7 if left else len(names) + 0.3
        axes.plot([mean_rank, mean_rank, end], [0, height, height], color="#555555", linewidth=0.8)
        text = f"{name}  {mean_rank:.2f}" if left else f"{mean_rank:.2f}  {name}"
        axes.text(end, height, f" {text} ", ha="right" if left else "left", va="center", fontsize=9)
    lines = [line for part in title.splitlines() for line in textwrap.wrap(part, WIDTH)]
    axes.set_title("\n".join(lines), fontsize=10)
    axes.set_xlim(1 - 0.45 * len(names), len(names) * 1.45)
    axes.set_ylim(below - 0.55 * rows - 0.2, 1.3)
    axes.axis("off")
    figure.savefig(path, dpi=150)


def _rank_axis(axes: Axes, most: int, difference: float) -> None:
    """A line from rank 1 to the worst, and the critical difference as a bracket above it."""
    axes.plot([1, most], [0, 0], "k", linewidth=1)
    for place in range(1, most + 1):
        axes.plot([place, place], [0, 0.12], "k", linewidth=1)
        axes.text(place, 0.2, str(place), ha="center", va="bottom", fontsize=9)
    ends: Sequence[float] = (1, 1 + difference)
    axes.plot(ends, [0.85, 0.85], "k", linewidth=1)
    for end in ends:
        axes.plot([end, end], [0.78, 0.92], "k", linewidth=1)
    text = f"critical difference {difference:.2f}"
    axes.text(1 + difference + 0.1, 0.85, text, ha="left", va="center", fontsize=9)
