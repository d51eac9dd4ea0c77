"""The prepared store: complete or not there, the same from every source, never stale."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons import store, writing
from nas_skeleton.skeletons.header import Header
from nas_skeleton.skeletons.readers import utdmhad
from nas_skeleton.skeletons.store import load_dataset, prepare

CHECKOUT = Path(__file__).resolve().parents[2]
WAY_OUT = "run `python -m nas_skeleton.data prepare tiny`"


def left_over(tiny: Any) -> list[str]:
    """What lies beside the store, but for raw data and the lock."""
    folder = tiny.cwd / "datasets" / "tiny"
    return sorted({path.name for path in folder.iterdir()} - {"prepared", "Skeleton.zip", ".lock"})


def test_a_prepared_clip_is_the_raw_clip_in_float32(tiny: Any) -> None:
    tiny.zip()
    dataset = load_dataset("tiny")
    assert (len(dataset), dataset.name, dataset.classes) == (11, "tiny", ("wave", "clap"))
    assert dataset.ids == tuple(sorted(tiny.clips))
    for index, name in enumerate(dataset.ids):
        clip, raw = dataset.clip(index), tiny.clips[name]
        assert clip.dtype == np.float32
        assert clip.shape == (3, raw.shape[2], 20, 1)
        np.testing.assert_array_equal(clip[..., 0], raw.transpose(1, 2, 0))
        assert dataset.lengths[index] == raw.shape[2]
        assert f"a{dataset.labels[index] + 1}_s{dataset.subjects[index]}_" in name
    assert {array.dtype for array in (dataset.labels, dataset.subjects, dataset.lengths)} == {
        np.dtype(np.int64)
    }
    assert [len(clips) for clips in dataset.split().values()] == [4, 4, 3]
    assert dataset.layout.name == "utdmhad"


def test_clips_are_views_of_a_read_only_memory_map(tiny: Any) -> None:
    tiny.zip()
    clip = load_dataset("tiny").clip(3)
    assert not clip.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        clip[0] = 1


def test_the_header_says_what_is_in_the_array(tiny: Any) -> None:
    archive = tiny.zip()
    folder = prepare("tiny")
    header = json.loads((folder / "header.json").read_text())
    numbers = np.fromfile(folder / "clips.f32", header["dtype"])
    last = header["clips"][-1]
    shape = (header["channels"], last["length"], header["joints"], header["bodies"])
    clip = numbers[last["offset"] :].reshape(shape)
    np.testing.assert_array_equal(clip[..., 0], tiny.clips[last["id"]].transpose(1, 2, 0))
    assert header["layout"] == "utdmhad"
    assert header["units"] == "metres"
    assert header["reader"] == {"name": "utdmhad", "version": utdmhad.VERSION, "options": {}}
    assert header["raw"] == str(archive)
    assert (last["trial"], last["camera"]) == (1, None)
    assert last["source"] == "Skeleton/a2_s3_t1_skeleton.mat"


def test_progress_counts_the_clips(tiny: Any) -> None:
    tiny.zip()
    told: list[tuple[int, int]] = []
    prepare("tiny", progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 11) for done in range(1, 12)]


# ---------------------------------------------------------------------------- where raw data is


def test_raw_data_is_found_in_all_the_documented_places(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken() -> str | None:
        return Header.read(prepare("tiny") / "header.json").raw

    shared = tmp_path / "shared"
    monkeypatch.setenv("NAS_SKELETON_DATA", str(shared))
    places = [
        tiny.folder(shared / "Skeleton"),
        tiny.zip(shared / "Skeleton.zip"),
        tiny.zip(shared / "tiny" / "Skeleton.zip"),
        tiny.folder(tiny.cwd / "datasets" / "tiny" / "Skeleton"),
        tiny.zip(),
    ]
    for place in places:  # each place comes before those tried so far
        (place.parent / "later").mkdir(exist_ok=True)
    for place in reversed(places):
        assert taken() == str(place)
        place.rename(place.parent / "later" / place.name)


def test_raw_may_be_named_wherever_it_is(tiny: Any, tmp_path: Path) -> None:
    archive = tiny.zip(tmp_path / "elsewhere" / "Skeleton.zip")
    other = tiny.zip(tmp_path / "any name.zip")
    folder = tiny.folder(tmp_path / "files")
    for given, taken in (
        (archive, archive),
        (archive.parent, archive),
        (other, other),
        (str(folder), folder),
    ):
        assert Header.read(prepare("tiny", given) / "header.json").raw == str(taken)


def test_without_raw_data_one_line_says_what_to_do(
    tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAS_SKELETON_DATA", "/shared")
    said: list[str] = []
    with pytest.raises(InputError) as error:
        load_dataset("tiny", announce=said.append)
    message = str(error.value)
    for part in (
        "'tiny'",
        "(Skeleton.zip or Skeleton)",
        "datasets/tiny/, /shared/tiny/, /shared/",
        "get it from nowhere",
        "prepare tiny --raw PATH",
        "--dataset synthetic works right now",
    ):
        assert part in message
    assert "\n" not in message
    assert said == []
    assert not (tiny.cwd / "datasets" / "tiny").exists()


def test_a_raw_path_that_does_not_exist_is_named(tiny: Any) -> None:
    with pytest.raises(InputError, match=r"--raw nowhere\.zip: no such file or folder"):
        prepare("tiny", "nowhere.zip")


# ------------------------------------------------------------------------------- fingerprint


def test_zip_and_folder_of_the_same_clips_have_one_fingerprint(tiny: Any, tmp_path: Path) -> None:
    tiny.zip()
    first = load_dataset("tiny")
    prepare("tiny", tiny.folder(tmp_path / "files"))
    second = load_dataset("tiny")
    assert first.fingerprint == second.fingerprint
    assert first.header.content_sha256 == second.header.content_sha256
    assert re.fullmatch("[0-9a-f]{64}", first.fingerprint)


def test_the_fingerprint_follows_everything_that_decides_the_clips(
    tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fingerprint() -> str:
        prepare("tiny")
        return load_dataset("tiny").fingerprint

    tiny.zip()
    seen = [fingerprint()]
    text = (tiny.cwd / "datasets" / "tiny.toml").read_text()
    tiny.write_card(text.replace('"wave"', '"weave"'))
    seen.append(fingerprint())
    tiny.write_card(text.replace('title = "Tiny"', 'title = "Small"'))
    assert fingerprint() == seen[0]  # a title decides nothing
    with monkeypatch.context() as patch:
        patch.setattr(utdmhad, "VERSION", utdmhad.VERSION + 1)
        seen.append(fingerprint())
    tiny.files["a1_s1_t1_skeleton.mat"] = tiny.files["a1_s1_t2_skeleton.mat"]
    tiny.zip()
    seen.append(fingerprint())
    del tiny.files["a1_s1_t1_skeleton.mat"]
    tiny.zip()
    seen.append(fingerprint())
    assert len(set(seen)) == len(seen)


def test_a_store_of_another_version_is_renewed_and_it_is_said(
    tiny: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    prepare("tiny", tiny.zip(tmp_path / "elsewhere.zip"))
    old = load_dataset("tiny").fingerprint
    monkeypatch.setattr(utdmhad, "VERSION", utdmhad.VERSION + 1)
    with pytest.raises(InputError, match=f"another version of its card.*; {WAY_OUT}"):
        load_dataset("tiny", prepare_missing=False)
    said: list[str] = []
    renewed = load_dataset("tiny", announce=said.append)  # finds the raw data where it was
    assert renewed.fingerprint != old
    assert len(said) == 1
    assert "made by another version" in said[0]
    load_dataset("tiny", announce=said.append)
    assert len(said) == 1


def test_an_existing_store_is_opened_without_raw_data(tiny: Any) -> None:
    archive = tiny.zip()
    load_dataset("tiny")
    archive.unlink()
    assert len(load_dataset("tiny")) == 11


# ------------------------------------------------------------------------------------ damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "header.json").write_text(""), "damaged"),
        (lambda folder: (folder / "header.json").write_text("[" * 100_000), "damaged"),
        (lambda folder: (folder / "header.json").write_bytes(b"\xff\xfe"), "damaged"),
        (lambda folder: (folder / "header.json").unlink(), "missing"),
        (lambda folder: (folder / "clips.f32").unlink(), "cannot be read"),
        (lambda folder: os.truncate(folder / "clips.f32", 100), "100 bytes instead of"),
        (lambda folder: os.truncate(folder / "clips.f32", 0), "0 bytes instead of"),
        (lambda folder: edit(folder, "schema_version", 2), "schema_version: Input should be 1"),
        (lambda folder: edit(folder, "dtype", "<f8"), "dtype"),
        (lambda folder: edit(folder, "surprise", 1), "surprise: Extra inputs"),
        (lambda folder: edit(folder, "clips", []), "clips: List should have at least 1"),
        (lambda folder: edit_clip(folder, "offset", 7), "'a1_s1_t1' should start at 0, not 7"),
        (lambda folder: edit_clip(folder, "length", 3), "should start at"),
        (lambda folder: edit_clip(folder, "length", 2**80), "clips.0.length"),
        (lambda folder: edit_clip(folder, "length", 0), "clips.0.length"),
        (lambda folder: edit_clip(folder, "label", 2), "label 2 outside the classes"),
        (lambda folder: edit_clip(folder, "label", -1), "clips.0.label"),
        (lambda folder: edit_clip(folder, "subject", 2**80), "clips.0.subject"),
        (lambda folder: edit_clip(folder, "id", "a1_s1_t2"), "two clips have the same id"),
    ],
)
def test_a_damaged_store_is_one_line_with_the_way_out(tiny: Any, damage: Any, message: str) -> None:
    tiny.zip()
    folder = prepare("tiny")
    damage(folder)
    with pytest.raises(InputError, match=re.escape(message)) as error:
        load_dataset("tiny")
    assert str(folder) in str(error.value)
    assert WAY_OUT in str(error.value)
    assert "\n" not in str(error.value)
    prepare("tiny")
    assert len(load_dataset("tiny")) == 11


def edit(folder: Path, key: str, value: object) -> None:
    header = json.loads((folder / "header.json").read_text())
    header[key] = value
    (folder / "header.json").write_text(json.dumps(header))


def edit_clip(folder: Path, key: str, value: object) -> None:
    header = json.loads((folder / "header.json").read_text())
    header["clips"][0][key] = value
    (folder / "header.json").write_text(json.dumps(header))


def test_a_store_in_another_cards_place_is_not_taken_for_it(tiny: Any) -> None:
    tiny.zip()
    prepare("tiny")
    text = (tiny.cwd / "datasets" / "tiny.toml").read_text()
    (tiny.cwd / "datasets" / "other.toml").write_text(text.replace('"tiny"', '"other"'))
    (tiny.cwd / "datasets" / "other").mkdir()
    (tiny.cwd / "datasets" / "tiny" / "prepared").rename(
        tiny.cwd / "datasets" / "other" / "prepared"
    )
    with pytest.raises(InputError, match="another version of its card"):
        load_dataset("other", prepare_missing=False)


# -------------------------------------------------------------------------- all or nothing


def test_bad_raw_data_leaves_the_old_store_as_it_is(tiny: Any) -> None:
    tiny.zip()
    prepare("tiny")
    before = load_dataset("tiny").header
    tiny.files["a2_s2_t2_skeleton.mat"] = b"junk"
    tiny.zip()
    with pytest.raises(InputError, match=r"Skeleton\.zip: Skeleton/a2_s2_t2_skeleton\.mat: "):
        prepare("tiny")
    assert Header.read(store.prepared_folder("tiny") / "header.json") == before


def test_numbers_beyond_float32_are_refused(tiny: Any) -> None:
    from scipy.io import savemat

    clip = np.full((20, 3, 5), 1e300)
    savemat(tiny.cwd / "huge.mat", {"d_skel": clip})
    tiny.files["a1_s2_t1_skeleton.mat"] = (tiny.cwd / "huge.mat").read_bytes()
    tiny.zip()
    with pytest.raises(InputError, match=r"a1_s2_t1_skeleton\.mat: .*too large for float32"):
        prepare("tiny")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('layout = "utdmhad"', 'layout = "ntu"', "layout 'ntu' does not fit reader 'utdmhad'"),
        ('units = "metres"', 'units = "m"\naxes = ["x", "y", "score"]', "its axes are x, y, z"),
    ],
)
def test_a_card_that_does_not_fit_the_data_is_refused(
    tiny: Any, old: str, new: str, message: str
) -> None:
    tiny.zip()
    tiny.write_card((tiny.cwd / "datasets" / "tiny.toml").read_text().replace(old, new))
    with pytest.raises(InputError, match=message):
        prepare("tiny")


def test_a_file_in_place_of_the_folder_is_one_line(tiny: Any, tmp_path: Path) -> None:
    archive = tiny.zip(tmp_path / "raw.zip")
    (tiny.cwd / "datasets" / "tiny").write_text("in the way")
    with pytest.raises(InputError, match=r"datasets/tiny.*cannot be written .*another folder"):
        prepare("tiny", archive)
    (tiny.cwd / "datasets" / "tiny").unlink()
    (tiny.cwd / "datasets" / "tiny").mkdir()
    (tiny.cwd / "datasets" / "tiny" / "prepared").write_text("in the way")
    with pytest.raises(InputError, match=r"tiny/prepared: .*cannot be written"):
        prepare("tiny", archive)


def test_a_full_disk_is_one_line_and_no_store(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    tiny.zip()
    monkeypatch.setattr(writing.os, "fsync", full)
    with pytest.raises(InputError, match=r"prepared: .*No space left on device\); free space"):
        prepare("tiny")
    with pytest.raises(InputError, match="not prepared yet"):
        load_dataset("tiny", prepare_missing=False)


SLOW_PREPARE = """
import sys, time
from nas_skeleton.skeletons.store import prepare
from nas_skeleton.skeletons import writing
writing.SYNC_EVERY_S = 0
def progress(done, total):
    if done == 5:
        print("halfway", flush=True)
        time.sleep(60)
