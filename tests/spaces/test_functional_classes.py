"""Functional keys against real networks: one class is one function, two classes are not.

The networks are the plainest possible: NAS-Bench-201 cells of ReLU-Conv-BN, identity and average
pool, all six edges, two cells with a convolution between, in float64. Weights are copied along
`weight_matching`; outputs, gradients and what some steps of training lead to must then agree.
"""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from nas_skeleton.spaces.cell import AVG_POOL, CONV_1X1, CONV_3X3, EDGES, NONE, SKIP, Cell
from nas_skeleton.spaces.keys import functional_key, nb201_key, weight_matching
from nas_skeleton.spaces.liveness import Role, roles
from nas_skeleton.spaces.order import nats_bench_order

CHANNELS, HEIGHT, WIDTH, BATCH, STEPS = 3, 5, 4, 6, 3


class ReLUConvNorm(nn.Module):
    def __init__(self, kernel_size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(CHANNELS, CHANNELS, kernel_size, padding=kernel_size // 2, bias=False)
        self.norm = nn.BatchNorm2d(CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(torch.relu(x)))  # type: ignore[no-any-return]


class Zero(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 0


OPERATION_MODULES: dict[int, Callable[[], nn.Module]] = {
    NONE: Zero,
    SKIP: nn.Identity,
    CONV_1X1: lambda: ReLUConvNorm(1),
    CONV_3X3: lambda: ReLUConvNorm(3),
    AVG_POOL: lambda: nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
}


class CellModule(nn.Module):
    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.edges = nn.ModuleList(OPERATION_MODULES[op]() for op in cell.operations)

    def forward(self, x: Tensor) -> Tensor:
        nodes = [x]
        for target in (1, 2, 3):
            incoming = [edge for edge in range(len(EDGES)) if EDGES[edge][1] == target]
            values = [self.edges[edge](nodes[EDGES[edge][0]]) for edge in incoming]
            nodes.append(torch.stack(values).sum(0))
        return nodes[3]


class Network(nn.Module):
    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.first = CellModule(cell)
        self.between = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.second = CellModule(cell)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.between(self.first(x)))  # type: ignore[no-any-return]


def random_network(cell: Cell, seed: int) -> Network:
    """A network whose weights are all random, also those of its batch norms."""
    generator = torch.Generator().manual_seed(seed)
    network = Network(cell)
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return network


def copy_weights(source: Network, target: Network, matching: Mapping[int, int]) -> None:
    """Copy all weights, those of edges along `matching` (edge of source -> edge of target)."""
    target.between.load_state_dict(source.between.state_dict())
    for cell, other in [(source.first, target.first), (source.second, target.second)]:
        for mine, theirs in matching.items():
            edge, other_edge = cell.edges[mine], other.edges[theirs]
            assert isinstance(edge, ReLUConvNorm)
            assert isinstance(other_edge, ReLUConvNorm)
            other_edge.norm.load_state_dict(edge.norm.state_dict())
            if edge.conv.weight.shape == other_edge.conv.weight.shape:  # differs for biases only
                other_edge.conv.load_state_dict(edge.conv.state_dict())


@dataclass
class Behaviour:
    """Everything that can be seen from outside during and after a short training."""

    outputs: list[Tensor]
    input_gradients: list[Tensor]
    evaluated: Tensor
    evaluated_input_gradient: Tensor

    def distance(self, other: Behaviour) -> float:
        return max(float((a - b).abs().max()) for a, b in zip(self, other, strict=True))

    def __iter__(self) -> Iterator[Tensor]:
        yield from [*self.outputs, *self.input_gradients]
        yield from [self.evaluated, self.evaluated_input_gradient]


def behaviour(network: Network) -> Behaviour:
    """Train `network` in place for some steps and look at it before, during and after."""
    generator = torch.Generator().manual_seed(1)
    shape = (BATCH, CHANNELS, HEIGHT, WIDTH)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=0.01
    )

    def run(*, step: bool) -> tuple[Tensor, Tensor]:
        x = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
        goal = torch.randn(shape, generator=generator, dtype=torch.float64)
        optimizer.zero_grad()
        output = network(x)
        (output * goal).mean().backward()
        if step:
            optimizer.step()
        assert x.grad is not None
        return output.detach(), x.grad

    network.train()
    trained = [run(step=True) for _ in range(STEPS)]
    network.eval()
    evaluated, gradient = run(step=False)
    outputs, gradients = zip(*trained, strict=True)
    return Behaviour(list(outputs), list(gradients), evaluated, gradient)


@pytest.fixture(scope="module")
def classes() -> dict[str, list[Cell]]:
    members = defaultdict(list)
    for cell in nats_bench_order():
        members[functional_key(cell)].append(cell)
    return members


def test_cells_of_one_class_are_one_function(classes: dict[str, list[Cell]]) -> None:
    """Two random members each of 210 classes: any, with a bias edge, and the biggest."""
    chance = random.Random(0)
    shared = [cells for cells in classes.values() if len(cells) > 1]
    biased = [cells for cells in shared if any(Role.BIAS in roles(cell) for cell in cells)]
    big = sorted(shared, key=len)[-30:]
    pairs = [
        chance.sample(cells, 2)
        for cells in chance.sample(shared, 120) + chance.sample(biased, 60) + big
    ]
    for one, other in pairs:
        first, second = random_network(one, seed=2), random_network(other, seed=3)
        copy_weights(first, second, weight_matching(one, other))
        distance = behaviour(first).distance(behaviour(second))
        assert distance < 1e-10, f"{one} and {other}, both {functional_key(one)}"


# --- traps -------------------------------------------------------------------------------------


def assignments(one: Cell, other: Cell) -> Iterator[dict[int, int]]:
    """All ways to give every weight set of `other` one of `one` of the same kind.

    The same weight set may be given twice, so that other(two convolutions) can imitate one(the same
    convolution twice) as well as possible.
    """

    def kinds(cell: Cell) -> dict[int, object]:
        return {
            edge: "bias" if role is Role.BIAS else cell.operations[edge]
            for edge, role in enumerate(roles(cell))
            if role is not Role.DEAD and cell.operations[edge] in (CONV_1X1, CONV_3X3)
        }

    mine, theirs = kinds(one), kinds(other)
    choices = [
        [edge for edge, kind in mine.items() if kind == wanted] for wanted in theirs.values()
    ]
    for chosen in itertools.product(*choices):
        yield dict(zip(theirs, chosen, strict=True))


def closest_distance(one: Cell, other: Cell) -> float:
    """How close `other` comes to `one`, whichever of its weights are copied where."""
    expected = behaviour(random_network(one, seed=4))
    distances = []
    for assignment in [{}, *assignments(one, other)]:
        first, second = random_network(one, seed=4), random_network(other, seed=4)
        for theirs, mine in assignment.items():
            copy_weights(first, second, {mine: theirs})
        distances.append(behaviour(second).distance(expected))
    return min(distances)


def differ(one: Cell, other: Cell) -> bool:
    """Whether neither cell can imitate the other."""
    return min(closest_distance(one, other), closest_distance(other, one)) > 1e-6


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        ((3, 3, 0, 0, 1, 1), (3, 0, 1, 0, 1, 1), "conv(x) + conv'(x) against 2 conv(x)"),
        ((0, 0, 2, 0, 2, 1), (0, 0, 2, 0, 0, 1), "two biases against one"),
        ((0, 0, 2, 3, 0, 1), (0, 0, 0, 3, 0, 0), "a bias next to a convolution's own"),
        ((0, 0, 3, 1, 0, 2), (0, 0, 3, 1, 0, 1), "conv1x1(constant) against the constant"),
        ((0, 0, 3, 1, 0, 2), (0, 0, 0, 1, 2, 0), "conv1x1(constant) against its bias"),
        ((0, 0, 3, 1, 0, 3), (0, 0, 0, 1, 3, 0), "conv3x3(constant) against its bias"),
        ((0, 0, 3, 1, 0, 0), (0, 0, 3, 1, 0, 1), "conv(0) against zero"),
        ((1, 1, 1, 0, 0, 3), (1, 0, 1, 0, 0, 3), "conv(2x) against conv(x)"),
        ((3, 3, 0, 0, 2, 2), (3, 3, 1, 0, 0, 2), "conv(a) + conv'(b) against conv(a + b)"),
        ((3, 0, 4, 0, 0, 3), (4, 0, 3, 0, 0, 3), "conv(pool(a)) against conv of a pooled input"),
    ],
)
def test_traps_are_not_merged(one: tuple[int, ...], other: tuple[int, ...], why: str) -> None:
    assert functional_key(Cell(one)) != functional_key(Cell(other)), why
    assert differ(Cell(one), Cell(other)), why


