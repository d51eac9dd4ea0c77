"""What identifies a training. No torch in this module: strategies and stores use it too."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Job:
    """One training: this architecture, on this data, by this recipe, with this seed.

    `fingerprint` names the prepared clips, their split and their A-links, if the card has them
    (`training.aim.clips_fingerprint`),
    `recipe_hash` all that the card says about input, stem, macro skeleton and recipe
    (`SpaceCard.recipe_hash`). The names of space, data set and recipe are part of the key too,
    because tables are kept by name.

    `until` is no part of the identity: after how many epochs the training pauses, to be continued
    from its checkpoint by a job that goes further; None trains to the end.
    """

    space: str
    arch_index: int
    dataset: str
    fingerprint: str
    protocol: str
    recipe: str
    recipe_hash: str
    seed: int
    until: int | None = None

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
