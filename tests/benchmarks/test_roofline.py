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
    multiply_adds,
)
from nas_skeleton.network.build import candidate_network
from nas_skeleton.network.graph import spatial_partition
from nas_skeleton.network.links import with_links
from nas_skeleton.network.operations import GraphTimeConvolution
from nas_skeleton.network.stems import ActionalConvolution, GraphConvolution
from nas_skeleton.skeletons.layouts import NTU, UTDMHAD, Layout
from nas_skeleton.spaces import load_space
from nas_skeleton.spaces.card import LINK_TYPES
from nas_skeleton.spaces.cell import AVG_POOL, CONV_1X1, CONV_3X3, NONE, SKIP, Cell
from nas_skeleton.spaces.liveness import Role, roles
from nas_skeleton.spaces.order import nats_bench_order

SKIP_ONLY = Cell((NONE, NONE, NONE, SKIP, NONE, NONE))


def demand(space, cell, joints=20, **changes):
    recipe = space.card.recipe().model_copy(update=changes)
    sizes = {"classes": 27, "joints": joints, "bodies": 1}
    channels = space.card.channels(3, joints)
    return mean_demand(space, recipe, [space.index(cell)], **sizes, channels=channels), recipe


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


def test_arithmetic_of_a_small_network_by_hand():
    space = load_space("nb201-image")
    cell = Cell((NONE, NONE, NONE, CONV_1X1, NONE, NONE))
    found, recipe = demand(space, cell, joints=5, channels=2, cells_per_stage=1, frames=4)
    stem = 2 * 3 * 2 * 130  # without the input's gradient
    cells = 3 * (2**2 * 4 * 5 + 4**2 * 2 * 3 + 8**2 * 1 * 2)
    # taps of stride 2 on 4x5, then of stride 1 on 2x3, then both again from 2x3 to 1x2
    first = 3 * (2 * 4 * (5 * 7 + 2 * 3) + 4**2 * 4 * 7)
    second = 3 * (4 * 8 * (2 * 4 + 1 * 2) + 8**2 * 1 * 4)
    head = 3 * 8 * 27
    assert found.flops == 2 * recipe.batch_size * (stem + cells + first + second + head)


def test_arithmetic_of_the_graph_stem_by_hand():
    """Two blocks on three joints in a row: 7 links, at least 6 pairs of subset and joint."""
    card = load_space("nb201").card.stem.model_copy(update={"blocks": 2, "temporal_kernel": 3})
    first = 1 * 3 * 7 * 4 + 2 * 3 * 6 * 2 * 4
    second = 2 * 2 * 7 * 4 + 3 * 2 * 6 * 2 * 4
    temporal = 3 * 2**2 * 10 * 3
    assert roofline._stem_multiply_adds(card, 3, 2, 4, 3) == first + second + 2 * temporal


def test_arithmetic_of_a_stem_with_links_by_hand():
    """As above, but joints two bones apart are linked too, and to themselves by two types more."""
    card = load_space("nb201-asgcn").card.stem.model_copy(
        update={"blocks": 2, "temporal_kernel": 3, "hops": 2}
    )
    first = 1 * 3 * (9 + 6) * 4 + 2 * 3 * (6 + 6) * 2 * 4
    second = 2 * 2 * (9 + 6) * 4 + 3 * 2 * (6 + 6) * 2 * 4
    temporal = 3 * 2**2 * 10 * 3
    found = roofline._stem_multiply_adds(card, 3 + 2 * 3, 2, 4, 3)
    assert found == first + second + 2 * temporal


@pytest.mark.parametrize("hops", [1, 2, 3, 4, 6])
def test_no_skeleton_has_fewer_links_than_a_row_of_joints(hops):
    def links(layout):
        return (spatial_partition(layout, "spatial-distance", hops) > 0).sum()

    for layout in (HUB, UTDMHAD, NTU):
        assert roofline._links(len(layout.joints), hops) <= links(layout)
    assert roofline._links(5, hops) == links(ROW)


def test_links_move_maps_of_their_own_only_op_by_op():
    small = {"channels": 4, "cells_per_stage": 1, "frames": 8, "batch_size": 2}
    (plain, _), (linked, _) = (
        demand(load_space(name), SKIP_ONLY, **small) for name in ("nb201", "nb201-asgcn")
    )
    assert linked.least_bytes == plain.least_bytes
    assert linked.maps == plain.maps
    assert linked.op_by_op_bytes - plain.op_by_op_bytes == 4 * 2 * 9 * (4 * 8 * 20)


