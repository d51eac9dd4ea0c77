"""Made-up poses for the tests of cleaning steps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from nas_skeleton.skeletons.layouts import get_layout
from nas_skeleton.skeletons.poses import Poses

MakePoses = Callable[..., Poses]


@pytest.fixture
def make() -> MakePoses:
    """`make(coordinates)` are poses in the layout `utdmhad`; the axes are guessed from C."""

    def poses(coordinates: NDArray[np.float64], layout: str = "utdmhad", **more: object) -> Poses:
        axes = ("x", "y", "z")[: len(coordinates)]
        return Poses(
            **{
                "coordinates": np.asarray(coordinates, dtype=np.float64),
                "axes": axes,
                "layout": get_layout(layout),
                "frames_per_second": 30.0,
                **more,
            }
        )

    return poses


@pytest.fixture
def person() -> Callable[..., NDArray[np.float64]]:
    """`person(frames, motion)` is `(3, T, 20)`: taller than wide, moving as much as asked."""

    def made(frames: int, motion: float = 0.1, seed: int = 0) -> NDArray[np.float64]:
        rng = np.random.default_rng(seed)
        still = rng.uniform(0.5, 1, size=(3, 1, 20)) * np.array([0.4, 1.8, 0.3])[:, None, None]
        way = np.linspace(-1, 1, frames) if frames > 1 else np.zeros(1)
        return still + motion * way[None, :, None] + 3

    return made
