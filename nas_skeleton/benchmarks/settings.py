"""What is measured: the sizes of network and batch, as recipes.

The three named settings are the ones the program is tuned for; any recipe of a card is a setting
too. Nothing is measured here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nas_skeleton.spaces.card import SpaceCard
from nas_skeleton.spaces.recipe import Recipe

# Named settings: what they change in the card's default recipe.
NAMED: dict[str, dict[str, int]] = {
    "table": {"channels": 8, "cells_per_stage": 3, "frames": 16, "batch_size": 32},
    "c16n1": {"channels": 16, "cells_per_stage": 1, "frames": 32, "batch_size": 64},
    "c16n5": {"channels": 16, "cells_per_stage": 5, "frames": 32, "batch_size": 64},
}


@dataclass(frozen=True)
class Setting:
    """A recipe and what to call it."""

    name: str
    recipe: Recipe

    def __str__(self) -> str:
        recipe = self.recipe
        return (
            f"{self.name}: C={recipe.channels}, N={recipe.cells_per_stage}, {recipe.frames} "
            f"frames, batch {recipe.batch_size}"
        )


def choose_settings(
    card: SpaceCard, named: Sequence[str] = (), recipes: Sequence[str] = ()
) -> list[Setting]:
    """The settings called `named`, then the card's `recipes`; all of `NAMED` if both are empty.

    Raises:
        InputError: the card has no such recipe.
    """
    if not named and not recipes:
        named = list(NAMED)
    default = card.recipe()
    return [Setting(name, default.model_copy(update=NAMED[name])) for name in named] + [
        Setting(name, card.recipe(name)) for name in recipes
    ]
