"""BOHB: Hyperband whose architectures come from a model of what the good ones have in common.

Falkner, Klein and Hutter, ICML 2018. The model is that of TPE (Bergstra et al., NeurIPS 2011) with
one kernel over all six edges.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nas_skeleton.spaces.cell import EDGES
from nas_skeleton.strategies.base import Result, Trial
from nas_skeleton.strategies.encoding import CHOICES, OTHERS, indices, operations
from nas_skeleton.strategies.hyperband import Hyperband
from nas_skeleton.strategies.rungs import Bracket

SAMPLES = 4  # NATS-Bench's, as is the minimal bandwidth
MIN_BANDWIDTH = 0.3
MAX_BANDWIDTH = OTHERS / CHOICES  # a kernel that knows nothing
GOOD = 0.15  # of all cells
AHEAD = 8  # proposals drawn at once from one model, for speed
LEAST = len(EDGES) + 1  # cells of either kind


class Bohb(Hyperband):
    """Hyperband on cells that are likely among the good 15 % and unlikely among the others.

    The cells are those told at the highest rung that has 14 of them; before there is one, they are
    drawn uniformly. Constants are NATS-Bench's: 4 samples a proposal, none of them uniform (by
    default BOHB draws 64, and a third of all proposals uniformly). Different from the published
    code: the bandwidth is from the spread of unordered operations, not of their numbers, and at
    most that of the uniform distribution. The published bandwidth factor is for numbers only.
    """

    def __init__(self, brackets: Sequence[Bracket], seed: int) -> None:
        super().__init__(brackets, len(operations()), seed)
        self._generator = np.random.default_rng(list(f"bohb {seed}".encode()))
        self._values: dict[int, dict[int, float]] = defaultdict(dict)  # by epochs, then cell
        self._modelled = 0  # epochs of the highest rung with enough cells, if there is one
        self._model: GoodAndBad | None = None  # of that rung; None if it is to be made anew
        self._drawn: list[int] = []  # from the model, not proposed yet

    def tell(self, trial: Trial, result: Result) -> None:
        super().tell(trial, result)
        assert trial.epochs is not None  # as it was asked for
        values = self._values[trial.epochs]
        if values.get(trial.arch_index) == result.valid_top1:
            return  # proposed once more, which teaches nothing
        values[trial.arch_index] = result.valid_top1
        if trial.epochs >= self._modelled and len(values) >= 2 * LEAST:
            self._modelled = trial.epochs
            self._model, self._drawn = None, []

    def _draw(self) -> int:
        if not self._modelled:
            return self._uniform()
        if self._model is None:
            values = self._values[self._modelled]
            best_first = sorted(values, key=values.__getitem__, reverse=True)
            self._model = GoodAndBad(operations()[best_first])
        if not self._drawn:
            self._drawn = indices(self._model.sample(AHEAD, self._generator)).tolist()
        return self._drawn.pop()


class GoodAndBad:
    """Two kernel density estimates over operations, of good cells and of the others.

    Args:
        best_first: (N, 6) operations of the cells, N at least 14.
    """

    def __init__(self, best_first: NDArray[np.intp]) -> None:
        good = max(LEAST, int(GOOD * len(best_first)))
        self._good, self._bad = Kernels(best_first[:good]), Kernels(best_first[good:])

    def sample(self, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
        """(count, 6) operations: each time the most telling of 4 samples around good cells."""
        cells = self._good.sample((count, SAMPLES), rng)
        best: NDArray[np.intp] = cells[np.arange(count), self.ratio(cells).argmax(axis=1)]
        return best

    def ratio(self, cells: NDArray[np.intp]) -> NDArray[np.float64]:
        """(...): how much likelier (..., 6) operations are among the good than among the others."""
        return self._good.density(cells) / self._bad.density(cells)


class Kernels:
    """A kernel density estimate over operations, with the kernel of Aitchison and Aitken (1976).

    Around each cell an edge keeps its operation with probability 1 - bandwidth, and has each of the
    four others with bandwidth / 4. The bandwidth follows the normal reference rule, as in the
    published code, 1.06 sigma N^(-1/(4 + 6)), where sigma is the square root of the probability
    that two of the cells differ in the edge's operation; then it is clipped to 0.3 to 0.8.

    Args:
        cells: (N, 6) operations.

    Attributes:
        bandwidths: (6,), of each edge.
    """

    def __init__(self, cells: NDArray[np.intp]) -> None:
        self._cells = cells
        here = one_hot(cells).astype(bool)  # (N, 30)
        shares = here.mean(axis=0).reshape(len(EDGES), CHOICES)
        sigma = np.sqrt(1 - (shares**2).sum(axis=1))
        rule = 1.06 * sigma * len(cells) ** (-1 / (4 + len(EDGES)))
        self.bandwidths = np.clip(rule, MIN_BANDWIDTH, MAX_BANDWIDTH)
        wide = np.repeat(self.bandwidths, CHOICES)
        self._logs = np.where(here, np.log(1 - wide), np.log(wide / OTHERS)).T  # (30, N)

    def sample(self, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.intp]:
        """(*shape, 6) operations: a cell each, of whose edges some have any operation instead."""
        around = self._cells[rng.integers(len(self._cells), size=shape)]
        changed = rng.random(around.shape) < self.bandwidths
        return np.where(changed, rng.integers(CHOICES, size=around.shape), around)

    def density(self, cells: NDArray[np.intp]) -> NDArray[np.float64]:
        """(...): the density at (..., 6) operations."""
        kernels = np.exp(one_hot(cells) @ self._logs)  # a product over edges, by logarithms
        mean: NDArray[np.float64] = kernels.mean(axis=-1)
        return mean


def one_hot(cells: NDArray[np.intp]) -> NDArray[np.float64]:
    """(..., 6) operations -> (..., 30)."""
    return np.eye(CHOICES)[cells].reshape(*cells.shape[:-1], -1)
