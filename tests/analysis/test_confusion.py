"""Mistakes by action, counted by hand."""

import numpy as np
import pytest

from nas_skeleton.analysis.confusion import by_action, confusion, mistakes
from nas_skeleton.errors import InputError

NAMES = ["wave", "jog", "walk", "sit"]
LABELS = np.array([0, 0, 1, 1, 2, 2])
PREDICTED = np.array([[0, 0, 2, 2, 2, 1], [0, 1, 2, 1, 2, 2]])


def test_shares_of_clips_taken_for_each_action():
    found = confusion(LABELS, PREDICTED, NAMES)
    assert found.loc["wave"].tolist() == [0.75, 0.25, 0, 0]
    assert found.loc["jog"].tolist() == [0, 0.25, 0.75, 0]
    assert found.loc["walk"].tolist() == [0, 0.25, 0.75, 0]
    assert found.loc["sit"].isna().all()  # no such clip
    assert confusion(LABELS, PREDICTED[0].astype(np.int8), NAMES).loc["jog", "walk"] == 1


def test_actions_by_how_well_they_are_recognised():
    found = by_action(LABELS, PREDICTED, NAMES)
    assert found["action"].tolist() == ["jog", "wave", "walk"]
    first = found.iloc[0]
    assert (first["clips"], first["recognised"]) == (2, 0.25)
    assert first["spread"] == pytest.approx(np.std([0, 0.5], ddof=1))
    assert (first["taken_for"], first["mistaken"]) == ("walk", 0.75)
    alone = by_action(LABELS, PREDICTED[0], NAMES).set_index("action").loc["wave"]
    assert np.isnan(alone["spread"])
    assert (alone["taken_for"], alone["mistaken"]) == ("", 0)


def test_pairs_most_often_mistaken():
    found = mistakes(confusion(LABELS, PREDICTED, NAMES), top=2)
    assert found.to_numpy().tolist() == [["jog", "walk", 0.75, 0.25], ["wave", "jog", 0.25, 0.0]]
    assert len(mistakes(confusion(LABELS, PREDICTED, NAMES))) == 3


def test_what_does_not_fit_is_said():
    with pytest.raises(InputError, match="shape"):
        confusion(LABELS, PREDICTED[:, 1:], NAMES)
    with pytest.raises(InputError, match="class 2 among"):
        confusion(LABELS, PREDICTED, NAMES[:2])
