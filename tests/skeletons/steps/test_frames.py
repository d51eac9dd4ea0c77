"""Empty frames go, gaps are filled, rates are made the same."""

from __future__ import annotations

import numpy as np
import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.steps.frames import DropEmptyFrames, FillGaps, SameRate


def test_frames_that_nobody_is_in_go(make, person) -> None:
    x = np.zeros((3, 10, 20, 2))
    x[:, 2:4, :, 0], x[:, 3, :, 1], x[:, 6:8, :, 1] = person(2), person(1)[:, 0], person(2)
    kept = DropEmptyFrames().apply(make(x)).coordinates
    np.testing.assert_array_equal(kept, x[:, [2, 3, 6, 7]])
    ends = DropEmptyFrames(where="ends").apply(make(x)).coordinates
    np.testing.assert_array_equal(ends, x[:, 2:8])


def test_a_score_without_a_place_is_nobody(make, person) -> None:
    x = np.zeros((3, 3, 20, 1))
    x[:2, 1, :, 0], x[2] = person(1)[:2, 0], 0.5
    kept = DropEmptyFrames().apply(make(x, axes=("x", "y", "score"))).coordinates
    np.testing.assert_array_equal(kept, x[:, [1]])


def test_gaps_are_filled_linearly_and_ends_are_held(make) -> None:
    x = np.ones((3, 7, 20, 1))
    x[0, :, 4, 0] = [np.nan, 2, np.nan, np.nan, 8, 9, np.nan]
    filled = FillGaps().apply(make(x)).coordinates
    np.testing.assert_allclose(filled[0, :, 4, 0], [2, 2, 4, 6, 8, 9, 9])
    assert (np.delete(filled, 4, axis=2) == 1).all()


def test_frames_without_the_body_are_no_support(make) -> None:
    x = np.ones((3, 6, 20, 1))
    x[0, :, 4, 0] = [2, np.nan, 0, np.nan, 6, 7]
    x[:, 2] = 0
    filled = FillGaps().apply(make(x)).coordinates
    np.testing.assert_allclose(filled[0, :, 4, 0], [2, 3, 0, 5, 6, 7])


def test_a_joint_that_is_never_known_is_said(make) -> None:
    x = np.ones((3, 6, 20, 2))
    x[1, :, 5, 1] = np.nan
    with pytest.raises(InputError, match="joint 'left elbow' of body 1 is NaN in all frames"):
        FillGaps().apply(make(x))


@pytest.mark.parametrize(("longest", "fine"), [(None, True), (3, True), (2, False)])
def test_long_gaps_are_said(make, longest: int | None, fine: bool) -> None:
    x = np.ones((3, 9, 20, 1))
    x[0, 1, 4, 0] = x[0, 3:6, 4, 0] = np.nan
    step = FillGaps(longest=longest)
    if fine:
        assert (step.apply(make(x)).coordinates == 1).all()
    else:
        with pytest.raises(InputError, match="'left shoulder' of body 0 is NaN in 3 frames"):
            step.apply(make(x))


@pytest.mark.parametrize(("was", "becomes", "frames"), [(30, 15, 5), (15, 30, 19), (30, 20, 7)])
def test_another_rate_is_the_same_motion(make, was: float, becomes: float, frames: int) -> None:
    times = np.arange(10) / was
    x = np.broadcast_to(1 + times[None, :, None, None], (3, 10, 20, 1))
    resampled = SameRate(frames_per_second=becomes).apply(make(x, frames_per_second=was))
    assert resampled.frames_per_second == becomes
    assert resampled.coordinates.shape[1] == frames
    wanted = 1 + np.arange(frames) / becomes
    np.testing.assert_allclose(resampled.coordinates[0, :, 3, 0], wanted)


def test_rounding_does_not_cost_the_last_frame(make) -> None:
    """125 / (25 / 24) is a little less than 120."""
    x = np.ones((3, 126, 20, 1)) * np.arange(1, 127)[:, None, None]
    poses = make(x, frames_per_second=25)
    resampled = SameRate(frames_per_second=24).apply(poses).coordinates
    assert resampled.shape[1] == 121
    assert resampled[0, -1, 0, 0] == 126


def test_numbers_that_are_not_known_stay_where_they_are(make) -> None:
    x = np.ones((3, 9, 20, 1))
    x[0, 3, 5] = np.nan
    halved = SameRate(frames_per_second=15).apply(make(x)).coordinates
    assert (halved == 1).all()


def test_the_same_rate_changes_nothing(make, person) -> None:
    poses = make(person(9)[..., None])
    assert SameRate(frames_per_second=30).apply(poses) is poses


def test_one_frame_stays_one(make, person) -> None:
    poses = make(person(1)[..., None])
    again = SameRate(frames_per_second=50).apply(poses).coordinates
    np.testing.assert_array_equal(again, poses.coordinates)


def test_nobody_is_not_blended_with_somebody(make) -> None:
    x = np.zeros((3, 8, 20, 1))
    x[:, 3:6] = 4
    resampled = SameRate(frames_per_second=45).apply(make(x)).coordinates
    assert set(np.unique(resampled)) == {0, 4}


def test_a_joint_that_was_not_found_is_not_blended(make) -> None:
    x = np.full((3, 8, 20, 1), 4.0)
    x[:, 2, 7] = 0
    poses = make(x, axes=("x", "y", "score"))
    resampled = SameRate(frames_per_second=45).apply(poses).coordinates
    assert set(np.unique(resampled[:, :, 7])) == {0, 4}
    assert (np.delete(resampled, 7, axis=2) == 4).all()
