"""The folder of a supernet, `runs/NAME`: no table of trainings, but cells and what they inherited.

supernet.json                   what was asked for; a folder belongs to one set of arguments
supernet.pt                     the supernet, finished or not
ranking.parquet, ranking.csv    a row per cell that was ranked, the columns `COLUMNS`

`runs list` does not know it, for nothing in it was trained by itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import TypeAdapter, ValidationError

from nas_skeleton.errors import InputError
from nas_skeleton.results.leaderboard import short_count, wilson_error
from nas_skeleton.results.run import SUPERNET, check_new_name, runs_folder

VERSION = 1  # raise it when the same arguments come to give another supernet or ranking

COLUMNS = (
    *("space", "arch_index", "arch_str", "functional_key"),
    *("dataset", "fingerprint", "protocol", "modality", "recipe", "recipe_hash"),
    *("method", "seed", "epochs", "params", "macs", "inherited_valid_top1", "selected"),
)


@dataclass(frozen=True)
class SupernetArguments:
    """What decides a supernet: as `results.run.Arguments`, with one seed.

    `epochs` replace the recipe's.
    """

    space: str
    dataset: str
    protocol: str
    recipe: str
    method: str
    epochs: int
    seed: int
    fingerprint: str
    recipe_hash: str
    modality: str = ""

    @property
    def key(self) -> str:
        """32 hex digits; equal keys mean the same training."""
        text = json.dumps({"version": VERSION, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def default_name(self) -> str:
        """Of the run's folder."""
        training = f"{self.method}-{self.epochs}"
        parts = (self.space, self.dataset, self.protocol, self.recipe, training, str(self.seed))
        every = (*parts, self.modality) if self.modality else parts
        return "_".join(re.sub(r"[^A-Za-z0-9_.-]", "-", part) for part in every)


class SupernetFolder:
    """Where a supernet and its ranking are; nothing is written before `claim`.

    Raises:
        InputError: the folder belongs to other arguments, or to a run of trainings.
    """

    def __init__(self, name: str, arguments: SupernetArguments) -> None:
        check_new_name(name)
        self.folder = runs_folder() / name
        self.arguments = arguments
        if (self.folder / "run.json").exists() or (self.folder / "results").exists():
            raise InputError(f"{self.folder} holds trainings: choose another --run")
        if (self.folder / SUPERNET).is_file():
            before = asdict(_read(self.folder / SUPERNET))
            for field, value in asdict(arguments).items():
                if before[field] != value:
                    raise InputError(
                        f"run {name!r} in {self.folder} belongs to {field} {before[field]!r}, not "
                        f"{value!r}: choose another name with --run, or move the folder away"
                    )

    @property
    def checkpoint_path(self) -> Path:
        """Of the supernet."""
        return self.folder / "supernet.pt"

    def claim(self) -> None:
        """Write down whose folder this is."""
        self.folder.mkdir(parents=True, exist_ok=True)
        content = json.dumps(asdict(self.arguments), indent=1) + "\n"
        self._replace(SUPERNET, lambda path: path.write_text(content, encoding="utf-8"))

    def ranking(self) -> dict[int, float]:
        """The inherited accuracy of every cell that was ranked, by its index."""
        path = self.folder / "ranking.parquet"
        if not path.is_file():
            return {}
        try:
            rows = pd.read_parquet(path, columns=["arch_index", "inherited_valid_top1"])
        except (OSError, ValueError, KeyError) as error:
            raise InputError(
                f"{path}: damaged ({str(error).splitlines()[0]}); remove it and rank again"
            ) from None
        pairs = zip(rows["arch_index"], rows["inherited_valid_top1"], strict=True)
        return {int(index): float(accuracy) for index, accuracy in pairs}

    def write_ranking(self, table: pd.DataFrame) -> None:
        """Write the rows, which have the columns of `ranking_table`."""
        self._replace("ranking.parquet", lambda path: table.to_parquet(path, index=False))
        self._replace("ranking.csv", lambda path: table.to_csv(path, index=False))

    def _replace(self, name: str, write: Callable[[Path], object]) -> None:
        temporary = self.folder / f".{name}.{os.getpid()}.tmp"
        write(temporary)
        temporary.replace(self.folder / name)


def ranking_table(
    arguments: SupernetArguments,
    cells: Mapping[int, Mapping[str, Any]],
    inherited: Mapping[int, float],
    derived: int | None,
) -> pd.DataFrame:
    """The ranking, best first: ties go to fewer MACs, then to the lower index.

    Args:
        arguments: of the supernet.
        cells: arch_str, functional_key, params and macs of every cell, by its index.
        inherited: accuracies in [0, 1], by index.
        derived: the cell that the method itself came to; None selects the first row.
    """
    facts = {name: value for name, value in asdict(arguments).items() if name in COLUMNS}
    rows = [
        {**facts, "arch_index": index, **cells[index], "inherited_valid_top1": accuracy}
        for index, accuracy in inherited.items()
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    by = ["inherited_valid_top1", "macs", "arch_index"]
    table = table.sort_values(by, ascending=[False, True, True]).reset_index(drop=True)
    chosen = table.index == 0 if derived is None else table["arch_index"] == derived
    return table.assign(selected=chosen)


def format_ranking(table: pd.DataFrame, clips: int, top: int = 10) -> str:
    """The first `top` rows as text, with their noise over so many validation `clips`."""
    from tabulate import tabulate

    body = [
        [
            rank,
            row["arch_index"],
            row["arch_str"],
            f"{100 * row['inherited_valid_top1']:.1f} ± "
            f"{100 * wilson_error(row['inherited_valid_top1'], clips):.1f}",
            short_count(row["params"]),
            short_count(row["macs"]),
        ]
        for rank, row in enumerate(table.head(top).to_dict("records"), start=1)
    ]
    header = ["rank", "index", "architecture", "inherited valid %", "params", "MACs"]
    align = ("right", "right", "left", "right", "right", "right")
    return (
        f"Best {len(body)} of {len(table)} cells by validation top-1 with inherited weights "
        f"({clips} clips):\n{tabulate(body, header, colalign=align, disable_numparse=True)}\n"
        "± is the binomial standard error over clips. Inherited accuracies order cells; they do "
        "not foretell what a cell achieves."
    )


def _read(path: Path) -> SupernetArguments:
    try:
        return TypeAdapter(SupernetArguments).validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, ValidationError) as error:
        raise InputError(
            f"{path}: damaged ({str(error).splitlines()[0]}); restore it, or move the folder away"
        ) from None
