import math
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from nas_skeleton.skeletons.store import load_dataset
from nas_skeleton.spaces import load_space
from nas_skeleton.training import checkpoint
from nas_skeleton.training.clips import FixedClips
from nas_skeleton.training.job import Job
from nas_skeleton.training.loop import (
    Diverged,
    Stopped,
    clips_per_epoch,
    epoch_order,
    learning_rate,
    measure,
)
from nas_skeleton.training.task import build_task
from nas_skeleton.training.train import train_job


def job_for(data, seed=777, arch=6111):
    return Job("tiny", arch, data.name, data.fingerprint, "thesis", "tiny", "0" * 12, seed)


@pytest.fixture
def place(workdir):
    """Space, task and job of a training that takes a fraction of a second."""
    torch.set_num_threads(1)
    space = load_space("tiny")
    data = load_dataset("synthetic")
    return space, build_task(space.card, space.card.recipe(), data, "thesis"), job_for(data)


def same(first, second):
    """Whether two trainings gave the same numbers, bit for bit."""
    return first.curve == second.curve and all(
        np.array_equal(first.predictions[part], second.predictions[part])
        for part in ("valid", "test")
    )


def test_a_training_repeats_bit_for_bit_whatever_ran_before(place):
    space, task, job = place
    first = train_job(job, space, task)
    torch.manual_seed(12345)
    torch.randn(1000)
    train_job(job_for(load_dataset("synthetic"), seed=888), space, task)
    assert same(train_job(job, space, task), first)


def test_another_seed_or_architecture_gives_another_training(place):
    space, task, job = place
    data = load_dataset("synthetic")
    first = train_job(job, space, task)
    assert not same(train_job(job_for(data, seed=888), space, task), first)
    assert not same(train_job(job_for(data, arch=9930), space, task), first)


@pytest.mark.parametrize("stop_after", [1, 7, 11])  # in the first, second and third epoch
def test_a_stopped_training_ends_as_an_undisturbed_one(place, tmp_path, stop_after):
    space, task, job = place
    whole = train_job(job, space, task)
    path = tmp_path / "checkpoint.pt"
    calls = iter(range(1, 1000))
    with pytest.raises(Stopped):
        train_job(
            job,
            space,
            task,
            checkpoint_path=lambda _: path,
            should_stop=lambda: next(calls) == stop_after,
        )
    assert path.exists()
    resumed = []
    rest = train_job(
        job,
        space,
        task,
        checkpoint_path=lambda _: path,
        on_epoch=lambda _, record: resumed.append(record),
    )
    assert same(rest, whole)
    if stop_after > 5:
        assert len(resumed) == len(whole.curve)  # epochs 2 and 3 are evaluated, after the stop


def test_the_number_of_threads_of_the_caller_does_not_matter(place):
    space, task, job = place
    one = train_job(job, space, task)
    torch.set_num_threads(2)
    try:
        assert same(train_job(job, space, task), one)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_accuracy_is_measured_when_the_recipe_asks_and_after_the_last_epoch(place):
    space, task, job = place
    measured = train_job(job, space, task)
    assert [record.epoch for record in measured.curve] == [2, 3]
    assert set(measured.final.accuracy) == {"train", "valid", "test"}
    assert len(measured.predictions["valid"]) == 108
    assert len(measured.predictions["test"]) == 430
    hits = task.labels[task.splits["test"]].numpy() == measured.predictions["test"]
    assert hits.mean() == measured.final.accuracy["test"].top1
    assert measured.train_time_s > 0
    assert measured.latency_s > 0
    assert measured.peak_memory_bytes > 2**20


def test_best_epoch_is_chosen_on_validation_and_the_first_of_equals(place):
    space, task, job = place
    measured = train_job(job, space, task)
    valid = [record.accuracy["valid"].top1 for record in measured.curve]
    assert measured.best_on_valid is measured.curve[valid.index(max(valid))]


def test_protocol_without_validation_set_chooses_no_epoch(workdir):
    space = load_space("tiny")
    data = load_dataset("synthetic")
    task = build_task(space.card, space.card.recipe(), data, "odd-even")
    measured = train_job(job_for(data), space, task)
    assert set(measured.final.accuracy) == {"train", "test"}
    assert measured.best_on_valid is None
    assert set(measured.predictions) == {"test"}


def test_infinite_loss_ends_the_training_and_names_the_epoch(place):
    space, task, job = place
    inputs = task.clips.inputs.clone()
    inputs[task.splits["train"][0]] = float("nan")
    task = type(task)(FixedClips(inputs), task.labels, task.splits, task.classes, task.layout)
    with pytest.raises(Diverged, match="epoch 1"):
        train_job(job, space, task)


