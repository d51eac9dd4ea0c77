"""The effort of a training: what is counted, and what costs nothing."""

import collections
import itertools
import random
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from nas_skeleton.results.run import Clips, DataFacts
from nas_skeleton.scheduling import effort
from nas_skeleton.scheduling.effort import MODEL_EFFORTS, PRICES, Network, efforts
from nas_skeleton.skeletons.layouts import UTDMHAD
from nas_skeleton.spaces import Cell, Space, load_space
from nas_skeleton.spaces.costs import taps_inside
from nas_skeleton.spaces.models import MODEL_NAMES
from nas_skeleton.training.candidates import Problem
from nas_skeleton.training.clips import FixedClips
from nas_skeleton.training.engines.native.network import write
from nas_skeleton.training.engines.native.program import Code, Program
from nas_skeleton.training.job import Job
from nas_skeleton.training.task import Task

NONE, SKIP, CONV_1X1, CONV_3X3, POOL = range(5)
JOINTS = len(UTDMHAD.joints)


class Facts:
    """Stands for a run: what is known of its data."""

    def __init__(self, bodies=1, recipe="quick"):
        self.arguments = SimpleNamespace(recipe=recipe)
        clips = {"train": Clips(["a"], [0])}
        self.data = DataFacts(classes=["a"], joints=JOINTS, bodies=bodies, splits=clips)


def job(arch_index, seed=777, recipe="quick"):
    return Job("nb201", arch_index, "utdmhad", "f", "thesis", recipe, "h", seed)


def effort_of(*operations):
    space = load_space("nb201")
    [found] = efforts(space, Facts(), [job(space.index(Cell(operations)))])
    return found


# --- what is counted is what engine native computes


def computed(card, recipe, cell, channels=3):
    """Multiply-adds, and numbers in maps by kind of operation, in the program of engine native."""
    inputs = torch.zeros(1, channels, recipe.frames, JOINTS, 1)
    task = Task(FixedClips(inputs), torch.zeros(1), {}, 1, UTDMHAD)
    program = Program(collections.defaultdict(int), collections.defaultdict(int))
    write(program, Problem(card, recipe, task), cell)
    operations, _ = program.finish()
    multiply_adds, links, numbers = 0, 0, collections.Counter()
    for code, source, out, *fields in operations.tolist():
        channels, height, width = program.shapes[out] if code in WRITES else (0, 0, 0)
        numbers[code] += channels * height * width
        if code == Code.CONVOLUTION:
            _, _, kernel_h, kernel_w, stride_h, stride_w, *_ = fields
            from_channels, from_height, from_width = program.shapes[source]
            taps = taps_inside(kernel_h, from_height, stride_h)
            taps *= taps_inside(kernel_w, from_width, stride_w)
            multiply_adds += channels * from_channels * taps
        if code == Code.GRAPH:
            *_, count, _, _, importance = fields[:6]
            from_channels, from_height, _ = program.shapes[source]
            # The stem's, which have an importance to train, are the same for all cells.
            links += count * from_channels * from_height * (importance < 0)
        if code == Code.ACTIONAL:
            _, types, *_ = fields
            from_channels, from_height, from_width = program.shapes[source]
            multiply_adds += types * from_channels * from_height * from_width**2
    last = operations[-1]
    assert last[0] == Code.HEAD
    numbers["last norm"] = torch.Size(program.shapes[last[1]]).numel()
    return multiply_adds, links, numbers


WRITES = (Code.CONVOLUTION, Code.RELU, Code.POOL, Code.REDUCE, Code.COPY)


@pytest.mark.parametrize(
    ("name", "reduction", "channels"),
    [
        *itertools.product(["nb201", "nb201-image"], ["both"], [3]),
        *itertools.product(["nb201", "nb201-image", "nb201-graph"], ["time"], [2, 6]),
        *itertools.product(["nb201-asgcn"], ["both", "time"], [3 + 2 * JOINTS, 6 + 2 * JOINTS]),
    ],
)
def test_what_is_counted_is_what_the_native_engine_computes(name, reduction, channels):
    space = load_space(name)
    macro = space.card.macro.model_copy(update={"reduction": reduction})
    stem = space.card.stem
    if stem.kind != "image":
        stem = stem.model_copy(update={"blocks": 2})
    space.card = space.card.model_copy(update={"macro": macro, "stem": stem})
    sizes = {"channels": 4, "cells_per_stage": 2, "frames": 9}
    recipe = space.card.recipe().model_copy(update=sizes)
    network = Network(space, recipe, JOINTS, channels)
    for index in random.Random(5).sample(range(len(space)), 25):
        cell = space.cell(index)
        work = network.work(cell)
        multiply_adds, links, numbers = computed(space.card, recipe, cell, channels)
        assert work.multiply_adds == multiply_adds, cell
        assert work.links == links, cell
        assert (links > 0) == (name == "nb201-graph")
        assert work.convolution == numbers[Code.CONVOLUTION] + numbers["last norm"], cell
        # What the stem gives may be a ReLU's already; up to three nodes are copies of that.
        spared = (work.relu - numbers[Code.RELU]) / (recipe.channels * recipe.frames * JOINTS)
        assert spared in ((0,) if name == "nb201-image" else (0, 1, 2, 3)), cell
        assert work.pool == numbers[Code.POOL] + numbers[Code.REDUCE], cell
        assert work.skip == numbers[Code.COPY], cell


