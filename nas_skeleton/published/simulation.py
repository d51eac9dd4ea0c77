"""A search on a published table, with a clock that shows what it would have cost to train.

For a loop of one's own. `analysis.replay` runs the strategies of this package on a whole table,
with several workers at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from nas_skeleton.published.rows import Epoch
from nas_skeleton.published.table import PublishedTable
from nas_skeleton.results import schema

if TYPE_CHECKING:
    from nas_skeleton.published.benchmark import Arch, Benchmark


@dataclass(frozen=True, slots=True)
class Answer:
    """What a searcher learns of one training.

    Attributes:
        arch_index: of the architecture.
        epoch: after which `valid_top1` was measured, 1-based.
        valid_top1: on validation clips, in [0, 1]; 0 where the training diverged, as in replays.
        macs, params, latency_ms: as in `rows.Row`.
        cost_s: seconds this training took, its evaluations included.
        clock_s: seconds since the clock was last set to 0.
    """

    arch_index: int
    epoch: int
    valid_top1: float
    macs: int
    params: int
    latency_ms: float
    cost_s: float
    clock_s: float


class Simulation:
    """One worker that trains what it is told, in no time. Made by `Benchmark.simulate`.

    Test accuracies are not there to be seen; look them up with `Benchmark.query` when the search is
    over. A training begins anew with every call, and is paid for again. That of E epochs costs the
    share E of all epochs of what the whole one took; the epoch that was "best" is known only when
    all are over, and costs the whole one. What a diverged one took is not stored: it costs the
    median of all that were trained with this seed, as in replays. A cell that ignores its input is
    not trained (engine "analytic"), and free.
    """

    def __init__(self, benchmark: Benchmark, table: PublishedTable, seed: int) -> None:
        self._benchmark = benchmark
        self._table = table
        self.seed = seed
        self.clock_s = 0.0

    def train(self, arch: Arch, epoch: Epoch = "last") -> Answer:
        """Train an architecture until an epoch and look at its validation accuracy.

        Raises:
            NotInTable: no such row or epoch.
        """
        index = self._benchmark.resolve(arch)
        row = self._table.row(index, self.seed, epoch)
        lost = row.status == schema.DIVERGED
        paid = self._table.row(index, self.seed, "last") if epoch == "best" else row
        cost = self._median_s if lost else paid.train_time_s
        self.clock_s += cost
        return Answer(
            row.arch_index,
            row.epoch,
            0.0 if lost else row.valid_top1,
            row.macs,
            row.params,
            row.latency_ms,
            cost,
            self.clock_s,
        )

    @cached_property
    def _median_s(self) -> float:
        seconds = self._table.array("train_time_s")[:, self._table.check_seed(self.seed)]
        trained = self._table.trained()[:, self._table.check_seed(self.seed)]
        return float(np.median(seconds[trained]))

    def reset(self) -> None:
        """Set the clock to 0."""
        self.clock_s = 0.0
