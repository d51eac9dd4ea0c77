"""What trainings of one recipe observed: right or wrong, for every cell, seed and clip.

Reads runs, and joins the folds of a cross-validation to one. What the numbers say is the business
of `reliability` and `top`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas_skeleton.errors import InputError
from nas_skeleton.results import schema, store
from nas_skeleton.results.run import Run, open_run, run_names
from nas_skeleton.results.schema import HELD_OUT
from nas_skeleton.spaces.cell import parse_arch
from nas_skeleton.spaces.liveness import ignores_input

_IDENTITY = ("arch_index", "functional_key", "macs")
_COLUMNS = (*_IDENTITY, "arch_str", "seed", "status", "epochs", "train_time_s")


@dataclass(frozen=True)
class Observations:
    """All cells that are finished with every seed, A of them, in the order of their indices.

    An observation is one training, or one of each fold.

    Attributes:
        name: the run, or the pattern of runs that were joined.
        recipe: its name.
        protocol: its name; of folds those of all, joined by "+".
        folds: trainings behind one observation.
        seeds: S of them.
        archs: `(A,)` indices.
        classes: `(A,)` functional keys.
        macs: `(A,)` multiply-accumulates of one clip.
        seconds: `(A, S)` of training, the sum over folds: by the clock, whatever else ran.
        work: `(A,)` multiply-accumulates of all forward passes of a training and its evaluations,
            the sum over folds; without those that only estimate running statistics.
        hits: by split "valid" and "test" `(A, S, clips)`: whether a clip was classified rightly
            after the last epoch. Clips of folds stand one behind the other.
        unconnected: cells that were left out because their output does not depend on the input.
        unfinished: cells that were left out because some seed or fold is not finished.
        diverged: trainings that diverged, of those cells.
    """

    name: str
    recipe: str
    protocol: str
    folds: int
    seeds: tuple[int, ...]
    archs: NDArray[np.int64]
    classes: NDArray[np.str_]
    macs: NDArray[np.int64]
    seconds: NDArray[np.float64]
    work: NDArray[np.float64]
    hits: dict[str, NDArray[np.bool_]]
    unconnected: int = 0
    unfinished: int = 0
    diverged: int = 0

    def __len__(self) -> int:
        """How many cells."""
        return len(self.archs)

    @cached_property
    def accuracy(self) -> dict[str, NDArray[np.float64]]:
        """By split `(A, S)` shares of clips; a split without clips is absent."""
        return {split: hits.mean(axis=2) for split, hits in self.hits.items() if hits.shape[2]}

    def trainings(self) -> pd.DataFrame:
        """One row per cell and seed: run, arch_index, seed, {valid,test}_top1, seconds, macs."""
        archs, seeds = np.repeat(self.archs, len(self.seeds)), np.tile(self.seeds, len(self))
        return pd.DataFrame(
            {"run": self.name, "arch_index": archs, "seed": seeds}
            | {f"{split}_top1": shares.ravel() for split, shares in self.accuracy.items()}
            | {"seconds": self.seconds.ravel(), "macs": np.repeat(self.macs, len(self.seeds))}
        )

    def of_cells(self, archs: Collection[int]) -> Observations:
        """The same of those cells that are among `archs`."""
        kept = np.isin(self.archs, list(archs))
        return replace(
            self,
            archs=self.archs[kept],
            classes=self.classes[kept],
            macs=self.macs[kept],
            seconds=self.seconds[kept],
            work=self.work[kept],
            hits={split: hits[kept] for split, hits in self.hits.items()},
        )


def observe(name: str, *, unconnected: bool = False) -> Observations:
    """The observations of a run, or of all runs that match a pattern with `*`, as folds of one.

    Args:
        name: of a run in the working folder, or the pattern.
        unconnected: whether cells whose output does not depend on the input count. All of them are
            equally bad, which makes everything look more reliable than it is among the others.

    Raises:
        InputError: no such run, or runs that are not folds of one thing.
    """
    runs = [open_run(name)] if "*" not in name else _matching(name)
    first = runs[0].arguments
    seeds = [s for s in first.seeds if all(s in run.arguments.seeds for run in runs)]
    folds = [_Fold.read(run, seeds, unconnected) for run in runs]
    archs = sorted(set.intersection(*(set(fold.archs) for fold in folds)))
    seen = set.union(*(set(fold.known) for fold in folds))
    identity = folds[0].known
    macs = np.array([identity[arch][1] for arch in archs], dtype=np.int64)
    return Observations(
        name=name,
        recipe=first.recipe,
        protocol="+".join(run.arguments.protocol for run in runs),
        folds=len(runs),
        seeds=tuple(seeds),
        archs=np.array(archs, dtype=np.int64),
        classes=np.array([identity[arch][0] for arch in archs], dtype=np.str_),
        macs=macs,
        seconds=np.sum([fold.seconds_of(archs) for fold in folds], axis=0),
        work=macs.astype(np.float64) * sum(fold.clip_passes for fold in folds),
        hits={
            split: np.concatenate([fold.hits_of(split, archs) for fold in folds], axis=2)
            for split in HELD_OUT
        },
        unconnected=len(set.union(*(fold.unconnected for fold in folds))),
        unfinished=len(seen) - len(archs),
        diverged=sum(fold.diverged for fold in folds),
    )


def _matching(pattern: str) -> list[Run]:
    """The runs that match, if they are folds: alike but for the protocol, no test clip twice."""
    runs = [open_run(name) for name in run_names() if fnmatchcase(name, pattern)]
    if len(runs) < 2:
        raise InputError(
            f"{pattern!r} matches {len(runs)} runs: a pattern joins the folds of a "
            "cross-validation, a run each"
        )
    first = runs[0]
    tested = list[str]()
    for run in runs:
        for field in ("space", "dataset", "modality", "recipe_hash"):
            mine, other = getattr(run.arguments, field), getattr(first.arguments, field)
            if mine != other:
                raise InputError(
                    f"{pattern!r}: {field} of {run.name!r} is {mine!r}, of {first.name!r} "
                    f"{other!r}: they are not folds of one thing"
                )
        tested += run.data.splits["test"].ids
    if len(set(tested)) < len(tested):
        raise InputError(
            f"{pattern!r}: some clips are tested in more than one of its {len(runs)} runs, so they "
            "are not the folds of a cross-validation"
        )
    return runs


@dataclass(frozen=True)
class _Fold:
    """What one run has of the cells that are finished with all seeds.

    `known` has functional key and MACs of all its cells that may count, finished or not;
    `clip_passes` is how many clips go through a network in all its epochs and evaluations;
    `seconds` are by cell and seed, `predicted` by split, cell and seed.
    """

    run: Run
    seeds: Sequence[int]
    known: dict[int, tuple[str, int]]
    archs: list[int]
    unconnected: set[int]
    diverged: int
    clip_passes: int
    seconds: dict[tuple[int, int], float]
    predicted: dict[str, dict[tuple[int, int], NDArray[np.int16]]]

    @classmethod
    def read(cls, run: Run, seeds: Sequence[int], unconnected: bool) -> _Fold:
        rows = run.rows([*_COLUMNS, store.FILE, store.ROW])
        rows = rows[rows["seed"].isin(seeds)]
        cells = rows.drop_duplicates("arch_index")
        strings = zip(cells["arch_index"].tolist(), cells["arch_str"].tolist(), strict=True)
        out = set() if unconnected else {arch for arch, text in strings if _unconnected(text)}
        rows = rows[~rows["arch_index"].isin(out)]
        identity = zip(*(rows[name].tolist() for name in _IDENTITY), strict=True)
        known = {arch: (key, macs) for arch, key, macs in identity}
        done = rows[rows["status"] == schema.DONE]
        counts = done["arch_index"].value_counts()
        archs = sorted(counts.index[counts == len(seeds)].tolist())
        done = done[done["arch_index"].isin(archs)]
        pairs = _pairs(done)
        predicted: dict[str, dict[tuple[int, int], NDArray[np.int16]]] = {s: {} for s in HELD_OUT}
        evaluations = 0
        for part, details in store.read_details(run.results_folder, done):
            for pair, (curve, *packed) in zip(_pairs(part), details, strict=True):
                evaluations = evaluations or len(json.loads(curve))
                for split, blob in zip(HELD_OUT, packed, strict=True):
                    predicted[split][pair] = store.unpack_predictions(blob)
        seconds = dict(zip(pairs, done["train_time_s"].tolist(), strict=True))
        diverged = int((rows["status"] == schema.DIVERGED).sum())
        splits = {split: len(clips.ids) for split, clips in run.data.splits.items()}
        epochs = int(done["epochs"].max()) if pairs else 0
        passes = epochs * splits["train"] + evaluations * sum(splits.values())
        return cls(run, seeds, known, archs, out, diverged, passes, seconds, predicted)

    def seconds_of(self, archs: Sequence[int]) -> NDArray[np.float64]:
        """`(A, S)`."""
        found = [[self.seconds[arch, seed] for seed in self.seeds] for arch in archs]
        return np.array(found, dtype=np.float64).reshape(len(archs), len(self.seeds))

    def hits_of(self, split: str, archs: Sequence[int]) -> NDArray[np.bool_]:
        """`(A, S, clips)`."""
        labels = np.array(self.run.data.splits[split].labels, dtype=np.int16)
        hits = np.zeros((len(archs), len(self.seeds), len(labels)), dtype=np.bool_)
        for at, arch in enumerate(archs):
            for of_seed, seed in zip(hits[at], self.seeds, strict=True):
                of_seed[:] = self.predicted[split][arch, seed] == labels
        return hits


def _pairs(rows: pd.DataFrame) -> list[tuple[int, int]]:
    return list(zip(rows["arch_index"].tolist(), rows["seed"].tolist(), strict=True))


def _unconnected(arch: str) -> bool:
    """Whether it is a cell, and no reference model, that does not look at its input."""
    return arch.startswith("|") and ignores_input(parse_arch(arch))
