"""Centring and turning of whole clips."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.layouts import get_layout
from nas_skeleton.skeletons.poses import Poses
from nas_skeleton.skeletons.steps.geometry import Centre, Rotate, turn_onto

SPINE = 2
HEAD, HIPS, LEFT, RIGHT = 0, 3, 4, 8
X, Z = np.array([1.0, 0, 0]), np.array([0, 0, 1.0])


def two_people(frames: int = 6) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, frames, 20, 2)) + 5


def test_the_first_frame_decides_where_the_origin_is(make) -> None:
    x = two_people()
    centred = Centre().apply(make(x)).coordinates
    np.testing.assert_allclose(centred, x - x[:, :1, SPINE : SPINE + 1, :1])


def test_every_frame_may_decide(make) -> None:
    x = two_people()
    centred = Centre(joint="head", when="every-frame").apply(make(x)).coordinates
    np.testing.assert_allclose(centred, x - x[:, :, HEAD : HEAD + 1, :1])


def test_the_first_body_may_come_late_and_leave(make) -> None:
    x = two_people(8)
    x[:, :3, :, 0] = x[:, 5, :, 0] = 0
    centred = Centre().apply(make(x)).coordinates
    origin = x[:, 3, SPINE, 0][:, None, None]
    np.testing.assert_allclose(centred[..., 1], x[..., 1] - origin)
    assert not centred[:, :3, :, 0].any()
    moving = Centre(when="every-frame").apply(make(x)).coordinates
    for frame, held in enumerate([3, 3, 3, 3, 4, 4, 6, 7]):
        place = x[:, held, SPINE, 0][:, None]
        np.testing.assert_allclose(moving[:, frame, :, 1], x[:, frame, :, 1] - place)
    assert not moving[:, 5, :, 0].any()


def test_joints_that_were_not_found_stay_at_zero_and_scores_stay(make) -> None:
    x = two_people()[..., :1]
    x[:, 2, 7] = 0
    x[:, 0, SPINE] = 0  # the centring joint itself is not found in the first frame
    poses = make(x, axes=("x", "y", "score"))
    centred = Centre().apply(poses).coordinates
    assert not centred[:, 2, 7].any()
    assert not centred[:2, 1, SPINE].any()
    np.testing.assert_array_equal(centred[2], x[2])


def test_a_joint_in_the_origin_is_moved_where_there_are_no_scores(make) -> None:
    x = two_people()
    x[:, :, HIPS, 0] = 0  # as of clips that are centred on the hips already
    centred = Centre(joint="head").apply(make(x)).coordinates
    np.testing.assert_allclose(centred[:, 1, HIPS, 0], -x[:, 0, HEAD, 0])


def test_a_first_body_that_is_never_there_is_said(make) -> None:
    x = two_people()
    x[..., 0] = 0
    with pytest.raises(InputError, match="joint 'spine' of its first body is in no frame"):
        Centre().apply(make(x))


def upright(x: np.ndarray, frame: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Spine and shoulders of the first body in a frame."""
    first = x[:, frame, :, 0]
    return first[:, SPINE] - first[:, HIPS], first[:, RIGHT] - first[:, LEFT]


def test_spine_stands_on_z_and_shoulders_above_x(make) -> None:
    x = two_people()
    turned = Rotate().apply(make(x)).coordinates
    spine, shoulders = upright(turned)
    np.testing.assert_allclose(spine, np.linalg.norm(spine) * Z, atol=1e-12)
    assert shoulders[0] > 0
    assert abs(shoulders[1]) < 1e-12


def test_turning_onto_x_wholly_is_the_published_way(make) -> None:
    turned = Rotate(shoulders_turn="onto-x").apply(make(two_people())).coordinates
    _, shoulders = upright(turned)
    np.testing.assert_allclose(shoulders, np.linalg.norm(shoulders) * X, atol=1e-12)


def test_both_ways_agree_where_the_shoulders_are_across_the_spine(make) -> None:
    x = two_people()
    spine, _ = upright(x)
    x[:, 0, RIGHT, 0] = x[:, 0, LEFT, 0] + np.cross(spine, [0.3, -0.2, 0.9])
    ways = [Rotate(shoulders_turn=way).apply(make(x)) for way in ("about-spine", "onto-x")]
    np.testing.assert_allclose(ways[0].coordinates, ways[1].coordinates, atol=1e-12)


