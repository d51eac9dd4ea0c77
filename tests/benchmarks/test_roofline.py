"""What a step asks for, counted; and what the machine can do, measured."""

import pytest
import torch

from nas_skeleton.benchmarks import roofline
from nas_skeleton.benchmarks.roofline import (
    Demand,
    Peaks,
    floor,
    live_part,
    mean_demand,
    measure_peaks,
)
from nas_skeleton.spaces import load_space
from nas_skeleton.spaces.cell import CONV_3X3, NONE, SKIP, Cell

SKIP_ONLY = Cell((NONE, NONE, NONE, SKIP, NONE, NONE))


def demand(space, cell, **changes):
    recipe = space.card.recipe().model_copy(update=changes)
    cells = [space.index(cell)]
    return mean_demand(space, recipe, cells, classes=27, joints=20, bodies=1), recipe


def test_the_least_traffic_of_a_small_network_by_hand():
    found, recipe = demand(
        load_space("nb201-image"), SKIP_ONLY, channels=4, cells_per_stage=1, frames=8, batch_size=2
    )
    first = 4 * 8 * 20
    second, third = first / 2, first / 4
    read = 3 * 8 * 20 + first  # stem: the clip, and what its convolution wrote
    read += first + second + third  # one skip a cell
    read += 2 * first + 2 * second + 2 * second + 2 * third  # reductions
    read += third  # head
    written = 2 * first + (first + second + third) + 3 * (second + third)
    assert found.least_bytes == 4 * recipe.batch_size * 3 * (read + written)
    assert found.maps == 4 * recipe.batch_size * written
    assert found.op_by_op_bytes > found.least_bytes


def test_arithmetic_counts_live_edges_only():
    space = load_space("nb201")
    full = Cell((CONV_3X3,) * 6)
    found, recipe = demand(space, full)
    macs = space.cost(space.index(full), recipe, classes=27, joints=20).macs
    assert found.flops == 6 * macs * recipe.batch_size
    dead = Cell((CONV_3X3, NONE, NONE, SKIP, NONE, NONE))  # node 1 leads nowhere
    assert live_part(dead) == SKIP_ONLY
    assert demand(space, dead) == demand(space, SKIP_ONLY)


def test_the_floor_is_the_larger_of_arithmetic_and_traffic():
    asked = Demand(flops=2e9, least_bytes=1e9, op_by_op_bytes=3e9, maps=1e8)
    assert floor(asked, Peaks(1e12, 1e12)).ms == pytest.approx(2.0)
    assert floor(asked, Peaks(1e12, 1e11)).ms == pytest.approx(10.0)
    assert floor(asked, Peaks(1e12, 1e11)).op_by_op_traffic_ms == pytest.approx(30.0)


def test_peaks_are_measured(monkeypatch):
    monkeypatch.setitem(roofline.GEMM_SIZES, "cpu", (64,))
    peaks = measure_peaks(torch.device("cpu"), maps=1e5)
    assert 1e6 < peaks.flops_per_s < 1e15
    assert 1e6 < peaks.bytes_per_s < 1e15
