"""Searches on a real Slurm: arrays that are requeued, cancelled, out of time, and of other sizes.

Whatever happens, every training is stored once, and the table is that of a local search.
"""

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from nas_skeleton.results.run import open_run
from nas_skeleton.results.store import NewRows

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).resolve().parents[2] / "docs/job-array.sh"
MEASURED_ANEW = ["train_time_s", "latency_ms", "peak_memory_mb", "host", "finished_at"]
TINY = ("--space", "tiny", "--dataset", "synthetic", "--trials", "24", "--run", "tiny")
# More epochs; with SLOWLY trainings of some seconds, so that things happen in the middle of one.
SLOW_RECIPE = """
[recipes.slow]
channels = 4
cells_per_stage = 1
frames = 8
epochs = 50
batch_size = 64
drop_last = false
learning_rate = 0.05
momentum = 0.9
nesterov = true
weight_decay = 5e-4
evaluate_every = 20
"""
SLOW = ("--space", "tiny", "--recipe", "slow", "--dataset", "synthetic", "--run", "slow")
SLOW += ("--checkpoint-every", "1")
# A `sitecustomize` for workers: every batch takes a while, on any machine, and no processor.
SLOWLY = """
import sys, time
from importlib.machinery import PathFinder

class SlowLoop:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != "nas_skeleton.training.loop":
            return None
        spec = PathFinder.find_spec(name, path, target)
        execute = spec.loader.exec_module

        def execute_and_slow_down(module):
            execute(module)
            after_batch = module.Loop._save_or_stop
            module.Loop._save_or_stop = lambda loop: (time.sleep(0.016), after_batch(loop))

        spec.loader.exec_module = execute_and_slow_down
        return spec

if any("spawn_main" in part for part in sys.orig_argv):
    sys.meta_path.insert(0, SlowLoop)
"""


def add_recipe(folder):
    with (folder / "search_spaces/tiny.toml").open("a") as card:
        card.write(SLOW_RECIPE)


def table(folder, name):
    """A run's rows with curves and predictions, without what is a matter of the clock."""
    with contextlib.chdir(folder):
        return open_run(name).rows(blobs=True).drop(columns=MEASURED_ANEW)


