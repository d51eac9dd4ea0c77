"""Local execution: worker processes on this machine, one per core or per GPU slot.

Every worker has pipes of its own and shares no lock and no queue with another, so that one which is
killed or stopped at any moment takes only its own group of jobs with it. (Pools that hand out work
through one queue lose its lock with the process that held it.) A worker whose parent is gone finds
its pipe closed and stops at the next batch.
"""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

from nas_skeleton.errors import InputError
from nas_skeleton.processes import ignore_signals, signals_held
from nas_skeleton.results.run import Run
from nas_skeleton.scheduling.feed import Begun, Ended, Heard
from nas_skeleton.scheduling.outcome import Outcome
from nas_skeleton.scheduling.presence import Presence, new_tag, worker_name
from nas_skeleton.scheduling.worker import Assignment, Worker
from nas_skeleton.training.job import Job

LOG_LINES, LOG_CHARACTERS = 5, 600  # of a dead worker's log, for the row of what it trained
LEAVE_S = 10.0  # how long an idle worker may take to end
DEVICE_LOST = 3  # exit code of a worker that cannot use its GPU any more
RETIRED_AFTER, GIVEN_UP_AFTER = 2, 6  # such deaths in a row: of one GPU among others, of the last
BEGUN = "begun"  # what a worker says when it is ready to train


@dataclass
class _Process:
    """A worker process as its parent sees it; `group` is what it is at, None while it is idle."""

    process: SpawnProcess
    tasks: Connection
    stop: Connection  # closing it asks the worker to stop
    log: Path
    group: int | None = None
    killed_at: float | None = None


class LocalExecutor:
    """Worker processes for one assignment, see `feed.Executor`.

    A worker is started when there is work for it, and again when it died. One whose GPU fails again
    and again is not: it would be free first every time, and spoil one training after the other.

    Args:
        assignment: what all of them do.
        run: the run they do it for.
        workers: how many.
        remark: hears what the user should know.
    """

    def __init__(
        self,
        assignment: Assignment,
        run: Run,
        workers: int,
        remark: Callable[[str], None] = lambda _: None,
    ) -> None:
        # A forked torch may hang in its thread pools, therefore processes start afresh.
        self._context = multiprocessing.get_context("spawn")
        self._assignment = assignment
        self._logs = run.folder / "logs"
        self._slots: dict[int, _Process | None] = dict.fromkeys(range(workers))
        self._lost = Counter[int]()  # by slot: how often in a row its GPU was lost
        self._remark = remark
        self._gpus = _visible_gpus() if assignment.device == "cuda" else []
        self._memory = _out_of_memory_kills()

    def free(self) -> int:
        """How many groups could begin now."""
        return sum(slot is None or slot.group is None for slot in self._slots.values())

    def start(self, group: int, jobs: Sequence[Job]) -> None:
        """Give a group to a free worker, which may have to be started first."""
        idle = [place for place, slot in self._slots.items() if slot and slot.group is None]
        empty = [place for place, slot in self._slots.items() if slot is None]
        place = next(iter(idle or sorted(empty, key=self._lost.__getitem__)))
        worker = self._slots[place] or self._begin(place)
        try:
            worker.tasks.send(list(jobs))
        except OSError:  # it died while it was idle
            self._bury(worker)
            worker = self._begin(place)
            worker.tasks.send(list(jobs))
        worker.group = group
        self._slots[place] = worker

    def wait(self, timeout_s: float) -> Iterator[Begun | Heard | Ended]:
        """What happened, after waiting for something to happen.

        Raises:
            InputError: what a worker raised, as it raised it, or no GPU can be used.
        """
        busy = {
            slot.tasks: place
            for place, slot in self._slots.items()
            if slot and slot.group is not None
        }
        if not busy:
            time.sleep(timeout_s)
            return
        for ready in connection.wait(list(busy), timeout_s):
            assert isinstance(ready, Connection)
            place = busy[ready]
            worker = self._slots[place]
            assert worker is not None
            assert worker.group is not None
            try:
                message = ready.recv()
            except (EOFError, OSError):
                yield self._death(place, worker)
                continue
            if isinstance(message, BaseException):
                raise message
            if isinstance(message, Outcome):
                yield Heard(worker.group, message)
            elif message == BEGUN:
                yield Begun(worker.group)
            else:
                self._lost[place] = 0
                number, worker.group = worker.group, None
                yield Ended(number)
        # Not even SIGKILL ends a process that waits for a broken driver or file system.
        late = time.monotonic() - LEAVE_S
        for place, slot in list(self._slots.items()):
            if slot and slot.group is not None and slot.killed_at and slot.killed_at < late:
                yield self._death(place, slot)

    def kill(self, group: int) -> None:
        """End the worker that has the group; `wait` tells of its death."""
        for worker in self._slots.values():
            if worker and worker.group == group:
                worker.killed_at = time.monotonic()
                worker.process.kill()

    def ask_to_stop(self) -> None:
        """Let running trainings write their checkpoints and end."""
        for worker in filter(None, self._slots.values()):
            worker.stop.close()

    def close(self, *, at_once: bool) -> None:
        """End all workers: those that are at work save first, unless `at_once`."""
        self.ask_to_stop()
        for worker in filter(None, self._slots.values()):
            if at_once:
                worker.process.kill()
            worker.tasks.close()
        for worker in filter(None, self._slots.values()):
            worker.process.join(LEAVE_S)
            if worker.process.is_alive():
                worker.process.kill()
            self._bury(worker)
        self._slots = dict.fromkeys(self._slots)

    def _begin(self, place: int) -> _Process:
        ours, theirs = self._context.Pipe()
        stopped, stop = self._context.Pipe(duplex=False)
        gpu = self._gpus[place % len(self._gpus)] if self._gpus else None
        self._logs.mkdir(parents=True, exist_ok=True)
        tag = new_tag()
        process = self._context.Process(
            target=serve,
            args=(self._assignment, self._logs, tag, gpu, os.getpid(), theirs, stopped),
        )
        with signals_held():
            process.start()
        theirs.close()
        stopped.close()
        assert process.pid is not None
        return _Process(process, ours, stop, log_path(self._logs, process.pid, tag))

    def _death(self, place: int, worker: _Process) -> Ended:
        """How a worker died that had a group.

        Raises:
            InputError: it was the last one with a GPU, which was lost too often.
        """
        assert worker.group is not None
        self._slots[place] = None
        self._bury(worker, keep_log=True)
        code = worker.process.exitcode
        text = _how(code) if worker.killed_at is None else "hung and ended"
        text += last_words(worker.log)
        if code == DEVICE_LOST:
            self._lose(place, text)
        before, self._memory = self._memory, _out_of_memory_kills()
        short = code == -signal.SIGKILL and worker.killed_at is None and self._memory > before
        return Ended(worker.group, text, out_of_memory=short)

    def _lose(self, place: int, how: str) -> None:
        """Note that a GPU was lost, and do without it where that happens again and again."""
        self._lost[place] += 1
        gpu = self._gpus[place % len(self._gpus)] if self._gpus else "?"
        if len(self._slots) > 1 and self._lost[place] >= RETIRED_AFTER:
            del self._slots[place]
            self._remark(
                f"GPU {gpu} failed {RETIRED_AFTER} times in a row and is left alone: {how}"
            )
        elif self._lost[place] >= GIVEN_UP_AFTER:
            raise InputError(
                f"GPU {gpu} failed {GIVEN_UP_AFTER} times in a row: {how}; use another one "
                "(CUDA_VISIBLE_DEVICES) or another --engine, and run the same command again"
            )

    def _bury(self, worker: _Process, *, keep_log: bool = False) -> None:
        worker.process.join(LEAVE_S)
        worker.tasks.close()
        worker.stop.close()
        with contextlib.suppress(OSError):
            if not keep_log and worker.log.exists() and not worker.log.stat().st_size:
                worker.log.unlink()


