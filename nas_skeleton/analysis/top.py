"""How many of the best cells can be told apart from the best one, by paired tests.

Cells are ordered by validation accuracy and compared on test clips. What a seed gave a network by
luck shows on validation and on test clips, so a test about cells takes other seeds than those that
chose them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_skeleton.analysis.observations import Observations
from nas_skeleton.analysis.reliability import order_on_valid, shared_variances

Floats = NDArray[np.float64]

LEVEL = 0.05
RESAMPLES = 20_000
_BATCH = 2_000  # of resamples in memory


@dataclass(frozen=True)
class Apart:
    """How many cells differ from the best on validation, in mean test accuracy.

    After Holm's correction over all comparisons, at 5 % in all.

    Attributes:
        chosen_with: seeds whose mean validation accuracy orders the cells.
        tested_with: seeds whose test accuracies are compared.
        worse, better: cells with less and with more mean test accuracy than the best.
        detectable: the difference, in [0, 1], that such a comparison finds every second time where
            none has been found yet: what the test has power for. The median over comparisons.
    """

    chosen_with: tuple[int, ...]
    tested_with: tuple[int, ...]
    worse: int
    better: int
    detectable: float


@dataclass(frozen=True)
class TopTests:
    """The best on validation against the `compared` cells behind it.

    Attributes:
        compared: how many.
        networks: of a test over clips alone: are these trained networks different? All seeds
            choose, and all are tested.
        cells: of a test over clips and seeds: are the cells, trained anew with other seeds? The
            first half of the seeds, rounded down, chooses, and the others are tested; None with
            one seed.
    """

    compared: int
    networks: Apart
    cells: Apart | None


def top_tests(observations: Observations, top: int = 100) -> TopTests | None:
    """Compare the best on validation with the next ones.

    The test about cells keeps to its 5 % where seeds do as much to all cells; simulated with a
    noise that differs among cells by a factor of two, it finds some difference among equal cells in
    11 of 100 tables.

    Args:
        observations: of all cells.
        top: how many cells, the best included.

    Returns:
        None without validation clips or without other cells; and for joined folds, whose test
        clips are validation clips of other folds.
    """
    if "valid" not in observations.accuracy or len(observations) < 2 or observations.folds > 1:
        return None
    test, seeds = observations.hits["test"], observations.seeds
    hits = test[order_on_valid(observations, seeds)[:top]].astype(np.float64)
    differences = hits[1:].mean(axis=1) - hits[0].mean(axis=0)
    errors = np.sqrt(differences.var(axis=1, ddof=1) / differences.shape[1])
    networks = _apart(clip_p(differences), differences, errors, seeds, seeds)
    cells = None
    if half := len(seeds) // 2:
        choosing, testing = seeds[:half], seeds[half:]
        hits = test[order_on_valid(observations, choosing)[:top]].astype(np.float64)
        shared, hits = shared_variances(hits), hits[:, half:]
        differences = hits[1:].mean(axis=1) - hits[0].mean(axis=0)
        errors = both_errors(hits, shared)
        cells = _apart(both_p(hits, shared), differences, errors, choosing, testing)
    return TopTests(compared=len(differences), networks=networks, cells=cells)


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


def both_errors(hits: Floats, shared: Floats) -> Floats:
    """Standard errors of the first cell's mean less each other's, clips and seeds both drawn.

    The variance of a difference of means over S seeds and n clips has a part of each: with d the
    differences per clip it is var(d) / n + (s + s') / S, where s and s' are what seeds give the two
    cells on all clips alike.

    Args:
        hits: `(cells, seeds, clips)`, 1 where right.
        shared: `(cells,)` the s, see `reliability.shared_variances`.
    """
    _, seeds, clips = hits.shape
    differences = hits[1:].mean(axis=1) - hits[0].mean(axis=0)
    errors: Floats = np.sqrt(
        differences.var(axis=1, ddof=1) / clips + (shared[0] + shared[1:]) / seeds
    )
    return errors


def both_p(hits: Floats, shared: Floats) -> Floats:
    """Two-sided test of the first cell against each other one, clips and seeds both drawn.

    The difference of means over its error (`both_errors`) is taken for normal.
    """
    from scipy.special import ndtr

    differences = hits[1:].mean(axis=(1, 2)) - hits[0].mean()
    # Without any variance nothing differs, or every clip does: then the error is as good as zero.
    z = np.abs(differences) / np.maximum(both_errors(hits, shared), 1e-150)
    p: Floats = 2 * ndtr(-z)
    return p


def holm(p: Floats) -> Floats:
    """P values corrected for their number (Holm, Scandinavian Journal of Statistics 6, 1979)."""
    order = np.argsort(p, kind="stable")
    stepped = p[order] * np.arange(len(p), 0, -1)
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(1, np.maximum.accumulate(stepped))
    return corrected


def _apart(
    p: Floats,
    differences: Floats,
    errors: Floats,
    choosing: tuple[int, ...],
    testing: tuple[int, ...],
) -> Apart:
    from scipy.special import ndtri

    differs, means = holm(p) <= LEVEL, differences.mean(axis=1)
    return Apart(
        chosen_with=choosing,
        tested_with=testing,
        worse=int((differs & (means < 0)).sum()),
        better=int((differs & (means > 0)).sum()),
        detectable=float(np.median(errors) * ndtri(1 - LEVEL / 2 / len(p))),
    )
