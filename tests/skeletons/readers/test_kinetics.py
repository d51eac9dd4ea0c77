"""Kinetics skeletons of ST-GCN: scores stay scores, lists are held against the clips."""

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
from nas_skeleton.skeletons.readers import kinetics

RNG = np.random.default_rng(0)


def card(**options: object) -> DatasetCard:
    lists = {"train_lists": ["train"], "test_lists": ["val"]}
    return DatasetCard.model_validate(
        {
            **dict.fromkeys(("name", "title"), "foreign"),
            **dict.fromkeys(("description", "licence", "citation", "units"), ""),
            "reader": "kinetics",
            "reader_options": options,
            "layout": "openpose18",
            "axes": ["x", "y", "score"],
            "frames_per_second": 30.0,
            "classes": ["a", "b"],
            "default_protocol": "p",
            "protocols": {"p": lists},
        }
    )


def person() -> dict[str, Any]:
    return {
        "pose": RNG.uniform(size=36).round(3).tolist(),
        "score": RNG.uniform(size=18).round(3).tolist(),
    }


def content(people: dict[int, int], label: int = 1) -> dict[str, Any]:
    """A clip with so many people in the frames of these numbers."""
    data = [
        {"frame_index": frame, "skeleton": [person() for _ in range(count)]}
        for frame, count in people.items()
    ]
    return {"data": data, "label": "b", "label_index": label}


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """Three clips and their lists, as the release has them."""
    folder = tmp_path / "kinetics-skeleton"
    for name, clips in (("kinetics_train", ("zz", "--aa")), ("kinetics_val", ("mm",))):
        (folder / name).mkdir(parents=True)
        for clip in clips:
            (folder / name / f"{clip}.json").write_text(json.dumps(content({1: 1, 2: 2})))
        listed = {clip: {"has_skeleton": True, "label": "b", "label_index": 1} for clip in clips}
        (folder / f"{name}_label.json").write_text(json.dumps(listed))
    return folder


def test_a_clip_has_its_list_its_label_and_a_group_of_its_own(release: Path) -> None:
    raw = kinetics.open_raw(release, card(frames_per_second=25.0))
    assert list(raw.sources) == [
        "kinetics_train/--aa.json",
        "kinetics_train/zz.json",
        "kinetics_val/mm.json",
    ]
    clips = [raw.read(source)[0] for source in raw.sources]
    assert [clip.id for clip in clips] == ["--aa", "zz", "mm"]
    assert [clip.lists for clip in clips] == [("train",), ("train",), ("val",)]
    assert [clip.subject for clip in clips] == [1, 3, 2]
    assert [clip.group for clip in clips] == ["--aa", "zz", "mm"]
    assert {(clip.label, clip.axes, clip.frames_per_second) for clip in clips} == {
        (1, ("x", "y", "score"), 25.0)
    }
    assert len({clip.digest for clip in clips}) == 3


