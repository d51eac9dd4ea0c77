"""The unit of every statistic about cells: the functional class, and each training once.

A table has a row for each of 15,625 cells, but two thirds of them are copies of the training of
another cell that is the same function. Counting those would make one training look like many.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import SupportsIndex

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas_skeleton.analysis.topology import class_table, topology_table
from nas_skeleton.errors import InputError
from nas_skeleton.results import schema
from nas_skeleton.spaces import CellSpace


@dataclass(frozen=True)
class TrainedClasses:
    """Functional classes with all wanted seeds, what they look like and what they reach.

    Those that ignore their input are not among them: they stand at chance whatever else they have,
    and would be all that a mean shows.

    Attributes:
        cells: a row for each of their cells that there are in the space, a `topology_table`.
        traits: a row for each of them, a `class_table`, with the `macs` of what was trained.
        valid, test: top-1 in percent after the last epoch, a row for each in the same order, a
            column per seed.
    """

    cells: pd.DataFrame
    traits: pd.DataFrame
    valid: pd.DataFrame
    test: pd.DataFrame

    def __len__(self) -> int:
        """How many classes."""
        return len(self.traits)

    @property
    def ranked(self) -> pd.Index:
        """Keys by mean validation accuracy, the best first.

        Of equals that with fewer MACs comes first, then the lower index, as in `Benchmark.best`.
        """
        order = self.traits[["macs", "arch_index"]].assign(valid=self.valid.mean(axis=1).round(9))
        columns = ["valid", "macs", "arch_index"]
        return order.sort_values(columns, ascending=[False, True, True]).index


def trained_classes(
    trainings: pd.DataFrame, seeds: Sequence[int], archs: Collection[int] | None = None
) -> TrainedClasses:
    """The classes that finished with all of `seeds`.

    Args:
        trainings: as in `class_accuracies`, with `arch_index` and `macs`; accuracies in [0, 1].
        seeds: which, each once.
        archs: only trainings of these architectures, such as a table's sample. If they were chosen
            by accuracies, what is measured on the same seeds flatters them.

    Raises:
        InputError: a column is missing, accuracies are no shares, or no class has all the seeds.
    """
    wanted = np.atleast_1d(np.asarray(seeds)).tolist()
    if not wanted or len(set(wanted)) < len(wanted):
        raise InputError(f"seeds {seeds!r}: give a list of different ones, such as [777]")
    if missing := [name for name in ("arch_index", "macs") if name not in trainings]:
        raise InputError(f"trainings have no column {missing[0]!r}")
    if archs is not None:
        trainings = trainings[trainings["arch_index"].isin(list(archs))]
    accuracies = {}
    for split in ("valid", "test"):
        found = class_accuracies(trainings, f"final_{split}_top1", complete=False)
        if (found.to_numpy() > 1).any():
            raise InputError(f"final_{split}_top1 is above 1: accuracies are shares, no percent")
        accuracies[split] = 100 * found.reindex(columns=wanted).dropna()
    every = topology_table()
    done = accuracies["valid"].index.intersection(accuracies["test"].index)
    cells = every[every["functional_key"].isin(done) & ~every["ignores_input"]]
    own = trainings[trainings["status"] == schema.DONE]
    if cells.empty:
        known = sorted(own["seed"].unique().tolist())
        raise InputError(
            f"no class that sees its input is trained with all seeds {wanted}; there are "
            f"{', '.join(map(str, known)) or 'no trainings'}"
        )
    traits = class_table(cells)
    traits["macs"] = own.groupby("functional_key")["macs"].min().loc[traits.index]
    valid, test = (accuracies[split].loc[traits.index] for split in ("valid", "test"))
    return TrainedClasses(cells, traits, valid, test)


def class_accuracies(
    trainings: pd.DataFrame, column: str = "final_valid_top1", *, complete: bool = True
) -> pd.DataFrame:
    """What each class reached with each seed: a row per `functional_key`, a column per `seed`.

    Args:
        trainings: one row per architecture and seed, with `functional_key`, `seed`, `status` and
            the column, as `Benchmark.to_pandas("trainings")` and runs have it. Copies are left
            out; of several own trainings of one class with one seed the mean is taken.
        column: a number.
        complete: leave out classes that lack a seed.

    Raises:
        InputError: no such column.
    """
    wanted = ["functional_key", "seed", "status", column]
    if missing := [name for name in wanted if name not in trainings]:
        raise InputError(f"trainings have no column {missing[0]!r}")
    own = trainings.loc[trainings["status"] == schema.DONE, wanted]
    found = own.pivot_table(index="functional_key", columns="seed", values=column, aggfunc="mean")
    return found.dropna() if complete else found


def check_accuracy(accuracy: pd.DataFrame) -> None:
    """Refuse what is no table of accuracies, a row per class and a column per seed.

    Raises:
        InputError: a series, no column, or a missing number.
    """
    if not isinstance(accuracy, pd.DataFrame) or not len(accuracy.columns):
        raise InputError("accuracies: need a table with a column per seed, such as [[777]] of one")
    if count := int(accuracy.isna().any(axis=1).sum()):
        raise InputError(f"{count} classes lack an accuracy: leave them out, such as by dropna()")


def first_of_classes(archs: Iterable[SupportsIndex]) -> NDArray[np.int64]:
    """Of each class the lowest index among `archs`, ascending.

    Rows of arrays `(15625, ...)` with copies are so reduced to one per class.

    Raises:
        InputError: not an index of the space.
    """
    space = CellSpace()
    first: dict[str, int] = {}
    for index in sorted(space.check_index(arch) for arch in archs):
        first.setdefault(space.functional_key(index), index)
    return np.array(list(first.values()), dtype=np.int64)
