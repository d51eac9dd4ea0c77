"""Strategies by name, as `--strategy` asks for them; a library is imported when it is needed."""

from __future__ import annotations

from collections.abc import Callable

from nas_skeleton.errors import InputError
from nas_skeleton.strategies.base import Setting, Strategy
from nas_skeleton.strategies.exhaustive import Exhaustive
from nas_skeleton.strategies.random import Random


def _random(setting: Setting) -> Strategy:
    return Random(len(setting.space), setting.seed)


def _exhaustive(setting: Setting) -> Strategy:
    return Exhaustive(range(len(setting.space)))


STRATEGIES: dict[str, Callable[[Setting], Strategy]] = {
    "random": _random,
    "exhaustive": _exhaustive,
}
PLANNED = {"random", "exhaustive"}  # what does not learn


def build_strategy(name: str, setting: Setting) -> Strategy:
    """The strategy called `name`.

    Raises:
        InputError: there is none, or it cannot work in this setting.
    """
    if name not in STRATEGIES:
        raise InputError(f"unknown --strategy {name!r}: known are {', '.join(STRATEGIES)}")
    return STRATEGIES[name](setting)


def learns(name: str) -> bool:
    """Whether the strategy called `name` makes use of results, see `Strategy.learns`."""
    return name not in PLANNED
