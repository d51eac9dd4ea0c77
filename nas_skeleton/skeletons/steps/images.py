"""Steps for poses found in images: from pixels to numbers that the picture's size is not in."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.layouts import Layout
from nas_skeleton.skeletons.poses import Poses
from nas_skeleton.skeletons.steps.step import Step, needed_axes, seen

Pixels = Annotated[int, Field(gt=0)]


class ScaleImage(Step):
    """Pixels to -1..1: the middle of the image becomes the origin, its edges -1 and 1.

    The size comes from the clip, or is `width` and `height` where the format does not know it; both
    or none are given. Joints that were not found come to lie at zero, whatever place they have.
    """

    version: ClassVar[int] = 2  # 1 left the place of a joint that was not found in pixels
    name: Literal["scale-image"] = "scale-image"
    width: Pixels | None = None
    height: Pixels | None = None

    def fault(self, layout: Layout, axes: tuple[str, ...]) -> str | None:  # noqa: ARG002
        if (self.width is None) != (self.height is None):
            return "needs both width and height, or none"
        return needed_axes(("x", "y"), axes)

    def apply(self, poses: Poses) -> Poses:
        size = (self.width, self.height) if self.width and self.height else poses.image_size
        if size is None:
            raise InputError(
                "the size of its images is unknown: say it in the card, { name = 'scale-image', "
                "width = …, height = … }"
            )
        x = poses.coordinates.copy()
        found = seen(poses)
        for axis, length in zip(("x", "y"), size, strict=True):
            values = x[poses.axes.index(axis)]
            x[poses.axes.index(axis)] = np.where(found, values / (length / 2) - 1, 0)
        # the numbers are no longer pixels, and must not be scaled again
        return replace(poses, coordinates=x, image_size=None)


class CentreUnitSquare(Step):
    """Coordinates in 0..1 to -0.5..0.5, zero where the score is 0, as ST-GCN's loader has it."""

    name: Literal["centre-unit-square"] = "centre-unit-square"

    def fault(self, layout: Layout, axes: tuple[str, ...]) -> str | None:  # noqa: ARG002
        return needed_axes(("x", "y"), axes)

    def apply(self, poses: Poses) -> Poses:
        x = poses.coordinates.copy()
        found = seen(poses)
        for axis in ("x", "y"):
            values = x[poses.axes.index(axis)]
            x[poses.axes.index(axis)] = np.where(found, values - 0.5, 0)
        return poses.having(x)
