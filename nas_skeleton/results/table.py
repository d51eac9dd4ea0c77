"""Finished trainings as dense arrays: what a search can be replayed on.

A run of this folder, the Parquet files of `runs collect`, or NATS-Bench's accuracies of all cells
on CIFAR as CSV. How results are stored and collected is `store`'s and `collect`'s business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas_skeleton.errors import InputError
from nas_skeleton.results import schema
from nas_skeleton.results.copies import with_copies_of_run
from nas_skeleton.results.run import Run, open_run, run_names
from nas_skeleton.spaces import SearchSpace, load_any_space, load_space
from nas_skeleton.training.result import ANALYTIC

FINISHED = (schema.DONE, schema.COPIED, schema.DIVERGED)
IDENTITY = ("space", "dataset", "fingerprint", "protocol", "recipe", "recipe_hash", "modality")
NATS_ACCURACIES = {  # name -> column of NATS-Bench's CSV, accuracies in percent
    "CIFAR10": "CIFAR10TestAccuracy200Epochs",
    "CIFAR100": "CIFAR100TestAccuracy200Epochs",
    "ImageNet16-120": "ImageNetTestAccuracy200Epochs",
}
NATS_NAMES = "ArchitectureString"
NATS_EPOCHS = 200
_COLUMNS = (
    *("key", "arch_index", "seed", "status", "epochs", "macs", "latency_ms", "train_time_s"),
    *("engine", "final_valid_top1", "final_test_top1", "source_index", *IDENTITY),
)


@dataclass(frozen=True)
class SearchTable:
    """The trainings of all architectures of a space, each with the same seeds.

    Attributes:
        title: data set, protocol, recipe and seeds, for people.
        space: what the architectures are indices of.
        seeds: of the trainings, S.
        epochs: ascending, F: after which the validation accuracy of every training is known; the
            last is the end.
        valid: `(A, S, F)` top-1 on validation clips in [0, 1]; 0 of a training that diverged.
        test: `(A, S)` top-1 on test clips after the last epoch, likewise.
        seconds: `(A, S)` of a whole training with its evaluations; NaN where no times are known.
        macs: `(A,)` multiply-accumulates of one clip; 0 where they are not known.
        latency_ms: `(A,)` mean over seeds; NaN where it is not known.
        remarks: what whoever reads numbers made of it must know.
        chooses_by_test: whether `valid` holds test accuracies, for want of others.
    """

    title: str
    space: SearchSpace
    seeds: tuple[int, ...]
    epochs: tuple[int, ...]
    valid: NDArray[np.float64]
    test: NDArray[np.float64]
    seconds: NDArray[np.float64]
    macs: NDArray[np.int64]
    latency_ms: NDArray[np.float64]
    remarks: tuple[str, ...] = ()
    chooses_by_test: bool = False

    def __len__(self) -> int:
        """How many architectures."""
        return len(self.valid)

    def without_test(self) -> SearchTable:
        """The table for those who search: its test accuracies are not a number."""
        return replace(self, test=np.full_like(self.test, np.nan))

    @cached_property
    def has_seconds(self) -> bool:
        """Whether it is known how long all trainings took."""
        return bool(np.isfinite(self.seconds).all())

    @cached_property
    def mean_valid(self) -> NDArray[np.float64]:
        """`(A,)` final validation top-1, the mean over seeds."""
        means: NDArray[np.float64] = self.valid[:, :, -1].mean(axis=1)
        return means

    @cached_property
    def mean_test(self) -> NDArray[np.float64]:
        """`(A,)` final test top-1, the mean over seeds. Nothing may be chosen by it."""
        means: NDArray[np.float64] = self.test.mean(axis=1)
        return means


def load_table(source: str) -> SearchTable:
    """The table called `source`. Published ones have checks: `published.find.find_search_table`.

    Args:
        source: a run; a `table.parquet` of `runs collect`, or its folder, with its `curves.parquet`
            beside it; or NATS-Bench's CSV, `FILE.csv` or `FILE.csv:CIFAR100`.

    Raises:
        InputError: there is no such table, it is damaged, or it lacks architectures of its space.
    """
    path, _, column = source.partition(".csv:")
    if column:
        return _of_nats_bench(Path(f"{path}.csv"), column)
    found = Path(source)
    if found.suffix == ".csv" and found.name != "table.csv":
        return _of_nats_bench(found, "CIFAR10")
    if found.is_dir():
        found = found / "table.parquet"
    if found.suffix == ".parquet":
        return _of_parquet(found)
    if source in run_names():
        return _of_run(open_run(source))
    raise InputError(
        f"no table {source!r}: give a run ({', '.join(run_names()) or 'there are none here'}), a "
        "published table, a table.parquet that `runs collect` wrote, or NATS-Bench's CSV"
    )


def _of_run(run: Run) -> SearchTable:
    space = load_any_space(run.arguments.space, run.arguments.modality)
    rows = run.rows([*_COLUMNS, "functional_key", "nb201_key", "arch_str"], blobs=True)
    curves = {
        key: schema.valid_by_epoch(curve)
        for key, curve in zip(rows["key"], rows["curve"], strict=True)
    }
    own = with_copies_of_run(rows.drop(columns=["curve"]), run, space)
    return table_of(own, curves.__getitem__, run.name)


def _of_parquet(path: Path) -> SearchTable:
    beside = path.with_name("curves.parquet")
    rows = _read(path, lambda: pd.read_parquet(path, columns=list(_COLUMNS)))
    curves = _read(beside, lambda: pd.read_parquet(beside, columns=["key", "epoch", "valid_top1"]))
    by_key: dict[str, dict[int, float]] = {}
    for key, epoch, valid in curves.itertuples(index=False, name=None):
        by_key.setdefault(key, {})[epoch] = valid
    return table_of(rows, lambda key: by_key.get(key, {}), str(path))


def _read(path: Path, read: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    try:
        return read()
    except FileNotFoundError:
        remedy = "; `runs collect` writes it" if path.suffix == ".parquet" else ""
        raise InputError(f"{path}: there is no such file{remedy}") from None
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: no table of trainings: {reason}") from None


def table_of(
    rows: pd.DataFrame, curve_of: Callable[[str], Mapping[int, float]], name: str
) -> SearchTable:
    """The table of some trainings.

    Args:
        rows: with `_COLUMNS`; copies have the key of what they are copies of, and ":" behind it.
        curve_of: validation top-1 by epoch of a training that did not diverge, by its key.
        name: what it is called in its title and in errors.

    Raises:
        InputError: they are no table that can be searched on.
    """
    rows = rows[rows["status"].isin(FINISHED)]
    if rows.empty:
        raise InputError(f"{name}: no training is finished")
    kinds = rows[list(IDENTITY)].drop_duplicates()
    if len(kinds) > 1:
        which = next(field for field in IDENTITY if kinds[field].nunique() > 1)
        raise InputError(
            f"{name}: trainings of several kinds ({which}: "
            f"{', '.join(map(str, kinds[which].unique()[:3]))}): a table has one"
        )
    first = dict(kinds.iloc[0])
    space = load_any_space(first["space"])
    if rows["final_valid_top1"].isna().all():
        raise InputError(
            f"{name}: protocol {first['protocol']!r} has no validation clips, and nothing else may "
            "choose"
        )
    if rows.loc[rows["status"] != schema.DIVERGED, "final_test_top1"].isna().any():
        raise InputError(f"{name}: not all trainings have a test accuracy to report")
    seeds = sorted(rows["seed"].unique().tolist())
    rows, shared = _with_classes(rows, space)
    every_seed, seeds = seeds, _whole_seeds(rows, len(space), seeds, name)
    left_out = [str(seed) for seed in every_seed if seed not in seeds]
    rows = rows[rows["seed"].isin(seeds)]
    rows = rows.sort_values(["arch_index", "seed"], kind="stable")
    shape = (len(space), len(seeds))
    lost = (rows["status"] == schema.DIVERGED).to_numpy()
    curves = [
        {} if is_lost else curve_of(key.partition(":")[0])
        for key, is_lost in zip(rows["key"], lost, strict=True)
    ]
    whole = [curve for curve, is_lost in zip(curves, lost, strict=True) if not is_lost]
    epochs = _common_epochs(whole, int(rows["epochs"].iloc[0]), name)
    valid = np.array([[curve.get(epoch, 0.0) for epoch in epochs] for curve in curves])
    seconds = rows["train_time_s"].to_numpy(np.float64, na_value=np.nan)
    remarks = []
    if left_out:
        remarks.append(
            f"left out: seeds {', '.join(left_out)}, which not every architecture is trained with"
        )
    if shared:
        remarks.append(
            f"{shared:,} architectures have no row: others of their functional class stand for them"
        )
    if lost.any():
        # What a diverged training took is not stored: until it was noticed, less than a whole one.
        trained = (rows["source_index"].isna() & (rows["engine"] != ANALYTIC)).to_numpy()
        seconds = np.where(lost, np.median(seconds[trained & ~lost]), seconds)
        count = int((lost & rows["source_index"].isna()).sum())
        remarks.append(f"{count} trainings diverged: they count as 0 %, and take the median time")
    latency = rows["latency_ms"].to_numpy(np.float64, na_value=np.nan).reshape(shape)
    return SearchTable(
        title=(
            f"{name}: space {first['space']}, {first['dataset']}, protocol {first['protocol']}, "
            f"recipe {first['recipe']}, last epoch, seeds {', '.join(map(str, seeds))}"
        ),
        space=space,
        seeds=tuple(seeds),
        epochs=tuple(epochs),
        valid=valid.reshape(*shape, len(epochs)),
        test=rows["final_test_top1"].fillna(0.0).to_numpy().reshape(shape),
        seconds=seconds.reshape(shape),
        macs=rows["macs"].to_numpy(np.int64).reshape(shape)[:, 0],
        latency_ms=np.where(
            np.isnan(latency).all(axis=1),
            np.nan,
            np.nansum(latency, axis=1) / np.maximum(1, (~np.isnan(latency)).sum(axis=1)),
        ),
        remarks=tuple(remarks),
    )


def _with_classes(rows: pd.DataFrame, space: SearchSpace) -> tuple[pd.DataFrame, int]:
    """`rows`, and for architectures that have none those of one that computes the same function.

    `runs collect` writes such rows for finished trainings, not for those that diverged, so a class
    whose only training did would be missing.

    Returns:
        The rows, and for how many architectures others stand.
    """
    present = set(rows["arch_index"].tolist())
    if len(present) == len(space):
        return rows, 0
    stand_ins = {
        member: min(known)
        for members in space.functional_classes().values()
        if (known := present.intersection(members))
        for member in members
        if member not in present
    }
    missing = pd.DataFrame(stand_ins.items(), columns=["member", "arch_index"], dtype=np.int64)
    copies = missing.merge(rows, on="arch_index")
    copies = copies.assign(arch_index=copies["member"]).drop(columns="member")
    return pd.concat([rows, copies], ignore_index=True) if stand_ins else rows, len(stand_ins)


def _common_epochs(curves: list[Mapping[int, float]], last: int, name: str) -> list[int]:
    """The epochs after which every one of these trainings was evaluated; `last` is among them."""
    common = set.intersection(*map(set, curves))
    if last not in common:
        raise InputError(
            f"{name}: not all trainings have a validation accuracy after epoch {last}, their last: "
            "are the curves those of this table?"
        )
    return sorted(common)


def _whole_seeds(rows: pd.DataFrame, architectures: int, seeds: list[int], name: str) -> list[int]:
    """The seeds that every architecture has a row with.

    Raises:
        InputError: there is none, or a training is there twice.
    """
    if rows.duplicated(["arch_index", "seed"]).any():
        raise InputError(f"{name}: a training is in it twice")
    counts = rows["seed"].value_counts()
    whole = [seed for seed in seeds if counts[seed] == architectures]
    if not whole:
        missing = architectures - int((rows["arch_index"].value_counts() == len(seeds)).sum())
        raise InputError(
            f"{name}: a search may ask for any architecture, and {missing:,} of {architectures:,} "
            f"are not trained with all {len(seeds)} seeds of the table: `search --strategy "
            "exhaustive --one-per-class` trains what is missing"
        )
    return whole


def _of_nats_bench(path: Path, name: str) -> SearchTable:
    if name not in NATS_ACCURACIES:
        raise InputError(f"{path}:{name}: known are {', '.join(NATS_ACCURACIES)}")
    space, column = load_space("nb201"), NATS_ACCURACIES[name]
    rows = _read(path, lambda: pd.read_csv(path, usecols=[column, NATS_NAMES]))
    try:
        indices = [space.index(arch) for arch in rows[NATS_NAMES]]
        accuracies = rows[column].to_numpy(np.float64) / 100
    except (InputError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not NATS-Bench's table: {error}") from None
    within = np.isfinite(accuracies) & (accuracies >= 0) & (accuracies <= 1)
    if sorted(indices) != list(range(len(space))) or not within.all():
        raise InputError(
            f"{path}: not NATS-Bench's table: it needs every cell once, and accuracies in percent"
        )
    values = np.empty(len(space))
    values[indices] = accuracies
    unknown: Any = np.full((len(space), 1), np.nan)
    return SearchTable(
        title=f"NATS-Bench, {name}, test accuracy after {NATS_EPOCHS} epochs, mean over its seeds",
        space=space,
        seeds=(0,),
        epochs=(NATS_EPOCHS,),
        valid=values[:, None, None],
        test=values[:, None],
        seconds=unknown,
        macs=np.zeros(len(space), np.int64),
        latency_ms=unknown[:, 0],
        remarks=(
            "this table has test accuracies only: searches choose by the numbers that the report "
            "shows, so they look better than they are",
            "it has no times: evaluations are the only cost",
        ),
        chooses_by_test=True,
    )
