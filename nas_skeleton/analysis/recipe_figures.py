"""A figure of recipes: how reliable their means are, against what the trainings take."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nas_skeleton.analysis.reliability import Worth, spearman_brown
from nas_skeleton.analysis.strategy_figures import COLOURS, LINES
from nas_skeleton.analysis.style import check_format

MOST_SEEDS = 12  # shown of a recipe
TITLES = {"valid": "validation", "test": "test"}


def save_reliabilities(worths: Mapping[str, Worth], wanted: float, path: Path) -> None:
    """Draw the reliability of means over 1, 2, ... seeds against the seconds they take, by split.

    Args:
        worths: by the recipe's name; those without signal are left out.
        wanted: reliability to mark.
        path: .png, .svg or .pdf.

    Raises:
        InputError: another type of file.
    """
    check_format(path)
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    figure = Figure(figsize=(12, 5), layout="constrained")
    seeds = np.arange(1, MOST_SEEDS + 1)
    for axes, (split, title) in zip(
        figure.subplots(1, 2, sharey=True), TITLES.items(), strict=True
    ):
        for at, (name, worth) in enumerate(worths.items()):
            signal = worth.signals.get(split)
            if signal is None or signal.single is None or signal.single.value <= 0:
                continue
            reached = [spearman_brown(signal.single.value, count) for count in seeds.tolist()]
            line = LINES[at // len(COLOURS) % len(LINES)]
            axes.plot(
                worth.seconds * seeds,
                reached,
                line,
                marker="o",
                markersize=3.5,
                color=COLOURS[at % len(COLOURS)],
                label=name,
            )
        axes.axhline(wanted, color="#999999", linewidth=1)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set(xlabel="seconds per cell: a dot for each seed more", title=f"{title} accuracy")
        axes.grid(alpha=0.3)
    left, right = figure.axes
    left.set_ylabel("reliability of the mean over seeds")
    left.set_ylim(0, 1)
    drawn = [axes.get_legend_handles_labels() for axes in (left, right)]
    handles, labels = max(drawn, key=lambda found: len(found[1]))
    if handles:
        right.legend(handles, labels, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
