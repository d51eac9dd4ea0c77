"""A network with a batch of clips, and the passes over it that several proxies share.

One forward and two backward passes serve eight proxies. Each pass is made when first asked for.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from nas_skeleton.network.candidate import CandidateNetwork
from nas_skeleton.spaces.costs import Cost


@dataclass(frozen=True)
class _Forward:
    """A forward pass with batch statistics.

    Attributes:
        inputs: the clips, to differentiate by.
        logits: `(N, classes)`.
        outputs: of the layers that have one, in the order of the pass.
        agreement: see `Probe.agreement`.
    """

    inputs: Tensor
    logits: Tensor
    outputs: list[tuple[nn.Module, Tensor]]
    agreement: Tensor


class Probe:
    """What proxies are computed from. All passes are over a copy: the network stays as it is.

    Args:
        network: at the weights to be judged, float32 or float64.
        clips: `(N, C, T, V, M)` of its precision.
        labels: `(N,)`, int64.
        cost: of the network, counted on paper.
        seed: of what zen draws at random.
    """

    def __init__(
        self, network: CandidateNetwork, clips: Tensor, labels: Tensor, cost: Cost, seed: int
    ) -> None:
        self.network = copy.deepcopy(network).train().requires_grad_(True)
        self.clips = clips
        self.labels = labels
        self.cost = cost
        self.seed = seed

    @cached_property
    def weights(self) -> list[Tensor]:
        """Of all convolutions and linear layers; no biases, batch norms or edge importances."""
        return [layer.weight for layer in layers_of(self.network)]

    @property
    def agreement(self) -> Tensor:
        """At how many ReLU inputs two clips are alike: both above zero, or both not.

        `(N, N)`, whole numbers in float64. All inputs of a clip count, of all its bodies; a map
        that three edges activate, each with a ReLU of its own, counts three times.
        """
        return self._forward.agreement

    @property
    def classes(self) -> int:
        """How many classes the network tells apart."""
        return self._forward.logits.shape[1]

    @property
    def gradients(self) -> list[Tensor]:
        """Of the mean cross-entropy by each of the weights, differentiable once more."""
        return self._backward[0]

    @property
    def outputs(self) -> list[tuple[nn.Module, Tensor, Tensor]]:
        """Layers that have an output, the output, and the gradient of the loss by it."""
        gradients = self._backward[1]
        pairs = zip(self._forward.outputs, gradients, strict=True)
        return [(layer, output, gradient) for (layer, output), gradient in pairs]

    @cached_property
    def jacobian(self) -> Tensor:
        """Of the sum of all logits by the clips, `(N, C * T * V * M)`."""
        run = self._forward
        (gradient,) = _gradients(run.logits.sum(), [run.inputs])
        return gradient.flatten(1)

    @cached_property
    def _forward(self) -> _Forward:
        outputs: list[tuple[nn.Module, Tensor]] = []

        def keep(layer: nn.Module, _: Any, output: Tensor) -> None:
            outputs.append((layer, output))

        inputs = self.clips.detach().clone().requires_grad_(True)
        agreement = torch.zeros(len(inputs), len(inputs), dtype=torch.float64)

        def compare(maps: Tensor) -> None:
            agreement.add_(_agreement(maps.detach().reshape(len(inputs), -1)))

        hooks = [layer.register_forward_hook(keep) for layer in layers_of(self.network)]
        with _ReLUs(compare):
            logits = self.network(inputs)
        for hook in hooks:
            hook.remove()
        return _Forward(inputs, logits, outputs, agreement)

    @cached_property
    def _backward(self) -> tuple[list[Tensor], list[Tensor]]:
        run = self._forward
        loss = nn.functional.cross_entropy(run.logits, self.labels)
        outputs = [output for _, output in run.outputs]
        found = _gradients(loss, [*self.weights, *outputs], again=True)
        return found[: len(self.weights)], [g.detach() for g in found[len(self.weights) :]]

    def hessian_times(self, vectors: list[Tensor]) -> list[Tensor]:
        """The Hessian of the loss by all weights, times `vectors`, one for each weight."""
        product = torch.stack(
            [(v.detach() * g).sum() for v, g in zip(vectors, self.gradients, strict=True)]
        ).sum()
        return _gradients(product, self.weights)


def layers_of(network: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    """The layers that proxies sum over."""
    return [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]


def _gradients(of: Tensor, by: list[Tensor], *, again: bool = False) -> list[Tensor]:
    """Gradients, zero where there is no way from one to the other; the graph is kept."""
    return list(
        torch.autograd.grad(
            of, by, retain_graph=True, create_graph=again, allow_unused=True, materialize_grads=True
        )
    )


def _agreement(inputs: Tensor) -> Tensor:
    """`x x^T + (1 - x)(1 - x)^T` of `x = inputs > 0`, `(N, N)` in float64, exact.

    Written as `2 G + F - s_i - s_j`, with `G = x x^T`, F inputs a clip and s of them above zero.
    """
    above = (inputs > 0).to(torch.float32)  # which counts exactly up to 2 ** 24
    both = (above @ above.T).double()
    counts = both.diagonal()
    return 2 * both + inputs.shape[1] - counts[:, None] - counts


class _ReLUs(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Shows the input of every ReLU to `hear`, whether it is a module or a function."""

    def __init__(self, hear: Callable[[Tensor], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.hear = hear

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        del types
        if func is torch.ops.aten.relu.default:
            self.hear(args[0])
        return func(*args, **(kwargs or {}))
