"""`runs verify`: what is trained again, what it says, and when it refuses."""

import json
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import numpy as np
import pandas as pd
import pytest

from nas_skeleton.cards import card_folders
from nas_skeleton.results import schema
from nas_skeleton.results.run import open_run
from nas_skeleton.results.store import ResultWriter
from nas_skeleton.training.train import train_jobs

NAME = "tiny_synthetic_thesis_tiny_random_777"


@pytest.fixture
def run(workdir, searched):
    """A copy of a finished run of six trainings with one seed."""
    shutil.copytree(searched[0], workdir / "runs")
    return workdir / "runs" / NAME


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def changed(run, assignment, where="true"):
    """Change rows of a run behind its back."""
    for path in (run / "results").glob("*.sqlite"):
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(f"UPDATE trainings SET {assignment} WHERE {where}")


def test_on_the_same_machine_all_are_identical_and_nothing_is_stored(here, run):
    before = contents(run)
    done = here("runs", "verify", NAME, "--sample", "3")
    assert done.returncode == 0, done.stderr
    assert "All 6 finished rows have the accuracies of their own predictions" in done.stdout
    assert "3 of 3 identical, bit for bit" in done.stdout
    assert re.search(r"Rows drawn with --seed \d+\.", done.stdout)
    header = [name.strip() for name in done.stdout.splitlines()[0].split("  ") if name.strip()]
    assert header == [
        *("index", "seed", "valid %", "valid % again", "valid clips changed"),
        *("test %", "test % again", "test clips changed", "engine", "outcome"),
    ]
    assert done.stdout.splitlines()[-1].startswith(f"Verified: run '{NAME}': 3 of 6 rows were")
    assert contents(run) == before


def test_another_engine_is_told_and_held_against_noise_that_is_not_known(here, run):
    drawn = ("--sample", "2", "--seed", "5", "--json")
    done = here("runs", "verify", NAME, *drawn, "--engine", "reference")
    facts = json.loads(done.stdout)
    assert facts["run"] == NAME
    assert facts["passed"] is True
    assert [one["engine"] for one in facts["repetitions"]] == ["reference"] * 2
    if facts["identical"] < 2:  # so short a training may be
        assert facts["deviations"]["test"]["noise"] == "assumed"
    again = json.loads(here("runs", "verify", NAME, *drawn).stdout)
    assert facts["seed"] == again["seed"] == 5
    pairs = [[(o["arch_index"], o["seed"]) for o in f["repetitions"]] for f in (facts, again)]
    assert pairs[0] == pairs[1]


def test_a_forged_accuracy_fails_before_anything_is_trained_again(here, run):
    arch = int(open_run(NAME).rows(["arch_index"])["arch_index"][2])
    changed(run, "final_test_top1 = 0.99", f"arch_index = {arch}")
    done = here("runs", "verify", NAME, "--sample", "6", "--json")
    assert done.returncode == 1
    facts = json.loads(done.stdout)
    (fault,) = facts["faults"]
    assert fault["arch_index"] == arch
    assert "test top1 is stored as 99.00 %, its predictions have" in fault["what"]
    assert (facts["identical"], len(facts["repetitions"])) == (5, 5)
    lines = done.stderr.splitlines()
    said = next(at for at, line in enumerate(lines) if "NOT THEIR OWN PREDICTIONS" in line)
    assert said < next(at for at, line in enumerate(lines) if "trainings" in line)


def test_made_up_predictions_with_accuracies_that_fit_are_found(here, run):
    """One row of a network that was never trained, among identical ones."""
    opened = open_run(NAME)
    row = opened.rows(blobs=True).iloc[2].to_dict()
    predictions, at_end = {}, json.loads(row["curve"])[-1]
    for split in ("valid", "test"):
        labels = np.array(opened.data.splits[split].labels)
        predictions[split] = np.where(labels == 0, 0, (labels + 1) % len(opened.data.classes))
        hit = predictions[split] == labels
        own = [hit[labels == label].mean() for label in np.unique(labels)]
        at_end |= {
            f"{split}_top1": hit.mean(),
            f"{split}_top5": 1.0,
            f"{split}_mean_class": np.mean(own),
        }
    forged = {name: None if pd.isna(value) else value for name, value in row.items()}
    for name, value in at_end.items():
        for when in ("final", "best"):
            if f"{when}_{name}" in forged:
                forged[f"{when}_{name}"] = value
    forged |= {"best_epoch": row["epochs"], "finished_at": "2000-01-01T00:00:00+00:00"}
    columns = {name: forged[name] for name in schema.COLUMNS}
    writer = ResultWriter(run / "results", "forged")
    writer.append(columns, json.dumps([at_end]), predictions)
    writer.close()
    done = here("runs", "verify", NAME, "--sample", "6", "--json")
    facts = json.loads(done.stdout)
    assert facts["faults"] == []
    assert facts["identical"] == 5
    assert [one["arch_index"] for one in facts["repetitions"] if not one["identical"]] == [
        row["arch_index"]
    ]
    assert facts["unexplained"] == [{"arch_index": row["arch_index"], "seed": 777}]


def test_a_published_table_is_verified_by_name_and_by_folder(here, run, workdir):
    assert here("runs", "publish", NAME, "--name", "mine").returncode == 0
    shutil.rmtree(run)
    done = here("runs", "verify", "mine", "--sample", "2")
    assert done.returncode == 0, done.stderr
    assert "Verified: table 'mine': 2 of" in done.stdout
    shutil.move(workdir / "runs" / "published" / "mine", workdir / "elsewhere")
    facts = json.loads(here("runs", "verify", "./elsewhere", "--sample", "1", "--json").stdout)
    assert (facts["table"], facts["passed"], facts["identical"]) == ("mine", True, 1)


def test_a_published_table_of_other_data_and_one_that_is_not_sound_are_one_line(here, run, workdir):
    assert here("runs", "publish", NAME, "--name", "mine").returncode == 0
    text = (card_folders("datasets")[-1] / "synthetic.toml").read_text()
    text = text.replace("[1, 3, 5]", "[3, 5, 7]", 1).replace("[7]", "[1]", 1)
    (workdir / "datasets" / "synthetic.toml").write_text(text)
    done = here("runs", "verify", "mine", "--sample", "1")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "data set 'synthetic' is not the one of table 'mine'" in done.stderr
    (workdir / "runs" / "published" / "mine" / "clips.csv").write_text("")
    done = here("runs", "verify", "mine")
    assert done.returncode == 2
    assert "clips.csv: 0 bytes, the manifest says" in done.stderr


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
    [((NAME, "--sample", "0"), "--sample"), (("nothing",), "no published table 'nothing'")],
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
