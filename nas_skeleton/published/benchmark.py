"""`nas_skeleton.Benchmark`: questions to published tables, each with its seed and fidelity said.

What the folder holds is `files`' business and reading it `table`'s; here is what people ask.
Nothing is trained, and nothing is chosen by test accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, SupportsIndex, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas_skeleton.errors import InputError
from nas_skeleton.published.files import Manifest, find_published, published_names
from nas_skeleton.published.rows import (
    AGGREGATES,
    Aggregate,
    AggregateRow,
    Epoch,
    NotInTable,
    Row,
    Unspecified,
    listed,
)
from nas_skeleton.published.simulation import Simulation
from nas_skeleton.published.table import Clips, Floats, PublishedTable
from nas_skeleton.spaces import Cell, CellSpace
from nas_skeleton.spaces.cell import cell_from_matrix

if TYPE_CHECKING:
    import pandas as pd

    from nas_skeleton.results.table import SearchTable

Arch = SupportsIndex | str | Cell | ArrayLike
Cost = Literal["macs", "params", "latency_ms"]
Level = Literal["trainings", "epochs", "architectures", "clips"]


class Benchmark:
    """Published tables, one per data set, to be asked instead of training.

    An architecture is an index of NAS-Bench-201 (0 to 15,624), an architecture string, a 4x4 matrix
    of operation indices as `CellSpace.matrix` gives it, a `Cell`, or a functional key, which stands
    for the cell of its class with the lowest index.

    A question says which of several trainings it means, by `seed=` or `aggregate=`: without them it
    is an error that lists the choices. `epoch` is "last" if not said, the end of the recipe; "best"
    is the epoch that was best on validation, a number one of `epochs`. Of several tables `dataset=`
    says which.

    >>> import nas_skeleton as ns
    >>> table = ns.Benchmark.load("utdmhad")
    >>> row = table.query(6111, seed=777)
    >>> row.arch_index, row.seed, row.epoch == table.epochs()[-1]
    (6111, 777, True)
    >>> 0 <= row.valid_top1 <= 1 and row.train_time_s > 0
    True
    >>> small = table.best(seed=777, max_macs=row.macs)  # by validation
    >>> small.valid_top1 >= row.valid_top1 and small.macs <= row.macs
    True
    >>> table.query(6111)
    Traceback (most recent call last):
    nas_skeleton.published.rows.Unspecified: which training? ...

    All methods raise `NotInTable`, an `InputError` and `KeyError`, where the table lacks what is
    asked for; the message lists what it has.
    """

    def __init__(self, tables: Sequence[PublishedTable]) -> None:
        self._tables = {table.name: table for table in tables}
        self.space = CellSpace()

    @classmethod
    def load(cls, *names: str | Path) -> Self:
        """The published tables called so, or in these folders.

        Names are looked for in `runs/published/` of the working folder, then in the checkout's.

        Raises:
            InputError: no such table, no name, a damaged one, or one of another schema.
        """
        if not names:
            raise InputError(f"which table? there are {listed(published_names())}")
        return cls([PublishedTable(find_published(name)) for name in names])

    def __repr__(self) -> str:
        tables = (
            f"{name}, content {table.manifest.content}" for name, table in self._tables.items()
        )
        return f"Benchmark({'; '.join(tables)})"

    def __len__(self) -> int:
        """How many architectures the space has."""
        return len(self.space)

    @property
    def datasets(self) -> list[str]:
        """What `dataset=` may be: the names of the tables."""
        return list(self._tables)

    def manifest(self, dataset: str | None = None) -> Manifest:
        """What was trained, how, and on what."""
        return self.table(dataset).manifest

    def seeds(self, arch: Arch | None = None, dataset: str | None = None) -> tuple[int, ...]:
        """The seeds of the table, or those an architecture has a row for."""
        table = self.table(dataset)
        return table.seeds if arch is None else tuple(table.seeds_of(self.resolve(arch)))

    def epochs(self, dataset: str | None = None) -> tuple[int, ...]:
        """After which epochs trainings were evaluated, 1-based."""
        return self.table(dataset).epochs

    def resolve(self, arch: Arch) -> int:
        """The index of an architecture in any notation.

        Raises:
            NotInTable: not an architecture of the space.
        """
        try:
            return self._index(arch)
        except InputError as error:
            raise NotInTable(str(error)) from None

    def _index(self, arch: Arch) -> int:
        if isinstance(arch, int):
            return self.space.check_index(arch)
        if isinstance(arch, Cell):
            return self.space.index(arch)
        if isinstance(arch, str):
            members = None if arch.startswith("|") else self.space.functional_classes().get(arch)
            return members[0] if members else self.space.index(arch)
        if np.ndim(arch) == 0:  # type: ignore[arg-type]
            return self.space.check_index(arch)  # type: ignore[arg-type]
        return self.space.index(cell_from_matrix(arch))  # type: ignore[arg-type]

    @overload
    def query(
        self, arch: Arch, dataset: str | None = None, *, seed: int, epoch: Epoch = "last"
    ) -> Row: ...
    @overload
    def query(
        self, arch: Arch, dataset: str | None = None, *, aggregate: Aggregate, epoch: Epoch = "last"
    ) -> AggregateRow: ...
    def query(
        self,
        arch: Arch,
        dataset: str | None = None,
        *,
        seed: int | None = None,
        aggregate: Aggregate | None = None,
        epoch: Epoch = "last",
    ) -> Row | AggregateRow:
        """What is known of an architecture trained with `seed`, or over all its seeds.

        An aggregate is over the seeds the architecture has, which may be fewer than others have;
        its `seeds` say which.
        """
        return self._row(self.table(dataset), self.resolve(arch), seed, aggregate, epoch)

    def best(
        self,
        dataset: str | None = None,
        *,
        seed: int | None = None,
        aggregate: Aggregate | None = None,
        epoch: Epoch = "last",
        max_params: float | None = None,
        max_macs: float | None = None,
        max_latency_ms: float | None = None,
    ) -> Row | AggregateRow:
        """The architecture with the best top-1 on validation clips, within limits.

        Never by test accuracy. With an aggregate only architectures compete for which all seeds of
        the table finished, for a mean over fewer is no fair one. Ties go to fewer MACs, then to the
        lower index.

        Raises:
            NotInTable: none is within the limits.
            InputError: the protocol has no validation clips.
        """
        table = self.table(dataset)
        valid = self._valid(table, seed, aggregate, epoch)
        macs = self._cost(table, "macs", seed)
        limits: dict[Cost, float | None] = {
            "params": max_params,
            "macs": max_macs,
            "latency_ms": max_latency_ms,
        }
        within = np.isfinite(valid)
        for name, limit in limits.items():
            if limit is not None:
                within &= self._cost(table, name, seed, aggregate) <= limit
        if not within.any():
            least = ", ".join(
                f"{name} from {np.nanmin(self._cost(table, name, seed, aggregate)):.4g}"
                for name, limit in limits.items()
                if limit is not None
            )
            raise NotInTable(
                f"no architecture of table {table.name!r} is within the limits: {least}"
            )
        among = np.flatnonzero(within)
        best = among[np.lexsort((among, macs[among], -valid[among]))[0]]
        return self._row(table, int(best), seed, aggregate, epoch)

    def pareto(
        self,
        cost: Cost,
        dataset: str | None = None,
        *,
        seed: int | None = None,
        aggregate: Aggregate | None = None,
        epoch: Epoch = "last",
    ) -> tuple[Row | AggregateRow, ...]:
        """The architectures that no other beats in both validation top-1 and `cost`.

        By rising cost. Who competes is said at `best`; of equals the lowest index is there.
        """
        table = self.table(dataset)
        valid, costs = self._valid(table, seed, aggregate, epoch), self._cost(table, cost, seed)
        among = np.flatnonzero(np.isfinite(valid) & np.isfinite(costs))
        front, best = [], -np.inf
        for arch in among[np.lexsort((among, -valid[among], costs[among]))]:
            if valid[arch] > best:
                front.append(int(arch))
                best = valid[arch]
        return tuple(self._row(table, arch, seed, aggregate, epoch) for arch in front)

    def neighbours(self, arch: Arch) -> list[int]:
        """Indices of the 24 architectures that differ in one operation."""
        return self.space.neighbours(self.resolve(arch))

    def simulate(self, dataset: str | None = None, *, seed: int | None = None) -> Simulation:
        """Trainings with `seed` on a simulated clock, which shows validation accuracies only."""
        table = self.table(dataset)
        if seed is None:
            raise Unspecified(f"which training? give seed={'|'.join(map(str, table.seeds))}")
        table.check_seed(seed)
        return Simulation(self, table, seed)

    def search_table(self, dataset: str | None = None) -> SearchTable:
        """The table for `analysis.replay`: seeds that every architecture of the space has.

        Raises:
            InputError: there is no such seed.
        """
        from nas_skeleton.results.table import load_table

        return load_table(str(self.table(dataset).folder))

    def array(self, column: str, dataset: str | None = None) -> Floats:
        """`(15625, seeds)` of a column of numbers, such as "final_valid_top1", "params", "macs".

        NaN where there is no row, or nothing was measured. Columns are those of `results.schema`;
        seeds are in the order of `seeds`.
        """
        return self.table(dataset).array(column)

    def curves(self, measure: str, dataset: str | None = None) -> Floats:
        """`(15625, seeds, epochs)` of what is known per epoch, such as "valid_top1", "train_loss".

        NaN where it was not measured.
        """
        return self.table(dataset).curves(measure)

    def predicted(
        self, arch: Arch, split: Literal["valid", "test"], dataset: str | None = None, *, seed: int
    ) -> NDArray[np.signedinteger[Any]]:
        """`(clips,)` the classes a training predicted; true ones are `clips(split).labels`."""
        return self.table(dataset).predicted(self.resolve(arch), seed, split)

    def clips(self, split: str, dataset: str | None = None) -> Clips:
        """Ids and labels of the clips of a split, in the order of predictions."""
        return self.table(dataset).clips(split)

    def to_pandas(self, dataset: str | None = None, *, level: Level = "trainings") -> pd.DataFrame:
        """One row per training (with its copies), epoch of one, architecture or clip."""
        frame: pd.DataFrame = self.table(dataset).to_pandas(level)
        return frame

    def table(self, dataset: str | None = None) -> PublishedTable:
        """The table of a data set: by its own name, or that of the data set where one has it.

        Raises:
            NotInTable: no such one.
            Unspecified: there are several, and none is named.
        """
        if dataset is None:
            if len(self._tables) > 1:
                raise Unspecified(f"which data set? give dataset={'|'.join(self._tables)}")
            return next(iter(self._tables.values()))
        if dataset in self._tables:
            return self._tables[dataset]
        of_it = [t for t in self._tables.values() if t.manifest.dataset == dataset]
        if len(of_it) == 1:
            return of_it[0]
        raise NotInTable(f"no table {dataset!r} is loaded: there are {listed(self._tables)}")

    def _row(
        self,
        table: PublishedTable,
        arch: int,
        seed: int | None,
        aggregate: Aggregate | None,
        epoch: Epoch,
    ) -> Row | AggregateRow:
        if seed is not None and aggregate is None:
            return table.row(arch, seed, epoch)
        how = _checked(table, seed, aggregate)
        assert how is not None
        return table.aggregate(arch, how, epoch)

    def _valid(
        self, table: PublishedTable, seed: int | None, aggregate: Aggregate | None, epoch: Epoch
    ) -> Floats:
        """`(architectures,)` validation top-1; NaN of those that do not compete."""
        how = _checked(table, seed, aggregate)
        if not table.manifest.clips.get("valid"):
            raise InputError(
                f"protocol {table.manifest.protocol!r} of table {table.name!r} has no validation "
                "clips, and nothing else may choose"
            )
        valid = table.measure("valid_top1", epoch)
        if how is None:
            assert seed is not None
            chosen: Floats = valid[:, table.check_seed(seed)]
            return chosen
        over: Floats = np.mean(valid, axis=1) if how == "mean" else np.median(valid, axis=1)
        return over

    def _cost(
        self,
        table: PublishedTable,
        name: Cost,
        seed: int | None,
        aggregate: Aggregate | None = "mean",
    ) -> Floats:
        """`(architectures,)` of a cost; the aggregate over seeds where none is chosen."""
        values = table.array(name)
        if seed is not None:
            chosen: Floats = values[:, table.check_seed(seed)]
            return chosen
        known = np.isfinite(values)
        if aggregate == "median":
            medians = np.full(len(values), np.nan)
            some = known.any(axis=1)
            medians[some] = np.nanmedian(values[some], axis=1)
            return medians
        totals: Floats = np.where(known, values, 0).sum(axis=1)
        return np.where(known.any(axis=1), totals / np.maximum(1, known.sum(axis=1)), np.nan)


def _checked(
    table: PublishedTable, seed: int | None, aggregate: Aggregate | None
) -> Aggregate | None:
    """How to aggregate; None for one seed.

    Raises:
        Unspecified: neither or both are given.
        NotInTable: no such aggregate.
    """
    choices = f"seed={'|'.join(map(str, table.seeds))} or aggregate={'|'.join(AGGREGATES)}"
    if (seed is None) == (aggregate is None):
        both = "" if seed is None else " of both one"
        raise Unspecified(f"which training?{both} give {choices}")
    if aggregate is not None and aggregate not in AGGREGATES:
        raise NotInTable(f"no aggregate {aggregate!r}: there are {', '.join(AGGREGATES)}")
    return aggregate
