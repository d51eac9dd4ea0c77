"""OpenPose's folders: frames joined to videos, cut into clips, layouts told apart."""

from __future__ import annotations

import contextlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.card import DatasetCard
from nas_skeleton.skeletons.readers import openpose

RNG = np.random.default_rng(0)
PATTERN = r"(?P<action>[a-z]+)_s(?P<subject>[0-9]+)_c(?P<camera>[0-9]+)"


def card(layout: str = "body25", pattern: str = PATTERN, **options: object) -> DatasetCard:
    return DatasetCard.model_validate(
        {
            **dict.fromkeys(("name", "title"), "foreign"),
            **dict.fromkeys(("description", "licence", "citation", "units"), ""),
            "reader": "openpose",
            "reader_options": {"name_pattern": pattern, **options},
            "layout": layout,
            "axes": ["x", "y", "score"],
            "frames_per_second": 30.0,
            "classes": ["wave", "clap"],
            "default_protocol": "p",
            "protocols": {"p": {"train_cameras": [1], "test_cameras": [2]}},
        }
    )


def person(joints: int = 25, score: float | None = None) -> dict[str, Any]:
    pose = RNG.uniform(0, 500, (joints, 3)).round(2)
    pose[:, 2] = RNG.uniform(size=joints) if score is None else score
    return {
        "person_id": [-1],
        "pose_keypoints_2d": pose.ravel().tolist(),
        "face_keypoints_2d": [],
        "hand_left_keypoints_2d": [],
    }


