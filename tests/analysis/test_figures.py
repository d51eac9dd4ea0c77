import pytest
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from nas_skeleton.analysis.figures import draw_cell
from nas_skeleton.spaces import load_space
from nas_skeleton.spaces.liveness import Role, roles

SPACE = load_space("nb201")


@pytest.mark.parametrize("index", [6111, 11663, 10, 1462])
def test_a_drawn_cell_has_an_arrow_for_every_edge_that_does_something(index):
    axes = Figure().subplots()
    draw_cell(axes, SPACE.cell(index), "title")
    arrows = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    found = roles(SPACE.cell(index))
    assert len(arrows) == sum(role is not Role.DEAD for role in found)
    dotted = [arrow for arrow in arrows if arrow.get_linestyle() == ":"]
    assert len(dotted) == sum(role is Role.BIAS for role in found)
    assert axes.get_title() == "title"
