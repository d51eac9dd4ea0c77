"""What is compared: engines and the thesis' loop, behind one small interface.

A contender trains or evaluates all its candidates and returns when the device is done; who holds
the watch is not its business.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch

from nas_skeleton.benchmarks.thesis_loop import ThesisLoop
from nas_skeleton.spaces.cell import Cell
from nas_skeleton.training.candidates import Problem, scores_of_clips
from nas_skeleton.training.engines import SIDE_BY_SIDE, EngineName, candidates_of

REFERENCE = "reference"
THESIS = "thesis-loop"
EVALUATED = 128  # clips in one measurement
BATCHES = 4  # different ones, over and over


class Contender(ABC):
    """Candidates under training: the cells, each equally often.

    `trainings` counts them, `side_by_side` how many advance together.
    """

    trainings: int
    side_by_side: int

    @abstractmethod
    def train(self, steps: int) -> int:
        """Make `steps` steps of every candidate; returns how many each really made."""

    @abstractmethod
    def evaluate(self) -> int:
        """Evaluate every candidate on some clips; returns how many each saw."""


class Engine(Contender):
    """An engine of `training.engines`.

    Args:
        name: the engine.
        problem: card, recipe and task.
        cells: the candidates; where more go side by side than there are cells, each is there
            several times, with other weights.
        seed: of weights and batches.
        side_by_side: how many candidates advance together on an engine that can, rounded up to a
            multiple of the cells; None: on a GPU the engine's own number, on a CPU every cell once.

    Raises:
        Unsupported: the engine cannot train them here.
        torch.OutOfMemoryError: they do not fit on the device.
    """

    def __init__(
        self,
        name: EngineName,
        problem: Problem,
        cells: Sequence[Cell],
        seed: int,
        side_by_side: int | None = None,
    ) -> None:
        self.task = problem.task
        if name not in SIDE_BY_SIDE:
            packs = [[cell] for cell in cells]
        else:
            usual = SIDE_BY_SIDE[name] if self.task.device.type == "cuda" else 1
            packs = [list(cells) * math.ceil((side_by_side or usual) / len(cells))]
        self.side_by_side = len(packs[0])
        self.trainings = sum(map(len, packs))
        seeds = itertools.count(seed)
        generator = torch.Generator().manual_seed(seed)
        train = self.task.splits["train"].cpu()
        self._packs = []
        for pack in packs:
            states = [problem.initial_state(cell, next(seeds)) for cell in pack]
            candidates = candidates_of(name, problem, pack, states)
            candidates.set_learning_rate(0.0)  # costs the same, and nothing diverges
            shape = (BATCHES, len(pack), min(problem.recipe.batch_size, len(train)))
            chosen = torch.randint(len(train), shape, generator=generator)
            batches = train[chosen].to(self.task.device)
            self._packs.append((candidates, itertools.cycle(batches)))
        clips = torch.cat(list(self.task.splits.values()))
        self._evaluated = clips[:EVALUATED]

    def train(self, steps: int) -> int:
        for candidates, batches in self._packs:
            for batch in itertools.islice(batches, steps):
                candidates.step(*self.task.training_batch(batch, range(len(batch))))
        self._wait()
        return steps

    def evaluate(self) -> int:
        for candidates, _ in self._packs:
            scores_of_clips(candidates, self.task, self._evaluated)
        self._wait()
        return len(self._evaluated)

    def _wait(self) -> None:
        if self.task.device.type == "cuda":
            torch.cuda.synchronize(self.task.device)


class Thesis(Contender):
    """The thesis' loop.

    With loader processes it always goes through whole epochs: starting them is part of one, and
    what they fetch in advance must not be free.
    """

    side_by_side = 1

    def __init__(
        self, problem: Problem, cells: Sequence[Cell], seed: int, loader_workers: int
    ) -> None:
        self.trainings = len(cells)
        self._whole = loader_workers > 0
        self._batches = math.ceil(EVALUATED / problem.recipe.batch_size)
        self._loop = ThesisLoop(problem, cells, seed, loader_workers)

    def train(self, steps: int) -> int:
        return self._loop.train(None if self._whole else steps)

    def evaluate(self) -> int:
        return self._loop.evaluate(None if self._whole else self._batches)
