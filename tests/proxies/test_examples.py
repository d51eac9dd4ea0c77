"""Which clips cells are scored on."""

from collections import Counter

import pytest
import torch

from nas_skeleton.errors import InputError
from nas_skeleton.proxies.examples import draw_examples
from nas_skeleton.skeletons.layouts import NTU
from nas_skeleton.training.clips import FixedClips
from nas_skeleton.training.task import Task

LABELS = torch.tensor([0, 1, 2, 3] * 10 + [4])  # class 4 has a single clip


def task(labels=LABELS):
    clips = torch.arange(float(len(labels)))[:, None, None, None, None]  # a clip holds its index
    splits = {"train": torch.arange(0, len(labels), 2), "valid": torch.arange(1, len(labels), 2)}
    return Task(FixedClips(clips), labels, splits, 5, NTU)


def test_clips_are_training_clips_with_their_labels_and_none_comes_twice():
    drawn = draw_examples(task(), 12, seed=1)
    ids = drawn.clips.flatten().long()
    assert len(set(ids.tolist())) == 12
    assert (ids % 2 == 0).all()
    assert torch.equal(drawn.labels, LABELS[ids])


@pytest.mark.parametrize(("count", "counts"), [(2, [2]), (4, [2, 2]), (7, [4, 3])])
def test_classes_have_several_clips(count, counts):
    labels = draw_examples(task(), count, seed=1).labels.tolist()
    assert sorted(Counter(labels).values(), reverse=True) == counts


def test_classes_with_one_clip_fill_up():
    assert Counter(draw_examples(task(), 21, seed=1).labels.tolist())[4] == 1
    alone = torch.arange(5)
    assert len(draw_examples(task(alone), 3, seed=1).labels) == 3


def test_the_seed_decides():
    first, again, other = (draw_examples(task(), 8, seed).clips for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_too_many_clips_are_refused_in_one_line():
    with pytest.raises(InputError, match=r"--clips 22: the protocol has only 21 training clips"):
        draw_examples(task(), 22, seed=1)
