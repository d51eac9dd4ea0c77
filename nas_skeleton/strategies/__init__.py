"""Strategies: which architecture to train next. Ask and tell, nothing else."""

from nas_skeleton.strategies.base import Strategy
from nas_skeleton.strategies.exhaustive import Exhaustive
from nas_skeleton.strategies.random import Random

STRATEGIES = ("random", "exhaustive")


__all__ = ["STRATEGIES", "Exhaustive", "Random", "Strategy"]
