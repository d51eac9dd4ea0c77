"""How a supernet is trained: which path a batch takes, and what else learns.

`SPOS`: every batch takes a path drawn uniformly among all cells (Guo et al., "Single Path One-Shot
Neural Architecture Search with Uniform Sampling", ECCV 2020). Operations that a path does
not use keep weights and momentum as they are, as in the method's public code.

`DARTS`: every edge is the mean of its operations, weighed by the softmax of alphas, which learn as
well (Liu, Simonyan and Yang, ICLR 2019, first order).

`GDAS`: every batch takes a path drawn by the alphas, which learn through Gumbel's softmax (Dong and
Yang, CVPR 2019).

Where alphas learn, steps alternate: one of the weights, on a batch of one half of the training
clips, then one of the alphas, on a batch of the other, as in NATS-Bench's code. The papers halve
CIFAR-10's training set likewise and call the second half validation. Here validation clips are
another thing, and teach nothing: they only choose in the end.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from nas_skeleton.network.initialise import derive_seed
from nas_skeleton.oneshot.relaxation import (
    certainty,
    derived_cell,
    gumbel_noise,
    hard_sample,
    initial_alphas,
    temperature,
)
from nas_skeleton.oneshot.supernet import Supernet
from nas_skeleton.spaces.cell import EDGES, OPERATIONS, Cell

MethodName = Literal["spos", "darts", "gdas"]
METHODS: tuple[MethodName, ...] = get_args(MethodName)

# Adam of the alphas: DARTS, GDAS and NATS-Bench agree.
ALPHA_LEARNING_RATE, ALPHA_BETAS, ALPHA_DECAY = 3e-4, (0.5, 0.999), 1e-3


class Method(ABC):
    """What happens in a step.

    Attributes:
        supernet: what is trained.
        seed: everything drawn comes from it and the epoch.
        learns: whether it has alphas, which need clips of their own.
    """

    learns: bool

    def __init__(self, supernet: Supernet, seed: int) -> None:
        self.supernet = supernet
        self.seed = seed

    @abstractmethod
    def begin(self, epoch: int, epochs: int, steps: int) -> None:
        """Draw what `steps` steps of `epoch` (0-based) of `epochs` need."""

    @abstractmethod
    def scores(self, clips: Tensor, step: int) -> Tensor:
        """What the weights learn by in `step` of the epoch: class scores `(N, classes)`."""

    def learn(self, clips: Tensor, labels: Tensor, step: int) -> None:  # noqa: B027 (few do)
        """One step of the alphas, if there are any."""

    def derived(self) -> Cell | None:
        """The cell that the method has come to, if it comes to one by itself."""
        return None

    def certainty(self) -> float | None:
        """Mean probability of that cell's operations, from 0.2 to 1."""
        return None

    def state(self) -> dict[str, Any]:
        """What the next step needs of those before, beside weights."""
        return {}

    def load(self, state: dict[str, Any]) -> None:  # noqa: B027 (likewise)
        """Go on from what `state` returned."""


class SPOS(Method):
    """Uniform paths."""

    learns = False

    def begin(self, epoch: int, epochs: int, steps: int) -> None:  # noqa: ARG002
        self.paths = uniform_paths(steps, derive_seed(self.seed, "paths", epoch))

    def scores(self, clips: Tensor, step: int) -> Tensor:
        return self.supernet(clips, self.paths[step])  # type: ignore[no-any-return]


class _Relaxed(Method):
    """Methods with alphas."""

    learns = True

    def __init__(self, supernet: Supernet, seed: int) -> None:
        super().__init__(supernet, seed)
        supernet.fix_affine()
        weight = supernet.network.classifier.weight
        alphas = initial_alphas(derive_seed(seed, "alphas"))
        self.alphas = alphas.to(weight.device, weight.dtype).requires_grad_()
        self.optimizer = torch.optim.Adam(
            [self.alphas], ALPHA_LEARNING_RATE, ALPHA_BETAS, weight_decay=ALPHA_DECAY
        )

    @abstractmethod
    def relaxed(self, clips: Tensor, alphas: Tensor, turn: int) -> Tensor:
        """Class scores that depend on the alphas; `turn` counts the epoch's calls."""

    def scores(self, clips: Tensor, step: int) -> Tensor:
        return self.relaxed(clips, self.alphas.detach(), 2 * step)

    def learn(self, clips: Tensor, labels: Tensor, step: int) -> None:
        self.alphas.grad = self.gradient(clips, labels, 2 * step + 1)
        self.optimizer.step()

    def gradient(self, clips: Tensor, labels: Tensor, turn: int) -> Tensor:
        """The loss's, with respect to the alphas; weights get none."""
        loss = nn.functional.cross_entropy(self.relaxed(clips, self.alphas, turn), labels)
        # Zeros where a cell was drawn whose output is zero whatever its factors.
        return torch.autograd.grad(loss, self.alphas, materialize_grads=True)[0]

    def derived(self) -> Cell:
        return derived_cell(self.alphas)

    def certainty(self) -> float:
        return certainty(self.alphas)

    def state(self) -> dict[str, Any]:
        return {"alphas": self.alphas.detach(), "adam": self.optimizer.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        with torch.no_grad():
            self.alphas.copy_(state["alphas"])
        self.optimizer.load_state_dict(state["adam"])


class DARTS(_Relaxed):
    """All operations, mixed."""

    def begin(self, epoch: int, epochs: int, steps: int) -> None:
        pass  # nothing is drawn

    def relaxed(self, clips: Tensor, alphas: Tensor, turn: int) -> Tensor:  # noqa: ARG002
        return self.supernet.mixture(clips, alphas.softmax(dim=1))


class GDAS(_Relaxed):
    """Paths drawn by the alphas."""

    def begin(self, epoch: int, epochs: int, steps: int) -> None:
        noise = gumbel_noise(2 * steps, derive_seed(self.seed, "gumbel", epoch))
        self.noise = noise.to(self.alphas)
        self.heat = temperature(epoch, epochs)

    def relaxed(self, clips: Tensor, alphas: Tensor, turn: int) -> Tensor:
        cell, scales = hard_sample(alphas, self.noise[turn], self.heat)
        # Where alphas do not learn the factors are ones: nothing to multiply by.
        return self.supernet(clips, cell, scales if alphas.requires_grad else None)  # type: ignore[no-any-return]


def uniform_paths(count: int, seed: int) -> list[Cell]:
    """Cells drawn with replacement, all 15,625 equally likely."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(OPERATIONS), (count, len(EDGES)), generator=generator)
    return [Cell(tuple(operations)) for operations in drawn.tolist()]


def method_of(name: MethodName, supernet: Supernet, seed: int) -> Method:
    """The method with this name."""
    kinds: dict[MethodName, type[Method]] = {"spos": SPOS, "darts": DARTS, "gdas": GDAS}
    return kinds[name](supernet, seed)
