"""Dropout whose masks depend on a seed, and on no memory format, device or precision.

`nn.Dropout` draws in the order of memory, by the generator of the device: the same seed gives
channels-last maps and maps on a GPU other masks. How a recipe or an engine seeds it is not decided
here.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn


class Dropout(nn.Module):
    """Zeros at random in training, the rest scaled by `1 / (1 - probability)`: means stay.

    Attributes:
        probability: of a zero, in `[0, 1)`.
        generator: on the CPU; None for PyTorch's global one.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability
        self.generator: Generator | None = None

    def forward(self, maps: Tensor) -> Tensor:
        """`(N, C, T, V)` to the same shape and memory format; the mask is drawn in this order."""
        if not self.training or self.probability == 0:
            return maps
        kept = torch.rand(maps.shape, generator=self.generator, device="cpu") >= self.probability
        # The maps come first: an operation takes the memory format of its first operand.
        return maps * kept.to(maps.device) / (1 - self.probability)


def reseed(network: nn.Module, seed: int) -> None:
    """Let all dropout of `network` draw from one new generator, in the order of the layers."""
    generator = Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, Dropout):
            module.generator = generator
