"""`runs`: list, show, missing, collect."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from nas_skeleton.published.benchmark import Benchmark
from nas_skeleton.results import schema
from nas_skeleton.scheduling.means import choose_means
from nas_skeleton.scheduling.presence import Beat, Presence, worker_name
from nas_skeleton.scheduling.signals import Signals
from nas_skeleton.scheduling.start import start_campaign
from nas_skeleton.skeletons.store import load_dataset
from nas_skeleton.spaces import load_space

NAME = "tiny_synthetic_thesis_tiny_random_777"


@pytest.fixture
def run(workdir):
    """A finished run of three trainings."""
    means = choose_means("cpu", "1")
    space, data = load_space("tiny"), load_dataset("synthetic")
    campaign = start_campaign(space, data, means, seeds=[777], trials=3)
    for job in campaign.jobs:
        campaign.execute_here(job, Signals(), lambda _: None)
    assert campaign.run.name == NAME
    return NAME


def test_list_without_runs_says_how_to_start(command):
    assert "nas_skeleton.search" in command("runs", "list").stdout


def test_list_counts(here, run):
    lines = here("runs", "list").stdout.splitlines()
    assert [run, "3", "0", "0", "0", "0"] in [line.split() for line in lines]


def test_show_says_what_was_asked_and_ranks(here, run):
    shown = here("runs", "show", run, "--top", "2").stdout
    assert "protocol       thesis" in shown
    assert "trainings      3 done, 0 running, 0 paused, 0 diverged, 0 failed, 0 missing\n" in shown
    assert " trainings an hour when it was last at work\n" in shown
    assert "Best 2 of 3 architectures by validation" in shown


def test_show_json_is_one_object_and_nothing_else(here, run):
    shown = json.loads(here("runs", "show", run, "--json").stdout)
    assert shown["ranked_by"] == "validation"
    assert shown["trainings"] == {
        "done": 3,
        "running": 0,
        "paused": 0,
        "diverged": 0,
        "failed": 0,
        "missing": 0,
    }
    assert shown["trainings_per_hour"] > 0
    assert shown["seconds_left"] is None
    assert shown["workers"] == []
    assert [row["rank"] for row in shown["leaderboard"]] == [1, 2, 3]
    assert shown["leaderboard"][0]["valid_sd"] is None
    assert isinstance(shown["leaderboard"][0]["macs"], int)


def test_show_tells_who_is_at_it_and_for_how_long(here, run, workdir):
    folder = workdir / "runs" / run
    path = folder / "run.json"
    path.write_text(path.read_text().replace('"trials": 3', '"trials": 5'))
    arch, seed = map(int, here("runs", "missing", run).stdout.splitlines()[0].split())
    name = worker_name(os.getpid(), "cafe")
    beat = Beat(folder, Presence.of_this_process(name, os.getpid(), "3/100"))
    try:
        beat.say_now(jobs=[(arch, seed)], epoch=3, epochs=30, done=2)
        shown = here("runs", "show", run).stdout
        as_json = json.loads(here("runs", "show", run, "--json").stdout)
    finally:
        beat.close()
    assert "3 done, 1 running, 0 paused, 0 diverged, 0 failed, 2 missing, those running" in shown
    assert re.search(r"pace +[0-9.e+]+ trainings an hour, about \d+ s left\n", shown)
    assert re.search(
        rf"workers +{name}: last sign of life \d s ago, 2 done, shard 3/100, "
        rf"at #{arch} seed {seed}, evaluated after epoch 3 of 30\n",
        shown,
    )
    assert as_json["seconds_left"] > 0
    assert as_json["workers"][0]["worker"] == name
    assert "run the same command again to go on" in here("runs", "show", run).stdout


def test_a_command_whose_workers_others_start_is_no_worker(here, run, workdir):
    folder = workdir / "runs" / run
    path = folder / "run.json"
    path.write_text(path.read_text().replace('"trials": 3', '"trials": 5'))
    name = worker_name(os.getpid(), "cafe")
    beat = Beat(folder, Presence.of_this_process(name, os.getpid(), through="NNI"))
    try:
        shown = here("runs", "show", run).stdout
        means, space, data = choose_means("cpu", "1"), load_space("tiny"), load_dataset("synthetic")
        company = start_campaign(space, data, means, seeds=[777], trials=5).company()
    finally:
        beat.close()
    assert re.search(
        rf"workers +{name}: last sign of life \d s ago, has NNI start workers\n", shown
    )
    assert f"trained by process {os.getpid()} on " in company
    assert "with 0 workers: the work is shared" in company


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_show_draws_a_figure(here, run, workdir, suffix):
    path = workdir / f"out/figure.{suffix}"
    assert here("runs", "show", run, "--figure", str(path)).returncode == 0
    assert path.stat().st_size > 5000


def test_figure_of_unknown_kind_is_refused(here, run):
    done = here("runs", "show", run, "--figure", "figure.xyz")
    assert done.returncode == 2
    assert ".png" in done.stderr


def test_missing_lists_architecture_and_seed(here, run):
    assert here("runs", "missing", run).stdout == ""
    path = Path("runs") / run / "run.json"
    path.write_text(path.read_text().replace('"trials": 3', '"trials": 5'))
    missing = [line.split() for line in here("runs", "missing", run).stdout.splitlines()]
    assert len(missing) == 2
    assert all(seed == "777" for _, seed in missing)
    as_json = json.loads(here("runs", "missing", run, "--json").stdout)
    assert [[str(m["arch_index"]), str(m["seed"])] for m in as_json["missing"]] == missing


def test_collected_files_agree_with_each_other_and_with_the_data(here, run, workdir):
    assert here("runs", "collect", run).returncode == 0
    folder = workdir / "runs" / run
    table = pd.read_parquet(folder / "table.parquet")
    assert list(table.columns) == list(schema.COLUMNS)
    csv = pd.read_csv(folder / "table.csv")
    assert csv["key"].tolist() == table["key"].tolist()
    assert np.array_equal(csv["final_test_top1"], table["final_test_top1"])

    curves = pd.read_parquet(folder / "curves.parquet")
    last = curves.groupby("key").last()
    assert sorted(curves["epoch"].unique()) == [2, 3]
    for row in table.to_dict("records"):
        assert last.loc[row["key"], "valid_top1"] == row["final_valid_top1"]

    predictions = pq.read_table(folder / "predictions.parquet")
    clips = json.loads(predictions.schema.metadata[b"test_clips"])
    data = load_dataset("synthetic")
    assert clips["ids"] == [data.ids[i] for i in data.split("thesis")["test"]]
    for row in predictions.to_pylist():
        hits = np.array(row["test"]) == np.array(clips["labels"])
        (stored,) = table.loc[table["key"] == row["key"], "final_test_top1"]
        assert hits.mean() == stored


def test_a_run_is_read_without_its_data(here, run, workdir):
    (workdir / "datasets").rename(workdir / "elsewhere")
    assert here("runs", "show", run).returncode == 0
    assert here("runs", "collect", run).returncode == 0


def test_one_unreadable_run_does_not_hide_the_others(here, run, workdir):
    (workdir / "runs/broken").mkdir()
    (workdir / "runs/broken/run.json").write_text("{")
    listed = here("runs", "list")
    assert listed.returncode == 0
    assert "unreadable" in listed.stdout
    assert run in listed.stdout


def test_sample_prints_the_best_and_some_of_the_others(here, run):
    shown = json.loads(here("runs", "show", run, "--json").stdout)["leaderboard"]
    ranked = [row["arch_index"] for row in shown]
    done = here("runs", "sample", run, "--best", "1", "--size", "2")
    comment, *lines = done.stdout.splitlines()
    chosen = [int(line) for line in lines]
    assert comment.startswith(f"# {run}: the 1 best on validation of 3 and 1 in proportion")
    assert done.returncode == 0
    assert len(set(chosen)) == 2
    assert chosen[0] == ranked[0]
    assert here("runs", "sample", run, "--size", "4").stderr.count("\n") == 1
    mates = here("runs", "sample", run, "--size", "2", "--mates", "1")
    assert mates.returncode == 0, mates.stderr
    assert not {int(line) for line in mates.stdout.splitlines()[1:]} & set(ranked)


def test_disturbed_trainings_are_listed(here, run):
    usual = here("runs", "disturbed", run, "--factor", "1e9")
    assert usual.stdout == (
        f"# {run}: 0 of 3 with a training of over 1e+09 times the usual seconds or latency\n"
    )
    assert here("runs", "disturbed", run, "--factor", "1").returncode == 2


def test_a_published_run_is_checked_and_asked(here, run, workdir):
    done = here("runs", "publish", run, "--name", "mine", "--licence", "CC-BY-4.0")
    assert done.returncode == 0, done.stderr
    assert "runs/published/mine/table.parquet" in done.stdout
    assert "Without --author, --contact the datasheet says" in done.stderr
    sheet = (workdir / "runs/published/mine/DATASHEET.md").read_text()
    assert "Licence of the table: CC-BY-4.0" in sheet
    assert re.search(r"3 trainings, \d+ copies within functional classes, 0 diverged", done.stderr)
    checked = here("runs", "check", "mine")
    assert checked.returncode == 0
    assert "runs/published/mine: sound. 3 trainings" in checked.stdout
    assert "\nPublished tables: mine" in here("runs", "list").stdout
    assert (
        "'mine' is a published table and no run: `runs check`"
        in here("runs", "show", "mine").stderr
    )
    collected = Path("runs") / run
    assert here("runs", "collect", run).returncode == 0
    rows = pd.read_parquet(collected / "table.parquet").to_dict("records")
    table = Benchmark.load("mine")
    for row in rows:
        found = table.query(row["arch_index"], seed=777)
        assert found.test_top1 == row["final_test_top1"]
        predicted = table.predicted(row["arch_index"], "test", seed=777)
        assert (predicted == table.clips("test").labels).mean() == row["final_test_top1"]
    lines = here("runs", "list").stdout.splitlines()
    assert not [line for line in lines if line.startswith("mine")]


def test_a_damaged_table_is_one_line(here, run, workdir):
    here("runs", "publish", run, "--name", "mine")
    path = workdir / "runs/published/mine/curves.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    checked = here("runs", "check", "mine")
    assert checked.returncode == 2
    assert re.fullmatch(r"Error: .*curves\.parquet: [\d,]+ bytes, the manifest.*\n", checked.stderr)
