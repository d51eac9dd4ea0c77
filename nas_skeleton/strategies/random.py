"""Random search: every architecture equally likely, none twice."""

from __future__ import annotations

import random

from nas_skeleton.strategies.base import Strategy


class Random(Strategy):
    """Draws from `size` architectures without replacement.

    The first proposals do not depend on how many follow: a longer search continues a shorter one.
    """

    def __init__(self, size: int, seed: int) -> None:
        self._order = iter(random.Random(f"random search {seed}").sample(range(size), size))

    def ask(self) -> int | None:
        return next(self._order, None)
