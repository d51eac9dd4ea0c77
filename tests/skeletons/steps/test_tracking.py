"""Tracks become actors; bodies are chosen and ordered."""

from __future__ import annotations

import numpy as np
import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.poses import Poses
from nas_skeleton.skeletons.steps.tracking import (
    ChooseBodies,
    Denoise,
    MainBodyFirst,
    SecondBody,
)


def tracks(make, frames: int, **bodies) -> Poses:
    """Bodies `name=(first frame, coordinates (3, T, 20))` in a clip of `frames`."""
    x = np.zeros((3, frames, 20, len(bodies)))
    for body, (first, points) in enumerate(bodies.values()):
        x[:, first : first + points.shape[1], :, body] = points
    return make(x)


def test_two_people_stay_two_the_livelier_one_first(make, person) -> None:
    poses = tracks(make, 30, calm=(0, person(30, 0.1)), lively=(0, person(30, 0.9, seed=1)))
    cleaned = Denoise().apply(poses).coordinates
    np.testing.assert_array_equal(cleaned, poses.coordinates[..., [1, 0]])


def test_a_person_whose_number_changes_stays_one_person(make, person) -> None:
    poses = tracks(make, 40, a=(0, person(18)), b=(18, person(22, seed=1)))
    cleaned = Denoise().apply(poses).coordinates
    assert cleaned.shape[3] == 1
    np.testing.assert_array_equal(cleaned[..., 0], poses.coordinates.sum(axis=3))


def test_a_track_joins_the_second_actor_where_it_overlaps_with_the_first(make, person) -> None:
    poses = tracks(
        make,
        60,
        first=(0, person(60, 0.9)),
        second=(0, person(25, 0.5, seed=1)),
        later=(30, person(30, 0.3, seed=2)),
        too_many=(20, person(20, 0.1, seed=3)),
    )
    x = poses.coordinates
    cleaned = Denoise().apply(poses).coordinates
    assert cleaned.shape[3] == 2
    np.testing.assert_array_equal(cleaned[..., 0], x[..., 0])
    np.testing.assert_array_equal(cleaned[..., 1], x[..., 1] + x[..., 2])


def test_a_body_that_comes_back_keeps_its_own_frames(make, person) -> None:
    """The scripts counted on from its last frame, and so closed the pause."""
    x = np.zeros((3, 50, 20, 2))
    x[:, :, :, 0] = person(50, 0.9)
    x[:, :15, :, 1] = person(15, 0.2, seed=1)
    x[:, 35:, :, 1] = person(15, 0.2, seed=2)
    np.testing.assert_array_equal(Denoise().apply(make(x)).coordinates, x)


def test_one_shared_frame_is_an_overlap(make, person) -> None:
    poses = tracks(make, 40, a=(0, person(20, 0.9)), b=(19, person(21, 0.3, seed=1)))
    cleaned = Denoise().apply(poses).coordinates
    np.testing.assert_array_equal(cleaned, poses.coordinates)


@pytest.mark.parametrize(("frames", "stays"), [(11, False), (12, True)])
def test_tracks_of_eleven_frames_are_no_persons(make, person, frames: int, stays: bool) -> None:
    poses = tracks(make, 40, a=(0, person(40, 0.1)), b=(3, person(frames, 0.9, seed=1)))
    cleaned = Denoise().apply(poses)
    assert cleaned.coordinates.shape[3] == 1 + stays


def test_of_tracks_that_are_all_too_short_the_longest_stays(make, person) -> None:
    poses = tracks(make, 11, a=(0, person(4)), b=(2, person(9, seed=1)), c=(0, person(3)))
    cleaned = Denoise().apply(poses).coordinates
    np.testing.assert_array_equal(cleaned, poses.coordinates[..., [1]])


def test_a_short_track_alone_is_taken_as_it_is(make, person) -> None:
    poses = tracks(make, 9, a=(1, person(5)))
    np.testing.assert_array_equal(Denoise().apply(poses).coordinates, poses.coordinates)


def wide(points: np.ndarray) -> np.ndarray:
    """The same lying down."""
    return points[[1, 0, 2]]


@pytest.mark.parametrize(("noisy", "stays"), [(69, True), (70, False)])
def test_what_is_wider_than_high_in_most_frames_is_no_person(
    make, person, noisy: int, stays: bool
) -> None:
    chair = person(100, 0.9, seed=1)
    chair[:, :noisy] = wide(chair)[:, :noisy]
    poses = tracks(make, 100, a=(0, person(100, 0.1)), b=(0, chair))
    assert Denoise().apply(poses).coordinates.shape[3] == 1 + stays


def test_of_tracks_that_are_all_noisy_the_least_noisy_one_stays(make, person) -> None:
    best = wide(person(20, seed=2))
    best[:, :3] = person(20)[:, :3]
    poses = tracks(make, 20, a=(0, wide(person(20))), b=(0, best), c=(0, wide(person(20))))
    cleaned = Denoise().apply(poses).coordinates
    np.testing.assert_array_equal(cleaned, poses.coordinates[..., [1]])


