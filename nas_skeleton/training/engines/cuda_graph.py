"""The engine `cuda-graph`: each candidate's step captured once and replayed, candidates in turn.

The network is the lean one in channels-last memory. A replay costs the host one call where eager
execution costs one per kernel, and candidates on streams of their own fill the GPU together.

Arithmetic, not yet measured on a GPU (operations counted on the CPU, mean of eight random cells): a
step has about 160 kernels at one cell per stage and 440 at five, 0.3 and 0.9 ms at 2 us each, where
memory traffic at batch 64, C=16, T=32 would take 0.13 and 0.40 ms: hence several streams.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from nas_skeleton.network.classifier import Classifier
from nas_skeleton.spaces import Architecture
from nas_skeleton.spaces.recipe import ModelRecipe
from nas_skeleton.training.candidates import Problem, State, Unsupported, weights_of
from nas_skeleton.training.engines.eager import scores_of
from nas_skeleton.training.engines.flat import FlatSGD
from nas_skeleton.training.engines.precision import Arithmetic
from nas_skeleton.training.engines.replay import Replayed, Step, running_statistics


class CudaGraph(Replayed):
    """Lean networks, each in a lane of its own.

    Args:
        problem: with the task on the device to train on.
        archs: one per member.
        states: what each member starts from.
        capture: False calls the same steps directly; the default captures where there is a GPU.
    """

    def __init__(
        self,
        problem: Problem,
        archs: Sequence[Architecture],
        states: Sequence[State],
        *,
        capture: bool | None = None,
    ) -> None:
        super().__init__(problem, len(archs), capture)
        if isinstance(problem.recipe, ModelRecipe) and problem.recipe.dropout:
            raise Unsupported("dropout cannot be captured: its masks are drawn on the CPU")
        self.networks = [self._network(arch) for arch in archs]
        self.optimizers = [FlatSGD(n, problem.recipe, self.rate) for n in self.networks]
        self.load(states)
        for member, (network, optimizer) in enumerate(
            zip(self.networks, self.optimizers, strict=True)
        ):
            loss_sum = self._loss_sums[member]
            self.add(
                Step(
                    partial(_step, self.arithmetic, network, optimizer, loss_sum),
                    [
                        optimizer.weights,
                        optimizer.momentum,
                        loss_sum,
                        *running_statistics(network).values(),
                    ],
                )
            )

    def shares(self, inputs: Tensor, labels: Tensor) -> Sequence[tuple[Tensor, Tensor]]:
        return list(zip(inputs, labels, strict=True))

    def scores(self, inputs: Tensor) -> Tensor:
        self.join()
        return scores_of(self.networks, self.arithmetic, inputs)

    def state(self, member: int) -> State:
        self.join()
        momentum = {
            name: value.cpu().clone(memory_format=torch.contiguous_format)
            for name, value in self.optimizers[member].momentum_of.items()
        }
        return State(weights_of(self.networks[member]), momentum)

    def load(self, states: Sequence[State]) -> None:
        self.join()
        for network, optimizer, state in zip(self.networks, self.optimizers, states, strict=True):
            network.load_state_dict(state.weights, strict=False)  # it has the adjacency as well
            for name, value in state.momentum.items():
                optimizer.momentum_of[name].copy_(value)

    def _network(self, arch: Architecture) -> Classifier:
        network = self.problem.network(arch)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.num_batches_tracked = None  # a kernel per batch norm that nobody reads
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


# A function, because a method would keep its object, and all its memory on the GPU, in a circle.
def _step(
    arithmetic: Arithmetic,
    network: Classifier,
    optimizer: FlatSGD,
    loss_sum: Tensor,
    inputs: Tensor,
    labels: Tensor,
) -> None:
    network.train()
    with arithmetic.flags():
        with arithmetic.forward():
            loss = network.loss(inputs, labels)
        optimizer.update(loss)
        loss_sum.add_(loss.detach(), alpha=len(labels))
