"""MADS: poses are found wherever they are in a `.mat`; if not, what is there is said."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.io import savemat

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.load import load_dataset_card
from nas_skeleton.skeletons.readers import mads

JOINTS = 20  # of the card's layout
POSES = np.random.default_rng(0).normal(size=(7, JOINTS, 3))


def card(**options: Any) -> Any:
    changes = {"classes": ("HipHop", "tai-chi"), "reader_options": options}
    return load_dataset_card("utdmhad").model_copy(update=changes)


def mat(**variables: Any) -> bytes:
    file = io.BytesIO()
    savemat(file, variables, do_compression=True)
    return file.getvalue()


def cell(*entries: Any) -> Any:
    found = np.empty(len(entries), dtype=object)
    for index, entry in enumerate(entries):
        found[index] = entry
    return found


def read(folder: Path, content: bytes, name: str = "HipHop_2.mat", **options: Any) -> list[Any]:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    raw = mads.open_raw(folder, card(**options))
    assert list(raw.sources) == [name]
    return list(raw.read(name))


OTHER = {"fps": 15, "note": "text", "camera": np.eye(4), "mask": np.array([True])}


@pytest.mark.parametrize(
    "variables",
    [
        {"GTpose": POSES},
        {"GTpose": POSES.transpose(1, 2, 0)},
        {"GTpose": POSES.transpose(2, 1, 0)},
        {"GTpose": POSES.reshape(7, -1)},
        {"GTpose": POSES.reshape(7, -1).T},
        {"GTpose2": cell(*POSES)},
        {"GTpose2": cell(*POSES.transpose(0, 2, 1))},
        {"data": {"frames": 7, "GT": {"pose": POSES}}},
        {"GT": cell(*({"joints": pose, "ok": 1} for pose in POSES))},
    ],
)
def test_poses_are_found_in_many_shapes_and_places(
    tmp_path: Path, variables: dict[str, Any]
) -> None:
    (clip,) = read(tmp_path, mat(**OTHER, **variables))
    assert (clip.id, clip.label, clip.subject) == ("HipHop_2", 0, 2)
    np.testing.assert_array_equal(clip.coordinates, POSES.transpose(2, 0, 1)[..., np.newaxis])


def test_a_frame_without_a_pose_is_not_a_number(tmp_path: Path) -> None:
    (clip,) = read(tmp_path, mat(GTpose2=cell(POSES[0], np.zeros((0, 0)), POSES[2])))
    assert np.isnan(clip.coordinates[:, 1]).all()
    np.testing.assert_array_equal(clip.coordinates[:, 2, :, 0], POSES[2].T)


def test_long_sequences_are_cut_and_no_frame_is_lost(tmp_path: Path) -> None:
    clips = read(tmp_path, mat(p=POSES), clip_frames=3, overlap=1)
    assert [clip.id for clip in clips] == ["HipHop_2_0_2", "HipHop_2_2_4", "HipHop_2_4_6"]
    for clip, start in zip(clips, (0, 2, 4), strict=True):
        wanted = POSES[start : start + 3].transpose(2, 0, 1)
        np.testing.assert_array_equal(clip.coordinates[..., 0], wanted)
    clips = read(tmp_path, mat(p=POSES), clip_frames=5)
    assert [clip.id for clip in clips] == ["HipHop_2_0_4", "HipHop_2_2_6"]


@pytest.mark.parametrize(
    ("variables", "options", "message"),
    [
        (
            OTHER,
            {},
            "no poses of 20 joints in 3 coordinates in it, there is: fps \\(numbers 1 x 1\\), "
            "note \\(text\\), camera \\(numbers 4 x 4\\), mask \\(logical\\)",
        ),
        ({"p": POSES[:, :19]}, {}, "there is: p \\(numbers 7 x 19 x 3\\)"),
        ({"p": cell(*POSES, POSES[0, :3])}, {}, r"there is: p \(8 entries, the first: numbers 20"),
        ({"p": cell(np.zeros((0, 0)))}, {}, "no poses of 20 joints"),
        ({"p": POSES, "q": POSES}, {}, "poses in p, q; say which with variable"),
        ({"p": POSES}, {"variable": "GT.pose"}, "no variable 'GT.pose' in it, there is: p"),
        ({"p": POSES, "q": 1}, {"variable": "q"}, r"no poses .* there is: q \(numbers 1 x 1\)"),
    ],
)
def test_what_is_there_is_said_where_poses_are_not(
    tmp_path: Path, variables: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        read(tmp_path, mat(**variables), **options)
    assert "\n" not in str(error.value)


def test_a_named_variable_is_taken_among_several(tmp_path: Path) -> None:
    variables = {"p": POSES, "GT": {"pose": -POSES}}
    (clip,) = read(tmp_path, mat(**variables), variable="GT.pose")
    np.testing.assert_array_equal(clip.coordinates[..., 0], -POSES.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("name", "pattern", "found"),
    [
        ("deep/er/hiphop3_GT.mat", None, ("hiphop3_GT", 0, 3)),
        ("tai-chi/s4/GT.mat", r"(?P<action>[a-z-]+)/s(?P<subject>\d)", ("tai-chi_s4_GT", 1, 4)),
        ("a2_s5.mat", r"a(?P<action>\d+)_s(?P<subject>\d+)", ("a2_s5", 1, 5)),
    ],
)
def test_action_and_subject_are_in_the_name(
    tmp_path: Path, name: str, pattern: str | None, found: tuple[str, int, int]
) -> None:
    options = {"name_pattern": pattern} if pattern else {}
    (clip,) = read(tmp_path, mat(p=POSES), name, **options)
    assert (clip.id, clip.label, clip.subject) == found


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("GT.mat", mat(p=POSES), "no action and subject number in its name"),
        (f"HipHop_{'1' * 200}.mat", mat(p=POSES), "no action and subject number in its name"),
        ("jazz_1.mat", mat(p=POSES), "action 'jazz' in its name is no class of utdmhad"),
        ("HipHop_1.mat", b"", "file is empty"),
        ("HipHop_1.mat", b"hello", r"not a \.mat file"),
        ("HipHop_1.mat", mat(p=POSES)[:-50], "truncated"),
    ],
)
def test_an_unusable_file_is_one_line(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        read(tmp_path, content, name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "options",
    [
        {"name_pattern": "("},
        {"name_pattern": "(?P<action>.)"},
        {"clip_frames": 3, "overlap": 3},
        {"overlap": 1},
        {"clip_frames": -1},
        {"frames": 3},
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        mads.Options.model_validate(options)
