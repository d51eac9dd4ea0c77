"""PYSKL's annotation pickles: NTU in 3D, COCO joints with scores, Kinetics-400, and bad ones."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.card import DatasetCard
from nas_skeleton.skeletons.readers import RawClip, pyskl

RNG = np.random.default_rng(0)


def card(layout: str = "ntu", **options: object) -> DatasetCard:
    axes = ["x", "y", "z"] if layout == "ntu" else ["x", "y", "score"]
    lists = {"train_lists": ["train"], "test_lists": ["val"]}
    content = {
        **dict.fromkeys(("name", "title"), "foreign"),
        **dict.fromkeys(("description", "licence", "citation", "units"), ""),
        "reader": "pyskl",
        "reader_options": options,
        "layout": layout,
        "axes": axes,
        "frames_per_second": 30.0,
        "classes": ["a", "b"],
        "default_protocol": "p",
        "protocols": {"p": lists},
    }
    return DatasetCard.model_validate(content)


def ntu(name: str = "S001C002P003R002A001", **changes: object) -> dict[str, Any]:
    poses = RNG.normal(size=(2, 6, 25, 3)).astype(np.float16)
    return {"frame_dir": name, "label": 0, "total_frames": 6, "keypoint": poses, **changes}


def coco(name: str, **changes: object) -> dict[str, Any]:
    return {
        "frame_dir": name,
        "label": np.int64(1),
        "total_frames": 4,
        "img_shape": (1080, 1920),
        "original_shape": (1080, 1920),
        "keypoint": RNG.uniform(0, 1000, (1, 4, 17, 2)).astype(np.float16),
        "keypoint_score": RNG.uniform(0, 1, (1, 4, 17)).astype(np.float16),
        **changes,
    }


def written(folder: Path, content: object, name: str = "annotations.pkl") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(pickle.dumps(content, 4))
    return path


def clip_of(path: Path, card: DatasetCard, source: str | None = None) -> RawClip:
    raw = pyskl.open_raw(path, card)
    [clip] = raw.read(source or raw.sources[0])
    return clip


def test_an_ntu_clip_is_axes_frames_joints_bodies_with_all_its_name_says(tmp_path: Path) -> None:
    entry = ntu()
    split = {"xsub_train": [entry["frame_dir"]], "xsub_val": [], "xset_val": [entry["frame_dir"]]}
    path = written(tmp_path, {"split": split, "annotations": [entry]})
    clip = clip_of(path, card(frames_per_second=30.0))
    assert (clip.id, clip.label, clip.axes) == ("S001C002P003R002A001", 0, ("x", "y", "z"))
    assert (clip.setup, clip.camera, clip.subject, clip.trial) == (1, 2, 3, 2)
    assert clip.group == ""  # it is a person
    assert clip.lists == ("xsub_train", "xset_val")
    assert clip.frames_per_second == 30
    assert clip.coordinates.shape == (3, 6, 25, 2)
    assert clip.coordinates.dtype == np.float64
    for body, frame, joint, axis in ((0, 0, 0, 0), (1, 5, 24, 2), (0, 3, 7, 1)):
        assert (
            clip.coordinates[axis, frame, joint, body]
            == entry["keypoint"][body, frame, joint, axis]
        )


def test_a_score_is_a_score_and_never_depth(tmp_path: Path) -> None:
    entry = coco("clip")
    clip = clip_of(written(tmp_path, {"annotations": [entry]}), card("coco17"))
    assert clip.axes == ("x", "y", "score")
    assert clip.image_size == (1920, 1080)
    assert clip.label == 1
    np.testing.assert_array_equal(clip.coordinates[2, :, :, 0], entry["keypoint_score"][0])
    np.testing.assert_array_equal(clip.coordinates[1, :, :, 0], entry["keypoint"][0, :, :, 1])


def test_without_scores_there_are_two_axes(tmp_path: Path) -> None:
    entry = coco("clip")
    del entry["keypoint_score"], entry["img_shape"]
    clip = clip_of(written(tmp_path, [entry]), card("coco17"))
    assert clip.axes == ("x", "y")
    assert clip.image_size is None
    assert clip.coordinates.shape == (2, 4, 17, 1)


def test_clips_of_one_video_are_one_group(tmp_path: Path) -> None:
    names = ["zz_A_002184_002237_0035_0036", "b-b_000010_000020_0001_0002"]
    names += ["zz_A_009999_010000_0001_0002"]
    path = written(tmp_path, [coco(name) for name in names])
    pattern = r"(.+)(_[0-9]{6}){2}_[0-9]{4}_[0-9]{4}$"
    raw = pyskl.open_raw(path, card("coco17", group_pattern=pattern))
    assert [raw.read(name)[0].subject for name in names] == [2, 1, 2]
    assert [raw.read(name)[0].group for name in names] == ["zz_A", "b-b", "zz_A"]
    alone = pyskl.open_raw(path, card("coco17"))
    assert [alone.read(name)[0].subject for name in names] == [2, 1, 3]
    assert [alone.read(name)[0].group for name in names] == names
    other = pyskl.open_raw(path, card("coco17", group_pattern="(zz)"))
    with pytest.raises(InputError, match="group_pattern of the card finds no group"):
        other.read(names[1])


@pytest.mark.parametrize("pattern", ["(", "no brackets"])
def test_a_pattern_that_can_find_no_group_is_an_error_of_the_card(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"reader_options\.group_pattern"):
        card("coco17", group_pattern=pattern)


def test_the_same_clips_come_from_a_file_a_folder_and_a_zip(tmp_path: Path) -> None:
    entry = ntu()
    path = written(tmp_path / "folder" / "deep", {"annotations": [entry]})
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(path, "inside/annotations.pkl")
    clips = [clip_of(raw, card()) for raw in (path, tmp_path / "folder", tmp_path / "all.zip")]
    for clip in clips[1:]:
        assert clip.digest == clips[0].digest
        np.testing.assert_array_equal(clip.coordinates, clips[0].coordinates)
    entry["keypoint"][0, 0, 0, 0] += 1
    assert clip_of(written(tmp_path, [entry]), card()).digest != clips[0].digest


def kinetics(folder: Path, **changes: object) -> tuple[Path, np.ndarray[Any, Any]]:
    """A clip of the Kinetics-400 variant: 3, 0, 1 and 2 people in its frames."""
    found = RNG.uniform(0, 300, (6, 17, 3)).astype(np.float16)
    entry = {
        "frame_dir": "vid",
        "label": 1,
        "total_frames": 4,
        "img_shape": (240, 320),
        "raw_file": "data/k400/kp/part1.pkl",
        "valid": {0.5: 3},
        "frame_inds": np.array([0, 3, 0, 2, 0, 3]),
        "box_score": np.array([0.5, 0.6, 0.9, 0.7, 0.8, 0.9], np.float16),
        **changes,
    }
    path = written(folder, {"split": {"train": ["vid"]}, "annotations": [entry]}, "k400_hrnet.pkl")
    written(folder / "kp", {"vid": {"keypoint": found}}, "part1.pkl")
    return path, found


@pytest.mark.parametrize("whole_folder", [False, True])
def test_kinetics_keeps_its_poses_in_another_file(tmp_path: Path, whole_folder: bool) -> None:
    path, found = kinetics(tmp_path)
    raw = tmp_path if whole_folder else path
    clip = clip_of(raw, card("coco17", people=2))
    assert clip.axes == ("x", "y", "score")
    assert clip.coordinates.shape == (3, 4, 17, 2)
    expected = np.zeros((2, 4, 17, 3))
    expected[0, 0], expected[1, 0] = found[2], found[4]  # of three, the two surest
    expected[0, 2] = found[3]
    expected[0, 3], expected[1, 3] = found[5], found[1]
    np.testing.assert_array_equal(clip.coordinates, expected.transpose(3, 1, 2, 0))
    assert clip_of(raw, card("coco17")).coordinates.shape[3] == 3


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"raw_file": "elsewhere.pkl"}, "elsewhere.pkl, which is not beside the annotations"),
        ({"raw_file": "../../../../etc/passwd"}, "not beside the annotations"),
        ({"raw_file": "k400_hrnet.pkl"}, "does not have it"),
        ({"frame_inds": np.array([0, 3, 0, 2, 0, 4])}, "not all within its 4 frames"),
        ({"frame_inds": np.array([0.5, 3, 0, 2, 0, 1])}, "not all within its 4 frames"),
        ({"frame_inds": np.array([0, 1])}, "for 2 frame_inds"),
        ({"frame_inds": "all"}, "frame_inds is text, not an array"),
        ({"total_frames": 10**12}, "total_frames is 1000000000000"),
        ({"frame_inds": np.array([0, 3, 0, 2, 0, np.nan])}, "not all within its 4 frames"),
        ({"frame_inds": np.array([0, 3, 0, 2, 0, 1e300])}, "not all within its 4 frames"),
        ({"raw_file": "x" * 5000}, "not beside the annotations"),
        ({"raw_file": "a\0b"}, "not beside the annotations"),
    ],
)
def test_kinetics_poses_that_do_not_fit_are_an_error(
    tmp_path: Path, changes: dict[str, object], reason: str
) -> None:
    path, _ = kinetics(tmp_path / "some" / "where", **changes)
    with pytest.raises(InputError, match=reason):
        clip_of(path, card("coco17"))


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (ntu(total_frames=7), "keypoint has 6 frames, total_frames says 7"),
        (ntu(total_frames=10**600), "total_frames is a number out of all proportion"),
        (ntu(label=-(10**600)), "label is a number out of all proportion"),
        (coco("S001C001P001R001A009", img_shape=(10**400, 5)), "img_shape is not height and width"),
        (
            ntu(total_frames=10**15, keypoint=np.zeros((0, 10**15, 25, 3))),
            "total_frames is 1000000000000000, more than 100000",
        ),
        (ntu(label="0"), "label is text, not a whole number"),
        (ntu(label=True), "label is a bool"),
        (ntu(label=0.0), "label is a float"),
        (ntu(keypoint=[[1.0]]), "keypoint is a list, not an array"),
        (ntu(keypoint=np.zeros((6, 25, 3))), r"keypoint has shape \(6, 25, 3\)"),
        (ntu(keypoint=np.zeros((1, 6, 25, 3), "U1")), "not 4 axes of numbers"),
        (ntu(keypoint=np.zeros((1, 6, 25, 2))), "25 joints with 2 coordinates"),
        (ntu(keypoint=np.zeros((1, 6, 18, 3))), "18 joints with 3 coordinates"),
        (ntu(keypoint=np.zeros((1, 6, 17, 3))), "17 joints with 3 coordinates"),
        (
            coco("S001C001P001R001A009", keypoint_score=np.zeros((1, 4, 16))),
            "keypoint_score has shape",
        ),
        (coco("S001C001P001R001A009", img_shape=(1080,)), "img_shape is not height and width"),
        (
            coco("S001C001P001R001A009", img_shape=(1080.0, "w")),
            "img_shape is not height and width",
        ),
        ({"frame_dir": "x", "label": 1}, "no total_frames in the annotation; there is frame_dir"),
        ({"frame_dir": "x", "label": 1, "total_frames": 3}, "keypoint is missing"),
        ({"label": 1}, "no frame_dir in the annotation"),
        (None, "the annotation is a NoneType"),
        ("S001C001P001R001A001", "the annotation is text, not a dict"),
    ],
)
def test_a_bad_annotation_is_one_line_and_leaves_the_others(
    tmp_path: Path, entry: object, reason: str
) -> None:
    good = [coco("S001C001P001R001A007"), coco("S001C001P001R001A008")]
    raw = pyskl.open_raw(written(tmp_path, [good[0], entry, good[1]]), card("coco17"))
    assert len(raw.sources) == 3
    with pytest.raises(InputError, match=reason) as error:
        raw.read(raw.sources[1])
    assert "\n" not in str(error.value)
    assert [raw.read(source)[0].id[-1] for source in raw.sources[::2]] == ["7", "8"]


def test_a_clip_that_is_there_twice_is_read_twice_under_its_name(tmp_path: Path) -> None:
    raw = pyskl.open_raw(written(tmp_path, [ntu(), ntu()]), card())
    assert raw.sources == ("S001C002P003R002A001", "annotations[1]")
    assert {raw.read(source)[0].id for source in raw.sources} == {"S001C002P003R002A001"}


def test_clips_that_are_called_like_places_hide_no_others(tmp_path: Path) -> None:
    names = ["annotations[1]", "annotations[1]", "annotations[0]", "split[0]", "a", "a", "b"]
    content = {
        "split": {"train": ["split[2]", "gone", "split[0]", "annotations[9]"]},
        "annotations": [*(coco(name) for name in names), {}],
    }
    raw = pyskl.open_raw(written(tmp_path, content), card("coco17"))
    assert len(raw.sources) == len(set(raw.sources)) == 8 + 3
    found = []
    for source in raw.sources:
        try:
            found += [clip.id for clip in raw.read(source)]
        except InputError as error:
            found.append(str(error)[:15])
    assert found == [*names, "no frame_dir in", *["stands in the l"] * 3]


def test_a_zipped_pickle_that_is_too_large_is_to_be_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pyskl, "MAX_BYTES", 100)
    path = written(tmp_path, [ntu()])
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(path, "inside/annotations.pkl")
    with pytest.raises(InputError, match=r"more than the 100 .*; unpack the zip and name"):
        pyskl.open_raw(tmp_path / "all.zip", card())
    assert clip_of(path, card()).label == 0


def test_an_empty_array_takes_no_memory_whatever_its_shape(tmp_path: Path) -> None:
    entry = ntu(total_frames=0, keypoint=np.zeros((10**15, 0, 25, 3)))
    assert clip_of(written(tmp_path, [entry]), card()).coordinates.shape == (3, 0, 25, 1)


def test_a_clip_that_is_only_in_a_list_is_not_silently_left_out(tmp_path: Path) -> None:
    content = {"split": {"xsub_val": ["S001C001P001R001A001"]}, "annotations": [ntu()]}
    raw = pyskl.open_raw(written(tmp_path, content), card())
    with pytest.raises(InputError, match="stands in the list 'xsub_val'"):
        raw.read("S001C001P001R001A001")


def test_a_strange_name_among_those_of_ntu_is_an_error(tmp_path: Path) -> None:
    raw = pyskl.open_raw(written(tmp_path, [ntu(), ntu("Grüße\n")]), card())
    assert raw.sources[1] == "Grüße\\n"
    with pytest.raises(InputError, match="not a name of NTU"):
        raw.read("Grüße\\n")


def test_nobody_and_no_frames_are_left_to_the_checks_of_all_readers(tmp_path: Path) -> None:
    entries = [
        ntu(keypoint=np.zeros((0, 6, 25, 3))),
        ntu("S001C001P001R001A002", total_frames=0, keypoint=np.zeros((1, 0, 25, 3))),
    ]
    raw = pyskl.open_raw(written(tmp_path, entries), card())
    shapes = [raw.read(source)[0].coordinates.shape for source in raw.sources]
    assert shapes == [(3, 6, 25, 0), (3, 0, 25, 1)]


class Attack:
    def __reduce__(self) -> Any:
        return os.system, ("touch ran",)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (pickle.dumps({"annotations": [Attack()]}), "system'; only arrays"),
        (pickle.dumps({"annotations": []}), "list of annotations is empty"),
        (pickle.dumps({"split": {}, "data": 1}), "no list of annotations in it; there is data, s"),
        (pickle.dumps(np.zeros(3)), "no list of annotations in it; there is a ndarray"),
        (pickle.dumps({"annotations": [1], "split": {"a": "b"}}), "split is not a dict of lists"),
        (pickle.dumps({"annotations": [1], "split": {"a": [1]}}), "holds a whole number, not a n"),
        (pickle.dumps({"annotations": [1], "split": {"\ud800": []}}), "ud800' of split has no pr"),
        (pickle.dumps({"data": 1, 10**600: 2}), "no list of annotations in it; there is data"),
        (b"", "empty file"),
        (pickle.dumps({"annotations": [ntu()]})[:-9], "damaged"),
    ],
)
@pytest.mark.parametrize("kind", ["file", "folder", "zip"])
def test_a_bad_pickle_is_one_line_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, content: bytes, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "raw" / "a.pkl"
    path.parent.mkdir()
    path.write_bytes(content)
    with zipfile.ZipFile(tmp_path / "raw.zip", "w") as archive:
        archive.write(path, "a.pkl")
    raw = {"file": path, "folder": path.parent, "zip": tmp_path / "raw.zip"}[kind]
    with pytest.raises(InputError, match=reason) as error:
        pyskl.open_raw(raw, card())
    assert str(error.value).startswith(f"{raw}: ")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("limit", "reason"),
    [("_MOST_ANNOTATIONS", "3 annotations, more than 2"), ("_MOST_LISTED", "more than 2 names")],
)
def test_a_pickle_that_names_one_thing_many_times_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, reason: str
) -> None:
    monkeypatch.setattr(pyskl, limit, 2)
    path = written(tmp_path, {"split": {"a": ["x"], "b": ["x", "x"]}, "annotations": [ntu()] * 3})
    with pytest.raises(InputError, match=reason):
        pyskl.open_raw(path, card())


def test_several_pickles_are_not_chosen_from(tmp_path: Path) -> None:
    for name in ("ntu60_3danno.pkl", "ntu120_3danno.pkl"):
        written(tmp_path, [ntu()], name)
    with pytest.raises(InputError, match=r"several pickles in it, such as ntu120_3danno\.pkl and"):
        pyskl.open_raw(tmp_path, card())


def test_nothing_to_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no \*\.pkl or \*\.pickle in it"):
        pyskl.open_raw(tmp_path, card())
    with pytest.raises(InputError, match="cannot be read"):
        pyskl.open_raw(tmp_path / "none.pkl", card())
