"""Do two tables order the classes alike, and how early does a training show its end?

Kendall's tau-b, always beside what a repetition with another seed reaches: trainings of two tables
can hardly agree better than two trainings of one. The measure and its bootstrap are those of
`agreement`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas_skeleton.analysis.agreement import LEAST_CELLS, between_columns, bootstrapped, kendall
from nas_skeleton.analysis.reliability import without_noise
from nas_skeleton.errors import InputError
from nas_skeleton.results.intraclass import reliability_of
from nas_skeleton.spaces import CellSpace

Floats = NDArray[np.float64]

RESAMPLES = 200  # for curves, which take six taus an epoch of each; 1.5 ms each for all classes
CIFAR_COLUMNS = {
    "cifar10": "CIFAR10TestAccuracy200Epochs",
    "cifar100": "CIFAR100TestAccuracy200Epochs",
    "imagenet16_120": "ImageNetTestAccuracy200Epochs",
}


def between_tables(tables: Mapping[str, pd.DataFrame], best: str | None = None) -> pd.DataFrame:
    """How each two tables agree about the classes that both have: data sets, stems, recipes.

    Args:
        tables: name -> accuracies, a row per class (or architecture, one per class), a column per
            seed, no NaN.
        best: a table; only its better half by mean accuracy is compared. Tau falls there in every
            table, for those cells differ less: compare with the ceilings of the same half.

    Returns:
        `first`, `second`, `classes`; `tau` of the means over seeds with its 95 % interval `low` to
        `high`; `one_seed`, the mean tau of one seed of the first and one of the second, to be held
        against `first_ceiling` and `second_ceiling`, the mean tau of two of a table's own seeds,
        NaN with one; `corrected`, tau without the noise of seeds, at most 1
        (`reliability.without_noise`), NaN where a table has one seed or no signal. Pairs with fewer
        than three classes are left out.

    Raises:
        InputError: no table is called `best`.
    """
    if best is not None and best not in tables:
        raise InputError(f"no table {best!r}: there are {', '.join(tables)}")
    kept = None
    if best is not None:
        means = tables[best].mean(axis=1)
        kept = means.index[means.rank(ascending=False, method="first") <= len(means) / 2]
    rows = []
    for one, other in combinations(tables, 2):
        shared = tables[one].index.intersection(tables[other].index)
        if kept is not None:
            shared = shared.intersection(kept)
        if len(shared) < LEAST_CELLS:
            continue
        mine, others = (tables[name].loc[shared].to_numpy(np.float64) for name in (one, other))
        pairs = np.column_stack([mine.mean(axis=1), others.mean(axis=1)])
        found = bootstrapped(pairs, lambda t: kendall(t[:, 0], t[:, 1]))
        known = [reliability_of(values) for values in (mine, others)]
        corrected = None
        if known[0] and known[1]:
            corrected = without_noise(found.tau, known[0].mean, known[1].mean)
        rows.append(
            {
                "first": one,
                "second": other,
                "classes": len(shared),
                "tau": found.tau,
                "low": found.low,
                "high": found.high,
                "one_seed": float(np.mean([kendall(a, b) for a in mine.T for b in others.T])),
                "first_ceiling": _ceiling(mine),
                "second_ceiling": _ceiling(others),
                "corrected": np.nan if corrected is None else corrected,
            }
        )
    return pd.DataFrame(rows)


def between_seeds(accuracy: pd.DataFrame) -> pd.DataFrame:
    """Tau of each two seeds of a table: `first`, `second`, `tau`, `low`, `high`.

    Args:
        accuracy: a row per class, a column per seed, no NaN.
    """
    rows = []
    for one, other in combinations(accuracy, 2):
        pairs = accuracy[[one, other]].to_numpy(np.float64)
        found = bootstrapped(pairs, lambda t: kendall(t[:, 0], t[:, 1]))
        rows.append((one, other, found.tau, found.low, found.high))
    return pd.DataFrame(rows, columns=["first", "second", "tau", "low", "high"])


def fidelity(curves: Floats, epochs: Sequence[int]) -> pd.DataFrame:
    """How early the order of classes is that of the end, against what another seed reaches.

    The last epoch of the same training shares its luck with an earlier one; the last epoch of a
    training with another seed does not. So `other_seed` is what an early stop is worth, and its
    last value is the ceiling: the end of one seed against the end of another.

    Args:
        curves: `(classes, seeds, epochs)` accuracies, one row per class; NaN in any epoch or seed
            leaves the class out.
        epochs: after which, ascending, 1-based.

    Returns:
        By `epoch`: `classes`; `same_training`, tau of this epoch and the last, the mean over seeds,
        with its 95 % interval `same_low` to `same_high`; `other_seed`, tau of this epoch and
        another seed's last, the mean over ordered pairs of seeds, with `other_low` and
        `other_high`, NaN with one seed; `of_ceiling`, its share of the last epoch's.

    Raises:
        InputError: fewer than three classes have all, or epochs do not fit the curves.
    """
    if curves.ndim != 3 or curves.shape[2] != len(epochs):
        raise InputError(
            f"curves of shape {curves.shape} with {len(epochs)} epochs: need (classes, seeds, "
            f"{len(epochs)})"
        )
    known = curves[np.isfinite(curves).all(axis=(1, 2))]
    if len(known) < LEAST_CELLS:
        raise InputError(f"{len(known)} classes have all seeds and epochs: need {LEAST_CELLS}")
    seeds = known.shape[1]
    pairs = list(permutations(range(seeds), 2))
    rows = []
    for at, epoch in enumerate(epochs):
        both = np.hstack([known[:, :, at], known[:, :, -1]])
        same = bootstrapped(
            both, lambda t: _taus(t, [(s, s) for s in range(seeds)]), resamples=RESAMPLES
        )
        row = {
            "epoch": epoch,
            "classes": len(known),
            "same_training": same.tau,
            "same_low": same.low,
            "same_high": same.high,
            **dict.fromkeys(("other_seed", "other_low", "other_high"), np.nan),
        }
        if pairs:
            other = bootstrapped(both, lambda t: _taus(t, pairs), resamples=RESAMPLES)
            row |= {"other_seed": other.tau, "other_low": other.low, "other_high": other.high}
        rows.append(row)
    frame = pd.DataFrame(rows)
    frame["of_ceiling"] = frame["other_seed"] / frame["other_seed"].iloc[-1]
    return frame


def load_cifar(path: Path) -> pd.DataFrame:
    """Test accuracies of NATS-Bench after 200 epochs, in [0, 1], by `arch_index`.

    Columns are "cifar10", "cifar100" and "imagenet16_120"; each value is a mean over the seeds
    there are, two or three (Dong et al., "NATS-Bench", TPAMI 2021).

    Args:
        path: a CSV file with an `ArchitectureString` and those accuracies in percent.

    Raises:
        InputError: no such file, or a column is missing or an architecture unknown.
    """
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    for name in ("ArchitectureString", *CIFAR_COLUMNS.values()):
        if name not in table:
            raise InputError(f"{path}: no column {name}")
    space = CellSpace()
    index = pd.Index([space.index(arch) for arch in table["ArchitectureString"]], name="arch_index")
    found = {name: table[column].to_numpy() / 100 for name, column in CIFAR_COLUMNS.items()}
    return pd.DataFrame(found, index=index).sort_index()


def _taus(both: Floats, pairs: Sequence[tuple[int, int]]) -> float:
    """Mean tau of pairs of a column of the first half and one of the second."""
    seeds = both.shape[1] // 2
    return float(np.mean([kendall(both[:, s], both[:, seeds + t]) for s, t in pairs]))


def _ceiling(values: Floats) -> float:
    return between_columns(values) if values.shape[1] > 1 else np.nan
