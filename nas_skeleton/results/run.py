"""A run: the folder `runs/NAME` with its arguments, its plan, its store and its checkpoints.

run.json        what was asked for; a run belongs to one set of arguments
data.json       the clips behind its accuracies: classes, and ids and labels per split
results/        one SQLite file per worker (see `store`)
checkpoints/    unfinished trainings
scores/         class scores of finished trainings, where they are kept (see `scores`)
weights/        their weights after the last epoch and after the best on validation, likewise
table.parquet, table.csv, curves.parquet, predictions.parquet    after `runs collect`
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from pydantic import TypeAdapter

from nas_skeleton.cards import check_name
from nas_skeleton.errors import InputError
from nas_skeleton.results import schema, store

FORMAT = 1
SUPERNET = "supernet.json"  # in a folder under runs/ that is no run (`one_shot`)
RESERVED = "published"  # the folder under runs/ in which published tables lie
SHOWN = 8  # of a long list in an error
_CHANGED = {
    "fingerprint": " (the data, who is in which part of its protocol, or its A-links changed)",
    "recipe_hash": " (the card's stem, macro skeleton, input or recipe changed)",
    "archs": " (a list may only grow; `runs publish RUN RUN` makes one table of several runs)",
}
T = TypeVar("T")


@dataclass(frozen=True)
class Arguments:
    """What decides which trainings a run consists of.

    `trials` is the number of architectures (None: all there are); it and the list of seeds may grow
    from call to call, all else belongs to the run. `one_per_class` trains one architecture per
    functional class. `archs` lists the architectures of a run without strategy; the list may grow
    too, by architectures beside those it has.
    `parallel` proposals of a strategy that learns may be without a result that it knows, and with
    `share_classes` it takes architectures of one functional class for the same.
    `modality` replaces the modalities of the space's card, joined by "+"; empty for the card's.
    `fingerprint` and `recipe_hash` are those of `training.job.Job`: they change when data, split or
    card do.
    """

    space: str
    dataset: str
    protocol: str
    recipe: str
    strategy: str
    seeds: list[int]
    fingerprint: str
    recipe_hash: str
    trials: int | None = None
    one_per_class: bool = False
    archs: list[int] | None = None
    modality: str = ""
    parallel: int = 1
    share_classes: bool = False


@dataclass(frozen=True)
class Clips:
    """The clips of one split: ids and labels (0-based classes), in the order of predictions."""

    ids: list[str]
    labels: list[int]


@dataclass(frozen=True)
class DataFacts:
    """What a run's table needs to know of its data, so that it can be read without the data.

    `bodies` and `channels` are M and C of the clips as its networks see them.
    """

    classes: list[str]
    joints: int
    bodies: int
    splits: dict[str, Clips]
    channels: int = 3


class Run:
    """An existing run folder."""

    def __init__(self, folder: Path, arguments: Arguments, data: DataFacts) -> None:
        self.folder = folder
        self.arguments = arguments
        self.data = data

    @property
    def name(self) -> str:
        """Name of the run and of its folder."""
        return self.folder.name

    @property
    def results_folder(self) -> Path:
        """Where workers write."""
        return self.folder / "results"

    def scores_path(self, key: str) -> Path:
        """Where the class scores of the finished training `key` are, if they were kept."""
        return self.folder / "scores" / f"{key}.npz"

    def weights_path(self, key: str, which: str) -> Path:
        """Where the weights of the training `key` are, if they were kept: "last" or "best"."""
        return self.folder / "weights" / f"{key}.{which}.pt"

    def checkpoint_path(self, key: str) -> Path:
        """Where the unfinished training `key` is kept."""
        return self.folder / "checkpoints" / f"{key}.pt"

    def write(self) -> None:
        """Write down what the run is; a run asked for twice keeps the larger plan."""
        arguments = self.arguments
        if (self.folder / "run.json").is_file():
            known = open_run(self.name)
            arguments = _widest(known.arguments, arguments)
            if (known.arguments, known.data) == (arguments, self.data):
                return  # hundreds of commands may begin at once, and others read meanwhile
        _write_json(self.folder / "data.json", asdict(self.data))
        _write_json(self.folder / "run.json", asdict(arguments))  # last: now the run exists

    def rows(
        self, columns: Sequence[str] | None = None, *, every: bool = False, blobs: bool = False
    ) -> pd.DataFrame:
        """All rows written so far that belong to the run, see `store.read_rows`.

        The fewer columns, the faster: all take seconds for 100,000 rows.
        """
        own = {
            "fingerprint": self.arguments.fingerprint,
            "recipe_hash": self.arguments.recipe_hash,
        }
        return store.read_rows(self.results_folder, columns, only=own, every=every, blobs=blobs)

    def settled_keys(self) -> set[str]:
        """Keys of trainings that need not run again: finished, or known to diverge."""
        rows = self.rows(["key", "status"])
        return set(rows.loc[~rows["status"].isin(schema.UNSETTLED), "key"])


def runs_folder() -> Path:
    """`runs/` in the working folder."""
    return Path.cwd() / "runs"


def check_new_name(name: str) -> None:
    """Nothing, if a folder under runs/ may be called `name`.

    Raises:
        InputError: it is no name, or one that has another use.
    """
    check_name(name, "--run")
    if name.casefold() == RESERVED:  # as file systems do that take capitals for small letters
        raise InputError(
            f"--run {name}: runs/{RESERVED}/ is the folder of published tables: choose another name"
        )


def run_names() -> list[str]:
    """Names of all runs in the working folder, sorted."""
    return sorted(path.parent.name for path in runs_folder().glob("*/run.json"))


def open_run(name: str) -> Run:
    """The run called `name`.

    Raises:
        InputError: there is no such run, or its `run.json` is damaged.
    """
    check_name(name, "run")
    folder = runs_folder() / name
    if (folder / SUPERNET).is_file():
        raise InputError(
            f"{folder} is a supernet, no table of trainings: its cells are in ranking.csv, and "
            "`python -m nas_skeleton.supernet` shows them"
        )
    if not (folder / "run.json").is_file():
        known = ", ".join(run_names()) or "none yet"
        raise InputError(f"no run {name!r} in {runs_folder()}: there are: {known}")
    arguments = _read_json(folder / "run.json", Arguments)
    return Run(folder, arguments, _read_json(folder / "data.json", DataFacts))


def plan_run(
    name: str, arguments: Arguments, data: DataFacts, *, seeds_may_grow: bool = True
) -> Run:
    """The run `name` with `arguments`; nothing is written before `Run.write`.

    Where the run exists, all arguments must be the same, but for `trials`, further `archs` of a
    list and, if they may grow, further `seeds`.

    Raises:
        InputError: the name has another use, or the folder belongs to other arguments, or holds
            results without any.
    """
    check_new_name(name)
    folder = runs_folder() / name
    if (folder / "run.json").is_file():
        existing = open_run(name).arguments
        may_grow = seeds_may_grow and _share_beginning(existing, arguments)
        seeds = existing.seeds if may_grow else arguments.seeds
        archs = existing.archs if _one_has_the_other(existing, arguments) else arguments.archs
        wanted = replace(arguments, trials=existing.trials, seeds=seeds, archs=archs)
        # The modality first: it says more than the hash that changes with it.
        for field in sorted(asdict(wanted), key=lambda field: field != "modality"):
            value, before = getattr(wanted, field), getattr(existing, field)
            if before != value:
                raise InputError(
                    f"run {name!r} in {folder} belongs to {field} {_short(before)}, not "
                    f"{_short(value)}{_CHANGED.get(field, '')}: choose another name with --run, or "
                    "move the folder away"
                )
    elif (folder / SUPERNET).is_file():
        raise InputError(f"{folder} holds a supernet: choose another --run")
    elif (folder / "results").is_dir():
        raise InputError(f"{folder} holds results but no run.json: choose another --run")
    return Run(folder, arguments, data)


def _share_beginning(first: Arguments, second: Arguments) -> bool:
    """Whether the seeds of one are the first seeds of the other."""
    count = min(len(first.seeds), len(second.seeds))
    return first.seeds[:count] == second.seeds[:count]


def _one_has_the_other(first: Arguments, second: Arguments) -> bool:
    """Whether both list architectures, and the list of one contains that of the other."""
    if first.archs is None or second.archs is None:
        return False
    shorter, longer = sorted((set(first.archs), set(second.archs)), key=len)
    return shorter <= longer


def _short(value: object) -> str:
    """What an argument is, in part if it is a long list."""
    if isinstance(value, list) and len(value) > SHOWN:
        return f"[{', '.join(map(str, value[:SHOWN]))}, ... {len(value)} in all]"
    return repr(value)


def _widest(first: Arguments, second: Arguments) -> Arguments:
    """`second` with the larger number of trials and the longer lists of both."""
    counts = (first.trials, second.trials)
    return replace(
        second,
        trials=None if None in counts else max(count for count in counts if count is not None),
        seeds=max(first.seeds, second.seeds, key=len),
        archs=max((first.archs, second.archs), key=lambda archs: len(archs or ())),
    )


def _read_json(path: Path, kind: type[T]) -> T:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format") != FORMAT:
            raise InputError(f"{path}: written by another version of nas_skeleton")
        return TypeAdapter(kind).validate_python(content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: damaged ({str(error).splitlines()[0]}); restore it, or move the folder away "
            "and search again"
        ) from None


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(json.dumps({"format": FORMAT, **content}, indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
