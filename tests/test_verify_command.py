"""`runs verify`: what is trained again, what it says, and when it refuses."""

import json
import shutil
import sqlite3
import subprocess
import sys

import pytest

from nas_skeleton.training.train import train_jobs

NAME = "tiny_synthetic_thesis_tiny_random_777"


@pytest.fixture
def run(workdir, searched):
    """A copy of a finished run of six trainings with one seed."""
    shutil.copytree(searched[0], workdir / "runs")
    return workdir / "runs" / NAME


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def changed(run, assignment):
    """Change all rows of a run behind its back."""
    for path in (run / "results").glob("*.sqlite"):
        with sqlite3.connect(path) as connection:
            connection.execute(f"UPDATE trainings SET {assignment}")
        connection.close()


def test_on_the_same_machine_all_are_identical_and_nothing_is_stored(here, run):
    before = contents(run)
    done = here("runs", "verify", NAME, "--sample", "3")
    assert done.returncode == 0, done.stderr
    assert "3 of 3 identical, bit for bit" in done.stdout
    assert "The run has one seed" in done.stdout
    assert contents(run) == before


def test_another_engine_is_told_and_held_against_noise(here, run):
    facts = json.loads(
        here("runs", "verify", NAME, "--sample", "2", "--engine", "reference", "--json").stdout
    )
    assert facts["passed"] is True
    assert facts["deviations"]["test"]["noise"] == "clips"
    assert [one["engine"] for one in facts["repetitions"]] == ["reference"] * 2
    again = json.loads(here("runs", "verify", NAME, "--sample", "2", "--json").stdout)
    drawn = [[(o["arch_index"], o["seed"]) for o in f["repetitions"]] for f in (facts, again)]
    assert drawn[0] == drawn[1]


def test_rows_somebody_changed_are_found(here, run):
    changed(run, "final_test_top1 = final_test_top1 / 2")
    facts = json.loads(here("runs", "verify", NAME, "--sample", "6", "--json").stdout)
    assert facts["identical"] == 0
    assert facts["deviations"]["test"]["p_size"] < 0.001
    assert facts["deviations"]["valid"]["rms"] == 0


def test_a_repetition_that_fails_is_named_and_the_exit_code_says_so(here, run, monkeypatch):
    def failing(jobs, *args, **options):
        for job, result in train_jobs(jobs, *args, **options):
            yield job, ValueError("boom") if job.arch_index % 2 else result

    monkeypatch.setattr("nas_skeleton.training.train.train_jobs", failing)
    done = here("runs", "verify", NAME, "--sample", "6")
    assert done.returncode == 1
    assert "ValueError: boom" in done.stdout
    assert "FAILED" in done.stdout


def test_changed_recipe_and_changed_data_are_refused(here, run, workdir):
    card = workdir / "search_spaces" / "tiny.toml"
    text = card.read_text()
    card.write_text(text.replace("epochs = 3", "epochs = 4"))
    done = here("runs", "verify", NAME)
    assert done.returncode == 2
    assert "the card of 'tiny' is not the one of run" in done.stderr
    card.write_text(text)
    path = run / "run.json"
    path.write_text(path.read_text().replace('"fingerprint": "', '"fingerprint": "0'))
    changed(run, "fingerprint = '0' || fingerprint")
    done = here("runs", "verify", NAME)
    assert done.returncode == 2
    assert "data set 'synthetic' is not the one of run" in done.stderr


@pytest.mark.parametrize(
    ("given", "said"),
    [((NAME, "--sample", "0"), "--sample"), (("nothing",), "no run 'nothing'")],
)
def test_a_mistake_is_one_line(here, run, given, said):
    done = here("runs", "verify", *given)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_signal_ends_it_with_75(run, workdir):
    code = (
        "import os, signal, sys, threading\n"
        "import nas_skeleton.training.train as train\n"
        "original = train.train_jobs\n"
        "def stopping(*args, **options):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    yield from original(*args, **options)\n"
        "train.train_jobs = stopping\n"
        "from nas_skeleton import cli, runs\n"
        "sys.argv = ['runs', *sys.argv[1:]]\n"
        "cli.run(runs.main)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "verify", NAME], capture_output=True, text=True, cwd=workdir
    )
    assert done.returncode == 75, done.stderr
    assert "nothing is kept of a verification; run the same command again" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_was_filled_in_is_filled_in_again(here, workdir):
    search = ("search", "--space", "tiny", "--dataset", "synthetic", "--archs", "10,6111")
    assert here(*search, "--run", "mine").returncode == 0
    done = here("runs", "verify", "mine", "--sample", "2")
    assert done.returncode == 0, done.stderr
    assert "2 of 2 identical, bit for bit" in done.stdout