# --- what follows


def test_sums_over_neighbours_cost_where_cells_are_on_the_graph():
    grid, graph = load_space("nb201"), load_space("nb201-graph")
    grid.card = grid.card.model_copy(update={"macro": graph.card.macro})
    cells = [Cell((NONE, NONE, NONE, op, SKIP, SKIP)) for op in (CONV_1X1, CONV_3X3, POOL)]
    pairs = [
        [Network(space, space.card.recipe(), JOINTS).effort(cell) for space in (grid, graph)]
        for cell in cells
    ]
    extra = [on_graph - on_grid for on_grid, on_graph in pairs]
    assert 0 < extra[0] < extra[2] < extra[1]  # reductions; a mean; sums, and more taps inside


def test_the_more_a_stem_links_the_more_it_costs():
    space, linked = load_space("nb201"), load_space("nb201-asgcn")
    recipe, cell = space.card.recipe(), Cell((NONE, NONE, NONE, SKIP, NONE, NONE))
    spaces = [space]
    for hops in (1, 2, 4):
        stem = linked.card.stem.model_copy(update={"hops": hops})
        spaces.append(Space(linked.card.model_copy(update={"stem": stem})))
    counted = [
        Network(space, recipe, JOINTS, space.card.channels(3, JOINTS)).work(cell).multiply_adds
        for space in spaces
    ]
    without, one, two, four = counted
    projected = 3 * recipe.channels * recipe.frames * JOINTS  # of one subset, or type of link
    assert one - without == 2 * projected + 2 * 3 * recipe.frames * JOINTS**2
    assert two - one == (four - two) / 2 == 2 * projected


def test_dead_edges_and_a_skip_alone_cost_nothing():
    lone_skip = effort_of(NONE, NONE, NONE, SKIP, NONE, NONE)
    assert lone_skip == effort_of(CONV_3X3, NONE, NONE, SKIP, NONE, NONE)
    assert lone_skip == effort_of(SKIP, NONE, SKIP, NONE, NONE, SKIP)
    assert lone_skip < effort_of(SKIP, NONE, NONE, SKIP, SKIP, NONE)


def test_operations_in_the_order_of_their_cost():
    found = [effort_of(NONE, NONE, NONE, op, op, SKIP) for op in (NONE, SKIP, POOL)]
    found += [effort_of(SKIP, NONE, NONE, op, op, SKIP) for op in (CONV_1X1, CONV_3X3)]
    assert found == sorted(set(found))
    assert found[-1] > 3 * found[0]


def test_a_network_that_ignores_its_input_goes_no_way_back():
    assert effort_of(NONE, NONE, NONE, NONE, NONE, NONE) == pytest.approx(
        PRICES.blind * effort_of(NONE, NONE, NONE, SKIP, NONE, NONE)
    )


def test_seeds_share_an_effort_and_recipes_and_bodies_do_not():
    space = load_space("nb201")
    jobs = [job(6111, 777), job(9930), job(6111, 888)]
    first, other, again = efforts(space, Facts(), jobs)
    assert first == again
    assert first != other
    [longer] = efforts(space, Facts(recipe="standard"), jobs[:1])
    assert longer > 1.9 * first
    assert efforts(space, Facts(bodies=2), jobs[:1]) == [2 * first]


def test_the_cell_is_looked_at_once_however_many_seeds(monkeypatch):
    looked = []
    work = Network.work
    monkeypatch.setattr(Network, "work", lambda self, cell: looked.append(cell) or work(self, cell))
    efforts(load_space("nb201"), Facts(), [job(6111, seed) for seed in range(5)])
    assert len(looked) == 1


def test_torch_is_not_needed():
    ask = f"import sys, {effort.__name__}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", ask], check=False).returncode == 0


def test_every_reference_model_has_an_effort():
    assert MODEL_EFFORTS.keys() == set(MODEL_NAMES)
