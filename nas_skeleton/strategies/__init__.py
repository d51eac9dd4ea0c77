"""Strategies: what to train next. Ask and tell, nothing else."""

from nas_skeleton.strategies.base import Result, Setting, Strategy, Trial
from nas_skeleton.strategies.exhaustive import Exhaustive
from nas_skeleton.strategies.named import STRATEGIES, build_strategy, learns
from nas_skeleton.strategies.random import Random
from nas_skeleton.strategies.search import Asked, Search

__all__ = [
    "STRATEGIES",
    "Asked",
    "Exhaustive",
    "Random",
    "Result",
    "Search",
    "Setting",
    "Strategy",
    "Trial",
    "build_strategy",
    "learns",
]
