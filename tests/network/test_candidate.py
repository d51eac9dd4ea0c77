"""The fast network against the plain one, in float64, and both against what is known of NB201."""

import random

import pytest
import torch
from torch import nn

from nas_skeleton.network.build import candidate_network
from nas_skeleton.network.initialise import initialise
from nas_skeleton.network.links import with_links
from nas_skeleton.network.stems import ActionalConvolution
from nas_skeleton.skeletons.layouts import NTU, UTDMHAD
from nas_skeleton.spaces import Cell, load_space
from nas_skeleton.spaces.card import STGCNStem
from nas_skeleton.spaces.liveness import Role, ignores_input, roles

STGCN = load_space("nb201")
IMAGE = load_space("nb201-image")
GRAPH = load_space("nb201-graph")
LINKED = load_space("nb201-asgcn")
SMALL = STGCN.card.recipe("quick").model_copy(
    update={"channels": 4, "cells_per_stage": 1, "frames": 7}
)
BIAS_CELLS = [i for i in range(2000) if Role.BIAS in roles(STGCN.cell(i))]
DEAD_OUTPUT = [i for i in range(2000) if set(roles(STGCN.cell(i))) == {Role.DEAD}]


def build(space, index, *, plain=False, in_channels=3, layout=UTDMHAD, recipe=SMALL, seed=1):
    network = candidate_network(
        space.card,
        recipe,
        space.cell(index),
        classes=5,
        layout=layout,
        in_channels=in_channels,
        plain=plain,
    ).double()
    initialise(network, seed)
    return network


def train(network, clips, labels, steps):
    """A few steps of SGD as in a training; the losses, and the scores in evaluation mode."""
    optimizer = torch.optim.SGD(
        network.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(clips), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, network.eval()(clips)


@pytest.mark.parametrize("space", [STGCN, IMAGE, GRAPH], ids=["stgcn", "image", "graph"])
@pytest.mark.parametrize(
    "index",
    [*random.Random(0).sample(range(15625), 12), *BIAS_CELLS[:6], *DEAD_OUTPUT[:2], 1462],
)
def test_lean_network_trains_exactly_like_the_plain_one(space, index):
    torch.manual_seed(0)
    clips = torch.randn(6, 3, 7, 20, 2, dtype=torch.float64)
    labels = torch.randint(5, (6,))
    lean, plain = (build(space, index, plain=plain) for plain in (False, True))
    lean_losses, lean_scores = train(lean.to(memory_format=torch.channels_last), clips, labels, 3)
    losses, scores = train(plain, clips, labels, 3)
    assert losses[0] != losses[2]
    assert lean_losses == pytest.approx(losses, abs=1e-9)
    assert torch.allclose(lean_scores, scores, rtol=0, atol=1e-9)
    if ignores_input(space.cell(index)):
        return  # weights in front of the cells differ: without a gradient they do not decay either
    for name, value in lean.state_dict().items():
        if value.is_floating_point():
            assert torch.allclose(value, plain.state_dict()[name], rtol=0, atol=1e-9), name


def test_bias_cells_and_cells_without_output_are_among_those_compared():
    assert len(BIAS_CELLS) >= 6
    assert len(DEAD_OUTPUT) >= 2


@pytest.mark.parametrize("partition", ["spatial-stgcn", "spatial-distance"])
@pytest.mark.parametrize("data_norm", ["joints", "coordinates"])
def test_deeper_stems_of_both_partitions_equal_the_plain_form(partition, data_norm):
    stem = STGCNStem(
        kind="stgcn", blocks=2, data_norm=data_norm, partition=partition, temporal_kernel=3
    )
    card = STGCN.card.model_copy(update={"stem": stem})
    networks = []
    for plain in (False, True):
        network = candidate_network(
            card, SMALL, Cell((1,) * 6), classes=5, layout=NTU, plain=plain
        ).double()
        initialise(network, 3)
        with torch.no_grad():  # edge importance away from its start, where mistakes would hide
            for block in network.stem.blocks:
                generator = torch.Generator().manual_seed(1)
                block.graph.importance.uniform_(0.5, 1.5, generator=generator)
        networks.append(network)
    clips = torch.randn(4, 3, 7, 25, 1, dtype=torch.float64)
    assert torch.allclose(networks[0](clips), networks[1](clips), rtol=0, atol=1e-10)


@pytest.mark.parametrize("reduction", ["both", "time"])
@pytest.mark.parametrize(("joints", "layout"), [(25, NTU), (20, UTDMHAD)])
@pytest.mark.parametrize("frames", [7, 8])
def test_any_number_of_joints_and_frames_passes_both_reductions(reduction, joints, layout, frames):
    card = STGCN.card.model_copy(
        update={"macro": STGCN.card.macro.model_copy(update={"reduction": reduction})}
    )
    network = candidate_network(card, SMALL, STGCN.cell(6111), classes=5, layout=layout)
    assert network(torch.randn(2, 3, frames, joints, 2)).shape == (2, 5)
    shapes = []
    network.blocks.register_forward_hook(lambda _, __, out: shapes.append(out.shape[2:]))
    network(torch.randn(2, 3, frames, joints, 2))
    quarter = (2, -(-joints // 4) if reduction == "both" else joints)
    assert shapes == [quarter]


def test_batch_of_one_clip_works():
    network = build(STGCN, 6111)
    assert network(torch.randn(1, 3, 7, 20, 1, dtype=torch.float64)).shape == (1, 5)


def test_bodies_are_averaged_so_two_equal_bodies_count_as_one():
    network = build(STGCN, 6111).eval()
    one = torch.randn(3, 3, 7, 20, 1, dtype=torch.float64)
    assert torch.allclose(network(one), network(one.expand(-1, -1, -1, -1, 2)), atol=1e-12)


def test_weights_depend_on_the_seed_and_on_nothing_else():
    first, again, other = (build(STGCN, 6111, seed=seed) for seed in (1, 1, 2))
    torch.manual_seed(99)
    later = build(STGCN, 6111, seed=1)
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True)
    )
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), later.parameters(), strict=True)
    )
    assert not torch.equal(first.classifier.weight, other.classifier.weight)


