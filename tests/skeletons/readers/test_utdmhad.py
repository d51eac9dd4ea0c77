"""The UTD-MHAD reader: right on good files, one clear line on every bad one."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat
from scipy.sparse import csc_array

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.load import load_dataset_card
from nas_skeleton.skeletons.readers import utdmhad
from nas_skeleton.skeletons.readers.utdmhad import ClipName, parse_name, read_mat

CARD = load_dataset_card("utdmhad")
CLIP = np.random.default_rng(1).normal(size=(20, 3, 7))


def mat(variables: dict[str, Any], **options: Any) -> bytes:
    file = io.BytesIO()
    savemat(file, variables, **options)
    return file.getvalue()


def result_of(function: Any, *arguments: Any) -> Any:
    """What a function returns, or the `InputError` it raises; anything else escapes."""
    try:
        return function(*arguments)
    except InputError as error:
        return error


def read_all(path: Path) -> list[Any]:
    raw = utdmhad.open_raw(path, CARD)
    return [clip for source in raw.sources for clip in raw.read(source)]


def test_a_clip_is_channels_frames_joints_bodies(tiny: Any) -> None:
    clips = read_all(tiny.zip())
    assert [clip.id for clip in clips] == sorted(tiny.clips)  # by action, subject, trial
    first = clips[0]
    assert (first.id, first.label, first.subject, first.trial) == ("a1_s1_t1", 0, 1, 1)
    for clip in clips:
        raw = tiny.clips[clip.id]
        assert clip.coordinates.shape == (3, raw.shape[2], 20, 1)
        for joint, axis, frame in ((0, 0, 0), (7, 2, 3), (19, 1, 4)):
            assert clip.coordinates[axis, frame, joint, 0] == raw[joint, axis, frame]


def test_numbers_are_ordered_as_numbers(tiny: Any) -> None:
    for action in (1, 2, 10, 11):
        tiny.files[f"a{action}_s1_t1_skeleton.mat"] = tiny.files["a1_s1_t1_skeleton.mat"]
    tiny.files["another.mat"] = b""
    sources = utdmhad.open_raw(tiny.zip(), CARD).sources
    actions = [int(source.split("_")[0].removeprefix("Skeleton/a")) for source in sources[:-1]]
    assert actions == sorted(actions)
    assert actions[-2:] == [10, 11]
    assert sources[-1] == "Skeleton/another.mat"


def test_zip_and_folder_hold_the_same_clips_wherever_they_lie_inside(
    tiny: Any, tmp_path: Path
) -> None:
    raws = [
        tiny.zip(),
        tiny.zip(tmp_path / "flat.zip", inside=""),
        tiny.zip(tmp_path / "deep.zip", inside="UTD/all of it/Skeleton/"),
        tiny.folder(tmp_path / "flat"),
    ]
    tiny.folder(tmp_path / "nested" / "some" / "where")
    described = [
        [(clip.id, clip.label, clip.digest, clip.coordinates.tobytes()) for clip in read_all(raw)]
        for raw in (*raws, tmp_path / "nested")
    ]
    assert all(other == described[0] for other in described[1:])


def test_other_files_are_passed_over(tiny: Any) -> None:
    tiny.files |= {
        "README.txt": b"hello",
        "../__MACOSX/Skeleton/._a1_s1_t1_skeleton.mat": b"junk",
        "._a1_s1_t2_skeleton.mat": b"junk",
        ".DS_Store": b"junk",
        "a1_s1_t1_inertial.mat": b"not looked at",
        "a1_s1_t1_depth.mat": b"not looked at",
        "a1_s1_t1_color.avi": b"not looked at",
    }
    assert len(read_all(tiny.zip())) == len(tiny.clips)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a1_s1_t1.mat", "not a name like"),
        ("clip.MAT", "not a name like"),
        ("a01_s1_t1_skeleton.mat", "not a name like"),
        ("a0_s1_t1_skeleton.mat", "not a name like"),
        ("a1_s1_t1_skeleton.mat.mat", "not a name like"),
        ("a\u0661_s1_t1_skeleton.mat", "not a name like"),  # an Arabic one
        ("a1_s1_t1_skeleton\n.mat", "not a name like"),
        ("a1_s1_t5_skeleton.mat", "trial 5, but there are 4"),
    ],
)
@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_a_clip_that_cannot_be_placed_is_an_error(
    tiny: Any, tmp_path: Path, kind: str, name: str, message: str
) -> None:
    tiny.files[name] = tiny.files["a1_s1_t1_skeleton.mat"]
    raw = utdmhad.open_raw(tiny.zip() if kind == "zip" else tiny.folder(tmp_path / "raw"), CARD)
    bad = [source for source in raw.sources if isinstance(result_of(raw.read, source), InputError)]
    assert [source.rpartition("/")[2] for source in bad] == [name.replace("\n", "\\n")]
    with pytest.raises(InputError, match=message) as error:
        raw.read(bad[0])
    assert "\n" not in str(error.value)


def test_nothing_to_read_is_an_error(tmp_path: Path, tiny: Any) -> None:
    tiny.files = {"README.txt": b"", "a1_s1_t1_inertial.mat": b""}
    for raw in (tiny.zip(), tiny.folder(tmp_path / "raw")):
        with pytest.raises(InputError, match=r"no a\*_s\*_t\*_skeleton.mat in it"):
            read_all(raw)


OBJECTS = np.empty((20, 3, 2), dtype=object)
OBJECTS[:] = 1.0
NAN, INF = CLIP.copy(), CLIP.copy()
NAN[3, 1, 2], INF[0, 0, 0] = np.nan, -np.inf


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a .mat file"),
        (b"hello", "not a .mat file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(600), "version 7.3"),
        (mat({"d_skel": CLIP})[:-100], "truncated"),
        (mat({"d_skel": CLIP}, do_compression=True)[:-100], "truncated"),
        (mat({"d_iner": CLIP}), "no variable d_skel"),
        (mat({}), "no variable d_skel"),
        (mat({"d_skel": CLIP}) + mat({"d_skel": CLIP})[128:], "more than one variable d_skel"),
        (mat({"d_skel": CLIP[:19]}), r"shape \(19, 3, 7\), not \(20, 3, frames >= 2\)"),
        (mat({"d_skel": CLIP[:, :2]}), r"shape \(20, 2, 7\)"),
        (mat({"d_skel": CLIP[..., :1]}), r"shape \(20, 3\)|shape \(20, 3, 1\)"),
        (mat({"d_skel": CLIP[..., :0]}), r"shape \(20, 3, 0\)"),
        (mat({"d_skel": CLIP.transpose(2, 0, 1)}), r"shape \(7, 20, 3\)"),
        (mat({"d_skel": CLIP[0]}), r"shape \(3, 7\)"),
        (mat({"d_skel": OBJECTS}), "is cell"),
        (mat({"d_skel": {"joints": CLIP}}), "is struct"),
        (mat({"d_skel": "text"}), "is char"),
        (mat({"d_skel": CLIP > 0}), "is logical"),
        (mat({"d_skel": csc_array(CLIP[0])}), "is sparse"),
        (mat({"d_skel": CLIP + 1j}), "is complex, not an array of real numbers"),
        (mat({"d_skel": NAN}), "NaN or infinite"),
        (mat({"d_skel": INF}), "NaN or infinite"),
        (mat({"d_skel": CLIP[0]}, format="4"), "not a .mat file of version 5"),
    ],
)
def test_a_mat_file_that_is_no_clip_is_one_line(content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        read_mat(content)
    assert "\n" not in str(error.value)


def is_clip_or_one_line(content: bytes) -> None:
    joints = result_of(read_mat, content)
    if isinstance(joints, InputError):
        assert "\n" not in str(joints)
    else:
        assert joints.shape[:2] == (20, 3)
        assert joints.dtype == np.float64
        assert np.isfinite(joints).all()


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400) | st.binary(max_size=200).map(lambda end: mat({})[:128] + end))
def test_random_bytes_never_escape_as_another_error(content: bytes) -> None:
    is_clip_or_one_line(content)


PLAIN, PACKED = mat({"d_skel": CLIP}), mat({"d_skel": CLIP}, do_compression=True)


@settings(max_examples=600, deadline=None)
@given(
    st.sampled_from([PLAIN, PACKED]),
    st.lists(st.tuples(st.integers(0, 330), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_damaged_mat_files_never_escape_as_another_error(
    content: bytes, changes: list[tuple[int, int]]
) -> None:
    damaged = bytearray(content)
    for position, value in changes:
        damaged[position % len(damaged)] = value
    is_clip_or_one_line(bytes(damaged))


@given(st.text() | st.from_regex(r"a[0-9]*_s[0-9]*_t[0-9]*_skeleton\.mat"))
def test_any_name_is_read_back_or_one_line(name: str) -> None:
    clip = result_of(parse_name, name)
    if not isinstance(clip, InputError):
        assert f"{clip.id}_skeleton.mat" == name
        assert clip.trial <= 4


@given(st.integers(1, 27), st.integers(1, 8), st.integers(1, 4))
def test_every_proper_name_is_read(action: int, subject: int, trial: int) -> None:
    clip = parse_name(f"a{action}_s{subject}_t{trial}_skeleton.mat")
    assert clip == ClipName(action, subject, trial)


def test_a_recording_without_losses_would_have_864_clips() -> None:
    ids = list(utdmhad.complete_ids(CARD))
    assert len(ids) == len(set(ids)) == 864