def test_cells_that_only_nb201_takes_for_one_differ() -> None:
    """A sample of the 523 NAS-Bench-201 classes that mix functions; all were tried once."""
    chance = random.Random(5)
    mixed: dict[str, dict[str, Cell]] = defaultdict(dict)
    for cell in nats_bench_order():
        mixed[nb201_key(cell)].setdefault(functional_key(cell), cell)
    candidates = [list(cells.values()) for cells in mixed.values() if len(cells) > 1]
    for cells in chance.sample(candidates, 10):
        one, other = chance.sample(cells, 2)
        assert differ(one, other), f"{one} and {other}"


def test_cells_of_the_same_operations_in_two_classes_differ() -> None:
    chance = random.Random(6)
    alike: dict[tuple[int, ...], dict[str, Cell]] = defaultdict(dict)
    for cell in nats_bench_order():
        live = [
            op for op, role in zip(cell.operations, roles(cell), strict=True) if role is Role.LIVE
        ]
        alike[tuple(sorted(live))].setdefault(functional_key(cell), cell)
    candidates = [
        list(cells.values())
        for live, cells in alike.items()
        if len(cells) > 1 and sum(op in (CONV_1X1, CONV_3X3) for op in live) <= 3
    ]
    for cells in chance.choices(candidates, k=20):
        one, other = chance.sample(cells, 2)
        assert differ(one, other), f"{functional_key(one)} and {functional_key(other)}"
