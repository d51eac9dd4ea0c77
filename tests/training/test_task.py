"""The task: batches for members, of clips that are fixed or drawn."""

import torch

from nas_skeleton.skeletons.layouts import UTDMHAD
from nas_skeleton.training.clips import Clips, FixedClips
from nas_skeleton.training.task import EVALUATION_BATCH, Task

CLIPS = EVALUATION_BATCH + 10
IDS = torch.tensor([[5, 0, 7], [2, 2, 1]])


class Drawn(Clips):
    """Clips that are their own number in training plus the seed, in evaluation without it."""

    shape = (CLIPS, 1, 1, 1, 1)
    device = torch.device("cpu")
    dtype = torch.float64

    def training(self, ids, seed):
        return self.evaluation(ids) + seed

    def evaluation(self, ids):
        return ids.double().view(-1, 1, 1, 1, 1)

    def to(self, device, dtype):
        raise NotImplementedError


def task_of(clips):
    labels = torch.arange(CLIPS) % 5
    return Task(clips, labels, {"train": torch.arange(CLIPS)}, 5, UTDMHAD)


def test_each_member_gets_clips_drawn_with_its_own_seed():
    inputs, labels = task_of(Drawn()).training_batch(IDS, (100, 200))
    assert inputs.flatten(1).tolist() == [[105, 100, 107], [202, 202, 201]]
    assert labels.tolist() == [[0, 0, 2], [2, 2, 1]]


def test_fixed_clips_are_gathered_once_for_all_members(monkeypatch):
    values = torch.randn(CLIPS, 2, 3, 4, 1)
    task = task_of(FixedClips(values))
    gathered = []
    evaluation = FixedClips.evaluation
    monkeypatch.setattr(
        FixedClips, "evaluation", lambda self, ids: gathered.append(ids) or evaluation(self, ids)
    )
    inputs, _ = task.training_batch(IDS, (0, 0))
    assert torch.equal(inputs, values[IDS])
    assert len(gathered) == 1


def test_a_split_is_evaluated_in_batches():
    ids = torch.arange(CLIPS).flip(0)
    batches = list(task_of(Drawn()).evaluation_batches(ids))
    assert [len(batch) for batch in batches] == [EVALUATION_BATCH, 10]
    assert torch.equal(torch.cat(batches).flatten().long(), ids)


def test_a_task_in_another_precision_has_clips_and_numbers_of_it():
    task = task_of(FixedClips(torch.randn(CLIPS, 2, 3, 4, 1))).to(torch.device("cpu"), torch.double)
    assert task.dtype == torch.double
    assert task.channels == 2
    assert task.training_batch(IDS, (0, 0))[0].dtype == torch.double