def test_learning_rate_is_nasbench201s_cosine_per_epoch():
    recipe = load_space("nb201").card.recipe("thesis")
    assert learning_rate(recipe, 0) == pytest.approx(0.1)
    assert learning_rate(recipe, 100) == pytest.approx(0.05)
    assert learning_rate(recipe, 199) == pytest.approx(0.05 * (1 + math.cos(math.pi * 199 / 200)))


def recipe_of(**changes):
    quick = load_space("nb201").card.recipe("quick")
    return quick.model_copy(update={"epochs": 80, "learning_rate": 0.1, **changes})


def test_steps_are_taken_after_as_many_epochs_as_milestones_say():
    recipe = recipe_of(schedule="step", milestones=(10, 50))  # ST-GCN's own
    rates = [learning_rate(recipe, epoch) for epoch in (0, 9, 10, 49, 50, 79)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_warm_up_rises_to_the_peak_and_leaves_the_rest_as_it_is():
    recipe = recipe_of(schedule="step", milestones=(35, 55), warmup_epochs=5)  # CTR-GCN's own
    rates = [learning_rate(recipe, epoch) for epoch in range(6)]
    assert rates == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1, 0.1])
    cosine = recipe_of(warmup_epochs=5)
    assert learning_rate(cosine, 20) == pytest.approx(0.05 * (1 + math.cos(math.pi / 4)))


def test_a_rate_for_larger_batches_is_scaled_down():
    recipe = recipe_of(batch_size=32, learning_rate_for_batch=128)
    assert learning_rate(recipe, 0) == pytest.approx(0.025)


def test_every_epoch_has_an_order_of_its_own_that_depends_on_the_seed_alone():
    first = epoch_order(100, seed=1, epoch=0)
    torch.randn(7)
    assert torch.equal(first, epoch_order(100, seed=1, epoch=0))
    assert sorted(first.tolist()) == list(range(100))
    assert not torch.equal(first, epoch_order(100, seed=1, epoch=1))
    assert not torch.equal(first, epoch_order(100, seed=2, epoch=0))


@pytest.mark.parametrize(("drop_last", "clips"), [(False, 323), (True, 320)])
def test_an_epoch_uses_all_clips_or_whole_batches(drop_last, clips):
    recipe = load_space("nb201").card.recipe("thesis").model_copy(update={"drop_last": drop_last})
    assert clips_per_epoch(recipe, 323) == clips
    assert clips_per_epoch(recipe, 20) == 20  # less than one batch is still trained on


def test_measures_on_a_case_worked_by_hand():
    # Ten clips of classes 0 (x8), 1 (x1), 6 (x1); scores rank classes in the order given.
    labels = torch.tensor([0] * 8 + [1, 6])
    order = torch.tensor(
        [[0, 1, 2, 3, 4, 5, 6]] * 8 + [[2, 3, 4, 5, 1, 0, 6], [6, 0, 1, 2, 3, 4, 5]]
    )
    scores = torch.zeros(10, 7).scatter_(1, order, torch.arange(7, 0, -1.0).expand(10, 7))
    accuracy = measure(scores, labels)
    assert accuracy.top1 == pytest.approx(9 / 10)
    assert accuracy.top5 == pytest.approx(1.0)
    assert accuracy.mean_class == pytest.approx((1 + 0 + 1) / 3)


def test_checkpoint_of_another_training_or_a_damaged_one_is_not_used(tmp_path):
    path = tmp_path / "c.pt"
    checkpoint.save(path, "mine", {"epoch": 1})
    assert checkpoint.load(path, "mine")["epoch"] == 1
    assert checkpoint.load(path, "other") is None
    path.write_bytes(path.read_bytes()[:100])
    assert checkpoint.load(path, "mine") is None
    path.write_bytes(b"\x80\x04not a checkpoint")
    assert checkpoint.load(path, "mine") is None
    assert checkpoint.load(tmp_path / "absent.pt", "mine") is None


def test_checkpoint_cannot_run_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'owned'}",)

    path = tmp_path / "c.pt"
    torch.save({"format": checkpoint.FORMAT, "key": "mine", "x": Evil()}, path)
    assert checkpoint.load(path, "mine") is None
    assert not (tmp_path / "owned").exists()


SAVE_FOREVER = """
import sys, torch
from pathlib import Path
from nas_skeleton.training import checkpoint
n = 0
while True:
    n += 1
    checkpoint.save(Path(sys.argv[1]), "k", {"n": n, "w": torch.full((200_000,), float(n))})
    print(n, flush=True)
"""


def test_kill_while_saving_leaves_a_whole_checkpoint(tmp_path):
    path = tmp_path / "c.pt"
    for round_ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", SAVE_FOREVER, str(path)], stdout=subprocess.PIPE, text=True
        ) as process:
            for _ in range(3):
                assert process.stdout is not None
                process.stdout.readline()
            time.sleep(0.003 * round_)
            process.send_signal(signal.SIGKILL)
        state = checkpoint.load(path, "k")
        assert state is not None
        assert (state["w"] == state["n"]).all()
