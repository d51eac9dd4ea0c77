"""Submitting to Slurm, as far as it shows without one: options, the script, and a task's process.

What a real Slurm makes of it is in `test_slurm_cluster`.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import submitit

from nas_skeleton.cores import CORES_OF_JOB, usable_cores
from nas_skeleton.errors import InputError
from nas_skeleton.scheduling import slurm
from nas_skeleton.scheduling.shards import Shard
from nas_skeleton.scheduling.slurm import SearchTask, Submission, parameters_of

SEARCH = ("search", "--space", "tiny", "--dataset", "synthetic", "--trials", "6")
PREEMPTED = signal.Signals[f"SIG{submitit.JobEnvironment.USR_SIG}"]


@pytest.fixture
def no_slurm(monkeypatch, tmp_path):
    """A PATH without Slurm's commands."""
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.fixture
def pretend_slurm(monkeypatch, tmp_path):
    """Slurm's commands on the PATH; whoever calls one fails."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sbatch", "srun"):
        (folder / name).write_text("#!/bin/sh\necho out of order >&2\nexit 1\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_options_are_those_of_submitit_and_the_rest_goes_to_sbatch():
    options = ("partition=gpu", "time=240", "slurm_gres=gpu:1", "cpus-per-task=4", "mem=8G")
    parameters = parameters_of((*options, "reservation=us", "exclusive", "nice=5"))
    assert parameters["additional_parameters"] == {"reservation": "us", "nice": 5}
    expected = {"partition": "gpu", "time": 240, "gres": "gpu:1", "cpus_per_task": 4, "mem": "8G"}
    assert {name: parameters[name] for name in expected} == expected
    assert parameters["exclusive"] is True
    assert parameters["signal_delay_s"] == 120


def test_setup_may_be_several_lines():
    lines = parameters_of(("setup=module load python", "setup=export A=b"))["setup"]
    assert lines == ["module load python", "export A=b"]


@pytest.mark.parametrize(
    ("option", "part"),
    [
        ("=gpu", "KEY=VALUE"),
        ("", "KEY=VALUE"),
        ("--partition=gpu", "KEY=VALUE"),
        ("comment=two\nlines", "KEY=VALUE"),
        ("time=1-00:00:00", "whole number of minutes"),
        ("time", "whole number of minutes"),
        ("time=0", "whole number of minutes"),
        ("signal_delay_s=soon", "whole number of seconds"),
        ("array=0-9", "set by --executor slurm itself"),
        ("signal=USR1@5", "set by --executor slurm itself"),
        ("nodes=2", "set by --executor slurm itself"),
    ],
)
def test_wrong_options_are_one_line(option, part):
    with pytest.raises(InputError) as refused:
        parameters_of((option,))
    assert part in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.usefixtures("pretend_slurm")
def test_the_script_lets_only_the_tasks_process_hear_the_signal(tmp_path):
    shards = [Shard(index, 9) for index in (1, 4, 5)]
    parameters = parameters_of(("array_parallelism=2", "signal_delay_s=300"))
    script = Submission(tmp_path / "runs/name", ["--trials=9"], shards, parameters).script()
    for line in ("--array=0-2%2", "--signal=B:USR2@300", "--requeue", "--open-mode=append"):
        assert f"#SBATCH {line}\n" in script
    # Without `exec` the signal would end the shell, and the task with it.
    assert f"\nexec {sys.executable} -u -m submitit" in script
    assert "srun" not in script
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("no_slurm")
@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_without_slurm_it_is_one_line(here, more):
    done = here(*SEARCH, "--executor", "slurm", *more)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: --executor slurm: no sbatch and no srun on the PATH")
    assert done.stderr.count("\n") == 1
    assert not Path("runs").exists()


@pytest.mark.usefixtures("pretend_slurm")
def test_a_dry_run_prints_the_script_alone_and_writes_nothing(here):
    done = here(*SEARCH, "--executor", "slurm", "--slurm", "partition=gpu", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("#!/bin/bash\n")
    assert "#SBATCH --array=0-5%6\n" in done.stdout
    assert "#SBATCH --partition=gpu\n" in done.stdout
    assert "6 to do" in done.stderr
    assert not Path("runs").exists()


@pytest.mark.usefixtures("pretend_slurm")
@pytest.mark.parametrize("shards", ["1", "4"])
def test_what_slurm_refuses_is_one_line_and_leaves_no_litter(here, shards):
    done = here(*SEARCH, "--executor", "slurm", "--shards", shards)
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if "out of order" in line]
    assert errors == ["Error: sbatch: out of order; nothing was submitted"]
    (run,) = Path("runs").iterdir()
    assert list((run / "slurm").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--shards", "4"), "--executor slurm"),
        (("--slurm", "partition=gpu"), "--executor slurm"),
        (("--executor", "slurm", "--shard", "0/4"), "leave --shard out"),
        (("--executor", "slurm", "--shards", "0"), "--shards"),
        (("--executor", "slurm", "--slurm", "time=x"), "whole number of minutes"),
    ],
)
@pytest.mark.usefixtures("pretend_slurm")
def test_options_that_do_not_go_together_are_refused(here, arguments, part):
    done = here(*SEARCH, *arguments)
    assert done.returncode == 2
    assert part in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("environ", "cores"),
    [
        ({}, 8),
        ({"SLURM_CPUS_ON_NODE": "4"}, 4),
        ({"SLURM_CPUS_PER_TASK": "2", "SLURM_CPUS_ON_NODE": "4"}, 2),
        ({"NSLOTS": "64"}, 8),
        ({"NCPUS": "0"}, 1),
        ({"LSB_DJOB_NUMPROC": "many"}, 8),
    ],
)
def test_a_job_uses_its_own_cores_even_where_nothing_holds_it_to_them(monkeypatch, environ, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    for name in CORES_OF_JOB:
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert usable_cores() == cores


# --- a task's process


@pytest.fixture
def search(monkeypatch, tmp_path):
    """`search(script)` makes this shell script what a task runs instead of the search."""

    def install(script):
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\necho $@ > {tmp_path}/arguments\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setattr(slurm.sys, "executable", str(path))
        tasks.append(SearchTask(["--trials=6"]))
        return tasks[-1]

    tasks = []

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, PREEMPTED)}
    yield install
    for number, handler in before.items():
        signal.signal(number, handler)
    for task in tasks:  # in a job its process ends, and the zombie with it
        os.waitpid(task._search, 0)


@pytest.mark.parametrize("code", [0, 1])
def test_a_task_with_failed_trainings_has_not_failed(search, tmp_path, code):
    assert search(f"exit {code}")("3/9") == code
    said = (tmp_path / "arguments").read_text()
    assert said == "-m nas_skeleton.search --trials=6 --executor local --shard 3/9\n"


@pytest.mark.parametrize(("script", "code"), [("exit 2", 2), ("kill -9 $$", 137)])
def test_a_task_whose_search_cannot_work_has_failed(search, script, code):
    with pytest.raises(SystemExit) as ended:
        search(script)("3/9")
    assert ended.value.code == code


class Requeued(Exception):
    """What submitit's handler does, in these tests."""