def test_a_clip_is_turned_as_a_whole(make) -> None:
    x = two_people()
    x[:, 4, :, 1] = 0
    turned = Rotate().apply(make(x)).coordinates
    assert not turned[:, 4, :, 1].any()
    before, after = (v.reshape(3, -1).T @ v.reshape(3, -1) for v in (x, turned))
    np.testing.assert_allclose(after, before, atol=1e-9)  # lengths and angles
    rotation = turned.reshape(3, -1) @ np.linalg.pinv(x.reshape(3, -1))
    assert np.linalg.det(rotation) == pytest.approx(1)  # no mirror image


def test_turning_twice_is_turning_once(make) -> None:
    once = Rotate().apply(make(two_people()))
    np.testing.assert_allclose(Rotate().apply(once).coordinates, once.coordinates, atol=1e-12)


@pytest.mark.parametrize("layout", ["ntu", "nwucla"])
def test_the_kinect_layouts_are_known(make, layout: str) -> None:
    joints = get_layout(layout).joints
    x = np.random.default_rng(1).normal(size=(3, 4, len(joints), 1))
    turned = Rotate().apply(make(x, layout)).coordinates[:, 0, :, 0]
    base, above = ("spine base", "spine middle") if layout == "ntu" else ("hip centre", "spine")
    spine = turned[:, joints.index(above)] - turned[:, joints.index(base)]
    np.testing.assert_allclose(spine[:2], 0, atol=1e-12)
    right = turned[:, joints.index("right shoulder")] - turned[:, joints.index("left shoulder")]
    assert right[0] > 0


def test_other_layouts_say_their_bones(make) -> None:
    x = np.random.default_rng(1).normal(size=(3, 4, 17, 1))
    with pytest.raises(InputError, match=r"layout 'coco17' is not known to it: say spine"):
        Rotate().apply(make(x, "coco17"))
    joints = get_layout("coco17").joints
    turned = Rotate(spine=(joints[11], joints[5])).apply(make(x, "coco17")).coordinates
    np.testing.assert_allclose((turned[:2, 0, 5] - turned[:2, 0, 11]), 0, atol=1e-12)


def test_on_the_head_and_backwards_are_turned_by_half_a_circle(make) -> None:
    x = two_people()
    x[:, :, SPINE, 0] = x[:, :, HIPS, 0] - Z[:, None]
    x[:, :, RIGHT, 0] = x[:, :, LEFT, 0] - X[:, None]
    turned = Rotate().apply(make(x)).coordinates
    spine, shoulders = upright(turned)
    np.testing.assert_allclose(spine, Z, atol=1e-12)
    np.testing.assert_allclose(shoulders, X, atol=1e-12)


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_the_first_frame_with_both_bones_decides(make, value: float) -> None:
    x = two_people()
    x[:, 0, :, 0] = 0
    x[:, 1, SPINE, 0] = x[:, 1, HIPS, 0] + value
    x[:, 2, LEFT, 0] = x[:, 2, RIGHT, 0] + value
    turned = Rotate().apply(make(x)).coordinates
    spine, _ = upright(turned, frame=3)
    np.testing.assert_allclose(spine[:2], 0, atol=1e-12)


def test_a_clip_without_such_a_frame_is_said(make) -> None:
    x = two_people()
    x[:, :, SPINE] = x[:, :, HIPS]
    with pytest.raises(InputError, match="finds no frame with the first body's spine"):
        Rotate().apply(make(x))


def test_flat_poses_cannot_be_turned(make) -> None:
    with pytest.raises(InputError, match="needs the axis 'z', the data have x, y, score"):
        Rotate().apply(make(two_people(), axes=("x", "y", "score")))


@given(
    st.lists(st.floats(-1, 1), min_size=3, max_size=3).filter(lambda v: np.linalg.norm(v) > 1e-3),
    st.sampled_from([1.0, 1e-5, 1e-8, 1e-10, 1e-13, 0.0]),
)
def test_the_smallest_rotation_takes_any_vector_to_any_axis(v: list[float], off: float) -> None:
    for vector in (np.array(v), np.array([off * v[0], off * v[1], -1.0])):
        rotation = turn_onto(vector, Z)
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        np.testing.assert_allclose(
            rotation @ vector, np.linalg.norm(vector) * Z, rtol=0, atol=1e-12
        )
        assert np.linalg.det(rotation) == pytest.approx(1)
        angle = np.arccos(np.clip(vector @ Z / np.linalg.norm(vector), -1, 1))
        assert np.trace(rotation) == pytest.approx(1 + 2 * np.cos(angle), abs=1e-6)


def test_a_step_keeps_what_it_does_not_change() -> None:
    poses = Poses(two_people(), ("x", "y", "z"), get_layout("utdmhad"), 25.0, (640, 480))
    for step in (Centre(), Rotate()):
        cleaned = step.apply(poses)
        assert (cleaned.frames_per_second, cleaned.image_size) == (25.0, (640, 480))
