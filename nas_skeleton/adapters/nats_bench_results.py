"""What NATS-Bench's `query_by_index` returns: the trainings of an architecture, under its names."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nas_skeleton.published.rows import Row

if TYPE_CHECKING:
    from nas_skeleton.adapters.nats_bench import NATStopology

_MILLION = 1e6


@dataclass(frozen=True)
class ResultsCount:
    """One training, under NATS-Bench's names of what it holds."""

    api: NATStopology
    index: int
    dataset: str
    seed: int

    @property
    def params(self) -> float:
        """Parameters in millions."""
        return self._row().params / _MILLION

    @property
    def flop(self) -> float:
        """Multiply-accumulates of a clip in millions."""
        return self._row().macs / _MILLION

    def get_total_epoch(self) -> int:
        """Epochs of the recipe."""
        return self.api.benchmark.epochs(self.dataset)[-1]

    def get_latency(self) -> float:
        """Seconds for one clip; -1 where it was not measured."""
        latency = self._row().latency_ms / 1e3
        return -1.0 if math.isnan(latency) else latency

    def get_train(self, iepoch: int | None = None) -> dict[str, Any]:
        """Loss, accuracy and times of training, as NATS-Bench's `get_train`."""
        return self.api.metrics(self.index, self.dataset, "train", iepoch, self.seed)

    def get_eval(self, name: str, iepoch: int | None = None) -> dict[str, Any]:
        """The same on the set `name`, such as "x-valid" or "ori-test"."""
        return self.api.metrics(self.index, self.dataset, name, iepoch, self.seed)

    def _row(self) -> Row:
        return self.api.benchmark.query(self.index, self.dataset, seed=self.seed)


@dataclass(frozen=True)
class ArchResults:
    """All trainings of one architecture, under NATS-Bench's names."""

    api: NATStopology
    arch_index: int

    @property
    def arch_str(self) -> str:
        """Its architecture string."""
        return self.api.arch(self.arch_index)

    def get_dataset_names(self) -> list[str]:
        """Names of the tables."""
        return self.api.benchmark.datasets

    def get_dataset_seeds(self, dataset: str) -> list[int]:
        """The seeds it was trained with."""
        return list(self.api.benchmark.seeds(self.arch_index, dataset))

    def get_compute_costs(self, dataset: str) -> dict[str, Any]:
        """See `NATStopology.get_cost_info`."""
        return self.api.get_cost_info(self.arch_index, dataset)

    def get_metrics(
        self,
        dataset: str,
        setname: str,
        iepoch: int | None = None,
        is_random: bool | int = False,
    ) -> dict[str, Any]:
        """Loss, accuracy and times on a set."""
        return self.api.metrics(self.arch_index, dataset, setname, iepoch, is_random)

    def query(self, dataset: str, seed: int | None = None) -> Any:
        """The training with a seed, or all by their seeds."""
        found = self.api.query_by_index(self.arch_index, dataset)
        return found if seed is None else found[seed]
