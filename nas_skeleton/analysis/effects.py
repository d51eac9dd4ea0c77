"""What a trait of a cell is worth: mean accuracies and their differences.

Classes are the units throughout (`classes`): intervals come from drawing classes and seeds anew, so
copies of a training never count as further evidence. Effects are of cells as they were drawn up in
the space; a trait that comes with others (a 3x3 convolution with more weights) is not told from
them by a mean; `stratified_effect` compares like with like. How much traits explain together is
the business of `variance`, which patterns the best have that of `enrichment`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_bool_dtype

from nas_skeleton.analysis.classes import check_accuracy
from nas_skeleton.errors import InputError

Floats = NDArray[np.float64]

RESAMPLES = 1000
# Classes on either side: of 5 the percentile bootstrap is a third narrower than Student's interval
# of a mean, sqrt(4 / 5) 1.96 / 2.78, and of 10 a sixth.
FEWEST = 10
_BATCH = 100  # of resamples in memory


def marginal_means(
    table: pd.DataFrame, accuracy: pd.DataFrame, factors: Sequence[str], seed: int = 0
) -> pd.DataFrame:
    """Mean accuracy of the cells with each level of each factor, and how far that is from all.

    Every row of `table` counts once in a mean, so that over all 15,625 drawn cells operations of
    one edge stand before the same background of the other edges; over `topology.class_table` every
    class counts once. The interval is the same for both: the percentile bootstrap that draws
    classes, with all their rows, and seeds, for all classes alike (the pigeonhole bootstrap of two
    crossed samples: Owen, Annals of Applied Statistics 1, 2007). With one seed it says nothing
    about the luck of other seeds beyond what that adds to the differences of classes.

    Args:
        table: one row per cell, with the factors and `functional_key`, as column or index.
        accuracy: a row per `functional_key`, a column per seed, no NaN; in any unit.
        factors: columns of names, truths or small numbers, such as `topology.EDGE_COLUMNS` or
            `topology.PREDICATES`.
        seed: of the draws.

    Returns:
        Of every factor and level, in their order: `factor`, `level`, `classes` with such cells,
        `cells`; `mean` with its 95 % interval `low` to `high`; `effect`, the mean less that of the
        cells with another level, with `effect_low` and `effect_high`. Rows whose class has no
        accuracy are left out. A level that all cells have or none has no effect: NaN; nor has one
        of fewer than `FEWEST` classes an interval, nor an effect against fewer, for it would be too
        narrow.

    Raises:
        InputError: no such column, an accuracy is missing, or no class has one.
    """
    check_accuracy(accuracy)
    if isinstance(factors, str) or not len(factors):
        raise InputError(f"factors {factors!r}: give a list of columns")
    keys = keys_of(table, factors)
    rows = table[keys.isin(accuracy.index).to_numpy()]
    if rows.empty:
        raise InputError("no row of the table is of a class with an accuracy")
    codes, classes = pd.factorize(keys_of(rows, factors))
    values = accuracy.loc[classes].to_numpy(np.float64)
    names, columns = [], []
    for factor in factors:
        levels = pd.Categorical(rows[factor])
        for at, level in enumerate(levels.categories):
            names.append((factor, level))
            columns.append(np.bincount(codes[levels.codes == at], minlength=len(classes)))
    # How many rows of each class have each level: all that a mean of drawn classes needs.
    counts = np.column_stack(columns).astype(np.float64)
    total = np.bincount(codes, minlength=len(classes)).astype(np.float64)
    once = np.ones((1, len(classes)))
    mean, effect = _means(once, values.mean(axis=1, keepdims=True).T, counts, total)
    means, effects = _drawn(values, counts, total, np.random.default_rng(seed))
    frame = pd.DataFrame(names, columns=["factor", "level"])
    frame["classes"] = (counts > 0).sum(axis=0)
    frame["cells"] = counts.sum(axis=0).astype(int)
    frame["mean"] = mean[0]
    frame["low"], frame["high"] = _interval(means)
    frame["effect"] = effect[0]
    frame["effect_low"], frame["effect_high"] = _interval(effects)
    few = (counts > 0).sum(axis=0) < FEWEST
    few_others = (counts < total[:, None]).sum(axis=0) < FEWEST
    frame.loc[few, ["low", "high"]] = np.nan
    frame.loc[few | few_others, ["effect_low", "effect_high"]] = np.nan
    return frame


@dataclass(frozen=True)
class StratifiedEffect:
    """What a trait is worth among classes that are equal in other traits.

    Attributes:
        effect: in the unit of the accuracy, its 95 % interval `low` to `high`, NaN of fewer than
            `FEWEST` classes with the trait or without.
        strata: groups of equal classes that have some with the trait and some without.
        classes: in them; all others say nothing and are left out.
    """

    effect: float
    low: float
    high: float
    strata: int
    classes: int


def stratified_effect(
    classes: pd.DataFrame, accuracy: pd.DataFrame, trait: str, equal: Sequence[str], seed: int = 0
) -> StratifiedEffect:
    """Mean of classes with a trait less that of classes without, both alike in other traits.

    Differences within strata are averaged with weights n1 n0 / (n1 + n0) of n1 classes with and n0
    without (Cochran, Biometrics 10, 1954), the most precise if they are equal. The interval is the
    percentile bootstrap over classes and seeds, as in `marginal_means`; a stratum that lacks one
    side in a resample counts for nothing there.

    Args:
        classes: one row per `functional_key`, its index.
        accuracy: a row per `functional_key`, a column per seed, no NaN; in any unit.
        trait: a column of truths.
        equal: the columns that make the strata.
        seed: of the draws.

    Raises:
        InputError: no such column, the trait holds no truths, an accuracy is missing, or no stratum
            has classes with and without.
    """
    check_accuracy(accuracy)
    if isinstance(equal, str) or not len(equal):
        raise InputError(f"equal {equal!r}: give a list of columns")
    keys_of(classes, (trait, *equal))
    if not is_bool_dtype(classes[trait]):
        raise InputError(f"column {trait!r} holds no truths: compare it with something, as in > 1")
    both = classes.index.intersection(accuracy.index)
    has = classes.loc[both, trait].to_numpy(bool)
    strata = classes.loc[both].groupby(list(equal), observed=True).ngroup().to_numpy()
    count = int(strata.max(initial=-1)) + 1
    sizes = np.array([np.bincount(strata[has == side], minlength=count) for side in (True, False)])
    useful = np.asarray((sizes > 0).all(axis=0))
    if not useful.any():
        raise InputError(f"no classes with and without {trait} are equal in {', '.join(equal)}")
    kept = useful[strata]
    values = accuracy.loc[both[kept]].to_numpy(np.float64)
    renumbered = np.cumsum(useful)[strata[kept]] - 1
    number = int(useful.sum())
    member = np.zeros((len(values), 2 * number))
    member[np.arange(len(values)), renumbered + number * ~has[kept]] = 1
    once = np.ones((1, len(values)))
    effect = _within(once, values.mean(axis=1, keepdims=True).T, member)[0]
    generator = np.random.default_rng(seed)
    drawn = [
        _within(often, of_seeds @ values.T, member)
        for often, of_seeds in _resamples(len(values), values.shape[1], generator)
    ]
    low, high = (float(end[0]) for end in _interval(np.concatenate(drawn)[:, None]))
    if min(has[kept].sum(), (~has[kept]).sum()) < FEWEST:
        low = high = np.nan
    return StratifiedEffect(float(effect), low, high, number, len(values))


def keys_of(table: pd.DataFrame, factors: Sequence[str]) -> pd.Series:
    """The class of each row."""
    if missing := [name for name in factors if name not in table]:
        raise InputError(
            f"no column {missing[0]!r}; there are {', '.join(map(str, table.columns))}"
        )
    if "functional_key" in table:
        return table["functional_key"]
    if table.index.name != "functional_key":
        raise InputError("the table has no functional_key, neither as column nor as index")
    return table.index.to_series()


def _means(drawn: Floats, values: Floats, counts: Floats, total: Floats) -> tuple[Floats, Floats]:
    """Means of levels and their effects, `(resamples, levels)`.

    Args:
        drawn: `(resamples, classes)`, how often each class was.
        values: `(resamples, classes)` accuracies.
        counts: `(classes, levels)` rows.
        total: `(classes,)` rows.
    """
    rows, sums = drawn @ counts, (drawn * values) @ counts
    other_rows = (drawn @ total)[:, None] - rows
    other_sums = ((drawn * values) @ total)[:, None] - sums
    with np.errstate(divide="ignore", invalid="ignore"):  # a level may not be drawn at all
        mean = np.where(rows > 0, sums / rows, np.nan)
        others = np.where(other_rows > 0, other_sums / other_rows, np.nan)
    return mean, mean - others


def _drawn(
    values: Floats, counts: Floats, total: Floats, generator: np.random.Generator
) -> tuple[Floats, Floats]:
    found = [
        _means(drawn, weights @ values.T, counts, total)
        for drawn, weights in _resamples(len(values), values.shape[1], generator)
    ]
    means, effects = zip(*found, strict=True)
    return np.concatenate(means), np.concatenate(effects)


def _resamples(
    classes: int, seeds: int, generator: np.random.Generator
) -> Iterator[tuple[Floats, Floats]]:
    """How often each class is drawn, and the weight of each seed: `(batch, classes or seeds)`."""
    for _ in range(RESAMPLES // _BATCH):
        drawn = generator.multinomial(classes, np.full(classes, 1 / classes), size=_BATCH)
        weights = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=_BATCH) / seeds
        yield drawn.astype(np.float64), weights


def _within(drawn: Floats, values: Floats, member: Floats) -> Floats:
    """Weighted mean of differences within strata, `(resamples,)`.

    Args:
        drawn: `(resamples, classes)`, how often each class was.
        values: `(resamples, classes)` accuracies.
        member: `(classes, 2 strata)`, 1 where a class is; those with the trait come first.
    """
    sizes = np.split(drawn @ member, 2, axis=1)
    sums = np.split((drawn * values) @ member, 2, axis=1)
    weights = sizes[0] * sizes[1] / np.maximum(sizes[0] + sizes[1], 1)
    means = [part / np.maximum(size, 1) for part, size in zip(sums, sizes, strict=True)]
    with np.errstate(invalid="ignore"):
        found: Floats = (weights * (means[0] - means[1])).sum(axis=1) / weights.sum(axis=1)
    return found


def _interval(drawn: Floats) -> tuple[Floats, Floats]:
    """95 % of the resamples that have a value, by column; NaN where none has."""
    bounds = np.full((2, drawn.shape[1]), np.nan)
    for at, column in enumerate(drawn.T):
        if len(known := column[np.isfinite(column)]):
            bounds[:, at] = np.quantile(known, (0.025, 0.975))
    return bounds[0], bounds[1]
