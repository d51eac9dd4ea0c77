"""How many of the best cells can be told apart from the best one, by paired tests.

Cells are ordered by validation accuracy and compared on test clips, which did not choose the best.
The trainings that did are the same, though: what a seed gave the best by luck shows on validation
and on test clips, so with few seeds somewhat more cells look apart than are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_skeleton.analysis.observations import Observations
from nas_skeleton.analysis.reliability import order_on_valid
from nas_skeleton.results.intraclass import variance_over_seeds

Floats = NDArray[np.float64]

LEVEL = 0.05
RESAMPLES = 20_000
_BATCH = 2_000  # of resamples in memory


@dataclass(frozen=True)
class Apart:
    """How many cells differ from the best on validation, in mean test accuracy.

    After Holm's correction over all comparisons, at 5 % in all. `worse` and `better` are numbers of
    cells with less and with more mean test accuracy than the best on validation.
    """

    worse: int
    better: int


@dataclass(frozen=True)
class TopTests:
    """The best on validation against the `compared` cells behind it.

    Attributes:
        compared: how many.
        seeds: trainings of each.
        networks: of a test over clips alone: are these trained networks different?
        cells: of a test over clips and seeds: are the cells, trained anew with other seeds? None
            with one seed.
    """

    compared: int
    seeds: int
    networks: Apart
    cells: Apart | None


def top_tests(observations: Observations, top: int = 100) -> TopTests | None:
    """Compare the best on validation with the next ones; None without validation clips or others.

    Args:
        observations: of all cells.
        top: how many cells, the best included.
    """
    if "valid" not in observations.accuracy or len(observations) < 2:
        return None
    hits = observations.hits["test"][order_on_valid(observations)[:top]].astype(np.float64)
    seeds = hits.shape[1]
    differences = hits[1:].mean(axis=1) - hits[0].mean(axis=0)
    means = differences.mean(axis=1)
    return TopTests(
        compared=len(differences),
        seeds=seeds,
        networks=_apart(clip_p(differences), means),
        cells=_apart(both_p(hits), means) if seeds > 1 else None,
    )


def clip_p(differences: Floats, seed: int = 0) -> Floats:
    """Two-sided permutation test over clips, for each row.

    Under the hypothesis two sets of networks can be swapped on any clip: signs of the differences
    per clip (means over seeds) are drawn anew, 20,000 times. With one seed this is McNemar's test
    with its distribution drawn. Clips count as independent, though few persons perform them.

    Args:
        differences: `(comparisons, clips)`.
        seed: of the draws.
    """
    generator = np.random.default_rng(seed)
    observed = np.abs(differences.sum(axis=1)) - 1e-9  # sums of the same fractions differ by hairs
    reached = np.zeros(len(differences), dtype=np.int64)
    for _ in range(RESAMPLES // _BATCH):
        signs = generator.integers(0, 2, size=(_BATCH, differences.shape[1])) * 2.0 - 1
        reached += (np.abs(signs @ differences.T) >= observed).sum(axis=0)
    p: Floats = (reached + 1) / (RESAMPLES + 1)
    return p


def both_p(hits: Floats) -> Floats:
    """Two-sided test of the first cell against each other one, clips and seeds both drawn.

    The variance of a difference D of means over S seeds and n clips has a part of each: with d the
    differences per clip, Var(D) = var(d) / n + 2 s / S. s is the variance over seeds that all clips
    of a network share: the variance of an accuracy over seeds, less what the interaction of seeds
    and clips gives of it, both pooled over cells (two-way random effects without replication;
    negative estimates are zero). D over its error is taken for normal.

    Args:
        hits: `(cells, seeds, clips)`, 1 where right, at least two seeds.
    """
    from scipy.special import ndtr

    _, seeds, clips = hits.shape
    of_seeds, of_clips = hits.mean(axis=2, keepdims=True), hits.mean(axis=1, keepdims=True)
    left = hits - of_seeds - of_clips + of_seeds.mean(axis=1, keepdims=True)
    interaction = (left**2).sum(axis=(1, 2)).mean() / ((seeds - 1) * (clips - 1))
    shared = max(0.0, variance_over_seeds(of_seeds[:, :, 0]) - interaction / clips)
    differences = hits[1:].mean(axis=1) - hits[0].mean(axis=0)
    variance = differences.var(axis=1, ddof=1) / clips + 2 * shared / seeds
    # Without any variance nothing differs, or every clip does: then the error is as good as zero.
    z = np.abs(differences.mean(axis=1)) / np.sqrt(np.maximum(variance, 1e-300))
    p: Floats = 2 * ndtr(-z)
    return p


def holm(p: Floats) -> Floats:
    """P values corrected for their number (Holm, Scandinavian Journal of Statistics 6, 1979)."""
    order = np.argsort(p, kind="stable")
    stepped = p[order] * np.arange(len(p), 0, -1)
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(1, np.maximum.accumulate(stepped))
    return corrected


def _apart(p: Floats, differences: Floats) -> Apart:
    differs = holm(p) <= LEVEL
    return Apart(int((differs & (differences < 0)).sum()), int((differs & (differences > 0)).sum()))
