"""Strategies by name, as `--strategy` asks for them; a library is imported when it is needed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial

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


def _tpe(setting: Setting) -> Strategy:
    from nas_skeleton.strategies.optuna_samplers import tpe

    return tpe(setting)


def _tpe_wilcoxon(setting: Setting) -> Strategy:
    from nas_skeleton.strategies.optuna_samplers import tpe_wilcoxon

    return tpe_wilcoxon(setting)


def _nsga2(setting: Setting) -> Strategy:
    from nas_skeleton.strategies.optuna_samplers import nsga2

    return nsga2(setting, against="macs")


def _nsga2_latency(setting: Setting) -> Strategy:
    from nas_skeleton.strategies.optuna_samplers import nsga2

    return nsga2(setting, against="latency_ms")


def _gp(setting: Setting) -> Strategy:
    from nas_skeleton.strategies.optuna_samplers import gp

    return gp(setting)


def _from_nni(name: str, setting: Setting) -> Strategy:
    from nas_skeleton.strategies.nni_exploration import nni_strategy

    return nni_strategy(name, setting)


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
    "tpe": _tpe,
    "tpe-wilcoxon": _tpe_wilcoxon,
    "nsga2": _nsga2,
    "nsga2-latency": _nsga2_latency,
    "gp": _gp,
}
QUICK = (  # what takes milliseconds of its own for a whole search
    *("random", "regularized-evolution", "regularized-evolution-nats", "local-search"),
    *("reinforce", "bananas", "successive-halving", "hyperband", "asha", "bohb"),
)
ANY_SAMPLER = ("optuna:", "optunahub:")  # how names begin that `optuna_samplers.any_sampler` knows
# NNI's own: for real trainings, not for thousands of proposals.
FROM_NNI = {name: partial(_from_nni, name) for name in ("nni-evolution", "nni-rl", "nni-tpe")}
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
OF_OPTUNA = {"tpe", "tpe-wilcoxon", "nsga2", "nsga2-latency", "gp"}
SEVERAL_SEEDS = {"tpe-wilcoxon"}


def check_known(name: str) -> None:
    """Nothing, if there is a strategy called `name`.

    Raises:
        InputError: there is none.
    """
    if name not in STRATEGIES | FROM_NNI and not name.startswith(ANY_SAMPLER):
        known = ", ".join((*STRATEGIES, *FROM_NNI, "optuna:[MODULE:]CLASS", "optunahub:PACKAGE"))
        raise InputError(f"unknown --strategy {name!r}: known are {known}")


def build_strategy(name: str, setting: Setting) -> Strategy:
    """The strategy called `name`.

    Raises:
        InputError: there is none, or it cannot work in this setting.
    """
    from nas_skeleton.spaces import CellSpace

    check_known(name)
    if has_study(name) and importlib.util.find_spec("optuna") is None:
        raise InputError(f"--strategy {name} needs Optuna: pip install optuna")
    if name.startswith(ANY_SAMPLER):
        from nas_skeleton.strategies.optuna_samplers import any_sampler

        return any_sampler(name, setting)
    if (name in ON_CELLS or name in FROM_NNI) and not isinstance(setting.space, CellSpace):
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
    if name in SEVERAL_SEEDS and setting.seeds == 1:
        raise InputError(
            f"--strategy {name} compares architectures seed by seed, and there is one seed: give "
            "several, such as --seeds 777,888,999, or choose --strategy tpe"
        )
    return (STRATEGIES | FROM_NNI)[name](setting)


def learns(name: str) -> bool:
    """Whether the strategy called `name` makes use of results, see `Strategy.learns`."""
    return name not in PLANNED


def has_study(name: str) -> bool:
    """Whether the strategy called `name` is a study of Optuna, which can be exported."""
    return name in OF_OPTUNA or name.startswith(ANY_SAMPLER)
