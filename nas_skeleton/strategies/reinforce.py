"""REINFORCE: a softmax per edge, pushed towards what was better than usual.

Williams, 1992, in the form of NATS-Bench (Dong et al., TPAMI 2021).
"""

from __future__ import annotations

import random

import numpy as np
from numpy.typing import NDArray

from nas_skeleton.spaces.cell import EDGES
from nas_skeleton.strategies.base import Result, Strategy, Trial
from nas_skeleton.strategies.encoding import CHOICES, indices, operations

INITIAL_SCALE = 1e-3  # standard deviation of the first logits
LEARNING_RATE = 0.01
BETAS = 0.9, 0.999  # of Adam, as is EPSILON
EPSILON = 1e-8
MOMENTUM = 0.9  # of the baseline


class Reinforce(Strategy):
    """Draws every edge's operation from its own distribution, and learns with Adam.

    The reward is the accuracy in percent, the baseline its exponential moving average with bias
    correction, the present reward included. With several proposals under way the gradient is that
    of the distribution as it is when the result is told.

    It learns slowly: at NATS-Bench's learning rate a logit moves by about 0.01 a proposal, so that
    a few hundred proposals are not far from random search.
    """

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(f"reinforce {seed}")
        self._logits = np.array(
            [[self._rng.gauss(0, INITIAL_SCALE) for _ in range(CHOICES)] for _ in EDGES]
        )
        self._moments = np.zeros((2, *self._logits.shape))  # of the gradient and its square
        self._told = 0
        self._average = 0.0  # of rewards, not yet corrected for beginning at 0

    def ask(self) -> Trial:
        bounds = np.cumsum(self._probabilities(), axis=1)[:, :-1]
        uniform = np.array([[self._rng.random()] for _ in EDGES])
        return Trial(int(indices((uniform >= bounds).sum(axis=1))))

    def tell(self, trial: Trial, result: Result) -> None:
        reward = 100 * result.valid_top1
        self._told += 1
        self._average = MOMENTUM * self._average + (1 - MOMENTUM) * reward
        advantage = reward - self._average / (1 - MOMENTUM**self._told)
        # Of -advantage * log p(cell), by the logits.
        gradient = advantage * self._probabilities()
        gradient[np.arange(len(EDGES)), operations()[trial.arch_index]] -= advantage
        self._step(gradient)

    def _probabilities(self) -> NDArray[np.float64]:
        """(6, 5): of each edge's operations."""
        powers = np.exp(self._logits - self._logits.max(axis=1, keepdims=True))
        probabilities: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
        return probabilities

    def _step(self, gradient: NDArray[np.float64]) -> None:
        """One step of Adam (Kingma and Ba, ICLR 2015)."""
        for moment, beta, value in zip(self._moments, BETAS, (gradient, gradient**2), strict=True):
            moment += (1 - beta) * (value - moment)
        mean, square = (
            moment / (1 - beta**self._told)
            for moment, beta in zip(self._moments, BETAS, strict=True)
        )
        self._logits -= LEARNING_RATE * mean / (np.sqrt(square) + EPSILON)
