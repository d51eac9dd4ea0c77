"""Paths and mixtures of the supernet against the plain networks, in float64."""

import random

import pytest
import torch

from nas_skeleton.network.build import candidate_network
from nas_skeleton.network.initialise import initialise
from nas_skeleton.network.links import with_links
from nas_skeleton.oneshot.supernet import SharedCell, build_supernet
from nas_skeleton.skeletons.layouts import UTDMHAD
from nas_skeleton.spaces import load_space
from nas_skeleton.spaces.cell import EDGES, OPERATIONS, Cell
from nas_skeleton.spaces.liveness import Role, roles

SPACES = {name: load_space(name) for name in ("nb201", "nb201-image", "nb201-graph", "nb201-asgcn")}
STGCN = SPACES["nb201"]
SMALL = STGCN.card.recipe("quick").model_copy(
    update={"channels": 4, "cells_per_stage": 1, "frames": 7}
)
BIAS_CELLS = [i for i in range(500) if Role.BIAS in roles(STGCN.cell(i))][:6]
DEAD_OUTPUT = [i for i in range(2000) if set(roles(STGCN.cell(i))) == {Role.DEAD}][:2]
CELLS = [*random.Random(0).sample(range(15625), 12), *BIAS_CELLS, *DEAD_OUTPUT, 1462]


def clips_for(space):
    generator = torch.Generator().manual_seed(0)
    clips = torch.randn(6, 3, 7, 20, 2, dtype=torch.float64, generator=generator)
    if space.card.aim is None:
        return clips
    links = torch.rand(6, 2, 20, 20, 2, dtype=torch.float64, generator=generator)
    return with_links(clips, links / 20)


def supernet_of(space, channels):
    supernet = build_supernet(
        space.card, SMALL, classes=5, layout=UTDMHAD, in_channels=channels
    ).double()
    initialise(supernet.network, 1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():  # away from ones and zeros, where mistakes would hide
        for parameter in supernet.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn(parameter.shape, generator=generator).double())
    return supernet


def inheriting(space, supernet, cell, *, channels, plain):
    network = candidate_network(
        space.card, SMALL, cell, classes=5, layout=UTDMHAD, in_channels=channels, plain=plain
    ).double()
    inherited = supernet.inherited(cell)
    names = {name for name, _ in network.named_parameters()}
    assert set(inherited) == names if plain else set(inherited) >= names
    network.load_state_dict(inherited, strict=False)
    return network


@pytest.mark.parametrize("name", SPACES)
def test_a_path_computes_what_the_plain_network_does_with_its_weights(name):
    space = SPACES[name]
    clips = clips_for(space)
    supernet = supernet_of(space, clips.shape[1])
    for index in CELLS:
        cell = space.cell(index)
        scores = supernet(clips, cell)
        for plain in (True, False):
            network = inheriting(space, supernet, cell, channels=clips.shape[1], plain=plain)
            torch.testing.assert_close(scores, network(clips), rtol=0, atol=1e-9)


def test_cells_with_bias_edges_and_without_output_are_among_those_compared():
    assert len(BIAS_CELLS) == 6
    assert len(DEAD_OUTPUT) == 2


def test_gradients_of_a_path_are_those_of_the_plain_network_and_of_no_other_operation():
    clips = clips_for(STGCN)
    supernet = supernet_of(STGCN, 3)
    cell = STGCN.cell(6111)
    network = inheriting(STGCN, supernet, cell, channels=3, plain=True)
    network(clips).square().sum().backward()
    supernet(clips, cell).square().sum().backward()
    expected = {name: parameter.grad for name, parameter in network.named_parameters()}
    inherited = supernet.inherited(cell)
    for name, parameter in inherited.items():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=0, atol=1e-9)
    others = {id(p) for p in supernet.parameters()} - {id(p) for p in inherited.values()}
    assert others
    assert all(p.grad is None for p in supernet.parameters() if id(p) in others)


def test_a_mixture_with_all_weight_on_one_cell_is_its_path():
    clips = clips_for(STGCN)
    supernet = supernet_of(STGCN, 3)
    for index in CELLS[:6]:
        cell = STGCN.cell(index)
        shares = torch.nn.functional.one_hot(torch.tensor(cell.operations), len(OPERATIONS))
        mixed = supernet.mixture(clips, shares.double())
        torch.testing.assert_close(mixed, supernet(clips, cell), rtol=0, atol=1e-9)


def test_a_mixture_is_the_weighed_sum_of_all_operations_on_every_edge():
    clips = clips_for(STGCN)
    supernet = supernet_of(STGCN, 3)
    shared = next(block for block in supernet.network.blocks if isinstance(block, SharedCell))
    maps = torch.randn(3, 4, 7, 20, dtype=torch.float64)
    shares = torch.rand(len(EDGES), len(OPERATIONS), dtype=torch.float64)

    def output(edge, operation, node):
        """One operation, by a cell that has no other but a skip to the output."""
        source, target = EDGES[edge]
        conv = shared.get_submodule(f"edge_{source}_{target}")
        if operation == "none":
            return torch.zeros_like(node)
        if operation == "skip_connect":
            return node
        if operation == "avg_pool_3x3":
            return torch.nn.functional.avg_pool2d(node, 3, 1, 1, count_include_pad=False)
        return conv[operation].norm(conv[operation].conv(torch.relu(node)))

    nodes = [maps]
    for target in (1, 2, 3):
        terms = [
            shares[edge, place] * output(edge, operation, nodes[source])
            for edge, (source, to) in enumerate(EDGES)
            if to == target
            for place, operation in enumerate(OPERATIONS)
        ]
        nodes.append(sum(terms))
    torch.testing.assert_close(shared.mixture(maps, shares), nodes[3], rtol=0, atol=1e-9)
    assert supernet.mixture(clips, shares).shape == (6, 5)


def test_scales_multiply_what_edges_contribute():
    supernet = supernet_of(STGCN, 3)
    shared = next(block for block in supernet.network.blocks if isinstance(block, SharedCell))
    maps = torch.randn(3, 4, 7, 20, dtype=torch.float64)
    cell = Cell((1, 0, 0, 1, 4, 0))  # skip 0->1, skip 0->3, pool 1->3
    scales = torch.tensor([2.0, 7.0, 7.0, 3.0, 5.0, 7.0], dtype=torch.float64)
    expected = 3 * maps + 5 * shared.pool(2 * maps)
    torch.testing.assert_close(shared(maps, cell, scales), expected, rtol=0, atol=1e-12)


def test_no_batch_norm_keeps_statistics_of_what_paths_it_saw():
    supernet = supernet_of(STGCN, 3)
    before = supernet(clips_for(STGCN), STGCN.cell(6111))
    supernet(clips_for(STGCN) * 9, STGCN.cell(1462))
    torch.testing.assert_close(
        supernet.eval()(clips_for(STGCN), STGCN.cell(6111)), before, rtol=0, atol=0
    )
