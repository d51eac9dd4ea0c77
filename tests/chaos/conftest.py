"""One run for the tests of this folder to maltreat, and a log of what was done to it when."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Set
from contextlib import closing
from pathlib import Path

import pandas as pd
import psutil
import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.results import schema
from nas_skeleton.results.store import NewRows
from nas_skeleton.scheduling.presence import LEASE_S, look_around

SEED = 20261120  # of all that is drawn here; what happens depends on the machine's pace too
TRAININGS = 210
RUN = "maltreated"
MEASURED_ANEW = ["train_time_s", "latency_ms", "peak_memory_mb", "host", "finished_at"]
DISK_BYTES = 32 * 2**20

# A training takes a tenth of a second or two.
CARD = """
name = "brief"
title = "short trainings"
cell = "nb201"
default_recipe = "brief"
[input]
encoding = "centred-first-frame"
[stem]
kind = "stgcn"
blocks = 1
data_norm = "coordinates"
partition = "spatial-distance"
temporal_kernel = 3
[macro]
reduction = "both"
[recipes.brief]
channels = 4
cells_per_stage = 1
frames = 8
epochs = 6
batch_size = 64
drop_last = false
learning_rate = 0.05
momentum = 0.9
nesterov = true
weight_decay = 5e-4
evaluate_every = 2
"""


class Command:
    """A `search` that was started: in a session of its own, its output in a file."""

    def __init__(self, folder: Path, name: str, arguments: list[str]) -> None:
        self.name = name
        self._printed = folder / f"{name.replace(' ', '-')}.txt"
        with self._printed.open("wb") as file:
            self.popen = subprocess.Popen(
                arguments,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """What it printed so far."""
        return self._printed.read_text(errors="replace")

    @property
    def runs(self) -> bool:
        return self.popen.poll() is None

    def workers(self) -> set[int]:
        """Its worker processes."""
        found = set()
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(self.popen.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    if "spawn_main" in " ".join(child.cmdline()):
                        found.add(child.pid)
        return found


class Chaos:
    """The run, what is done to it, and a log of that.

    Attributes:
        run: its folder.
        random: what is drawn comes from here.
        kills: how often `kill -9` met what.
        stopped: a worker that stands still, while its command is dead.
        failed: the first test that failed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run = folder / "runs" / RUN
        self.trainings = TRAININGS
        self.random = random.Random(SEED)
        self.kills = Counter[str]()
        self.stopped = set[int]()
        self.failed = ""
        self.log: list[str] = []
        self._began = time.monotonic()
        self._commands: list[Command] = []
        self._rows = NewRows(self.run / "results", ["key", "status"])
        self._settled: set[str] = set()
        self.note(f"seed {SEED}, {TRAININGS} trainings, in {folder}")

    def note(self, what: str) -> None:
        self.log.append(f"{time.monotonic() - self._began:7.2f} s  {what}")

    def wait_until(
        self, condition: Callable[[], object], what: str, timeout: float = 120.0
    ) -> None:
        """Wait until `condition()` holds; the limits are those of a very busy machine."""
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"not within {timeout:.0f} s: {what}\n{self._commands[-1].output}")
            time.sleep(0.01)

    # --- commands

    def start(
        self, *prefix: str, run: str = RUN, workers: int = 3, checkpoint_every: float = 0.04
    ) -> Command:
        """Start the command on the run."""
        options = {
            "space": "brief",
            "dataset": "synthetic",
            "trials": TRAININGS,
            "run": run,
            "workers": workers,
            "checkpoint-every": checkpoint_every,
        }
        program = [*prefix, sys.executable, "-m", "nas_skeleton.search"]
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        name = f"command {len(self._commands) + 1}"
        self.note(f"{name} starts, {len(self.settled())} done {' '.join(prefix)}")
        self._commands.append(Command(self.folder, name, program + words))
        return self._commands[-1]

    def end_of(self, command: Command, timeout: float = 240.0) -> int:
        """Wait for the command's exit code."""
        self.wait_until(lambda: not command.runs, f"{command.name} ends", timeout)
        code = command.popen.wait()
        self.note(f"{command.name} ended with {code}, {len(self.settled())} done")
        assert "Traceback" not in command.output, command.output
        return code

    def complete(self) -> Command:
        """Start the command again and again until it says that all is done; the last one."""
        while True:
            command = self.start()
            code = self.end_of(command)
            assert code in (0, 1), command.output
            if code == 0:
                return command

    def wait_for_rows(self, command: Command, count: int) -> None:
        """Wait until the command, and whatever else is at the run, stored some more rows."""
        wanted = len(self.settled()) + count
        self.wait_until(lambda: len(self.settled()) >= wanted or not command.runs, "more rows")
        assert command.runs, command.output

    def ended(self, pids: Set[int]) -> bool:
        """Whether all these processes have ended."""
        return all(_status(pid) == psutil.STATUS_ZOMBIE for pid in pids)

    def stand(self, pids: Set[int]) -> bool:
        """Whether all these processes stand still."""
        return all(_status(pid) == psutil.STATUS_STOPPED for pid in pids)

    # --- what is in the run

    def settled(self) -> set[str]:
        """Keys of the trainings that are in the store by now and did not fail."""
        with contextlib.suppress(InputError):  # one commit after the other came between
            self._settled.update(
                row["key"] for row in self._rows.read() if row["status"] != schema.FAILED
            )
        return self._settled

    def stored(self) -> Counter[str]:
        """How often each training is in the files, those that failed left out; plain SQLite."""
        found = Counter[str]()
        for path in (self.run / "results").glob("*.sqlite"):
            with closing(sqlite3.connect(path)) as file:  # rolls an unfinished commit back
                if file.execute("PRAGMA user_version").fetchone() != (0,):
                    rows = file.execute("SELECT key FROM trainings WHERE status != 'failed'")
                    found.update(key for (key,) in rows)
        return found

    def claims(self, pids: Set[int] | None = None) -> dict[str, int]:
        """Which process claims which training; of all, or of these."""
        found = {}
        for path in (self.run / "claims").glob("[!.]*"):
            with contextlib.suppress(FileNotFoundError):
                name = path.read_text()
                if name and (pids is None or _pid(name) in pids):
                    found[path.name] = _pid(name)
        return found

    def collected(self, run: str) -> list[pd.DataFrame]:
        """Table, curves and predictions of a run, without what is the clock's or the machine's."""
        program = [sys.executable, "-m", "nas_skeleton.runs", "collect", run]
        subprocess.run(program, cwd=self.folder, check=True, capture_output=True)
        return [
            pd.read_parquet(self.run.with_name(run) / f"{name}.parquet").drop(
                columns=MEASURED_ANEW, errors="ignore"
            )
            for name in ("table", "curves", "predictions")
        ]

    # --- what is done to it

    def kill_workers(self, command: Command, count: int) -> None:
        """`kill -9` for workers of the command, at random moments of their lives.

        Some come after some time, whatever a worker is at, some soon after one took up a training,
        some right after a row was stored. None waits for more than four rows, so that a fast
        machine is not done before all kills are.
        """
        for _ in range(count):
            kind = self.random.choice(["time", "claim", "row"])
            rows = len(self.settled()) + self.random.randint(1, 4)
            pause = self.random.uniform(0, {"time": 1.0, "claim": 0.15, "row": 0.0}[kind])
            preferred = self.new_claims(command, rows) if kind == "claim" else set()
            moment = time.monotonic() + pause
            while len(self.settled()) < rows and (kind == "row" or time.monotonic() < moment):
                assert command.runs, command.output
                time.sleep(0.005)
            self.wait_until(lambda: command.workers() or not command.runs, "there is a worker")
            alive = command.workers()
            assert alive, command.output
            victim = self.random.choice(sorted(preferred & alive or alive))
            said = self.at_work().get(victim)
            phase = "starts" if said is None else "trains" if said else "is between trainings"
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
                self.kills[f"{phase} ({kind})"] += 1
                self.note(f"kill -9 worker {victim}, which {phase} {said or ''} ({kind})")

    def kill(self, command: Command) -> set[int]:
        """`kill -9` for the command; its workers, which are on their own now."""
        workers = command.workers()
        command.popen.kill()
        command.popen.wait()
        self.kills["command"] += 1
        self.note(f"kill -9 {command.name}, {len(self.settled())} done")
        return workers

    def new_claims(self, command: Command, rows: int = 2**62) -> set[int]:
        """The workers of the command that take up a training next; none after so many rows."""
        before = set(self.claims(command.workers()).items())
        new: set[tuple[str, int]] = set()
        while not new and len(self.settled()) < rows:
            assert command.runs, command.output
            new = set(self.claims(command.workers()).items()) - before
            time.sleep(0.001)
        return {pid for _, pid in new}

    def stop(self, pids: Set[int]) -> None:
        """SIGSTOP for these processes."""
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        self.wait_until(lambda: self.stand(pids), "they stand still")
        self.note(f"SIGSTOP {sorted(pids)} with {', '.join(self.claims(pids)) or 'nothing'}")

    def go_on(self, pids: Set[int]) -> None:
        """SIGCONT for these processes."""
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        self.note(f"SIGCONT {sorted(pids)}")

    def stop_at_work(self, command: Command) -> set[int]:
        """SIGSTOP for a worker that has just begun a training."""
        while True:
            worker = {min(self.new_claims(command))}
            self.stop(worker)
            if self.claims(worker):
                return worker
            self.go_on(worker)

    def at_work(self) -> dict[int, str]:
        """By process, what the workers of the run say they are at; empty between trainings."""
        return {
            seen.presence.pid: ", ".join(f"#{arch}" for arch, _ in seen.presence.jobs)
            for seen in look_around(self.run)
        }

    def let_time_pass(self, pids: Set[int]) -> None:
        """As if those workers, which stand still, had done so for longer than the lease."""
        for path in (self.run / "workers").glob("*.json"):
            if _pid(path.stem) in pids:
                then = path.stat().st_mtime - LEASE_S - 10
                os.utime(path, (then, then))

    def end(self) -> None:
        """End everything that was started."""
        for command in self._commands:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(command.popen.pid, signal.SIGKILL)  # orphans too
            command.popen.wait()


