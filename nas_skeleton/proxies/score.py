"""All 13 proxies of a cell, as cheaply as they can be had together.

A cell is scored as NAS-Bench-201 defines it: every edge is computed, dead ones too, each with a
ReLU of its own (`network.reference`). So parameters and MACs are the table's, and the other scores
can be compared with those of NAS-Bench-Suite-Zero, whose networks have dead edges as well. A dead
edge gets no gradient and no synaptic flow; it does count in `l2_norm`, `nwot` and `zen`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor

from nas_skeleton.network.build import candidate_network
from nas_skeleton.network.candidate import CandidateNetwork
from nas_skeleton.network.initialise import derive_seed, initialise
from nas_skeleton.proxies.correlations import epe_nas, jacov, nwot
from nas_skeleton.proxies.examples import Examples
from nas_skeleton.proxies.gradients import fisher, grad_norm, grasp, l2_norm, plain, snip
from nas_skeleton.proxies.names import PROXIES
from nas_skeleton.proxies.probe import Probe
from nas_skeleton.proxies.redrawn import synflow, zen
from nas_skeleton.spaces import Space
from nas_skeleton.spaces.costs import Cost
from nas_skeleton.training.train import training_seed

if TYPE_CHECKING:
    from nas_skeleton.training.job import Job


def params(probe: Probe) -> float:
    """Trainable parameters, as in the table's column `params`."""
    return float(probe.cost.params)


def flops(probe: Probe) -> float:
    """Multiply-accumulates of one clip, as in the table's column `macs` (see `spaces.costs`)."""
    return float(probe.cost.macs)


_FUNCTIONS: tuple[Callable[[Probe], float], ...] = (
    *(params, flops, l2_norm, grad_norm, snip, grasp, plain),
    *(fisher, synflow, jacov, epe_nas, nwot, zen),
)
FUNCTIONS = {function.__name__: function for function in _FUNCTIONS}


def score_network(
    network: CandidateNetwork, clips: Tensor, labels: Tensor, *, cost: Cost, seed: int
) -> dict[str, float]:
    """All proxies of a network, by name in the order of `PROXIES`; higher is meant to be better.

    A score that is no finite number is a missing value: not a number. So are those that need a
    network whose output depends on its input (`jacov`, `epe_nas`, `zen`), where it does not.

    Args:
        network: at the weights to be judged, built with `every_edge`; it stays as it is.
        clips: `(N, C, T, V, M)` of its precision; several of each class for `epe_nas`.
        labels: `(N,)`, int64.
        cost: of the network, `Space.cost`.
        seed: of what `zen` draws.
    """
    probe = Probe(network, clips, labels, cost, seed)
    scores = {name: FUNCTIONS[name](probe) for name in PROXIES}
    return {name: score if math.isfinite(score) else math.nan for name, score in scores.items()}


def score_cell(space: Space, job: Job, examples: Examples) -> dict[str, float]:
    """All proxies of a cell at the weights from which a training with the job's seed starts.

    Args:
        space: of the cell.
        job: the training.
        examples: what to score it on, the same for all cells that are to be compared.
    """
    recipe = space.card.recipe(job.recipe)
    _, channels, _, joints, bodies = examples.clips.shape
    network = candidate_network(
        space.card,
        recipe,
        space.architecture(job.arch_index),
        classes=examples.classes,
        layout=examples.layout,
        in_channels=channels,
        every_edge=True,
    )
    seed = training_seed(job)
    initialise(network, derive_seed(seed, "weights"))
    cost = space.cost(
        job.arch_index,
        recipe,
        classes=examples.classes,
        joints=joints,
        bodies=bodies,
        channels=channels,
    )
    return score_network(
        network.to(examples.clips.dtype),
        examples.clips,
        examples.labels,
        cost=cost,
        seed=derive_seed(seed, "zen"),
    )
