"""`search --shard`, a search in a job array, and what `runs missing --format slurm` says of it."""

import pandas as pd
import pytest

from nas_skeleton.results.run import open_run
from nas_skeleton.results.store import NewRows
from nas_skeleton.scheduling.shards import SIZE, remember_count, remembered_count

SEARCH = ("search", "--space", "tiny", "--dataset", "synthetic", "--trials", "6", "--workers", "1")
MISSING = ("runs", "missing", "run", "--format", "slurm")
MEASURED_ANEW = ["train_time_s", "latency_ms", "peak_memory_mb", "host", "finished_at"]


@pytest.fixture(autouse=True)
def no_array(monkeypatch):
    """The tests themselves may run in a task of an array."""
    for name in (SIZE, "SLURM_ARRAY_TASK_ID", "PBS_ARRAY_INDEX", "SGE_TASK_ID", "LSB_JOBINDEX"):
        monkeypatch.delenv(name, raising=False)


def table(name):
    return open_run(name).rows(blobs=True).drop(columns=MEASURED_ANEW)


def test_shards_are_together_the_whole_search_and_nothing_twice(here):
    assert here(*SEARCH, "--run", "whole").returncode == 0
    for index, said in ((2, "0 done, 2 to do"), (0, "0 done, 2 to do"), (0, "2 done, 0 to do")):
        done = here(*SEARCH, "--run", "run", "--shard", f"{index}/3")
        assert done.returncode == 0, done.stderr
        assert "x 1 seed = 6 trainings\n" in done.stdout
        assert f"Shard      {index}/3: 2 of 6 trainings, {said}\n" in done.stdout
    assert here(*MISSING).stdout == f"--array=1 --export=ALL,{SIZE}=3\n"
    done = here(*SEARCH, "--run", "run", "--shard", "0/1")  # another size goes on with the rest
    assert "Shard      0/1: 6 of 6 trainings, 4 done, 2 to do\n" in done.stdout
    assert len(NewRows(open_run("run").results_folder, ["key"]).read()) == 6
    pd.testing.assert_frame_equal(table("run"), table("whole"))
    done = here(*MISSING)
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        "--array=none\n",
        "0 trainings missing\n",
    )


def test_an_array_task_takes_its_part_and_says_where_it_read_it(here, monkeypatch):
    for name, value in (("ID", 7), ("MIN", 4), ("MAX", 7), ("STEP", 1), ("COUNT", 4)):
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))
    done = here(*SEARCH, "--dry-run")
    assert "shard 3/4: SLURM_ARRAY_TASK_ID=7 ('--shard 0/1' trains everything)" in done.stderr
    assert "Shard      3/4: " in done.stdout
    monkeypatch.setenv(SIZE, "0-99")
    assert "Shard      7/100: 0 of 6 trainings" in here(*SEARCH, "--dry-run").stdout
    done = here(*SEARCH, "--dry-run", "--shard", "1/2")
    assert "Shard      1/2: 3 of 6 trainings" in done.stdout
    assert done.stderr == ""


def test_an_unclear_array_is_one_line(here, monkeypatch):
    monkeypatch.setenv("PBS_ARRAY_INDEX", "3")
    done = here(*SEARCH)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: PBS_ARRAY_INDEX=3: the environment does not tell")
    assert done.stderr.count("\n") == 1


def test_a_shard_reports_its_own_failures_only(here, workdir):
    card = workdir / "search_spaces/tiny.toml"
    card.write_text(card.read_text().replace("learning_rate = 0.05", "learning_rate = 1e30"))
    for index in (0, 1):
        done = here(*SEARCH, "--run", "run", "--shard", f"{index}/3")
        assert done.returncode == 1
        assert done.stderr.endswith("of 2 trainings 2 diverged (listed above)\n")
        failures = [line for line in done.stderr.splitlines() if line.startswith("#")]
        assert len(failures) == 4  # each when it happened and in the end
        assert len(set(failures)) == 2


def test_the_rest_is_divided_as_the_run_was_the_last_time(here, workdir):
    assert here(*SEARCH, "--run", "run", "--trials", "1").returncode == 0
    settings = workdir / "runs/run/run.json"
    settings.write_text(settings.read_text().replace('"trials": 1', '"trials": 300'))
    assert here(*MISSING).stdout == f"--array=0-99 --export=ALL,{SIZE}=100\n"
    remember_count(workdir / "runs/run", 1000)
    remember_count(workdir / "runs/run", 1)
    assert here(*MISSING).stdout.endswith("=1000\n")
    assert here(*MISSING, "--shards", "2").stdout == f"--array=0-1 --export=ALL,{SIZE}=2\n"
    settings.write_text(settings.read_text().replace('"trials": 300', '"trials": 3'))
    (workdir / "runs/run/shards.json").write_text("{damaged")
    assert remembered_count(workdir / "runs/run") is None
    assert here(*MISSING).stdout.endswith("=2\n")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ((*SEARCH, "--shard", "4/4"), "the first of 100 is 0/100"),
        ((*SEARCH, "--shard", "all"), "the first of 100 is 0/100"),
        ((*MISSING, "--json"), "--json and --format slurm"),
        ((*MISSING, "--shards", "0"), "--shards"),
        (("runs", "missing", "run", "--shards", "2"), "--format slurm"),
        (("runs", "missing", "run", "--format", "pbs"), "pbs"),
    ],
)
def test_wrong_options_are_one_line(here, arguments, part):
    done = here(*arguments)
    assert done.returncode == 2
    assert part in done.stderr
    assert done.stderr.count("\n") == 1
