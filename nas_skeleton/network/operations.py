"""What the cells' operations are to joints: two sets, for the same cells, strings and keys.

"grid" is NAS-Bench-201's: a clip is an image whose columns are joints, and the neighbours of a
joint are those next to it in the data set's order. "graph" knows the skeleton: neighbours are those
that a bone joins. Convolutions of the slot "nor_conv_3x3", and those of the reductions, then go
over 3 subsets of neighbours x 3 frames, with as many weights as 3 x 3 pixels; the slot
"avg_pool_3x3" is the mean over a joint, its neighbours and the frames before and after. The other
slots are the same in both, and so is whatever stands around an operation (ReLU, batch norm).

The rules of `spaces.liveness` and `spaces.keys` hold for both sets, because all they ask is true of
the graph as well:

* A pool or a skip of an exact zero is zero (role "dead"), and a pool acts on each term of a sum
  (rule 2 of keys): the mean over neighbours is linear.
* A pool leaves what is the same at all positions unchanged (rule 2): its weights are positive and
  sum to one at every joint and frame, because frames outside the clip do not count.
* A convolution of a zero map is its batch norm's bias (role "bias", rule 3): sums over neighbours
  of zeros are zeros, there is no other bias, so batch statistics are 0 and so are the gradients of
  the weights. That is so for every kernel, so two biases are alike whatever their slot.
* A convolution of another constant is kept (role "live"). The one over neighbours varies with the
  joint, whose subsets weigh differently, and with the frame, by zero padding; so it is not among
  the terms that pools leave alone. The 1x1 convolution is the same in both sets.
* What does not reach the output gets no gradient (rule 4), whatever the operations.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas_skeleton.network.graph import Partition, hop_distances, spatial_partition
from nas_skeleton.skeletons.layouts import Layout

PARTITION: Partition = "spatial-distance"  # of the graph's convolutions, whatever the stem's is
FRAMES = 3  # of convolutions and pools


class Operations(ABC):
    """Makes the operations of cells and reductions; all have weights of their own."""

    def convolution(self, kind: str, channels: int) -> nn.Conv2d:
        """Of the edges "nor_conv_1x1" and "nor_conv_3x3"; keeps the size of the map."""
        if kind == "nor_conv_1x1":
            return nn.Conv2d(channels, channels, 1, bias=False)
        return self.wide_convolution(channels, channels)

    @abstractmethod
    def wide_convolution(
        self, in_channels: int, out_channels: int, stride: tuple[int, int] = (1, 1)
    ) -> nn.Conv2d:
        """Over neighbours in frames and joints; without bias, sizes are rounded up."""

    @abstractmethod
    def pool(self) -> nn.Module:
        """The mean over the same neighbours, as far as they exist."""


class Grid(Operations):
    """3x3 pixels."""

    def wide_convolution(
        self, in_channels: int, out_channels: int, stride: tuple[int, int] = (1, 1)
    ) -> nn.Conv2d:
        return nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)

    def pool(self) -> nn.Module:
        return GridPool()


class Graph(Operations):
    """Neighbours in the skeleton x 3 frames. Reductions may halve frames only."""

    def __init__(self, layout: Layout) -> None:
        self.adjacency = torch.from_numpy(spatial_partition(layout, PARTITION))
        self.neighbours = torch.from_numpy(neighbours(layout))

    def wide_convolution(
        self, in_channels: int, out_channels: int, stride: tuple[int, int] = (1, 1)
    ) -> nn.Conv2d:
        return GraphTimeConvolution(in_channels, out_channels, self.adjacency, stride)

    def pool(self) -> nn.Module:
        return GraphTimePool(self.neighbours)


class GridPool(nn.Module):
    """3x3 average over the positions inside the map, stride 1."""

    def forward(self, maps: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(maps, 3, stride=1, padding=1, count_include_pad=False)


class GraphTimeConvolution(nn.Conv2d):
    """`y[o, t, w] = sum over k, c, d, v of W[o, k, c, d] * x[c, t + d - 1, v] * A[k, v, w]`.

    The sum over neighbours v comes first; what is left is a convolution over frames, whose input
    channels are subsets k times channels c. Its `weight` is `(out, 3 * in, 3, 1)`.
    """

    adjacency: Tensor  # (subsets, V, V)

    def __init__(
        self, in_channels: int, out_channels: int, adjacency: Tensor, stride: tuple[int, int]
    ) -> None:
        channels = len(adjacency) * in_channels
        padding = (FRAMES // 2, 0)
        super().__init__(channels, out_channels, (FRAMES, 1), stride, padding, bias=False)
        # Not part of a network's state: it follows from the layout.
        self.register_buffer("adjacency", adjacency.clone(), persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        return super().forward(gathered(maps, self.adjacency, self.in_channels))


class GraphTimePool(nn.Module):
    """Mean over the frames t - 1, t, t + 1 that exist, then over a joint and its neighbours."""

    neighbours: Tensor  # (V, V) of 0 and 1

    def __init__(self, neighbours: Tensor) -> None:
        super().__init__()
        self.register_buffer("neighbours", neighbours.clone(), persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        means = nn.functional.avg_pool2d(
            maps, (FRAMES, 1), stride=1, padding=(FRAMES // 2, 0), count_include_pad=False
        )
        # Divided here, in the precision of the maps: a third is rounded like everything else.
        return torch.matmul(means, self.neighbours / self.neighbours.sum(dim=0))


def gathered(maps: Tensor, adjacency: Tensor, channels: int) -> Tensor:
    """`y[k, c, t, w] = sum over v of x[c, t, v] * A[k, v, w]`, the neighbours of each subset.

    Args:
        maps: `(N, M * C, T, V)`, those of M networks side by side.
        adjacency: `(K, V, V)`.
        channels: K * C, of the result for one network.

    Returns:
        `(N, M * K * C, T, V)`.
    """
    n, _, t, v = maps.shape
    k = len(adjacency)
    own = maps.reshape(n, -1, channels // k, t, v)
    sums = torch.matmul(own, adjacency.transpose(0, 1).reshape(v, k * v))
    sums = sums.view(n, -1, channels // k, t, k, v)
    return sums.permute(0, 1, 4, 2, 3, 5).reshape(n, -1, t, v)


def neighbours(layout: Layout) -> NDArray[np.float32]:
    """`(V, V)`, 1 where two joints are one or share a bone, else 0."""
    return (hop_distances(layout, limit=1) <= 1).astype(np.float32)
