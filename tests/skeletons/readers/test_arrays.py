"""Anybody's arrays: every documented key does what is documented, everything else is one line."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.load import load_dataset_card
from nas_skeleton.skeletons.readers import arrays
from nas_skeleton.skeletons.readers.npzfile import read_arrays

CARD = load_dataset_card("utdmhad").model_copy(update={"classes": ("wave", "clap"), "name": "own"})
RNG = np.random.default_rng(0)
ONE = RNG.normal(size=(6, 5, 3))  # T, V, C
PAIR = RNG.normal(size=(2, 6, 5, 3))  # M, T, V, C
MANY = RNG.normal(size=(3, 6, 5, 3))  # N, T, V, C
PAIRS = RNG.normal(size=(3, 2, 6, 5, 3))  # N, M, T, V, C
MEMBERS = {"labels": [0, 1, 1], "subjects": [4, 5, 6]}


def npz(**variables: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **variables)
    return file.getvalue()


def mat(**variables: Any) -> bytes:
    file = io.BytesIO()
    savemat(file, variables, do_compression=True)
    return file.getvalue()


def one(**changes: Any) -> dict[str, Any]:
    return {"coordinates": ONE, "label": 1, "subject": 3, **changes}


def many(**changes: Any) -> dict[str, Any]:
    return {"coordinates": MANY, **MEMBERS, **changes}


def read(folder: Path, content: bytes, name: str = "first.npz", card: Any = CARD) -> list[Any]:
    (folder / name).write_bytes(content)
    return list(arrays.open_raw(folder / name, card).read(name))


def cell(*texts: str) -> Any:
    """Texts as a MATLAB cell."""
    entries = np.empty(len(texts), dtype=object)
    entries[:] = texts
    return entries


@pytest.mark.parametrize(("write", "name"), [(npz, "first.npz"), (mat, "first.mat")])
def test_three_variables_are_enough_for_a_clip(tmp_path: Path, write: Any, name: str) -> None:
    (clip,) = read(tmp_path, write(**one()), name)
    assert (clip.id, clip.label, clip.subject) == ("first", 1, 3)
    assert (clip.trial, clip.camera, clip.setup, clip.frames_per_second) == (None,) * 4
    assert (clip.axes, clip.joints, clip.lists, clip.image_size) == (
        ("x", "y", "z"),
        None,
        (),
        None,
    )
    assert clip.coordinates.dtype == np.float64
    np.testing.assert_array_equal(clip.coordinates[..., 0], ONE.transpose(2, 0, 1))


@pytest.mark.parametrize("write", [npz, mat])
def test_every_key_of_one_clip_is_used(tmp_path: Path, write: Any) -> None:
    names = (lambda *texts: np.array(texts)) if write is npz else cell
    variables = {
        "coordinates": PAIR,
        "label": "clap",
        "subject": 3,
        "id": "the one",
        "trial": 1,
        "camera": 2,
        "setup": 7,
        "frames_per_second": 29.97,
        "image_size": [1920, 1080],
        "lists": names("xsub_train", "xview_val"),
        "joints": names(*"abcde"),
        "axes": names("x", "y", "score"),
    }
    (clip,) = read(tmp_path, write(**variables), "f.npz" if write is npz else "f.mat")
    assert (clip.id, clip.label, clip.subject) == ("the one", 1, 3)
    assert (clip.trial, clip.camera, clip.setup) == (1, 2, 7)
    assert (clip.frames_per_second, clip.image_size) == (29.97, (1920, 1080))
    assert clip.lists == ("xsub_train", "xview_val")
    assert (clip.joints, clip.axes) == (tuple("abcde"), ("x", "y", "score"))
    assert clip.coordinates.shape == (3, 6, 5, 2)
    np.testing.assert_array_equal(clip.coordinates, PAIR.transpose(3, 1, 2, 0))


@pytest.mark.parametrize("write", [npz, mat])
def test_every_key_of_many_clips_is_used(tmp_path: Path, write: Any) -> None:
    names = (lambda *texts: np.array(texts)) if write is npz else cell
    variables = {
        "coordinates": PAIRS,
        "labels": names("clap", "wave", "clap"),
        "subjects": [4, 5, 6],
        "ids": names("a", "b", "ç"),
        "lengths": [6, 1, 4],
        "trials": [1, 2, 3],
        "cameras": [3, 2, 1],
        "setups": [1, 1, 2],
        "frames_per_second": [30, 25, 60],
        "image_size": [[4, 3], [5, 4], [6, 5]],
        "lists": names("train", "", "val"),
        "joints": names(*"abcde"),
        "axes": names("x", "y", "score"),
    }
    clips = read(tmp_path, write(**variables), "f.npz" if write is npz else "f.mat")
    assert [clip.id for clip in clips] == ["a", "b", "ç"]
    assert [(clip.label, clip.subject) for clip in clips] == [(1, 4), (0, 5), (1, 6)]
    assert [(clip.trial, clip.camera, clip.setup) for clip in clips] == [
        (1, 3, 1),
        (2, 2, 1),
        (3, 1, 2),
    ]
    assert [clip.frames_per_second for clip in clips] == [30, 25, 60]
    assert [clip.image_size for clip in clips] == [(4, 3), (5, 4), (6, 5)]
    assert [clip.lists for clip in clips] == [("train",), (), ("val",)]
    for clip, poses, length in zip(clips, PAIRS, (6, 1, 4), strict=True):
        wanted = poses[:, :length].transpose(3, 1, 2, 0)
        np.testing.assert_array_equal(clip.coordinates, wanted)


def test_many_clips_without_names_are_called_after_the_file(tmp_path: Path) -> None:
    clips = read(tmp_path, npz(**many(lists=np.array([["a", "b"], ["b", ""], ["", ""]]))))
    assert [clip.id for clip in clips] == ["first_0", "first_1", "first_2"]
    assert [clip.lists for clip in clips] == [("a", "b"), ("b",), ()]
    assert {clip.coordinates.shape for clip in clips} == {(3, 6, 5, 1)}


def test_a_folder_with_both_kinds_and_any_names_is_read_in_order(tmp_path: Path) -> None:
    (tmp_path / "b.mat").write_bytes(mat(**one()))
    (tmp_path / "ä 1.npz").write_bytes(npz(**one()))
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.writestr("c.npz", npz(**many()))
    raw = arrays.open_raw(tmp_path, CARD)
    clips = [clip.id for source in raw.sources for clip in raw.read(source)]
    assert clips == ["b", "c_0", "c_1", "c_2", "ä 1"]


def test_names_do_not_depend_on_folders_unless_the_file_says_its_own(tmp_path: Path) -> None:
    for folder, more in (("a", {}), ("b", {"id": "b/1"})):
        (tmp_path / "all" / folder).mkdir(parents=True)
        (tmp_path / "all" / folder / "1.npz").write_bytes(npz(**one(**more)))
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for path in (tmp_path / "all").rglob("*.npz"):
            archive.write(path, path.relative_to(tmp_path))
    for name in ("all", "all.zip"):
        raw = arrays.open_raw(tmp_path / name, CARD)
        assert [clip.id for source in raw.sources for clip in raw.read(source)] == ["1", "b/1"]


@pytest.mark.parametrize("shape", [(2,), (1, 2), (2, 1)])
def test_one_image_size_is_for_all_clips(tmp_path: Path, shape: tuple[int, ...]) -> None:
    sizes = np.reshape([640, 480], shape)
    for clip in read(tmp_path, npz(**many(image_size=sizes))):
        assert clip.image_size == (640, 480)


def test_the_rows_and_columns_of_matlab_are_vectors(tmp_path: Path) -> None:
    rows = many(labels=[[0], [1], [1]], subjects=[[4, 5, 6]], lists=np.array([["a"], ["b"], [""]]))
    clips = read(tmp_path, npz(**rows))
    assert [(clip.label, clip.subject) for clip in clips] == [(0, 4), (1, 5), (1, 6)]
    assert [clip.lists for clip in clips] == [("a",), ("b",), ()]


def test_small_numbers_that_would_grow_too_large_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "MAX_BYTES", 3000)
    with pytest.raises(InputError, match="1500 numbers in a clip; cut it into shorter ones"):
        read(tmp_path, npz(coordinates=np.zeros((100, 5, 3), "i1"), label=0, subject=1))


def test_axes_are_the_cards_where_the_file_does_not_say(tmp_path: Path) -> None:
    card = CARD.model_copy(update={"axes": ("x", "y")})
    (clip,) = read(tmp_path, npz(**one(coordinates=ONE[..., :2])), card=card)
    assert clip.axes == ("x", "y")


def test_nan_stays_and_any_width_of_numbers_is_taken(tmp_path: Path) -> None:
    for dtype in ("f2", "f4", ">f8", "i1", "u8"):
        coordinates = (10 * ONE).round().astype(dtype)
        (clip,) = read(tmp_path, npz(**one(coordinates=coordinates)))
        assert (clip.coordinates[..., 0] == coordinates.transpose(2, 0, 1)).all()
    holed = ONE.copy()
    holed[1, 2, 0] = np.nan
    (clip,) = read(tmp_path, npz(**one(coordinates=np.asfortranarray(holed))))
    assert np.argwhere(np.isnan(clip.coordinates)).tolist() == [[0, 1, 2, 0]]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, r"no 'coordinates' in it, there is: nothing"),
        ({"X": ONE, "label": 1}, r"no 'coordinates' in it, there is: X, label"),
        ({"coordinates": ONE}, r"no 'label' \(one clip\), nor 'labels' \(many\) in it"),
        ({"coordinates": ONE, "label": 1}, "no 'subject' in it, there is: coordinates, label"),
        ({"coordinates": MANY, "labels": [1]}, "no 'subjects' in it"),
        (one(camra=1), "unknown key 'camra'; a file with one clip may have .*camera"),
        (one(lengths=[3]), "unknown key 'lengths'; a file with one clip"),
        (many(label=1), "unknown key 'label'; a file with many clips"),
        (one(coordinates=ONE[0]), r"numbers of shape \(5, 3\), not numbers \(T, V, C\) or"),
        (one(coordinates=PAIRS), r"numbers of shape \(3, 2, 6, 5, 3\), not numbers \(T, V, C\)"),
        (many(coordinates=ONE), r"not numbers \(N, T, V, C\) or \(N, M, T, V, C\)"),
        (one(coordinates=ONE[:0]), r"coordinates: numbers of shape \(0,\)"),
        (one(coordinates=ONE.astype(str)), "coordinates: text of shape"),
        (one(coordinates=ONE > 0), "coordinates: truth values of shape"),
        (one(coordinates=ONE[..., :2]), "2 numbers a joint, but the card's axes are x, y, z; say"),
        (one(axes=["x", "y"]), r"axes: text of shape \(2,\), not 3 texts"),
        (one(joints=["a"]), "not 5 texts"),
        (one(joints=[1, 2, 3, 4, 5]), "joints: numbers of shape"),
        (one(label="shout"), "label 'shout' is not among the classes of own"),
        (one(label=0.5), "label: not whole numbers"),
        (one(label=[0, 1]), "label: 2 numbers for 1 clips"),
        (one(subject=np.nan), "subject: numbers, not finite numbers"),
        (one(subject="me"), "subject: text, not finite numbers"),
        (one(subject=2.0**40), "subject: not whole numbers"),
        (one(id=""), "id: that of clip 0 is empty"),
        (one(id=7), "id: numbers of shape"),
        (one(frames_per_second=0), "frames_per_second: not above 0"),
        (one(image_size=[640]), r"image_size: numbers of shape \(1,\), not \(2,\)"),
        (one(image_size=[640, 0]), "image_size: not pixels"),
        (one(lists=[1]), "lists: numbers of shape"),
        (many(lists=["a", "b"]), "lists: text of shape"),
        # as many as there should be, but in another order
        (many(image_size=np.ones((2, 3))), r"of shape \(2, 3\), not \(2,\) or \(3, 2\)"),
        (many(image_size=np.ones(6)), r"image_size: numbers of shape \(6,\)"),
        (many(lists=np.full((2, 3), "a")), r"lists: text of shape \(2, 3\), not text for each"),
        (many(lists=np.full(6, "a")), r"lists: text of shape \(6,\), .* \(3,\) or \(3, L\)"),
        (
            {"coordinates": ONE[[0] * 4, None], **dict.fromkeys(MEMBERS, np.eye(2))},
            r"labels: 4 numbers of shape \(2, 2\) for 4 clips",
        ),
        (many(lengths=[6, 7, 1]), "lengths: that of clip 1 is 7, not 1 to 6"),
        (many(lengths=[6, 6, 0]), "lengths: that of clip 2 is 0, not 1 to 6"),
        (many(ids=["a", "b"]), "not 3 texts"),
        (many(subjects=[1, 2]), "subjects: 2 numbers for 3 clips"),
    ],
)
def test_variables_that_are_no_clip_are_one_line(
    tmp_path: Path, variables: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        read(tmp_path, npz(**variables))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("f.npz", b"", "file is empty"),
        ("f.mat", b"", "file is empty"),
        ("f.npz", npz(**one())[:-9], "not a zip file, or a truncated one"),
        ("f.npz", b"hello", "not a zip file"),
        ("f.mat", b"hello", "not a .mat file"),
        ("f.mat", mat(**one())[:-99], "truncated"),
        ("f.mat", npz(**one()), "not a .mat file"),
        ("f.mat", mat(**one(label={"a": 1})), "label is a struct; wanted are numbers, text"),
        ("f.mat", mat(**one(label=cell(1, 2))), "label is a cell of other things"),
        ("f.mat", mat(**one(label=True)), "label is logical"),
        ("f.mat", mat(**one(id="a\x07b")), "id: text with characters that cannot be printed"),
    ],
)
def test_a_file_that_is_none_is_one_line(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        read(tmp_path, content, name)
    assert "\n" not in str(error.value)


# --------------------------------------------------------------------- the arrays of a .npz


class Evil:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("ran"),))


def test_pickled_objects_are_refused_and_do_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content = npz(x=np.array([Evil()], dtype=object))
    with pytest.raises(InputError, match="x holds Python objects, which are not unpickled"):
        read_arrays(content, 10**6)
    assert not Path("ran").exists()


def npy_in_zip(header: str, data: bytes = bytes(8)) -> bytes:
    text = header.encode() + b"\n"
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        head = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
        archive.writestr("x.npy", head + data)
    return file.getvalue()


def header(shape: str, descr: str = "'<f8'") -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy_in_zip(header("(2**40,)")), "x: not an array, or a damaged one"),
        (npy_in_zip(header("(1099511627776,)")), "x: damaged, it has not as many numbers"),
        (npy_in_zip(header("(-1, -1)")), "x: damaged, it has not as many numbers"),
        (npy_in_zip(header("()", "'<U2'"), b"\xff" * 8), "x: damaged, its text is none"),
        (npy_in_zip(header("()", "'<c8'")), "x holds complex64"),
        (npy_in_zip(header("()", "[('a', '<f8')]")), "x holds"),
        (npy_in_zip("{'descr': '<f8'}"), "x: not an array, or a damaged one"),
        (npy_in_zip("(" * 2000), "x: not an array, or a damaged one"),
        (npz(x=np.zeros(200), y=np.zeros(200)), "unpack to more than such a file may have"),
        (npz(x=np.zeros(500)), "4128 bytes, more than the 3000 such a file may have"),
    ],
)
def test_an_array_that_is_not_there_is_one_line(content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        read_arrays(content, 3000)
    assert "\n" not in str(error.value)


def test_an_empty_array_of_any_shape_takes_no_memory() -> None:
    content = npy_in_zip(header(f"(0, {2**60}, {2**60})"), b"")
    assert read_arrays(content, 3000)["x"].size == 0


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_damaged_files_are_arrays_or_one_line(data: Any) -> None:
    file = io.BytesIO(npz(a=np.arange(6.0), b=np.array(["x", "y"])))
    with zipfile.ZipFile(file) as archive:
        parts = {name: bytearray(archive.read(name)) for name in archive.namelist()}
    for part in parts.values():
        place = data.draw(st.integers(0, len(part) - 1))
        part[place] = data.draw(st.integers(0, 255) | st.sampled_from(b"0123456789'(){},:<>|"))
    damaged = io.BytesIO()
    with zipfile.ZipFile(damaged, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, bytes(part))
    fault = ""
    try:
        for array in read_arrays(damaged.getvalue(), 10**6).values():
            array.tolist()
    except InputError as error:
        fault = str(error)
    assert "\n" not in fault
