"""What a process needs to train: encoded once, compared once, and said where it is not kept."""

import os

import pytest
import torch

from nas_skeleton.scheduling.means import Means
from nas_skeleton.scheduling.plan import job_of
from nas_skeleton.scheduling.presence import Presence
from nas_skeleton.scheduling.start import start_campaign
from nas_skeleton.scheduling.worker import Assignment, Worker, open_workplace
from nas_skeleton.skeletons import keeping
from nas_skeleton.skeletons.store import load_dataset
from nas_skeleton.spaces import load_space


@pytest.fixture
def opened(workdir):
    """`opened(...)` opens the workplace of a run of the space `tiny`."""
    space, data = load_space("tiny"), load_dataset("synthetic")
    run = start_campaign(space, data, Means(1, "cpu", "fast", 1, 20.0), seeds=[777]).run
    return lambda **options: open_workplace(run, space, data, "cpu", **options)


def test_inputs_that_are_not_kept_are_said_in_one_line(workdir, opened, capsys):
    first = opened().task
    assert capsys.readouterr().err == ""
    for path in (folder := workdir / "datasets" / "synthetic" / "encoded").iterdir():
        path.unlink()
    folder.rmdir()
    folder.touch()
    task = opened().task
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("network inputs stay in memory, ")
    assert str(folder) in line
    ids = torch.arange(5)
    assert torch.equal(task.clips.evaluation(ids), first.clips.evaluation(ids))


def test_a_command_compares_large_inputs_for_its_workers(workdir, opened, monkeypatch):
    inputs = opened().task.clips.inputs.clone()
    monkeypatch.setattr(keeping, "VERIFIED_BYTES", 0)
    [path] = (workdir / "datasets" / "synthetic" / "encoded").glob("*.f32")
    path.write_bytes(bytes(4) + path.read_bytes()[4:])
    assert not torch.equal(opened(verify=False).task.clips.inputs, inputs)
    assert torch.equal(opened().task.clips.inputs, inputs)


@pytest.mark.parametrize("keep_weights", [False, True])
def test_cells_that_ignore_their_input_are_filled_in_and_marked(workdir, keep_weights):
    space, data = load_space("tiny"), load_dataset("synthetic")
    campaign = start_campaign(space, data, Means(1, "cpu", "fast", 2, 20.0), seeds=[777])
    campaign.write()
    run = campaign.run
    blind, seeing = (job_of(run.arguments, arch, 777) for arch in (10, 6111))
    assignment = Assignment(run.name, "fast", 2, "cpu", 20.0, keep_weights=keep_weights)
    worker = Worker(assignment, Presence.of_this_process("w", os.getpid()))
    done = list(worker.work([blind, seeing], should_stop=lambda: False))
    worker.close()
    assert sorted(outcome.job.arch_index for outcome in done) == [10, 6111]
    rows = run.rows().set_index("arch_index")
    assert rows["status"].tolist() == ["done", "done"]
    assert rows.loc[10, ["engine", "train_time_s"]].tolist() == ["analytic", 0.0]
    assert rows.loc[10, "final_valid_top1"] == pytest.approx(1 / 27)  # 4 clips of each class
    assert rows.loc[6111, "engine"] == "fast"
    assert rows.loc[6111, "train_time_s"] > 0
    assert run.weights_path(seeing.key, "last").is_file() is keep_weights
    assert not run.weights_path(blind.key, "last").exists()
