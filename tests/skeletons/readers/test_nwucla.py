"""NW-UCLA's JSON files: read as they are, refused where name and content disagree."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.load import load_dataset_card
from nas_skeleton.skeletons.readers import nwucla

CARD = load_dataset_card("utdmhad")  # any will do
STEM = "a11_s07_e02_v03"
POSES = np.random.default_rng(0).normal(size=(4, 20, 3)).round(6)


def clip(**changes: Any) -> bytes:
    """Content of a file; a change of None leaves the key out."""
    content = {"file_name": STEM, "skeletons": POSES.tolist(), "label": 9, **changes}
    kept = {key: value for key, value in content.items() if value is not None}
    return json.dumps(kept).encode()


def read(path: Path, name: str, content: bytes) -> Any:
    path.mkdir(exist_ok=True)
    (path / name).write_bytes(content)
    raw = nwucla.open_raw(path, CARD)
    (found,) = raw.read(name)
    return found


def test_a_clip_is_described_by_name_and_content(tmp_path: Path) -> None:
    found = read(tmp_path, f"{STEM}.json", clip())
    assert (found.id, found.label, found.subject) == (STEM, 8, 7)
    assert (found.trial, found.camera, found.setup) == (2, 3, None)
    assert found.coordinates.shape == (3, 4, 20, 1)
    for frame, joint, axis in ((0, 0, 0), (3, 19, 2), (1, 7, 1)):
        assert found.coordinates[axis, frame, joint, 0] == POSES[frame, joint, axis]


def test_a_zip_and_a_folder_hold_the_same_clips(tmp_path: Path) -> None:
    other = clip(file_name="a01_s01_e00_v01", label=1)
    (tmp_path / "all_sqe").mkdir()
    with zipfile.ZipFile(tmp_path / "all_sqe.zip", "w") as archive:
        for name, content in ((STEM, clip()), ("a01_s01_e00_v01", other)):
            archive.writestr(f"all_sqe/{name}.json", content)
            (tmp_path / "all_sqe" / f"{name}.json").write_bytes(content)
    found = []
    for path in ("all_sqe", "all_sqe.zip"):
        raw = nwucla.open_raw(tmp_path / path, CARD)
        clips = [clip for source in raw.sources for clip in raw.read(source)]
        found.append([(clip.id, clip.label, clip.digest) for clip in clips])
    assert found[0] == found[1]
    assert [entry[:2] for entry in found[0]] == [("a01_s01_e00_v01", 0), (STEM, 8)]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a1_s07_e02_v03.json", "not a name like"),
        ("a11_s07_e02.json", "not a name like"),
        ("a07_s07_e02_v03.json", "action 7 in its name, but there are 1, 2, 3, 4, 5, 6, 8, 9, 11"),
        ("a12_s07_e02_v03.json", "file_name is 'a11_s07_e02_v03', its name says 'a12"),
    ],
)
def test_a_file_of_another_name_is_refused(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path, name, clip())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty file"),
        (b"hello", "no JSON"),
        (clip()[:-20], "no JSON, or cut off"),
        (b"[1, 2]", "it holds a list, not an object"),
        (b"\xff\xfe\xfd", "no JSON: it is no text"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"label": ' + b"9" * 10_000 + b"}", "out of all proportion"),
        (clip(skeletons=None), "no skeletons in it; there is 'file_name', 'label'"),
        (clip(label=None), "no label in it"),
        (clip(label=10), "its label 10 stands for action 12, its name says 11"),
        (clip(label=0), "label is 0, not a number from 1 to 10"),
        (clip(label=11), "label is 11, not a number from 1 to 10"),
        (clip(label=True), "label is true or false"),
        (clip(label="9"), "label is text"),
        (clip(skeletons=[]), "not frames of joints of numbers"),
        (clip(skeletons=POSES[0].tolist()), "not frames of joints of numbers"),
        (clip(skeletons=POSES[:, :19].tolist()), r"shape \(4, 19, 3\), not \(frames, 20, 3\)"),
        (clip(skeletons=POSES[..., :2].tolist()), r"shape \(4, 20, 2\)"),
        (clip(skeletons=[POSES[0].tolist(), POSES[1, :3].tolist()]), "not the same number"),
        (clip(skeletons=POSES.astype(str).tolist()), "not frames of joints of numbers"),
        (clip(skeletons=[[[None] * 3] * 20]), "not frames of joints of numbers"),
    ],
)
def test_content_that_is_not_what_it_says_is_one_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        read(tmp_path, f"{STEM}.json", content)
    assert "\n" not in str(error.value)


def test_nan_stays(tmp_path: Path) -> None:
    poses = POSES.copy()
    poses[1, 2, 0] = np.nan
    found = read(tmp_path, f"{STEM}.json", clip(skeletons=poses.tolist()))
    assert np.isnan(found.coordinates[0, 1, 2, 0])
    assert np.isnan(found.coordinates).sum() == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=20,
)


@settings(deadline=None, max_examples=150)
@given(skeletons=JSON, label=JSON, name=JSON, raw=st.binary(max_size=30) | st.none())
def test_any_content_is_a_clip_or_one_line(
    skeletons: Any, label: Any, name: Any, raw: bytes | None
) -> None:
    fault = ""
    try:
        nwucla.parse(clip(skeletons=skeletons, label=label, file_name=name), STEM)
        if raw is not None:
            nwucla.parse(raw, STEM)
    except InputError as error:
        fault = str(error)
    assert "\n" not in fault


def test_all_real_clips_are_read(shared_data: Path) -> None:
    raw = nwucla.open_raw(shared_data / "nwucla" / "all_sqe.zip", CARD)
    clips = [clip for source in raw.sources for clip in raw.read(source)]
    assert len({clip.id for clip in clips}) == 1484
    assert {clip.label for clip in clips} == set(range(10))
    assert {clip.subject for clip in clips} == set(range(1, 11))
    views = [clip.camera for clip in clips]
    assert [views.count(view) for view in (1, 2, 3)] == [516, 504, 464]
    lengths = [clip.coordinates.shape[1] for clip in clips]
    assert (min(lengths), max(lengths)) == (1, 201)
