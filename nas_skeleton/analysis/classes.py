"""The unit of every statistic about cells: the functional class, and each training once.

A table has a row for each of 15,625 cells, but two thirds of them are copies of the training of
another cell that is the same function. Counting those would make one training look like many.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import SupportsIndex

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas_skeleton.errors import InputError
from nas_skeleton.results import schema
from nas_skeleton.spaces import CellSpace


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
