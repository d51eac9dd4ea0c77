"""Cells that ignore their input: what is written down for them is what training them comes to."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from nas_skeleton.skeletons.store import load_dataset
from nas_skeleton.spaces import load_space
from nas_skeleton.training.candidates import Problem
from nas_skeleton.training.constant import constant_result
from nas_skeleton.training.job import Job
from nas_skeleton.training.result import Paused
from nas_skeleton.training.task import build_task
from nas_skeleton.training.train import train_job

BLIND = (10, 12, 1505)  # an exact zero, and constants behind bias-only edges


@pytest.fixture
def place(workdir):
    card = workdir / "search_spaces/tiny.toml"
    longer = card.read_text().replace("epochs = 3", "epochs = 30")
    card.write_text(longer.replace("evaluate_every = 2", "evaluate_every = 10"))
    space, data = load_space("tiny"), load_dataset("synthetic")
    task = build_task(space.card, space.card.recipe(), data, "thesis")
    problem = Problem(space.card, space.card.recipe(), task)
    jobs = [Job("tiny", arch, data.name, "f", "thesis", "tiny", "0" * 12, 7) for arch in BLIND]
    return space, problem, jobs


def unbalanced(problem):
    """The problem without the first half of the training clips of every class but the sixth."""
    train, labels = problem.task.splits["train"], problem.task.labels
    seen = torch.zeros(problem.task.classes, dtype=torch.int64)
    keep = []
    for clip in train.tolist():
        seen[labels[clip]] += 1
        if labels[clip] == 5 or seen[labels[clip]] > 6:
            keep.append(clip)
    splits = {**problem.task.splits, "train": torch.tensor(keep)}
    return replace(problem, task=replace(problem.task, splits=splits))


def test_a_training_comes_to_the_same(place):
    space, problem, jobs = place
    problem = unbalanced(problem)  # so that one class is the most frequent by far
    for job in jobs:
        arch = space.architecture(job.arch_index)
        filled = constant_result(job, arch, problem)
        trained = train_job(job, space, problem.task, engine="reference")
        assert [r.epoch for r in filled.curve] == [r.epoch for r in trained.curve]
        assert [r.learning_rate for r in filled.curve] == [r.learning_rate for r in trained.curve]
        for split, accuracy in filled.final.accuracy.items():
            assert accuracy.top1 == pytest.approx(trained.final.accuracy[split].top1)
            assert accuracy.mean_class == pytest.approx(1 / problem.task.classes)
        for split, predicted in filled.predictions.items():
            assert np.array_equal(predicted, trained.predictions[split])
            assert set(predicted) == {5}
        assert filled.final.train_loss <= trained.final.train_loss + 1e-6
        assert filled.latency_s > 0


def test_the_loss_is_the_entropy_of_the_classes_and_ties_go_to_the_first(place):
    space, problem, jobs = place
    result = constant_result(jobs[0], space.architecture(10), problem)
    shares = np.bincount(problem.task.labels_of("train").numpy()) / 323
    assert result.final.train_loss == pytest.approx(-(shares * np.log(shares)).sum(), rel=1e-12)
    assert result.final.train_loss < math.log(27)  # 323 clips are not quite balanced
    assert set(result.predictions["valid"]) == {int(shares.argmax())}
    top5 = np.argsort(-shares, kind="stable")[:5]
    valid = problem.task.labels_of("valid").numpy()
    assert result.final.accuracy["valid"].top5 == pytest.approx(np.isin(valid, top5).mean())
    assert np.allclose(np.exp(result.scores["test"].astype(float)).sum(axis=1), 1, atol=1e-2)


def test_it_pauses_and_is_looked_at_like_others(place):
    space, problem, jobs = place
    job = replace(jobs[0], until=12)
    paused = constant_result(job, space.architecture(10), problem, looks=(3, 27))
    assert isinstance(paused, Paused)
    assert [r.epoch for r in paused.curve] == [3, 10, 12]
