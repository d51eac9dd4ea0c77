"""Which architectures to train again: the best, a fair sample, class mates, disturbed ones."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from nas_skeleton.errors import InputError
from nas_skeleton.spaces import Cell, Space
from nas_skeleton.spaces.liveness import Role, roles


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


def disturbed(rows: pd.DataFrame, space: Space, factor: float) -> list[int]:
    """Architectures of which a training took far longer than those that cost the same.

    On a machine that had other work, seconds and latency tell of that work. Trained again, which
    gives the same accuracies, `publish` takes the quicker row. What is usual is the lower quartile
    among trainings of cells with equally many live operations of each kind.

    Args:
        rows: of finished trainings, with `arch_index`, `train_time_s` and `latency_ms`.
        space: of their cells.
        factor: how many times the usual seconds or latency are far longer.

    Returns:
        Their indices, ascending.
    """
    kinds = {arch: _live_operations(space.cell(arch)) for arch in rows["arch_index"].tolist()}
    kind = rows["arch_index"].map(kinds)
    late = pd.Series(False, rows.index)
    for column in ("train_time_s", "latency_ms"):
        usual = rows[column].groupby(kind).transform("quantile", 0.25)
        late |= rows[column] > factor * usual
    return sorted(rows.loc[late, "arch_index"].unique().tolist())


def _live_operations(cell: Cell) -> str:
    """Which operations are no dead edges, sorted: what a training costs, but for their places."""
    pairs = zip(cell.operations, roles(cell), strict=True)
    return " ".join(sorted(str(operation) for operation, role in pairs if role is not Role.DEAD))
