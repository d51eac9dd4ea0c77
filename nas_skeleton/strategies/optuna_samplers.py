"""Samplers of Optuna by name: this project's own settings, and any class there is.

How a sampler becomes a strategy is in `optuna_search`.
"""

from __future__ import annotations

import importlib
import inspect
import random
from types import ModuleType
from typing import TypeGuard

from optuna import samplers
from optuna.samplers import BaseSampler

from nas_skeleton.errors import InputError
from nas_skeleton.strategies.base import Setting
from nas_skeleton.strategies.optuna_search import Cost, OptunaSearch, WilcoxonSearch, quiet


def tpe(setting: Setting) -> OptunaSearch:
    """Tree-structured Parzen estimators: Bergstra et al., NeurIPS 2011, over all edges at once.

    Optuna's settings: the first 10 proposals are random; 24 candidates a proposal; proposals
    without a result count as bad (constant liar), so that those under way at once differ.
    """
    return OptunaSearch(setting.space, _tpe(setting))


def tpe_wilcoxon(setting: Setting) -> WilcoxonSearch:
    """`tpe` that spends further seeds on what may be the best, see `WilcoxonSearch`."""
    return WilcoxonSearch(setting.space, _tpe(setting), setting.seeds)


def nsga2(setting: Setting, against: Cost) -> OptunaSearch:
    """NSGA-II (Deb et al., 2002): the best trade-offs between accuracy and a cost.

    Optuna's settings: generations of 50, the first one random: a search of fewer proposals is a
    random search. Crossover 0.9; one edge in six mutates.
    """
    with quiet():
        sampler = samplers.NSGAIISampler(seed=_sampler_seed(setting))
    return OptunaSearch(setting.space, sampler, against=against)


def gp(setting: Setting) -> OptunaSearch:
    """A Gaussian process with expected improvement; for up to some 500 proposals.

    A proposal takes 0.1 to 1 s, more the more there were. It repeats itself often once it knows a
    good architecture; a repeated proposal is followed by a random new one. Needs scipy and torch.
    Rounding differs between machines, and proposals with it.
    """
    with quiet():
        sampler = samplers.GPSampler(seed=_sampler_seed(setting))
    return OptunaSearch(setting.space, sampler, fresh=random.Random(f"gp {setting.seed}"))


def any_sampler(name: str, setting: Setting) -> OptunaSearch:
    """The strategy `optuna:[MODULE:]CLASS` or `optunahub:PACKAGE[:CLASS]`.

    Without MODULE it is a class of `optuna.samplers`; without CLASS, the only sampler of the
    package, whose code the library optunahub downloads from GitHub, once, and runs. The sampler is
    made with a seed where it takes one, and else as it comes. CMA-ES and quasi Monte Carlo know
    numbers only: they draw choices at random.

    Raises:
        InputError: there is no such sampler, or it takes more than a seed to make it.
    """
    library, _, what = name.partition(":")
    if library == "optunahub":
        package, _, class_name = what.partition(":")
        module = _hub_package(name, package)
        class_name = class_name or _only_sampler(name, module)
    else:
        module_name, _, class_name = what.rpartition(":")
        module = _module(name, module_name or samplers.__name__)
    found = getattr(module, class_name, None)
    if not _is_sampler(found):
        raise InputError(
            f"--strategy {name}: {module.__name__} has no {class_name!r} that is a subclass of "
            "optuna.samplers.BaseSampler"
        )
    return OptunaSearch(setting.space, _made(name, found, _sampler_seed(setting)))


def _sampler_seed(setting: Setting) -> int:
    """32 bits, as numpy's generators want them."""
    return random.Random(f"optuna {setting.seed}").getrandbits(32)


def _tpe(setting: Setting) -> BaseSampler:
    with quiet():
        return samplers.TPESampler(
            seed=_sampler_seed(setting), multivariate=True, constant_liar=True
        )


def _is_sampler(found: object) -> TypeGuard[type[BaseSampler]]:
    return isinstance(found, type) and issubclass(found, BaseSampler)


def _module(name: str, module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(f"--strategy {name}: cannot import {module!r}: {_line(error)}") from None


def _hub_package(name: str, package: str) -> ModuleType:
    try:
        hub = importlib.import_module("optunahub")
    except ImportError:
        raise InputError(
            f"--strategy {name} needs OptunaHub, which downloads the sampler's code from GitHub "
            "and runs it here: pip install optunahub, if that is what you want"
        ) from None
    try:
        found: ModuleType = hub.load_module(package)
    except Exception as error:  # of git, the network, or the code that came
        raise InputError(
            f"--strategy {name}: cannot load {package!r} from OptunaHub: {_line(error)}"
        ) from None
    return found


def _only_sampler(name: str, module: ModuleType) -> str:
    public: list[str] = getattr(module, "__all__", dir(module))
    found = [attribute for attribute in public if _is_sampler(getattr(module, attribute, None))]
    if len(found) != 1:
        raise InputError(
            f"--strategy {name}: the package has {len(found)} samplers"
            f"{''.join(f', {one}' for one in found)}: choose with {name}:CLASS"
        )
    return found[0]


def _made(name: str, sampler: type[BaseSampler], seed: int) -> BaseSampler:
    signature = inspect.signature(sampler)
    seeded = {"seed": seed} if "seed" in signature.parameters else {}
    try:
        signature.bind(**seeded)
    except TypeError as error:
        raise InputError(
            f"--strategy {name}: {error}: name a subclass that is made of a seed alone"
        ) from None
    with quiet():
        return sampler(**seeded)


def _line(error: Exception) -> str:
    """Its text in one line, or what it is."""
    return " ".join(str(error).split()) or type(error).__name__
