"""One picture of a run: accuracy against cost for all its architectures, and its best cell."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nas_skeleton.analysis.cell_figures import draw_cell
from nas_skeleton.analysis.style import GROUPS, check_format, save_figure
from nas_skeleton.errors import InputError
from nas_skeleton.results.leaderboard import Leaderboard
from nas_skeleton.spaces import SearchSpace, Space

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, RED = (GROUPS[at].colour for at in (1, 2))


def save_run_figure(board: Leaderboard, space: SearchSpace, path: Path, title: str = "") -> None:
    """Draw accuracy against MACs for all architectures of a run, and its best cell.

    Raises:
        InputError: nothing to draw yet, or a file type other than `style.FORMATS`.
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
    save_figure(figure, path)


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
        color=BLUE,
        ecolor=f"{BLUE}40",
        elinewidth=1,
    )
    if board.ranked_by:
        best = table.iloc[0]
        axes.plot(best["macs"] / 1e6, 100 * best[split], "o", markersize=12, mfc="none", mec=RED)
    what = "s.d. over seeds" if board.max_seeds > 1 else "binomial s.e., one seed"
    name = "validation" if split == "valid" else "test"
    axes.set(
        xlabel="MACs per clip (millions)",
        ylabel=f"{name} top-1 (%)",
        title=f"{len(table)} architectures (bars: {what})",
    )
    axes.grid(alpha=0.3)
