"""Which trainings of an architecture a question is about: one seed, or a mean over some.

Here questions are checked and numbers put together; where they come from is `table`'s business.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral

from nas_skeleton.published.rows import AGGREGATES, Aggregate, NotInTable, Unspecified, listed


@dataclass(frozen=True, slots=True)
class Which:
    """The trainings that are meant.

    Attributes:
        how: "mean" or "median" over seeds; None: one seed.
        seeds: of the trainings; None: all that there are.
    """

    how: Aggregate | None
    seeds: tuple[int, ...] | None


def which_trainings(
    table: str,
    known: tuple[int, ...],
    seed: int | None,
    aggregate: Aggregate | None,
    seeds: Iterable[int] | None,
) -> Which:
    """What a question to a table with the seeds `known` means.

    Raises:
        Unspecified: neither a seed nor an aggregate is given, or both are.
        NotInTable: no such seed or aggregate.
    """
    choices = f"seed={'|'.join(map(str, known))} or aggregate={'|'.join(AGGREGATES)}"
    if aggregate is None:
        if seeds is not None:
            raise Unspecified(f"seeds= is for an aggregate: give aggregate={'|'.join(AGGREGATES)}")
        if seed is None:
            raise Unspecified(f"which training? give {choices}")
        check_seed(table, known, seed)
        return Which(None, (seed,))
    if seed is not None:
        raise Unspecified(
            f"seed={seed!r} is one training, aggregate={aggregate!r} is over several: give one of "
            "them; over some of the seeds: aggregate=, seeds="
        )
    if aggregate not in AGGREGATES:
        raise NotInTable(f"no aggregate {aggregate!r}: there are {', '.join(AGGREGATES)}")
    return Which(aggregate, None if seeds is None else _several(table, known, seeds))


def _several(table: str, known: tuple[int, ...], seeds: Iterable[int]) -> tuple[int, ...]:
    chosen = () if isinstance(seeds, int | str) else tuple(seeds)
    if not chosen or len(set(chosen)) < len(chosen):
        raise Unspecified(
            f"seeds={seeds!r}: give one or more different ones of {listed(known)}, such as "
            f"seeds=({known[0]},)"
        )
    for seed in chosen:
        check_seed(table, known, seed)
    return tuple(map(int, chosen))


def check_seed(table: str, known: Sequence[int], seed: object) -> None:
    """Nothing, if a table has this seed.

    Raises:
        NotInTable: it has not.
    """
    if seed not in known:
        hint = (
            ""
            if isinstance(seed, Integral)
            else "; a seed is one number, without quotes or brackets"
        )
        raise NotInTable(f"table {table!r} has no seed {seed!r}: it has {listed(known)}{hint}")


def mean(values: Sequence[float]) -> float:
    """Their mean."""
    return sum(values) / len(values)


def median(values: Sequence[float]) -> float:
    """The middle one, or the mean of the two in the middle."""
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) / 2


def deviation(values: Sequence[float]) -> float:
    """Standard deviation, NaN of one value."""
    if len(values) < 2:
        return math.nan
    middle = mean(values)
    return math.sqrt(sum((value - middle) ** 2 for value in values) / (len(values) - 1))


# Python's own: a question is over a few seeds, and `statistics` takes ten times as long.
OVER = {"mean": mean, "median": median}
