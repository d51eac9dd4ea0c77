"""The scheduler by itself: trainings that do nothing, in real workers."""

from pathlib import Path

import pytest

from nas_skeleton.benchmarks import no_op
from nas_skeleton.benchmarks.machine import machine
from nas_skeleton.benchmarks.report import no_op_as_json, no_op_as_text
from nas_skeleton.benchmarks.settings import Setting
from nas_skeleton.errors import InputError
from nas_skeleton.scheduling.campaign import Campaign
from nas_skeleton.scheduling.means import choose_means
from nas_skeleton.spaces import load_space


def measured(trainings, heard):
    space = load_space("tiny")
    return no_op.measure_no_op(
        space,
        "synthetic",
        Setting("tiny", space.card.recipe()),
        choose_means("cpu", "1", "fast"),
        trainings,
        lambda count: lambda: heard.append(count),
    )


def test_real_workers_store_trainings_that_do_nothing(workdir):
    before, heard = set(workdir.iterdir()), []
    found = measured(20, heard)
    assert heard == [20] * 20
    assert (found.trainings, found.workers) == (20, 1)
    assert found.ms_per_training > 0
    assert found.per_second == pytest.approx(1e3 / found.ms_per_training)
    assert found.startup_s > 0
    assert Path.cwd() == workdir
    assert set(workdir.iterdir()) == before
    assert no_op_as_json(machine("cpu", 2, 1), found)["no_op"]["trainings"] == 20
    assert "20 trainings that do nothing on 1 worker" in no_op_as_text(machine("cpu", 2, 1), found)


def test_rows_are_counted_in_the_end(workdir, monkeypatch):
    monkeypatch.setattr(Campaign, "execute", lambda self, *_: self.write())
    with pytest.raises(InputError, match="0 rows of 3"):
        measured(3, [])
