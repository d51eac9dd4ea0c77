"""Recipes side by side: the same cells, what each recipe's accuracies are worth, and the cost."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nas_skeleton.analysis.agreement import LEAST_CELLS
from nas_skeleton.analysis.observations import Observations
from nas_skeleton.analysis.reliability import Agreed, Estimate, Signal, Worth, agree, worth
from nas_skeleton.analysis.top import TopTests, top_tests
from nas_skeleton.errors import InputError
from nas_skeleton.results.schema import HELD_OUT


@dataclass(frozen=True)
class ComparedRecipe:
    """A recipe among others.

    Attributes:
        label: as short a name as tells it apart.
        observed: its trainings of the cells that all recipes have.
        worth: what they are worth.
        top: the best cells against the best; None without validation clips.
        agreed: by split how it agrees with the recipe to compare with, on all cells both have.
    """

    label: str
    observed: Observations
    worth: Worth
    top: TopTests | None
    agreed: dict[str, Agreed | None]

    @property
    def seconds_needed(self) -> float | None:
        """Per cell, for the wanted reliability on validation and test; infinite without signal.

        The number of seeds is a real one, so that recipes compare smoothly. None with one seed.
        """
        needed = self.worth.trainings
        return needed.value * self.worth.seconds if needed else None

    @property
    def macs_needed(self) -> float | None:
        """As `seconds_needed`, of forward passes: whatever else the machine was at."""
        needed = self.worth.trainings
        return needed.value * self.worth.work if needed else None

    @property
    def whole_seconds_needed(self) -> float | None:
        """As `seconds_needed`, with whole seeds, at least one."""
        needed = self.worth.trainings
        if needed is None or math.isinf(needed.value):
            return self.seconds_needed
        return max(1, math.ceil(needed.value)) * self.worth.seconds

    def facts(self) -> dict[str, Any]:
        """All there is to know, flat: a row of a table. None where something is not known."""
        worth, one, top = self.worth, self.observed, self.top
        facts: dict[str, Any] = {
            "recipe": one.recipe,
            "run": one.name,
            "protocol": one.protocol,
            "folds": one.folds,
            "cells": worth.cells,
            "seeds": len(one.seeds),
            "diverged": one.diverged,
            "seconds": worth.seconds,
            "forward_macs": worth.work,
            "best_on_valid_test": worth.best_test,
            **_estimate("seeds_needed", worth.trainings),
            "seconds_needed": _finite(self.seconds_needed),
            "forward_macs_needed": _finite(self.macs_needed),
            "seconds_needed_whole_seeds": _finite(self.whole_seconds_needed),
        }
        for split in HELD_OUT:
            facts |= _of_split(worth.signals.get(split), split)
        facts |= _estimate("tau_valid_test", worth.valid_test)
        facts |= _estimate("tau_valid_test_of_means", worth.valid_test_of_means)
        for split, agreed in self.agreed.items():
            facts[f"{split}_against_cells"] = agreed.cells if agreed else None
            facts |= _estimate(f"{split}_against_tau", agreed.tau if agreed else None)
            facts[f"{split}_against_tau_corrected"] = agreed.corrected if agreed else None
        facts["top_compared"] = top.compared if top else None
        tests = {"networks": top.networks, "cells": top.cells} if top else {}
        for what in ("networks", "cells"):
            apart = tests.get(what)
            facts[f"top_{what}_chosen_with"] = _listed(apart.chosen_with) if apart else None
            facts[f"top_{what}_tested_with"] = _listed(apart.tested_with) if apart else None
            facts[f"top_{what}_worse"] = apart.worse if apart else None
            facts[f"top_{what}_better"] = apart.better if apart else None
        return facts


def compare_recipes(
    observed: Sequence[Observations],
    other: Observations | None = None,
    *,
    wanted: float = 0.9,
    top: int = 100,
    advance: Callable[[], None] = lambda: None,
) -> list[ComparedRecipe]:
    """Recipes on the cells that all of them have, the fewest seconds for their reliability first.

    Args:
        observed: of each recipe.
        other: of a recipe to compare each with.
        wanted: reliability of means over seeds to reach, in (0, 1).
        top: cells to tell from the best, the best included.
        advance: called after each recipe.

    Raises:
        InputError: they have fewer than three cells in common.
    """
    shared = set.intersection(*(set(one.archs.tolist()) for one in observed))
    if len(shared) < LEAST_CELLS:
        fewest = min(observed, key=len)
        raise InputError(
            f"{len(shared)} cells are finished in all of these runs, and {LEAST_CELLS} are needed: "
            f"{fewest.name!r} has {len(fewest)} with all its seeds"
        )
    rows = []
    for label, every in zip(_labels(observed), observed, strict=True):
        one = every.of_cells(shared)
        agreed = {
            split: agree(every, other, split) if other and other.name != one.name else None
            for split in HELD_OUT
        }
        rows.append(ComparedRecipe(label, one, worth(one, wanted), top_tests(one, top), agreed))
        advance()
    return sorted(rows, key=_rank)


def _rank(row: ComparedRecipe) -> float:
    """What is not known comes last."""
    return math.inf if row.seconds_needed is None else row.seconds_needed


def _labels(observed: Sequence[Observations]) -> list[str]:
    """As short a name for each as tells them apart."""
    short = [one.recipe for one in observed]
    longer = [
        f"{one.recipe}, " + (f"{one.folds} folds" if one.folds > 1 else one.protocol)
        for one in observed
    ]
    for labels in (short, longer):
        if max(Counter(labels).values()) == 1:
            return labels
    return [one.name for one in observed]


def _of_split(signal: Signal | None, split: str) -> dict[str, Any]:
    spread = signal.within_class if signal else None
    return {
        f"{split}_clips": signal.clips if signal else 0,
        f"{split}_mean": signal.mean if signal else None,
        **_estimate(f"{split}_icc", signal.single if signal else None),
        f"{split}_reliability_of_mean": signal.mean_of_seeds if signal else None,
        **_estimate(f"{split}_seeds_needed", signal.trainings if signal else None),
        **_estimate(f"{split}_tau_seeds", signal.between_seeds if signal else None),
        f"{split}_seed_sd": signal.seed_sd if signal else None,
        f"{split}_shared_sd": signal.shared_sd if signal else None,
        **_estimate(f"{split}_icc_better_half", signal.better_half if signal else None),
        f"{split}_clip_error": signal.clip_error if signal else None,
        f"{split}_within_class_sd": spread.sd if spread else None,
        f"{split}_within_class_members": spread.members if spread else 0,
        f"{split}_within_classes": spread.classes if spread else 0,
    }


def _estimate(name: str, found: Estimate | None) -> dict[str, float | None]:
    values = (found.value, found.low, found.high) if found else (None,) * 3
    return {
        f"{name}{end}": _finite(value)
        for end, value in zip(("", "_low", "_high"), values, strict=True)
    }


def _listed(seeds: Sequence[int]) -> str:
    return ",".join(map(str, seeds))


def _finite(value: float | None) -> float | None:
    """The value, None where there is none or no end of it."""
    return value if value is not None and math.isfinite(value) else None
