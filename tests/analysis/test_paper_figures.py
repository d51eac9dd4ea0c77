"""Figures for papers: what they were given is what they draw, in colours everybody tells apart."""

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from nas_skeleton.analysis.agreement import Agreement
from nas_skeleton.analysis.cell_figures import cell_gallery, draw_cell
from nas_skeleton.analysis.class_figures import confused_pairs, confusion, save_confusion_figure
from nas_skeleton.analysis.curve_figures import learning_curves, rank_agreement
from nas_skeleton.analysis.effect_figures import dots, effect_map, odds_ratios, operation_effects
from nas_skeleton.analysis.scatter_figures import (
    accuracy_against_cost,
    pareto_front,
    two_rankings,
)
from nas_skeleton.analysis.style import FORMATS, GROUPS, OPERATIONS, paper_figure, save_figure
from nas_skeleton.errors import InputError
from nas_skeleton.spaces import load_space

SPACE = load_space("nb201")
LIST = pd.DataFrame(
    {"label": ["a", "b"], "value": [2.0, 0.5], "low": [1.5, 0.0], "high": [3.0, 1.2]}
)
EFFECTS = pd.DataFrame(
    [
        (edge, op, value, value - 1.0, value + 1.0)
        for (edge, op), value in zip(
            itertools.product(["in→1", "1→2"], ["none", "nor_conv_3x3", "skip_connect"]),
            [-4.0, 3.0, 0.5, -2.0, 1.5, 0.0],
            strict=True,
        )
    ],
    columns=["edge", "operation", "value", "low", "high"],
)
COUNTS = np.array([[7, 3, 0], [0, 10, 0], [1, 0, 4]])
CLASSES = ["wave", "clap", "jog"]
# Machado, Oliveira and Fernandes, IEEE TVCG 15, 2009: severity 1, on linear RGB.
READERS = {
    "all colours": np.eye(3),
    "protan": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deutan": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritan": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


def lab(colour, reader="all colours"):
    """CIE 1976 L*a*b* of a colour (sRGB, D65) as a reader sees it."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(READERS[reader]) @ linear, 0, 1)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    xyz = to_xyz @ seen / [0.9505, 1.0, 1.089]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize(
    "looks", [tuple(OPERATIONS.values()), GROUPS], ids=["operations", "groups"]
)
def test_colours_differ_in_grey_and_for_the_colour_blind(looks):
    lightness = [lab(look.colour)[0] for look in looks]
    assert lightness == sorted(lightness)
    assert np.diff(lightness).min() >= 12
    for reader in READERS:
        seen = [lab(look.colour, reader) for look in looks]
        assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 20
    assert len({look.marker for look in looks}) == len(looks)


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_same_figure_is_the_same_file_in_each_format(tmp_path, suffix):
    files = [tmp_path / f"new/{name}{suffix}" for name in "ab"]
    for file in files:
        save_figure(dots(LIST, xlabel="x"), file)
    first, second = (file.read_bytes() for file in files)
    assert first == second
    assert first.startswith({".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[suffix])
    with pytest.raises(InputError, match="unknown picture type"):
        save_figure(Figure(), tmp_path / "a.gif")


def test_edges_are_as_thick_as_their_effects():
    _, (axes,) = paper_figure()
    draw_cell(axes, SPACE.cell(13371), effects=[0.0, 1.0, -2.0, 4.0, 8.0, -8.0])
    widths = [patch.get_linewidth() for patch in axes.patches]
    assert np.allclose(np.diff(widths[:5]), np.array([1, 1, 2, 4]) * (widths[4] - widths[0]) / 8)
    assert widths[5] == widths[4]
    assert any(text.get_text().endswith("\N{MINUS SIGN}8.0") for text in axes.texts)
    with pytest.raises(InputError, match="6 edges, got 2"):
        draw_cell(axes, SPACE.cell(0), effects=[1, 2])


def test_a_gallery_has_a_titled_cell_for_each_row_in_its_group():
    table = pd.DataFrame(
        {
            "cell": [SPACE.cell(1), SPACE.arch_string(6111), SPACE.cell(10)],
            "label": ["#1", "#6111", "#10"],
            "value": [81.24, 80.0, 3.7],
            "noise": [1.23, np.nan, 0.0],
            "group": ["best", "best", "worst"],
        }
    )
    figure = cell_gallery(table)
    titles = [axes.get_title() for axes in figure.axes if axes.patches]
    assert titles == ["#1\n81.2 ± 1.2 %", "#6111\n80.0 %", "#10\n3.7 ± 0.0 %"]
    assert [part.get_suptitle() for part in figure.subfigs] == ["best", "worst", ""]
    drawn = [sum(isinstance(p, FancyArrowPatch) for p in axes.patches) for axes in figure.axes]
    assert drawn[:2] == [6, 6]  # also edges that do nothing
    assert len(cell_gallery(table.head(1)).axes) == 5


def test_a_map_of_effects_holds_them_and_brackets_the_uncertain():
    axes = effect_map(EFFECTS).axes[0]
    drawn = axes.images[0].get_array()
    assert np.array_equal(drawn, [[0.5, 0.0], [3.0, 1.5], [-4.0, -2.0]])  # skip, 3x3, none
    assert axes.images[0].get_clim() == (-4, 4)  # grey is 0
    texts = {text.get_text() for text in axes.texts}
    assert {"(+0.5)", "(+0.0)", "+3.0", "\N{MINUS SIGN}4.0"} <= texts


def test_effects_of_operations_are_dots_with_intervals_by_edge():
    first, second = operation_effects(EFFECTS).axes
    assert [first.get_title("left"), second.get_title("left")] == ["in→1", "1→2"]
    dots_of_first = [line.get_xdata()[0] for line in first.lines if len(line.get_xdata()) == 1]
    assert dots_of_first == [0.5, 3.0, -4.0]
    assert [2.0, 4.0] in [list(line.get_xdata()) for line in first.lines]


def test_what_is_infinite_ends_in_an_arrow_and_what_is_not_significant_is_hollow():
    table = LIST.assign(significant=[True, False], high=[np.inf, 1.2])
    axes = odds_ratios(table).axes[0]
    markers = {line.get_marker() for line in axes.lines}
    assert {"<", ">"} <= markers  # a lower end of 0 has no place on a logarithmic axis
    faces = [x.get_markerfacecolor() for x in axes.lines if x.get_marker() == GROUPS[1].marker]
    assert faces == [GROUPS[1].colour, "white"]
    assert axes.get_xscale() == "log"
    assert [text.get_text() for text in axes.texts] == ["2.00 [1.50, inf]", "0.50 [0.00, 1.20]"]


def test_groups_of_dots_stand_below_each_other():
    table = pd.concat([LIST.assign(group="best"), LIST.assign(group="worst")])
    axes = dots(table, xlabel="%").axes[0]
    heights = [x.get_ydata()[0] for x in axes.lines if len(x.get_xdata()) == 1]
    assert len(set(heights)) == 4
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["best", "worst"]


def test_learning_curves_are_medians_between_quantiles():
    values = np.arange(10.0).reshape(5, 2) ** 2
    axes = learning_curves({"all": values}, [5, 10]).axes[0]
    assert np.array_equal(axes.lines[0].get_ydata(), np.median(values, axis=0))
    band = axes.collections[0].get_paths()[0].vertices
    assert set(np.quantile(values, [0.25, 0.75], axis=0).ravel()) <= set(band[:, 1])
    assert axes.get_legend().get_texts()[0].get_text() == "all (5)"


def test_rank_agreement_is_drawn_by_epoch_below_its_ceiling():
    table = pd.DataFrame({"epoch": [10, 5], "value": [0.6, 0.4], "low": 0.3, "high": 0.7})
    axes = rank_agreement(table, ceiling=(0.5, 0.65, 0.8)).axes[0]
    lines = [list(line.get_ydata()) for line in axes.lines]
    assert [0.65, 0.65] in lines
    assert [0.4, 0.6] in lines
    assert axes.texts[0].get_text() == "another seed, all epochs: 0.65"


def test_the_front_is_what_no_other_cell_beats():
    rng = np.random.default_rng(0)
    costs, values = rng.integers(1, 9, 60) * 1.0, rng.integers(1, 9, 60) * 1.0
    naive = [
        not any(
            (c <= cost and v > value) or (c < cost and v >= value)
            for c, v in zip(costs, values, strict=True)
        )
        for cost, value in zip(costs, values, strict=True)
    ]
    assert pareto_front(costs, values).tolist() == naive
    table = pd.DataFrame({"macs": costs, "test": values})
    axes = accuracy_against_cost(table, "macs", "test", xlabel="MACs", noise=0.5).axes[0]
    assert np.array_equal(axes.collections[0].get_offsets(), table.to_numpy())
    marked = {tuple(pair) for pair in axes.lines[1].get_xydata()}
    assert marked == {tuple(pair) for pair in table[naive].to_numpy()}


def test_two_rankings_show_the_cells_that_have_both_and_their_tau():
    x, y = np.array([1.0, 2, 3, np.nan]), np.array([1.0, 3, 2, 4])
    axes = two_rankings(x, y, xlabel="a", ylabel="b", same=True, noise=(0.1, 0.2)).axes[0]
    assert np.array_equal(axes.collections[0].get_offsets(), [[1, 1], [2, 3], [3, 2]])
    assert axes.texts[0].get_text() == "τ = 0.33\n3 cells"
    assert axes.get_xlim() == axes.get_ylim()
    given = two_rankings(x, y, xlabel="", ylabel="", agreement=Agreement(0.3, 0.1, 0.5, 3))
    assert given.axes[0].texts[0].get_text().startswith("τ = 0.30 [0.10, 0.50]")


def test_thousands_of_points_become_one_picture_in_a_vector_file(tmp_path):
    x = np.random.default_rng(0).random(2000)
    figure = two_rankings(x, x, xlabel="", ylabel="")
    save_figure(figure, tmp_path / "a.svg")
    assert b"<image" in (tmp_path / "a.svg").read_bytes()


def test_confusions_are_shares_of_the_true_class(tmp_path):
    axes = confusion(COUNTS, CLASSES).axes[0]
    assert np.allclose(axes.images[0].get_array(), [[70, 30, 0], [0, 100, 0], [20, 0, 80]])
    pairs = confused_pairs(COUNTS, CLASSES).axes[0]
    assert [bar.get_width() for bar in pairs.patches] == [30, 20]
    assert [x.get_text() for x in pairs.get_yticklabels()] == ["wave → clap", "jog → wave"]
    save_confusion_figure(COUNTS, CLASSES, tmp_path / "a.pdf")
    assert (tmp_path / "a.pdf").is_file()


def test_figures_are_drawn_on_given_axes():
    figure, panels = paper_figure(6.9, 2.0, columns=2)
    assert dots(LIST, xlabel="x", axes=panels[1]) is figure
    assert panels[1].lines
    assert not panels[0].lines


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: dots(LIST.head(0), xlabel=""), "no rows"),
        (lambda: dots(LIST.drop(columns="low"), xlabel=""), "no column low; it has label"),
        (lambda: odds_ratios(LIST.assign(value=0.0, low=0.0, high=np.inf)), "no finite"),
        (lambda: dots(LIST.assign(value=np.nan, low=np.nan, high=np.nan), xlabel=""), "no finite"),
        (lambda: dots(pd.concat([LIST.assign(group=i) for i in range(6)]), xlabel=""), "at most 5"),
        (lambda: effect_map(EFFECTS.assign(operation="max_pool")), "unknown operation max_pool"),
        (lambda: effect_map(pd.concat([EFFECTS, EFFECTS])), "twice"),
        (lambda: operation_effects(EFFECTS.head(0)), "no rows"),
        (lambda: cell_gallery(pd.DataFrame({"cell": [], "label": [], "value": []})), "no rows"),
        (lambda: learning_curves({}, [1]), "no group"),
        (lambda: learning_curves({"a": np.zeros((0, 2))}, [1, 2]), "'a': need trainings x 2"),
        (lambda: rank_agreement(pd.DataFrame({"epoch": [1]})), "no column value, low, high"),
        (lambda: two_rankings(np.zeros(2), np.zeros(3), xlabel="", ylabel=""), "2 cells against 3"),
        (lambda: two_rankings(np.zeros(0), np.zeros(0), xlabel="", ylabel=""), "no cell has both"),
        (
            lambda: accuracy_against_cost(LIST.assign(value=0.0), "value", "low", xlabel=""),
            "must be above 0",
        ),
        (lambda: confusion(COUNTS, CLASSES[:2]), "2 classes need as many"),
        (lambda: confused_pairs(np.eye(3, dtype=int), CLASSES), "no clip is taken"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_one_line(draw, message):
    with pytest.raises(InputError, match=message) as caught:
        draw()
    assert "\n" not in str(caught.value)


def test_one_row_is_enough():
    one = LIST.head(1)
    for figure in (
        dots(one, xlabel="", reference=0.0),
        odds_ratios(one),
        operation_effects(EFFECTS.head(1)),
        effect_map(EFFECTS.tail(1)),
        rank_agreement(one.assign(epoch=5)),
        learning_curves({"a": np.ones((1, 1))}, [5]),
        accuracy_against_cost(one, "value", "high", xlabel=""),
        two_rankings(np.ones(1), np.ones(1), xlabel="", ylabel="", same=True),
    ):
        figure.canvas.draw()


def test_dots_that_cannot_be_drawn_are_refused():
    table = pd.DataFrame({"label": ["a"], "value": [-1.0], "low": [-2.0], "high": [3.0]})
    with pytest.raises(InputError, match="below 0 has no place on a logarithmic axis"):
        dots(table, xlabel="x", log=True)
    with pytest.raises(InputError, match="not of groups"):
        dots(table.assign(group="g"), xlabel="x", written=True)
