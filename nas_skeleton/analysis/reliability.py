"""What a recipe's accuracies are worth: how much is the cell, how much luck, and what that costs.

Reliability of one training and of means over seeds, agreement of seeds, of validation with test and
with another recipe, the sizes of the noise, and the seconds that a wanted reliability takes. The
intraclass correlation itself is `results.intraclass`'s.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_skeleton.analysis.agreement import (
    LEAST_CELLS,
    Statistic,
    between_columns,
    bootstrapped,
    kendall,
)
from nas_skeleton.analysis.observations import Observations
from nas_skeleton.results.intraclass import Reliability, reliability_of, variance_over_seeds
from nas_skeleton.results.leaderboard import wilson_error

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval, the percentile bootstrap over cells."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ClassSpread:
    """Spread among trainings of members of one functional class: the same function, so pure noise.

    `sd` is the standard deviation of a single training, in [0, 1], pooled over `classes` with
    `members` trained members in all.
    """

    sd: float
    classes: int
    members: int


@dataclass(frozen=True)
class Signal:
    """What accuracies on one split say.

    Attributes:
        clips: how many it has.
        mean: top-1 over all cells and seeds, in [0, 1].
        single: reliability of one training, ICC(1).
        mean_of_seeds: reliability of the mean over all seeds there are.
        trainings: seeds it takes, a real number, for a mean of the wanted reliability, with the
            interval that belongs to that of `single`; infinite where there is no signal.
        between_seeds: Kendall's tau-b of two seeds, the mean over all pairs.
        seed_sd: standard deviation of one training's accuracy over seeds.
        shared_sd: what of it all clips share, so that it comes on top of `clip_error`.
        better_half: ICC(1) among the better half of the cells, chosen by validation accuracy with
            the first half of the seeds, rounded down, and measured with the others; None with fewer
            than two others, without validation clips, and for joined folds.
        clip_error: binomial standard error of one accuracy, the mean over cells.
        within_class: None without two trained members of one class.
    """

    clips: int
    mean: float
    single: Estimate | None
    mean_of_seeds: float | None
    trainings: Estimate | None
    between_seeds: Estimate | None
    seed_sd: float | None
    shared_sd: float | None
    better_half: Estimate | None
    clip_error: float
    within_class: ClassSpread | None


@dataclass(frozen=True)
class Worth:
    """What a recipe's accuracies are worth, over `cells` cells.

    Attributes:
        cells: how many.
        seconds: of one observation (a training, or one of each fold), the mean; by the clock.
        work: multiply-accumulates of its forward passes, the mean.
        signals: by split; one without clips is absent.
        valid_test: tau-b of validation and test accuracy of the same training, the mean over seeds;
            None, as the next two, for joined folds, whose test clips are others' validation clips.
        valid_test_of_means: tau-b of their means over seeds.
        best_test: mean test accuracy of the cell that is best on validation.
    """

    cells: int
    seconds: float
    work: float
    signals: dict[str, Signal]
    valid_test: Estimate | None
    valid_test_of_means: Estimate | None
    best_test: float | None

    @property
    def trainings(self) -> Estimate | None:
        """Seeds that the wanted reliability takes on validation and on test, whichever is more."""
        needed = [signal.trainings for signal in self.signals.values()]
        known = [value for value in needed if value is not None]
        if not known or len(known) < len(needed):
            return None
        return max(known, key=lambda estimate: estimate.value)


@dataclass(frozen=True)
class Agreed:
    """Agreement of two recipes about `cells` cells that both have, on one split.

    Attributes:
        cells: how many.
        tau: tau-b of the means over seeds.
        corrected: what it would be without noise of seeds, see `without_noise`; None where a recipe
            has one seed only or no signal.
    """

    cells: int
    tau: Estimate
    corrected: float | None


def spearman_brown(single: float, trainings: float) -> float:
    """Reliability of the mean over `trainings` seeds, k r / (1 + (k - 1) r).

    Spearman, British Journal of Psychology 3, 1910; Brown, in the same volume.
    """
    return trainings * single / (1 + (trainings - 1) * single)


def trainings_for(single: float, wanted: float) -> float:
    """How many trainings, a real number, have a mean of the `wanted` reliability.

    Spearman and Brown's formula solved for k. Infinite where `single` is not positive.
    """
    if single <= 0:
        return math.inf
    return wanted * (1 - single) / (single * (1 - wanted))


def without_noise(tau: float, first: float, second: float) -> float | None:
    """Kendall's tau of two measures, corrected for attenuation by their reliabilities.

    Spearman's correction, r / sqrt(r_1 r_2) (American Journal of Psychology 15, 1904), is for the
    product-moment correlation; tau becomes one and comes back by Greiner's relation for normal
    variables, tau = 2 / pi arcsin(r) (Kruskal, Journal of the American Statistical Association 53,
    1958). At most 1. None where a reliability is not positive.
    """
    if first <= 0 or second <= 0:
        return None
    r = math.sin(math.pi / 2 * tau) / math.sqrt(first * second)
    return 2 / math.pi * math.asin(max(-1.0, min(1.0, r)))


def worth(observations: Observations, wanted: float = 0.9) -> Worth:
    """What a recipe's accuracies are worth.

    Args:
        observations: of its trainings, at least three cells.
        wanted: reliability to reach by a mean over seeds, in (0, 1).
    """
    accuracy = observations.accuracy
    seeds = len(observations.seeds)
    same = means = best_test = None
    if "valid" in accuracy and observations.folds == 1:
        best = order_on_valid(observations, observations.seeds)[0]
        best_test = float(accuracy["test"][best].mean())
        both = np.hstack([accuracy["valid"], accuracy["test"]])
        same = _estimate(both, lambda t: _same_training(t, seeds))
        means = _estimate(
            both, lambda t: kendall(t[:, :seeds].mean(axis=1), t[:, seeds:].mean(axis=1))
        )
    return Worth(
        cells=len(observations),
        seconds=float(observations.seconds.mean()),
        work=float(observations.work.mean()),
        signals={split: _signal(observations, split, wanted) for split in accuracy},
        valid_test=same,
        valid_test_of_means=means,
        best_test=best_test,
    )


def agree(first: Observations, second: Observations, split: str) -> Agreed | None:
    """How two recipes agree about the cells that both have; None with fewer than three.

    Both may be measured on the same clips: then this is about those clips.
    """
    shared = set(first.archs.tolist()) & set(second.archs.tolist())
    values = [of.of_cells(shared).accuracy.get(split) for of in (first, second)]
    mine, others = values
    if mine is None or others is None or len(mine) < LEAST_CELLS:
        return None
    pairs = np.column_stack([mine.mean(axis=1), others.mean(axis=1)])
    tau = _estimate(pairs, lambda t: kendall(t[:, 0], t[:, 1]))
    found = [reliability_of(of) for of in (mine, others)]
    known = [one.mean for one in found if one]
    corrected = without_noise(tau.value, *known) if len(known) == 2 else None
    return Agreed(len(pairs), tau, corrected)


def order_on_valid(observations: Observations, seeds: Collection[int]) -> NDArray[np.int64]:
    """Positions of the cells, the best mean validation accuracy over `seeds` first.

    Equal ones by fewer MACs, then by the lower index, as in a leaderboard.
    """
    chosen = np.isin(observations.seeds, list(seeds))
    means = observations.accuracy["valid"][:, chosen].mean(axis=1).round(12)
    return np.lexsort((observations.archs, observations.macs, -means))


def shared_variances(hits: NDArray[Any]) -> Floats:
    """`(cells,)` variance over seeds that all clips of a network share.

    The variance of an accuracy over seeds has a part from which clips they happen to be: the
    interaction of seeds and clips, which a test over clips sees. What is left comes on top of it
    (two-way random effects without replication; a negative estimate is zero). From two or three
    seeds a cell's own is mostly luck, while cells differ in it severalfold, so each is half its own
    and half the mean of all.

    Args:
        hits: `(cells, seeds, clips)`, 1 where right, at least two seeds.
    """
    own = _shared(hits)
    found: Floats = np.maximum(0, (own + own.mean()) / 2)
    return found


def _shared(hits: NDArray[Any]) -> Floats:
    """Each cell's own, which may be negative."""
    _, seeds, clips = hits.shape
    of_seeds = hits.mean(axis=2)
    found = np.empty(len(hits))
    for cell in range(len(hits)):  # one at a time: together they would fill the memory
        own = hits[cell].astype(np.float64)
        left = own - own.mean(axis=0) - of_seeds[cell][:, None] + own.mean()
        interaction = (left**2).sum() / ((seeds - 1) * (clips - 1))
        found[cell] = of_seeds[cell].var(ddof=1) - interaction / clips
    return found


