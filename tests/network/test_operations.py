"""The operations on the graph: what they compute, joint by joint, and what keys rest on."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from nas_skeleton.network.cell import Bias, ConvNorm, LeanCell
from nas_skeleton.network.graph import hop_distances, spatial_partition
from nas_skeleton.network.initialise import initialise
from nas_skeleton.network.operations import Graph, Grid, gathered
from nas_skeleton.network.reference import ReferenceGraph
from nas_skeleton.skeletons.layouts import NTU, UTDMHAD, Layout
from nas_skeleton.spaces import Cell

LAYOUTS = [UTDMHAD, NTU]
MIXED = Cell((3, 4, 2, 1, 3, 4))  # every operation but none


def maps_of(layout, channels=3, frames=7, clips=2):
    generator = torch.Generator().manual_seed(1)
    shape = (clips, channels, frames, len(layout.joints))
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def convolution_of(operations, *sizes):
    conv = operations.wide_convolution(*sizes).double()
    nn.init.normal_(conv.weight, generator=torch.Generator().manual_seed(2))
    return conv


def by_hand(x, weight, layout, stride):
    """One number after the other, from distances between joints."""
    hops = hop_distances(layout)
    depth = hops[layout.centre]
    n, channels, frames, joints = x.shape
    out = np.zeros((n, len(weight), -(-frames // stride), joints))
    for (v, w), t, d in itertools.product(np.argwhere(hops <= 1), range(out.shape[2]), range(3)):
        at = t * stride + d - 1
        if not 0 <= at < frames:
            continue
        subset = 0 if v == w else 2 if depth[v] < depth[w] else 1
        share = np.float32(1 / (hops[:, w] <= 1).sum())
        tap = weight[:, subset * channels : (subset + 1) * channels, d, 0]
        out[:, :, t, w] += share * x[:, :, at, v] @ tap.T
    return out


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("frames", [1, 6, 7])
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
@pytest.mark.parametrize("operations", [Graph, ReferenceGraph])
def test_convolution_is_a_sum_over_three_subsets_and_three_frames(
    operations, layout, frames, stride
):
    conv = convolution_of(operations(layout), 3, 4, (stride, 1))
    x = maps_of(layout, frames=frames)
    expected = by_hand(x.numpy(), conv.weight.detach().numpy(), layout, stride)
    assert np.allclose(conv(x).detach().numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
@pytest.mark.parametrize("operations", [Graph, ReferenceGraph])
def test_pool_is_the_mean_over_a_joint_its_neighbours_and_the_frames_that_exist(operations, layout):
    x = maps_of(layout)
    found = operations(layout).pool().double()(x)
    near = hop_distances(layout) <= 1
    for t, w in itertools.product(range(x.shape[2]), range(x.shape[3])):
        seen = x[:, :, max(t - 1, 0) : t + 2, near[w]]
        assert torch.allclose(found[:, :, t, w], seen.mean(dim=(2, 3)), rtol=0, atol=1e-14)


def test_a_wide_convolution_has_as_many_weights_as_3x3_pixels():
    for sizes in ((4, 4), (4, 8, (2, 1))):
        graph, grid = (o.wide_convolution(*sizes) for o in (Graph(NTU), Grid()))
        assert graph.weight.numel() == grid.weight.numel()
        assert graph.bias is grid.bias is None
        x = maps_of(NTU, channels=4).float()
        assert graph(x).shape == grid(x).shape
    graph, grid = (LeanCell(MIXED, 4, operations) for operations in (Graph(NTU), Grid()))
    names = [[name for name, _ in cell.named_parameters()] for cell in (graph, grid)]
    assert names[0] == names[1]
    assert graph.state_dict().keys() == grid.state_dict().keys()


def test_both_sets_start_from_weights_of_the_same_range():
    convs = [o.wide_convolution(16, 16) for o in (Graph(NTU), Grid())]
    for conv in convs:
        initialise(conv, 3)
    graph, grid = (conv.weight.detach() for conv in convs)
    assert torch.equal(graph.flatten(), grid.flatten())


def relabelled(layout, order):
    """The same skeleton, whose joint i was joint `order[i]`."""
    place = {joint: i for i, joint in enumerate(order)}
    return Layout(
        layout.name,
        tuple(layout.joints[joint] for joint in order),
        tuple((place[a], place[b]) for a, b in layout.edges),
        place[layout.centre],
        place[layout.centring_joint],
        tuple((place[a], place[b]) for a, b in layout.left_right),
    )


@pytest.mark.parametrize(("operations", "commutes"), [(Graph, True), (Grid, False)])
def test_only_cells_on_the_graph_do_not_care_how_joints_are_numbered(operations, commutes):
    order = torch.randperm(20, generator=torch.Generator().manual_seed(4)).tolist()
    layouts = UTDMHAD, relabelled(UTDMHAD, order)
    cells = [
        LeanCell(MIXED, 3, operations(layout) if commutes else Grid()).double()
        for layout in layouts
    ]
    for cell in cells:
        initialise(cell, 5)
    x = maps_of(UTDMHAD)
    plain, other = cells[0](x), cells[1](x[..., order])
    assert torch.allclose(plain[..., order], other, rtol=0, atol=1e-12) is commutes


# --- what liveness and keys rest on


@pytest.mark.parametrize("training", [True, False])
def test_a_convolution_of_a_zero_map_is_the_bias_of_its_norm_and_trains_nothing_else(training):
    module = ConvNorm(convolution_of(Graph(NTU), 3, 3)).double().train(training)
    bias = Bias(3).double()
    for parameter in (module.norm.bias, bias.norm.bias):
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(6))
    zeros = torch.zeros_like(maps_of(NTU))
    out = module(zeros)
    assert torch.equal(out, bias(zeros))
    (out * maps_of(NTU)).sum().backward()
    assert not module.conv.weight.grad.any()
    assert not module.norm.weight.grad.any()
    assert module.norm.bias.grad.any()
    assert not module.norm.running_mean.any()


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_a_pool_is_linear_and_leaves_constants_unchanged(layout):
    pool = Graph(layout).pool().double()
    x = maps_of(layout)
    y = x.flip(2)
    assert torch.allclose(pool(2 * x + 3 * y), 2 * pool(x) + 3 * pool(y), rtol=0, atol=1e-12)
    constant = torch.randn(3, dtype=torch.float64)[None, :, None, None].expand_as(x)
    assert torch.allclose(pool(constant), constant, rtol=0, atol=1e-14)
    assert (pool(x).amax(dim=(2, 3)) <= x.amax(dim=(2, 3))).all()


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_a_convolution_of_a_constant_varies_with_the_joint_and_with_the_frame(layout):
    out = convolution_of(Graph(layout), 3, 2)(torch.ones_like(maps_of(layout)))
    assert out.std(dim=3).min() > 0.01
    assert (out[:, :, 0] - out[:, :, 1]).abs().max() > 0.01


# --- several networks side by side


def test_sums_over_neighbours_of_networks_side_by_side_are_those_of_each():
    adjacency = torch.from_numpy(spatial_partition(NTU, "spatial-distance")).double()
    parts = [maps_of(NTU, channels=4), maps_of(NTU, channels=4).flip(3)]
    alone = torch.cat([gathered(part, adjacency, 12) for part in parts], dim=1)
    assert torch.equal(gathered(torch.cat(parts, dim=1), adjacency, 12), alone)
    expected = torch.einsum("nctv,kvw->nkctw", parts[0], adjacency).flatten(1, 2)
    assert torch.allclose(alone[:, :12], expected, rtol=0, atol=1e-14)
