"""Slurm: the same search command as one array, a shard per task, submitted through submitit.

A task's process is submitit's, kept small: it starts the search as a child, passes on what Slurm
signals, and asks for the task to be queued again where time ran out. Slurm's own requeues (by
preemption, by a lost node) need nothing of it. What submitit writes is in `runs/NAME/slurm/`.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import submitit
from submitit.core.utils import FailedJobError, FailedSubmissionError
from submitit.helpers import DelayedSubmission

from nas_skeleton.errors import InputError
from nas_skeleton.scheduling.shards import Shard

SAVED = os.EX_TEMPFAIL  # 75: the search was stopped, and its trainings have checkpoints
FINISHED = (os.EX_OK, 1)  # 1: some trainings failed, which is no failure of the task
DEFAULTS: dict[str, Any] = {"time": 60, "signal_delay_s": 120}  # minutes, seconds
WHOLE_NUMBERS = {"time", "signal_delay_s", "array_parallelism"}  # submitit computes with these
REQUEUES = 1000  # times a task may run out of time; every time it gets a bit further
# What submitit prepares and leaves where sbatch refuses; else it gets the job's number as its name.
NOT_SUBMITTED = ("[0-9a-f]" * 32 + ".pkl", ".submission_file_*.sh")
# Set by the way a task works: one process on one node, signals to it alone, logs that continue.
OURS = {
    *("additional_parameters", "array", "error", "map_count", "nodes", "ntasks", "ntasks_per_node"),
    *("num_gpus", "open_mode", "output", "requeue", "signal", "srun_args", "stderr_to_stdout"),
    *("teardown", "use_srun", "wait", "wrap"),
}


class SearchTask:
    """The work of an array task: `python -m nas_skeleton.search` with these arguments, a shard."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self.arguments = list(arguments)
        self._search: int | None = None
        self._terminated = False

    def __call__(self, shard: str) -> int:
        """Run the search to its end and give back its exit code, if that is one of `FINISHED`."""
        command = [sys.executable, "-m", "nas_skeleton.search", *self.arguments]
        command += ["--executor", "local", "--shard", shard]
        signal.signal(signal.SIGTERM, self._terminate)  # which submitit only notes
        # Not subprocess, which waits under a lock that a signal's handler would meet locked.
        self._search = os.posix_spawn(sys.executable, command, os.environ)
        if self._terminated:  # before there was anybody to tell
            self._stop()
        code = self._wait()
        if code in FINISHED:
            return code
        if code == SAVED and not self._terminated:
            # Somebody stopped only the search: as if time had run out, see `checkpoint`.
            signal.raise_signal(signal.Signals[f"SIG{submitit.JobEnvironment.USR_SIG}"])
        sys.exit(code)

    def checkpoint(self, shard: str) -> DelayedSubmission:
        """Let the search save everything; submitit calls this when time runs out, and requeues."""
        self._stop()
        self._wait()
        return DelayedSubmission(SearchTask(self.arguments), shard)

    def _terminate(self, _number: int, _frame: FrameType | None) -> None:
        """Slurm ends the task (`scancel`, a requeue, preemption) and decides itself what next."""
        self._terminated = True
        self._stop()

    def _stop(self) -> None:
        if self._search is not None:
            os.kill(self._search, signal.SIGUSR1)

    def _wait(self) -> int:
        """The exit code of the search, whose process stays until this one ends: a zombie."""
        if self._search is None:
            return SAVED
        ended = os.waitid(os.P_PID, self._search, os.WEXITED | os.WNOWAIT)
        assert ended is not None  # it is only without WEXITED
        return ended.si_status if ended.si_code == os.CLD_EXITED else 128 + ended.si_status


