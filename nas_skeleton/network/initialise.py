"""Initial weights that depend on a seed and a parameter's name, and on nothing else.

The distributions are PyTorch's defaults, as in NAS-Bench-201. Each parameter has a random stream of
its own, so leaving out a dead edge, or building networks in another order, changes no other weight.
"""

from __future__ import annotations

import hashlib
import math

import torch
from torch import nn


def derive_seed(*parts: object) -> int:
    """A 63-bit seed from the text of `parts`; the same on every machine."""
    digest = hashlib.sha256("/".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def initialise(network: nn.Module, seed: int) -> None:
    """Draw the weights of all convolutions and linear layers of `network` in place.

    Weights and biases are uniform in +-1/sqrt(fan-in), PyTorch's default. Other parameters (batch
    norm, edge importance) start at constants and are left as built. Numbers are drawn in float64 on
    the CPU, so that networks of any precision, on any device, start alike.
    """
    for name, module in network.named_modules():
        if not isinstance(module, nn.Conv2d | nn.Linear):
            continue
        fan_in = module.weight[0].numel()
        bound = 1 / math.sqrt(fan_in)
        for kind, parameter in module.named_parameters(recurse=False):
            generator = torch.Generator().manual_seed(derive_seed(seed, name, kind))
            values = torch.empty(parameter.shape, dtype=torch.float64)
            values.uniform_(-bound, bound, generator=generator)
            with torch.no_grad():
                parameter.copy_(values)
