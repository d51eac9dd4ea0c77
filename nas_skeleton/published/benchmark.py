"""`nas_skeleton.Benchmark`: questions to published tables, each with its seed and fidelity said.

What the folder holds is `files`' business and reading it `table`'s; here is what people ask.
Nothing is trained, and nothing is chosen by test accuracy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, SupportsIndex, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas_skeleton.errors import InputError
from nas_skeleton.published.files import Manifest, find_published, published_names
from nas_skeleton.published.ranking import Best, Cost, Front, check_choosable, find_best, find_front
from nas_skeleton.published.rows import (
    Aggregate,
    AggregateRow,
    Clips,
    Epoch,
    NotInTable,
    Row,
    Unspecified,
    listed,
)
from nas_skeleton.published.seeds import which_trainings
from nas_skeleton.published.simulation import Simulation
from nas_skeleton.published.table import Floats, PublishedTable
from nas_skeleton.spaces import Cell, CellSpace
from nas_skeleton.spaces.cell import cell_from_matrix

if TYPE_CHECKING:
    import pandas as pd

    from nas_skeleton.results.table import SearchTable

Arch = SupportsIndex | str | Cell | ArrayLike
Level = Literal["trainings", "epochs", "architectures", "clips"]


class Benchmark:
    """Published tables, one per data set, to be asked instead of training.

    An architecture is an index of NAS-Bench-201 (0 to 15,624), an architecture string, a 4x4 matrix
    of operation indices as `CellSpace.matrix` gives it, a `Cell`, or a functional key, which stands
    for the cell of its class with the lowest index.

    A question says which of several trainings it means, by `seed=`, or by `aggregate=` with the
    mean or median over all seeds that an architecture has, or over `seeds=`: without them it is an
    error that lists the choices. `epoch` is "last" if not said, the end of the recipe; "best" is
    the epoch that was best on validation, a number one of `epochs`. Of several tables `dataset=`
    says which. What a row has, and in which column of `to_pandas` and `array` it is, `rows.BaseRow`
    tells.

    >>> import nas_skeleton as ns
    >>> table = ns.Benchmark.load("utdmhad")
    >>> row = table.query(6111, seed=777)
    >>> row.arch_index, row.seed, row.epoch == table.epochs()[-1]
    (6111, 777, True)
    >>> 0 <= row.valid_top1 <= 1 and row.train_time_s > 0
    True
    >>> small = table.best(seed=777, max_macs=row.macs)  # by validation
    >>> small.row.valid_top1 >= row.valid_top1 and small.row.macs <= row.macs
    True
    >>> small.competed + small.over_limits + small.lacking_seeds == len(table.archs())
    True
    >>> table.query(6111)
    Traceback (most recent call last):
    nas_skeleton.published.rows.Unspecified: which training? ...

    All methods raise `NotInTable`, an `InputError` and `KeyError`, where the table lacks what is
    asked for; the message lists what it has.
    """

    def __init__(self, tables: Sequence[PublishedTable]) -> None:
        if isinstance(tables, str | Path):
            raise InputError(f"tables are opened by Benchmark.load({str(tables)!r})")
        self._tables: dict[str, PublishedTable] = {}
        for table in tables:
            if table.name in self._tables:
                raise InputError(
                    f"two tables are called {table.name!r}: {self._tables[table.name].folder} and "
                    f"{table.folder}: load each as a Benchmark of its own"
                )
            self._tables[table.name] = table
        self.space = CellSpace()

    @classmethod
    def load(cls, *names: str | Path) -> Self:
        """The published tables called so, or in these folders.

        Names are looked for in `runs/published/` of the working folder, then in the checkout's.

        Raises:
            InputError: no such table, no name, a damaged one, one of another schema, or two that
                bear one name.
        """
        wrong = [name for name in names if not isinstance(name, str | Path)]
        if not names or wrong:
            said = f"{wrong[0]!r} is neither a name nor a path: " if wrong else "which table? "
            raise InputError(
                f"{said}there are {listed(published_names())}; "
                "`python -m nas_skeleton.runs publish` makes one"
            )
        return cls([PublishedTable(find_published(name)) for name in names])

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process loads the tables anew, from the same folders."""
        return type(self).load, tuple(table.folder.absolute() for table in self._tables.values())

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

    def archs(
        self, dataset: str | None = None, *, seed: int | None = None
    ) -> NDArray[np.signedinteger[Any]]:
        """Indices of the architectures that have a row, or one with `seed`, ascending."""
        table = self.table(dataset)
        there = table.has_row()
        if seed is None:
            return np.flatnonzero(there.any(axis=1))
        return np.flatnonzero(there[:, table.check_seed(seed)])

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
            return self._index_of_text(arch)
        if np.ndim(arch) == 0:  # type: ignore[arg-type]
            return self.space.check_index(arch)  # type: ignore[arg-type]
        return self.space.index(cell_from_matrix(arch))  # type: ignore[arg-type]

    def _index_of_text(self, text: str) -> int:
        if text.startswith("|"):
            return self.space.index(text)
        if members := self.space.functional_classes().get(text):
            return members[0]
        if text.strip().isdecimal():
            raise InputError(
                f"architecture {text!r}: an index is given without quotes: {int(text)}"
            )
        raise InputError(
            f"no architecture {text!r:.120}: a text is an architecture string, such as "
            f"{self.space.arch_string(0)}, or a functional key"
        )

    @overload
    def query(
        self, arch: Arch, dataset: str | None = None, *, seed: int, epoch: Epoch = "last"
    ) -> Row: ...
    @overload
    def query(
        self,
        arch: Arch,
        dataset: str | None = None,
        *,
        aggregate: Aggregate,
        seeds: Iterable[int] | None = None,
        epoch: Epoch = "last",
    ) -> AggregateRow: ...
    def query(
        self,
        arch: Arch,
        dataset: str | None = None,
        *,
        seed: int | None = None,
        aggregate: Aggregate | None = None,
        seeds: Iterable[int] | None = None,
        epoch: Epoch = "last",
    ) -> Row | AggregateRow:
        """What is known of an architecture trained with `seed`, or over all its seeds or `seeds`.

        Without `seeds` an aggregate is over those the architecture has, which may be fewer than
        others have; its own `seeds` say which.
        """
        table, index = self.table(dataset), self.resolve(arch)
        if seed is not None and aggregate is None and seeds is None:
            return table.row(index, seed, epoch)
        which = which_trainings(table.name, table.seeds, seed, aggregate, seeds)
        return table.answer(index, which, epoch)

    def best(
        self,
        dataset: str | None = None,
        *,
        seed: int | None = None,
        aggregate: Aggregate | None = None,
        seeds: Iterable[int] | None = None,
        epoch: Epoch = "last",
        max_params: float | None = None,
        max_macs: float | None = None,
        max_latency_ms: float | None = None,
    ) -> Best:
        """The architecture with the best top-1 on validation clips, within limits: its `row`.

        Never by test accuracy. With an aggregate only architectures compete that finished with all
        seeds of the table, or with all of `seeds`, for a mean over fewer is no fair one; how many
        do, and how many do not, the answer tells. Where few have all seeds, one seed or two may be
        the better question. Ties go to fewer MACs, then to the lower index.

        Raises:
            NotInTable: none is within the limits, or none has all seeds.
            InputError: a limit is no number, or the protocol has no validation clips.
        """
        table = self.table(dataset)
        which = which_trainings(table.name, table.seeds, seed, aggregate, seeds)
        limits: dict[Cost, float | None] = {
            "params": max_params,
            "macs": max_macs,
            "latency_ms": max_latency_ms,
        }
        return find_best(table, which, epoch, limits)

    def pareto(
        self,
        cost: Cost,
        dataset: str | None = None,
        *,
        seed: int | None = None,
        aggregate: Aggregate | None = None,
        seeds: Iterable[int] | None = None,
        epoch: Epoch = "last",
    ) -> Front:
        """The architectures that no other beats in both validation top-1 and `cost`: its `rows`.

        By rising cost. Who competes is said at `best`; of equals the lowest index is there.
        """
        table = self.table(dataset)
        which = which_trainings(table.name, table.seeds, seed, aggregate, seeds)
        return find_front(table, which, epoch, cost)

    def neighbours(self, arch: Arch) -> list[int]:
        """Indices of the 24 architectures that differ in one operation."""
        return self.space.neighbours(self.resolve(arch))

    def simulate(self, dataset: str | None = None, *, seed: int | None = None) -> Simulation:
        """Trainings with `seed` on a simulated clock, which shows validation accuracies only.

        Raises:
            InputError: the protocol has no validation clips.
        """
        table = self.table(dataset)
        check_choosable(table)
        if seed is None:
            raise Unspecified(f"which training? give seed={'|'.join(map(str, table.seeds))}")
        table.check_seed(seed)
        return Simulation(self, table, seed)

    def search_table(self, dataset: str | None = None) -> SearchTable:
        """The table for `analysis.replay`: seeds that every architecture of the space has.

        Raises:
            InputError: as `search_table.search_table_of`.
        """
        from nas_skeleton.published.search_table import search_table_of

        return search_table_of(self.table(dataset))

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

    def to_pandas(self, level: Level = "trainings", dataset: str | None = None) -> pd.DataFrame:
        """A file of the table as a data frame, with the columns that this version knows.

        "trainings" has a line for every architecture and seed, copies included; "epochs" one for
        every evaluated epoch of a training that is no copy; "architectures" the means over seeds
        after the last epoch; "clips" one for every clip, in the order of predictions.
        """
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
        if isinstance(dataset, str) and dataset in self._tables:
            return self._tables[dataset]
        of_it = [t for t in self._tables.values() if t.manifest.dataset == dataset]
        if len(of_it) == 1:
            return of_it[0]
        hint = "; a seed is given as seed=" if str(dataset).isdecimal() else ""
        raise NotInTable(f"no table {dataset!r} is loaded: there are {listed(self._tables)}{hint}")
