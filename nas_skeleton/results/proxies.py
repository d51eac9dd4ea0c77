"""Scores of proxies: kept as they come in `runs/NAME/proxies.sqlite`, and joined with trainings.

One command writes the file, one transaction a cell: what was scored survives any end of it. The
first transaction writes down what the scores belong to. `proxies.parquet` and `proxies.csv` beside
it are the same for other programs, after a command has ended.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from nas_skeleton.cards import check_name
from nas_skeleton.errors import InputError
from nas_skeleton.proxies.names import PROXIES
from nas_skeleton.results.collect import replacing
from nas_skeleton.results.run import Run, check_new_name, runs_folder
from nas_skeleton.spaces import SearchSpace, Space
from nas_skeleton.training.job import Job

if TYPE_CHECKING:
    from nas_skeleton.skeletons.store import Dataset

FILE = "proxies.sqlite"
FORMAT = 1
WAIT_S = 60.0  # for another command that writes at this moment
COLUMNS = tuple(f"proxy_{name}" for name in PROXIES)
_TABLES = (
    "CREATE TABLE scores (arch_index INTEGER PRIMARY KEY, "
    + ", ".join(f"{name} REAL" for name in (*COLUMNS, "seconds"))
    + ")",
    "CREATE TABLE identity (name TEXT PRIMARY KEY, value)",
    f"PRAGMA user_version = {FORMAT}",
)


@dataclass(frozen=True)
class Identity:
    """What scores belong to beside their cell; the fields are those of `results.run.Arguments`.

    `seed` decides initial weights and which clips are looked at, `clips` how many.
    """

    space: str
    dataset: str
    fingerprint: str
    protocol: str
    recipe: str
    recipe_hash: str
    modality: str
    seed: int
    clips: int

    def job(self, arch: int) -> Job:
        """The training at whose start the cell is scored."""
        names = {field.name for field in fields(Job)} & {field.name for field in fields(self)}
        return Job(arch_index=arch, **{name: getattr(self, name) for name in names})


class ProxyRun:
    """The scores in one folder; nothing is written before the first one."""

    def __init__(self, folder: Path, identity: Identity) -> None:
        self.folder = folder
        self.identity = identity
        self._connection: sqlite3.Connection | None = None

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.name

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / FILE

    def append(self, arch: int, scores: Mapping[str, float], seconds: float) -> None:
        """Keep the scores of a cell, by name of the proxy; when this returns, they are on the disk.

        A score that is not a number is kept as a missing value. A cell that another command has
        scored meanwhile stays as it is.

        Raises:
            InputError: the disk is full or read-only; what was scored before stays.
        """
        values = [None if math.isnan(scores[name]) else scores[name] for name in PROXIES]
        with _damage(self.path):
            connection = self._opened()
            connection.execute("BEGIN IMMEDIATE")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version == 0:
                for statement in _TABLES:
                    connection.execute(statement)
                facts = asdict(self.identity).items()
                connection.executemany("INSERT INTO identity VALUES (?, ?)", facts)
            places = ", ".join("?" * (len(values) + 2))
            row = (arch, *values, seconds)
            connection.execute(f"INSERT OR IGNORE INTO scores VALUES ({places})", row)
            connection.execute("COMMIT")

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def scores(self) -> pd.DataFrame:
        """`arch_index`, a column for each proxy, `seconds`; by ascending index.

        Raises:
            InputError: the file is damaged.
        """
        columns = ["arch_index", *COLUMNS, "seconds"]
        rows: list[Any] = []
        if self.path.is_file():
            with _damage(self.path), closing(sqlite3.connect(self.path, timeout=WAIT_S)) as file:
                if file.execute("PRAGMA user_version").fetchone()[0]:
                    query = f"SELECT {', '.join(columns)} FROM scores ORDER BY arch_index"
                    rows = file.execute(query).fetchall()
        kinds = {name: "int64" if name == "arch_index" else "float64" for name in columns}
        return pd.DataFrame(rows, columns=columns).astype(kinds)

    def table(self, space: SearchSpace) -> pd.DataFrame:
        """The scores with the names and keys of their cells and all that they belong to."""
        scores = self.scores()
        archs = scores["arch_index"].tolist()
        identity = asdict(self.identity)
        identity["modality"] = "+".join(space.card.input.modalities)
        before = {
            "space": identity.pop("space"),
            "arch_index": archs,
            "arch_str": [space.arch_string(arch) for arch in archs],
            "functional_key": [space.functional_key(arch) for arch in archs],
            **identity,
        }
        return pd.concat(
            [pd.DataFrame(before, index=scores.index), scores[[*COLUMNS, "seconds"]]], axis=1
        )

    def write_tables(self, space: SearchSpace) -> list[Path]:
        """Write the table as Parquet and CSV; each file is replaced as a whole."""
        table = self.table(space)
        paths = [self.folder / "proxies.parquet", self.folder / "proxies.csv"]
        with replacing(paths[0]) as parquet, replacing(paths[1]) as csv:
            table.to_parquet(parquet, index=False)
            table.to_csv(csv, index=False)
        return paths

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self.path, timeout=WAIT_S, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode = TRUNCATE")
            self._connection.execute("PRAGMA synchronous = FULL")
        return self._connection


def open_proxy_run(name: str) -> ProxyRun:
    """The scores in `runs/NAME`.

    Raises:
        InputError: there are none, or their file is damaged.
    """
    check_name(name, "run")
    path = runs_folder() / name / FILE
    identity = _identity(path)
    if identity is None:
        known = sorted(found.parent.name for found in runs_folder().glob(f"*/{FILE}"))
        raise InputError(
            f"no scores of proxies in {path.parent}: there are: {', '.join(known) or 'none yet'}"
        )
    return ProxyRun(path.parent, identity)


def plan_proxy_run(name: str, identity: Identity) -> ProxyRun:
    """The scores in `runs/NAME`, which must belong to `identity` if there are any.

    Raises:
        InputError: they do not.
    """
    check_new_name(name)
    folder = runs_folder() / name
    known = _identity(folder / FILE)
    for field, value in asdict(identity).items():
        if known is not None and getattr(known, field) != value:
            raise InputError(
                f"the proxies in {folder} belong to {field} {getattr(known, field)!r}, not "
                f"{value!r}: choose another name with --run, or move the folder away"
            )
    return ProxyRun(folder, identity)


def check_fits(proxies: ProxyRun, run: Run) -> None:
    """Nothing, if the scores are those of the networks, data and recipe that the run trains.

    Raises:
        InputError: they are not.
    """
    for field in ("space", "dataset", "protocol", "recipe", "fingerprint", "recipe_hash"):
        ours, theirs = getattr(proxies.identity, field), getattr(run.arguments, field)
        if ours != theirs:
            raise InputError(
                f"proxies {proxies.name!r} belong to {field} {ours!r}, run {run.name!r} to "
                f"{theirs!r}: score the cells of that run, python -m nas_skeleton.proxies"
            )


def with_scores(table: pd.DataFrame, proxies: ProxyRun, space: SearchSpace) -> pd.DataFrame:
    """`table`, which has `arch_index`, `params` and `macs`, with a column for each proxy.

    A cell that was not scored itself has the scores of the first cell of its functional class that
    was. Its parameters and MACs are its own, for dead edges count there.
    """
    scores = proxies.scores().set_index("arch_index")
    scored = scores.index.tolist()
    first = {space.functional_key(arch): arch for arch in reversed(scored)}
    own = {arch: arch for arch in scored}
    archs = table["arch_index"].tolist()
    sources = [own.get(arch, first.get(space.functional_key(arch), -1)) for arch in archs]
    found = scores.reindex(sources)
    found.index = table.index
    known = found["seconds"].notna()
    found["proxy_params"] = table["params"].astype(float).where(known)
    found["proxy_flops"] = table["macs"].astype(float).where(known)
    return pd.concat([table, found[list(COLUMNS)]], axis=1)


def scored_and_trained(proxies: ProxyRun, run: Run, space: Space, data: Dataset) -> pd.DataFrame:
    """Cells of finished trainings of `run` with each proxy's score, their own or their class's.

    Data and recipe of the run may be other than those of the scores: parameters and MACs are those
    of the scored networks.

    Returns:
        `final_valid_top1`, the mean over seeds, and a column for each of `COLUMNS`.

    Raises:
        InputError: the run has no finished training with a validation accuracy.
    """
    rows = run.rows(["arch_index", "final_valid_top1"]).dropna()
    if rows.empty:
        raise InputError(f"run {run.name!r} has no finished training with a validation accuracy")
    cells = rows.groupby("arch_index")["final_valid_top1"].mean().reset_index()
    its = proxies.identity
    joints = len(data.layout.joints)
    costs = [
        space.cost(
            arch,
            space.card.recipe(its.recipe),
            classes=len(data.classes),
            joints=joints,
            bodies=space.card.input.bodies(data.bodies),
            channels=space.card.channels(data.channels, joints),
        )
        for arch in cells["arch_index"].tolist()
    ]
    cells["params"] = [cost.params for cost in costs]
    cells["macs"] = [cost.macs for cost in costs]
    return with_scores(cells, proxies, space)


def _identity(path: Path) -> Identity | None:
    """What the scores in a file belong to; None if there are none."""
    if not path.is_file():
        return None
    with _damage(path), closing(sqlite3.connect(path, timeout=WAIT_S)) as file:
        (version,) = file.execute("PRAGMA user_version").fetchone()
        if version == 0:  # a command was killed before its first score
            return None
        if version != FORMAT:
            raise InputError(f"{path}: written by another version of nas_skeleton")
        return Identity(**dict(file.execute("SELECT name, value FROM identity")))


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Say what is wrong with a file in one line.

    Raises:
        InputError: something is.
    """
    try:
        yield
    except (sqlite3.DatabaseError, TypeError) as error:
        raise InputError(
            f"{path}: damaged, locked or on a full disk ({error}): see to that, or move it away "
            "and score again"
        ) from None
