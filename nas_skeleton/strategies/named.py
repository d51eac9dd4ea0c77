"""Strategies by name, as `--strategy` asks for them; a library is imported when it is needed."""

from __future__ import annotations

from collections.abc import Callable

from nas_skeleton.errors import InputError
from nas_skeleton.strategies.asha import Asha
from nas_skeleton.strategies.base import Setting, Strategy
from nas_skeleton.strategies.exhaustive import Exhaustive
from nas_skeleton.strategies.hyperband import Hyperband
from nas_skeleton.strategies.random import Random
from nas_skeleton.strategies.rungs import hyperband_brackets, rung_epochs


def _random(setting: Setting) -> Strategy:
    return Random(len(setting.space), setting.seed)


def _exhaustive(setting: Setting) -> Strategy:
    return Exhaustive(range(len(setting.space)))


def _regularized_evolution(setting: Setting) -> Strategy:
    from nas_skeleton.strategies.evolution import RegularizedEvolution, uniform_edge

    return RegularizedEvolution(setting.seed, uniform_edge)


def _regularized_evolution_nats(setting: Setting) -> Strategy:
    from nas_skeleton.strategies.evolution import RegularizedEvolution, edge_of_uniform_node

    return RegularizedEvolution(setting.seed, edge_of_uniform_node)


def _reinforce(setting: Setting) -> Strategy:
    from nas_skeleton.strategies.reinforce import Reinforce

    return Reinforce(setting.seed)


def _local_search(setting: Setting) -> Strategy:
    from nas_skeleton.strategies.local import LocalSearch

    return LocalSearch(setting.seed)


def _bananas(setting: Setting) -> Strategy:
    from nas_skeleton.strategies.bananas import Bananas

    return Bananas(setting.seed)


def _successive_halving(setting: Setting) -> Strategy:
    first, *_ = hyperband_brackets(rung_epochs(setting.epochs), len(setting.space))
    return Hyperband([first], len(setting.space), setting.seed)


def _hyperband(setting: Setting) -> Strategy:
    brackets = hyperband_brackets(rung_epochs(setting.epochs), len(setting.space))
    return Hyperband(brackets, len(setting.space), setting.seed)


def _asha(setting: Setting) -> Strategy:
    return Asha(rung_epochs(setting.epochs), len(setting.space), setting.seed)


def _bohb(setting: Setting) -> Strategy:
    from nas_skeleton.strategies.bohb import Bohb

    brackets = hyperband_brackets(rung_epochs(setting.epochs), len(setting.space))
    return Bohb(brackets, setting.seed)


STRATEGIES: dict[str, Callable[[Setting], Strategy]] = {
    "random": _random,
    "exhaustive": _exhaustive,
    "regularized-evolution": _regularized_evolution,
    "regularized-evolution-nats": _regularized_evolution_nats,
    "reinforce": _reinforce,
    "local-search": _local_search,
    "bananas": _bananas,
    "successive-halving": _successive_halving,
    "hyperband": _hyperband,
    "asha": _asha,
    "bohb": _bohb,
}
QUICK = (  # what takes milliseconds of its own for a whole search
    *("random", "regularized-evolution", "regularized-evolution-nats", "local-search"),
    *("reinforce", "bananas", "successive-halving", "hyperband", "asha", "bohb"),
)
PLANNED = {"random", "exhaustive"}  # what does not learn
ON_CELLS = {
    "regularized-evolution",
    "regularized-evolution-nats",
    "reinforce",
    "local-search",
    "bananas",
    "bohb",
}
STOPS_EARLY = {"successive-halving", "hyperband", "asha", "bohb"}


def build_strategy(name: str, setting: Setting) -> Strategy:
    """The strategy called `name`.

    Raises:
        InputError: there is none, or it cannot work in this setting.
    """
    from nas_skeleton.spaces import CellSpace

    if name not in STRATEGIES:
        raise InputError(f"unknown --strategy {name!r}: known are {', '.join(STRATEGIES)}")
    if name in ON_CELLS and not isinstance(setting.space, CellSpace):
        raise InputError(
            f"--strategy {name} works on the edges of cells, and space {setting.space.name!r} has "
            "reference models: choose another --space, or --strategy random"
        )
    if name in STOPS_EARLY and len(setting.epochs) == 1:
        raise InputError(
            f"--strategy {name} stops bad trainings early, and these are only looked at after "
            f"epoch {setting.epochs[0]}, their last: choose a --recipe with a smaller "
            "evaluate_every, or another --strategy"
        )
    return STRATEGIES[name](setting)


def learns(name: str) -> bool:
    """Whether the strategy called `name` makes use of results, see `Strategy.learns`."""
    return name not in PLANNED
