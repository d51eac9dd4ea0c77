"""Parameters and MACs, against the golden values of NAS-Bench-201 and of the thesis."""

from __future__ import annotations

from typing import Literal

import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.spaces.cell import AVG_POOL, CONV_1X1, CONV_3X3, SKIP, Cell
from nas_skeleton.spaces.costs import Cost, image_stem_cost, network_cost, reduced_size, taps_inside
from nas_skeleton.spaces.order import nats_bench_order

CIFAR_10 = {"classes": 10, "height": 32, "width": 32}
CIFAR_100 = {"classes": 100, "height": 32, "width": 32}
IMAGENET_16_120 = {"classes": 120, "height": 16, "width": 16}


def nb201_cost(cell: Cell, *, classes: int, height: int, width: int) -> Cost:
    """A network as NAS-Bench-201 trains it: 16 channels, 5 cells per stage, image stem."""
    return network_cost(
        cell,
        channels=16,
        cells_per_stage=5,
        classes=classes,
        height=height,
        width=width,
        stem=image_stem_cost(16, height, width),
        reduction="both",
    )


@pytest.mark.parametrize(
    ("index", "data", "megaparams", "megaflops"),
    [
        (0, CIFAR_10, "0.129306", "15.647370"),
        (0, CIFAR_100, "0.135156", "15.653220"),
        (0, IMAGENET_16_120, "0.136456", "3.919480"),
        (11, CIFAR_10, "0.802426", "113.951370"),
        (11, CIFAR_100, "0.808276", "113.957220"),
        (284, CIFAR_10, "0.101306", "11.715210"),
    ],
)
def test_golden_values_of_nas_bench_201(
    index: int, data: dict[str, int], megaparams: str, megaflops: str
) -> None:
    """The `params` and `flop` stored in the published benchmark, in millions."""
    cost = nb201_cost(nats_bench_order()[index], **data)
    assert f"{cost.params / 1e6:.6f}" == megaparams
    assert f"{cost.macs / 1e6:.6f}" == megaflops


@pytest.mark.parametrize(
    ("operation", "size", "classes", "params", "macs"),
    [
        (CONV_3X3, (20, 68), 27, 1_532_651, 292_347_355),
        (CONV_1X1, (20, 68), 27, 242_411, 41_672_155),
        (SKIP, (20, 68), 27, 74_411, 10_337_755),
        (CONV_3X3, (28, 84), 60, 1_534_796, 505_589_820),
        (CONV_1X1, (28, 84), 60, 244_556, 72_069_180),
        (SKIP, (28, 84), 60, 76_556, 17_879_100),
    ],
)
def test_sizes_of_the_thesis_candidates(
    operation: int, size: tuple[int, int], classes: int, params: int, macs: int
) -> None:
    """Uniform cells on UTD-MHAD and NTU images; published in tenths of a million MACs."""
    cost = nb201_cost(Cell((operation,) * 6), classes=classes, height=size[0], width=size[1])
    assert cost.params == params
    assert cost.macs == macs


def test_the_space_has_28_different_costs() -> None:
    costs = {nb201_cost(cell, **CIFAR_10) for cell in nats_bench_order()}
    assert len({cost.macs for cost in costs}) == len({cost.params for cost in costs}) == 28


def test_dead_edges_count_as_stored() -> None:
    dead, live = Cell((3, 0, 0, 1, 0, 0)), Cell((0, 0, 0, 1, 3, 0))
    assert nb201_cost(dead, **CIFAR_10) == nb201_cost(live, **CIFAR_10)


def test_pool_and_skip_are_free() -> None:
    pool, skip = Cell((AVG_POOL,) * 6), Cell((SKIP,) * 6)
    assert nb201_cost(pool, **CIFAR_10) == nb201_cost(skip, **CIFAR_10)


@pytest.mark.parametrize(
    ("reduction", "size", "reduced"),
    [
        ("both", (32, 20), (16, 10)),
        ("both", (33, 25), (17, 13)),
        ("both", (1, 1), (1, 1)),
        ("time", (32, 25), (16, 25)),
        ("time", (33, 25), (17, 25)),
    ],
)
def test_reductions_round_up(
    reduction: Literal["both", "time"], size: tuple[int, int], reduced: tuple[int, int]
) -> None:
    assert reduced_size(*size, reduction) == reduced


