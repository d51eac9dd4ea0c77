"""Random search: every architecture equally likely, none twice."""

from __future__ import annotations

import random

from nas_skeleton.strategies.base import Strategy, Trial


class Random(Strategy):
    """Draws from `size` architectures without replacement.

    The first proposals do not depend on how many follow: a longer search continues a shorter one.
    """

    learns = False

    def __init__(self, size: int, seed: int) -> None:
        self._order = iter(random.Random(f"random search {seed}").sample(range(size), size))

    def ask(self) -> Trial | None:
        arch = next(self._order, None)
        return None if arch is None else Trial(arch)
