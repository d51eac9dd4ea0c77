"""Which architectures of a published table are best by validation, and among how many.

By test accuracy nothing is ranked here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from numbers import Real
from typing import TYPE_CHECKING, Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from nas_skeleton.errors import InputError
from nas_skeleton.published.rows import AggregateRow, Epoch, NotInTable, Row, listed
from nas_skeleton.published.seeds import Which
from nas_skeleton.published.table import Floats, PublishedTable

Cost = Literal["macs", "params", "latency_ms"]
COSTS: tuple[Cost, ...] = ("macs", "params", "latency_ms")
_EQUAL = 12  # digits behind the point: means that differ by less do by rounding
_OF_ROWS = {field.name for kind in (Row, AggregateRow) for field in fields(kind)}


@dataclass(frozen=True, slots=True)
class Best:
    """The best architecture, and among how many: the counts together are those with a row.

    Attributes:
        row: of the best one, as `Benchmark.query` answers.
        competed: how many were compared.
        functions: how many different functions these are; copies of a training are no further one.
        tied: how many of these functions are as good on validation as the best, itself included.
        lacking_seeds: how many were not, for a seed that was asked for is missing or diverged.
        over_limits: how many more were not, for they are over a limit, or not measured.
    """

    row: Row | AggregateRow
    competed: int
    functions: int
    tied: int
    lacking_seeds: int
    over_limits: int

    @property
    def arch_index(self) -> int:
        """Of the best one."""
        return self.row.arch_index

    if not TYPE_CHECKING:  # who checks types is told without it

        def __getattr__(self, name: str) -> NoReturn:
            hint = f": its row has, .row.{name}" if name in _OF_ROWS else ""
            raise AttributeError(f"the best has no {name!r}{hint}")


@dataclass(frozen=True, slots=True)
class Front:
    """The Pareto front, and of how many: the counts together are those with a row.

    It is as long as its `rows`, and has them in turn.

    Attributes:
        rows: of those on the front, by rising cost.
        competed: how many were compared.
        functions: how many different functions these are; copies of a training are no further one.
        lacking_seeds: how many were not, for a seed that was asked for is missing or diverged.
        unmeasured: how many more were not, for their cost was not measured.
    """

    rows: tuple[Row | AggregateRow, ...]
    competed: int
    functions: int
    lacking_seeds: int
    unmeasured: int

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row | AggregateRow]:
        return iter(self.rows)

    def __getitem__(self, at: int) -> Row | AggregateRow:
        return self.rows[at]


def find_best(
    table: PublishedTable, which: Which, epoch: Epoch, limits: Mapping[Cost, float | None]
) -> Best:
    """The best by validation top-1; of equals that with fewer MACs, then the lower index.

    Raises:
        NotInTable: none is within the limits, or none has all seeds.
        InputError: a limit is no number, or the table has no validation clips.
    """
    given = {name: limit for name, limit in limits.items() if limit is not None}
    for name, limit in given.items():
        _check_limit(name, limit)
    valid = _valid(table, which, epoch)
    complete = np.isfinite(valid)
    costs = {name: _over(table, name, which) for name in given}
    within = complete.copy()
    for name, limit in given.items():
        within &= costs[name] <= limit
    among = np.flatnonzero(within)
    if not len(among):
        least = ", ".join(
            f"{name} from {np.nanmin(costs[name][complete]):.4g}"
            if np.isfinite(costs[name][complete]).any()
            else f"{name} not measured"
            for name in given
        )
        raise NotInTable(f"no architecture of table {table.name!r} is within the limits: {least}")
    best = leader(valid, _over(table, "macs", which), within)
    equal = within & (valid.round(_EQUAL) == valid[best].round(_EQUAL))
    return Best(
        table.answer(best, which, epoch),
        competed=len(among),
        functions=table.functions(among),
        tied=table.functions(np.flatnonzero(equal)),
        lacking_seeds=_lacking(table, complete),
        over_limits=int(complete.sum()) - len(among),
    )


def leader(values: Floats, macs: Floats, within: NDArray[np.bool_]) -> int:
    """The index with the highest value `within`; of equals that with fewer MACs, then the lower.

    Means over seeds are equal where they differ by no more than rounding.
    """
    among = np.flatnonzero(within)
    return int(among[np.lexsort((among, macs[among], -values[among].round(_EQUAL)))[0]])


def find_front(table: PublishedTable, which: Which, epoch: Epoch, cost: Cost) -> Front:
    """Those that no other beats in both validation top-1 and cost; of equals the lowest index.

    Raises:
        NotInTable: no such cost, or none has all seeds.
        InputError: the table has no validation clips.
    """
    if cost not in COSTS:
        raise NotInTable(f"no cost {cost!r}: there are {', '.join(COSTS)}")
    valid, costs = _valid(table, which, epoch).round(_EQUAL), _over(table, cost, which)
    complete = np.isfinite(valid)
    among = np.flatnonzero(complete & np.isfinite(costs))
    front, best = [], -math.inf
    for arch in among[np.lexsort((among, -valid[among], costs[among]))]:
        if valid[arch] > best:
            front.append(table.answer(int(arch), which, epoch))
            best = valid[arch]
    return Front(
        tuple(front),
        competed=len(among),
        functions=table.functions(among),
        lacking_seeds=_lacking(table, complete),
        unmeasured=int(complete.sum()) - len(among),
    )


def _check_limit(name: Cost, limit: object) -> None:
    if not isinstance(limit, Real) or not float(limit) >= 0:
        raise InputError(f"max_{name}={limit!r}: a limit is a number from 0 on, such as 2e7")


def check_choosable(table: PublishedTable) -> None:
    """Nothing, if architectures can be chosen by this table: it has validation clips.

    Raises:
        InputError: it has none.
    """
    if not table.manifest.clips.get("valid"):
        raise InputError(
            f"protocol {table.manifest.protocol!r} of table {table.name!r} has no validation "
            "clips, and nothing else may choose"
        )


def _valid(table: PublishedTable, which: Which, epoch: Epoch) -> Floats:
    """`(architectures,)` validation top-1; NaN of those that do not compete, but not of all."""
    check_choosable(table)
    measured = table.measure("valid_top1", epoch)
    valid = _reduced(measured, table, which)
    if not np.isfinite(valid).any():
        counts = np.isfinite(measured).sum(axis=0).tolist()
        each = (f"{seed} of {n:,}" for seed, n in zip(table.seeds, counts, strict=True))
        raise NotInTable(
            f"no architecture of table {table.name!r} has finished with all of seeds "
            f"{listed(which.seeds or table.seeds)}: choose some, for there are {listed(each)}"
        )
    return valid


def _over(table: PublishedTable, column: str, which: Which) -> Floats:
    return _reduced(table.array(column), table, which)


def _reduced(values: Floats, table: PublishedTable, which: Which) -> Floats:
    """`(architectures,)` of `(architectures, seeds)`: NaN where one of the seeds has none."""
    seeds = which.seeds or table.seeds
    chosen = values[:, [table.check_seed(seed) for seed in seeds]]
    reduced: Floats = np.median(chosen, axis=1) if which.how == "median" else chosen.mean(axis=1)
    return reduced


def _lacking(table: PublishedTable, complete: NDArray[np.bool_]) -> int:
    return table.manifest.architectures - int(complete.sum())
