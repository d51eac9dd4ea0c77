"""Regularised evolution: the youngest survive, the best of a few of them have children.

Real, Aggarwal, Huang and Le, AAAI 2019, Algorithm 1. Among cells a mutation gives one edge another
operation; how the edge is chosen differs between code bases, so both ways are here by name.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable

from nas_skeleton.spaces.cell import EDGES, NODES
from nas_skeleton.strategies.base import Result, Strategy, Trial
from nas_skeleton.strategies.encoding import OTHERS, neighbours

POPULATION = 10  # NATS-Bench's, as is the tournament
TOURNAMENT = 3


def uniform_edge(rng: random.Random) -> int:
    """One of the six edges, each as likely."""
    return rng.randrange(len(EDGES))


def edge_of_uniform_node(rng: random.Random) -> int:
    """An edge as NATS-Bench chooses it: a target node, then one of the edges that end there.

    The edges have probabilities 1/3, 1/6, 1/6, 1/9, 1/9 and 1/9.
    """
    node = rng.randrange(1, NODES)
    return rng.choice([edge for edge, (_, target) in enumerate(EDGES) if target == node])


class RegularizedEvolution(Strategy):
    """Changes one edge of the best of 3, drawn with replacement from the last 10 that were told.

    The first proposals are random, until 10 are told. Of equals the first drawn is the parent. A
    child may be a cell that was proposed before; in a `Search` that costs nothing.

    Args:
        seed: of all draws.
        choose_edge: `uniform_edge` or, faithful to NATS-Bench, `edge_of_uniform_node`.
    """

    def __init__(
        self, seed: int, choose_edge: Callable[[random.Random], int] = uniform_edge
    ) -> None:
        self._rng = random.Random(f"regularized evolution {seed}")
        self._choose_edge = choose_edge
        self._population: deque[tuple[float, int]] = deque(maxlen=POPULATION)

    def ask(self) -> Trial:
        if len(self._population) < POPULATION:
            return Trial(self._rng.randrange(len(neighbours())))
        drawn = self._rng.choices(self._population, k=TOURNAMENT)
        _, parent = max(drawn, key=lambda member: member[0])
        return Trial(self._mutated(parent))

    def tell(self, trial: Trial, result: Result) -> None:
        self._population.append((result.valid_top1, trial.arch_index))

    def _mutated(self, arch: int) -> int:
        column = OTHERS * self._choose_edge(self._rng) + self._rng.randrange(OTHERS)
        return int(neighbours()[arch, column])
