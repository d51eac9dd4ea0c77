"""Cells ranked by inherited weights: validation accuracy with what a supernet learnt, untrained.

Each cell becomes its plain candidate network with the supernet's weights. The means and variances
of its batch norms are measured anew on training clips, as SPOS does (Guo et al., ECCV 2020): the
alternative, statistics of the validation batch, would let a clip's class depend on its company.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn

from nas_skeleton.network.classifier import Classifier
from nas_skeleton.network.initialise import derive_seed
from nas_skeleton.oneshot.supernet import Supernet
from nas_skeleton.spaces.cell import Cell
from nas_skeleton.training.candidates import Problem
from nas_skeleton.training.engines.precision import Arithmetic
from nas_skeleton.training.loop import clips_per_epoch, epoch_order, measure
from nas_skeleton.training.threads import one_thread

CALIBRATION_CLIPS = 1024
"""Statistics are measured on so many training clips, drawn at random, or on all if they are fewer:
in the recipe's batches, like those that the weights were trained in."""


class Ranker:
    """Evaluates cells of one supernet.

    Args:
        problem: space, recipe and task of the supernet.
        supernet: trained; stays as it is.
        key: of the training; decides which clips statistics are measured on.
    """

    def __init__(self, problem: Problem, supernet: Supernet, key: str) -> None:
        self.problem, self.supernet = problem, supernet
        self.arithmetic = Arithmetic(problem)
        task, recipe = problem.task, problem.recipe
        train = task.splits["train"].cpu()
        order = epoch_order(len(train), derive_seed(key, "calibration"), 0)[:CALIBRATION_CLIPS]
        ids = train[order[: clips_per_epoch(recipe, len(order))]]
        batches = torch.split(ids.to(task.device), recipe.batch_size)
        self._training = [task.clips.evaluation(batch) for batch in batches]

    def network(self, cell: Cell) -> Classifier:
        """The candidate network with inherited weights and statistics of its own, to evaluate."""
        network = self.problem.network(cell)
        weights = self.supernet.inherited(cell)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                parameter.copy_(weights[name])
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.reset_running_stats()
                module.momentum = None  # the plain mean over batches
        network.train()
        for clips in self._training:
            self._scores(network, clips)
        return network.eval()

    def accuracy(self, cell: Cell) -> float:
        """Top-1 on validation clips, in [0, 1]."""
        with one_thread():
            network, task = self.network(cell), self.problem.task
            batches = task.evaluation_batches(task.splits["valid"])
            scores = torch.cat([self._scores(network, clips) for clips in batches])
            return measure(scores, task.labels_of("valid")).top1

    def seconds_per_cell(self, cell: Cell) -> float:
        """What `cell` takes on this machine."""
        self.accuracy(cell)  # the first time, PyTorch prepares
        started = time.perf_counter()
        self.accuracy(cell)
        return time.perf_counter() - started

    @torch.inference_mode()
    def _scores(self, network: nn.Module, clips: Tensor) -> Tensor:
        with self.arithmetic.flags(), self.arithmetic.forward():
            return network(clips).to(clips.dtype)  # type: ignore[no-any-return]