def write(folder: Path, video: str, frames: dict[int, list[dict[str, Any]]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, people in frames.items():
        path = folder / f"{video}_{number:012d}_keypoints.json"
        path.write_text(json.dumps({"version": 1.3, "people": people}))
    return folder


def poses_of(people: list[dict[str, Any]]) -> Any:
    return np.array([one["pose_keypoints_2d"] for one in people]).reshape(len(people), 25, 3)


def test_frames_are_joined_and_missing_ones_have_nobody(tmp_path: Path) -> None:
    frames = {3: [person()], 4: [person(), person()], 7: [], 8: [person()]}
    raw = openpose.open_raw(write(tmp_path, "clap_s07_c2", frames), card(frames_per_second=25.0))
    assert list(raw.sources) == ["clap_s07_c2"]
    [clip] = raw.read("clap_s07_c2")
    assert (clip.id, clip.label, clip.subject, clip.camera) == ("clap_s07_c2_3_8", 1, 7, 2)
    assert clip.group == ""
    assert (clip.axes, clip.frames_per_second) == (("x", "y", "score"), 25.0)
    expected = np.zeros((6, 2, 25, 3))
    for number, people in frames.items():
        expected[number - 3, : len(people)] = poses_of(people)
    np.testing.assert_array_equal(clip.coordinates, expected.transpose(3, 0, 2, 1))


def test_videos_are_cut_into_clips_that_overlap(tmp_path: Path) -> None:
    write(tmp_path, "wave_s1_c1", {number: [person()] for number in range(10)})
    write(tmp_path, "wave_s2_c1", {number: [person()] for number in range(3)})
    raw = openpose.open_raw(tmp_path, card(clip_frames=4, overlap=1))
    clips = [clip for source in raw.sources for clip in raw.read(source)]
    assert [clip.id for clip in clips] == [
        *("wave_s1_c1_0_3", "wave_s1_c1_3_6", "wave_s1_c1_6_9"),
        "wave_s2_c1_0_2",
    ]
    [whole, _] = [openpose.open_raw(tmp_path, card()).read(source)[0] for source in raw.sources]
    np.testing.assert_array_equal(clips[1].coordinates, whole.coordinates[:, 3:7])
    assert {clip.digest for clip in clips[:3]} == {whole.digest}


def test_clips_have_as_many_bodies_as_people_in_them(tmp_path: Path) -> None:
    write(tmp_path, "wave_s1_c1", {0: [person()] * 2, 1: [], 2: [], 3: [], 4: [], 5: [person()]})
    clips = openpose.open_raw(tmp_path, card(clip_frames=2)).read("wave_s1_c1")
    assert [clip.coordinates.shape for clip in clips] == [
        *((3, 2, 25, 2), (3, 2, 25, 0), (3, 2, 25, 1))
    ]


def test_the_surest_people_are_taken_in_the_order_of_the_file(tmp_path: Path) -> None:
    people = [person(score=0.5), person(score=0.2), person(score=0.9), person(score=float("nan"))]
    write(tmp_path, "wave_s1_c1", {0: people})
    [clip] = openpose.open_raw(tmp_path, card(people=2)).read("wave_s1_c1")
    expected = poses_of([people[0], people[2]])
    np.testing.assert_array_equal(clip.coordinates[:, 0].transpose(2, 1, 0), expected)


def test_somebody_of_whom_only_hands_were_found_is_passed_over(tmp_path: Path) -> None:
    there = person()
    write(tmp_path, "wave_s1_c1", {0: [{"pose_keypoints_2d": []}, there]})
    [clip] = openpose.open_raw(tmp_path, card()).read("wave_s1_c1")
    assert clip.coordinates.shape[3] == 1
    np.testing.assert_array_equal(clip.coordinates[:, 0, :, 0].T, poses_of([there])[0])


def test_videos_are_found_in_folders_which_may_name_the_action(tmp_path: Path) -> None:
    write(tmp_path / "clap", "anna", {1: [person(18)]})
    write(tmp_path / "wave", "Jürgen_2", {1: [person(18)]})
    write(tmp_path / "2", "x", {1: [person(18)]})
    raw = openpose.open_raw(tmp_path, card("openpose18", r"(?P<action>\w+)/"))
    clips = [raw.read(source)[0] for source in raw.sources]
    assert list(raw.sources) == ["2/x", "clap/anna", "wave/Jürgen_2"]
    assert [(clip.id, clip.label, clip.subject) for clip in clips] == [
        *(("2/x_1_1", 1, 1), ("clap/anna_1_1", 1, 2), ("wave/Jürgen_2_1_1", 0, 3))
    ]
    assert [clip.group for clip in clips] == ["2/x", "clap/anna", "wave/Jürgen_2"]
    assert clips[0].coordinates.shape == (3, 1, 18, 1)


def test_ids_are_unique_and_the_same_in_a_folder_and_a_zip(tmp_path: Path) -> None:
    for action in ("wave", "clap"):
        write(tmp_path / "all" / action, "subject1_cam1", {1: [person()]})
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for path in (tmp_path / "all").rglob("*.json"):
            archive.write(path, path.relative_to(tmp_path))
    pattern = "(?P<action>[a-z]+)/subject(?P<subject>[0-9]+)_cam(?P<camera>[0-9]+)"
    for raw in ("all", "all.zip"):
        videos = openpose.open_raw(tmp_path / raw, card(pattern=pattern))
        ids = [clip.id for source in videos.sources for clip in videos.read(source)]
        assert ids == ["clap/subject1_cam1_1_1", "wave/subject1_cam1_1_1"]


def test_ids_begin_with_the_folder_in_which_the_pattern_does(tmp_path: Path) -> None:
    write(tmp_path / "a" / "my wave", "x", {0: [person()]})
    for pattern in ("(?P<action>wave)", "(?P<action>wave)/", "/my (?P<action>wave)"):
        [clip] = openpose.open_raw(tmp_path, card(pattern=pattern)).read("a/my wave/x")
        assert clip.id == "my wave/x_0_0"
    [clip] = openpose.open_raw(tmp_path, card(pattern="[^/]+/my (?P<action>wave)")).read(
        "a/my wave/x"
    )
    assert clip.id == "a/my wave/x_0_0"


def test_videos_whose_clips_would_have_one_name_are_an_error_with_a_way_out(tmp_path: Path) -> None:
    for site in ("a", "b"):
        write(tmp_path / site, "wave_1", {0: [person()]})
    raw = openpose.open_raw(tmp_path, card(pattern="(?P<action>wave)_"))
    for source, other in (("a/wave_1", "b/wave_1"), ("b/wave_1", "a/wave_1")):
        with pytest.raises(InputError, match=f"called like those of {other}; rename one, or let"):
            raw.read(source)
    raw = openpose.open_raw(tmp_path, card(pattern="[^/]+/(?P<action>wave)_"))
    assert [raw.read(source)[0].id for source in raw.sources] == ["a/wave_1_0_0", "b/wave_1_0_0"]


def test_the_group_of_a_video_does_not_depend_on_other_videos(tmp_path: Path) -> None:
    write(tmp_path, "wave_7", {0: [person()]})
    first = openpose.open_raw(tmp_path, card(pattern="(?P<action>wave)_")).read("wave_7")[0]
    write(tmp_path, "wave_3", {0: [person()]})
    again = openpose.open_raw(tmp_path, card(pattern="(?P<action>wave)_")).read("wave_7")[0]
    assert (first.subject, again.subject) == (1, 2)
    assert first.group == again.group == "wave_7"


def test_two_frames_far_apart_take_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openpose, "MAX_NUMBERS", 10_000)
    write(tmp_path, "wave_s1_c1", {0: [person()], 500: [person()]})
    with pytest.raises(InputError, match="501 frames and 1 people is too large; set clip_frames"):
        openpose.open_raw(tmp_path, card()).read("wave_s1_c1")
    assert len(openpose.open_raw(tmp_path, card(clip_frames=100)).read("wave_s1_c1")) == 6


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"pattern": "("}, "not a regular expression"),
        ({"pattern": "[a-z]+"}, r"needs a group \(\?P<action>…\)"),
        ({"pattern": "(?P<action>a)(?P<view>b)"}, "group 'view' is none of"),
        ({"overlap": 5}, "overlap must be less than clip_frames"),
        ({"clip_frames": 5, "overlap": 5}, "overlap must be less than clip_frames"),
        ({"people": 0}, "greater than or equal to 1"),
        ({"layout": "ntu"}, "layout 'ntu' does not fit reader 'openpose'"),
    ],
)
def test_a_card_that_cannot_work_is_said_at_once(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        card(**options)


@pytest.mark.parametrize(
    ("video", "reason"),
    [
        ("wave_c1", "name_pattern of the card does not fit the name 'wave_c1'"),
        ("sit_s1_c1", "action 'sit' in its name is no class of the card and no number"),
    ],
)
def test_a_video_whose_name_says_nothing_is_an_error(
    tmp_path: Path, video: str, reason: str
) -> None:
    raw = openpose.open_raw(write(tmp_path, video, {0: [person()]}), card())
    with pytest.raises(InputError, match=reason):
        raw.read(video)


@pytest.mark.parametrize("action", ["0", "3", "9" * 30, "00000000001x"])
def test_actions_are_numbered_from_one(tmp_path: Path, action: str) -> None:
    raw = openpose.open_raw(
        write(tmp_path, f"a{action}", {0: [person()]}), card(pattern="a(?P<action>.+)")
    )
    with pytest.raises(InputError, match="no number from 1 to 2"):
        raw.read(f"a{action}")


def test_what_is_no_number_is_no_subject(tmp_path: Path) -> None:
    pattern = "(?P<action>wave)_(?P<subject>.+)"
    raw = openpose.open_raw(write(tmp_path, "wave_anna", {0: [person()]}), card(pattern=pattern))
    with pytest.raises(InputError, match="subject 'anna' in its name is no number"):
        raw.read("wave_anna")


def test_the_number_of_joints_must_be_that_of_the_layout(tmp_path: Path) -> None:
    write(tmp_path, "wave_s1_c1", {0: [person(25)], 1: [person(18)]})
    for layout, frame in (("body25", 1), ("openpose18", 0)):
        with pytest.raises(InputError, match=rf"frame {frame}: people\[0\].* joints, the card's"):
            openpose.open_raw(tmp_path, card(layout)).read("wave_s1_c1")


def bad(**changes: object) -> bytes:
    return json.dumps({"people": [{**person(), **changes}]}).encode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "frame 1: empty file"),
        (bad()[:-5], "frame 1: no JSON, or cut off"),
        (b"[]", "it holds a list"),
        (b'{"version": 1.3}', "no people in it; there is 'version'"),
        (b'{"people": {}}', r"people is an object \{…\}, not a list"),
        (b'{"people": [null]}', r"people\[0\] is null, not an object"),
        (b'{"people": [{"pose": []}]}', r"no people\[0\]\.pose_keypoints_2d in it"),
        (bad(pose_keypoints_2d=[1.0] * 74), "has 74 numbers, not 75 or 54"),
        (bad(pose_keypoints_2d=[None] * 75), "holds null among its numbers"),
        (bad(pose_keypoints_2d=[1e999] * 75), "holds an infinite number"),
        (b'{"people": ' + b"[" * 10**6, "nested too deeply|no JSON"),
    ],
)
def test_a_bad_frame_is_one_line_and_leaves_other_videos(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    write(tmp_path, "wave_s1_c1", {0: [person()], 1: [person()]})
    write(tmp_path, "wave_s2_c1", {0: [person()]})
    (tmp_path / f"wave_s1_c1_{1:012d}_keypoints.json").write_bytes(content)
    raw = openpose.open_raw(tmp_path, card())
    with pytest.raises(InputError, match=reason) as error:
        raw.read("wave_s1_c1")
    assert "\n" not in str(error.value)
    assert raw.read("wave_s2_c1")[0].subject == 2


def test_frames_that_are_numbered_oddly_are_an_error(tmp_path: Path) -> None:
    write(tmp_path, "wave_s1_c1", {0: [], 10**9: []})
    write(tmp_path, "wave_s2_c1", {4: []})
    (tmp_path / "wave_s2_c1_4_keypoints.json").write_text('{"people": []}')
    (tmp_path / "keypoints.json").write_text('{"people": []}')
    raw = openpose.open_raw(tmp_path, card())
    assert list(raw.sources) == ["wave_s1_c1", "wave_s2_c1", "keypoints.json"]
    with pytest.raises(InputError, match="frames 0 to 1000000000: more than"):
        raw.read("wave_s1_c1")
    with pytest.raises(InputError, match="two files for frame 4"):
        raw.read("wave_s2_c1")
    with pytest.raises(InputError, match="not a name like VIDEO_0"):
        raw.read("keypoints.json")


def test_nothing_to_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no \*\.json in it"):
        openpose.open_raw(tmp_path, card())


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=40))
def test_any_bytes_give_people_or_one_line(content: bytes) -> None:
    for text in (content, b'{"people": [' + content + b"]}"):
        with contextlib.suppress(InputError):
            assert openpose.read_frame(text, 5, 25).shape[1:] == (25, 3)