def test_sums_over_neighbours_move_maps_of_their_own_only_op_by_op():
    grid, graph = load_space("nb201"), load_space("nb201-graph")
    grid.card = grid.card.model_copy(update={"macro": graph.card.macro})
    small = {"channels": 4, "cells_per_stage": 1, "frames": 8, "batch_size": 2}
    cell = Cell((NONE, NONE, NONE, CONV_3X3, AVG_POOL, SKIP))
    (on_grid, _), (on_graph, _) = (demand(space, cell, **small) for space in (grid, graph))
    assert on_graph.least_bytes == on_grid.least_bytes
    assert on_graph.maps == on_grid.maps
    numbers = 4 * 8 * 20  # of a map in every stage
    convolved = 3 + 4  # one live convolution a cell, and two in each reduction
    assert on_graph.op_by_op_bytes - on_grid.op_by_op_bytes == 4 * 2 * 14 * convolved * numbers


def test_arithmetic_counts_live_edges_only():
    space = load_space("nb201")
    dead = Cell((CONV_3X3, NONE, NONE, SKIP, NONE, NONE))  # node 1 leads nowhere
    assert live_part(dead) == SKIP_ONLY
    assert demand(space, dead) == demand(space, SKIP_ONLY)
    constant = Cell((NONE, NONE, CONV_1X1, SKIP, CONV_3X3, CONV_3X3))  # nodes 1 and 2
    assert roles(constant)[-1] is Role.LIVE
    assert demand(space, constant)[0].flops == demand(space, SKIP_ONLY)[0].flops
    assert demand(space, Cell((NONE, NONE, NONE, NONE, NONE, CONV_3X3)))[0].flops == 0


ROW = Layout("row", ("a", "b", "c", "d", "e"), ((0, 1), (1, 2), (2, 3), (3, 4)), 2, 2, ())
HUB = Layout("hub", ("a", "b", "c", "d", "e"), ((0, 2), (1, 2), (3, 2), (4, 2)), 2, 2, ())
CELLS = [SKIP_ONLY, Cell((CONV_3X3,) * 6), *(nats_bench_order()[i] for i in range(5, 15_625, 781))]


def naive_taps(size, kernel, stride, padding):
    """Taps inside the map, one after the other."""
    (height, width), taps = size, 0
    for top in range(-padding[0], height + padding[0] - kernel[0] + 1, stride[0]):
        for left in range(-padding[1], width + padding[1] - kernel[1] + 1, stride[1]):
            for y in range(top, top + kernel[0]):
                for x in range(left, left + kernel[1]):
                    taps += 0 <= y < height and 0 <= x < width
    return taps


