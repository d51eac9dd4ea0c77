"""Poses: the moving skeletons of one clip, between the reader and the store.

What a cleaning step (`steps`) takes and gives. A body that is all zero in a frame is not there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nas_skeleton.skeletons.layouts import Layout

SPATIAL = ("x", "y", "z")
"""Axes that are places; everything else, such as "score", is neither moved nor turned."""


@dataclass(frozen=True, eq=False)
class Poses:
    """The bodies of a clip.

    Attributes:
        coordinates: float64 `(C, T, V, M)`: axes, frames, joints, bodies. NaN where the file says
            so; a body that is all zero in a frame is not there.
        axes: names of C, such as `("x", "y", "z")` or `("x", "y", "score")`.
        layout: the skeleton its joints belong to.
        frames_per_second: of this clip.
        image_size: `(width, height)` in pixels for poses found in images, else None.
    """

    coordinates: NDArray[np.float64]
    axes: tuple[str, ...]
    layout: Layout
    frames_per_second: float
    image_size: tuple[int, int] | None = None

    @property
    def places(self) -> list[int]:
        """Indices of the spatial axes."""
        return [index for index, axis in enumerate(self.axes) if axis in SPATIAL]

    @property
    def present(self) -> NDArray[np.bool_]:
        """`(T, M)`: whether the body is there in the frame."""
        places = self.coordinates[self.places]
        there: NDArray[np.bool_] = (places != 0).any(axis=(0, 2))
        return there

    def having(self, coordinates: NDArray[np.float64]) -> Poses:
        """The same with other coordinates."""
        return replace(self, coordinates=coordinates)
