"""Cells as graphs: one, and many beside each other with what they reach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from nas_skeleton.analysis.style import INK, LABEL, NOTE, OPERATIONS, PAGE, checked, signed
from nas_skeleton.errors import InputError
from nas_skeleton.spaces import Cell
from nas_skeleton.spaces.cell import EDGES, NONE, parse_arch
from nas_skeleton.spaces.cell import OPERATIONS as NAMES
from nas_skeleton.spaces.liveness import Role, roles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

# Node 2 inside the triangle of the others: so no two of the straight edges cross.
_NODES = ((0.0, 0.0), (1.5, 1.0), (1.5, 0.34), (3.0, 0.0))
_GHOST, _CONSTANT = "#CCCCCC", "#808080"
THIN, THICK = 0.8, 4.2  # points: lines of the least and of the largest effect
PER_ROW = 5  # cells beside each other on a page


def draw_cell(
    axes: Axes,
    cell: Cell,
    title: str = "",
    *,
    effects: Sequence[float] | None = None,
    most: float | None = None,
    ghosts: bool = True,
    size: float = 1.0,
) -> None:
    """Draw a cell from input (left) to output (right).

    A dotted line is a convolution of a zero map, which only adds a trainable constant. Edges that
    do nothing are thin and pale.

    Args:
        axes: a third as high as wide at least; their ticks and frame go.
        cell: what to draw.
        title: above it.
        effects: a number for each edge in the order of the architecture string: written at the
            edges that do something, which are the thicker the further it is from 0.
        most: the effect of the thickest line; the largest of this cell, if not given.
        ghosts: whether edges that do nothing are drawn.
        size: of letters and nodes; 1 suits axes from three inches on, 0.68 those of half that.

    Raises:
        InputError: not a number for each edge.
    """
    if effects is not None and len(effects) != len(EDGES):
        raise InputError(f"a cell has {len(EDGES)} edges, got {len(effects)} effects")
    largest = most or max((abs(effect) for effect in effects or ()), default=0.0) or 1.0
    for at, ((source, target), role) in enumerate(zip(EDGES, roles(cell), strict=True)):
        if role is Role.DEAD and not ghosts:
            continue
        operation = cell.operations[at]
        look = OPERATIONS[NAMES[operation]]
        colour, line, text, ink, width = look.colour, look.line, look.label, "black", 2.0 * size
        if role is Role.BIAS:
            colour, line, text, ink = _CONSTANT, ":", "const", INK
        elif role is Role.DEAD:
            colour, width, ink = _GHOST, 0.6, "#888888"
            line, text = "-", "" if operation == NONE else text
        if effects is not None and role is not Role.DEAD:
            width = THIN + (THICK - THIN) * min(abs(effects[at]) / largest, 1.0)
            text = f"{text}\n{signed(effects[at])}"
        _edge(axes, source, target, colour, line, width, size)
        x, y = ((_NODES[source][i] + _NODES[target][i]) / 2 for i in (0, 1))
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8 * size}
        if text:
            small = 8 * size if role is not Role.DEAD else 6.5 * size
            axes.text(x, y, text, ha="center", va="center", color=ink, fontsize=small, bbox=box)
    for node, (x, y) in enumerate(_NODES):
        axes.plot(
            x,
            y,
            "o",
            markersize=2 * _radius(size),
            color="white",
            mec="black",
            mew=0.8 * size,
            zorder=3,
        )
        text = ("in", "1", "2", "out")[node]
        axes.text(x, y, text, ha="center", va="center", fontsize=8 * size, zorder=4)
    axes.set(xlim=(-0.35, 3.35), ylim=(-0.2, 1.2))
    axes.set_title(title, fontsize=max(9 * size, NOTE))
    axes.axis("off")


def cell_gallery(table: pd.DataFrame, *, unit: str = "%", note: str = "") -> Figure:
    """Draw cells as small multiples, five in a row of a page, with what they reach.

    Args:
        table: a row per cell: `cell` (a `Cell` or an architecture string), `label`, `value`, and,
            where they are known, `noise` (drawn behind ±) and `group` (such as "ten best": drawn
            together below this name, in the order of the table).
        unit: of values.
        note: below all, such as what the noise is.

    Raises:
        InputError: no rows, a column missing, or a malformed architecture string.
    """
    from matplotlib.figure import Figure

    checked(table, ["cell", "label", "value"])
    grouped = "group" in table
    parts = list(table.groupby("group", sort=False)) if grouped else [("", table)]
    rows = [-(-len(part) // PER_ROW) for _, part in parts]
    heading = 0.22 if grouped else 0.0
    heights = [1.25 * count + heading for count in rows]
    below = 0.38
    figure = Figure(figsize=(PAGE, sum(heights) + below), layout="constrained", dpi=200)
    ratios = [*heights, below]
    *places, last = figure.subfigures(len(ratios), 1, squeeze=False, height_ratios=ratios).flat
    for (group, part), count, place in zip(parts, rows, places, strict=True):
        if grouped:
            place.suptitle(str(group), fontsize=LABEL + 1, fontweight="bold", x=0.01, ha="left")
        panels = place.subplots(count, PER_ROW, squeeze=False).flat
        for row, axes in zip(part.to_dict("records"), panels, strict=False):
            cell = row["cell"] if isinstance(row["cell"], Cell) else parse_arch(row["cell"])
            noise = "" if pd.isna(row.get("noise")) else f" ± {row['noise']:.1f}"
            value = "n/a" if pd.isna(row["value"]) else f"{row['value']:.1f}{noise} {unit}"
            title = f"{row['label']}\n{value}"
            draw_cell(axes, cell, title, size=0.68)
        for axes in list(place.axes)[len(part) :]:
            axes.axis("off")
    _legend(last, note)
    return figure


def _radius(size: float) -> float:
    """Of a node, in points; small cells need the room for their edges more."""
    return float(10 * size**1.6)


def _edge(
    axes: Axes, source: int, target: int, colour: str, line: str, width: float, size: float
) -> None:
    from matplotlib.patches import FancyArrowPatch

    arrow = FancyArrowPatch(
        _NODES[source],
        _NODES[target],
        arrowstyle="-|>",
        mutation_scale=(14 if width > THIN else 6) * size,
        shrinkA=_radius(size) + 1,
        shrinkB=_radius(size) + 1,
        color=colour,
        linestyle=line,
        linewidth=width,
    )
    axes.add_patch(arrow)


def _legend(place: SubFigure, note: str) -> None:
    """What the lines are."""
    from matplotlib.lines import Line2D

    looks = [look for operation, look in OPERATIONS.items() if operation != "none"]
    lines = [Line2D([], [], color=x.colour, ls=x.line, lw=1.6, label=x.name) for x in looks]
    lines += [
        Line2D([], [], color=_CONSTANT, ls=":", lw=1.6, label="adds a constant only"),
        Line2D([], [], color=_GHOST, lw=0.8, label="does nothing"),
    ]
    place.legend(
        handles=lines,
        loc="center",
        ncols=len(lines),
        frameon=False,
        fontsize=NOTE,
        title=note or None,
        title_fontsize=NOTE,
        handlelength=2.4,
        columnspacing=1.2,
    )