prepare("tiny", progress=progress)
"""


@pytest.mark.parametrize("existing", [False, True])
def test_a_kill_in_the_middle_leaves_nothing_that_counts(tiny: Any, existing: bool) -> None:
    tiny.zip()
    before = load_dataset("tiny").header if existing else None
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_PREPARE],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"halfway\n"
        process.send_signal(signal.SIGKILL)
    assert left_over(tiny) == [".preparing"]
    if before is None:
        with pytest.raises(InputError, match=f"not prepared yet; {WAY_OUT}"):
            load_dataset("tiny", prepare_missing=False)
    else:
        assert load_dataset("tiny", prepare_missing=False).header == before
    said: list[str] = []
    prepare("tiny", announce=said.append)
    assert said == ["going on with data set 'tiny' where it was stopped: 5 of 11 sources are read"]
    again = load_dataset("tiny", prepare_missing=False)
    again.verify()
    prepare("tiny")
    assert again.header == load_dataset("tiny").header
    assert before is None or again.header == before
    assert left_over(tiny) == []


def test_what_killed_processes_left_is_cleared_away_after_a_day(tiny: Any) -> None:
    tiny.zip()
    abandoned, fresh = (tiny.cwd / "datasets" / "tiny" / f".unfinished-{i}" for i in "ab")
    for folder in (abandoned, fresh):
        folder.mkdir()
        (folder / "clips.f32").write_bytes(b"half")
    two_days_ago = time.time() - 2 * 86400
    os.utime(abandoned, (two_days_ago, two_days_ago))
    prepare("tiny")
    assert left_over(tiny) == [fresh.name]  # that one may still be at work


def test_many_processes_at_once_end_with_one_good_store(tiny: Any) -> None:
    tiny.zip()
    load = "from nas_skeleton.skeletons.store import *; print(load_dataset('tiny').fingerprint)"
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", load], stdout=subprocess.PIPE, text=True, env=environment
        )
        for _ in range(4)
    ]
    told = {process.communicate()[0].strip() for process in processes}
    assert all(process.returncode == 0 for process in processes)
    assert told == {load_dataset("tiny", prepare_missing=False).fingerprint}
    assert left_over(tiny) == []


def test_who_finishes_second_keeps_the_store_of_the_first(tiny: Any) -> None:
    tiny.zip()
    first = prepare("tiny").stat().st_ino
    prepare("tiny", renew=False)
    assert store.prepared_folder("tiny").stat().st_ino == first
    prepare("tiny")
    assert store.prepared_folder("tiny").stat().st_ino != first


def test_an_open_dataset_outlives_its_store(tiny: Any) -> None:
    tiny.zip()
    dataset = load_dataset("tiny")
    before = dataset.clip(10).copy()
    prepare("tiny")
    np.testing.assert_array_equal(dataset.clip(10), before)


# --------------------------------------------------------------------------------- synthetic


def test_the_synthetic_set_needs_no_files_and_is_always_the_same(
    tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nas_skeleton.skeletons import synthetic
    from nas_skeleton.skeletons.readers import synthetic as reader

    names = [f"a1_s{subject}_t1_skeleton" for subject in range(1, 9)]
    monkeypatch.setattr(synthetic, "names", lambda: iter(names))
    first = load_dataset("synthetic")
    assert (len(first), first.header.raw) == (8, None)
    assert first.subjects.tolist() == list(range(1, 9))
    prepare("synthetic")
    assert load_dataset("synthetic").fingerprint == first.fingerprint
    monkeypatch.setattr(reader, "VERSION", reader.VERSION + 1)
    said: list[str] = []
    assert load_dataset("synthetic", announce=said.append).fingerprint != first.fingerprint
    assert "another version" in said[0]
    with pytest.raises(InputError, match=r"--raw x\.zip: data set 'synthetic' is generated"):
        prepare("synthetic", "x.zip")
