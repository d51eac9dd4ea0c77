import pytest
import torch
from torch import nn

from nas_skeleton.network.build import candidate_network
from nas_skeleton.network.counting import network_cost
from nas_skeleton.skeletons.layouts import UTDMHAD
from nas_skeleton.spaces import load_space
from nas_skeleton.spaces.cell import parse_arch

CLIP = (2, 8, 5, 3)  # C, T, V, M


class Apply(nn.Module):
    """One parameter, and any function of it and a clip."""

    def __init__(self, shape, function):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(shape))
        self.function = function

    def forward(self, clips):
        return self.function(clips, self.weight)


CASES = {
    "conv1d": (nn.Conv1d(2, 6, 3, padding=1), lambda net, x: net(x[..., 0, 0]), 6 * 2 * 3 * 8),
    "conv2d, stride, dilation": (
        nn.Conv2d(2, 6, (3, 1), (2, 1), padding=(2, 0), dilation=(2, 1)),
        lambda net, x: net(x[..., 0]),
        6 * 2 * 3 * 4 * 5,
    ),
    "conv2d, groups": (nn.Conv2d(2, 6, 1, groups=2), lambda net, x: net(x[..., 0]), 6 * 8 * 5),
    "conv3d": (nn.Conv3d(2, 6, (3, 1, 1)), lambda net, x: net(x), 6 * 2 * 3 * 6 * 5 * 3),
    "linear": (nn.Linear(3, 7), lambda net, x: net(x), 2 * 8 * 5 * 3 * 7),
}


class On(nn.Module):
    def __init__(self, inner, use):
        super().__init__()
        self.inner = inner
        self.use = use

    def forward(self, clips):
        return self.use(self.inner, clips)


@pytest.mark.parametrize("case", CASES)
def test_layers_count_their_multiply_accumulates_and_parameters(case):
    inner, use, macs = CASES[case]
    cost = network_cost(On(inner, use), CLIP)
    assert cost.macs == macs
    assert cost.params == sum(parameter.numel() for parameter in inner.parameters())


@pytest.mark.parametrize(
    ("shape", "function", "macs"),
    [
        ((3, 4), lambda x, w: x @ w, 2 * 8 * 5 * 3 * 4),
        ((1, 3, 4), lambda x, w: torch.bmm(x[0, :, :, 0], w.expand(2, -1, -1)), 2 * 8 * 3 * 4),
        ((7, 5, 4), lambda x, w: torch.einsum("nctvm,kvw->nkctwm", x, w), 7 * 5 * 4 * 2 * 8 * 3),
        (
            (1, 2, 5, 4),
            lambda x, w: torch.einsum("nctvm,ncvw->nctwm", x, w),
            5 * 4 * 2 * 8 * 3,
        ),
        ((1,), lambda x, w: (x * w).relu().mean(), 0),
    ],
)
def test_products_count_and_element_wise_arithmetic_does_not(shape, function, macs):
    assert network_cost(Apply(shape, function), CLIP).macs == macs


def test_the_network_is_left_as_it_was():
    network = Apply((3,), lambda x, w: x * w).train()
    network_cost(network, CLIP)
    assert network.training
    assert network.weight.device.type == "cpu"
    assert network.weight.requires_grad


ALL_CONVOLUTIONS = (
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
    "+|nor_conv_3x3~0|nor_conv_1x1~1|nor_conv_1x1~2|"
)
WITH_DEAD_EDGES = "|none~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|none~1|none~2|"


@pytest.fixture
def space():
    return load_space("nb201-image")


def on_paper(space, arch):
    recipe = space.card.recipe("quick")
    return space.cost(space.index(arch), recipe, classes=27, joints=20, bodies=2)


def as_built(space, arch):
    recipe = space.card.recipe("quick")
    network = candidate_network(
        space.card, recipe, parse_arch(arch), classes=27, layout=UTDMHAD, in_channels=3
    )
    return network_cost(network, (3, recipe.frames, 20, 2))


def test_a_candidate_without_dead_edges_costs_what_it_does_on_paper(space):
    paper, built = on_paper(space, ALL_CONVOLUTIONS), as_built(space, ALL_CONVOLUTIONS)
    assert built.params == paper.params
    assert built.macs == paper.macs - 27  # on paper the head's bias counts


def test_dead_edges_cost_nothing_where_they_are_not_built(space):
    paper, built = on_paper(space, WITH_DEAD_EDGES), as_built(space, WITH_DEAD_EDGES)
    assert built.params < paper.params
    assert built.macs < paper.macs
