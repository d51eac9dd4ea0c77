"""What identifies a training. No torch in this module: strategies and stores use it too."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Job:
    """One training: this architecture, on this data, by this recipe, with this seed.

    `fingerprint` names the prepared clips and their split, `recipe_hash` everything the card says about stem, macro
    skeleton and recipe. `space` and `recipe` are names for people and not part of the identity of
    what is trained, but they are part of its key, because tables are kept per space and recipe.
    """

    space: str
    arch_index: int
    dataset: str
    fingerprint: str
    protocol: str
    recipe: str
    recipe_hash: str
    seed: int

    @property
    def key(self) -> str:
        """32 hex digits; equal keys mean the same training."""
        parts = (
            self.space,
            self.arch_index,
            self.dataset,
            self.fingerprint,
            self.protocol,
            self.recipe,
            self.recipe_hash,
            self.seed,
        )
        return hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()[:32]