def serve(
    assignment: Assignment,
    logs: Path,
    tag: str,
    gpu: str | None,
    command: int,
    tasks: Connection,
    stopped: Connection,
) -> None:
    """What a worker process does: train groups as they come, until there are no more.

    Args:
        assignment: what all groups have in common.
        logs: folder of its log: what libraries print, and the last words of a crash.
        tag: of its name.
        gpu: the one to use, as CUDA_VISIBLE_DEVICES names it.
        command: process of the command it works for.
        tasks: groups come in; outcomes, None at a group's end, and errors go out.
        stopped: closed by the parent, or with it, when trainings are to be saved.
    """
    ignore_signals()
    log = log_path(logs, os.getpid(), tag)
    write_into(log)
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu  # before torch is loaded
    worker: Worker | None = None
    try:
        while True:
            jobs = tasks.recv()
            if worker is None:
                presence = Presence.of_this_process(log.stem, command, assignment.shard)
                worker = Worker(assignment, presence, parent=command)
            for outcome in worker.work(
                jobs, should_stop=stopped.poll, on_begun=lambda: tasks.send(BEGUN)
            ):
                tasks.send(outcome)
            tasks.send(None)
    except (EOFError, BrokenPipeError, ConnectionResetError):  # no more groups, or no parent
        pass
    except (InputError, OSError) as error:
        tasks.send(error)
    except Exception as error:  # its end is noticed, and its log read
        traceback.print_exc()
        sys.exit(DEVICE_LOST if _device_is_lost(error) else 1)
    finally:
        if worker is not None:
            worker.close()


def log_path(folder: Path, pid: int, tag: str) -> Path:
    """The log of a worker in the folder of logs."""
    return folder / f"{worker_name(pid, tag)}.log"


def write_into(log: Path) -> None:
    """Let this process, libraries and crashes in it, print into a log from now on."""
    with log.open("ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    faulthandler.enable()


def _device_is_lost(error: Exception) -> bool:
    """Whether the error leaves CUDA unusable in this process, so that another one must go on."""
    import torch

    return isinstance(error, torch.AcceleratorError)


def _visible_gpus() -> list[str]:
    """The GPUs this process may use, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named:
        return named.split(",")
    import torch

    return [str(index) for index in range(torch.cuda.device_count())]


def _how(code: int | None) -> str:
    """How a process ended, in words."""
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}"
    return "its GPU could not be used any more" if code == DEVICE_LOST else f"exit code {code}"


def last_words(log: Path) -> str:
    """The end of a dead worker's log on one line; empty if there is nothing in it."""
    try:
        text = log.read_bytes()[-4 * LOG_CHARACTERS :].decode("utf-8", errors="replace")
    except OSError:
        return ""
    lines = [" ".join(line.split()) for line in text.splitlines()]
    last = " | ".join(filter(None, lines[-LOG_LINES:]))[-LOG_CHARACTERS:]
    return f"; its log {log.name} ends: {last}" if last else ""


def _out_of_memory_kills() -> int:
    """How many processes Linux has ended on this machine because memory was short."""
    try:
        counters = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in counters if line.startswith("oom_kill "))
