"""Cells and their notations."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nas_skeleton.errors import InputError
from nas_skeleton.spaces.cell import (
    EDGES,
    EXAMPLE,
    OPERATIONS,
    Cell,
    arch_string,
    cell_from_matrix,
    lists,
    matrix,
    parse_arch,
)

cells = st.tuples(*[st.integers(0, len(OPERATIONS) - 1)] * len(EDGES)).map(Cell)

STRING = "|nor_conv_3x3~0|+|none~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_1x1~1|none~2|"
CELL = Cell((3, 0, 4, 1, 2, 0))


def test_notations_of_one_cell() -> None:
    assert arch_string(CELL) == str(CELL) == STRING
    assert parse_arch(STRING) == CELL
    assert matrix(CELL) == [[0, 0, 0, 0], [3, 0, 0, 0], [0, 4, 0, 0], [1, 2, 0, 0]]
    assert lists(CELL) == [
        [("nor_conv_3x3", 0)],
        [("none", 0), ("avg_pool_3x3", 1)],
        [("skip_connect", 0), ("nor_conv_1x1", 1), ("none", 2)],
    ]
    assert CELL.named_edges()[2] == (1, 2, "avg_pool_3x3")


@given(cells)
def test_every_notation_leads_back_to_the_cell(cell: Cell) -> None:
    assert parse_arch(arch_string(cell)) == cell
    assert cell_from_matrix(matrix(cell)) == cell
    assert cell_from_matrix([[float(entry) for entry in row] for row in matrix(cell)]) == cell
    nodes = ["".join(f"|{op}~{source}" for op, source in node) + "|" for node in lists(cell)]
    assert "+".join(nodes) == arch_string(cell)


@given(st.text(alphabet="|+~0123_ acnopsx\n", max_size=90) | st.text())
@example("")
@example("++")
@example("|+|+|")
@example("||+||||+|||||")
@example(STRING + "\n")
@example(STRING.replace("~2", "~\u0662"))  # a digit, but not ours
@example(STRING.replace("none", "NONE"))
@example("|none~0|" * 1_000_000)
def test_a_malformed_string_is_one_short_line_with_an_example(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_arch(text)
    message = str(caught.value)
    assert "\n" not in message
    assert message.isascii()
    assert len(message) < 500
    assert EXAMPLE in message


@given(cells, st.data())
def test_a_string_with_one_character_changed_is_refused_or_another_cell(
    cell: Cell, data: st.DataObject
) -> None:
    text = arch_string(cell)
    at = data.draw(st.integers(0, len(text) - 1))
    changed = text[:at] + data.draw(st.characters()) + text[at + 1 :]
    with contextlib.suppress(InputError):
        assert arch_string(parse_arch(changed)) == changed


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("|none~0|+|none~0|none~1|", "2 node(s)"),
        (STRING.replace("nor_conv_1x1", "conv"), "node 3 has an unknown operation 'conv'"),
        (STRING.replace("avg_pool_3x3~1", "avg_pool_3x3~0"), "node 2 must end in '~1'"),
        (STRING.replace("none~0|", ""), "node 2 must look like |operation~0|operation~1|"),
        (STRING[:-1], "node 3 must look like"),
    ],
)
def test_the_error_names_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_arch(text)
    assert says in str(caught.value)


@pytest.mark.parametrize("value", [None, 6111, b"|none~0|", [STRING]])
def test_what_is_not_a_string_is_refused(value: object) -> None:
    with pytest.raises(InputError, match="not a string"):
        parse_arch(value)


@pytest.mark.parametrize(
    "operations",
    [
        (),
        (0,) * 5,
        (0,) * 7,
        (0, 0, 0, 0, 0, 5),
        (0, 0, 0, 0, 0, -1),
        (0, 0, 0, 0, 0, True),
        [0] * 6,
    ],
)
def test_what_is_not_six_operations_is_no_cell(operations: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="not a cell"):
        Cell(operations)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [[0] * 4] * 3,
        [[0] * 3] * 4,
        [[1, 0, 0, 0]] + [[0] * 4] * 3,
        [[0, 0, 0, 0], [9, 0, 0, 0], [0] * 4, [0] * 4],
        [[0, 0, 0, 0], [1.5, 0, 0, 0], [0] * 4, [0] * 4],
        None,
    ],
)
def test_what_is_not_a_cell_matrix_is_refused(rows: list[list[int]]) -> None:
    with pytest.raises(InputError, match="not a cell"):
        cell_from_matrix(rows)
