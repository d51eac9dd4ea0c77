"""Some classes of a data set: the same store, other labels, an identity of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.load import load_dataset_card
from nas_skeleton.skeletons.store import load_dataset


def test_a_subset_of_the_classes_shares_the_store(tiny: Any) -> None:
    tiny.write_card(
        (tiny.cwd / "datasets" / "tiny.toml")
        .read_text()
        .replace('["wave", "clap"]', '["wave a hand", "clap", "A003 jump"]')
        .replace("clips = 11\n", "")
    )
    tiny.zip()
    whole = load_dataset("tiny")
    clap = load_dataset("tiny:A003+clap")
    assert clap.name == "tiny:clap+A003"  # in the order of the whole
    assert clap.classes == ("clap", "A003 jump")
    assert clap.folder == whole.folder
    of_clap = np.flatnonzero(whole.labels == 1)
    assert clap.ids == tuple(whole.ids[index] for index in of_clap)
    assert set(clap.labels.tolist()) == {0}
    for index, original in enumerate(of_clap):
        np.testing.assert_array_equal(clap.clip(index), whole.clip(original))
    assert [len(part) for part in clap.split().values()] == [2, 2, 1]
    wave = load_dataset("tiny:wave+clap")
    fingerprints = {whole.fingerprint, clap.fingerprint, wave.fingerprint}
    assert len(fingerprints) == 3
    card = tiny.cwd / "datasets" / "two.toml"
    card.write_text(
        'name = "two"\ntitle = "Two"\ndescription = "d"\nsubset_of = "tiny"\n'
        'classes = ["wave", "clap"]\n[expected]\nclips = 11\n'
        "[counts.thesis]\ntrain_clips = 4\n"
    )
    two = load_dataset("two")
    assert (two.name, two.card.expected.clips) == ("two", 11)
    assert two.card.protocols["thesis"].train_clips == 4
    assert two.split_fingerprint() == wave.split_fingerprint() != whole.split_fingerprint()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("utdmhad:wave", "at least two different classes"),
        ("utdmhad:wave+wave", "at least two different classes"),
        ("utdmhad:wave+dance", "no class 'dance' in 'utdmhad'; classes are swipe_left, .* 17 more"),
        ("utdmhad:", "no class ''"),
        ("ntu60-five:A001+A008", "is itself a subset of 'ntu60'"),
    ],
)
def test_an_impossible_subset_is_one_line(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_dataset_card(name)
