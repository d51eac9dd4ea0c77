"""SGD on one flat tensor: all parameters of a network side by side, updated by five operations.

The formula is torch's (`torch.optim.SGD` without dampening). Nothing here waits for a GPU or copies
to the host, the learning rate is a tensor on the device: a step can be captured as a CUDA graph.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas_skeleton.spaces.recipe import TrainingRecipe


class FlatSGD:
    """Moves the parameters of `network` into one tensor and updates them there.

    Args:
        network: its parameters become views of `weights`, in the memory layout they have.
        recipe: momentum, Nesterov and weight decay.
        rate: the learning rate, a tensor without dimensions on the parameters' device, read anew
            in every update.

    Attributes:
        weights: all parameters, `(number of weights,)`.
        momentum: what SGD accumulated for them, zeros at first.
        momentum_of: views of `momentum` by parameter name, in the parameter's shape.
    """

    def __init__(self, network: nn.Module, recipe: TrainingRecipe, rate: Tensor) -> None:
        self.recipe = recipe
        self.rate = rate
        self._parameters = list(network.parameters())
        # Dimensions from the slowest in memory to the fastest: channels-last kernels stay so.
        self._orders = [
            sorted(range(parameter.dim()), key=parameter.stride, reverse=True)
            for parameter in self._parameters
        ]
        self.weights = self._flat([parameter.detach() for parameter in self._parameters])
        self.momentum = torch.zeros_like(self.weights)
        for parameter, view in zip(self._parameters, self._views(self.weights), strict=True):
            parameter.data = view
        names = [name for name, _ in network.named_parameters()]
        self.momentum_of = dict(zip(names, self._views(self.momentum), strict=True))

    def update(self, loss: Tensor) -> None:
        """One step of SGD down the gradient of `loss`, a tensor without dimensions.

        A parameter that the loss does not depend on has gradient zero, so it decays all the same.
        """
        gradients = torch.autograd.grad(loss, self._parameters, materialize_grads=True)
        step = self._flat(gradients)
        step.add_(self.weights, alpha=self.recipe.weight_decay)
        self.momentum.mul_(self.recipe.momentum).add_(step)
        if self.recipe.nesterov:
            step.add_(self.momentum, alpha=self.recipe.momentum)
        else:
            step = self.momentum
        self.weights.addcmul_(step, self.rate, value=-1)

    def _flat(self, tensors: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
        pairs = zip(tensors, self._orders, strict=True)
        return torch.cat([tensor.permute(order).reshape(-1) for tensor, order in pairs])

    def _views(self, flat: Tensor) -> list[Tensor]:
        parts = torch.split(flat, [parameter.numel() for parameter in self._parameters])
        views = []
        for part, parameter, order in zip(parts, self._parameters, self._orders, strict=True):
            view = part.view([parameter.shape[dimension] for dimension in order])
            views.append(view.permute([order.index(d) for d in range(len(order))]))
        return views
