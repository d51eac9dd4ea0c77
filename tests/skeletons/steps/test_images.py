"""Pixels become numbers that the picture's size is not in."""

from __future__ import annotations

import numpy as np
import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.steps.images import CentreUnitSquare, ScaleImage

AXES = ("x", "y", "score")


def found() -> np.ndarray:
    """Joint 0 in the middle of 640x480, joint 1 at the lower right, joints 2 and 3 not found."""
    x = np.zeros((3, 1, 20, 1))
    x[:, 0, 0, 0] = 320, 240, 0.9
    x[:, 0, 1, 0] = 640, 480, 0.8
    x[:, 0, 3, 0] = 500, 20, 0
    return x


@pytest.mark.parametrize("by_option", [True, False])
def test_the_image_spans_minus_one_to_one(make, by_option: bool) -> None:
    if by_option:
        step, size = ScaleImage(width=640, height=480), (7, 7)
    else:
        step, size = ScaleImage(), (640, 480)
    scaled = step.apply(make(found(), axes=AXES, image_size=size))
    wanted = [[0, 0, 0.9], [1, 1, 0.8], [0, 0, 0], [0, 0, 0]]
    assert scaled.coordinates[:, 0, :4, 0].T.tolist() == wanted
    assert scaled.image_size is None


def test_an_unknown_size_is_said(make) -> None:
    with pytest.raises(InputError, match="size of its images is unknown: say it in the card"):
        ScaleImage().apply(make(found(), axes=AXES))


def test_the_unit_square_is_centred(make) -> None:
    x = found()
    x[:2] /= 640
    x[:2, 0, 3] = 0.25  # a place without a score
    centred = CentreUnitSquare().apply(make(x, axes=AXES)).coordinates
    np.testing.assert_allclose(
        centred[:, 0, :4, 0].T, [[0, -0.125, 0.9], [0.5, 0.25, 0.8], [0, 0, 0], [0, 0, 0]]
    )


def test_nobody_stays_nobody_without_scores(make) -> None:
    x = np.random.default_rng(0).uniform(size=(2, 4, 20, 2))
    x[:, 1:, :, 1] = 0
    centred = CentreUnitSquare().apply(make(x, axes=("x", "y"))).coordinates
    np.testing.assert_allclose(centred[..., 0], x[..., 0] - 0.5)
    assert not centred[:, 1:, :, 1].any()
