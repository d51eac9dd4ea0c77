"""Canonical keys: counts, rules, and an independent and slower way to the same classes.

That cells of one class are the same function is shown on real networks in
`test_functional_classes.py`.
"""

from __future__ import annotations

import csv
import itertools
import time
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.spaces import keys
from nas_skeleton.spaces.cell import (
    AVG_POOL,
    CONV_1X1,
    CONVOLUTIONS,
    EDGES,
    NONE,
    OPERATIONS,
    SKIP,
    Cell,
    parse_arch,
)
from nas_skeleton.spaces.keys import functional_key, nb201_key, weight_matching
from nas_skeleton.spaces.liveness import Role, ignores_input, roles
from nas_skeleton.spaces.order import nats_bench_order


@pytest.fixture(scope="module")
def classes() -> dict[str, list[Cell]]:
    members = defaultdict(list)
    for cell in nats_bench_order():
        members[functional_key(cell)].append(cell)
    return members


# --- counts -----------------------------------------------------------------------------------


def test_nb201_classes() -> None:
    count = Counter(map(nb201_key, nats_bench_order()))
    assert len(count) == 6_466
    assert [size for _, size in count.most_common(4)] == [275, 275, 275, 250]
    assert sum(size == 1 for size in count.values()) == 5_116


def test_nb201_keys_are_those_of_the_published_table(shared_data: Path) -> None:
    with (shared_data / "nb201" / "nats_bench_cifar.csv").open(newline="") as file:
        published = [row["UniqueString"] for row in csv.DictReader(file)]
    assert list(map(nb201_key, nats_bench_order())) == published


def test_functional_classes(classes: dict[str, list[Cell]]) -> None:
    assert len(classes) == 5_234
    assert sorted(map(len, classes.values()))[-5:] == [201, 242, 284, 284, 284]
    assert len(classes["y=0"]) == 201
    assert len(classes["y=x"]) == 242


def test_nb201_keys_are_neither_finer_nor_coarser(classes: dict[str, list[Cell]]) -> None:
    functions = defaultdict(set)
    strings = {key: {nb201_key(cell) for cell in cells} for key, cells in classes.items()}
    for key, cells in classes.items():
        for cell in cells:
            functions[nb201_key(cell)].add(key)
    assert sum(len(mixed) > 1 for mixed in functions.values()) == 523
    assert sum(len(split) > 1 for split in strings.values()) == 864


def test_keys_are_short_and_quick() -> None:
    keys._canonical.cache_clear()
    start = time.process_time()
    texts = [(functional_key(cell), nb201_key(cell)) for cell in nats_bench_order()]
    assert time.process_time() - start < 5.0  # 0.6 s on an idle core
    assert max(len(functional) for functional, _ in texts) <= 100
    assert all(functional.isascii() for functional, _ in texts)


# --- an independent oracle ---------------------------------------------------------------------
# Plain nested tuples, every naming tried, no shortcuts. Options weaken or strengthen the rule.


def oracle_key(cell: Cell, *, linear_pool: bool = True, blind_1x1_is_bias: bool = False) -> str:
    nodes: list[list[tuple[str, ...]]] = [[("x",)]]  # a term: atom, then "P" per average pool
    heads: dict[str, str] = {}
    arguments: dict[str, list[tuple[str, ...]]] = {}
    flat: set[str] = set()

    def pooled(term: tuple[str, ...]) -> tuple[str, ...]:
        return term if term[0] in flat else (*term, "P")

    for target in (1, 2, 3):
        node: list[tuple[str, ...]] = []
        for (source, to), op in zip(EDGES, cell.operations, strict=True):
            if to != target or op == NONE or (op not in CONVOLUTIONS and not nodes[source]):
                continue
            value = nodes[source]
            if op == SKIP:
                node += value
            elif op == AVG_POOL and linear_pool:
                node += map(pooled, value)
            elif op == AVG_POOL:  # opaque: one term whose text is its argument
                text = f"pool{sorted(value)}"
                arguments[text], heads[text] = value, "pool"
                node.append((text,))
            else:
                edge = f"edge{source}{to}"
                blind = all(term[0] in flat for term in value)
                is_bias = not value or (blind_1x1_is_bias and op == CONV_1X1 and blind)
                arguments[edge] = [] if is_bias else value
                heads[edge] = "bias" if is_bias else OPERATIONS[op]
                if is_bias or (op == CONV_1X1 and blind):
                    flat.add(edge)
                node.append((edge,))
        nodes.append(node)

    used: list[str] = []

    def visit(terms: list[tuple[str, ...]]) -> None:
        for atom, *_ in terms:
            if atom in arguments and atom not in used:
                visit(arguments[atom])
                used.append(atom)

    visit(nodes[3])
    weights = [atom for atom in used if heads[atom] != "pool"]

    def written(naming: dict[str, str]) -> str:
        def terms_text(terms: list[tuple[str, ...]]) -> str:
            return "+".join(sorted(atom_text(atom) + "".join(pools) for atom, *pools in terms))

        def atom_text(atom: str) -> str:
            if heads.get(atom) == "pool":
                return f"pool({terms_text(arguments[atom])})"
            return naming.get(atom, "x")

        definitions = sorted(
            f"{naming[atom]}={heads[atom]}({terms_text(arguments[atom])})" for atom in weights
        )
        return ";".join([*definitions, terms_text(nodes[3])])

    return min(
        written(dict(zip(weights, naming, strict=True)))
        for naming in itertools.permutations("abcdef"[: len(weights)])
    )


