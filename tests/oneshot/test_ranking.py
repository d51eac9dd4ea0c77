"""Inherited accuracies: statistics measured on training clips, classes told on validation clips."""

import dataclasses

import pytest
import torch
from torch import nn

from nas_skeleton.oneshot.ranking import Ranker
from nas_skeleton.oneshot.train import Training
from nas_skeleton.spaces import Cell, load_space

STGCN = load_space("nb201")


@pytest.fixture
def training(double_problem):
    training = Training(double_problem, "spos", "one")
    training.run()
    return training


def test_statistics_are_the_mean_over_batches_of_training_clips(double_problem, training):
    ranker = Ranker(double_problem, training.supernet, "one")
    network = ranker.network(STGCN.cell(6111))
    seen = {}

    def keep(name):
        return lambda _, inputs, __: seen.setdefault(name, []).append(inputs[0].detach())

    plain = double_problem.network(STGCN.cell(6111), plain=True)
    plain.load_state_dict(training.supernet.inherited(STGCN.cell(6111)), strict=False)
    for name, module in plain.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.register_forward_hook(keep(name))
    for clips in ranker._training:
        assert len(clips) == 8
        plain(clips)
    assert len(ranker._training) == 5
    norms = dict(network.named_modules())
    compared = 0
    for name, batches in seen.items():
        if name not in norms:
            continue  # of a dead edge
        every = [maps.transpose(0, 1).flatten(1) for maps in batches]
        means = torch.stack([maps.mean(dim=1) for maps in every]).mean(dim=0)
        variances = torch.stack([maps.var(dim=1) for maps in every]).mean(dim=0)
        torch.testing.assert_close(norms[name].running_mean, means, rtol=0, atol=1e-9)
        torch.testing.assert_close(norms[name].running_var, variances, rtol=0, atol=1e-9)
        compared += 1
    assert compared > 10


def test_an_accuracy_depends_on_no_other_cell_and_leaves_the_supernet_as_it_was(
    double_problem, training
):
    before = {name: value.clone() for name, value in training.supernet.state_dict().items()}
    ranker = Ranker(double_problem, training.supernet, "one")
    first = [ranker.accuracy(STGCN.cell(index)) for index in (6111, 1462, 284)]
    ranker = Ranker(double_problem, training.supernet, "one")
    again = [ranker.accuracy(STGCN.cell(index)) for index in (284, 6111, 1462)]
    assert again == [first[2], first[0], first[1]]
    for name, value in training.supernet.state_dict().items():
        assert torch.equal(value, before[name])


def test_accuracy_is_that_of_the_network_on_validation_clips(double_problem, training):
    ranker = Ranker(double_problem, training.supernet, "one")
    network, task = ranker.network(STGCN.cell(1462)), double_problem.task
    valid = task.splits["valid"]
    with torch.no_grad():  # one clip after the other: its class does not depend on its company
        scores = torch.cat([network(task.clips.evaluation(one)) for one in valid.split(1)])
    hits = (scores.argmax(dim=1) == task.labels[valid]).double().mean().item()
    assert ranker.accuracy(STGCN.cell(1462)) == hits


def test_what_was_learnt_is_inherited(small_problem):
    problem = small_problem(epochs=25, learning_rate=0.02)
    training = Training(problem, "spos", "one")
    training.run()
    accuracy = Ranker(problem, training.supernet, "one").accuracy(STGCN.cell(1111))
    assert accuracy > 0.7  # of four classes


def test_test_clips_choose_nothing(double_problem, training):
    task = double_problem.task
    inputs = task.clips.inputs.clone()
    inputs[task.splits["test"]] = float("nan")
    poisoned = dataclasses.replace(task, clips=type(task.clips)(inputs))
    other = dataclasses.replace(double_problem, task=poisoned)
    cell = STGCN.cell(6111)
    expected = Ranker(double_problem, training.supernet, "one").accuracy(cell)
    assert Ranker(other, training.supernet, "one").accuracy(cell) == expected


def test_a_cell_without_output_is_ranked_too(double_problem, training):
    nothing = Cell((0,) * 6)
    assert 0 <= Ranker(double_problem, training.supernet, "one").accuracy(nothing) < 0.6
