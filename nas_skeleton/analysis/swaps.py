"""What one operation in place of another does, everything else in the cell being as it was.

Cells that differ in the operation of one edge are compared in pairs. "Everything else" is the
drawing: a swap with `none` may cut other edges off or bring them to life, so look at the traits of
both sides (`swaps(cells, traits)`) where that matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas_skeleton.analysis.classes import check_accuracy
from nas_skeleton.analysis.topology import EDGE_COLUMNS
from nas_skeleton.errors import InputError
from nas_skeleton.spaces.cell import OPERATIONS

Floats = NDArray[np.float64]

LEAST_PAIRS = 3  # for an interval
_ENDS = ("before", "after")


def swaps(cells: pd.DataFrame, traits: Sequence[str] = ()) -> pd.DataFrame:
    """All pairs of functions that differ by the operation of one edge, in both directions.

    Args:
        cells: a `topology.topology_table`; pairs of which it lacks one are left out.
        traits: columns of it that belong to the function (`topology.FUNCTION_COLUMNS`).

    Returns:
        Each pair once per edge: `edge`, such as "0→3"; `before` and `after`, operations;
        `class_before` and `class_after`, functional keys, never equal; `arch_before` and
        `arch_after`, the lowest pair of such cells; and `TRAIT_before`, `TRAIT_after`.

    Raises:
        InputError: no such trait.
    """
    if isinstance(traits, str):
        raise InputError(f"traits {traits!r}: give a list of columns")
    if missing := [name for name in (*EDGE_COLUMNS, *traits) if name not in cells]:
        raise InputError(f"the cells have no column {missing[0]!r}: give a topology_table")
    codes = np.column_stack([cells[name].cat.codes for name in EDGE_COLUMNS]).astype(np.int64)
    radix = len(OPERATIONS) ** np.arange(len(EDGE_COLUMNS))
    number = codes @ radix
    row_of = np.full(len(OPERATIONS) ** len(EDGE_COLUMNS), -1)
    row_of[number] = np.arange(len(cells))
    keys = cells["functional_key"].to_numpy()
    parts = []
    for at, name in enumerate(EDGE_COLUMNS):
        for before, after in permutations(range(len(OPERATIONS)), 2):
            rows = np.flatnonzero(codes[:, at] == before)
            others = row_of[number[rows] + (after - before) * radix[at]]
            differs = (others >= 0) & (keys[rows] != keys[others])
            found = {"row_before": rows[differs], "row_after": others[differs]}
            edge = f"{name[-2]}→{name[-1]}"
            parts.append(pd.DataFrame(found).assign(edge=edge, before=before, after=after))
    every = pd.concat(parts)
    for end in _ENDS:
        row = every.pop(f"row_{end}").to_numpy()
        every[end] = np.array(OPERATIONS)[every[end]]
        every[f"class_{end}"], every[f"arch_{end}"] = keys[row], cells.index.to_numpy()[row]
        for trait in traits:
            every[f"{trait}_{end}"] = cells[trait].to_numpy()[row]
    every = every.sort_values(["arch_before", "arch_after"])
    once = every.drop_duplicates(["edge", "before", "after", "class_before", "class_after"])
    return once.sort_values(["edge", "before", "after", "arch_before"], ignore_index=True)


def single_shortcuts(pairs: pd.DataFrame) -> pd.DataFrame:
    """Of `swaps` with trait `skip_paths` those that add a path of skips where there was none.

    `none` before and `skip_connect` after, on the edge from input to output.

    Raises:
        InputError: the pairs lack the trait.
    """
    adds = _instead_of_none(pairs, "skip_paths") & (pairs["after"] == "skip_connect")
    return pairs[adds & (pairs["edge"] == "0→3") & (pairs["skip_paths_before"] == 0)]


def second_shortcuts(pairs: pd.DataFrame) -> pd.DataFrame:
    """Of `swaps` with trait `skip_paths` those that make one path of skips two.

    `none` before and `skip_connect` after, on any edge.

    Raises:
        InputError: the pairs lack the trait.
    """
    adds = _instead_of_none(pairs, "skip_paths") & (pairs["after"] == "skip_connect")
    return pairs[adds & (pairs["skip_paths_before"] == 1) & (pairs["skip_paths_after"] == 2)]


def added_operations(pairs: pd.DataFrame) -> pd.DataFrame:
    """Of `swaps` with traits `paths` and `depth` those that put one more operation to work.

    A convolution or a pool instead of `none`, by which there is just one path more.

    Returns:
        The pairs, with `how`: "in sequence" where the longest path has more operations than
        before, else "beside".

    Raises:
        InputError: the pairs lack a trait.
    """
    adds = _instead_of_none(pairs, "paths", "depth") & (pairs["after"] != "skip_connect")
    found = pairs[adds & (pairs["paths_after"] == pairs["paths_before"] + 1)]
    deeper = found["depth_after"] > found["depth_before"]
    return found.assign(how=np.where(deeper, "in sequence", "beside"))


def _instead_of_none(pairs: pd.DataFrame, *traits: str) -> pd.Series:
    """Which pairs have `none` before; they must have the traits."""
    if missing := [name for name in traits if f"{name}_before" not in pairs]:
        raise InputError(f"the pairs lack a trait: make them by swaps(cells, {missing})")
    return pairs["before"] == "none"


def swap_effects(
    pairs: pd.DataFrame, accuracy: pd.DataFrame, by: Sequence[str] = _ENDS
) -> pd.DataFrame:
    """The mean change of accuracy from `before` to `after`.

    Each pair of functions counts once, on however many edges they differ so, unless `edge` is
    among `by`. Pairs that share a function are not independent: the error of the mean is the
    dyadic cluster-robust one (Aronow, Samii and Assenova, Political Analysis 23, 2015), and never
    less than that of independent pairs. It is over functions and what luck each of their trainings
    had; of several seeds means are taken.

    Args:
        pairs: of `swaps`, all or some, and with further columns.
        accuracy: a row per `functional_key`, a column per seed, no NaN; in any unit.
        by: columns of `pairs`; means are of each combination. Of pairs in both directions, as
            `swaps` makes them, `before` and `after` must be among them: else they cancel.

    Returns:
        The columns of `by`, in order; `pairs`; `effect` in the unit of the accuracy, with its 95 %
        interval `low` to `high` (Student's t with one less than the number of pairs), NaN for fewer
        than three pairs. Pairs without both accuracies are left out.

    Raises:
        InputError: a column or an accuracy is missing, no pair has both accuracies, or directions
            cancel.
    """
    from scipy.stats import t

    check_accuracy(accuracy)
    if isinstance(by, str) or not len(by):
        raise InputError(f"by {by!r}: give a list of columns")
    for name in (*by, *_ENDS, "class_before", "class_after"):
        if name not in pairs:
            raise InputError(f"the pairs have no column {name!r}")
    known = pairs["class_before"].isin(accuracy.index) & pairs["class_after"].isin(accuracy.index)
    rows = pairs[known].drop_duplicates([*by, "class_before", "class_after"])
    if rows.empty:
        raise InputError("no pair of functions has both accuracies")
    means = accuracy.mean(axis=1)
    found = []
    for levels, own in rows.groupby(list(by), observed=True):
        directions = set(zip(own["before"], own["after"], strict=True))
        if any((after, before) in directions for before, after in directions):
            raise InputError(
                "pairs in both directions cancel: choose one, or put 'before' and 'after' in by"
            )
        ends = [own[f"class_{end}"] for end in _ENDS]
        changes = means[ends[1]].to_numpy() - means[ends[0]].to_numpy()
        reach = np.nan
        if len(own) >= LEAST_PAIRS:
            reach = float(t.ppf(0.975, len(own) - 1)) * dyadic_error(changes, *ends)
        effect = changes.mean()
        found.append((*levels, len(own), effect, effect - reach, effect + reach))
    return pd.DataFrame(found, columns=[*by, "pairs", "effect", "low", "high"])


def dyadic_error(values: Floats, one: pd.Series, other: pd.Series) -> float:
    """Standard error of the mean of values that belong to pairs.

    Args:
        values: `(pairs,)`.
        one: `(pairs,)` a member of each pair; no two pairs have the same two members.
        other: `(pairs,)` the other one.
    """
    errors = values - values.mean()
    members, _ = pd.factorize(pd.concat([one, other]))
    of_member = np.bincount(members, np.concatenate([errors, errors]))
    alone = float((errors**2).sum())
    together = float((of_member**2).sum()) - alone
    return float(np.sqrt(max(together, alone))) / len(values)
