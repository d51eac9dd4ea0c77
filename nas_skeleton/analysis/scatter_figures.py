"""Clouds of cells: accuracy against what it costs, and one table, seed or stem against another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas_skeleton.analysis.agreement import Agreement, kendall
from nas_skeleton.analysis.style import (
    COLUMN,
    GROUPS,
    INK,
    NOTE,
    SEVERAL,
    TICK,
    checked,
    name,
    on,
    plain_log,
)
from nas_skeleton.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CLOUD, _FRONT = GROUPS[1].colour, GROUPS[2].colour


def pareto_front(costs: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which cells no other beats: none costs no more and reaches more, or costs less for as much.

    Returns:
        `(cells,)`; of cells equal in both, all.
    """
    order = np.lexsort((-values, costs))
    best_so_far = np.maximum.accumulate(values[order])
    cheaper = np.append(-np.inf, best_so_far[:-1])
    front = np.zeros(len(costs), bool)
    front[order] = values[order] > cheaper
    chosen = set(zip(costs[front].tolist(), values[front].tolist(), strict=True))
    return np.array([pair in chosen for pair in zip(costs.tolist(), values.tolist(), strict=True)])


def accuracy_against_cost(
    table: pd.DataFrame,
    cost: str,
    value: str,
    *,
    xlabel: str,
    ylabel: str = "test top-1 (%)",
    noise: float | None = None,
    title: str = "",
    axes: Axes | None = None,
) -> Figure:
    """Draw cells by cost and accuracy, and the front of those that no other beats.

    Args:
        table: a row per cell, with the two columns; rows without both are left out.
        cost: column of costs, above 0: the axis is logarithmic.
        value: column of accuracies, drawn as they are: percent, if the label says so.
        xlabel: what the costs are, with their unit.
        ylabel: what the accuracies are, with their unit.
        noise: standard deviation of one accuracy, shown as a bar in the corner.
        title: above.
        axes: where to draw; a new figure, if not given.

    Raises:
        InputError: no rows with both, a column missing, or a cost of 0 or less.
    """
    known = checked(checked(table, [cost, value]).dropna(subset=[cost, value]), [cost, value])
    costs, values = known[cost].to_numpy(float), known[value].to_numpy(float)
    if costs.min() <= 0:
        raise InputError(f"cannot draw: a {cost} of {costs.min():g}, costs must be above 0")
    figure, axes = on(axes, COLUMN, 2.5)
    axes.set_xscale("log")
    _cloud(axes, costs, values, _CLOUD)
    front = pareto_front(costs, values)
    order = np.lexsort((values[front], costs[front]))
    x, y = costs[front][order], values[front][order]
    count = int(front.sum())
    label = f"Pareto front ({count} of {len(known):,})"
    axes.plot(x, y, drawstyle="steps-post", color=_FRONT, linewidth=1.0, zorder=3)
    axes.plot(x, y, "^", color=_FRONT, markersize=4, mec="white", mew=0.4, label=label, zorder=4)
    if noise is not None:
        _noise(axes, None, noise, (0.06, 0.22))
    plain_log(axes)
    axes.legend(
        loc="lower right", edgecolor="none", framealpha=0.85, fontsize=TICK, handletextpad=0.2
    )
    name(axes, x=xlabel, y=ylabel, title=title)
    return figure


def two_rankings(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    *,
    xlabel: str,
    ylabel: str,
    agreement: Agreement | None = None,
    noise: tuple[float, float] | None = None,
    same: bool = False,
    title: str = "",
    axes: Axes | None = None,
) -> Figure:
    """Draw what the same cells reach in two tables, seeds or stems, and Kendall's tau-b.

    Args:
        x: `(cells,)`, drawn as they are; cells without both are left out.
        y: `(cells,)`, of the same cells.
        xlabel: what they are, with their unit.
        ylabel: likewise.
        agreement: tau and its interval; without, tau of the cells drawn.
        noise: standard deviations of one x and of one y, shown as a cross in the corner.
        same: whether both are the same measure: the axes are the same then, with their diagonal.
        title: above.
        axes: where to draw; a new figure, if not given.

    Raises:
        InputError: not as many x as y, or no cell with both.
    """
    if len(x) != len(y):
        raise InputError(f"cannot draw: {len(x)} cells against {len(y)}; give the same cells twice")
    both = np.isfinite(x) & np.isfinite(y)
    if not both.any():
        raise InputError("nothing to draw: no cell has both numbers")
    figure, axes = on(axes, COLUMN, COLUMN)
    if same:
        ends = np.concatenate([x[both], y[both]])
        margin = 0.04 * (ends.max() - ends.min()) or 0.5
        limits = (float(ends.min() - margin), float(ends.max() + margin))
        axes.plot(limits, limits, color=INK, linewidth=0.6, linestyle=(0, (4, 3)), zorder=1)
        axes.set(xlim=limits, ylim=limits, aspect="equal")
    _cloud(axes, x[both], y[both], _CLOUD)
    if agreement is None:
        found = f"τ = {kendall(x[both], y[both]):.2f}"
    else:
        found = f"τ = {agreement.tau:.2f} [{agreement.low:.2f}, {agreement.high:.2f}]"
    text = f"{found}\n{int(both.sum()):,} cells"
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5}
    axes.text(
        0.03, 0.97, text, va="top", fontsize=TICK, transform=axes.transAxes, bbox=box, zorder=5
    )
    if noise is not None:
        _noise(axes, *noise, (0.62, 0.1))
    name(axes, x=xlabel, y=ylabel, title=title)
    return figure


def _cloud(axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64], colour: str) -> None:
    """Points, the smaller and paler the more there are; thousands become one picture."""
    many = len(x) / SEVERAL
    axes.scatter(
        x,
        y,
        s=float(np.clip(6 / max(many, 0.35), 1.5, 14)),
        color=colour,
        alpha=float(np.clip(0.45 / max(many, 0.6) ** 0.5, 0.12, 0.6)),
        linewidths=0,
        rasterized=len(x) > SEVERAL,
        zorder=2,
    )


def _noise(axes: Axes, across: float | None, along: float, place: tuple[float, float]) -> None:
    """One standard deviation to each side, at a place of the axes, in the units of the data."""
    limits = (*axes.get_xlim(), *axes.get_ylim())
    x, y = axes.transData.inverted().transform(axes.transAxes.transform(place))
    axes.errorbar(x, y, along, across, ecolor=INK, elinewidth=1.0, capsize=1.5, capthick=1.0)
    axes.axis(limits)
    text = "± 1 s.d. of one training"
    axes.annotate(text, (x, y), (5, 4), textcoords="offset points", fontsize=NOTE, color=INK)
