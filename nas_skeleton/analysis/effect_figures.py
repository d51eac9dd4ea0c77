"""Effects and ratios with their intervals: operations on edges, and any list of things."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from nas_skeleton.analysis.style import (
    COLUMN,
    GROUPS,
    INK,
    LABEL,
    NOTE,
    OPERATIONS,
    PAGE,
    SIGNED_MAP,
    TICK,
    Look,
    checked,
    name,
    on,
    paper_figure,
    plain_log,
    signed,
)
from nas_skeleton.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INTERVAL = ("value", "low", "high")


def effect_map(
    table: pd.DataFrame,
    *,
    label: str = "effect (points)",
    title: str = "",
    axes: Axes | None = None,
) -> Figure:
    """Draw effects of operations on edges as a map; dark is below 0, light above, grey is 0.

    Numbers in brackets are those whose interval holds 0.

    Args:
        table: a row per edge and operation: `edge`, `operation` (NAS-Bench-201's names), `value`
            and, where they are known, `low` and `high`. Edges in the order in which they come.
        label: what the numbers are, with their unit.
        title: above.
        axes: where to draw; a new figure, if not given.

    Raises:
        InputError: no rows, a column missing, an unknown operation, or a pair twice.
    """
    values, edges, operations = _by_operation(table, "value")
    figure, axes = on(axes, COLUMN, 2.1)
    most = float(np.nanmax(np.abs(values))) or 1.0
    image = axes.imshow(values, cmap=SIGNED_MAP, vmin=-most, vmax=most, aspect="auto")
    uncertain = np.zeros(values.shape, bool)
    if {"low", "high"} <= set(table):
        low, high = (_by_operation(table, column)[0] for column in ("low", "high"))
        uncertain = (low <= 0) & (high >= 0)
    for (row, column), value in np.ndenumerate(values):
        if np.isnan(value):
            continue
        text = f"({signed(value)})" if uncertain[row, column] else signed(value)
        colour = "white" if value < 0.05 * most else "black"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=NOTE)
    axes.set_xticks(range(len(edges)), edges)
    axes.set_yticks(range(len(operations)), [OPERATIONS[op].label for op in operations])
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    brackets = "edge (in brackets: interval holds 0)" if uncertain.any() else "edge"
    name(axes, x=brackets, title=title)
    bar = figure.colorbar(image, ax=axes, pad=0.02, aspect=25)
    bar.set_label(label, fontsize=LABEL)
    bar.ax.tick_params(labelsize=TICK, width=0.6, length=2)
    bar.outline.set_visible(False)
    return figure


def operation_effects(
    table: pd.DataFrame, *, label: str = "effect (points)", reference: float = 0.0
) -> Figure:
    """Draw effects of operations as dots with intervals, a panel for each edge.

    Args:
        table: a row per edge and operation: `edge`, `operation` (NAS-Bench-201's names), `value`,
            `low` and `high`. Edges in the order in which they come, three in a row.
        label: what the numbers are, with their unit.
        reference: where the line of no effect is.

    Raises:
        InputError: no rows, a column missing, an unknown operation, or a pair twice.
    """
    checked(table, ["edge", "operation", *_INTERVAL])
    (values, edges, operations), low, high = (
        _by_operation(table, "value"),
        *(_by_operation(table, column)[0] for column in ("low", "high")),
    )
    left, right = _limits(table, False, reference)
    columns = min(3, len(edges))
    rows = -(-len(edges) // columns)
    figure, panels = paper_figure(PAGE, 1.2 * rows + 0.3, rows=rows, columns=columns)
    for at, (edge, axes) in enumerate(zip(edges, panels, strict=False)):
        axes.set_xlim(left, right)
        axes.axvline(reference, color=INK, linewidth=0.8, zorder=1)
        for row, operation in enumerate(operations):
            ends = (low[row, at], values[row, at], high[row, at])
            _dot(axes, ends, row, OPERATIONS[operation])
        names = [OPERATIONS[op].label for op in operations] if at % columns == 0 else []
        axes.set_yticks(range(len(operations)), names or [""] * len(operations))
        axes.set_ylim(len(operations) - 0.5, -0.5)
        axes.tick_params(labelbottom=at + columns >= len(edges))
        name(axes, title=edge)
    figure.supxlabel(label, fontsize=LABEL)
    for axes in panels[len(edges) :]:
        axes.axis("off")
    return figure


def dots(
    table: pd.DataFrame,
    *,
    xlabel: str,
    reference: float | None = None,
    log: bool = False,
    written: bool = False,
    title: str = "",
    axes: Axes | None = None,
) -> Figure:
    """Draw a list of things, each as a dot with its interval, from top to bottom.

    Args:
        table: `label`, `value`, `low`, `high`; where there is a `group` (five at most), the dots of
            one label stand below each other in their group's colour; where there is a column
            `significant`, dots without are hollow. Intervals may be infinite: they end in an arrow.
        xlabel: what the numbers are, with their unit.
        reference: where to draw a line of no effect.
        log: whether the axis is logarithmic.
        written: whether the numbers stand at the right; not with groups.
        title: above.
        axes: where to draw; a new figure, high enough for all rows, if not given.

    Raises:
        InputError: no rows, a column missing, more groups than colours, or no finite number.
    """
    checked(table, ["label", *_INTERVAL])
    grouped = "group" in table
    if grouped and written:
        raise InputError("cannot draw: numbers stand at the right of single dots, not of groups")
    if log and (table["value"] < 0).any():
        raise InputError("cannot draw: a value below 0 has no place on a logarithmic axis")
    labels = list(dict.fromkeys(table["label"]))
    groups = list(dict.fromkeys(table["group"])) if grouped else [None]
    if len(groups) > len(GROUPS):
        raise InputError(
            f"cannot draw {len(groups)} groups: at most {len(GROUPS)} can be told apart"
        )
    row_height = max(0.19, 0.1 * len(groups) + 0.06)
    figure, axes = on(axes, COLUMN, 0.55 + row_height * len(labels) + 0.2 * grouped)
    if log:
        axes.set_xscale("log")
    left, right = _limits(table, log, reference)
    axes.set_xlim(left, right)
    if reference is not None:
        axes.axvline(reference, color=INK, linewidth=0.8, zorder=1)
    for row in table.to_dict("records"):
        group = groups.index(row["group"]) if grouped else 1
        shift = 0.7 * ((group + 0.5) / len(groups) - 0.5) if grouped else 0.0
        y = labels.index(row["label"]) + shift
        ends = (row["low"], row["value"], row["high"])
        _dot(axes, ends, y, GROUPS[group], filled=bool(row.get("significant", True)))
        if written and not grouped:
            text = f"{ends[1]:.2f} [{ends[0]:.2f}, {ends[2]:.2f}]"
            at = axes.get_yaxis_transform()
            axes.text(1.02, y, text, va="center", fontsize=NOTE, transform=at)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    name(axes, x=xlabel)
    axes.set_title(title, fontsize=LABEL, loc="left", pad=17 if grouped else None)
    if log:
        plain_log(axes)
    if grouped:
        _legend(axes, [str(group) for group in groups])
    return figure


def odds_ratios(
    table: pd.DataFrame,
    *,
    xlabel: str = "odds ratio [95 % interval]",
    title: str = "",
    axes: Axes | None = None,
) -> Figure:
    """Draw how much more often patterns are found in one group of cells than in the others.

    Args:
        table: `label` (the pattern), `value`, `low`, `high` (ratios; 0 and infinity are drawn as
            arrows) and, if known, `significant` after correction: others are hollow.
        xlabel: what the numbers are.
        title: above.
        axes: where to draw; a new figure, high enough for all rows, if not given.

    Raises:
        InputError: no rows, a column missing, or no finite number.
    """
    return dots(table, xlabel=xlabel, reference=1.0, log=True, written=True, title=title, axes=axes)


def _by_operation(table: pd.DataFrame, column: str) -> tuple[np.ndarray, list[str], list[str]]:
    """Numbers `(operations, edges)`, NaN where there is none; the edges and the operations."""
    checked(table, ["edge", "operation", column])
    unknown = sorted(set(table["operation"]) - set(OPERATIONS))
    if unknown:
        raise InputError(
            f"cannot draw: unknown operation {unknown[0]}; known are {', '.join(OPERATIONS)}"
        )
    if table.duplicated(["edge", "operation"]).any():
        raise InputError("cannot draw: an operation stands twice at one edge; filter the table")
    edges = list(dict.fromkeys(table["edge"]))
    operations = [op for op in OPERATIONS if op in set(table["operation"])]
    wide = table.pivot(index="operation", columns="edge", values=column)
    return wide.loc[operations, edges].to_numpy(float), [str(edge) for edge in edges], operations


def _dot(
    axes: Axes, ends: tuple[float, float, float], y: float, look: Look, *, filled: bool = True
) -> None:
    """A dot and its interval; what reaches beyond the axes ends in an arrow at their border."""
    low, value, high = ends
    left, right = axes.get_xlim()
    if np.isnan(value):
        return
    axes.plot(
        np.clip([low, high], left, right),
        [y, y],
        color=look.colour,
        linewidth=1.3,
        solid_capstyle="butt",
        zorder=2,
    )
    for end, marker in ((low, "<"), (high, ">")):
        if not np.isfinite(end) or (axes.get_xscale() == "log" and end <= 0):
            at = left if marker == "<" else right
            axes.plot(at, y, marker, color=look.colour, markersize=3.5, clip_on=False, zorder=3)
    axes.plot(
        value,
        y,
        look.marker,
        markersize=4.2,
        color=look.colour if filled else "white",
        markeredgecolor=INK if look.label else look.colour,
        markeredgewidth=0.5 if filled else 1.0,
        zorder=4,
    )


def _limits(table: pd.DataFrame, log: bool, reference: float | None) -> tuple[float, float]:
    """Room for all that can be drawn."""
    numbers = table[list(_INTERVAL)].to_numpy(float).ravel()
    usable = numbers[np.isfinite(numbers) & ((numbers > 0) if log else True)]
    if not len(usable):
        raise InputError("nothing to draw: no finite number (above 0, on a logarithmic axis)")
    ends = np.append(usable, [] if reference is None else [reference])
    if log:
        ends = np.log(ends)
    margin = 0.06 * (ends.max() - ends.min()) or 0.5
    left, right = float(ends.min() - margin), float(ends.max() + margin)
    return (float(np.exp(left)), float(np.exp(right))) if log else (left, right)


def _legend(axes: Axes, groups: list[str]) -> None:
    """Groups above the axes."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, markersize=4, lw=1.3, label=group)
        for group, look in zip(groups, GROUPS, strict=False)
    ]
    axes.legend(
        handles=handles,
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=len(groups),
        frameon=False,
        fontsize=TICK,
        borderpad=0.1,
        handlelength=1.6,
    )
