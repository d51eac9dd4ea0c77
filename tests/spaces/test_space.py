"""The space by index."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.spaces.cell import parse_arch
from nas_skeleton.spaces.keys import functional_key, nb201_key
from nas_skeleton.spaces.space import CellSpace

BEST = (
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
    "+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
)


@pytest.fixture(scope="module")
def space() -> CellSpace:
    return CellSpace()


def test_a_cell_by_index_and_back(space: CellSpace) -> None:
    assert len(space) == 15_625
    assert space.arch_string(6111) == BEST
    assert space.cell(6111) == parse_arch(BEST)
    assert space.index(BEST) == space.index(parse_arch(BEST)) == 6111
    assert space.matrix(6111) == [[0] * 4, [3, 0, 0, 0], [3, 3, 0, 0], [1, 3, 2, 0]]
    assert space.nb201_key(6111) == nb201_key(parse_arch(BEST))
    assert space.functional_key(6111) == functional_key(parse_arch(BEST))


def test_every_index_leads_back_to_itself(space: CellSpace) -> None:
    assert [space.index(space.arch_string(index)) for index in range(len(space))] == list(
        range(len(space))
    )


def test_neighbours_differ_in_one_edge(space: CellSpace) -> None:
    for index in (0, 10, 1462, 6111, 15_624):
        neighbours = space.neighbours(index)
        assert len(neighbours) == len(set(neighbours)) == 24
        here = space.cell(index).operations
        for other in neighbours:
            there = space.cell(other).operations
            assert sum(a != b for a, b in zip(here, there, strict=True)) == 1
            assert index in space.neighbours(other)


def test_functional_classes_partition_the_space(space: CellSpace) -> None:
    classes = space.functional_classes()
    assert len(classes) == 5_234
    assert sorted(index for members in classes.values() for index in members) == list(
        range(len(space))
    )
    for key, members in classes.items():
        assert list(members) == sorted(members)
        assert {space.functional_key(index) for index in members} == {key}
        assert {space.representative(index) for index in members} == {members[0]}
    assert list(classes.values()) == sorted(classes.values())


def test_classes_cannot_be_changed_by_accident(space: CellSpace) -> None:
    with pytest.raises(TypeError):
        space.functional_classes()["y=x"] = ()  # type: ignore[index]


@pytest.mark.parametrize("index", [-1, 15_625, 10**30, True, False, 1.0, "6111", None, np.True_])
@pytest.mark.parametrize(
    "method",
    [
        CellSpace.cell,
        CellSpace.arch_string,
        CellSpace.matrix,
        CellSpace.neighbours,
        CellSpace.nb201_key,
        CellSpace.functional_key,
        CellSpace.representative,
    ],
)
def test_an_index_outside_the_space_is_refused(
    space: CellSpace, method: Callable[[CellSpace, Any], object], index: object
) -> None:
    with pytest.raises(InputError, match="from 0 to 15624"):
        method(space, index)


def test_indices_may_be_of_any_integer_type(space: CellSpace) -> None:
    assert space.arch_string(np.int64(6111)) == BEST
    assert type(space.representative(np.int16(7))) is int


def test_an_unknown_cell_is_refused(space: CellSpace) -> None:
    with pytest.raises(InputError, match="malformed architecture string '6111'"):
        space.index("6111")
    with pytest.raises(InputError, match="unknown operation 'conv'"):
        space.index(BEST.replace("nor_conv_1x1", "conv"))


def test_a_space_is_cheap_to_create() -> None:
    start = time.process_time()
    for _ in range(1000):
        CellSpace()
    assert time.process_time() - start < 0.5
