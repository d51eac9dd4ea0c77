"""Networks from the names of cards: what data and card decide together."""

from types import SimpleNamespace

import pytest
import torch

from nas_skeleton.network.build import build_network
from nas_skeleton.skeletons.layouts import NTU
from nas_skeleton.spaces import load_space


@pytest.mark.parametrize(
    ("space", "modality", "axes", "channels"),
    [
        ("nb201", "", 3, 3),
        ("nb201", "", 2, 2),
        ("nb201", "joint+bone", 3, 6),
        ("nb201-image", "", 3, 3),
        ("nb201-graph", "", 2, 2),
    ],
)
def test_a_network_takes_the_channels_that_axes_and_modalities_give(
    space, modality, axes, channels
):
    data = SimpleNamespace(classes=("a", "b"), layout=NTU, channels=axes, bodies=1)
    chosen = load_space(space, modality)
    network = build_network(chosen, 6111, dataset=data, recipe="quick", seed=1)
    assert network(torch.randn(2, channels, 8, 25, 1)).shape == (2, 2)
    again = build_network(chosen, 6111, dataset=data, recipe="quick", seed=1)
    for name, value in network.named_parameters():
        assert torch.equal(value, again.get_parameter(name)), name
