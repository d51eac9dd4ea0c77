"""Network inputs: centred and resampled coordinates, and the picture of the thesis."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.inputs import (
    ENCODINGS,
    encode,
    image_channel_statistics,
    image_pixels,
)
from nas_skeleton.skeletons.store import Dataset, load_dataset

SPINE = 2


@pytest.fixture
def dataset(tiny: Any) -> Dataset:
    tiny.zip()
    return load_dataset("tiny")


def with_clips(dataset: Dataset, clips: list[np.ndarray]) -> Dataset:
    """The same data set with other coordinates `(C, T, V, M)`."""
    offset, entries = 0, []
    for entry, clip in zip(dataset.header.clips, clips, strict=False):
        entries.append(entry.model_copy(update={"length": clip.shape[1], "offset": offset}))
        offset += clip.size
    channels, _, _, bodies = clips[0].shape
    header = dataset.header.model_copy(
        update={"clips": entries, "channels": channels, "bodies": bodies}
    )
    numbers = np.concatenate([clip.astype(np.float32).ravel() for clip in clips])
    count = len(clips)
    return replace(
        dataset,
        header=header,
        labels=dataset.labels[:count],
        subjects=dataset.subjects[:count],
        lengths=np.array([clip.shape[1] for clip in clips]),
        _numbers=numbers,
    )


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("frames", [2, 9, 40])
def test_all_clips_become_one_array(dataset: Dataset, encoding: str, frames: int) -> None:
    inputs = encode(dataset, encoding, frames)
    assert inputs.shape == (len(dataset), 3, frames, 20, 1)
    assert inputs.dtype == np.float32
    assert np.isfinite(inputs).all()
    assert inputs.flags.c_contiguous


def test_per_frame_centring_keeps_the_spine_in_the_origin(dataset: Dataset) -> None:
    inputs = encode(dataset, "centred-per-frame", 12)
    assert not inputs[:, :, :, SPINE].any()
    clip = dataset.clip(4)
    np.testing.assert_array_equal(inputs[4, :, 0], clip[:, 0] - clip[:, 0, SPINE : SPINE + 1])
    np.testing.assert_array_equal(inputs[4, :, -1], clip[:, -1] - clip[:, -1, SPINE : SPINE + 1])


def test_first_frame_centring_keeps_the_way_through_the_room(dataset: Dataset) -> None:
    inputs = encode(dataset, "centred-first-frame", 12)
    assert not inputs[:, :, 0, SPINE].any()
    clip = dataset.clip(4)
    np.testing.assert_array_equal(inputs[4, :, -1], clip[:, -1] - clip[:, 0, SPINE : SPINE + 1])
    way = clip[:, -1, SPINE] - clip[:, 0, SPINE]
    np.testing.assert_array_equal(inputs[4, :, -1, SPINE], way)


@pytest.mark.parametrize("encoding", ["centred-per-frame", "centred-first-frame"])
def test_where_a_person_stands_makes_no_difference(dataset: Dataset, encoding: str) -> None:
    clips = [dataset.clip(index) for index in range(len(dataset))]
    moved = with_clips(dataset, [clip + np.float32(4) for clip in clips])
    np.testing.assert_allclose(encode(moved, encoding, 8), encode(dataset, encoding, 8), atol=1e-5)


def test_resampling_is_linear_in_time(dataset: Dataset) -> None:
    for frames in (5, 9, 31):
        inputs = encode(dataset, "centred-first-frame", frames)
        for index in (0, 7):
            clip = dataset.clip(index)
            centred = clip - clip[:, :1, SPINE : SPINE + 1]
            at = np.linspace(0, clip.shape[1] - 1, frames)
            for axis, joint in ((0, 0), (1, 11), (2, 19)):
                values = centred[axis, :, joint, 0]
                wanted = np.interp(at, np.arange(clip.shape[1]), values)
                np.testing.assert_allclose(inputs[index, axis, :, joint, 0], wanted, atol=1e-5)


def test_as_many_frames_as_there_are_change_nothing(dataset: Dataset) -> None:
    clip = dataset.clip(0)
    inputs = encode(dataset, "centred-per-frame", clip.shape[1])
    np.testing.assert_array_equal(inputs[0], clip - clip[:, :, SPINE : SPINE + 1])


def test_nobody_stays_nobody(dataset: Dataset) -> None:
    rng = np.random.default_rng(0)
    clip = rng.normal(size=(3, 10, 20, 2))
    clip[..., 1] = 0  # no second body at all
    clip[:, 7:, :, 0] = 0  # and the first one leaves
    for encoding in ("centred-per-frame", "centred-first-frame"):
        inputs = encode(with_clips(dataset, [clip]), encoding, 10)
        assert inputs.shape == (1, 3, 10, 20, 2)
        assert not inputs[..., 1].any()
        assert not inputs[:, :, 7:].any()
        assert inputs[0, :, :7, 0, 0].all()


def test_both_bodies_keep_their_places_to_each_other(dataset: Dataset) -> None:
    clip = np.random.default_rng(0).normal(size=(3, 10, 20, 2)).astype(np.float32)
    inputs = encode(with_clips(dataset, [clip]), "centred-per-frame", 10)[0]
    np.testing.assert_allclose(
        inputs[..., 1] - inputs[..., 0], clip[..., 1] - clip[..., 0], atol=1e-5
    )


def test_a_picture_spans_0_to_255_over_all_axes_together(dataset: Dataset) -> None:
    clip = np.zeros((3, 4, 20, 1))
    clip[0, :, 0], clip[1, :, 0], clip[2, :, 0] = -1, 0.999, 3
    pixels = image_pixels(with_clips(dataset, [clip]), 4)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (1, 20, 4, 3)
    # (0.999 + 1) / 4 * 255 = 127.4..., (0 + 1) / 4 * 255 = 63.75: cut off, not rounded
    assert pixels[0, 0, 0].tolist() == [0, 127, 255]
    assert pixels[0, 1, 0].tolist() == [63, 63, 63]


def test_a_clip_without_any_extent_is_a_black_picture(dataset: Dataset) -> None:
    assert not image_pixels(with_clips(dataset, [np.full((3, 4, 20, 1), 2.5)]), 4).any()


def test_image_inputs_are_standardised_pixels_with_frames_before_joints(dataset: Dataset) -> None:
    pixels = image_pixels(dataset, 8)
    mean, deviation = image_channel_statistics(dataset, 8)
    inputs = encode(dataset, "image", 8)
    for clip, colour, frame, joint in ((0, 0, 0, 0), (5, 2, 7, 3), (10, 1, 4, 19)):
        wanted = (pixels[clip, joint, frame, colour] - mean[colour]) / deviation[colour]
        assert inputs[clip, colour, frame, joint, 0] == np.float32(wanted)


def test_statistics_come_from_training_and_validation_subjects_only(dataset: Dataset) -> None:
    split = dataset.split()
    seen = np.concatenate([split["train"], split["valid"]])
    pixels = image_pixels(dataset, 8)
    mean, deviation = image_channel_statistics(dataset, 8)
    np.testing.assert_allclose(mean, pixels[seen].mean(axis=(0, 1, 2)))
    np.testing.assert_allclose(deviation, pixels[seen].std(axis=(0, 1, 2)))
    clips = [dataset.clip(index).copy() for index in range(len(dataset))]
    for index in split["test"]:
        clips[index] = np.zeros_like(clips[index])
    unseen_changed = with_clips(dataset, clips)
    assert (image_channel_statistics(unseen_changed, 8)[0] == mean).all()
    assert (image_channel_statistics(dataset, 8, "odd-even")[0] != mean).any()


def test_a_colour_that_never_changes_stays_finite(dataset: Dataset) -> None:
    clips = [np.zeros((3, 5, 20, 1)) for _ in range(len(dataset))]
    for clip in clips:
        clip[0], clip[1] = 0.5, 1.0
    inputs = encode(with_clips(dataset, clips), "image", 5)
    assert not inputs.any()


@pytest.mark.parametrize(
    ("encoding", "frames", "message"),
    [
        ("picture", 8, "unknown encoding 'picture': known are centred-per-frame, centred-first-"),
        ("image", 1, "1 frames: a clip needs at least 2"),
        ("centred-per-frame", 0, "0 frames"),
    ],
)
def test_what_cannot_be_encoded_is_one_line(
    dataset: Dataset, encoding: str, frames: int, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        encode(dataset, encoding, frames)


def test_pictures_need_three_coordinates(dataset: Dataset) -> None:
    flat = with_clips(dataset, [np.zeros((2, 5, 20, 1))])
    with pytest.raises(InputError, match="'image' needs x, y and z, data set 'tiny' has 2"):
        encode(flat, "image", 8)
