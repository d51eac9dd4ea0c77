"""Proxies of weights and of the gradients of the loss by them and by what layers put out.

In the formulas w are the weights of a layer and g the gradient of the mean cross-entropy of the
batch by them; sums are over all convolutions and linear layers.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nas_skeleton.proxies.probe import Probe


def l2_norm(probe: Probe) -> float:
    """`sum |w|_2` (Abdelfattah et al., "Zero-Cost Proxies", ICLR 2021)."""
    return _sum(weight.norm() for weight in probe.weights)


def grad_norm(probe: Probe) -> float:
    """`sum |g|_2` (Abdelfattah et al., ICLR 2021)."""
    return _sum(gradient.norm() for gradient in probe.gradients)


def plain(probe: Probe) -> float:
    """`sum w * g`, signed (Mozer and Smolensky, 1988; as in Abdelfattah et al., ICLR 2021)."""
    pairs = zip(probe.weights, probe.gradients, strict=True)
    return _sum((weight * gradient).sum() for weight, gradient in pairs)


def snip(probe: Probe) -> float:
    """`sum |w * g|`: the gradient by a mask of ones on the weights (Lee et al., ICLR 2019)."""
    pairs = zip(probe.weights, probe.gradients, strict=True)
    return _sum((weight * gradient).abs().sum() for weight, gradient in pairs)


def grasp(probe: Probe) -> float:
    """`sum -w * (H g)`, H the Hessian of the loss by all these weights (Wang et al., ICLR 2020)."""
    products = probe.hessian_times(probe.gradients)
    pairs = zip(probe.weights, products, strict=True)
    return _sum(-(weight * product).sum() for weight, product in pairs)


def fisher(probe: Probe) -> float:
    """`sum over channels of F / 2 * mean over clips of (sum of a * G)^2`.

    Turner et al., "BlockSwap", ICLR 2020. a is a channel of a layer's output for a clip, G the
    gradient by it, and the inner sum is over positions and the clip's bodies. F is the number of
    the channel's weights: the code of Abdelfattah et al. (ICLR 2021) and NASLib give a channel's
    score to each of them.
    """
    clips = len(probe.clips)
    scores = []
    for layer, output, gradient in probe.outputs:
        # Bodies are samples of their own until the head, those of a clip side by side.
        products = (output * gradient).reshape(clips, -1, *output.shape[1:]).transpose(1, 2)
        channels = products.flatten(2).sum(dim=2)  # (clips, channels)
        weight = layer.weight
        assert isinstance(weight, Tensor)
        scores.append(weight[0].numel() * channels.square().mean(dim=0).sum() / 2)
    return _sum(scores)


def _sum(scores: object) -> float:
    return torch.stack(list(scores)).detach().double().sum().item()  # type: ignore[call-overload]