def test_taps_inside_a_map_by_hand() -> None:
    assert taps_inside(3, 4) * taps_inside(3, 5) == 10 * 13  # of 180
    assert taps_inside(9, 16) == 9 * 16 - 2 * (4 + 3 + 2 + 1)
    assert (
        taps_inside(3, 8, 2) * taps_inside(3, 10, 2) == 11 * 14
    )  # only the first position looks outside
    assert taps_inside(3, 5, 2) == 2 + 3 + 2  # rounded up, the last position looks outside as well
    assert taps_inside(9, 3) == 9
    assert taps_inside(1, 7) == 7


def test_reducing_time_only_counts_all_joints_in_every_stage() -> None:
    """Checked by hand: 1x1 edge, 2 channels, 1 cell, 4 frames, 3 joints."""
    cost = network_cost(
        Cell((0, 0, 0, 2, 0, 0)),
        channels=2,
        cells_per_stage=1,
        classes=5,
        height=4,
        width=3,
        stem=Cost(7, 11),
        reduction="time",
    )
    cells = 2 * 2 * 12 + 4 * 4 * 6 + 8 * 8 * 3
    reductions = (2 * 4 * 9 + 4 * 4 * 9 + 2 * 4) * 6 + (4 * 8 * 9 + 8 * 8 * 9 + 4 * 8) * 3
    assert cost.macs == 11 + cells + reductions + 8 * 5 + 5
    conv_params = (4 + 4) + (16 + 8) + (64 + 16)
    reduction_params = (72 + 8 + 144 + 8 + 8) + (288 + 16 + 576 + 16 + 32)
    assert cost.params == 7 + conv_params + reduction_params + 16 + 8 * 5 + 5


def test_operations_on_the_graph_have_the_same_weights_and_sums_over_neighbours_on_top() -> None:
    """Checked by hand: two 3x3 edges and a pool, 2 channels, 1 cell, 5 frames, 3 joints."""

    def cost(operations: Literal["grid", "graph"]) -> Cost:
        return network_cost(
            Cell((3, 4, 2, 3, 0, 0)),
            channels=2,
            cells_per_stage=1,
            classes=5,
            height=5,
            width=3,
            stem=Cost(7, 11),
            reduction="time",
            operations=operations,
            bodies=2,
        )

    grid, graph = cost("grid"), cost("graph")
    assert graph.params == grid.params
    numbers = [2 * 5 * 3, 4 * 3 * 3, 8 * 2 * 3]  # of the maps of the three stages
    before = [2 * 5 * 3, 4 * 3 * 3, 4 * 3 * 3, 8 * 2 * 3]  # of those that reductions convolve
    assert graph.macs - grid.macs == 2 * (3 * 3) * (2 * sum(numbers) + sum(before))


def test_bodies_share_weights_and_the_head_runs_once() -> None:
    common = {"channels": 4, "cells_per_stage": 2, "classes": 3, "height": 6, "width": 5}
    stem, cell = image_stem_cost(4, 6, 5), Cell((3, 1, 2, 4, 3, 2))
    one = network_cost(cell, **common, stem=stem, reduction="both")
    two = network_cost(cell, **common, stem=stem, reduction="both", bodies=2)
    head = 16 * 3 + 3
    assert two.params == one.params
    assert two.macs - head == 2 * (one.macs - head)


def test_costs_add_up() -> None:
    assert Cost(1, 2) + Cost(10, 20) == Cost(11, 22)
    assert Cost(1, 2).times(3) == Cost(3, 6)


@pytest.mark.parametrize(
    ("change", "says"), [({"height": 0}, "height is 0"), ({"reduction": "joints"}, "joints")]
)
def test_impossible_networks_are_refused(change: dict[str, object], says: str) -> None:
    arguments = {
        "channels": 4,
        "cells_per_stage": 1,
        "classes": 3,
        "height": 6,
        "width": 5,
        "stem": Cost(0, 0),
        "reduction": "both",
    }
    with pytest.raises(InputError, match=says):
        network_cost(Cell((0,) * 6), **(arguments | change))  # type: ignore[arg-type]
