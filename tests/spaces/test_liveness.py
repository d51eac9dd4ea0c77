"""Dead, bias and live edges."""

from __future__ import annotations

from collections import Counter

import pytest

from nas_skeleton.spaces.cell import CONVOLUTIONS, EDGES, NONE, Cell, parse_arch
from nas_skeleton.spaces.liveness import Role, ignores_input, roles
from nas_skeleton.spaces.order import nats_bench_order

DEAD, BIAS, LIVE = Role.DEAD, Role.BIAS, Role.LIVE


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        ((3, 3, 3, 3, 3, 3), (LIVE,) * 6),
        ((0, 0, 0, 0, 0, 0), (DEAD,) * 6),
        # node 1 does not reach the output
        ((3, 1, 0, 0, 0, 1), (DEAD, LIVE, DEAD, DEAD, DEAD, LIVE)),
        # node 1 is zero: its skip and pool are dead, its convolution is a bias
        ((0, 1, 1, 0, 4, 1), (DEAD, LIVE, DEAD, DEAD, DEAD, LIVE)),
        ((0, 0, 2, 0, 3, 1), (DEAD, DEAD, BIAS, DEAD, BIAS, LIVE)),
        # a bias, then convolutions of that constant, which stay live
        ((0, 0, 2, 0, 0, 2), (DEAD, DEAD, BIAS, DEAD, DEAD, LIVE)),
        ((0, 0, 2, 0, 0, 3), (DEAD, DEAD, BIAS, DEAD, DEAD, LIVE)),
        # a bias whose target does not reach the output
        ((0, 0, 3, 1, 0, 0), (DEAD, DEAD, DEAD, LIVE, DEAD, DEAD)),
        # everything before a node that only feeds none is dead
        ((3, 3, 3, 0, 0, 0), (DEAD,) * 6),
    ],
)
def test_roles_of_small_cells(operations: tuple[int, ...], expected: tuple[Role, ...]) -> None:
    assert roles(Cell(operations)) == expected


def test_counts_over_the_space() -> None:
    """11.3 % of all non-none edges are dead, 3.5 % a bias, 85.2 % live.

    Calling a 1x1 convolution of a constant a bias too, which holds in training mode only, would
    give 8,550 and 63,850 (11.4 % and 85.1 %).
    """
    cells = nats_bench_order()
    count = Counter(
        role
        for cell in cells
        for op, role in zip(cell.operations, roles(cell), strict=True)
        if op != NONE
    )
    assert count == {DEAD: 8_500, BIAS: 2_600, LIVE: 63_900}
    assert count.total() == 75_000
    assert sum(BIAS in roles(cell) for cell in cells) == 2_140


def test_none_is_dead_and_a_bias_is_a_convolution() -> None:
    for cell in nats_bench_order():
        for op, role in zip(cell.operations, roles(cell), strict=True):
            assert op != NONE or role is DEAD
            assert role is not BIAS or op in CONVOLUTIONS


def test_cells_that_ignore_the_input() -> None:
    cells = nats_bench_order()
    blind = [index for index, cell in enumerate(cells) if ignores_input(cell)]
    assert len(blind) == 341
    assert blind[:8] == [10, 12, 74, 104, 105, 108, 120, 172]
    zero = [index for index in blind if set(roles(cells[index])) == {DEAD}]
    assert len(zero) == 201  # the other 140 give a trainable constant


def test_without_live_path_from_the_input_the_input_is_ignored() -> None:
    """`ignores_input` agrees with the roles: the input is seen iff a live edge leaves node 0."""
    for cell in nats_bench_order():
        leaves_input = any(
            source == 0 and role is LIVE
            for (source, _), role in zip(EDGES, roles(cell), strict=True)
        )
        assert ignores_input(cell) is not leaves_input


def test_a_bias_alone_is_not_an_exact_zero() -> None:
    cell = parse_arch("|none~0|+|none~0|none~1|+|none~0|none~1|nor_conv_3x3~2|")
    assert ignores_input(cell)
    assert roles(cell)[-1] is BIAS
