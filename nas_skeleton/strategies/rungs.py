"""Rungs: after how many epochs multi-fidelity strategies look at a training, and how many remain.

Every rung has about `ETA` times the epochs of the one below it, and about 1/`ETA` of its trainings.
"""

from __future__ import annotations

import math

Bracket = tuple[tuple[int, int], ...]  # of each rung, the lowest first: trainings, epochs

ETA = 3  # Hyperband's, ASHA's and BOHB's default


def rung_epochs(epochs: tuple[int, ...]) -> tuple[int, ...]:
    """The epochs of the rungs, ascending: the whole training R, and those nearest to R / ETA^k.

    Args:
        epochs: ascending, after how many a training can be looked at, at least two; the last is R.
            Nearest is meant as a ratio. Rungs below the first are left out, but not R / ETA.
    """
    full = epochs[-1]
    # A hair more: the logarithm of a power of ETA may miss its whole number by rounding.
    steps = max(1, math.floor(math.log(full / epochs[0], ETA) + 1e-9))
    wanted = [full / ETA**step for step in range(steps + 1)]
    return tuple(sorted({min(epochs, key=lambda e: abs(math.log(e / want))) for want in wanted}))


def hyperband_brackets(epochs: tuple[int, ...], architectures: int) -> list[Bracket]:
    """Hyperband's brackets: the first begins on the lowest rung, the last on the top one.

    The bracket with s + 1 rungs has floor(rungs / (s + 1)) * ETA^s trainings on its lowest, or as
    many as there are architectures, and on each further rung an ETA-th, but at least one. That is
    Table 1 of Li et al., JMLR 2018, and the code of BOHB; Algorithm 1 there rounds upwards and
    later, which leaves remainders.

    Args:
        epochs: of the rungs, ascending.
        architectures: how many there are.
    """
    rungs = len(epochs)
    brackets = []
    for used in range(rungs, 0, -1):
        first = min(rungs // used * ETA ** (used - 1), architectures)
        sizes = [max(1, first // ETA**rung) for rung in range(used)]
        brackets.append(tuple(zip(sizes, epochs[-used:], strict=True)))
    return brackets
