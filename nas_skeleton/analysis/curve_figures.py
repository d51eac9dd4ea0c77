"""What happens over epochs: learning curves of groups of cells, and how ranks come to agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas_skeleton.analysis.style import COLUMN, GROUPS, INK, NOTE, TICK, Look, checked, name, on
from nas_skeleton.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def learning_curves(
    groups: Mapping[str, NDArray[np.float64]],
    epochs: Sequence[int],
    *,
    quantiles: tuple[float, float] = (0.25, 0.75),
    ylabel: str = "validation top-1 (%)",
    title: str = "",
    axes: Axes | None = None,
) -> Figure:
    """Draw the median of each group of trainings at each epoch, and a band between quantiles.

    Args:
        groups: by name, `(trainings, epochs)`, drawn as they are: percent, if the label says so.
        epochs: which.
        quantiles: the ends of the band; the middle half, if not given.
        ylabel: what the numbers are, with their unit.
        title: above.
        axes: where to draw; a new figure, if not given.

    Raises:
        InputError: no group, more than five, an empty one, or one with other epochs.
    """
    if not groups:
        raise InputError("nothing to draw: no group of learning curves")
    _few_enough(len(groups))
    for group, values in groups.items():
        if values.ndim != 2 or not len(values) or values.shape[1] != len(epochs):
            shape = " x ".join(map(str, values.shape))
            raise InputError(
                f"cannot draw {group!r}: need trainings x {len(epochs)} epochs, got {shape}"
            )
    figure, axes = on(axes, COLUMN, 2.4)
    for (group, values), look in zip(groups.items(), GROUPS, strict=False):
        band = np.quantile(values, [quantiles[0], 0.5, quantiles[1]], axis=0)
        _line(axes, epochs, band, look, f"{group} ({len(values):,})")
    share = 100 * (quantiles[1] - quantiles[0])
    name(axes, x=f"epoch (lines: medians, bands: middle {share:.0f} %)", y=ylabel, title=title)
    _epochs(axes, epochs)
    _legend(axes)
    return figure


def rank_agreement(
    table: pd.DataFrame,
    *,
    ceiling: tuple[float, float, float] | None = None,
    ceiling_label: str = "another seed, all epochs",
    ylabel: str = "Kendall's τ with the last epoch",
    title: str = "",
    axes: Axes | None = None,
) -> Figure:
    """Draw how rank agreement grows over epochs, against what a repetition reaches.

    Args:
        table: `epoch`, `value`, `low`, `high` and, if there are several lines, `group`.
        ceiling: agreement between seeds: low, value, high; a line and its band.
        ceiling_label: what it is.
        ylabel: what the numbers are.
        title: above.
        axes: where to draw; a new figure, if not given.

    Raises:
        InputError: no rows, a column missing, or more than five groups.
    """
    checked(table, ["epoch", "value", "low", "high"])
    parts = list(table.groupby("group", sort=False)) if "group" in table else [("", table)]
    _few_enough(len(parts))
    figure, axes = on(axes, COLUMN, 2.4)
    if ceiling is not None:
        low, value, high = ceiling
        axes.axhspan(low, high, color="#E4E4E4", linewidth=0, zorder=0)
        axes.axhline(value, color=INK, linewidth=0.8, linestyle=(0, (6, 2)), zorder=1)
        axes.annotate(
            f"{ceiling_label}: {value:.2f}",
            (0.02, high),
            (0, 1),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            fontsize=NOTE,
            color=INK,
        )
    for (group, part), look in zip(parts, GROUPS[1:] if len(parts) == 1 else GROUPS, strict=False):
        rows = part.sort_values("epoch")
        band = rows[["low", "value", "high"]].to_numpy(float).T
        _line(axes, rows["epoch"].tolist(), band, look, str(group))
    name(axes, x="epoch (bands: 95 % intervals)", y=ylabel, title=title)
    _epochs(axes, sorted(set(table["epoch"])))
    if len(parts) > 1:
        _legend(axes)
    return figure


def _few_enough(groups: int) -> None:
    if groups > len(GROUPS):
        raise InputError(f"cannot draw {groups} groups: at most {len(GROUPS)} can be told apart")


def _line(
    axes: Axes,
    epochs: Sequence[int],
    band: NDArray[np.float64],
    look: Look,
    label: str,
) -> None:
    low, middle, high = band
    axes.fill_between(epochs, low, high, color=look.colour, alpha=0.15, linewidth=0)
    axes.plot(
        epochs,
        middle,
        look.line,
        marker=look.marker,
        markersize=3.2,
        color=look.colour,
        linewidth=1.4,
        label=label,
    )


def _epochs(axes: Axes, epochs: Sequence[int]) -> None:
    """Ticks at the epochs themselves, where they are few."""
    if len(epochs) <= 10:
        axes.set_xticks(epochs, [str(epoch) for epoch in epochs])


def _legend(axes: Axes) -> None:
    axes.legend(frameon=False, fontsize=TICK, borderpad=0.2, handlelength=2.6, labelspacing=0.3)
