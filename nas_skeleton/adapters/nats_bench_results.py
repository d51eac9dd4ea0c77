"""What NATS-Bench's `query_by_index` returns: the trainings of an architecture, under its names."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from nas_skeleton.errors import InputError
from nas_skeleton.published.rows import NotInTable, Row

if TYPE_CHECKING:
    from nas_skeleton.adapters.nats_bench import NATStopology

MILLION = 1e6
EVALUATED = {"x-valid": "valid", "ori-test": "test"}  # NATS-Bench's names of sets -> ours


def refuse_weights(index: int, dataset: str) -> NoReturn:
    """Say that there are no weights of this architecture.

    Raises:
        InputError: always.
    """
    raise InputError(
        f"table {dataset!r} holds no weights: `python -m nas_skeleton.train --arch {index}` trains "
        "the network"
    )


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
        return self._row().params / MILLION

    @property
    def flop(self) -> float:
        """Multiply-accumulates of a clip in millions."""
        return self._row().macs / MILLION

    @property
    def epochs(self) -> int:
        """Epochs of the recipe."""
        return self.api.benchmark.epochs(self.dataset)[-1]

    @property
    def eval_names(self) -> list[str]:
        """Sets it was evaluated on."""
        clips = self.api.benchmark.manifest(self.dataset).clips
        return [name for name, split in EVALUATED.items() if clips.get(split)]

    @property
    def train_acc1es(self) -> dict[int, float]:
        """Accuracy on training clips in percent, by epochs that the recipe evaluates, from 0."""
        return {at: self.get_train(at)["accuracy"] for at in self._iepochs()}

    @property
    def train_losses(self) -> dict[int, float]:
        """Training loss, likewise."""
        return {at: self.get_train(at)["loss"] for at in self._iepochs()}

    @property
    def eval_acc1es(self) -> dict[str, float]:
        """Accuracy in percent by set and epoch, such as "x-valid@29"."""
        return {
            f"{name}@{at}": self.get_eval(name, at)["accuracy"]
            for name in self.eval_names
            for at in self._iepochs()
        }

    def get_eval_set(self) -> list[str]:
        """Sets it was evaluated on."""
        return self.eval_names

    def get_total_epoch(self) -> int:
        """Epochs of the recipe."""
        return self.epochs

    def get_times(self) -> dict[str, float | None]:
        """Seconds of training; evaluations are part of it, and take no time of their own."""
        trained = self.get_train()
        return {"T-train@epoch": trained["cur_time"], "T-train@total": trained["all_time"]} | {
            f"T-{name}@{span}": None for name in self.eval_names for span in ("epoch", "total")
        }

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

    def get_config(self, str2structure: Callable[[str], Any] | None) -> dict[str, Any]:
        """`NATStopology.get_net_config`, its string made a structure."""
        config = self.api.get_net_config(self.index, self.dataset)
        if str2structure is not None:
            config["genotype"] = str2structure(config.pop("arch_str"))
        return config

    def get_net_param(self) -> NoReturn:
        """Refused: there are no weights."""
        refuse_weights(self.index, self.dataset)

    def _iepochs(self) -> list[int]:
        return [epoch - 1 for epoch in self.api.benchmark.epochs(self.dataset)]

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

    @property
    def dataset_seed(self) -> dict[str, list[int]]:
        """Name of a table -> the seeds it was trained with; none where it has no row."""
        seeds = {}
        for name in self.api.benchmark.datasets:
            with contextlib.suppress(NotInTable):
                seeds[name] = self.get_dataset_seeds(name)
        return seeds

    @property
    def all_results(self) -> dict[tuple[str, int], ResultsCount]:
        """(table, seed) -> training."""
        return {
            (name, seed): ResultsCount(self.api, self.arch_index, name, seed)
            for name, seeds in self.dataset_seed.items()
            for seed in seeds
        }

    def get_dataset_names(self) -> list[str]:
        """Names of the tables that have it."""
        return list(self.dataset_seed)

    def get_dataset_seeds(self, dataset: str) -> list[int]:
        """The seeds it was trained with."""
        return self.api.seeds_of(self.arch_index, dataset)

    def get_compute_costs(self, dataset: str) -> dict[str, Any]:
        """See `NATStopology.get_cost_info`."""
        return self.api.get_cost_info(self.arch_index, dataset)

    def get_latency(self, dataset: str) -> float | None:
        """See `NATStopology.get_latency`."""
        return self.api.get_latency(self.arch_index, dataset)

    def get_total_epoch(self, dataset: str | None = None) -> int:
        """Epochs of the recipe of a table.

        Raises:
            ValueError: none is named, and they have recipes of different length.
        """
        names = self.get_dataset_names() if dataset is None else [dataset]
        epochs = {name: self.api.benchmark.epochs(name)[-1] for name in names}
        if len(set(epochs.values())) > 1:
            raise ValueError(f"of which table? they have different numbers of epochs: {epochs}")
        return next(iter(epochs.values()))

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
        """The training with a seed, or all by their seeds.

        Raises:
            NotInTable: no such table or seed.
        """
        if seed is None:
            return {
                seed: ResultsCount(self.api, self.arch_index, dataset, seed)
                for seed in self.get_dataset_seeds(dataset)
            }
        self.api.benchmark.query(self.arch_index, dataset, seed=seed)
        return ResultsCount(self.api, self.arch_index, dataset, seed)

    def arch_idx_str(self) -> str:
        """The index in six digits."""
        return f"{self.arch_index:06d}"

    def get_net_param(self, dataset: str, seed: int | None = None) -> NoReturn:  # noqa: ARG002
        """Refused: there are no weights."""
        refuse_weights(self.arch_index, dataset)

    def clear_params(self) -> None:
        """Nothing: there are no weights."""


class ArchInfos(Mapping[int, dict[str, ArchResults]]):
    """NATS-Bench's `arch2infos_dict`: index -> `hp` -> trainings, of what was evaluated."""

    def __init__(self, api: NATStopology) -> None:
        self._api = api

    def __getitem__(self, index: int) -> dict[str, ArchResults]:
        if index not in self._api.evaluated_indexes:
            raise NotInTable(f"not all tables have a row for architecture {index}")
        return {hp: ArchResults(self._api, index) for hp in self._api.avaliable_hps}

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self._api.evaluated_indexes))

    def __len__(self) -> int:
        return len(self._api.evaluated_indexes)

    def clear(self) -> None:
        """Nothing: it holds nothing."""
