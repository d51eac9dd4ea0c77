"""How figures look: sizes of a paper's columns, colours, axes, and how a figure becomes a file.

Colours are told apart by everybody and in grey print: each step of a palette is at least twelve
units of CIE lightness from the next, and colours of one palette differ for the three kinds of
colour-blind readers (tests compute both). Line styles and markers differ too. Maps run from dark to
light in one direction: cividis (Nunez et al., PLOS ONE 13, 2018), whose middle is grey, also for
signed numbers. Nothing here knows what is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from nas_skeleton.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMN, PAGE = 3.3, 6.9  # inches: one column of a paper with two, and both
LABEL, TICK, NOTE = 8.0, 7.0, 6.0  # points
FORMATS = (".png", ".svg", ".pdf")
SIGNED_MAP = "cividis"
INK, FAINT = "#333333", "#DDDDDD"  # of axes, and of what stands behind the data
SEVERAL = 1500  # points from which a vector file holds them as one picture


@dataclass(frozen=True)
class Look:
    """How one operation or one group is drawn."""

    colour: str
    line: str
    marker: str
    label: str = ""
    name: str = ""


_BY = "\N{MULTIPLICATION SIGN}"
# From dark to light.
OPERATIONS = {
    "skip_connect": Look("#000000", "-", "o", "skip", "skip connection"),
    "nor_conv_3x3": Look("#0B4A8F", "-", "D", f"3{_BY}3", f"3{_BY}3 convolution"),
    "avg_pool_3x3": Look("#1B8A6B", "--", "^", "pool", f"3{_BY}3 average pool"),
    "nor_conv_1x1": Look("#E08E00", "-", "s", f"1{_BY}1", f"1{_BY}1 convolution"),
    "none": Look("#C8C8C8", ":", "X", "none", "none"),
}
GROUPS = (
    Look("#000000", "-", "o"),
    Look("#0B4A8F", "--", "D"),
    Look("#C8501A", "-.", "^"),
    Look("#3FA7D6", ":", "s"),
    Look("#E8B830", "-", "v"),
)


def paper_figure(
    width: float = COLUMN, height: float = 2.4, *, rows: int = 1, columns: int = 1
) -> tuple[Figure, list[Axes]]:
    """A figure of a paper's size in inches, and its axes, row by row."""
    from matplotlib.figure import Figure

    # More pixels than a screen's: in a notebook a figure of one column is large enough to read.
    figure = Figure(figsize=(width, height), layout="constrained", dpi=200)
    grid = figure.subplots(rows, columns, squeeze=False)
    return figure, [tidy(axes) for axes in grid.flat]


def on(axes: Axes | None, width: float, height: float) -> tuple[Figure, Axes]:
    """The axes to draw on, of a new figure unless they are given, and the figure they are in."""
    from matplotlib.figure import Figure

    if axes is None:
        figure, (new,) = paper_figure(width, height)
        return figure, new
    tidy(axes)
    root = axes.figure
    return (root if isinstance(root, Figure) else root.figure), axes


def tidy(axes: Axes) -> Axes:
    """Thin open axes with a faint grid behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    for spine in axes.spines.values():
        spine.set(linewidth=0.6, color=INK)
    axes.tick_params(which="both", labelsize=TICK, width=0.6, length=2.5, color=INK)
    axes.tick_params(which="minor", length=1.5)
    axes.grid(color=FAINT, linewidth=0.5)
    axes.set_axisbelow(True)
    return axes


def name(axes: Axes, *, x: str = "", y: str = "", title: str = "") -> None:
    """Write what the axes are."""
    axes.set_xlabel(x, fontsize=LABEL)
    axes.set_ylabel(y, fontsize=LABEL)
    axes.set_title(title, fontsize=LABEL, loc="left")


def plain_log(axes: Axes) -> None:
    """A logarithmic x axis with 1, 2, 5, 10 instead of powers of ten; set its limits before."""
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

    axes.set_xscale("log")
    left, right = axes.get_xlim()
    few = right < 200 * left
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())


def signed(number: float) -> str:
    """`+0.3`, and a minus as wide as the plus."""
    return f"{number:+.1f}".replace("-", "\N{MINUS SIGN}")


def checked(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """`table`, if it has rows and `columns`.

    Raises:
        InputError: it has not.
    """
    missing = [column for column in columns if column not in table]
    if missing:
        raise InputError(
            f"cannot draw: the table has no column {', '.join(missing)}; "
            f"it has {', '.join(map(str, table.columns)) or 'none'}"
        )
    if table.empty:
        raise InputError("nothing to draw: the table has no rows")
    return table


def check_format(path: Path) -> None:
    """Nothing, if `path` is a picture that can be drawn.

    Raises:
        InputError: a file type other than `FORMATS`.
    """
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"{path}: unknown picture type; use one of {', '.join(FORMATS)}")


def save_figure(figure: Figure, path: Path | str) -> None:
    """Write a figure; the same figure gives the same file.

    Raises:
        InputError: a file type other than `FORMATS`.
    """
    from matplotlib import rc_context

    path = Path(path)
    check_format(path)
    # No dates and no random names; TrueType, as publishers ask, instead of Type 3.
    undated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    path.parent.mkdir(parents=True, exist_ok=True)
    with rc_context({"pdf.fonttype": 42, "svg.hashsalt": "nas_skeleton"}):
        figure.savefig(path, dpi=300, metadata=undated.get(path.suffix.lower()))
