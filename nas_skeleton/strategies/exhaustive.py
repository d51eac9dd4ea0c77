"""Exhaustive search: all architectures of a list, in its order."""

from __future__ import annotations

from collections.abc import Iterable

from nas_skeleton.strategies.base import Strategy, Trial


class Exhaustive(Strategy):
    """Proposes every one of `architectures` once: all of a space, or one per functional class."""

    learns = False

    def __init__(self, architectures: Iterable[int]) -> None:
        self._rest = iter(architectures)

    def ask(self) -> Trial | None:
        arch = next(self._rest, None)
        return None if arch is None else Trial(arch)
