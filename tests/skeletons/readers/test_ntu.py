"""NTU's `.skeleton` files: read as a plain loop reads them, refused where they are not whole."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.load import load_dataset_card
from nas_skeleton.skeletons.readers import ntu

CARD = load_dataset_card("utdmhad")  # any will do
FIRST, SECOND, THIRD = "72057594037931101", "72057594037931102", "72057594037931103"
Frames = list[dict[str, NDArray[np.float64]]]


def skeleton(*frames: list[str], seed: int = 0) -> tuple[str, Frames]:
    """A file with these bodies in its frames, and the joints (25, 3) in it."""
    rng = np.random.default_rng(seed)
    lines, numbers = [str(len(frames))], []
    for bodies in frames:
        lines.append(str(len(bodies)))
        numbers.append({})
        for body in bodies:
            joints = rng.normal(size=(25, 12)).round(7)
            lines += [f"{body} 0 1 1 1 1 0 -0.1 0.1 2", "25"]
            lines += [" ".join(str(number) for number in joint) for joint in joints]
            numbers[-1][body] = joints[:, :3]
    return "\r\n".join(lines) + "\r\n", numbers


def naive(text: str) -> NDArray[np.float64]:
    """The same as `parse`, one number after the other."""
    tokens = iter(text.split())
    frames: list[dict[str, list[list[float]]]] = []
    bodies: list[str] = []
    for _ in range(int(next(tokens))):
        frames.append({})
        for _ in range(int(next(tokens))):
            body = next(tokens)
            for _ in range(9):
                next(tokens)
            if body not in bodies:
                bodies.append(body)
            count = int(next(tokens))
            joints = [[float(next(tokens)) for _ in range(12)][:3] for _ in range(count)]
            frames[-1][body] = joints
    coordinates = np.zeros((3, len(frames), 25, len(bodies)))
    for t, frame in enumerate(frames):
        for body, joints in frame.items():
            coordinates[:, t, :, bodies.index(body)] = np.array(joints).T
    return coordinates


TEXT, _ = skeleton([FIRST], [FIRST, SECOND], [], [SECOND])


def test_every_body_has_a_place_of_its_own_in_order_of_appearance() -> None:
    # the ids differ in the last of 17 digits, which a float cannot tell
    text, frames = skeleton([SECOND], [FIRST, SECOND], [], [FIRST], [THIRD])
    coordinates = ntu.parse(text.encode())
    assert coordinates.shape == (3, 5, 25, 3)
    for m, body in enumerate((SECOND, FIRST, THIRD)):
        for t, frame in enumerate(frames):
            wanted = frame.get(body, np.zeros((25, 3)))
            np.testing.assert_array_equal(coordinates[:, t, :, m], wanted.T)


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.lists(st.sampled_from([FIRST, SECOND, THIRD]), unique=True), min_size=1),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_it_reads_what_a_plain_loop_reads(frames: list[list[str]], end: str, spaces: bool) -> None:
    text = skeleton(*frames)[0].replace("\r\n", end)
    if spaces:  # as no official file has them, but who knows
        text = text.replace(" ", "  ").replace(end, f" {end}")
    np.testing.assert_array_equal(ntu.parse(text.encode()), naive(text))


def test_nobody_in_all_frames_is_a_clip_without_bodies() -> None:
    assert ntu.parse(skeleton([], [], [])[0].encode()).shape == (3, 3, 25, 0)


@pytest.mark.parametrize("spelled", ["nan", "NaN", "-nan", "-1.#IND", "1.#QNAN", "-1.#IND00"])
def test_what_is_not_a_number_stays_so(spelled: str) -> None:
    lines = TEXT.splitlines()
    lines[5] = " ".join([spelled, *lines[5].split()[1:]])
    coordinates = ntu.parse("\n".join(lines).encode())
    assert np.isnan(coordinates[0, 0, 1, 0])
    assert np.isnan(coordinates).sum() == 1


def test_a_clip_is_named_and_described_by_its_file(tmp_path: Path) -> None:
    folder = tmp_path / "nturgb+d_skeletons"
    folder.mkdir()
    (folder / "S018C003P106R002A120.skeleton").write_text(TEXT)
    (folder / "S001C001P001R001A001.skeleton").write_text(TEXT)
    raw = ntu.open_raw(tmp_path, CARD)
    _, (clip,) = (raw.read(source) for source in raw.sources)
    assert (clip.id, clip.label, clip.subject) == ("S018C003P106R002A120", 119, 106)
    assert (clip.setup, clip.camera, clip.trial, clip.frames_per_second) == (18, 3, 2, 30)
    np.testing.assert_array_equal(clip.coordinates, naive(TEXT))


def test_the_two_official_zips_are_read_as_one_in_order_of_the_names(tmp_path: Path) -> None:
    for name, inside in (
        ("nturgbd_skeletons_s018_to_s032.zip", "S018C001P008R001A061.skeleton"),
        ("nturgbd_skeletons_s001_to_s017.zip", "nturgb+d_skeletons/S002C001P003R001A003.skeleton"),
    ):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr(inside, TEXT)
    (tmp_path / "S001C001P001R001A001.skeleton").write_text(TEXT)
    raw = ntu.open_raw(tmp_path, CARD)
    clips = [clip for source in raw.sources for clip in raw.read(source)]
    assert [clip.setup for clip in clips] == [1, 2, 18]
    assert len({clip.digest for clip in clips}) == 1


@pytest.mark.parametrize(
    "name",
    [
        "S001C001P001R001A001.SKELETON",
        "S001C001P001R001A1.skeleton",
        "S001C001P001R001A000.skeleton",
        "xS001C001P001R001A001.skeleton",
        "S001C001P001R001A001 (1).skeleton",
        "S001C001P001R001A00\u0661.skeleton",
    ],
)
def test_a_file_of_another_name_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(TEXT)
    raw = ntu.open_raw(tmp_path, CARD)
    with pytest.raises(InputError, match=r"not a name like S001C001P001R001A001"):
        raw.read(raw.sources[0])


def edited(line: int, new: str | None) -> str:
    """`TEXT` with another line (from 1), or without it."""
    lines = TEXT.splitlines()
    lines[line - 1 : line] = [] if new is None else [new]
    return "\n".join(lines)


JOINT = "1 2 3 4 5 6 7 8 9 10 11"
HEADER = TEXT.splitlines()[2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "file is empty"),
        ("\r\n\r\n", "file is empty"),
        ("0\n", "no frames"),
        ("hello", "line 1: the number of frames expected, found 'hello'"),
        ("-1", "line 1: the number of frames"),
        ("1e3", "line 1: the number of frames"),
        ("99999999999", "line 1: the number of frames"),
        ("4", "truncated: it ends in frame 1 of 4"),
        (edited(1, "5"), "truncated: it ends in frame 5 of 5"),
        (edited(1, "3"), "line 86: more lines than"),
        (edited(2, "2"), "line 30: a body's id and 9 values expected, found '2'"),
        (edited(3, "1 2 3"), "line 3: a body's id"),
        (edited(3, HEADER.replace(FIRST, "-1.5")), "line 3: a body's id"),
        (edited(4, "24"), "line 4: 25 joints expected, found '24'"),
        (edited(7, JOINT), f"line 7: 12 numbers of a joint expected, found '{JOINT}'"),
        (edited(7, f"{JOINT} 12 13"), "line 7: 12 numbers"),
        (edited(7, f"{JOINT} x"), "line 7: 12 numbers"),
        (edited(7, f"{JOINT} \xff"), "line 7: 12 numbers"),
        (edited(7, ""), "line 7: 12 numbers of a joint expected, found ''"),
        (edited(7, None), "line 30: the number of bodies expected, found '72057594037931101 0"),
        (TEXT.replace(SECOND, FIRST), f"frame 2 of 4: body {FIRST} twice in one frame"),
        (TEXT + "25\r\n", "line 114: more lines than"),
    ],
)
def test_a_file_that_is_not_what_it_says_is_one_line(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        ntu.parse(text.encode())
    assert "\n" not in str(error.value)


def test_a_file_cut_anywhere_between_two_numbers_is_refused() -> None:
    ends = [place for place, letter in enumerate(TEXT.rstrip()) if letter.isspace()]
    for end in ends[:: len(ends) // 60]:
        with pytest.raises(InputError):
            ntu.parse(TEXT[:end].encode())


def test_a_new_body_in_every_frame_does_not_fill_the_memory() -> None:
    text, _ = skeleton(*([str(10**16 + frame)] for frame in range(400)))
    with pytest.raises(InputError, match="400 bodies in 400 frames, more than a recording has"):
        ntu.parse(text.encode())


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_damaged_files_are_numbers_or_one_line(data: Any) -> None:
    content = bytearray(TEXT.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, 200) | st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255) | st.sampled_from(b"0123456789 \n"))
    fault = ""
    try:
        coordinates = ntu.parse(bytes(content))
        assert coordinates.shape[:3:2] == (3, 25)
    except InputError as error:
        fault = str(error)
    assert "\n" not in fault


def test_the_real_files_are_read_as_a_plain_loop_reads_them(shared_data: Path) -> None:
    raw = ntu.open_raw(shared_data / "ntu", CARD)
    shapes = {}
    for source in raw.sources:
        (clip,) = raw.read(source)
        shapes[clip.id] = clip.coordinates.shape
        text = (shared_data / "ntu" / source).read_text()
        np.testing.assert_array_equal(clip.coordinates, naive(text))
    assert shapes == {
        "S001C001P001R001A011": (3, 82, 25, 1),
        "S001C003P008R002A058": (3, 70, 25, 2),
        "S002C001P003R001A003": (3, 100, 25, 1),
        "S003C001P015R001A034": (3, 71, 25, 1),
        "S004C002P003R001A017": (3, 124, 25, 1),
    }