@pytest.fixture(scope="module")
def undisturbed(furnished):
    """A folder with the same two searches, undisturbed and on this machine alone."""
    folder = furnished("undisturbed")
    add_recipe(folder)
    for arguments in (TINY, (*SLOW, "--trials", "8")):
        command = [sys.executable, "-m", "nas_skeleton.search", *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    return folder


class Searches:
    """Searches as arrays of the documented job script, in one working folder."""

    def __init__(self, slurm, folder, undisturbed):
        self.slurm, self.folder, self.undisturbed = slurm, folder, undisturbed

    def submit(self, search, *options):
        """Submit the script with these options of sbatch, and give back the job's number."""
        fitting = ("--cpus-per-task=1", "--output=%A_%a.log")
        command = ("sbatch", "--parsable", *fitting, *options, str(SCRIPT), *search)
        return self.slurm(*command, cwd=self.folder)

    def log(self, job, task):
        path = self.folder / f"{job}_{task}.log"
        return path.read_text() if path.exists() else ""

    def restarts(self, task):
        return int(re.search(r"Restarts=(\d+)", self.slurm("scontrol", "show", "job", task))[1])

    def stored(self, name):
        """Keys of all rows stored so far, those of one training as often as it was stored."""
        folder = self.folder / "runs" / name / "results"
        return [row["key"] for row in NewRows(folder, ["key"]).read()]

    def begun(self, name):
        """Checkpoints of trainings that have begun and are not finished."""
        return list((self.folder / "runs" / name / "checkpoints").glob("*.pt"))

    def is_as_undisturbed(self, name):
        """Assert that every training is stored once, with the very result of a local search."""
        keys = self.stored(name)
        assert len(keys) == len(set(keys))
        expected = table(self.undisturbed, name)
        if name == "slow":  # of which some tests plan fewer
            expected = expected[expected["key"].isin(keys)].reset_index(drop=True)
        pd.testing.assert_frame_equal(table(self.folder, name), expected)
        assert self.begun(name) == []


@pytest.fixture
def searches(slurm, workdir, undisturbed, monkeypatch):
    add_recipe(workdir)
    (workdir / "slowly").mkdir()
    (workdir / "slowly/sitecustomize.py").write_text(SLOWLY)
    for environ in (os.environ, slurm.environ):
        monkeypatch.setitem(environ, "PYTHONPATH", str(workdir / "slowly"))
    return Searches(slurm, workdir, undisturbed)


def test_an_array_whose_tasks_are_requeued_and_cancelled_is_completed_by_those_that_are_missing(
    slurm, searches, here
):
    job = searches.submit(TINY, "--array=0-19")
    slurm.wait_until(lambda: len(searches.stored("tiny")) >= 4)

    def in_state(state):
        return sorted(task for task, now in slurm.states(job).items() if now == state)

    requeued, stopped, *_ = in_state("RUNNING")
    cancelled = {stopped, *in_state("PENDING")[-3:]}
    slurm("scontrol", "requeue", requeued)
    slurm("scancel", *cancelled)
    ended = slurm.wait_for_end(job)
    assert set(in_state("CANCELLED")) <= cancelled
    assert set(ended.values()) <= {"COMPLETED", "CANCELLED"}
    assert searches.restarts(requeued) == 1

    missing = here("runs", "missing", "tiny", "--format", "slurm").stdout
    assert re.fullmatch(r"--array=[\d,-]+ --export=ALL,NAS_SKELETON_SHARDS=20\n", missing)
    again = searches.submit(TINY, *missing.split())
    assert {task.split("_")[1] for task in slurm.states(again)} <= {
        task.split("_")[1] for task in cancelled
    }
    assert set(slurm.wait_for_end(again).values()) == {"COMPLETED"}
    nothing = here("runs", "missing", "tiny", "--format", "slurm").stdout
    with pytest.raises(AssertionError, match="Invalid job array specification"):
        searches.submit(TINY, *nothing.split())
    searches.is_as_undisturbed("tiny")


def test_a_task_out_of_time_goes_on_and_an_array_of_another_size_ends_what_was_cancelled(
    slurm, searches
):
    search = (*SLOW, "--trials", "8")
    # The limit is a minute, and Slurm may warn a minute early: as it looks at time limits, which it
    # does every half a minute.
    job = searches.submit(search, "--array=0-0", "--time=1", "--signal=B:USR1@55")
    slurm.wait_until(lambda: "of them begun" in searches.log(job, 0))
    log = searches.log(job, 0)  # of both times
    assert "stopped by a signal" in log
    assert log.count("Shard      0/1: 8 of 8 trainings") >= 2
    assert searches.restarts(f"{job}_0") >= 1

    slurm.wait_until(
        lambda: slurm.states(job) == {f"{job}_0": "RUNNING"} and searches.begun("slow")
    )
    slurm("scancel", job)
    assert slurm.wait_for_end(job) == {f"{job}_0": "CANCELLED"}
    assert "stopped by a signal" in searches.log(job, 0)[len(log) :]
    assert len(searches.begun("slow")) == 1

    job = searches.submit(search, "--array=1-3")
    assert set(slurm.wait_for_end(job).values()) == {"COMPLETED"}
    assert any("1 of them begun" in searches.log(job, task) for task in (1, 2, 3))
    searches.is_as_undisturbed("slow")


def test_a_lost_node_that_goes_on_working_trains_nothing_twice(slurm, searches):
    job = searches.submit((*SLOW, "--trials", "6"), "--array=0-0")
    slurm.wait_until(lambda: searches.begun("slow"))
    node = slurm("squeue", "-h", "-j", job, "-o", "%N")
    slurm.lose(node)
    try:
        survivors = set(slurm.processes("nas_skeleton.search"))
        assert survivors
        slurm.wait_until(lambda: "is also being trained by" in searches.log(job, 0))
        assert set(slurm.wait_for_end(job).values()) == {"COMPLETED"}
        assert searches.restarts(f"{job}_0") == 1
        slurm.wait_until(lambda: not survivors & set(slurm.processes()))
    finally:
        slurm.find(node)
    searches.is_as_undisturbed("slow")


def test_executor_slurm_submits_an_array_that_goes_on_when_time_runs_out(slurm, searches, here):
    search = ("search", *SLOW, "--trials", "4", "--executor", "slurm", "--shards", "3")
    search += ("--slurm", "gres=gpu:1", "--slurm", "job_name=test")
    script = here(*search, "--dry-run").stdout
    assert not slurm("squeue", "-h")
    assert not Path("runs").exists()

    submitted = here(*search)
    assert submitted.returncode == 0, submitted.stderr
    job = re.search(r"Submitted job (\d+): 3 tasks, shards of 3;", submitted.stdout)[1]
    assert Path(f"runs/slow/slurm/{job}_submission.sh").read_text() == script.rstrip("\n") + "\n"
    assert "4 missing" in here("runs", "show", "slow").stdout

    slurm.wait_until(lambda: searches.begun("slow"))
    tasks = sorted(slurm.states(job))  # all at work: there are more nodes
    slurm("scancel", "--batch", "--signal=USR2", tasks[0])  # as two minutes before the end of time
    slurm("scontrol", "requeue", tasks[1])  # as preemption does
    slurm.wait_until(lambda: searches.restarts(tasks[0]) and searches.restarts(tasks[1]))
    assert set(slurm.wait_for_end(job).values()) == {"COMPLETED"}
    assert "of them begun" in "".join(p.read_text() for p in Path("runs/slow/slurm").glob("*.out"))
    searches.is_as_undisturbed("slow")
    again = here(*search)
    assert again.returncode == 0
    assert "Nothing is missing, nothing to submit." in again.stdout
