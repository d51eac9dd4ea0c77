"""Proxies that look at the network with other weights and inputs than it is trained from."""

from __future__ import annotations

import copy
import math

import torch
from torch import Generator, Tensor, nn

from nas_skeleton.network.initialise import derive_seed
from nas_skeleton.proxies.probe import Probe, layers_of

NOISE = 0.01  # share of a second Gaussian clip that zen adds to the first
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def synflow(probe: Probe) -> float:
    """`log sum |w * dR/dw|`, R the sum of the outputs for one clip of ones (0 stays 0).

    Tanaka et al., "Pruning neural networks without any data by iteratively conserving synaptic
    flow", NeurIPS 2020; the logarithm is NAS-Bench-Suite-Zero's. All parameters are replaced by
    their absolute values, biases and edge importances too, and every batch norm is left out, also
    that of the stem's coordinates: then no map is below zero, ReLUs do nothing, and R is linear in
    each layer's weights. In float64, because R grows with every layer.
    """
    network = copy.deepcopy(probe.network).double()
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, BATCH_NORMS):
                setattr(module, name, nn.Identity())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
    weights = [layer.weight for layer in layers_of(network)]
    total = network(torch.ones_like(probe.clips[:1], dtype=torch.float64)).sum()
    gradients = torch.autograd.grad(total, weights, allow_unused=True, materialize_grads=True)
    flow = sum(
        (weight * gradient).abs().sum().item()
        for weight, gradient in zip(weights, gradients, strict=True)
    )
    return math.log(flow) if flow else 0.0


def zen(probe: Probe) -> float:
    """`log D + sum of log sqrt(mean variance)` over the 2d batch norms.

    Lin et al., "Zen-NAS", ICCV 2021. Weights of convolutions and linear layers are drawn from
    N(0, 1); their biases, like those of batch norms, are 0. Clips x and e are drawn from N(0, 1)
    too; D is the mean over clips of `sum |f(x) - f(x + 0.01 e)|`, f being the last maps, whose
    means are classified. As in the published code the variances are the running ones after these
    two passes, which start at 1 and move by a tenth of the way to the batch's each time.
    """
    network = copy.deepcopy(probe.network)
    with torch.no_grad():
        for name, module in network.named_modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.weight.copy_(_gaussian(module.weight, probe.seed, name))
                if module.bias is not None:
                    module.bias.zero_()
            elif isinstance(module, BATCH_NORMS):
                module.reset_parameters()  # with the running statistics
        clips = _gaussian(probe.clips, probe.seed, "clips")
        noise = _gaussian(probe.clips, probe.seed, "noise")
        change = (network.maps(clips) - network.maps(clips + NOISE * noise)).abs()
        distance = change.double().sum() / len(clips)
        scale = torch.stack(
            [
                norm.running_var.double().mean().sqrt().log()
                for norm in network.modules()
                if isinstance(norm, nn.BatchNorm2d) and norm.running_var is not None
            ]
        ).sum()
    return (distance.log() + scale).item()


def _gaussian(like: Tensor, *seed: object) -> Tensor:
    """Numbers from N(0, 1), drawn in float64 so that both precisions see the same."""
    generator = Generator().manual_seed(derive_seed(*seed))
    return torch.randn(like.shape, generator=generator, dtype=torch.float64).to(like.dtype)
