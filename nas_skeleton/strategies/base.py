"""The contract of a strategy: ask and tell.

What trains, and on what, is no business of a strategy: `search.Search` counts what its proposals
cost and keeps results in the order of proposals, `scheduling` trains them, and `analysis.replay`
looks them up in a finished table instead. Whoever does it, a strategy hears of **validation** clips
only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nas_skeleton.spaces import SearchSpace


@dataclass(frozen=True)
class Trial:
    """A proposal: train this architecture, so far, with these seeds.

    Attributes:
        arch_index: the architecture.
        epochs: after how many epochs of its training it is looked at, one of `Setting.epochs`;
            None: after the last. The training may be continued later by a further trial.
        seed: position in the list of training seeds, 0 for the first; None: all of them.
    """

    arch_index: int
    epochs: int | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Result:
    """What a strategy hears of a trial.

    Attributes:
        valid_top1: top-1 on validation clips in [0, 1], of several seeds the mean, in which a
            training that diverged or failed counts as 0.
        macs: multiply-accumulates of one clip; None where they are not known.
        latency_ms: milliseconds of one clip; None where they are not known.
    """

    valid_top1: float
    macs: int | None = None
    latency_ms: float | None = None


@dataclass(frozen=True)
class Setting:
    """What a strategy knows before it begins.

    Attributes:
        space: the architectures.
        seed: of everything the strategy draws.
        epochs: ascending, after how many epochs a training can be looked at; the last is its end.
        seeds: how many training seeds there are.
        trials: the budget, in trainings of all epochs with all seeds; None if there is no limit.
    """

    space: SearchSpace
    seed: int
    epochs: tuple[int, ...] = (1,)
    seeds: int = 1
    trials: int | None = None


class Strategy(ABC):
    """Proposes trials and hears how good they were on validation clips.

    A strategy is deterministic: built with the same arguments, and told the same results between
    the same asks, it proposes the same trials. It may be asked several times before it is told
    anything; it is told in the order it proposed. It draws from a generator of its own.

    Attributes:
        learns: whether what it is told changes what it proposes. The trials of one that does not
            can be planned beforehand, and divided among machines.
        looks: after which epochs, before the last, its trials look at a training.
    """

    learns: bool = True
    looks: tuple[int, ...] = ()

    @abstractmethod
    def ask(self) -> Trial | None:
        """The next trial; None while it has to hear results first, or when there is none left.

        Asked for more than it can tell apart by now, a strategy repeats itself rather than wait:
        repeated trials cost nothing.
        """

    def tell(self, trial: Trial, result: Result) -> None:  # noqa: B027 (not all learn)
        """Learn what became of a trial that `ask` returned."""
