"""Network inputs: centred and resampled coordinates, and the picture of the thesis."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.inputs import (
    ENCODINGS,
    VERSION,
    encode,
    encoded,
    image_channel_statistics,
    image_pixels,
    ragged,
)
from nas_skeleton.skeletons.store import Dataset, load_dataset
from nas_skeleton.spaces.card import MEANING

SPINE = 2


@pytest.fixture
def dataset(tiny: Any) -> Dataset:
    tiny.zip()
    return load_dataset("tiny")


def with_clips(dataset: Dataset, clips: list[np.ndarray]) -> Dataset:
    """The same data set with other coordinates `(C, T, V, M)`."""
    offset, entries = 0, []
    for entry, clip in zip(dataset.clips, clips, strict=False):
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
        clips=entries,
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


# --- several bodies, scores, modalities, padding


def two_bodies(frames: int = 10, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(3, frames, 20, 2)).astype(np.float32) + 3


@pytest.fixture
def pixels(dataset: Dataset) -> Dataset:
    """Two clips with the axes x, y, score; a joint of the second is not found in frame 3."""
    clips = [np.abs(two_bodies(8)), np.abs(two_bodies(9, seed=1))]
    clips[1][:, 3, 5, 0] = 0
    scored = with_clips(dataset, clips)
    names = ["x", "y", "score"]
    return replace(scored, header=scored.header.model_copy(update={"channel_names": names}))


def test_the_first_frame_with_the_first_body_is_the_origin(dataset: Dataset) -> None:
    clip = two_bodies()
    clip[:, :4, :, 0] = 0
    [centred] = encode(with_clips(dataset, [clip]), "centred-first-frame", 10)
    origin = clip[:, 4, SPINE, 0][:, None, None]
    np.testing.assert_array_equal(centred[..., 1], clip[..., 1] - origin)
    np.testing.assert_array_equal(centred[:, 4:, :, 0], clip[:, 4:, :, 0] - origin)
    assert not centred[:, :4, :, 0].any()


def test_where_the_first_body_is_away_its_last_place_counts(dataset: Dataset) -> None:
    clip = two_bodies(6)
    clip[:, [0, 3], :, 0] = 0
    [centred] = encode(with_clips(dataset, [clip]), "centred-per-frame", 6)
    for frame, place in enumerate([1, 1, 2, 2, 4, 5]):
        origin = clip[:, place, SPINE, 0][:, None]
        np.testing.assert_array_equal(centred[:, frame, :, 1], clip[:, frame, :, 1] - origin)


def test_a_first_body_that_is_never_there_gives_way_to_the_second(dataset: Dataset) -> None:
    clip = two_bodies()
    clip[..., 0] = 0
    [centred] = encode(with_clips(dataset, [clip]), "centred-first-frame", 10)
    np.testing.assert_array_equal(centred[..., 1], clip[..., 1] - clip[:, :1, SPINE, 1][:, :, None])


def test_a_clip_with_nobody_is_zero(dataset: Dataset) -> None:
    for encoding in ("centred-first-frame", "centred-per-frame"):
        assert not encode(with_clips(dataset, [np.zeros((3, 4, 20, 2))]), encoding, 6).any()


def test_scores_are_not_moved_and_joints_not_found_stay_at_zero(pixels: Dataset) -> None:
    inputs = encode(pixels, "centred-first-frame", 9)
    clip = pixels.clip(1)
    np.testing.assert_array_equal(inputs[1, 2], clip[2])
    assert not inputs[1, :, 3, 5, 0].any()
    wanted = clip[:2, :, 7] - clip[:2, :1, SPINE, :1]
    np.testing.assert_array_equal(inputs[1, :2, :, 7], wanted)


@pytest.mark.parametrize("encoding", ["centred-first-frame", "centred-per-frame"])
def test_a_place_without_a_score_never_reaches_the_network(pixels: Dataset, encoding: str) -> None:
    clip = pixels.clip(1).copy()
    for score in (0, -0.1):
        clip[:, 3, 5, 0] = 500, 20, score
        clip[:, 4, SPINE, 0] = 300, 10, score
        clip[:, 2, :, 1] = np.array([700, 30, score])[:, None]
        clip[:2, 0, SPINE, 0] = 0  # a place like any other
        [inputs] = encode(with_clips(pixels, [clip]), encoding, 9)
        assert not inputs[:2, 3, 5, 0].any()
        assert not inputs[:2, 4, SPINE, 0].any()
        assert not inputs[:2, 2, :, 1].any()
        assert np.abs(inputs).max() < 20
    clip[2] = 0
    [inputs] = encode(with_clips(pixels, [clip]), encoding, 9)
    assert not inputs.any()


def test_without_its_centring_joint_a_clip_is_centred_on_what_was_found(pixels: Dataset) -> None:
    clip = pixels.clip(1).copy()
    clip[:, :, SPINE, 0] = 0
    changed = with_clips(pixels, [clip])
    [inputs] = encode(changed, "centred-first-frame", 9)
    middle = np.delete(clip[:2, 0, :, 0], SPINE, axis=1).mean(axis=1)
    np.testing.assert_allclose(inputs[:2, :, 7, 0], clip[:2, :, 7, 0] - middle[:, None], atol=1e-5)


def test_nobody_is_not_blended_with_somebody(dataset: Dataset) -> None:
    clip = np.full((3, 5, 20, 2), 2.0)
    clip[:, 3:, :, 1] = 0
    clip[:, :, SPINE, 0] = 1
    [inputs] = encode(with_clips(dataset, [clip]), "centred-first-frame", 33)
    assert set(np.unique(inputs)) == {0, 1}
    assert inputs[0, :, 0, 1].tolist() == [1] * 20 + [0] * 13


def test_a_bone_without_its_parent_is_not_blended_with_one(pixels: Dataset) -> None:
    elbow, wrist = 5, 6
    assert (wrist, elbow) in pixels.layout.edges
    clip = np.ones((3, 4, 20, 1))
    clip[0, :, wrist] = 3
    clip[:, 1::2, elbow] = 0
    data = with_clips(pixels, [clip])
    [recorded] = encode(data, "centred-first-frame", 4, modalities=["bone"])
    assert recorded[0, :, wrist, 0].tolist() == [2, 0, 2, 0]
    [bones] = encode(data, "centred-first-frame", 7, modalities=["bone"])
    assert bones[0, :, wrist, 0].tolist() == [2, 0, 0, 2, 2, 0, 0]
    [both] = encode(data, "centred-first-frame", 7, modalities=["bone", "joint"])
    np.testing.assert_array_equal(both[:3], bones)
    np.testing.assert_array_equal(both[3:], encode(data, "centred-first-frame", 7)[0])


def test_motion_is_not_slowed_down_where_it_ends(dataset: Dataset) -> None:
    clip = np.ones((3, 5, 20, 2))
    clip[0] += 2 * np.arange(5)[:, None, None]
    clip[:, 3:, :, 1] = 0
    [motion] = encode(
        with_clips(dataset, [clip]), "centred-first-frame", 9, modalities=["joint-motion"]
    )
    assert motion[0, :, 0].T.tolist() == [[2] * 7 + [0] * 2, [2] * 3 + [0] * 6]


def test_confidence_is_never_a_colour(pixels: Dataset) -> None:
    with pytest.raises(InputError, match="needs x, y and z, data set 'tiny' has the axes x, y, sc"):
        encode(pixels, "image", 8)


def test_modalities_lie_one_after_the_other(dataset: Dataset) -> None:
    names = ("bone-motion", "joint")
    joined = encode(dataset, "centred-per-frame", 9, modalities=names)
    assert joined.shape[1] == 6
    for place, name in enumerate(names):
        alone = encode(dataset, "centred-per-frame", 9, modalities=[name])
        np.testing.assert_array_equal(joined[:, 3 * place : 3 * place + 3], alone)


def test_when_differences_are_taken_matters(dataset: Dataset) -> None:
    clip = np.zeros((3, 21, 20, 1))
    clip[0] = np.arange(21.0)[:, None, None] ** 2 + 1
    data = with_clips(dataset, [clip])
    arguments = ("centred-first-frame", 11)
    before = encode(data, *arguments, modalities=["joint-motion"])[0, 0, :, 4, 0]
    assert before.tolist() == [2 * t + 1 for t in range(0, 20, 2)] + [0]
    after = encode(data, *arguments, modalities=["joint-motion"], motion="after-sampling")
    assert after[0, 0, :, 4, 0].tolist() == [4 * t + 4 for t in range(0, 20, 2)] + [0]


@pytest.mark.parametrize("motion", ["before-sampling", "after-sampling"])
@pytest.mark.parametrize("frames", [4, 10, 23])
def test_padding_is_nobody_or_the_clip_again(dataset: Dataset, frames: int, motion: str) -> None:
    data = with_clips(dataset, [two_bodies()])
    names = ["joint", "joint-motion"]
    whole = encode(data, "centred-first-frame", 10, modalities=names)

    def padded(sampling: str) -> np.ndarray:
        return encode(
            data,
            "centred-first-frame",
            frames,
            modalities=names,
            motion=motion,
            sampling=sampling,
        )

    zero, again = padded("pad-zero"), padded("pad-repeat")
    if motion == "after-sampling" and frames < 10:  # nothing follows the last sampled frame
        whole[:, 3:, frames - 1] = 0
    if motion == "after-sampling" and frames % 10:
        again[:, 3:, -1] = whole[:, 3:, (frames - 1) % 10]
    for frame in range(frames):
        np.testing.assert_array_equal(again[:, :, frame], whole[:, :, frame % 10])
        if frame < 10:
            np.testing.assert_array_equal(zero[:, :, frame], whole[:, :, frame])
        else:
            assert not zero[:, :, frame].any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modalities": ["speed"]}, "unknown modality 'speed'"),
        ({"motion": "never"}, "unknown motion 'never': known are before-sampling, after-"),
        ({"sampling": "cubic"}, "unknown sampling 'cubic': known are linear, pad-zero"),
        ({"sampling": "uniform"}, "sampling 'uniform' is drawn anew for every batch"),
    ],
)
def test_options_that_do_not_exist_are_one_line(
    dataset: Dataset, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        encode(dataset, "centred-first-frame", 8, **options)
    with pytest.raises(InputError, match=message):
        encoded(dataset, "centred-first-frame", 8, **options)


def test_the_future_follows_as_it_was_recorded(dataset: Dataset) -> None:
    length, future = int(dataset.lengths[0]), 3
    inputs = encode(dataset, "centred-first-frame", 6, future=future)
    whole = encode(dataset, "centred-first-frame", length)[0]
    assert inputs.shape[2] == 6 + future
    np.testing.assert_allclose(inputs[0, :, 6:], whole[:, -future:], atol=1e-6)
    np.testing.assert_allclose(inputs[0, :, 5], whole[:, -future - 1], atol=1e-6)
    np.testing.assert_allclose(inputs[0, :, 0], whole[:, 0], atol=1e-6)


@pytest.mark.parametrize(("length", "places"), [(1, [0, 0, 0]), (3, [1, 2, 2]), (4, [1, 2, 3])])
def test_a_clip_shorter_than_its_future_still_has_one(
    dataset: Dataset, length: int, places: list[int]
) -> None:
    clip = np.arange(1, length + 1, dtype=np.float32)[None, :, None, None]
    clip = np.broadcast_to(clip, (3, length, 20, 1)).copy()
    clip[:, :, SPINE] = 0.5  # the origin
    [found] = encode(with_clips(dataset, [clip]), "centred-first-frame", 4, future=3)
    assert found[0, :4, 0, 0].tolist() == [0.5] * 4  # the first frame
    assert found[0, 4:, 0, 0].tolist() == [place + 0.5 for place in places]


def test_futures_are_kept_apart_and_what_has_none_where_it_was(dataset: Dataset) -> None:
    plain = encoded(dataset, "centred-first-frame", 8)
    ahead = encoded(dataset, "centred-first-frame", 8, future=2)
    assert (plain.shape[2], ahead.shape[2]) == (8, 10)
    folder = dataset.folder.parent / "encoded"
    assert len(list(folder.glob("*.f32"))) == 2


@pytest.mark.parametrize(
    ("encoding", "options"),
    [("image", {}), ("centred-per-frame", {"sampling": "pad-zero"})],
)
def test_only_interpolated_clips_have_a_future(
    dataset: Dataset, encoding: str, options: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match="future frames need sampling 'linear'"):
        encode(dataset, encoding, 8, future=1, **options)


@pytest.mark.parametrize("options", [{"modalities": ["bone"]}, {"sampling": "pad-zero"}])
def test_pictures_have_no_options(dataset: Dataset, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="encoding 'image' has no modalities and no sampling"):
        encode(dataset, "image", 8, **options)


# --- kept on the disk


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_encoded_inputs_are_kept_and_used_again(
    dataset: Dataset, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = encoded(dataset, encoding, 8)
    assert isinstance(inputs.base, np.memmap)
    np.testing.assert_array_equal(inputs, encode(dataset, encoding, 8))
    monkeypatch.setattr(Dataset, "clip", lambda *_: pytest.fail("computed again"))
    np.testing.assert_array_equal(encoded(dataset, encoding, 8), inputs)


def test_whatever_decides_the_inputs_decides_where_they_are_kept(dataset: Dataset) -> None:
    folder = dataset.folder.parent / "encoded"
    calls: list[tuple[Any, ...]] = [
        ("image", 8, "thesis"),
        ("image", 8, "odd-even"),
        ("centred-per-frame", 8, "thesis"),
        ("centred-first-frame", 8, "thesis"),
        ("centred-first-frame", 9, "thesis"),
    ]
    options: list[dict[str, Any]] = [
        {"modalities": ["bone"]},
        {"modalities": ["bone", "joint"]},
        {"modalities": ["joint", "bone"]},
        {"modalities": ["joint-motion"]},
        {"modalities": ["joint-motion"], "motion": "after-sampling"},
        {"sampling": "pad-zero"},
    ]
    for call in calls:
        encoded(dataset, *call)
    for option in options:
        encoded(dataset, *calls[-2], **option)
    others = [replace(dataset, clips=dataset.clips[:-1])]
    for key in ("fingerprint", "content_sha256"):
        header = dataset.header.model_copy(update={key: "another"})
        others.append(replace(dataset, header=header))
    for other in others:
        encoded(other, *calls[-2])
    assert len(list(folder.glob("*.f32"))) == len(calls) + len(options) + len(others)
    encoded(dataset, "centred-first-frame", 8, "odd-even")  # which learns nothing from clips
    assert len(list(folder.glob("*.f32"))) == len(calls) + len(options) + len(others)


def test_a_name_says_which_store_kept_inputs_are_from(dataset: Dataset) -> None:
    encoded(dataset, "centred-first-frame", 8)
    [path] = (dataset.folder.parent / "encoded").glob("*.f32")
    assert path.name.startswith(f"{dataset.header.content_sha256[:8]}-")


def test_other_inputs_part_the_results_too() -> None:
    """Only `MEANING` is in the identity of a training, only `VERSION` in that of kept inputs.

    Whoever raises `inputs.VERSION` raises `spaces.card.MEANING` with it, and then both here.
    """
    assert (VERSION, MEANING) == (1, 1)


def test_a_read_only_folder_is_said(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "no folder").touch()
    elsewhere = replace(dataset, folder=tmp_path / "no folder" / "prepared")
    said: list[str] = []
    inputs = encoded(elsewhere, "centred-per-frame", 8, announce=said.append)
    np.testing.assert_array_equal(inputs, encode(dataset, "centred-per-frame", 8))
    assert len(said) == 1


def test_ragged_clips_are_the_clips_themselves(dataset: Dataset) -> None:
    flat = ragged(dataset, "centred-first-frame", ("joint", "bone-motion"))
    assert flat.frames.shape == (dataset.lengths.sum(), 6, 20, 1)
    assert flat.known.shape == (dataset.lengths.sum(), 2, 20, 1)
    assert flat.known[:, 0].all()
    ends = np.isin(np.arange(len(flat.known)), np.cumsum(dataset.lengths) - 1)
    np.testing.assert_array_equal(flat.known[:, 1, 0, 0] == 0, ends)
    for index in (0, 5, len(dataset) - 1):
        whole = encode(
            dataset,
            "centred-first-frame",
            int(dataset.lengths[index]),
            modalities=("joint", "bone-motion"),
        )[index]
        start = flat.starts[index]
        frames = flat.frames[start : start + flat.lengths[index]]
        np.testing.assert_array_equal(frames.transpose(1, 0, 2, 3), whole)
    again = ragged(dataset, "centred-first-frame", ("joint", "bone-motion"))
    np.testing.assert_array_equal(again.frames, flat.frames)


def test_pictures_have_no_frames_of_their_own(dataset: Dataset) -> None:
    with pytest.raises(InputError, match="encoding 'image' has no modalities and no sampling"):
        ragged(dataset, "image")