def naive_count(card, recipe, cell, layout, classes, bodies):
    """Multiply-adds per clip of what a network of torch modules really calls.

    By A-links, where there are any, joints act on nothing but themselves.
    """
    torch.manual_seed(1)
    joints = len(layout.joints)
    channels = card.channels(3, joints)
    network = candidate_network(
        card, recipe, cell, classes=classes, layout=layout, in_channels=channels
    ).double()
    for parameter in network.parameters():
        parameter.data.normal_()
        if parameter.ndim == 1:
            parameter.data.abs_()  # biases of batch norms keep ReLUs from being zero everywhere
    counted, gathered = [], []

    def on_call(module, arguments, _):
        maps = arguments[0].detach()
        if isinstance(module, torch.nn.Linear):
            counted.append(3 * module.in_features * module.out_features)
            return
        if torch.equal(maps[:bodies], maps[bodies:]):  # the same for both clips: a constant
            return
        if isinstance(module, GraphConvolution):
            inputs, outputs, frames = maps.shape[1], module.out_channels, maps.shape[2]
            first = inputs == 3  # the others have 2 or 4
            passes = 2 if first else 3
            links = torch.nonzero(module.adjacency).tolist()
            projected = {(k, w) for k, _, w in links}
            counted.append((1 if first else 2) * len(links) * inputs * frames * bodies)
            counted.append(passes * len(projected) * inputs * outputs * frames * bodies)
            return
        if isinstance(module, ActionalConvolution):
            inputs, outputs, frames = maps.shape[1], module.structural.out_channels, maps.shape[2]
            first = inputs == 3
            links = torch.count_nonzero(arguments[1][0]).item()
            counted.append((1 if first else 2) * links * inputs * frames * bodies)
            counted.append((2 if first else 3) * links * inputs * outputs * frames * bodies)
            return
        if any(module is actional for actional in actionals):
            return  # counted with its sums
        taps = naive_taps(maps.shape[2:], module.kernel_size, module.stride, module.padding)
        passes = 3 if arguments[0].requires_grad else 2
        if isinstance(module, GraphTimeConvolution):
            links = torch.nonzero(module.adjacency).tolist()
            if not any(arguments[0] is seen for seen in gathered):
                gathered.append(arguments[0])
                counted.append(2 * len(links) * maps.shape[1] * maps.shape[2] * bodies)
            taps //= maps.shape[3]  # over frames; one for every pair that is projected
            projected = {(k, w) for k, _, w in links}
            pairs = taps * len(projected) * maps.shape[1] * module.out_channels
            counted.append(passes * pairs * bodies)
            return
        counted.append(passes * module.in_channels * module.out_channels * taps * bodies)

    known = torch.nn.Conv2d | torch.nn.Linear | GraphConvolution | ActionalConvolution
    actionals = [m.actional for m in network.modules() if isinstance(m, ActionalConvolution)]
    for module in network.modules():
        if isinstance(module, known):
            module.register_forward_hook(on_call)
    clips = torch.randn(2, 3, recipe.frames, joints, bodies, dtype=torch.float64)
    if card.aim:
        to_itself = torch.eye(joints, dtype=torch.float64)[..., None]
        clips = with_links(clips, to_itself.expand(2, LINK_TYPES, -1, -1, bodies))
    scores = network(clips)
    return 0 if torch.equal(scores[0], scores[1]) else sum(counted)


@pytest.mark.parametrize(
    ("name", "blocks", "reduction"),
    [
        *[(*stem, "both") for stem in (("nb201-image", 0), ("nb201", 1), ("nb201", 2))],
        *[(*stem, "time") for stem in (("nb201-image", 0), ("nb201", 1), ("nb201", 2))],
        ("nb201-graph", 1, "time"),
        *[("nb201-asgcn", blocks, "both") for blocks in (1, 2)],
    ],
)
def test_arithmetic_is_what_a_naive_count_finds(name, blocks, reduction):
    card = load_space(name).card
    changes = {"blocks": blocks} if blocks else {}
    if name == "nb201-asgcn":
        changes["hops"] = 1
    stem = card.stem.model_copy(update=changes)
    card = card.model_copy(
        update={"stem": stem, "macro": card.macro.model_copy(update={"reduction": reduction})}
    )
    sizes = {"channels": 2, "cells_per_stage": 2, "frames": 7}
    recipe = card.recipe().model_copy(update=sizes)
    for cell in CELLS:
        naive = naive_count(card, recipe, cell, HUB, 3, 2)
        sizes = {"classes": 3, "joints": 5, "bodies": 2, "in_channels": card.channels(3, 5)}
        assert multiply_adds(card, recipe, cell, **sizes) == naive, cell


@pytest.mark.parametrize("layout", [UTDMHAD, NTU])
@pytest.mark.parametrize("partition", ["spatial-distance", "spatial-stgcn"])
@pytest.mark.parametrize(("name", "further"), [("nb201", 1), ("nb201-asgcn", 7)])
def test_arithmetic_is_hardly_below_a_naive_count_on_real_skeletons(
    layout, partition, name, further
):
    card = load_space(name).card
    stem = card.stem.model_copy(update={"partition": partition})
    card = card.model_copy(update={"stem": stem})
    recipe = card.recipe().model_copy(update={"channels": 4, "cells_per_stage": 1, "frames": 6})
    naive, joints = naive_count(card, recipe, SKIP_ONLY, layout, 3, 1), len(layout.joints)
    sizes = {"classes": 3, "joints": joints, "bodies": 1, "in_channels": card.channels(3, joints)}
    found = multiply_adds(card, recipe, SKIP_ONLY, **sizes)
    projected = joints * 2 * 3 * 4 * 6  # of one subset
    assert naive - further * projected <= found < naive


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
