"""`python -m nas_skeleton.supernet` as its user sees it."""

import os
import re
import shutil
import signal

import pandas as pd
import pytest
import torch

from nas_skeleton.oneshot.train import CALIBRATION_STEPS, Training

CALIBRATION = sum(CALIBRATION_STEPS)

ASKED = ("--space", "tiny", "--dataset", "synthetic", "--cells", "6", "--run", "one")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spos", "darts", "gdas"])
def test_a_supernet_is_trained_and_cells_are_ranked(here, workdir, method):
    done = here("supernet", *ASKED, "--method", method)
    assert done.returncode == 0, done.stderr
    assert "Time       about" in done.stdout
    assert "no table of trainings" in done.stdout
    assert re.search(r"3/3 epochs, .*loss \d", done.stderr)
    table = pd.read_csv(workdir / "runs" / "one" / "ranking.csv")
    assert len(table) in ((6,) if method == "spos" else (6, 7))
    assert table["inherited_valid_top1"].between(0, 1).all()
    assert table["selected"].sum() == 1
    [chosen] = table[table["selected"]].to_dict("records")
    assert f"#{chosen['arch_index']} {chosen['arch_str']}" in done.stdout
    if method == "spos":
        assert chosen["inherited_valid_top1"] == table["inherited_valid_top1"].max()
        assert "Best by validation: " in done.stdout
    else:
        assert "Derived cell: " in done.stdout
        assert "mean probability of its operations" in done.stdout


@pytest.mark.slow
def test_a_finished_supernet_ranks_what_is_missing_and_is_no_run(here, workdir):
    assert here("supernet", *ASKED).returncode == 0
    table = pd.read_csv(workdir / "runs" / "one" / "ranking.csv")
    supernet = (workdir / "runs" / "one" / "supernet.pt").stat().st_mtime_ns

    again = here("supernet", *ASKED, "--cells", "8")
    assert again.returncode == 0
    assert "2/2 cells" in again.stderr
    assert "epochs," not in again.stderr
    assert (workdir / "runs" / "one" / "supernet.pt").stat().st_mtime_ns == supernet
    more = pd.read_csv(workdir / "runs" / "one" / "ranking.csv").set_index("arch_index")
    assert len(more) == len(table) + 2
    assert (
        more["inherited_valid_top1"][table["arch_index"]].to_numpy()
        == table["inherited_valid_top1"]
    ).all()

    assert here("runs", "list").returncode == 0
    shown = here("runs", "show", "one")
    assert shown.returncode == 2
    assert "is a supernet, no table of trainings" in shown.stderr
    taken = here("search", "--space", "tiny", "--dataset", "synthetic", "--run", "one", "--dry-run")
    assert taken.returncode == 2
    assert "holds a supernet" in taken.stderr


@pytest.mark.slow
def test_the_inherited_order_is_held_against_trainings_from_scratch(here, searched, workdir):
    shutil.copytree(searched[0], workdir / "runs")
    [run] = [path.name for path in (workdir / "runs").iterdir()]
    done = here("supernet", *ASKED[:-2], "--run", "two", "--against", run)
    assert done.returncode == 0, done.stderr
    assert "6 cells, 6 of them trained from scratch" in done.stdout
    assert re.search(r"all +inherited accuracy +6 +[+-]\d\.\d\d \[", done.stdout)
    assert re.search(r"all +MACs +6 ", done.stdout)
    other = here("supernet", *ASKED[:-2], "--modality", "bone", "--against", run)
    assert other.returncode == 2
    assert "its modality is '', not 'bone'" in other.stderr


def test_a_plan_writes_nothing(here, workdir):
    done = here("supernet", *ASKED, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "3 epochs of" in done.stdout
    assert not (workdir / "runs").exists()


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (("--cells", "none"), "--cells 'none': give a number of at least 1, or all"),
        (("--space", "models"), "no cells"),
        (("--against", "nothing"), "no run 'nothing'"),
        (("--recipe", "unknown"), "unknown recipe"),
    ],
)
def test_mistakes_are_one_line(here, asked, says):
    done = here("supernet", *ASKED, *asked)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_a_signal_saves_and_the_same_command_ends_as_if_there_had_been_none(
    here, workdir, monkeypatch
):
    asked = (*ASKED[:-2], "--cells", "2", "--method", "gdas")
    assert here("supernet", *asked, "--run", "undisturbed").returncode == 0
    step = Training.step
    steps = iter(range(1000))

    def interrupted(training, *arguments):
        if next(steps) == CALIBRATION + 4:  # the second batch of the second epoch
            os.kill(os.getpid(), signal.SIGTERM)
        return step(training, *arguments)

    monkeypatch.setattr(Training, "step", interrupted)
    stopped = here("supernet", *asked, "--run", "stopped")
    assert stopped.returncode == 75
    assert "run the same command again" in stopped.stderr
    plan = here("supernet", *asked, "--run", "stopped", "--dry-run")
    assert "3 epochs of 3 steps (half the clips teach weights, half operations), 1 done" in (
        plan.stdout
    )
    assert here("supernet", *asked, "--run", "stopped").returncode == 0
    first, second = (
        (workdir / "runs" / name / "ranking.csv").read_text() for name in ("undisturbed", "stopped")
    )
    assert first == second
    first, second = (
        torch.load(workdir / "runs" / name / "supernet.pt", weights_only=True)["weights"]
        for name in ("undisturbed", "stopped")
    )
    assert all(torch.equal(value, second[name]) for name, value in first.items())
