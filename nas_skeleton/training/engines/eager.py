"""The engines `reference` and `fast`: PyTorch modules, autograd and torch's SGD.

`reference` is the network as papers write it down, every edge computed. `fast` leaves dead edges
out, takes one ReLU per node and keeps maps channels-last, which is what PyTorch's CPU kernels for
convolution and pooling want.

Negative results (measured on two Zen 4 cores): torch.compile gains 6-9 % after 50-88 s of
compilation per candidate; fusing candidates by grouped convolution does not pay on a CPU.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nas_skeleton.network.classifier import Classifier
from nas_skeleton.network.dropout import reseed
from nas_skeleton.spaces import Architecture
from nas_skeleton.spaces.recipe import ModelRecipe
from nas_skeleton.training.candidates import Candidates, Problem, State, weights_of
from nas_skeleton.training.engines.precision import Arithmetic


class Eager(Candidates):
    """Modules that take turns."""

    def __init__(
        self, problem: Problem, archs: Sequence[Architecture], states: Sequence[State]
    ) -> None:
        self.problem = problem
        self.arithmetic = Arithmetic(problem)
        self.loss_sums = torch.zeros(len(archs), dtype=torch.float64, device=problem.task.device)
        self.networks = [self.network(arch) for arch in archs]
        self._draws = isinstance(problem.recipe, ModelRecipe) and problem.recipe.dropout > 0
        self.optimizers = [_sgd(network, problem) for network in self.networks]
        self.load(states)
        self._live = [(list(state.weights), list(state.momentum)) for state in states]

    @abstractmethod
    def network(self, arch: Architecture) -> Classifier:
        """The form of the network that this engine trains."""

    def set_learning_rate(self, rate: float) -> None:
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate

    def step(self, inputs: Tensor, labels: Tensor, seeds: Sequence[int] = ()) -> None:
        for member, (clips, classes) in enumerate(zip(inputs, labels, strict=True)):
            network, optimizer = self.networks[member].train(), self.optimizers[member]
            optimizer.zero_grad(set_to_none=True)
            if self._draws:
                reseed(network, seeds[member])
            with self.arithmetic.flags():
                with self.arithmetic.forward():
                    loss = network.loss(clips, classes)
                loss.backward()  # type: ignore[no-untyped-call]
            for parameter in network.parameters():
                if parameter.grad is None:  # of a cell that ignores its input: still decays
                    parameter.grad = torch.zeros_like(parameter)
            optimizer.step()
            self.loss_sums[member] += loss.detach() * len(classes)

    def scores(self, inputs: Tensor) -> Tensor:
        return scores_of(self.networks, self.arithmetic, inputs)

    def state(self, member: int) -> State:
        network, optimizer = self.networks[member], self.optimizers[member]
        weights, momentum = self._live[member]
        values = weights_of(network)
        parameters = dict(network.named_parameters())
        return State(
            {name: values[name] for name in weights},
            {name: _momentum(optimizer, parameters[name]) for name in momentum},
        )

    def load(self, states: Sequence[State]) -> None:
        for network, optimizer, state in zip(self.networks, self.optimizers, states, strict=True):
            _load(network, optimizer, state)


class Reference(Eager):
    """The plain network."""

    def network(self, arch: Architecture) -> Classifier:
        return self.problem.network(arch, plain=True)


class Fast(Eager):
    """The lean network in channels-last memory."""

    def network(self, arch: Architecture) -> Classifier:
        # Convolution weights decide the layout of every map behind them.
        network = self.problem.network(arch)
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


@torch.inference_mode()
def scores_of(networks: Sequence[nn.Module], arithmetic: Arithmetic, inputs: Tensor) -> Tensor:
    """Class scores `(networks, batch, classes)` of one batch, in evaluation mode."""
    with arithmetic.flags(), arithmetic.forward():
        every = [network.eval()(inputs) for network in networks]
    return torch.stack(every).to(inputs.dtype)


def _sgd(network: nn.Module, problem: Problem) -> torch.optim.SGD:
    recipe = problem.recipe
    return torch.optim.SGD(
        network.parameters(),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
    )


def _load(network: nn.Module, optimizer: torch.optim.SGD, state: State) -> None:
    network.load_state_dict(state.weights, strict=False)  # dead edges keep what they have
    parameters = dict(network.named_parameters())
    for name, value in state.momentum.items():
        parameter = parameters[name]
        optimizer.state[parameter]["momentum_buffer"] = torch.empty_like(parameter).copy_(value)


def _momentum(optimizer: torch.optim.SGD, parameter: Tensor) -> Tensor:
    buffer = optimizer.state[parameter]["momentum_buffer"]
    copy: Tensor = buffer.detach().cpu().clone(memory_format=torch.contiguous_format)
    return copy
