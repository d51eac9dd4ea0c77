"""How far trainings of one architecture are apart by chance, and whether others are further apart.

A training that is repeated on another machine rounds otherwise, and after some steps that is as
good as another seed. So the measure is what other seeds do. Architectures differ in it severalfold,
which one standard deviation for all would not tell.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas_skeleton.results.leaderboard import wilson_error

Floats = NDArray[np.float64]

LEVEL = 0.001  # of all tests of a verification together
TESTS = 3  # on one split
DRAWS = 50_000
# Seed-to-seed differences that it takes to know their size. Simulated (20 rows, 2 seeds): with 60,
# 3 of 1,000 sound verifications fail where the noise of architectures scatters by a third, as on
# UTD-MHAD, and 13 where by a factor of two; with 30, 26 of the latter.
LEAST_FREEDOM = 60
# Where it is not known: so many binomial errors over the clips. On UTD-MHAD and NW-UCLA, cells and
# reference models, recipes from 150 steps on, the standard deviation over seeds (pooled over
# architectures) was 1.0 to 3.0 of them; single architectures have up to 11.
ASSUMED = 4
_AT_ONCE = 2**20  # numbers that are drawn together
_SAME = 1e-12  # a drawn value so close to the observed one is as large


@dataclass(frozen=True)
class Noise:
    """What is known of one split's noise over seeds, in [0, 1].

    Attributes:
        sds: `(architectures,)` standard deviation over its seeds, of each that has several.
        freedom: seeds in all less architectures, the degrees of freedom behind them.
    """

    sds: Floats
    freedom: int

    @property
    def known(self) -> bool:
        """Whether it is enough to judge by."""
        return self.freedom >= LEAST_FREEDOM and bool(self.sds.any())


@dataclass(frozen=True)
class Deviation:
    """How far repetitions are from stored rows on one split, against what seeds do.

    Attributes:
        judged: how many; identical ones are not among them.
        mean: of again minus stored, in [-1, 1].
        rms: root mean square of it.
        worst: the largest, with its sign.
        noise: "seeds": the standard deviations over seeds of `architectures` architectures;
            "assumed": too few have several seeds, taken are `ASSUMED` binomial errors of each row.
        architectures: so many have several seeds.
        expected: what `rms` is between trainings with two seeds.
        noticeable: so far off a single one of them must be to be further off than seeds explain.
        p_mean: how often seeds give a mean so far from zero.
        p_size: how often they give so large an `rms`.
        p_worst: how often they give a largest one that is so large.
    """

    judged: int
    mean: float
    rms: float
    worst: float
    noise: Literal["seeds", "assumed"]
    architectures: int
    expected: float
    noticeable: float
    p_mean: float
    p_size: float
    p_worst: float

    @property
    def p(self) -> float:
        """The smallest of the three, not corrected for being that."""
        return min(self.p_mean, self.p_size, self.p_worst)


def seed_noise(rows: pd.DataFrame, column: str) -> Noise:
    """The noise over seeds of a column of accuracies; `rows` are independent trainings."""
    by_arch = rows.groupby("arch_index")[column].agg(["std", "count"])
    several = by_arch[by_arch["count"] > 1]
    return Noise(several["std"].to_numpy(np.float64), int((several["count"] - 1).sum()))


def deviation(
    stored: Floats,
    again: Floats,
    *,
    clips: int,
    noise: Noise,
    level: float,
    rng: np.random.Generator,
) -> Deviation:
    """Repetitions that are not identical against the noise of seeds, see `Deviation`.

    What chance does is drawn: for each repetition an architecture with several seeds at random, and
    a normal number with the variance of a difference of two of its seeds. Differences as they are
    in the table would not do: the largest of 100 is exceeded by one of 20 others every sixth time.
    A variance is half the architecture's own, half the average: from two or three seeds one's own
    is mostly luck, and the average has not the tails that architectures of different noise make.
    Where the noise is not known, each row has its own assumed one.

    Args:
        stored: `(n,)` accuracies in [0, 1].
        again: likewise.
        clips: that they are measured on.
        noise: over seeds.
        level: of each test, for `noticeable`.
        rng: draws.
    """
    differences = again - stored
    assumed = ASSUMED * np.array([wilson_error(share, clips) for share in stored.tolist()])
    sds = np.sqrt((noise.sds**2 + (noise.sds**2).mean()) / 2) if noise.known else assumed
    draws = _chance(sds, len(stored), mixed=noise.known, rng=rng)
    found = _statistics(differences)
    p_mean, p_size, p_worst = (1 + (draws >= found - _SAME).sum(axis=0)) / (1 + len(draws))
    return Deviation(
        judged=len(stored),
        mean=float(differences.mean()),
        rms=float(found[1]),
        worst=float(differences[np.abs(differences).argmax()]),
        noise="seeds" if noise.known else "assumed",
        architectures=len(noise.sds),
        expected=math.sqrt(2 * float((sds**2).mean())),
        noticeable=float(np.quantile(draws[:, 2], 1 - level)),
        p_mean=float(p_mean),
        p_size=float(p_size),
        p_worst=float(p_worst),
    )


def _chance(sds: Floats, count: int, *, mixed: bool, rng: np.random.Generator) -> Floats:
    """`(DRAWS, 3)` statistics of `count` differences between two seeds.

    `mixed`: of architectures drawn at random; else the noise of each is that in its place.
    """
    parts, step = [], max(1, _AT_ONCE // count)
    for start in range(0, DRAWS, step):
        shape = (min(step, DRAWS - start), count)
        own = rng.choice(sds, shape) if mixed else sds
        parts.append(_statistics(math.sqrt(2) * own * rng.standard_normal(shape)))
    return np.concatenate(parts)


def _statistics(differences: Floats) -> Floats:
    """Of differences `(..., n)`: size of the mean, root mean square, largest size."""
    sizes = np.abs(differences)
    rms = np.sqrt((sizes**2).mean(axis=-1))
    return np.stack([np.abs(differences.mean(axis=-1)), rms, sizes.max(axis=-1)], axis=-1)
