import numpy as np
import pytest

from nas_skeleton.spaces import Cell, load_space
from nas_skeleton.strategies.encoding import indices, neighbours, operations, paths

SPACE = load_space("nb201")
SOME = [0, 1, 1462, 6111, 15624]
WORTH = {"skip": 0, "1x1": 1, "3x3": 2, "pool": 3}  # position among what passes something on


def column(*names):
    """Of a sequence of operations, among those as long."""
    number = 0
    for name in names:
        number = 4 * number + WORTH[name]
    return number


def test_operations_are_those_of_the_cells():
    assert [tuple(row) for row in operations()[SOME]] == [SPACE.cell(i).operations for i in SOME]


def test_indices_invert_operations():
    assert np.array_equal(indices(operations()), np.arange(15625))
    assert indices(np.array([3, 3, 3, 1, 3, 2])) == 6111


@pytest.mark.parametrize("index", SOME)
def test_neighbours_are_those_of_the_space_in_its_order(index):
    assert neighbours()[index].tolist() == SPACE.neighbours(index)


def test_path_encoding_of_known_cells():
    # 6111: 3x3 on 0-1, 0-2, 1-2 and 1-3, skip on 0-3, 1x1 on 2-3.
    assert np.flatnonzero(paths()[6111]).tolist() == [
        column("skip"),
        4 + column("3x3", "3x3"),
        4 + 16 + column("3x3", "1x1"),
        4 + 16 + 16 + column("3x3", "3x3", "1x1"),
    ]
    # Nothing on 0-2 and 0-3: only the ways over node 1 are left.
    cell = SPACE.index(Cell((1, 0, 4, 0, 2, 3)))
    assert np.flatnonzero(paths()[cell]).tolist() == [
        4 + column("skip", "1x1"),
        4 + 16 + 16 + column("skip", "pool", "3x3"),
    ]


def test_path_encoding_has_a_column_for_every_path_without_none():
    assert paths().shape == (15625, 4 + 16 + 16 + 64)
    assert paths().any(axis=0).all()
    # 341 cells have no path from input to output.
    assert int((paths().sum(axis=1) == 0).sum()) == 341


def test_the_shared_arrays_cannot_be_changed():
    for array in (operations(), neighbours(), paths()):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1
