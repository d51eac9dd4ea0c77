"""The index order is the one of NAS-Bench-201 and NATS-Bench."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import pytest

from nas_skeleton.spaces import order
from nas_skeleton.spaces.cell import Cell, arch_string, parse_arch
from nas_skeleton.spaces.order import nats_bench_order, order_sha256

GOLDEN = {
    0: "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|"
    "+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|",
    1: "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|"
    "+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|",
    9: "|avg_pool_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|nor_conv_3x3~2|",
    11: "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|none~0|nor_conv_3x3~1|avg_pool_3x3~2|",
    123: "|avg_pool_3x3~0|+|avg_pool_3x3~0|nor_conv_1x1~1|+|none~0|avg_pool_3x3~1|nor_conv_3x3~2|",
    284: "|skip_connect~0|+|skip_connect~0|skip_connect~1|+|none~0|nor_conv_1x1~1|none~2|",
    1111: "|skip_connect~0|+|nor_conv_3x3~0|skip_connect~1|+|skip_connect~0|skip_connect~1|none~2|",
    1462: "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
    "+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|",
    6111: "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
    "+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|",
    9930: "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
    "+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|",
    13714: "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
    "+|skip_connect~0|nor_conv_1x1~1|nor_conv_3x3~2|",
    15624: "|nor_conv_1x1~0|+|none~0|nor_conv_1x1~1|+|none~0|nor_conv_1x1~1|nor_conv_1x1~2|",
}


def test_the_order_is_that_of_nats_bench() -> None:
    cells = list(nats_bench_order())
    assert len(cells) == len(set(cells)) == 15_625
    assert order_sha256(cells) == "83abc799e45cf34e9d2163654668ab998b9a54d01c39e72ca1f71f2cdf356d84"


@pytest.mark.parametrize("index", GOLDEN)
def test_golden_strings(index: int) -> None:
    assert arch_string(nats_bench_order()[index]) == GOLDEN[index]


def test_another_shuffle_is_a_loud_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "SHUFFLE_SEED", 89)
    with pytest.raises(RuntimeError, match="NATS-Bench"):
        nats_bench_order.__wrapped__()


def test_every_row_of_the_published_table(shared_data: Path) -> None:
    """Row i of the file is architecture i."""
    with (shared_data / "nb201" / "nats_bench_cifar.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    cells = nats_bench_order()
    assert [row["ArchitectureString"] for row in rows] == list(map(arch_string, cells))
    assert [parse_arch(row["ArchitectureString"]) for row in rows] == list(cells)


def test_all_cells_are_there() -> None:
    assert set(nats_bench_order()) == {Cell(o) for o in itertools.product(range(5), repeat=6)}
