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
published: `get_net_param` is refused, `reload` and `clear_params` have nothing to do. There is no
"valtest", which NATS-Bench has for CIFAR-100 and ImageNet16-120: "ori-test" are the test clips.

What is otherwise than there:

* `len(api)` counts all cells, as there, but a table may lack some: `evaluated_indexes` are those
  with a row in every loaded table, from the start on (with NATS-Bench's `fast_mode` they grow).
  Asking for others is an error.
* `find_best` ranks as `Benchmark.best(aggregate="mean")`: only architectures that finished with all
  seeds of the table compete, and ties go to fewer MACs. There a mean is over the seeds there are
  (with which those of fewer seeds win more easily), and ties go to the lower index. Where some do
  not compete it warns; `create(..., seeds=[777])` keeps to seeds that all have, in every answer.
* `verbose` says what was opened and found, not every call.
"""

from __future__ import annotations

import math
import random
import warnings
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from nas_skeleton.adapters.nats_bench_results import (
    EVALUATED,
    MILLION,
    ArchInfos,
    ArchResults,
    refuse_weights,
)
from nas_skeleton.adapters.nats_bench_space import TopologySpace
from nas_skeleton.errors import InputError
from nas_skeleton.published.benchmark import Benchmark
from nas_skeleton.published.files import published_names
from nas_skeleton.published.ranking import leader
from nas_skeleton.published.rows import AggregateRow, Epoch, NotInTable, Row, listed
from nas_skeleton.published.table import Floats

Source = str | Path | Sequence[str | Path]

HPS = ("12", "200")
_TOPOLOGY = ("tss", "topology")
# NATS-Bench's names of sets.
_SPLITS = {"train": "train", "valid": "valid", "test": "test", "x-test": "test", **EVALUATED}


def create(
    file_path_or_dict: Source | None = None,
    search_space: str = "tss",
    fast_mode: bool = False,
    verbose: bool = True,
    *,
    seeds: Sequence[int] | None = None,
) -> NATStopology:
    """NATS-Bench's way to open its file; here published tables.

    Args:
        file_path_or_dict: name or folder of a table, or several; None: all that are found.
        search_space: "tss" or "topology"; there is no other.
        fast_mode: without meaning here, for curves and predictions are always read when needed.
        verbose: say what was opened.
        seeds: the only ones that answer, of all tables; NATS-Bench has no such argument.

    Raises:
        InputError: no such table or seed, or another search space.
    """
    if search_space not in _TOPOLOGY:
        raise InputError(f"search space {search_space!r}: published tables have 'tss' only")
    return NATStopology(file_path_or_dict, fast_mode, verbose, seeds=seeds)


class NATStopology(TopologySpace):
    """What `create` returns, see there for the arguments.

    Data sets are the names of the loaded tables. Unknown ones, seeds and epochs raise `NotInTable`,
    an `InputError` and `KeyError` that lists what there is.
    """

    def __init__(
        self,
        file_path_or_dict: Source | None = None,
        fast_mode: bool = False,
        verbose: bool = True,
        *,
        seeds: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        if file_path_or_dict is None:
            file_path_or_dict = published_names()
        if isinstance(file_path_or_dict, str | Path):
            file_path_or_dict = [file_path_or_dict]
        self.benchmark = Benchmark.load(*file_path_or_dict)
        self._seeds = None if seeds is None else tuple(seeds)
        for name in self.benchmark.datasets:
            self._columns(name)  # an unknown seed is said now
        self.verbose = verbose
        self.fast_mode = fast_mode
        self.arch2infos_dict = ArchInfos(self)
        self._used_time = 0.0
        if verbose:
            print(self)

    def __repr__(self) -> str:
        counts = ", ".join(
            f"{name}: {self.benchmark.manifest(name).architectures}"
            for name in self.benchmark.datasets
        )
        return f"{type(self).__name__}({counts} of {len(self)} architectures)"

    @cached_property
    def evaluated_indexes(self) -> set[int]:
        """Indices of the cells that have a row in every loaded table."""
        rows = (
            set(np.flatnonzero(self._has_row(name).any(axis=1)).tolist())
            for name in self.benchmark.datasets
        )
        return set.intersection(*rows)

    def seeds_of(self, index: int, dataset: str) -> list[int]:
        """The seeds that answer for an architecture.

        Raises:
            NotInTable: there is no row with such a seed.
        """
        there = self.benchmark.seeds(index, dataset)
        found = [seed for seed in there if self._seeds is None or seed in self._seeds]
        if not found:
            raise NotInTable(
                f"table {dataset!r} has no row for architecture {index} with seed "
                f"{listed(self._seeds or ())}: it has {listed(there)}"
            )
        return found

    def _mean(self, index: int, dataset: str, epoch: Epoch = "last") -> AggregateRow:
        seeds = self.seeds_of(index, dataset)
        return self.benchmark.query(index, dataset, aggregate="mean", seeds=seeds, epoch=epoch)

    def _columns(self, dataset: str) -> list[int]:
        """Which columns of arrays are of the seeds that answer."""
        table = self.benchmark.table(dataset)
        return [table.check_seed(seed) for seed in self._seeds or table.seeds]

    def _array(self, column: str, dataset: str) -> Floats:
        """`(architectures, seeds)` of a column, with the seeds that answer."""
        return self.benchmark.array(column, dataset)[:, self._columns(dataset)]

    def _has_row(self, dataset: str) -> NDArray[np.bool_]:
        """`(architectures, seeds)` whether there is a row, with the seeds that answer."""
        return self.benchmark.table(dataset).has_row()[:, self._columns(dataset)]

    @property
    def avaliable_hps(self) -> list[str]:
        """What `hp` may be; the spelling is NATS-Bench's."""
        return list(HPS)

    @property
    def full_train_epochs(self) -> int:
        """Epochs of the recipe, of the longest of several; `hp` may be this number."""
        return max(self.benchmark.epochs(name)[-1] for name in self.benchmark.datasets)

    full_epochs_in_paper = full_train_epochs

    @property
    def used_time(self) -> float:
        """Seconds on the simulated clock."""
        return self._used_time

    def reset_time(self) -> None:
        """Set the simulated clock to 0."""
        self._used_time = 0.0

    def query_meta_info_by_index(self, arch_index: int, hp: str = "12") -> ArchResults:
        """All trainings of an architecture."""
        self._check_hp(hp)
        info = ArchResults(self, self.space.check_index(arch_index))
        if not info.dataset_seed:
            raise NotInTable(f"no table has a row for architecture {arch_index}")
        return info

    def query_by_index(self, arch_index: int, dataname: str | None = None, hp: str = "12") -> Any:
        """`ArchResults`, or with a data set its trainings by their seeds."""
        info = self.query_meta_info_by_index(arch_index, hp)
        return info if dataname is None else info.query(dataname)

    def query_info_str_by_arch(self, arch: Any, hp: str = "12") -> str:
        """What is known of an architecture, to print."""
        self._check_hp(hp)
        index = self._index(arch)
        lines = [self.arch(index), f"datasets : {self.benchmark.datasets}, arch-index={index}"]
        for name in self.query_meta_info_by_index(index).get_dataset_names():
            row = self._mean(index, name)
            lines.append(
                f"{name:14s} FLOP={row.macs / MILLION:6.2f} M, Params={row.params / MILLION:.3f} "
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
        for known in sorted(self.evaluated_indexes):
            print(self.query_info_str_by_arch(known))

    def get_more_info(
        self,
        index: Any,
        dataset: str,
        iepoch: int | None = None,
        hp: str = "12",
        is_random: bool | int = True,
    ) -> dict[str, Any]:
        """Losses, accuracies and times of a training: of a random seed unless `is_random` says."""
        self._check_hp(hp)
        found = self._index(index)
        if is_random is True:
            is_random = random.choice(self.seeds_of(found, dataset))
        clips = self.benchmark.manifest(dataset).clips
        counts = ", ".join(f"{split}: {count} clips" for split, count in clips.items() if count)
        info: dict[str, Any] = {"comment": f"{counts}; times in seconds, all-time until this epoch"}
        for split in ("train", "valid", "test"):
            if not clips.get(split):
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
            is_random = random.choice(self.seeds_of(index, dataset))
        epoch = self._epoch(dataset, iepoch)
        row: Row | AggregateRow
        if is_random is False:
            row = self._mean(index, dataset, epoch)
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
        row = self._mean(self._index(index), dataset)
        seconds = _or_zero(row.train_time_s)
        return {
            "flops": row.macs / MILLION,
            "params": row.params / MILLION,
            "latency": None if math.isnan(row.latency_ms) else row.latency_ms / 1e3,
            "T-train@epoch": seconds / row.epoch,
            "T-train@total": seconds,
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
        flop_max: float | None = None,
        param_max: float | None = None,
        hp: str = "12",
        enforce_all: bool | None = None,  # noqa: ARG002 - here all have been evaluated
        *,
        FLOP_max: float | None = None,
        Param_max: float | None = None,
    ) -> tuple[int, float]:
        """Index and accuracy of the highest mean over seeds on a set, within limits in millions.

        On "test" this is what a report may compare with, and nothing a search may know. Who
        competes, and who is first of equals, is as in `Benchmark.best`, whatever `enforce_all`.
        Its older versions call the limits `FLOP_max` and `Param_max`; these are there too. Warns
        where some architectures do not compete, and where a limit is no number of millions.

        Raises:
            NotInTable: no architecture that finished with all seeds is within the limits.
        """
        self._check_hp(hp)
        if metric_on_set not in _SPLITS:
            raise NotInTable(f"no set {metric_on_set!r}: there are {', '.join(_SPLITS)}")
        measured = self._array(f"final_{_SPLITS[metric_on_set]}_top1", dataset)
        means = measured.mean(axis=1)  # NaN where a seed is missing or diverged
        macs, params = (self._array(column, dataset).mean(axis=1) for column in ("macs", "params"))
        within = np.isfinite(means)
        if within.sum() < (present := int(self._has_row(dataset).any(axis=1).sum())):
            warnings.warn(
                f"find_best: {within.sum():,} of {present:,} architectures of table {dataset!r} "
                "finished with all seeds, and only these compete; create(..., seeds=[...]) keeps "
                "to seeds that more have",
                stacklevel=2,
            )
        for costs, limits in ((macs, (flop_max, FLOP_max)), (params, (param_max, Param_max))):
            for limit in limits:
                if limit is not None:
                    _check_millions(limit, costs)
                    within &= costs <= limit * MILLION
        if not within.any():
            raise NotInTable(
                f"table {dataset!r} has no architecture that finished with all of its seeds and is "
                "within these limits"
            )
        best = leader(means, macs, within)
        if self.verbose:
            print(
                f"the best of {within.sum():,} architectures that finished with all seeds: {best} "
                f"{self.arch(best)} with accuracy {100 * means[best]:.3f}%"
            )
        return best, 100 * float(means[best])

    def get_net_param(
        self,
        index: Any,
        dataset: str,
        seed: int | None,  # noqa: ARG002 - there are none of any seed
        hp: str = "12",
    ) -> NoReturn:
        """Refused: there are no weights."""
        self._check_hp(hp)
        refuse_weights(self._index(index), dataset)

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
        rows = self._has_row(dataset).sum(axis=1)
        return dict(Counter(rows[rows > 0].tolist()))

    def reload(self, archive_root: str | None = None, index: int | None = None) -> None:
        """Nothing: all is there."""

    def clear_params(self, index: int, hp: str | None = None) -> None:
        """Nothing: there are no weights."""

    def reset_archive_dir(self, archive_dir: str) -> None:
        """Nothing: tables stay where they were loaded from."""

    def reset_fast_mode(self, fast_mode: bool) -> None:
        """Nothing is otherwise in `fast_mode`."""
        self.fast_mode = fast_mode

    def _prepare_info(self, index: int) -> None:
        """Nothing: all is there. Private there, and called by many scripts."""

    def _index(self, arch: Any) -> int:
        try:
            return self.checked_index(arch)
        except InputError as error:
            raise NotInTable(str(error)) from None

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


def _check_millions(limit: float, costs: Floats) -> None:
    """Warn of a limit that was meant otherwise: a thousand times what the largest cell costs."""
    largest = np.nanmax(costs) / MILLION
    if limit > 1000 * largest:
        warnings.warn(
            f"find_best: limits are in millions, and no architecture has more than {largest:.3g}: "
            f"{limit:g} limits nothing",
            stacklevel=3,
        )


def _or_zero(value: float) -> float:
    return 0.0 if math.isnan(value) else value