class Submission:
    """An array that is to be submitted.

    Args:
        run_folder: `runs/NAME`, which all nodes must see.
        arguments: of the search command, without those about shards and executors.
        shards: one per task.
        parameters: see `parameters_of`.
    """

    def __init__(
        self,
        run_folder: Path,
        arguments: Sequence[str],
        shards: Sequence[Shard],
        parameters: dict[str, Any],
    ) -> None:
        self.folder = run_folder / "slurm"
        self._arguments = arguments
        self._shards = shards
        further = dict(parameters["additional_parameters"])
        delay = parameters["signal_delay_s"]
        # The task's process takes the place of the batch shell, to which alone B: sends the signal:
        # no other process of the task knows what to do with it.
        further["signal"] = f"B:{submitit.JobEnvironment.USR_SIG}@{delay}"
        further["requeue"] = True
        self._executor = submitit.SlurmExecutor(
            self.folder, max_num_timeout=REQUEUES, python=f"exec {shlex.quote(sys.executable)}"
        )
        named = {"job_name": run_folder.name, **parameters, "additional_parameters": further}
        self._executor.update_parameters(**named, use_srun=False)

    def script(self) -> str:
        """The text of the script that `submit` hands to sbatch."""
        # As submitit does it while it submits; it has no public way to see the script before.
        if len(self._shards) > 1:
            self._executor.parameters["map_count"] = len(self._shards)
        try:
            command = self._executor._submitit_command_str
            return self._executor._make_submission_file_text(command, "")
        finally:
            self._executor.parameters.pop("map_count", None)

    def submit(self) -> str:
        """Submit the array and give back its job number.

        Raises:
            InputError: Slurm does not take it.
        """
        task = SearchTask(self._arguments)
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # which would say the same once more
                jobs = self._executor.map_array(task, [str(shard) for shard in self._shards])
        except (FailedJobError, FailedSubmissionError) as error:
            for path in (path for what in NOT_SUBMITTED for path in self.folder.glob(what)):
                if not path.is_symlink():  # which is a submitted array's
                    path.unlink()
            said = "; ".join(str(error).replace("sbatch: error: ", "").split("\n"))
            hint = " (clusters limit the size of arrays: give fewer --shards)" * ("array" in said)
            raise InputError(f"sbatch: {said}{hint}; nothing was submitted") from None
        return str(jobs[0].job_id).partition("_")[0]


def check_slurm() -> None:
    """Nothing, if jobs can be submitted from here.

    Raises:
        InputError: they cannot.
    """
    absent = [name for name in ("sbatch", "srun") if shutil.which(name) is None]
    if absent:
        raise InputError(
            f"--executor slurm: no {' and no '.join(absent)} on the PATH: run this where jobs are "
            "submitted, on a login node of a cluster with Slurm, or use --executor local"
        )


def parameters_of(options: Sequence[str]) -> dict[str, Any]:
    """Parameters for submitit from texts "KEY=VALUE"; those not given have a default.

    Keys are those of submitit, without `slurm_`: partition, time (in minutes), gres, mem,
    cpus_per_task, array_parallelism, … Every other option of sbatch becomes one of submitit's
    `additional_parameters`. A KEY alone is a flag. `setup` may be given several times: lines of
    shell before the search.

    Raises:
        InputError: an option is no KEY=VALUE, or sets what a task needs for itself.
    """
    known = submitit.SlurmExecutor._valid_parameters()
    parameters: dict[str, Any] = dict(DEFAULTS)
    further: dict[str, Any] = {}
    for option in options:
        name, equals, text = option.partition("=")
        key = name.strip().replace("-", "_").removeprefix("slurm_")
        if re.fullmatch(r"[a-z][a-z0-9_]*", key) is None or not option.isprintable():
            raise InputError(f"--slurm {option!r}: give KEY=VALUE, such as partition=gpu")
        if key in OURS:
            raise InputError(f"--slurm {option!r}: {key} is set by --executor slurm itself")
        value: Any = (int(text) if re.fullmatch("[0-9]{1,9}", text) else text) if equals else True
        if key in WHOLE_NUMBERS and (not isinstance(value, int) or value is True or value < 1):
            unit = {"time": " of minutes", "signal_delay_s": " of seconds"}.get(key, "")
            raise InputError(f"--slurm {option!r}: {key} is a whole number{unit}")
        if key == "setup":
            parameters.setdefault("setup", []).append(text)
        elif key in known:
            parameters[key] = value
        else:
            further[key] = value
    return {**parameters, "additional_parameters": further}
