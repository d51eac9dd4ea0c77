"""The cost of scheduling and storing, on a real run of short trainings."""

from pathlib import Path

import pytest

from nas_skeleton.benchmarks import bookkeeping
from nas_skeleton.benchmarks.settings import Setting
from nas_skeleton.errors import InputError
from nas_skeleton.scheduling.means import choose_means
from nas_skeleton.spaces import load_space


def test_a_real_run_is_measured_and_leaves_nothing_behind(workdir, monkeypatch):
    monkeypatch.setattr(bookkeeping, "TRAINING_S", 0.05)
    monkeypatch.setattr(bookkeeping, "PER_WORKER", 4)
    space, heard = load_space("tiny"), []
    found = bookkeeping.measure_bookkeeping(
        space,
        "synthetic",
        Setting("short", space.card.recipe()),
        choose_means("cpu", "1", "fast"),
        lambda count: lambda: heard.append(count),
    )
    assert heard == [4] * 4
    assert (found.trainings, found.workers, found.engine) == (4, 1, "fast")
    assert 0 < found.between_s < 5
    assert 0 < found.startup_s < 60
    assert 0 < found.share_of_run < 1
    assert Path.cwd() == workdir
    assert not (workdir / "runs").exists()


def test_outcomes_that_come_together_are_one_group():
    groups = bookkeeping._groups([(1.0, 0.4), (1.001, 0.5), (3.0, 0.7)])
    assert [(round(group.trained_s, 3), group.size) for group in groups] == [(0.9, 2), (0.7, 1)]


def test_a_worker_without_a_training_does_not_count():
    busy = bookkeeping._groups([(3.0, 1.0), (4.5, 1.25), (6.0, 1.25)])
    assert bookkeeping._beside([busy, []], started=0.5) == (1.5, 0.25)
    for workers in ([], [[]], [busy[:1], []]):
        with pytest.raises(InputError, match="no worker had two trainings"):
            bookkeeping._beside(workers, started=0.5)