def _pid(worker: str) -> int:
    return int(worker.rsplit("-", 2)[1])


def _status(pid: int) -> str:
    """Of a process; one that has ended is a zombie, whether somebody asked how it ended or not."""
    try:
        return psutil.Process(pid).status()
    except psutil.NoSuchProcess:
        return psutil.STATUS_ZOMBIE


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, prepared_synthetic: Path) -> Iterator[Chaos]:
    """A working folder with a run that nothing was done to yet, on a small disk if possible."""
    folder = tmp_path_factory.mktemp("chaos")
    shutil.copytree(prepared_synthetic, folder / "datasets" / "synthetic" / "prepared")
    (folder / "search_spaces").mkdir()
    (folder / "search_spaces" / "brief.toml").write_text(CARD)
    scene = Chaos(folder)
    scene.run.mkdir(parents=True)
    disk = ["-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(scene.run)]
    if shutil.which("mount") is not None:
        subprocess.run(["mount", *disk], capture_output=True, check=False)  # root may
    try:
        yield scene
    finally:
        scene.end()
        if scene.failed:
            shutil.copytree(scene.run, folder / "as-it-was")
        if scene.run.is_mount():
            subprocess.run(["umount", "--lazy", scene.run], check=True)


@pytest.fixture
def chaos(scene: Chaos, request: pytest.FixtureRequest) -> Chaos:
    """The run as the tests before left it."""
    if scene.failed:
        pytest.skip(f"{scene.failed} failed")
    scene.note(f"--- {request.node.name}")
    return scene


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what was done before a failure, in the tests before too."""
    report = yield
    scene = getattr(item, "funcargs", {}).get("scene")
    if report.failed and isinstance(scene, Chaos):
        scene.failed = scene.failed or item.name
        report.sections.append(("what was done", "\n".join(scene.log)))
    return report