def test_a_zip_holds_the_same(release: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for path in release.rglob("*.json"):
            archive.write(path, path.relative_to(tmp_path))
    zipped, folder = (kinetics.open_raw(raw, card()) for raw in (tmp_path / "all.zip", release))
    for one, other in zip(zipped.sources, folder.sources, strict=True):
        assert zipped.read(one)[0].digest == folder.read(other)[0].digest
        assert zipped.read(one)[0].lists == folder.read(other)[0].lists


def test_poses_stand_where_their_frame_says() -> None:
    clip = content({2: 1, 5: 2, 3: 0})
    coordinates = kinetics.poses(clip, 5)
    assert coordinates.shape == (3, 5, 18, 2)
    expected = np.zeros_like(coordinates)
    for frame in clip["data"]:
        for body, one in enumerate(frame["skeleton"]):
            for joint in range(18):
                at = (frame["frame_index"] - 1, joint, body)
                expected[(0, *at)] = one["pose"][2 * joint]
                expected[(1, *at)] = one["pose"][2 * joint + 1]
                expected[(2, *at)] = one["score"][joint]
    np.testing.assert_array_equal(coordinates, expected)


def test_the_first_people_of_a_frame_are_taken() -> None:
    clip = content({1: 7, 2: 1})
    assert kinetics.poses(clip, 5).shape[3] == 5
    np.testing.assert_array_equal(kinetics.poses(clip, 2), kinetics.poses(clip, 5)[..., :2])


def test_nobody_and_no_frames_are_left_to_the_checks_of_all_readers() -> None:
    assert kinetics.poses(content({}), 5).shape == (3, 0, 18, 0)
    assert kinetics.poses(content({4: 0}), 5).shape == (3, 4, 18, 0)


def test_nan_stays_for_a_cleaning_step_to_mend() -> None:
    clip = content({1: 1})
    clip["data"][0]["skeleton"][0]["pose"][3] = float("nan")
    coordinates = kinetics.poses(json.loads(json.dumps(clip)), 5)
    assert np.argwhere(np.isnan(coordinates)).tolist() == [[1, 0, 1, 0]]


def changed(key: str, value: object) -> dict[str, Any]:
    """A clip in whose first person, first frame or top a key is changed, or dropped for None."""
    clip = content({1: 1, 2: 1})
    frame = clip["data"][0]
    holder = next(part for part in (frame["skeleton"][0], frame, clip) if key in part)
    if value is None:
        del holder[key]
    else:
        holder[key] = value
    return clip


@pytest.mark.parametrize(
    ("clip", "reason"),
    [
        (changed("data", None), "no data in it; there is 'label', 'label_index'"),
        (changed("data", {}), r"data is an object \{…\}, not a list"),
        (changed("data", [3]), r"data\[0\] is a whole number, not an object"),
        (changed("frame_index", None), r"no data\[0\]\.frame_index in it"),
        (changed("frame_index", "1"), r"data\[0\]\.frame_index is text"),
        (changed("frame_index", True), r"data\[0\]\.frame_index is true or false"),
        (changed("frame_index", 0), r"frame_index is 0, not from 1"),
        (changed("frame_index", 10**9), r"frame_index is 1000000000, not from 1 to 20000"),
        (changed("frame_index", 2), r"data\[1\]\.frame_index 2 is there twice"),
        (changed("skeleton", None), r"no data\[0\]\.skeleton in it"),
        (changed("skeleton", [[]]), r"data\[0\]\.skeleton\[0\] is a list, not an object"),
        (changed("pose", None), r"no data\[0\]\.skeleton\[0\]\.pose"),
        (changed("pose", [0.5] * 50), r"skeleton\[0\]\.pose has 50 numbers, not 36"),
        (changed("score", [0.5] * 25), r"skeleton\[0\]\.score has 25 numbers, not 18"),
        (changed("score", ["1"] * 18), r"score holds text among its numbers"),
        (changed("pose", [[1, 2]] * 18), r"pose holds a list among its numbers"),
        (changed("pose", [10**400] * 36), "pose holds a number too large"),
        (changed("pose", [float("inf")] * 36), "pose holds an infinite number"),
    ],
)
def test_a_clip_that_is_not_what_it_says_is_one_line_with_the_key(
    clip: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InputError, match=reason) as error:
        kinetics.poses(clip, 5)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "empty file"),
        (b" \n", "empty file"),
        (json.dumps(content({1: 1})).encode()[:-20], "no JSON, or cut off"),
        (b"[1, 2]", "it holds a list, not an object"),
        (b"\xff\xfe\xff", "it is no text"),
        (b'{"data": ' + b"[" * 10**6 + b"]" * 10**6 + b"}", "nested too deeply"),
        (b'{"data": [], "label_index": ' + b"9" * 5000 + b"}", "out of all proportion"),
        (b'{"data": []}', "no label_index in it"),
        (b'{"data": [], "label_index": "1"}', "label_index is text"),
        (json.dumps(content({1: 1}, label=0)).encode(), "label_index is 0, kinetics_val_label"),
    ],
)
def test_a_bad_file_is_one_line_and_leaves_the_others(
    release: Path, text: bytes, reason: str
) -> None:
    (release / "kinetics_val" / "mm.json").write_bytes(text)
    raw = kinetics.open_raw(release, card())
    with pytest.raises(InputError, match=reason) as error:
        raw.read("kinetics_val/mm.json")
    assert "\n" not in str(error.value)
    assert raw.read("kinetics_train/zz.json")[0].id == "zz"


def test_clips_and_lists_must_agree(release: Path) -> None:
    (release / "kinetics_train" / "Grüße.json").write_text(json.dumps(content({1: 1})))
    listed = json.loads((release / "kinetics_val_label.json").read_text())
    listed["gone"] = {"has_skeleton": True, "label": "a", "label_index": 0}
    listed["never there"] = {"has_skeleton": False, "label": "a", "label_index": 0}
    (release / "kinetics_val_label.json").write_text(json.dumps(listed))
    raw = kinetics.open_raw(release, card())
    assert len(raw.sources) == 5
    with pytest.raises(InputError, match="not listed in kinetics_train_label"):
        raw.read("kinetics_train/Grüße.json")
    with pytest.raises(InputError, match="listed in kinetics_val_label"):
        raw.read("kinetics_val/gone.json")


def test_what_a_list_says_of_skeletons_does_not_count(release: Path) -> None:
    listed = {"mm": {"has_skeleton": False, "label": "b", "label_index": 1}}
    (release / "kinetics_val_label.json").write_text(json.dumps(listed))
    [clip] = kinetics.open_raw(release, card()).read("kinetics_val/mm.json")
    assert clip.coordinates.shape == (3, 2, 18, 2)


def test_a_list_of_no_use_is_an_error_at_once(release: Path) -> None:
    (release / "kinetics_val_label.json").write_text("{")
    with pytest.raises(InputError, match=r"kinetics_val_label\.json: no JSON, or cut off") as error:
        kinetics.open_raw(release, card())
    assert str(error.value).startswith(f"{release}: ")


def test_lists_alone_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "kinetics_val_label.json").write_text("{}")
    with pytest.raises(InputError, match="no clips in it"):
        kinetics.open_raw(tmp_path, card())


ANY = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner)),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(("data", "frame_index", "skeleton", "pose", "score")), ANY)
def test_any_change_gives_a_clip_or_one_line(key: str, value: object) -> None:
    with contextlib.suppress(InputError):
        assert kinetics.poses(changed(key, value), 5).shape[::2] == (3, 18)