def spread_within_classes(values: Floats, classes: NDArray[np.str_]) -> ClassSpread | None:
    """Members of a class are compared with one another at the same seed.

    Args:
        values: `(cells, seeds)` of accuracies.
        classes: `(cells,)` functional keys.

    Returns:
        None where no class has two members.
    """
    squares, freedom, several, members = 0.0, 0, 0, 0
    order = np.argsort(classes, kind="stable")
    ends = np.flatnonzero(classes[order][1:] != classes[order][:-1]) + 1
    for own in np.split(values[order], ends):
        if len(own) > 1:
            squares += float(((own - own.mean(axis=0)) ** 2).sum())
            freedom += (len(own) - 1) * own.shape[1]
            several += 1
            members += len(own)
    return ClassSpread(math.sqrt(squares / freedom), several, members) if freedom else None


def _signal(observations: Observations, split: str, wanted: float) -> Signal:
    values = observations.accuracy[split]
    hits, several = observations.hits[split], values.shape[1] > 1
    clips = hits.shape[2]
    found = reliability_of(values)
    return Signal(
        clips=clips,
        mean=float(values.mean()),
        single=_of(found),
        mean_of_seeds=found.mean if found else None,
        trainings=_needed(found, wanted) if found else None,
        between_seeds=_estimate(values, between_columns) if several else None,
        seed_sd=math.sqrt(variance_over_seeds(values)) if several else None,
        shared_sd=math.sqrt(max(0.0, _shared(hits).mean())) if several else None,
        better_half=_of(_in_better_half(observations, split)),
        clip_error=float(np.mean([wilson_error(share, clips) for share in values.mean(axis=1)])),
        within_class=spread_within_classes(values, observations.classes),
    )


def _in_better_half(observations: Observations, split: str) -> Reliability | None:
    half = len(observations.seeds) // 2
    if "valid" not in observations.accuracy or observations.folds > 1 or half < 1:
        return None
    order = order_on_valid(observations, observations.seeds[:half])
    better = observations.accuracy[split][order[: len(order) // 2], half:]
    return reliability_of(better)


def _of(found: Reliability | None) -> Estimate | None:
    return Estimate(found.single, found.low, found.high) if found else None


def _needed(found: Reliability, wanted: float) -> Estimate:
    """The less reliable one training, the more of them."""
    return Estimate(
        *(trainings_for(single, wanted) for single in (found.single, found.high, found.low))
    )


def _same_training(table: Floats, seeds: int) -> float:
    """Mean tau of columns `seeds` apart."""
    return float(np.mean([kendall(table[:, s], table[:, seeds + s]) for s in range(seeds)]))


def _estimate(table: Floats, statistic: Statistic) -> Estimate:
    found = bootstrapped(table, statistic)
    return Estimate(found.tau, found.low, found.high)
