"""Layers of many members at once: a lean network with M members' channels side by side.

Maps are `(N, M * C, T, V)`. ReLU, pooling, sums and means do not care whose channel they see, so a
lean network's own `forward` is kept; only the layers with weights are exchanged for stacked ones,
whose parameters have the members in front. Cells differ between members: `packed_cell` has them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_skeleton.network.operations import GraphTimeConvolution, gathered
from nas_skeleton.network.stems import GraphConvolution, STGCNStem
from nas_skeleton.training.candidates import RUNNING, Unsupported


class Stacked(nn.Module):
    """One layer of several members; parameters and running statistics as `(members, *shape)`.

    Args:
        layer: the lean layer of one member, whose weights do not matter.
        members: which members of the pack have this layer, in the order of their weights.
    """

    def __init__(self, layer: nn.Module, members: Sequence[int]) -> None:
        super().__init__()
        self.members = list(members)
        for name, value in layer.named_parameters(recurse=False):
            self.register_parameter(name, nn.Parameter(self._stack(value)))
        buffers = dict(layer.named_buffers(recurse=False))
        self.statistics = [name for name in buffers if name in RUNNING]
        for name in self.statistics:
            self.register_buffer(name, self._stack(buffers[name]))

    def _stack(self, value: Tensor) -> Tensor:
        return value.detach().expand(len(self.members), *value.shape).clone()


class StackedConvolution(Stacked):
    """One convolution with a group for each member."""

    weight: Tensor  # (members, out, in, kernel, kernel)
    bias: Tensor | None

    def __init__(self, layer: nn.Conv2d, members: Sequence[int]) -> None:
        super().__init__(layer, members)
        if layer.bias is None:
            self.bias = None
        self.stride, self.padding = layer.stride, layer.padding

    def forward(self, maps: Tensor) -> Tensor:
        return F.conv2d(
            maps,
            self.weight.flatten(0, 1),
            None if self.bias is None else self.bias.flatten(),
            self.stride,
            self.padding,
            groups=len(self.members),
        )


class StackedGraphTimeConvolution(StackedConvolution):
    """`network.operations.GraphTimeConvolution` of several members, on the same skeleton."""

    adjacency: Tensor

    def __init__(self, layer: GraphTimeConvolution, members: Sequence[int]) -> None:
        super().__init__(layer, members)
        self.register_buffer("adjacency", layer.adjacency)
        self.channels = layer.in_channels

    def forward(self, maps: Tensor) -> Tensor:
        return super().forward(gathered(maps, self.adjacency, self.channels))


class StackedNorm(Stacked):
    """One batch norm over the channels of all members.

    Args:
        layer: the lean layer.
        members: see `Stacked`.
        joints: into how many parts the channels are split outside of the members: they come as
            `(joints, members, rest)`, each member's own as `(joints, rest)`.
    """

    weight: Tensor  # (members, channels), as all others
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self, layer: nn.BatchNorm1d | nn.BatchNorm2d, members: Sequence[int], joints: int = 1
    ) -> None:
        super().__init__(layer, members)
        self.eps, self.momentum, self.joints = layer.eps, layer.momentum, joints

    def forward(self, maps: Tensor) -> Tensor:
        if self.joints == 1:
            return self._norm(maps)
        n, m = len(maps), len(self.members)
        parts = maps.reshape(n, self.joints, m, -1, *maps.shape[2:]).transpose(1, 2)
        normed = self._norm(parts.reshape(maps.shape)).view(parts.shape)
        return normed.transpose(1, 2).reshape(maps.shape)

    def _norm(self, maps: Tensor) -> Tensor:
        return F.batch_norm(
            maps,
            self.running_mean.flatten(),  # a view, so it is updated in place
            self.running_var.flatten(),
            self.weight.flatten(),
            self.bias.flatten(),
            self.training,
            self.momentum if self.momentum is not None else 0.0,
            self.eps,
        )


class StackedLinear(Stacked):
    """One matrix product a member: `(N, members * in)` to `(members, N, out)`."""

    weight: Tensor  # (members, out, in)
    bias: Tensor

    def forward(self, features: Tensor) -> Tensor:
        own = features.view(len(features), len(self.members), -1).transpose(0, 1)
        return torch.baddbmm(self.bias[:, None], own, self.weight.mT)


class StackedGraphConvolution(Stacked):
    """`network.stems.GraphConvolution` of several members, each with its own edge importance."""

    importance: Tensor  # (members, subsets, V, V)
    adjacency: Tensor  # (subsets, V, V)

    def __init__(self, layer: GraphConvolution, members: Sequence[int]) -> None:
        super().__init__(layer, members)
        self.register_buffer("adjacency", layer.adjacency)
        self.project = StackedConvolution(layer.project, members)

    def forward(self, maps: Tensor) -> Tensor:
        n, _, t, v = maps.shape
        m, k = self.importance.shape[:2]
        weights = self.adjacency * self.importance
        gathered = torch.einsum("nmctv,mkvw->nmkctw", maps.view(n, m, -1, t, v), weights)
        kernel = self.project.weight  # (members, subsets * out, in, 1, 1)
        assert self.project.bias is not None
        c = kernel.shape[2]
        kernel = kernel.view(m, k, -1, c).transpose(1, 2).reshape(-1, k * c, 1, 1)
        out = F.conv2d(gathered.reshape(n, m * k * c, t, v), kernel, groups=m)
        bias = torch.einsum("mko,mkw->mow", self.project.bias.view(m, k, -1), weights.sum(dim=2))
        return out + bias.reshape(1, -1, 1, v)


def stack(module: nn.Module, members: Sequence[int]) -> nn.Module:
    """`module` with its layers stacked for `members`; changed in place or replaced.

    Raises:
        Unsupported: a layer with weights that has no stacked form.
    """
    if isinstance(module, Stacked):
        return module
    if isinstance(module, GraphTimeConvolution):
        return StackedGraphTimeConvolution(module, members)
    if isinstance(module, nn.Conv2d):
        return StackedConvolution(module, members)
    if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        return StackedNorm(module, members)
    if isinstance(module, nn.Linear):
        return StackedLinear(module, members)
    if isinstance(module, GraphConvolution):
        return StackedGraphConvolution(module, members)
    if any(True for _ in module.parameters(recurse=False)):
        raise Unsupported(f"no packed form of the layer {type(module).__name__}")
    if isinstance(module, STGCNStem) and module.per_joint:
        norm = StackedNorm(module.data_norm, members, module.joints)
        module.data_norm = norm  # type: ignore[assignment]
    for name, child in module.named_children():
        setattr(module, name, stack(child, members))
    return module
