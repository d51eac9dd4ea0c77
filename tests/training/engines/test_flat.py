import pytest
import torch
from torch import nn

from nas_skeleton.spaces import load_space
from nas_skeleton.training.engines.flat import FlatSGD


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.unused = nn.Linear(2, 2)

    def forward(self, maps):
        return self.norm(self.conv(maps)).square().sum()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.9, True), (0.9, False), (0.0, False)])
def test_update_is_that_of_torch(momentum, nesterov, layout):
    recipe = load_space("nb201").card.recipe("quick")
    recipe = recipe.model_copy(
        update={"momentum": momentum, "nesterov": nesterov, "weight_decay": 0.1}
    )
    flat, plain = (Network().double().to(memory_format=layout) for _ in range(2))
    rate = torch.zeros((), dtype=torch.float64)
    sgd = FlatSGD(flat, recipe, rate)
    torchs = torch.optim.SGD(
        plain.parameters(), lr=0.1, momentum=momentum, nesterov=nesterov, weight_decay=0.1
    )
    for step in range(4):
        maps = torch.randn(2, 3, 6, 5, dtype=torch.float64)
        rate.fill_(0.1 / (step + 1))
        torchs.param_groups[0]["lr"] = 0.1 / (step + 1)
        sgd.update(flat(maps))
        torchs.zero_grad()
        plain(maps).backward()
        for parameter in plain.unused.parameters():
            parameter.grad = torch.zeros_like(parameter)
        torchs.step()
    for (name, value), wanted in zip(flat.named_parameters(), plain.parameters(), strict=True):
        assert torch.allclose(value, wanted, rtol=0, atol=1e-12), name
        assert value.stride() == wanted.stride()
        if momentum:
            buffer = torchs.state[wanted]["momentum_buffer"]
            assert torch.allclose(sgd.momentum_of[name], buffer, rtol=0, atol=1e-12), name


def test_parameters_and_momentum_lie_in_one_tensor_each():
    network = Network()
    sgd = FlatSGD(network, load_space("nb201").card.recipe("quick"), torch.zeros(()))
    assert len(sgd.weights) == sum(parameter.numel() for parameter in network.parameters())
    sgd.weights.fill_(3)
    sgd.momentum.fill_(4)
    assert all((parameter == 3).all() for parameter in network.parameters())
    assert all((value == 4).all() for value in sgd.momentum_of.values())
