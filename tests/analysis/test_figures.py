import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from nas_skeleton.analysis.cell_figures import draw_cell
from nas_skeleton.spaces import load_space
from nas_skeleton.spaces.liveness import Role, roles

SPACE = load_space("nb201")


@pytest.mark.parametrize("index", [6111, 11663, 10, 1462])
def test_a_drawn_cell_has_an_arrow_for_every_edge_and_a_faint_one_for_those_that_do_nothing(index):
    axes = Figure().subplots()
    draw_cell(axes, SPACE.cell(index), "title")
    arrows = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    found = roles(SPACE.cell(index))
    assert len(arrows) == len(found)
    faint = [arrow for arrow in arrows if arrow.get_linewidth() < 1]
    assert len(faint) == sum(role is Role.DEAD for role in found)
    dotted = [arrow for arrow in arrows if arrow.get_linestyle() == ":"]
    assert len(dotted) == sum(role is Role.BIAS for role in found)
    assert axes.get_title() == "title"
    plain = Figure().subplots()
    draw_cell(plain, SPACE.cell(index), ghosts=False)
    assert len(plain.patches) == sum(role is not Role.DEAD for role in found)


def test_no_edge_hides_the_label_of_another():
    figure = Figure(figsize=(5, 4))
    axes = figure.subplots()
    draw_cell(axes, SPACE.cell(13371))  # all six edges do something
    FigureCanvasAgg(figure).draw()
    nodes = {"in", "1", "2", "out"}
    boxes = [text.get_window_extent() for text in axes.texts if text.get_text() not in nodes]
    points = []  # on the lines, in pixels; the fourth vertex begins the head of the arrow
    for arrow in axes.patches:
        start, control, end = arrow.get_transform().transform(arrow.get_path().vertices[:3])
        t = np.linspace(0, 1, 500)[:, None]
        points.append((1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end)
    assert len(boxes) == len(points) == 6
    for at, box in enumerate(boxes):
        crossed = [box.count_contains(line) > 0 for line in points]
        assert crossed == [line == at for line in range(6)]  # its own only
        assert not any(box.overlaps(other) for other in boxes[:at])
