"""The engine `packed`: many different candidates advanced by one set of kernels.

All members' channels lie side by side. Stem, reductions and head are the lean network's with
stacked layers (`packed_layers`), cells gather the members that share an operation (`packed_cell`).

Arithmetic, not yet measured on a GPU: a step of 64 random cells has about 690 kernels at one cell
per stage and 3,080 at five, 11 and 48 a candidate instead of 160 and 440. Gathering and adding up
move the map of every edge ten more times, forward and backward, about 0.7 of what its convolution
and batch norm move.

Negative results: on a CPU packs of 4, 8, 16, 32 ran at 1.14, .94, .78, .63 of the speed of plain
networks in turn (C=16, T=32). `torch.vmap` over lean layers would need no stacked ones, but its
batch norm applies scale and shift in two passes of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from nas_skeleton.network.candidate import CandidateNetwork, ReductionBlock
from nas_skeleton.network.cell import LeanCell
from nas_skeleton.spaces import Architecture
from nas_skeleton.spaces.card import ASGCNStem
from nas_skeleton.spaces.cell import Cell
from nas_skeleton.training.candidates import Problem, State, Unsupported
from nas_skeleton.training.engines.flat import FlatSGD
from nas_skeleton.training.engines.packed_cell import PackedCell, lean_name
from nas_skeleton.training.engines.packed_layers import Stacked, stack
from nas_skeleton.training.engines.precision import Arithmetic
from nas_skeleton.training.engines.replay import Replayed, Step, running_statistics


class Packed(Replayed):
    """All members in one network.

    A member's loss and gradient do not depend on the others, its rounding does. What is not finite
    in one member stays in its own channels.

    Args:
        problem: with the task on the device to train on.
        archs: one cell per member.
        states: what each member starts from.
        capture: False calls the step directly; the default captures it where there is a GPU.
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
        _, _, cells = problem.of_cells(archs)
        self.network = packed_network(problem, cells)
        self.optimizer = FlatSGD(self.network, problem.recipe, self.rate)
        self._names = [(list(state.weights), list(state.momentum)) for state in states]
        self.load(states)
        optimizer, loss_sums = self.optimizer, self._loss_sums
        self.add(
            Step(
                partial(_step, self.arithmetic, self.network, optimizer, loss_sums),
                [
                    optimizer.weights,
                    optimizer.momentum,
                    loss_sums,
                    *running_statistics(self.network).values(),
                ],
            )
        )

    def shares(self, inputs: Tensor, labels: Tensor) -> Sequence[tuple[Tensor, Tensor]]:
        return [(inputs, labels)]

    @torch.inference_mode()
    def scores(self, inputs: Tensor) -> Tensor:
        self.join()
        network = self.network.eval()
        every = []
        with self.arithmetic.flags(), self.arithmetic.forward():
            # Batches as in training, which are known to fit.
            for batch in torch.split(inputs, self.problem.recipe.batch_size):
                clips = batch.unsqueeze(1).expand(-1, len(self._names), -1, -1, -1, -1)
                every.append(network(clips.flatten(1, 2)))
        return torch.cat(every, dim=1).to(inputs.dtype)

    def state(self, member: int) -> State:
        [state] = self._copies([member])
        return state

    def states(self) -> list[State]:
        return self._copies(range(len(self._names)))

    def _copies(self, wanted: Sequence[int]) -> list[State]:
        """States of some members, with one copy from the device for all that lies together."""
        self.join()
        weights: dict[int, dict[str, Tensor]] = {member: {} for member in wanted}
        momentum: dict[int, dict[str, Tensor]] = {member: {} for member in wanted}
        for name, members, value, accumulated in self._tensors():
            places = [place for place, member in enumerate(members) if member in weights]
            for found, stacked in ((weights, value), (momentum, accumulated)):
                if stacked is None or not places:
                    continue
                for place, own in zip(places, stacked[places].cpu(), strict=True):
                    found[members[place]][name] = own.clone()
        return [
            State(
                {name: weights[member][name] for name in weight_names},
                {name: momentum[member][name] for name in momentum_names},
            )
            for member in wanted
            for weight_names, momentum_names in [self._names[member]]
        ]

    def load(self, states: Sequence[State]) -> None:
        self.join()
        for name, members, weights, momentum in self._tensors():
            weights.copy_(torch.stack([states[m].weights[name] for m in members]))
            if momentum is not None:
                momentum.copy_(torch.stack([states[m].momentum[name] for m in members]))

    def _tensors(self) -> Iterator[tuple[str, list[int], Tensor, Tensor | None]]:
        """Lean name, members, stacked value and, of a parameter, its momentum."""
        for path, layer in self.network.named_modules():
            if isinstance(layer, Stacked):
                name = lean_name(path)
                for own, parameter in layer.named_parameters(recurse=False):
                    momentum = self.optimizer.momentum_of[f"{path}.{own}"]
                    yield f"{name}.{own}", layer.members, parameter.detach(), momentum
                for own in layer.statistics:
                    yield f"{name}.{own}", layer.members, layer.get_buffer(own), None


def packed_network(problem: Problem, cells: Sequence[Cell]) -> CandidateNetwork:
    """A network for clips `(N, M * C, T, V, bodies)` that gives scores `(M, N, classes)`."""
    card, recipe, _ = problem.of_cells(cells)
    if isinstance(card.stem, ASGCNStem):
        raise Unsupported("packed has no form of stems with A-links")
    network = problem.network(cells[0])
    assert isinstance(network, CandidateNetwork)
    width = recipe.channels
    for position, block in enumerate(network.blocks):
        if isinstance(block, ReductionBlock):
            width *= 2
        elif isinstance(block, LeanCell):
            network.blocks[position] = PackedCell(
                cells, width, network.operations, network.classifier.weight
            )
    stack(network, range(len(cells)))
    return network


def _side_by_side(inputs: Tensor) -> Tensor:
    """Members' clips `(members, batch, C, T, V, bodies)` as `(batch, members * C, T, V, bodies)`.

    The batch is innermost in memory. The layout decides which kernels are chosen, and so how sums
    are rounded: this one repeats the results that the engine has always had.
    """
    return inputs.movedim(1, -1).contiguous().movedim(-1, 0).flatten(1, 2)


# A function, because a method would keep its object, and all its memory on the GPU, in a circle.
def _step(
    arithmetic: Arithmetic,
    network: nn.Module,
    optimizer: FlatSGD,
    loss_sums: Tensor,
    inputs: Tensor,
    labels: Tensor,
) -> None:
    network.train()
    with arithmetic.flags():
        with arithmetic.forward():
            clips = _side_by_side(inputs)
            losses = nn.functional.cross_entropy(
                network(clips).flatten(0, 1), labels.flatten(), reduction="none"
            )
            losses = losses.view(labels.shape).mean(dim=1)
        optimizer.update(losses.sum())
        loss_sums.add_(losses.detach(), alpha=labels.shape[1])