def test_noisy_frames_do_not_count_as_motion(make, person) -> None:
    jumpy = person(30, 0.01, seed=1)
    jumpy[:, :5] = 40 * wide(jumpy)[:, :5]
    poses = tracks(make, 30, a=(0, jumpy), b=(0, person(30, 0.4)))
    cleaned = Denoise().apply(poses).coordinates
    np.testing.assert_array_equal(cleaned[..., 0], poses.coordinates[..., 1])


def test_unknown_numbers_do_not_disturb_the_rules(make, person) -> None:
    poses = tracks(make, 30, a=(0, person(30, 0.1)), b=(0, person(30, 0.9, seed=1)))
    poses.coordinates[:, 4, 3, 1] = np.nan
    poses.coordinates[:, 5, :, 1] = np.nan
    cleaned = Denoise().apply(poses).coordinates
    np.testing.assert_array_equal(cleaned, poses.coordinates[..., [1, 0]])


def test_empty_slots_between_tracks_are_no_actors(make, person) -> None:
    poses = tracks(make, 30, a=(0, person(30)), nobody=(0, np.zeros((3, 1, 20))))
    assert Denoise().apply(poses).coordinates.shape[3] == 1


def scored(make, x: np.ndarray, score: np.ndarray) -> Poses:
    axes = ("x", "y", "score")
    return make(np.concatenate([x[:2], score[None]]), axes=axes)


@pytest.mark.parametrize(
    ("by", "order"), [("motion", [2, 0]), ("presence", [0, 1]), ("score", [1, 2])]
)
def test_bodies_are_chosen_by_what_the_card_says(make, person, by: str, order: list[int]) -> None:
    x = np.zeros((3, 20, 20, 4))
    x[..., 0], x[:, :18, :, 1], x[:, :9, :, 2] = person(20, 0.2), person(18, 0.1), person(9, 0.9)
    score = np.zeros((20, 20, 4))
    score[..., 0], score[:18, :, 1], score[:9, :, 2] = 0.1, 0.9, 0.7
    poses = scored(make, x, score)
    chosen = ChooseBodies(count=2, by=by).apply(poses)
    np.testing.assert_array_equal(chosen.coordinates, poses.coordinates[..., order])


@pytest.mark.parametrize("by", ["motion", "presence", "score", "score-per-frame"])
def test_who_is_never_there_comes_last(make, person, by: str) -> None:
    x = np.zeros((3, 5, 20, 2))
    x[..., 1] = person(5)
    score = np.full((5, 20, 2), 0.2)
    score[..., 0] = 0.9  # of nobody
    poses = scored(make, x, score)
    chosen = ChooseBodies(count=1, by=by).apply(poses)
    np.testing.assert_array_equal(chosen.coordinates, poses.coordinates[..., [1]])


def test_people_are_sorted_in_every_frame_as_st_gcn_does(make) -> None:
    rng = np.random.default_rng(0)
    x, score = rng.uniform(0.1, 1, size=(3, 6, 20, 5)), rng.uniform(size=(6, 20, 5))
    score[2, :, 3:], x[:, 2, :, 3:] = 0, 0
    poses = scored(make, x, score)
    chosen = ChooseBodies(count=2, by="score-per-frame").apply(poses).coordinates
    for frame in range(6):
        ranked = sorted(range(5), key=lambda body: -score[frame, :, body].sum())
        for place, body in enumerate(ranked[:2]):
            np.testing.assert_array_equal(
                chosen[:, frame, :, place], poses.coordinates[:, frame, :, body]
            )


def test_scores_cannot_be_asked_for_where_there_are_none(make, person) -> None:
    poses = make(person(4)[..., None])
    with pytest.raises(InputError, match="needs the axis 'score', it has x, y, z"):
        ChooseBodies(count=1, by="score").apply(poses)


def test_the_main_body_comes_first_and_decides_the_frames(make, person) -> None:
    poses = tracks(make, 12, a=(0, person(5)), b=(3, person(8, seed=1)))
    cleaned = MainBodyFirst().apply(poses).coordinates
    np.testing.assert_array_equal(cleaned, poses.coordinates[:, 3:11][..., [1, 0]])


def test_of_equals_the_first_stays_first(make, person) -> None:
    poses = tracks(make, 12, a=(0, person(6)), b=(3, person(6, seed=1)))
    cleaned = MainBodyFirst().apply(poses).coordinates
    np.testing.assert_array_equal(cleaned, poses.coordinates[:, :6])


@pytest.mark.parametrize("slots", [1, 2])
def test_the_second_body_is_filled_as_the_card_says(make, person, slots: int) -> None:
    x = np.zeros((3, 8, 20, slots))
    x[..., 0] = person(8)
    filled = SecondBody(fill="zero").apply(make(x)).coordinates
    assert filled.shape[3] == 2
    assert not filled[..., 1].any()
    copied = SecondBody(fill="copy").apply(make(x)).coordinates
    np.testing.assert_array_equal(copied, x[..., [0, 0]])


def test_a_second_body_that_is_there_stays(make, person) -> None:
    poses = tracks(make, 12, a=(0, person(12)), b=(3, person(6, seed=1)))
    np.testing.assert_array_equal(
        SecondBody(fill="copy").apply(poses).coordinates, poses.coordinates
    )
