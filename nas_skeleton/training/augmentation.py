"""Augmentation: the same movement by somebody who stands otherwise, is larger, or mirrored.

All that is changed about a clip is one linear map of space, the same for all its frames, bodies and
modalities, about the origin that clips are centred on. Scores stay, and who is not there stays at
zero. Labels stay too, so do not mirror where left and right are what classes differ in: a mirrored
"swipe_left" is a "swipe_right" with the wrong label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.layouts import Layout
from nas_skeleton.skeletons.poses import SPATIAL

if TYPE_CHECKING:
    from nas_skeleton.spaces.recipe import TrainingRecipe

_NUMBERS = 5  # drawn per clip, whatever they are used for: mirror, three angles, size


@dataclass(frozen=True)
class Augmentation:
    """What is changed about training clips.

    Attributes:
        layout: whose left and right are exchanged.
        axes: names of the channels of one modality; C is one modality after the other.
        mirror: probability that x changes its sign and left and right joints their places.
        rotation: largest angle in radians about each axis, drawn evenly in ±; about z alone where
            there is no z.
        scaling: largest relative change of size, drawn evenly in 1 ±.
    """

    layout: Layout
    axes: Sequence[str]
    mirror: float = 0.0
    rotation: float = 0.0
    scaling: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.mirror or self.rotation or self.scaling)

    def check(self, modalities: Sequence[str]) -> None:
        """Raise `InputError` where clips of these modalities cannot be changed like that."""
        if not self.mirror:
            return
        if not self.layout.left_right:
            raise InputError(
                f"layout {self.layout.name!r} has no left and right: leave out `mirror`"
            )
        swapped = self._swapped
        mirrored = {(swapped[child], swapped[parent]) for child, parent in self.layout.edges}
        if mirrored != set(self.layout.edges) and any(m.startswith("bone") for m in modalities):
            raise InputError(
                f"layout {self.layout.name!r} has other bones on the left than on the right: "
                "leave out `mirror`, or bones"
            )

    def __call__(self, clips: Tensor, seed: int) -> Tensor:
        """Changed clips `(B, C, T, V, M)`; `clips` stay as they are.

        What is drawn depends on `seed` and a clip's place in the batch, not on the device.
        """
        if not len(clips):
            return clips
        drawn = torch.rand(
            len(clips),
            _NUMBERS,
            generator=torch.Generator().manual_seed(seed),
            dtype=torch.float64,
        )
        mirrored = drawn[:, 0] < self.mirror
        maps = self._maps(mirrored, drawn[:, 1:4] * 2 - 1, drawn[:, 4] * 2 - 1)
        maps = maps.to(clips.device, clips.dtype)
        batch, channels, frames, joints, bodies = clips.shape
        if mirrored.any():
            swapped = clips[:, :, :, self._swapped]
            which = mirrored.to(clips.device)[:, None, None, None, None]
            clips = torch.where(which, swapped, clips)
        shape = (batch, channels // len(self.axes), len(self.axes), frames * joints * bodies)
        x = clips.reshape(shape)
        places = self._places
        # A product and a sum instead of a matrix product, which a GPU may round to TensorFloat-32.
        moved = (maps[:, None, :, :, None] * x[:, :, None, places]).sum(dim=3)
        if len(places) < len(self.axes):
            x = x.clone()
            x[:, :, places] = moved
            moved = x
        return moved.reshape(clips.shape)

    @property
    def _places(self) -> list[int]:
        return [index for index, axis in enumerate(self.axes) if axis in SPATIAL]

    @property
    def _swapped(self) -> list[int]:
        """For every joint the one on the other side, or itself."""
        pairs = self.layout.left_right
        other = dict(pairs) | {right: left for left, right in pairs}
        return [other.get(joint, joint) for joint in range(len(self.layout.joints))]

    def _maps(self, mirrored: Tensor, angles: Tensor, sizes: Tensor) -> Tensor:
        """Linear maps of space, one per clip, float64 `(B, places, places)` on the CPU."""
        names = [self.axes[place] for place in self._places]
        maps = torch.eye(3, dtype=torch.float64).repeat(len(mirrored), 1, 1)
        maps[:, 0, 0] = torch.where(mirrored, -1.0, 1.0)
        turned = range(3) if "z" in names else (2,)
        for axis in turned:
            maps = _rotations(axis, angles[:, axis] * self.rotation) @ maps
        maps *= (1 + sizes * self.scaling)[:, None, None]
        kept = ["xyz".index(name) for name in names]
        return maps[:, kept][:, :, kept]


def augmentation_of(recipe: TrainingRecipe, layout: Layout, axes: Sequence[str]) -> Augmentation:
    """What a recipe asks for."""
    return Augmentation(layout, axes, recipe.mirror, recipe.rotation, recipe.scaling)


def _rotations(axis: int, angles: Tensor) -> Tensor:
    """Rotations `(B, 3, 3)` by `angles` about a coordinate axis."""
    rotations = torch.eye(3, dtype=torch.float64).repeat(len(angles), 1, 1)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    rotations[:, i, i] = rotations[:, j, j] = angles.cos()
    rotations[:, j, i] = angles.sin()
    rotations[:, i, j] = -angles.sin()
    return rotations
