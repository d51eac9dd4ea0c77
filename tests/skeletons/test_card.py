"""What a data set's card may say, and how a mistake in one is reported."""

from __future__ import annotations

import re
from typing import Any

import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.load import load_dataset_card


def test_the_shipped_cards_agree_with_each_other() -> None:
    real, made_up = load_dataset_card("utdmhad"), load_dataset_card("synthetic")
    assert len(real.classes) == 27
    assert real.subjects == tuple(range(1, 9))
    assert real.protocol().parts() == {"train": (1, 3, 5), "valid": (7,), "test": (2, 4, 6, 8)}
    assert real.protocol("odd-even").parts() == {
        "train": (1, 3, 5, 7),
        "valid": (),
        "test": (2, 4, 6, 8),
    }
    folds = [real.protocol(f"loso-{subject}").parts() for subject in real.subjects]
    assert [fold["test"] for fold in folds] == [(subject,) for subject in real.subjects]
    assert [fold["valid"] for fold in folds] == [(subject,) for subject in (*range(2, 9), 1)]
    assert {len(fold["train"]) for fold in folds} == {6}
    assert "no validation set" in real.protocol("odd-even").note
    assert (made_up.classes, made_up.subjects) == (real.classes, real.subjects)
    assert made_up.expected == real.expected
    for name, protocol in real.protocols.items():
        assert made_up.protocols[name].parts() == protocol.parts()


def test_the_synthetic_classes_are_those_of_the_generator() -> None:
    from nas_skeleton.skeletons.synthetic_actions import ACTIONS

    assert load_dataset_card("synthetic").classes == tuple(action.name for action in ACTIONS)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('title = "Tiny"', 'titel = "Tiny"', "titel: unknown key|title: Field required"),
        ('title = "Tiny"', "title = 3", "title: Input should be a valid string"),
        ("subjects = [1, 2, 3]", 'subjects = ["1"]', "subjects.0: .*valid integer"),
        ("subjects = [1, 2, 3]", "subjects = [1, 1]", "subjects: .*twice"),
        ("subjects = [1, 2, 3]", "subjects = [1, 2]", "'thesis': subject 3 is not in subjects"),
        ("subjects = [1, 2, 3]", "subjects = 3", "subjects: .*tuple"),
        ('["wave", "clap"]', '["wave", "wave"]', "classes: .*twice"),
        ('["wave", "clap"]', '["wave"]', "classes: .*at least 2"),
        ('reader = "utdmhad"', 'reader = "mat"', "unknown reader 'mat': known are .*utdmhad"),
        ('layout = "utdmhad"', 'layout = "V20"', "unknown layout 'V20': known are body25, "),
        (
            "steps = []",
            'steps = ["polish"]',
            r"steps\.0: Input should be a valid dictionary|steps\.0: .*",
        ),
        ('units = "metres"', 'unit = "metres"', "unit: unknown key; did you mean 'units'"),
        ("[raw]\nfiles", "[raw]\nfile", r"raw\.file: unknown key$"),
        ("steps = []", 'steps = [{ name = "polish" }]', r"steps\.0: .*'polish'.*'centre'"),
        ('layout = "utdmhad"', 'layout = "ntu"', "layout 'ntu' does not fit reader 'utdmhad'"),
        ('reader = "utdmhad"', 'reader = "utdmhad"\nreader_options = { speed = 1 }', "speed"),
        (
            "valid_subjects = [2]",
            "valid_subjects = [2]\nvalid_share = 0.5",
            "one of valid_subjects",
        ),
        ("train_subjects = [1]", "train_cameras = [1]", "exactly one kind"),
        ("subjects = [1, 2, 3]", 'subjects = ["3-1"]', "subjects: .*no range"),
        ('units = "metres"', 'units = "metres"\naxes = ["x", "depth"]', r"axes\.1: "),
        ('units = "metres"', 'units = "metres"\nsubset_of = "utdmhad"', "unknown key|classes"),
        ('protocol = "thesis"', 'protocol = "xsub"', "unknown default_protocol 'xsub': known are"),
        ("valid_subjects = [2]", "valid_subjects = [1]", "protocols.thesis: .*subject 1 is listed"),
        ("test_subjects = [3]", "test_subjects = []", "must not be empty"),
        ("frames_per_second = 30", "frames_per_second = 0", "frames_per_second: .*greater than 0"),
        ('name = "tiny"', 'name = "small"', "must be 'tiny' like the file"),
        ("[protocols.thesis]", "[protocols.thesis", "not a readable TOML card"),
    ],
)
def test_a_mistake_in_a_card_is_one_line_that_names_it(
    tiny: Any, old: str, new: str, message: str
) -> None:
    text = (tiny.cwd / "datasets" / "tiny.toml").read_text()
    assert old in text
    tiny.write_card(text.replace(old, new, 1))
    with pytest.raises(InputError, match=message) as error:
        load_dataset_card("tiny")
    assert re.search(r"datasets/tiny\.toml: ", str(error.value))


def test_an_unknown_protocol_names_the_known_ones(tiny: Any) -> None:
    with pytest.raises(InputError, match=r"'xsub' for data set 'tiny': known are odd-even, thesis"):
        load_dataset_card("tiny").protocol("xsub")
