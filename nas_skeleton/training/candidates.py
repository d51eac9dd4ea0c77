"""What every engine is: some candidates trained side by side, one step of SGD after the other.

The loop (`loop.py`) fetches clips, sets the learning rate and says when to evaluate; an engine only
computes and does not know where clips come from. All engines speak of weights by the names of the
lean network (`network.cell`) and exchange them as `State`, so that any of them can go on where
another stopped.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nas_skeleton.network.build import network_of
from nas_skeleton.network.classifier import Classifier
from nas_skeleton.network.initialise import initialise
from nas_skeleton.spaces import Architecture, Cell
from nas_skeleton.spaces.card import AnyCard, SpaceCard
from nas_skeleton.spaces.recipe import Recipe, TrainingRecipe
from nas_skeleton.training.task import Task


class Unsupported(Exception):
    """An engine cannot train this on this machine; the message says why."""


@dataclass(frozen=True)
class State:
    """Weights of one candidate, on the CPU, in the precision of its training.

    `weights` holds the parameters and the running statistics of the lean network, `momentum` what
    SGD accumulated for each parameter (zeros before the first step). What a dead edge holds in
    other forms of the network changes nothing and is left out.
    """

    weights: dict[str, Tensor]
    momentum: dict[str, Tensor]


@dataclass(frozen=True)
class Problem:
    """What all trainings of a run share: card, recipe and the task, on the device to train on."""

    card: AnyCard
    recipe: TrainingRecipe
    task: Task

    def network(self, arch: Architecture, *, plain: bool = False) -> Classifier:
        """The candidate with arbitrary weights, in the task's precision, on its device."""
        network = network_of(
            self.card,
            self.recipe,
            arch,
            classes=self.task.classes,
            layout=self.task.layout,
            in_channels=self.task.channels,
            bodies=self.task.bodies,
            plain=plain,
        )
        return network.to(self.task.device, self.task.dtype)

    def of_cells(self, archs: Sequence[Architecture]) -> tuple[SpaceCard, Recipe, list[Cell]]:
        """The problem for engines that know cells and nothing else.

        Raises:
            Unsupported: the architectures are reference models.
        """
        cells = [arch for arch in archs if isinstance(arch, Cell)]
        if (
            len(cells) < len(archs)
            or not isinstance(self.card, SpaceCard)
            or not isinstance(self.recipe, Recipe)
        ):
            raise Unsupported("this engine knows cells, no reference models")
        return self.card, self.recipe, cells

    def initial_state(self, arch: Architecture, seed: int) -> State:
        """The weights a training starts from; they depend on `seed` and parameters' names alone."""
        network = self.network(arch)
        initialise(network, seed)
        return state_of(network)


class Candidates(ABC):
    """Candidates of one problem under training; member i is `archs[i]` and starts at `states[i]`.

    `loss_sums`, float64 `(members,)` on the task's device, grows with every step by the
    loss summed over the step's clips. The loop reads and resets it; a member whose sum is
    not finite has diverged and does not disturb the others.

    Raises:
        Unsupported: this engine cannot train these candidates on this machine.
        torch.OutOfMemoryError: they do not fit on the device together.
    """

    loss_sums: Tensor

    @abstractmethod
    def __init__(
        self, problem: Problem, archs: Sequence[Architecture], states: Sequence[State]
    ) -> None: ...

    @abstractmethod
    def set_learning_rate(self, rate: float) -> None:
        """The learning rate of the steps to come, for all members."""

    @abstractmethod
    def step(self, inputs: Tensor, labels: Tensor, seeds: Sequence[int] = ()) -> None:
        """One step of SGD of every member on clips of its own.

        The host need not wait for the step to end.

        Args:
            inputs: `(members, batch, C, T, V, M)`, of the task's precision, on its device.
            labels: `(members, batch)`, int64 on the same device.
            seeds: of what a member's network draws at random in this step; none do but reference
                models with dropout, which need them.
        """

    @abstractmethod
    def scores(self, inputs: Tensor) -> Tensor:
        """Class scores `(members, batch, classes)`, with batch norm's running statistics.

        Args:
            inputs: `(batch, C, T, V, M)`, the same clips for all members.
        """

    @abstractmethod
    def state(self, member: int) -> State:
        """A copy of the member's weights as they are after the last step."""

    def states(self) -> list[State]:
        """Copies of all members' weights."""
        return [self.state(member) for member in range(len(self.loss_sums))]

    @abstractmethod
    def load(self, states: Sequence[State]) -> None:
        """Let every member go on from its own of `states`, as if it had started there."""


def scores_of_clips(candidates: Candidates, task: Task, ids: Tensor) -> Tensor:
    """Class scores `(members, len(ids), classes)` of the task's clips `ids`."""
    every = [candidates.scores(inputs) for inputs in task.evaluation_batches(ids)]
    return torch.cat(every, dim=1)


def state_of(network: nn.Module) -> State:
    """The state of a lean network whose training has not begun."""
    momentum = {name: torch.zeros_like(p).cpu() for name, p in network.named_parameters()}
    return State(weights_of(network), momentum)


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """Copies of parameters and running statistics by name, on the CPU, in the default layout."""
    names = [name for name, _ in network.named_parameters()]
    names += [name for name, _ in network.named_buffers() if name.endswith(RUNNING)]
    values = network.state_dict()
    return {
        name: values[name].detach().cpu().clone(memory_format=torch.contiguous_format)
        for name in names
    }


RUNNING = ("running_mean", "running_var")
