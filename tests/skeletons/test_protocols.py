"""Splits: disjoint, complete, as published; and an error where a clip belongs nowhere."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.card import Protocol
from nas_skeleton.skeletons.header import ClipEntry
from nas_skeleton.skeletons.load import load_dataset_card
from nas_skeleton.skeletons.protocols import split_clips

CARD = load_dataset_card("utdmhad")


def clips(subjects: list[int], labels: list[int] | None = None, **columns: list[Any]):
    """Clips of which only what protocols look at is told."""
    rows = [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]
    return [
        ClipEntry.model_construct(
            id=f"clip {index}",
            label=label,
            subject=subject,
            **{"camera": None, "setup": None, "lists": [], **row},
        )
        for index, (subject, label, row) in enumerate(
            zip(subjects, labels or [0] * len(subjects), rows or [{}] * len(subjects), strict=True)
        )
    ]


def split(subjects: list[int], protocol: str | None = None, labels: list[int] | None = None):
    return split_clips(CARD, protocol, clips(subjects, labels))


def by(rule: dict[str, Any], *args: Any, **columns: list[Any]) -> list[list[int]]:
    """Train, valid and test under a protocol that the card does not have."""
    card = CARD.model_copy(update={"protocols": {"own": Protocol.model_validate(rule)}})
    return [part.tolist() for part in split_clips(card, "own", clips(*args, **columns)).values()]


@given(st.lists(st.integers(1, 8)).map(lambda more: [*more, *range(1, 9)]))
def test_every_clip_is_in_exactly_one_part_by_its_subject(subjects: list[int]) -> None:
    for protocol in CARD.protocols:
        parts = split(subjects, protocol)
        assert list(parts) == ["train", "valid", "test"]
        assert sorted(np.concatenate(list(parts.values()))) == list(range(len(subjects)))
        for part, listed in CARD.protocol(protocol).parts().items():
            assert parts[part].dtype == np.int64
            assert {subjects[clip] for clip in parts[part]} == set(listed)


def test_the_default_is_the_thesis_split() -> None:
    parts = split([1, 2, 3, 4, 5, 6, 7, 8])
    assert [parts[part].tolist() for part in parts] == [[0, 2, 4], [6], [1, 3, 5, 7]]


def test_a_protocol_without_validation_set_has_an_empty_one() -> None:
    assert split(list(range(1, 9)), "odd-even")["valid"].shape == (0,)


def test_a_clip_that_belongs_nowhere_is_an_error() -> None:
    with pytest.raises(InputError, match="'utdmhad', protocol 'thesis': subject 9 is in no part"):
        split([1, 2, 7, 9])
    with pytest.raises(InputError, match="label 27 is not among the 27 classes"):
        split([1, 2, 7], labels=[0, 27, 0])


def test_a_part_without_clips_is_an_error() -> None:
    with pytest.raises(InputError, match=r"no clip of the valid subjects \[7\]"):
        split([1, 2, 3])


def test_an_unknown_protocol_is_an_error() -> None:
    with pytest.raises(InputError, match="unknown protocol 'xview'"):
        split([1], "xview")


def test_clips_to_choose_with_come_from_the_training_side_of_a_split_by_cameras() -> None:
    rule = {"train_cameras": [2, 3], "test_cameras": [1], "valid_subjects": [4]}
    parts = by(rule, [1, 4, 4, 1, 2], camera=[2, 3, 1, 1, 3])
    assert parts == [[0, 4], [1], [2, 3]]  # subject 4 is also tested on, as published


def test_a_split_by_setups() -> None:
    assert by({"train_setups": [2], "test_setups": [1]}, [1, 1, 2], setup=[1, 2, 2]) == [
        [1, 2],
        [],
        [0],
    ]


def test_a_split_by_published_lists_leaves_out_what_they_leave_out() -> None:
    rule = {"train_lists": ["train"], "valid_lists": ["dev"], "test_lists": ["val", "extra"]}
    lists = [["train"], ["val"], ["other", "dev"], ["other"], ["extra"], ["train", "other"]]
    assert by(rule, [1] * 6, lists=lists) == [[0, 5], [2], [1, 4]]
    with pytest.raises(InputError, match="clip 'clip 0' is in lists of more than one part"):
        by(rule, [1], lists=[["train", "val"]])


@given(st.floats(0.05, 0.95), st.integers(0, 50))
def test_a_share_of_the_subjects_is_held_out_whoever_else_is_there(share: float, more: int) -> None:
    rule = {"train_lists": ["a"], "test_lists": ["b"], "valid_share": share}
    groups = list(range(400))
    few = by(rule, [*groups, 0], lists=[["a"]] * 400 + [["b"]])
    many = by(
        rule, [*groups, *groups, *range(400, 400 + more), 0], lists=[["a"]] * (800 + more) + [["b"]]
    )
    held_out = set(few[1])
    assert {clip % 400 for clip in many[1] if clip < 800} == held_out
    assert not held_out & set(few[0])
    assert abs(len(held_out) / 400 - share) < 0.12


def test_a_clip_without_a_camera_cannot_be_split_by_cameras() -> None:
    with pytest.raises(InputError, match="a clip without camera, clip 0, is in no part"):
        by({"train_cameras": [1], "test_cameras": [2]}, [1], camera=[None])


# ----------------------------------------------------------------------------- published counts

# Who was recorded in which of the later set-ups of NTU RGB+D 120, by three cameras in two
# replications: with the official list of missing samples, the names of its 113,945 usable clips.
LATER_SETUPS = {
    18: (8, 41, 42, 43, 44, 45),
    19: (8, 41, 42, 46, 47, 48, 49, 50, 51),
    20: (8, 41, 43, 44, 52, 53, 54),
    21: (55, 56, 57, 58, 59, 60),
    22: (61, 62, 63, 64, 65, 66, 67),
    23: (55, 56, 57, 58, 59, 60, 61, 62, 63, 64, 65, 66, 67, 68),
    24: (57, 60, 61, 62, 63, 64, 67),
    25: (55, 56, 58, 59, 65, 66, 68),
    26: (8, 41, 44, 49, 50, 51, 69, 70, 71, 72, 74, 75, 76, 77),
    27: (6, 8, 11, 41, 43, 44, 78, 79, 80, 81, 82, 83, 84, 85, 86),
    28: (8, 41, 42, 43, 46, 48, 70, 73, 87),
    29: (6, 8, 41, 43, 44, 48, 49, 51, 67, 74, 75, 80, 88, 89, 90),
    30: (8, 11, 41, 43, 44, 48, 67, 75, 76, 81, 85, 88, 91, 92, 93, 94, 95, 96),
    31: (6, 8, 41, 42, 43, 44, 51, 67, 82, 85, 96, 97, 98, 99, 100, 101),
    32: (8, 41, 43, 44, 67, 102, 103, 104, 105, 106),
}


def ntu_names(shared_data: Path) -> tuple[list[str], list[str]]:
    """Names of all usable clips of NTU60 and of NTU120."""
    folder = shared_data / "ntu"
    first = gzip.decompress((folder / "ntu60_available_names.txt.gz").read_bytes()).decode().split()
    listed = (folder / "ntu120_missing_535.txt").read_text()
    missing = set(re.findall(r"S\d{3}C\d{3}P\d{3}R\d{3}A\d{3}", listed))
    later = [
        f"S{setup:03}C{camera:03}P{subject:03}R{replication:03}A{action:03}"
        for setup, subjects in LATER_SETUPS.items()
        for subject in subjects
        for camera in (1, 2, 3)
        for replication in (1, 2)
        for action in range(61, 121)
    ]
    assert len(first) == 56_578
    assert len(missing) == 535
    assert missing == load_dataset_card("ntu120").left_out_ids()
    assert not missing & set(first)
    return first, first + [name for name in later if name not in missing]


def ntu_clips(names: list[str]) -> list[ClipEntry]:
    numbers = np.array([[int(n[1:4]), int(n[5:8]), int(n[9:12]), int(n[17:20])] for n in names])
    setups, cameras, subjects, actions = numbers.T.tolist()
    return clips(subjects, [a - 1 for a in actions], setup=setups, camera=cameras)


def test_ntu_splits_have_the_published_numbers_of_clips(shared_data: Path) -> None:
    found = {}
    for name, names in zip(("ntu60", "ntu120"), ntu_names(shared_data), strict=True):
        card, entries = load_dataset_card(name), ntu_clips(names)
        assert len(entries) == card.expected.clips
        for protocol, rule in card.protocols.items():
            parts = split_clips(card, protocol, entries)
            counts = [len(parts[part]) for part in ("train", "valid", "test")]
            assert counts == list(rule.expected_clips().values())
            chosen = {entries[clip].subject for clip in parts["valid"]}
            assert not chosen & {entries[clip].subject for clip in parts["train"]}
            found[name, protocol] = counts
    published = {key: (train + valid, test) for key, (train, valid, test) in found.items()}
    assert published == {
        ("ntu60", "xsub"): (40_091, 16_487),
        ("ntu60", "xview"): (37_646, 18_932),
        ("ntu120", "xsub"): (63_026, 50_919),
        ("ntu120", "xset"): (54_468, 59_477),
    }
    assert found["ntu60", "xsub"][:2] == [27_561, 12_530]
    assert found["ntu60", "xview"][:2] == [27_621, 10_025]


def test_the_five_class_study_shares_the_splits_of_ntu60(shared_data: Path) -> None:
    card, names = load_dataset_card("ntu60-five"), ntu_names(shared_data)[0]
    kept = [name for name in names if name[16:20] in ("A001", "A008", "A016", "A023", "A024")]
    assert [name.split()[0] for name in card.classes] == ["A001", "A008", "A016", "A023", "A024"]
    entries = [entry.model_copy(update={"label": 0}) for entry in ntu_clips(kept)]
    assert len(entries) == card.expected.clips
    for protocol, rule in card.protocols.items():
        parts = split_clips(card, protocol, entries)
        assert [len(parts[part]) for part in parts] == list(rule.expected_clips().values())