def test_the_key_agrees_with_trying_every_naming() -> None:
    pairs = {(functional_key(cell), oracle_key(cell)) for cell in nats_bench_order()}
    assert len(pairs) == len({key for key, _ in pairs}) == len({key for _, key in pairs}) == 5_234


@pytest.mark.parametrize(("linear_pool", "count"), [(True, 5_224), (False, 5_475)])
def test_counts_of_the_rule_that_holds_in_training_mode_only(linear_pool: bool, count: int) -> None:
    """Counts sometimes quoted, which take a 1x1 convolution of a constant for its bias."""

    found = {
        oracle_key(cell, linear_pool=linear_pool, blind_1x1_is_bias=True)
        for cell in nats_bench_order()
    }
    assert len(found) == count


# --- rules -------------------------------------------------------------------------------------


def key(*operations: int) -> str:
    return functional_key(Cell(operations))


def test_keys_can_be_read() -> None:
    assert key(3, 0, 2, 4, 1, 1) == "a=conv3x3(x); b=conv1x1(a); y=a+b+pool(x)"
    assert key(3, 1, 1, 1, 3, 2) == "a=conv3x3(x); b=conv3x3(a); c=conv1x1(a+x); y=b+c+x"


def test_two_weight_sets_are_not_one_used_twice() -> None:
    assert key(3, 3, 0, 0, 1, 1) == "a=conv3x3(x); b=conv3x3(x); y=a+b"
    assert key(3, 0, 1, 0, 1, 1) == "a=conv3x3(x); y=2a"


def test_which_of_two_equal_convolutions_goes_on_matters() -> None:
    assert key(3, 3, 2, 0, 1, 1) == "a=conv3x3(x); b=conv3x3(x); c=conv1x1(a); y=a+b+c"
    assert key(3, 3, 1, 0, 0, 2) == "a=conv3x3(x); b=conv3x3(x); c=conv1x1(a+b); y=c"
    assert key(3, 3, 0, 0, 2, 3) != key(3, 1, 0, 3, 2, 3)


def test_a_convolution_of_zero_is_a_bias_of_any_kernel_size() -> None:
    assert key(0, 1, 2, 0, 0, 1) == key(0, 1, 3, 0, 0, 1) == "a=bias; y=a+x"
    assert key(0, 1, 2, 0, 3, 1) == "a=bias; b=bias; y=a+b+x"


def test_pooling_is_linear_and_leaves_constants_alone() -> None:
    assert key(4, 0, 0, 3, 4, 0) == key(4, 0, 4, 3, 0, 1)  # pool(pool(x)) either way
    assert key(3, 1, 1, 0, 0, 4) == "a=conv3x3(x); y=pool(a)+pool(x)"
    assert key(0, 0, 3, 1, 0, 4) == key(0, 0, 3, 1, 0, 1) == "a=bias; y=a+x"
    assert key(0, 0, 3, 0, 0, 3) == "a=bias; b=conv3x3(a); y=b"  # zero padding: not constant


def test_a_1x1_convolution_of_a_constant_is_not_its_bias() -> None:
    assert key(0, 0, 3, 1, 0, 2) == "a=bias; b=conv1x1(a); y=b+x"


def test_the_weights_of_a_key_are_those_of_the_edges_that_are_not_dead() -> None:
    for cell in nats_bench_order():
        expected = [
            edge
            for edge, role in enumerate(roles(cell))
            if role is not Role.DEAD and cell.operations[edge] in CONVOLUTIONS
        ]
        assert sorted(weight_matching(cell, cell)) == expected


def test_a_key_names_the_input_iff_the_cell_sees_it() -> None:
    for cell in nats_bench_order():
        plain = functional_key(cell).replace("1x1", "").replace("3x3", "")
        assert ("x" in plain) is not ignores_input(cell)


def test_matchings_are_one_to_one_and_keep_kernels(classes: dict[str, list[Cell]]) -> None:
    for first, *others in classes.values():
        for other in others:
            matching = weight_matching(first, other)
            assert len(set(matching.values())) == len(matching)
            for mine, theirs in matching.items():
                assert roles(first)[mine] is roles(other)[theirs]
                if roles(first)[mine] is Role.LIVE:
                    assert first.operations[mine] == other.operations[theirs]


def test_cells_of_two_classes_have_no_matching() -> None:
    one = parse_arch("|nor_conv_3x3~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|")
    other = parse_arch("|nor_conv_1x1~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|")
    with pytest.raises(InputError, match="different functional keys"):
        weight_matching(one, other)
