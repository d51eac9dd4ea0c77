"""Splits by subject: disjoint, complete, and an error where a clip belongs nowhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.card import load_dataset_card
from nas_skeleton.skeletons.protocols import split_clips

CARD = load_dataset_card("utdmhad")


def split(subjects: list[int], protocol: str | None = None, labels: list[int] | None = None):
    return split_clips(
        CARD,
        protocol,
        subjects=np.array(subjects, dtype=np.int64),
        labels=np.array(labels or [0] * len(subjects), dtype=np.int64),
    )


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
