"""A supernet's training: it repeats, goes on where it stopped, and sees training clips only."""

import dataclasses

import pytest
import torch

from nas_skeleton.errors import InputError
from nas_skeleton.oneshot.methods import METHODS
from nas_skeleton.oneshot.train import Training, halves, seconds_per_epoch, with_epochs
from nas_skeleton.training.loop import Stopped


def trained(problem, method, key="one"):
    training = Training(problem, method, key)
    training.run()
    return training


def assert_same(first, second):
    for name, value in first.supernet.state_dict().items():
        assert torch.equal(value, second.supernet.state_dict()[name]), name
    assert first.progress.losses == second.progress.losses
    if first.method.learns:
        assert torch.equal(first.method.alphas, second.method.alphas)


@pytest.mark.parametrize("method", METHODS)
def test_a_training_repeats_whatever_ran_before(problem, method):
    first = trained(problem, method)
    torch.rand(7)  # the global generator is elsewhere now
    trained(problem, "spos", "another")
    assert_same(first, trained(problem, method))
    assert trained(problem, method, "two").progress.losses != first.progress.losses


@pytest.mark.parametrize("method", METHODS)
def test_a_training_that_was_stopped_ends_like_one_that_was_not(tmp_path, problem, method):
    path = tmp_path / "supernet.pt"
    calls = 0

    def should_stop():
        nonlocal calls
        calls += 1
        return calls % 3 == 0  # in the middle of epochs

    for _ in range(30):
        resumed = Training(problem, method, "one")
        try:
            resumed.run(path, should_stop=should_stop)
            break
        except Stopped:
            continue
    assert calls > 3
    assert_same(trained(problem, method), resumed)
    again = Training(problem, method, "one")
    again.resume(path)
    assert again.finished
    assert_same(again, resumed)


def test_a_checkpoint_of_another_training_is_left_alone(tmp_path, problem):
    path = tmp_path / "supernet.pt"
    Training(problem, "spos", "one").run(path)
    other = Training(problem, "spos", "two")
    other.resume(path)
    assert other.progress.epoch == 0


def test_the_loss_goes_down_and_is_heard_of_after_every_epoch(small_problem):
    heard = []
    training = Training(small_problem(epochs=12, learning_rate=0.05), "spos", "one")
    training.run(on_epoch=lambda done: heard.append(done.progress.losses[-1]))
    assert heard == training.progress.losses
    assert len(heard) == 12
    assert sum(heard[-3:]) < 0.8 * sum(heard[:3])


@pytest.mark.parametrize("method", METHODS)
def test_clips_that_are_not_trained_on_teach_nothing(problem, method):
    task = problem.task
    labels = task.labels.clone()
    inputs = task.clips.inputs.clone()
    for split in ("valid", "test"):
        inputs[task.splits[split]] = float("nan")
        labels[task.splits[split]] = -1
    poisoned = dataclasses.replace(task, labels=labels, clips=type(task.clips)(inputs))
    other = dataclasses.replace(problem, task=poisoned)
    assert_same(trained(problem, method), trained(other, method))


def test_halves_share_out_every_class():
    labels = torch.tensor([0] * 10 + [1] * 7 + [2] * 4)
    first, second = halves(labels, seed=1)
    assert sorted([*first.tolist(), *second.tolist()]) == list(range(21))
    for label in range(3):
        counts = [(labels[half] == label).sum().item() for half in (first, second)]
        assert abs(counts[0] - counts[1]) <= 1
    assert not torch.equal(first, halves(labels, seed=2)[0])


def test_a_loss_that_is_not_finite_is_said(small_problem):
    with pytest.raises(InputError, match="loss is nan"):
        trained(small_problem(learning_rate=1e30), "spos")


def test_epochs_that_do_not_go_with_the_recipe_are_refused(problem):
    assert with_epochs(problem.recipe, 7).epochs == 7
    averages = problem.recipe.model_copy(update={"averaging": "swa", "average_from": 9})
    assert with_epochs(averages, 7).averaging is None
    warm = problem.recipe.model_copy(update={"warmup_epochs": 1})
    with pytest.raises(InputError, match=r"--epochs 1 .*warmup_epochs"):
        with_epochs(warm, 1)


@pytest.mark.parametrize("method", METHODS)
def test_an_epoch_is_timed_without_training_anything(problem, method):
    assert 0 < seconds_per_epoch(problem, method) < 60
