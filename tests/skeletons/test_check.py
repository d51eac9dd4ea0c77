"""`data check` finds what is wrong, and only that."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest

from nas_skeleton.skeletons.check import check_dataset
from nas_skeleton.skeletons.header import Header
from nas_skeleton.skeletons.readers import utdmhad
from nas_skeleton.skeletons.store import load_dataset, prepare


@pytest.fixture(autouse=True)
def two_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny set has two trials where UTD-MHAD has four."""
    monkeypatch.setattr(utdmhad, "TRIALS", 2)


def failures() -> dict[str, str]:
    findings = list(check_dataset(load_dataset("tiny")))
    assert [finding.check for finding in findings] == [
        "checksum",
        "clips",
        "missing",
        "classes",
        "subjects",
        "coordinates",
        "frames",
        "left out",
        "protocol thesis",
        "protocol odd-even",
    ]
    return {finding.check: finding.detail for finding in findings if not finding.ok}


def change_card(tiny: Any, old: str, new: str) -> None:
    text = (tiny.cwd / "datasets" / "tiny.toml").read_text()
    assert old in text
    tiny.write_card(text.replace(old, new))


def test_a_sound_store_passes(tiny: Any) -> None:
    tiny.zip()
    assert failures() == {}


def test_a_flipped_bit_is_found(tiny: Any) -> None:
    tiny.zip()
    array = prepare("tiny") / "clips.f32"
    content = bytearray(array.read_bytes())
    content[len(content) // 2] ^= 1
    array.write_bytes(content)
    assert list(failures()) == ["checksum"]


def test_a_clip_that_is_not_there_is_named(tiny: Any) -> None:
    del tiny.files["a1_s3_t1_skeleton.mat"]
    tiny.zip()
    found = failures()
    assert list(found) == ["clips", "missing", "protocol thesis"]
    assert found["clips"] == "10, expected 11"
    assert found["missing"] == "1 clips are not there: a1_s3_t1"
    assert found["protocol thesis"] == (
        "train 4, valid 4, test 2; expected train 4, valid 4, test 3"
    )


def test_one_lost_clip_in_exchange_for_another_is_found_though_the_count_fits(tiny: Any) -> None:
    tiny.files["a2_s3_t2_skeleton.mat"] = tiny.files.pop("a1_s3_t1_skeleton.mat")
    tiny.zip()
    assert failures() == {"missing": "1 clips are not there: a1_s3_t1"}


def test_a_clip_that_should_be_missing_is_found(tiny: Any) -> None:
    tiny.files["a2_s3_t2_skeleton.mat"] = tiny.files["a2_s3_t1_skeleton.mat"]
    tiny.zip()
    found = failures()
    assert list(found) == ["clips", "missing", "protocol thesis"]
    assert found["missing"] == "known as missing, but there: a2_s3_t2"


def test_a_class_without_clips_is_found(tiny: Any) -> None:
    change_card(tiny, '"wave", "clap"', '"wave", "clap", "nod"')
    tiny.zip()
    found = failures()
    assert found["classes"] == "3, without any clip: nod"
    assert found["missing"].startswith("6 clips are not there: a3_s1_t1")


def test_a_subject_without_clips_is_found(tiny: Any) -> None:
    change_card(tiny, "subjects = [1, 2, 3]", "subjects = [1, 2, 3, 4]")
    tiny.zip()
    assert failures()["subjects"] == "[1, 2, 3], the card has [1, 2, 3, 4]"


def test_a_subject_outside_a_protocol_is_found(tiny: Any) -> None:
    change_card(tiny, "train_subjects = [1, 3]", "train_subjects = [1]")
    tiny.zip()
    assert "subject 3 is in no part" in failures()["protocol odd-even"]


@pytest.mark.parametrize("limit", ["min_frames = 20", "max_frames = 4"])
def test_frames_out_of_range_are_found(tiny: Any, limit: str) -> None:
    change_card(tiny, "clips = 11", f"clips = 11\n{limit}")
    tiny.zip()
    assert list(failures()) == ["frames"]


def test_a_store_with_nan_is_found_although_its_checksum_fits(tiny: Any) -> None:
    tiny.zip()
    folder = prepare("tiny")
    numbers = np.fromfile(folder / "clips.f32", "<f4")
    numbers[0] = np.nan
    numbers.tofile(folder / "clips.f32")
    header = Header.read(folder / "header.json")
    digest = hashlib.sha256(numbers.tobytes()).hexdigest()
    header.model_copy(update={"content_sha256": digest}).write(folder / "header.json")
    assert failures() == {"coordinates": "NaN or infinite in a1_s1_t1"}


def test_what_the_card_does_not_state_is_not_judged(tiny: Any) -> None:
    change_card(tiny, 'clips = 11\nmissing = ["a2_s3_t2"]\n', "")
    change_card(tiny, "train_clips = 4\nvalid_clips = 4\ntest_clips = 3\n", "")
    tiny.zip()
    assert failures() == {}
