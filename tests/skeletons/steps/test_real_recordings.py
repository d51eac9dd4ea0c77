"""Cleaning steps on real recordings of NTU RGB+D and NW-UCLA."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nas_skeleton.skeletons.load import load_dataset_card
from nas_skeleton.skeletons.poses import Poses
from nas_skeleton.skeletons.readers import get_reader
from nas_skeleton.skeletons.steps.frames import DropEmptyFrames, FillGaps, SameRate
from nas_skeleton.skeletons.steps.geometry import Centre, Rotate
from nas_skeleton.skeletons.steps.tracking import Denoise, MainBodyFirst

TWO_PEOPLE = "S001C003P008R002A058"


def recorded(name: str, folder: Path, count: int) -> dict[str, Poses]:
    """The first clips of a data set."""
    card = load_dataset_card(name)
    raw = get_reader(card.reader).open_raw(folder, card)
    clips = [clip for source in raw.sources[:count] for clip in raw.read(source)]
    return {clip.id: Poses(clip.coordinates, clip.axes, card.skeleton, 30) for clip in clips}


@pytest.fixture(scope="module")
def ntu(shared_data: Path) -> dict[str, Poses]:
    return recorded("ntu60", shared_data / "ntu", 5)


def test_clean_recordings_stay_as_they_are(ntu: dict[str, Poses]) -> None:
    assert len(ntu) == 5
    for clip_id, poses in ntu.items():
        cleaned = poses
        for step in (Denoise(), FillGaps(), DropEmptyFrames(), MainBodyFirst()):
            cleaned = step.apply(cleaned)
        bodies = 2 if clip_id == TWO_PEOPLE else 1
        assert cleaned.coordinates.shape == (3, poses.coordinates.shape[1], 25, bodies)
        motions = [cleaned.coordinates[..., body].var(axis=(1, 2)).sum() for body in range(bodies)]
        assert motions == sorted(motions, reverse=True)


def test_a_person_with_two_numbers_is_put_together_again(ntu: dict[str, Poses]) -> None:
    """Two real people, of whom one gets a new number half-way, with a flickering chair beside."""
    x = ntu[TWO_PEOPLE].coordinates
    frames = x.shape[1]
    split = np.zeros((*x.shape[:3], 4))
    split[:, :30, :, 0], split[:, 30:, :, 1] = x[:, :30, :, 0], x[:, 30:, :, 0]
    split[..., 2] = x[..., 1]
    split[:, 40:50, :, 3] = 1 + np.arange(25) * np.array([0.1, 0.01, 0])[:, None, None]
    cleaned = Denoise().apply(ntu[TWO_PEOPLE].having(split)).coordinates
    assert cleaned.shape == (3, frames, 25, 2)
    found = {tuple(cleaned[:, 0, 0, body]): body for body in (0, 1)}
    for person in (0, 1):
        body = found[tuple(x[:, 0, 0, person])]
        np.testing.assert_array_equal(cleaned[..., body], x[..., person])


def test_people_stand_upright_and_face_one_way(ntu: dict[str, Poses]) -> None:
    for poses in ntu.values():
        turned = Rotate().apply(Centre().apply(poses))
        head, feet = turned.coordinates[2, :, 3, 0], turned.coordinates[2, :, [15, 19], 0]
        assert 0.2 < np.median(head) < 0.8
        assert -1.2 < np.median(feet) < -0.6
        spread = turned.coordinates[0, 0, 8, 0] - turned.coordinates[0, 0, 4, 0]
        assert 0.2 < spread < 0.5
        before, after = poses.coordinates[:, :, 5], turned.coordinates[:, :, 5]
        sizes = [np.linalg.norm(v - v[:, :1], axis=0) for v in (before, after)]
        np.testing.assert_allclose(*sizes, atol=1e-9)


def test_half_the_rate_is_every_other_frame(ntu: dict[str, Poses]) -> None:
    for poses in ntu.values():
        halved = SameRate(frames_per_second=15).apply(poses).coordinates
        np.testing.assert_array_equal(halved, poses.coordinates[:, ::2])


def test_the_clips_of_nwucla_can_be_cleaned(shared_data: Path) -> None:
    for clip_id, poses in recorded("nwucla", shared_data / "nwucla", 40).items():
        cleaned = poses
        for step in (FillGaps(), DropEmptyFrames(), Centre(), Rotate()):
            cleaned = step.apply(cleaned)
        assert np.isfinite(cleaned.coordinates).all(), clip_id
        assert cleaned.coordinates.shape[1] == poses.coordinates.shape[1]
        joints = cleaned.layout.joints
        assert cleaned.coordinates[2, 0, joints.index("head"), 0] > 0.2, clip_id
