"""Which architectures deserve trainings of their own: the best, a fair sample, class mates."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from nas_skeleton.errors import InputError
from nas_skeleton.spaces import Space


def stratified_sample(valid: pd.Series, *, best: int, size: int, seed: int) -> list[int]:
    """`size` architectures, among them the `best` best by validation accuracy.

    The others are ranked and cut into as many strata of equal size as are still to be chosen, and
    one is drawn from each: every level of accuracy is represented in proportion, and all of one
    stratum are equally likely. They come in random order, so that the first few, should trainings
    stop there, are a fair sample too.

    Args:
        valid: validation accuracy by architecture.
        best: how many of the best are taken for certain; of equals, those with the lower index.
        size: how many in all.
        seed: of the draw.

    Returns:
        Their indices: the best ones, best first, and the drawn ones.

    Raises:
        InputError: there are not so many, or fewer in all than best ones.
    """
    if best > size:
        raise InputError(f"--best {best} is more than --size {size}")
    if size > len(valid):
        raise InputError(f"--size {size}: only {len(valid)} architectures have a result")
    ranked = valid.sort_index().sort_values(ascending=False, kind="stable").index.to_numpy()
    rest, drawn = ranked[best:], size - best
    bounds = [len(rest) * stratum // max(1, drawn) for stratum in range(drawn + 1)]
    rng = np.random.default_rng(seed)
    chosen = [int(rest[rng.integers(*ends)]) for ends in itertools.pairwise(bounds)]
    return [*ranked[:best].tolist(), *rng.permutation(chosen).astype(int).tolist()]


def class_mates(archs: Sequence[int], space: Space, *, count: int, seed: int) -> list[int]:
    """For each architecture `count` others of its functional class, drawn at random.

    They are the same function, so that differences between their trainings are noise. All must have
    so many.
    """
    rng = np.random.default_rng(seed)
    drawn = [rng.choice(others_of(arch, space), count, replace=False).tolist() for arch in archs]
    return list(itertools.chain.from_iterable(drawn))


def others_of(arch: int, space: Space) -> list[int]:
    """The other architectures of its functional class."""
    members = space.functional_classes()[space.functional_key(arch)]
    return [mate for mate in members if mate != arch]
