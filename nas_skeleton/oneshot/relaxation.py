"""Architecture parameters: numbers that gradients can move, and how they choose operations.

`alphas` are `(edges, operations)`, in the order of `spaces.cell`: one set for all cells of a
network.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nas_skeleton.spaces.cell import EDGES, OPERATIONS, Cell

SHAPE = (len(EDGES), len(OPERATIONS))
SPREAD = 1e-3  # of initial alphas, a standard deviation: NAS-Bench-201 and DARTS
HOTTEST, COLDEST = 10.0, 0.1  # GDAS's temperatures


def initial_alphas(seed: int) -> Tensor:
    """Nearly equal alphas, float64 on the CPU."""
    generator = torch.Generator().manual_seed(seed)
    return SPREAD * torch.randn(SHAPE, generator=generator, dtype=torch.float64)


def gumbel_noise(count: int, seed: int) -> Tensor:
    """Standard Gumbel numbers `(count, edges, operations)`, float64 on the CPU."""
    generator = torch.Generator().manual_seed(seed)
    exponential = torch.empty(count, *SHAPE, dtype=torch.float64)
    return -exponential.exponential_(generator=generator).log()


def temperature(epoch: int, epochs: int) -> float:
    """GDAS's in `epoch` (0-based): from 10 in the first linearly to 0.1 in the last."""
    return HOTTEST - (HOTTEST - COLDEST) * epoch / max(1, epochs - 1)


def hard_sample(alphas: Tensor, noise: Tensor, heat: float) -> tuple[Cell, Tensor]:
    """A cell drawn by the alphas, and a factor for each of its edges, all one.

    Each operation is drawn with its probability softmax(alpha), whatever the temperature (Gumbel's
    arg-max). The factors carry the gradients of softmax((log softmax(alpha) + noise) / heat) at the
    operation that was drawn (Dong and Yang, CVPR 2019).

    The authors' code adds the other operations' weights, zeros, to the maps, so that their alphas
    get the sum of the maps' gradients; the paper does not, and neither does this.
    """
    logits = (alphas.log_softmax(dim=1) + noise) / heat
    drawn = logits.argmax(dim=1)
    soft = logits.softmax(dim=1).gather(1, drawn[:, None]).squeeze(1)
    return Cell(tuple(drawn.tolist())), 1 + (soft - soft.detach())


def derived_cell(alphas: Tensor) -> Cell:
    """The cell with the likeliest operation on every edge, "none" among them as in NATS-Bench."""
    return Cell(tuple(alphas.argmax(dim=1).tolist()))


def certainty(alphas: Tensor) -> float:
    """Mean probability of the likeliest operations: from 0.2, nothing is decided, to 1."""
    return alphas.detach().softmax(dim=1).amax(dim=1).mean().item()