def test_a_search_that_was_stopped_by_itself_is_queued_again(search):
    task = search("exit 75")

    def requeue(*_):
        raise Requeued(task.checkpoint("3/9"))

    signal.signal(PREEMPTED, requeue)
    with pytest.raises(Requeued) as requeued:
        task("3/9")
    (again,) = requeued.value.args
    assert again.function.arguments == ["--trials=6"]
    assert again.args == ("3/9",)


STOPPABLE = "trap 'exit 75' USR1; touch {folder}/ready; while :; do sleep 0.05; done"


def signal_when_ready(folder, number):
    """Send this process a signal as soon as the search has begun."""
    wait = f"while [ ! -e {folder}/ready ]; do sleep 0.02; done; kill -{number} {os.getpid()}"
    return subprocess.Popen(["/bin/sh", "-c", wait])


def test_time_that_runs_out_lets_the_search_save_before_it_is_queued_again(search, tmp_path):
    task = search(STOPPABLE.format(folder=tmp_path))

    def requeue(*_):
        task.checkpoint("3/9")
        assert task._wait() == 75
        raise Requeued

    signal.signal(PREEMPTED, requeue)
    with signal_when_ready(tmp_path, PREEMPTED), pytest.raises(Requeued):
        task("3/9")


def test_a_cancelled_task_lets_the_search_save_and_is_not_queued_again(search, tmp_path):
    task = search(STOPPABLE.format(folder=tmp_path))
    signal.signal(PREEMPTED, lambda *_: pytest.fail("queued again"))
    with signal_when_ready(tmp_path, signal.SIGTERM), pytest.raises(SystemExit) as ended:
        task("3/9")
    assert ended.value.code == 75


def test_a_tasks_process_does_not_load_torch():
    code = "import sys, nas_skeleton.scheduling.slurm; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
