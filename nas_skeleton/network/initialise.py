"""Initial weights that depend on a seed and a parameter's name, and on nothing else.

Each parameter has a random stream of its own, so leaving out a dead edge, or building networks in
another order, changes no other weight.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import nn

ModuleT = TypeVar("ModuleT", bound=nn.Module)


@dataclass(frozen=True)
class Distribution:
    """What a parameter is drawn from.

    `scale` is the bound of "uniform", the standard deviation of "normal" (mean `mean`), and not
    used by "constant", which is `mean`.
    """

    kind: Literal["uniform", "normal", "constant"]
    scale: float = 0.0
    mean: float = 0.0


def uniform(bound: float) -> Distribution:
    """Uniform in ± `bound`."""
    return Distribution("uniform", bound)


def normal(deviation: float, mean: float = 0.0) -> Distribution:
    """Normal."""
    return Distribution("normal", deviation, mean)


def constant(value: float) -> Distribution:
    """Always the same."""
    return Distribution("constant", mean=value)


def drawn(module: ModuleT, **parameters: Distribution) -> ModuleT:
    """`module`, whose own parameters of these names start so instead of as `initialise` says."""
    module._initial = parameters  # type: ignore[assignment]
    return module


def derive_seed(*parts: object) -> int:
    """A 63-bit seed from the text of `parts`; the same on every machine."""
    digest = hashlib.sha256("/".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def initialise(network: nn.Module, seed: int) -> None:
    """Draw the weights of `network` in place.

    Those of convolutions and linear layers are uniform in +-1/sqrt(fan-in), PyTorch's default, as
    in NAS-Bench-201, unless `drawn` says otherwise. Other parameters (batch norm, edge importance)
    start at constants and are left as built unless `drawn` names them. Numbers are drawn in float64
    on the CPU, so that networks of any precision, on any device, start alike.
    """
    for name, module in network.named_modules():
        distributions: dict[str, Distribution] = {}
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
            bound = uniform(1 / math.sqrt(module.weight[0].numel()))
            distributions = {"weight": bound, "bias": bound}
        distributions |= getattr(module, "_initial", {})
        for kind, parameter in module.named_parameters(recurse=False):
            if kind not in distributions:
                continue
            generator = torch.Generator().manual_seed(derive_seed(seed, name, kind))
            values = _draw(distributions[kind], parameter.shape, generator)
            with torch.no_grad():
                parameter.copy_(values)


def _draw(
    distribution: Distribution, shape: torch.Size, generator: torch.Generator
) -> torch.Tensor:
    values = torch.full(shape, distribution.mean, dtype=torch.float64)
    if distribution.kind == "uniform":
        values.uniform_(-distribution.scale, distribution.scale, generator=generator)
    elif distribution.kind == "normal":
        values.normal_(distribution.mean, distribution.scale, generator=generator)
    return values
