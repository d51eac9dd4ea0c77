"""Parameters and multiply-accumulates of any network, counted while it runs without numbers.

`spaces.costs` counts candidates on paper, without torch; this counts what a built network does.
"""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nas_skeleton.spaces.costs import Cost


def network_cost(network: nn.Module, clip_shape: tuple[int, int, int, int]) -> Cost:
    """Parameters, and multiply-accumulates of one forward pass of one clip.

    MACs are those of convolutions, matrix products (so also of sums over a graph) and linear
    layers, zeros of padding and of adjacencies included; biases, batch norm, pooling, activations
    and element-wise products are not counted. The skeleton literature calls this number FLOPs.

    For a candidate it differs from `Space.cost`: dead edges, which the built network lacks, cost
    nothing here; the head's bias adds no MACs; and the stem's graph convolution is counted as it is
    computed, summed over neighbours before it is projected.

    Args:
        network: left as it is; a copy without storage runs, on the "meta" device, in eval mode.
        clip_shape: `(C, T, V, M)`.
    """
    ghost = copy.deepcopy(network).to("meta").eval()
    params = sum(parameter.numel() for parameter in ghost.parameters())
    dtype = next(ghost.parameters()).dtype
    ghost.requires_grad_(False)  # the counter cannot follow parameters that are passed on
    clips = torch.empty(1, *clip_shape, device="meta", dtype=dtype)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        ghost(clips)
    return Cost(params, counter.get_total_flops() // 2)