def test_initial_weights_follow_pytorchs_default_distribution():
    network = build(STGCN, 1462, recipe=SMALL.model_copy(update={"channels": 32}))
    ours = network.blocks[0].edge_0_1.conv.weight
    default = nn.Conv2d(32, 32, 3, bias=False).weight
    assert ours.abs().max() <= 1 / (32 * 9) ** 0.5
    assert ours.std().item() == pytest.approx(default.std().item(), rel=0.05)
    assert not torch.equal(ours, network.blocks[0].edge_0_2.conv.weight)


def count_macs(network, clips):
    """MACs of convolutions, graph sums and the classifier, from the shapes of a real pass."""
    total = 0

    def hook(module, inputs, output):
        nonlocal total
        if isinstance(module, nn.Conv2d):
            kernel = module.weight[0].numel()
            total += output.numel() // output.shape[0] * kernel * output.shape[0]
            if hasattr(module, "adjacency"):  # the sums over neighbours before it
                n, c, t, v = inputs[0].shape
                total += n * len(module.adjacency) * c * t * v * v
        elif isinstance(module, ActionalConvolution):  # projected, then summed over joints
            n, c, t, v = inputs[0].shape
            total += 2 * n * module.structural.out_channels * t * v * (c + v)
        elif isinstance(module, nn.Linear):
            total += output.shape[0] * (module.weight.numel() + module.bias.numel())
        else:  # the graph convolution's sum: every subset's channels, V x V
            n, _, t, v = inputs[0].shape
            total += n * len(module.adjacency) * module.out_channels * t * v * v

    kinds = (nn.Conv2d, nn.Linear, ActionalConvolution)
    for module in network.modules():
        if isinstance(module, kinds) or hasattr(module, "importance"):
            module.register_forward_hook(hook)
    network.eval()(clips)
    return total


@pytest.mark.parametrize("space", [STGCN, IMAGE, GRAPH], ids=["stgcn", "image", "graph"])
@pytest.mark.parametrize("index", [6111, 1462, 10])
@pytest.mark.parametrize(("bodies", "channels"), [(1, 3), (2, 2), (1, 6)])
def test_costs_on_paper_are_those_of_the_built_network(space, index, bodies, channels):
    network = build(space, index, plain=True, in_channels=channels)
    clips = torch.randn(1, channels, SMALL.frames, 20, bodies, dtype=torch.float64)
    cost = space.cost(index, SMALL, classes=5, joints=20, bodies=bodies, channels=channels)
    assert cost.params == sum(parameter.numel() for parameter in network.parameters())
    assert cost.macs == count_macs(network, clips)


def linked_clips(bodies):
    generator = torch.Generator().manual_seed(0)
    shape = (6, 3, 7, 20, bodies)
    clips = torch.randn(shape, dtype=torch.float64, generator=generator)
    links = torch.rand(6, 2, 20, 20, bodies, dtype=torch.float64, generator=generator)
    return with_links(clips, links / 20)


@pytest.mark.parametrize("bodies", [1, 2])
def test_stem_with_links_trains_exactly_like_the_plain_one(bodies):
    clips, labels = linked_clips(bodies), torch.arange(6) % 5
    lean, plain = (build(LINKED, 6111, plain=plain, in_channels=43) for plain in (False, True))
    lean_losses, lean_scores = train(lean.to(memory_format=torch.channels_last), clips, labels, 3)
    losses, scores = train(plain, clips, labels, 3)
    assert losses[0] != losses[2]
    assert lean_losses == pytest.approx(losses, abs=1e-9)
    assert torch.allclose(lean_scores, scores, rtol=0, atol=1e-9)


def test_links_of_a_clip_change_its_own_scores_only():
    network = build(LINKED, 6111, in_channels=43).eval()
    clips = linked_clips(1)
    other = clips.clone()
    other[0, 3:] = clips[1, 3:]
    before, after = network(clips), network(other)
    assert not torch.allclose(before[0], after[0])
    torch.testing.assert_close(before[1:], after[1:])


@pytest.mark.parametrize("bodies", [1, 2])
def test_costs_of_links_on_paper_are_those_of_the_built_network(bodies):
    network = build(LINKED, 6111, plain=True, in_channels=43)
    cost = LINKED.cost(6111, SMALL, classes=5, joints=20, bodies=bodies, channels=43)
    assert cost.params == sum(parameter.numel() for parameter in network.parameters())
    assert cost.macs == count_macs(network, linked_clips(bodies)[:1])
