"""Networks of several runs side by side: what each costs, and how well it does over its seeds.

Nothing here chooses by test accuracy: of a search the best on validation are taken, of a run of
reference models all.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from nas_skeleton.errors import InputError
from nas_skeleton.results import schema
from nas_skeleton.results.leaderboard import NEEDED, run_leaderboard
from nas_skeleton.results.run import Run
from nas_skeleton.spaces import SearchSpace

COLUMNS = ("key", "best_test_top1", *NEEDED)
OF_NETWORKS = {"channels", "cells_per_stage", "dropout"}  # what recipes may differ in


@dataclass(frozen=True)
class Entry:
    """One network, trained with several seeds on one data set.

    Accuracies are top-1 in [0, 1], means over seeds with their standard deviation (None of one
    seed): after the last epoch on validation and test clips (`valid` is None where the protocol
    has no validation clips), and on test clips with the weights that were best on validation.
    `seeds` of `planned_seeds` are finished; the others diverged, failed or are missing.
    `train_time_s` is the mean.
    """

    dataset: str
    space: str
    arch_index: int
    name: str
    seeds: int
    planned_seeds: int
    valid: float | None
    valid_sd: float | None
    test: float
    test_sd: float | None
    best_test: float | None
    best_test_sd: float | None
    params: int
    macs: int
    train_time_s: float
    engines: tuple[str, ...]


@dataclass(frozen=True)
class Against:
    """A network against another one on the same data set.

    Attributes:
        difference: of mean test accuracies, first minus second, in [-1, 1].
        error: standard error of that over seeds; None where one has a single seed.
    """

    difference: float
    error: float | None


def entries(
    run: Run, keys: Collection[str], best: int | None = None, most_macs: float = math.inf
) -> list[Entry]:
    """Networks of a run of which at least one training is finished.

    Args:
        run: a run with any number of architectures and seeds.
        keys: of the trainings that count; the run may have others.
        best: how many, the best on validation; None: all, in the order of their index.
        most_macs: networks with more do not count.
    """
    rows = run.rows(COLUMNS)
    rows = rows[rows["key"].isin(set(keys)) & (rows["macs"] <= most_macs)]
    done = rows[rows["status"] == schema.DONE]
    if best is None:
        chosen = sorted(done["arch_index"].unique().tolist())
    else:
        chosen = run_leaderboard(run, rows).table["arch_index"].head(best).tolist()
    planned = len(run.arguments.seeds)
    found = []
    for index in chosen:
        own = done[done["arch_index"] == index]
        valid, valid_sd = _spread(own["final_valid_top1"])
        test, test_sd = _spread(own["final_test_top1"])
        best_test, best_test_sd = _spread(own["best_test_top1"])
        assert test is not None
        found.append(
            Entry(
                dataset=run.arguments.dataset,
                space=run.arguments.space,
                arch_index=int(index),
                name=str(own["arch_str"].iloc[0]),
                seeds=int(own["seed"].nunique()),
                planned_seeds=planned,
                valid=valid,
                valid_sd=valid_sd,
                test=test,
                test_sd=test_sd,
                best_test=best_test,
                best_test_sd=best_test_sd,
                params=int(own["params"].iloc[0]),
                macs=int(own["macs"].iloc[0]),
                train_time_s=float(own["train_time_s"].mean()),
                engines=tuple(sorted(set(own["engine"]))),
            )
        )
    return found


def against(first: Entry, second: Entry) -> Against | None:
    """How the first network does against the second; None where one of them lacks seeds."""
    if first.seeds < first.planned_seeds or second.seeds < second.planned_seeds:
        return None
    error = None
    if first.test_sd is not None and second.test_sd is not None:
        error = math.sqrt(first.test_sd**2 / first.seeds + second.test_sd**2 / second.seeds)
    return Against(first.test - second.test, error)


def check_alike(spaces: list[SearchSpace], recipe: str) -> None:
    """Nothing, if the recipe and the inputs mean the same in all spaces.

    What only networks of some kind have may differ, and what AS-GCN has to predict.

    Raises:
        InputError: they do not, or a card lacks the recipe.
    """
    if not spaces:
        return
    first = spaces[0].card
    for card in (space.card for space in spaces[1:]):
        for mine, other in (
            (first.recipe(recipe).model_dump(), card.recipe(recipe).model_dump()),
            (first.input.model_dump(), card.input.model_dump()),
        ):
            for field in sorted((mine.keys() & other.keys()) - OF_NETWORKS - {"future"}):
                if mine[field] != other[field]:
                    raise InputError(
                        f"recipe {recipe!r}: {field} is {mine[field]} in {first.name!r} and "
                        f"{other[field]} in {card.name!r}: a comparison needs the same"
                    )


def _spread(values: Any) -> tuple[float | None, float | None]:
    """Mean and standard deviation of a column; None where there is nothing to tell them by."""
    numbers = [value for value in values.tolist() if value is not None and value == value]
    if not numbers:
        return None, None
    mean = sum(numbers) / len(numbers)
    if len(numbers) == 1:
        return mean, None
    squares = sum((value - mean) ** 2 for value in numbers)
    return mean, math.sqrt(squares / (len(numbers) - 1))


def percent(mean: float | None, deviation: float | None) -> str:
    """`81.4 ± 1.9`."""
    if mean is None:
        return "n/a"
    return f"{100 * mean:.1f}" + ("" if deviation is None else f" ± {100 * deviation:.1f}")
