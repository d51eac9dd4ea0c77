"""Published tables under the names of NATS-Bench's API, so that scripts written for it run on them.

    from nats_bench import create                       # before
    from nas_skeleton.adapters.nats_bench import create   # after

New code is better off with `nas_skeleton.Benchmark`, which leaves nothing open. Here NATS-Bench's
silent defaults are kept (Dong et al., TPAMI 2021; names and meanings as in its version 1.8):

* `hp="12"`: NATS-Bench has a short and a long training. A table has one recipe, which answers for
  "12", for "200" and for its own number of epochs.
* `is_random=True`: the answer is that of one training picked at random, by the global generator of
  `random`, as there; False is the mean over all seeds of the architecture, a number is a seed.
* `iepoch=None`: after the last epoch. Epochs count from 0, and are those the recipe evaluates.

Accuracies are in percent, parameters and FLOPs (multiply-accumulates) in millions, latency and
times in seconds, as there. What is not stored: losses on validation and test clips are NaN, and
evaluations take no time of their own, since they are part of that of the training. A training that
diverged has accuracy 0 and took no time, nor did cells that ignore their input. Weights are not
published.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas_skeleton.adapters.nats_bench_results import ArchResults, ResultsCount
from nas_skeleton.errors import InputError
from nas_skeleton.published.benchmark import Benchmark
from nas_skeleton.published.files import published_names
from nas_skeleton.published.rows import AggregateRow, NotInTable, Row, listed
from nas_skeleton.spaces.cell import NODES, OPERATIONS, lists, parse_arch

Source = str | Path | Sequence[str | Path]

HPS = ("12", "200")
_TOPOLOGY = ("tss", "topology")
_SPLITS = {  # NATS-Bench's names of sets
    "train": "train",
    "valid": "valid",
    "x-valid": "valid",
    "test": "test",
    "x-test": "test",
    "ori-test": "test",
}
_MILLION = 1e6


def create(
    file_path_or_dict: Source | None = None,
    search_space: str = "tss",
    fast_mode: bool = False,
    verbose: bool = True,
) -> NATStopology:
    """NATS-Bench's way to open its file; here published tables.

    Args:
        file_path_or_dict: name or folder of a table, or several; None: all that are found.
        search_space: "tss" or "topology"; there is no other.
        fast_mode: without meaning here, for curves and predictions are always read when needed.
        verbose: say what was opened.

    Raises:
        InputError: no such table, or another search space.
    """
    if search_space not in _TOPOLOGY:
        raise InputError(f"search space {search_space!r}: published tables have 'tss' only")
    if file_path_or_dict is None:
        file_path_or_dict = published_names()
    if isinstance(file_path_or_dict, str | Path):
        file_path_or_dict = [file_path_or_dict]
    api = NATStopology(Benchmark.load(*file_path_or_dict), fast_mode, verbose)
    if verbose:
        print(api)
    return api


class NATStopology:
    """What NATS-Bench's `create` returns for the topology search space; made by `create` here.

    Data sets are the names of the loaded tables. Unknown ones, seeds and epochs raise `NotInTable`,
    an `InputError` and `KeyError` that lists what there is.
    """

    def __init__(self, benchmark: Benchmark, fast_mode: bool = False, verbose: bool = True) -> None:
        self.benchmark = benchmark
        self.verbose = verbose
        self.fast_mode = fast_mode
        self.search_space_name = "topology"
        self._used_time = 0.0

    def __len__(self) -> int:
        return len(self.benchmark)

    def __getitem__(self, index: int) -> str:
        return self.arch(index)

    def __repr__(self) -> str:
        counts = ", ".join(
            f"{name}: {self.benchmark.manifest(name).architectures}"
            for name in self.benchmark.datasets
        )
        return f"{type(self).__name__}({counts} of {len(self)} architectures)"

    @property
    def avaliable_hps(self) -> list[str]:
        """What `hp` may be; the spelling is NATS-Bench's."""
        return list(HPS)

    @property
    def used_time(self) -> float:
        """Seconds on the simulated clock."""
        return self._used_time

    def reset_time(self) -> None:
        """Set the simulated clock to 0."""
        self._used_time = 0.0

    def arch(self, index: int) -> str:
        """The architecture string at an index."""
        return self.benchmark.space.arch_string(index)

    def random(self) -> int:
        """A random index, by the global generator of `random`, as there."""
        return random.randint(0, len(self) - 1)

    def query_index_by_arch(self, arch: Any) -> int:
        """The index of a string, an object with `tostr()` or an index; -1 if a string has none.

        Raises:
            ValueError: an index that the space does not have.
        """
        if isinstance(arch, int):
            if not 0 <= arch < len(self):
                raise ValueError(f"invalid architecture index {arch}: 0 to {len(self) - 1}")
            return arch
        text = arch.tostr() if hasattr(arch, "tostr") else arch
        try:
            return self.benchmark.space.index(text)
        except InputError:
            return -1

    def query_meta_info_by_index(self, arch_index: int, hp: str = "12") -> ArchResults:
        """All trainings of an architecture."""
        self._check_hp(hp)
        return ArchResults(self, self.benchmark.space.check_index(arch_index))

    def query_by_index(self, arch_index: int, dataname: str | None = None, hp: str = "12") -> Any:
        """`ArchResults`, or with a data set its trainings by their seeds."""
        info = self.query_meta_info_by_index(arch_index, hp)
        if dataname is None:
            return info
        return {
            seed: ResultsCount(self, arch_index, dataname, seed)
            for seed in info.get_dataset_seeds(dataname)
        }

    def query_info_str_by_arch(self, arch: Any, hp: str = "12") -> str:
        """What is known of an architecture, to print."""
        self._check_hp(hp)
        index = self._index(arch)
        lines = [self.arch(index), f"datasets : {self.benchmark.datasets}, arch-index={index}"]
        for name in self.benchmark.datasets:
            row = self.benchmark.query(index, name, aggregate="mean")
            lines.append(
                f"{name:14s} FLOP={row.macs / _MILLION:6.2f} M, Params={row.params / _MILLION:.3f} "
                f"M, latency={row.latency_ms:.2f} ms, seeds={list(row.seeds)}."
            )
            shares = (("train", row.train_top1), ("valid", row.valid_top1), ("test", row.test_top1))
            told = ", ".join(f"{split} : [top1 = {100 * top1:.2f}%]" for split, top1 in shares)
            lines.append(f"{name:14s} {told}")
        return "\n".join(lines)

    query_by_arch = query_info_str_by_arch

    def show(self, index: int = -1) -> None:
        """Print what is known of an architecture, or of all that have a row."""
        if index >= 0:
            print(self.query_info_str_by_arch(index))
            return
        print(self)
        rows = [self.benchmark.array("params", name) for name in self.benchmark.datasets]
        for known in np.flatnonzero(np.all([np.isfinite(of).any(axis=1) for of in rows], axis=0)):
            print(self.query_info_str_by_arch(int(known)))

    def get_more_info(
        self,
        index: Any,
        dataset: str,
        iepoch: int | None = None,
        hp: str = "12",
        is_random: bool | int = True,
    ) -> dict[str, float]:
        """Losses, accuracies and times of a training: of a random seed unless `is_random` says."""
        self._check_hp(hp)
        found = self._index(index)
        if is_random is True:
            is_random = random.choice(self.benchmark.seeds(found, dataset))
        info: dict[str, float] = {}
        for split in ("train", "valid", "test"):
            if not self.benchmark.manifest(dataset).clips.get(split):
                continue
            of_split = self.metrics(found, dataset, split, iepoch, is_random)
            info[f"{split}-loss"] = of_split["loss"]
            info[f"{split}-accuracy"] = of_split["accuracy"]
            info[f"{split}-per-time"] = of_split["cur_time"]
            info[f"{split}-all-time"] = of_split["all_time"]
        return info

    def metrics(
        self, index: int, dataset: str, setname: str, iepoch: int | None, is_random: bool | int
    ) -> dict[str, Any]:
        """What NATS-Bench's `ArchResults.get_metrics` returns."""
        if setname not in _SPLITS:
            raise NotInTable(f"no set {setname!r}: there are {', '.join(_SPLITS)}")
        split = _SPLITS[setname]
        if is_random is True:
            is_random = random.choice(self.benchmark.seeds(index, dataset))
        epoch = self._epoch(dataset, iepoch)
        row: Row | AggregateRow
        if is_random is False:
            row = self.benchmark.query(index, dataset, aggregate="mean", epoch=epoch)
            seeds = row.seeds
        else:
            row = self.benchmark.query(index, dataset, seed=is_random, epoch=epoch)
            seeds = (is_random,)
        seconds = _or_zero(row.train_time_s) if split == "train" else 0.0
        return {
            "iepoch": epoch - 1,
            "loss": self._loss(index, dataset, seeds, epoch) if split == "train" else math.nan,
            "accuracy": 100 * _or_zero(getattr(row, f"{split}_top1")),
            "cur_time": seconds / epoch,
            "all_time": seconds,
        }

    def get_cost_info(self, index: Any, dataset: str, hp: str = "12") -> dict[str, Any]:
        """FLOPs and parameters in millions, latency and training times in seconds, means."""
        self._check_hp(hp)
        row = self.benchmark.query(self._index(index), dataset, aggregate="mean")
        return {
            "flops": row.macs / _MILLION,
            "params": row.params / _MILLION,
            "latency": None if math.isnan(row.latency_ms) else row.latency_ms / 1e3,
            "T-train@epoch": row.train_time_s / row.epoch,
            "T-train@total": row.train_time_s,
            "T-ori-test@epoch": None,
            "T-ori-test@total": None,
        }

    def get_latency(self, index: Any, dataset: str, hp: str = "12") -> float | None:
        """Seconds for one clip, the mean over seeds."""
        latency: float | None = self.get_cost_info(index, dataset, hp)["latency"]
        return latency

    def simulate_train_eval(
        self,
        arch: Any,
        dataset: str,
        iepoch: int | None = None,
        hp: str = "12",
        account_time: bool = True,
    ) -> tuple[float, float | None, float, float]:
        """Train with a random seed: validation accuracy, latency, seconds of this, of all so far.

        Raises:
            InputError: the protocol has no validation clips.
        """
        index = self._index(arch)
        info = self.get_more_info(index, dataset, iepoch, hp, is_random=True)
        if "valid-accuracy" not in info:
            raise InputError(f"table {dataset!r} has no validation clips to choose by")
        cost = info["train-all-time"] + info["valid-per-time"]
        if account_time:
            self._used_time += cost
        return info["valid-accuracy"], self.get_latency(index, dataset), cost, self._used_time

    def find_best(
        self,
        dataset: str,
        metric_on_set: str,
        FLOP_max: float | None = None,
        Param_max: float | None = None,
        hp: str = "12",
    ) -> tuple[int, float]:
        """Index and accuracy of the highest mean over seeds on a set, within limits in millions.

        On "test" this is what a report may compare with, and nothing a search may know. The mean is
        over the seeds an architecture has: one with fewer of them wins more easily.
        """
        self._check_hp(hp)
        if metric_on_set not in _SPLITS:
            raise NotInTable(f"no set {metric_on_set!r}: there are {', '.join(_SPLITS)}")
        values = self.benchmark.array(f"final_{_SPLITS[metric_on_set]}_top1", dataset)
        known = np.isfinite(values)
        means = np.where(known, values, 0).sum(axis=1) / np.maximum(1, known.sum(axis=1))
        within = known.any(axis=1)
        for column, limit in (("macs", FLOP_max), ("params", Param_max)):
            if limit is not None:
                costs = self.benchmark.array(column, dataset)
                within &= np.nan_to_num(costs, nan=-np.inf).max(axis=1) <= limit * _MILLION
        if not within.any():
            raise NotInTable(f"table {dataset!r} has no architecture within these limits")
        best = int(np.argmax(np.where(within, means, -1.0)))
        return best, 100 * float(means[best])

    def get_net_config(self, index: Any, dataset: str) -> dict[str, Any]:
        """What NATS-Bench needs to build the network; `nas_skeleton.build_network` builds ours."""
        made = self.benchmark.manifest(dataset)
        return {
            "name": "infer.tiny",
            "C": made.recipe_values["channels"],
            "N": made.recipe_values["cells_per_stage"],
            "arch_str": self.arch(self._index(index)),
            "num_classes": len(made.classes),
        }

    def statistics(self, dataset: str, hp: str | int) -> dict[int, int]:
        """Number of seeds -> how many architectures have so many rows."""
        self._check_hp(hp)
        rows = np.isfinite(self.benchmark.array("params", dataset)).sum(axis=1)
        return dict(Counter(rows[rows > 0].tolist()))

    def reload(self, archive_root: str | None = None, index: int | None = None) -> None:
        """Nothing: all is there."""

    def clear_params(self, index: int, hp: str | None = None) -> None:
        """Nothing: there are no weights."""

    @staticmethod
    def str2lists(arch_str: str) -> list[tuple[tuple[str, int], ...]]:
        """The (operation, source node) pairs of nodes 1, 2 and 3."""
        return [tuple(node) for node in lists(parse_arch(arch_str))]

    @staticmethod
    def str2matrix(arch_str: str, search_space: Sequence[str] = OPERATIONS) -> Any:
        """The cell as a 4x4 array: row target, column source, entry the place of its operation."""
        found = np.zeros((NODES, NODES))
        for target, node in enumerate(lists(parse_arch(arch_str)), start=1):
            for operation, source in node:
                found[target, source] = search_space.index(operation)
        return found

    def _index(self, arch: Any) -> int:
        index = self.query_index_by_arch(arch)
        if index < 0:
            raise NotInTable(f"not an architecture of NAS-Bench-201: {arch!r:.120}")
        return index

    def _check_hp(self, hp: str | int) -> None:
        lengths = [str(self.benchmark.epochs(name)[-1]) for name in self.benchmark.datasets]
        known = dict.fromkeys([*HPS, *lengths])
        if str(hp) not in known:
            raise NotInTable(f"no hp {hp!r}: there are {listed(known)}")

    def _epoch(self, dataset: str, iepoch: int | None) -> int:
        epochs = self.benchmark.epochs(dataset)
        if iepoch is None:
            return epochs[-1]
        if iepoch + 1 not in epochs:
            known = listed(epoch - 1 for epoch in epochs)
            raise NotInTable(f"table {dataset!r} has no iepoch {iepoch}, from 0: it has {known}")
        return iepoch + 1

    def _loss(self, index: int, dataset: str, seeds: Sequence[int], epoch: int) -> float:
        losses = self.benchmark.table(dataset).losses(index, epoch)
        found = [losses[seed] for seed in seeds if not math.isnan(losses[seed])]
        return sum(found) / len(found) if found else math.nan


def _or_zero(value: float) -> float:
    return 0.0 if math.isnan(value) else value
