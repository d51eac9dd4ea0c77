"""The UTD-MHAD reader: right on good files, one clear line on every bad one."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import savemat
from scipy.sparse import csc_array

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.card import load_dataset_card
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


def read_all(raw: Path) -> list[Any]:
    count, clips = utdmhad.read(raw, load_dataset_card("tiny"))
    found = list(clips)
    assert len(found) == count
    return found


def test_a_clip_is_channels_frames_joints_bodies(tiny: Any) -> None:
    clips = read_all(tiny.zip())
    assert [clip.id for clip in clips] == sorted(tiny.clips)  # by action, subject, trial
    first = clips[0]
    assert (first.id, first.label, first.subject, first.trial) == ("a1_s1_t1", 0, 1, 1)
    assert first.source == "a1_s1_t1_skeleton.mat"
    for clip in clips:
        raw = tiny.clips[clip.id]
        assert clip.coordinates.shape == (3, raw.shape[2], 20, 1)
        for joint, axis, frame in ((0, 0, 0), (7, 2, 3), (19, 1, 4)):
            assert clip.coordinates[axis, frame, joint, 0] == raw[joint, axis, frame]


def test_numbers_are_ordered_as_numbers(tiny: Any) -> None:
    for action in (1, 2, 10, 11):
        tiny.files[f"a{action}_s1_t1_skeleton.mat"] = tiny.files["a1_s1_t1_skeleton.mat"]
    _, clips = utdmhad.read(tiny.zip(), CARD)
    actions = [clip.label + 1 for clip in clips]
    assert actions == sorted(actions)
    assert actions[-2:] == [10, 11]


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
        ("a1_s1_t1_skeleton\n.mat", r"a1_s1_t1_skeleton\\n\.mat"),
        ("a3_s1_t1_skeleton.mat", "action 3, but tiny has 2"),
        ("a1_s4_t1_skeleton.mat", "subject 4 is not among those of tiny"),
        ("a1_s1_t5_skeleton.mat", "trial 5, but there are 4"),
    ],
)
@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_a_clip_that_cannot_be_placed_is_an_error(
    tiny: Any, tmp_path: Path, kind: str, name: str, message: str
) -> None:
    tiny.files[name] = tiny.files["a1_s1_t1_skeleton.mat"]
    raw = tiny.zip() if kind == "zip" else tiny.folder(tmp_path / "raw")
    with pytest.raises(InputError, match=message) as error:
        read_all(raw)
    assert str(raw) in str(error.value)
    assert "\n" not in str(error.value)


def test_the_same_clip_twice_is_an_error(tiny: Any, tmp_path: Path) -> None:
    tiny.folder(tmp_path / "raw" / "one")
    tiny.folder(tmp_path / "raw" / "two")
    with pytest.raises(InputError, match=r"two/a1_s1_t1_skeleton.mat: the same clip as a1_s1_t1"):
        read_all(tmp_path / "raw")


def test_nothing_to_read_is_an_error(tmp_path: Path, tiny: Any) -> None:
    tiny.files = {"README.txt": b""}
    for raw in (tiny.zip(), tiny.folder(tmp_path / "raw")):
        with pytest.raises(InputError, match=r"no a\*_s\*_t\*_skeleton.mat in it"):
            read_all(raw)


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, -30, -1])
def test_a_truncated_zip_is_an_error(tiny: Any, keep: float) -> None:
    archive = tiny.zip()
    content = archive.read_bytes()
    size = int(len(content) * keep) if isinstance(keep, float) else keep
    archive.write_bytes(content[:size])
    with pytest.raises(InputError, match=r"Skeleton\.zip: .*download") as error:
        read_all(archive)
    assert "\n" not in str(error.value)


def test_a_flipped_bit_in_a_member_is_an_error_that_names_it(tiny: Any) -> None:
    archive = tiny.zip()
    content = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as opened:
        member = opened.infolist()[3]
    content[member.header_offset + 30 + len(member.filename) + member.compress_size // 2] ^= 1
    archive.write_bytes(content)
    with pytest.raises(InputError, match=rf"Skeleton\.zip: {member.filename}: cannot be unpacked"):
        read_all(archive)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_no_damage_to_a_zip_gives_anything_but_clips_or_one_line(tiny: Any, data: Any) -> None:
    if "whole" not in tiny.files:
        content = tiny.zip().read_bytes()
        tiny.files["whole"] = content
    content = bytearray(tiny.files["whole"])
    for _ in range(data.draw(st.integers(1, 4))):
        # the directory at the end is where most of the parsing happens
        position = data.draw(st.integers(0, len(content) - 1) | st.integers(-900, -1))
        content[position] = data.draw(st.integers(0, 255))
    damaged = tiny.cwd / "damaged.zip"
    damaged.write_bytes(content[: data.draw(st.just(len(content)) | st.integers(0, len(content)))])
    clips = result_of(read_all, damaged)
    if isinstance(clips, InputError):
        assert "damaged.zip" in str(clips)
    else:
        assert all(np.isfinite(clip.coordinates).all() for clip in clips)


def test_a_member_that_unpacks_to_gigabytes_is_refused(tiny: Any, tmp_path: Path) -> None:
    bomb = bytes(utdmhad.MAX_BYTES + 1)
    tiny.files["a1_s1_t1_skeleton.mat"] = bomb
    for raw in (tiny.zip(), tiny.folder(tmp_path / "raw")):
        with pytest.raises(InputError, match=r"a1_s1_t1_skeleton\.mat: .*too large for a clip"):
            read_all(raw)


def test_a_member_larger_than_it_says_is_refused(tiny: Any) -> None:
    tiny.files = {"a1_s1_t1_skeleton.mat": bytes(utdmhad.MAX_BYTES + 1)}
    archive = tiny.zip()
    honest = struct.pack("<L", utdmhad.MAX_BYTES + 1)
    content = archive.read_bytes()
    assert content.count(honest) == 2
    archive.write_bytes(content.replace(honest, struct.pack("<L", 1000)))
    with pytest.raises(InputError, match=r"cannot be unpacked|too large"):
        read_all(archive)


def test_an_encrypted_member_is_an_error(tiny: Any) -> None:
    archive = tiny.zip()
    content = bytearray(archive.read_bytes())
    position = content.index(b"PK\x01\x02")
    content[position + 8] |= 1  # the flag in the directory
    content[content.index(b"PK\x03\x04") + 6] |= 1
    archive.write_bytes(content)
    with pytest.raises(InputError, match=r"cannot be unpacked .*password"):
        read_all(archive)


def test_a_pipe_in_place_of_a_file_is_an_error(tiny: Any, tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path / "raw")
    os.mkfifo(folder / "a2_s3_t2_skeleton.mat")
    with pytest.raises(InputError, match="not a regular file"):
        read_all(folder)


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
    with pytest.raises(InputError, match=f"^raw.zip: a1: .*({message})") as error:
        read_mat(content, "raw.zip: a1")
    assert "\n" not in str(error.value)


def is_clip_or_one_line(content: bytes) -> None:
    joints = result_of(read_mat, content, "f")
    if isinstance(joints, InputError):
        assert str(joints).startswith("f: ")
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
def test_any_name_is_a_clip_of_the_card_or_one_line(name: str) -> None:
    clip = result_of(parse_name, name, CARD, "raw.zip: x")
    if isinstance(clip, InputError):
        assert str(clip).startswith("raw.zip: x: ")
    else:
        assert f"{clip.id}_skeleton.mat" == name
        assert clip.action <= 27
        assert clip.subject <= 8
        assert clip.trial <= 4


@given(st.integers(1, 27), st.integers(1, 8), st.integers(1, 4))
def test_every_proper_name_is_read(action: int, subject: int, trial: int) -> None:
    clip = parse_name(f"a{action}_s{subject}_t{trial}_skeleton.mat", CARD, "")
    assert clip == ClipName(action, subject, trial)


def test_a_recording_without_losses_would_have_864_clips() -> None:
    ids = list(utdmhad.complete_ids(CARD))
    assert len(ids) == len(set(ids)) == 864
