"""The contract of a strategy."""

from __future__ import annotations

from abc import ABC, abstractmethod


class Strategy(ABC):
    """Proposes architectures and hears how good they were on **validation** clips.

    A strategy is deterministic: built with the same arguments and told the same values in the same
    order, it proposes the same architectures. It never sees test accuracies.
    """

    @abstractmethod
    def ask(self) -> int | None:
        """Index of the next architecture to train; None when there is nothing more to propose."""

    def tell(self, arch_index: int, valid_top1: float) -> None:  # noqa: B027 (not all learn)
        """Learn that `arch_index` reached `valid_top1` in [0, 1], the mean over its seeds."""
