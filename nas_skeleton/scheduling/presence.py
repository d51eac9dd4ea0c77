"""Signs of life: which workers are at a run, on this machine or on any other that sees its folder.

A worker keeps one small file, `runs/NAME/workers/WORKER.json`, and rewrites it every `BEAT_S`
seconds from a thread of its own. A worker is lost when its file is older than `LEASE_S`, and on the
machine it ran on as soon as its process is gone. Ages are told by the clock of the file system the
run lies on: computers of a cluster need not agree on the time.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path

import psutil
from pydantic import TypeAdapter, ValidationError

BEAT_S = 10.0
LEASE_S = 90.0  # a network file system may show a file as it was a minute ago
ORPHAN_S = 60.0  # how long a worker may take to save after its command is gone
ORPHANED = 4  # exit code of one that took longer: it hangs
_STAT = "/proc/{pid}/stat"  # of Linux


def new_tag() -> str:
    """The part of a worker's name that tells it from those that had its process number before."""
    return uuid.uuid4().hex[:8]


def worker_name(pid: int, tag: str) -> str:
    """A name that no other worker has, now or later: host, process and a random part."""
    return f"{socket.gethostname()}-{pid}-{tag}"


@cache
def this_machine() -> str:
    """What processes that see each other have in common: one boot of a machine, one container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}:{Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # no Linux
        return socket.gethostname()


def began(pid: int) -> float | None:
    """When a process of this machine began; None if it is gone, or a zombie.

    On Linux in ticks since the machine was started, which no change of the clock can shift.
    """
    try:
        if Path("/proc/self/stat").exists():
            # After the name, in brackets, which may contain anything: see proc(5).
            state, *numbers = Path(_STAT.format(pid=pid)).read_text().rpartition(")")[2].split()
            return None if state in "ZX" else float(numbers[18])
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except (OSError, ValueError, IndexError, psutil.NoSuchProcess):
        return None


@dataclass(frozen=True)
class Presence:
    """What a worker says of itself.

    Attributes:
        worker: its name, which its files carry too.
        host: name of its computer.
        machine: see `this_machine`.
        pid: its process.
        process_began: what tells its process from a later one of the same number, see `began`.
        command: process that started it, on the same host.
        shard: the shard it works on, such as "3/100"; empty for the whole run.
        jobs: architecture and seed of what it trains at the moment.
        epoch: how far those are.
        epochs: out of how many.
        done: trainings it has finished.
        failed: trainings that failed or diverged in its hands.
        through: what starts the workers of a command that has none itself, such as "NNI"; empty for
            a worker.
    """

    worker: str
    host: str
    machine: str
    pid: int
    process_began: float
    command: int
    shard: str = ""
    jobs: list[tuple[int, int]] = field(default_factory=list)
    epoch: int = 0
    epochs: int = 0
    done: int = 0
    failed: int = 0
    through: str = ""

    @classmethod
    def of_this_process(
        cls, worker: str, command: int, shard: str = "", through: str = ""
    ) -> Presence:
        """The presence of the process that calls, before it does anything."""
        at, pid = began(os.getpid()), os.getpid()
        assert at is not None
        where = (socket.gethostname(), this_machine(), pid)
        return cls(worker, *where, at, command, shard, through=through)

    def runs(self) -> bool:
        """False if its process is known to be gone; True also where nobody here can know."""
        if self.machine != this_machine():
            return True
        return began(self.pid) == self.process_began


@dataclass(frozen=True)
class Seen:
    """A presence as somebody else reads it.

    Attributes:
        presence: what the worker said.
        age_s: seconds since it said so.
        lives: whether it counts as being at work.
    """

    presence: Presence
    age_s: float
    lives: bool


class Beat:
    """Keeps the presence file of this process fresh until it is closed.

    A beat that cannot be written (a full disk) is left out: who misses too many is taken for lost,
    and finds out when it wants to store something.

    A process whose `parent` is gone should end by itself. If it does not, because what it trains
    hangs, this ends it: nobody else can, and as long as it beats nobody takes over.
    """

    def __init__(self, run_folder: Path, presence: Presence, parent: int | None = None) -> None:
        self._parent = parent
        self._orphan_since: float | None = None
        self._path = workers_folder(run_folder) / f"{presence.worker}.json"
        self._presence = presence
        self._changing = threading.Lock()
        self._closed = threading.Event()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._write()
        self._thread = threading.Thread(target=self._go_on, name="presence", daemon=True)
        self._thread.start()

    @property
    def presence(self) -> Presence:
        """What this process says of itself at the moment."""
        return self._presence

    def say(self, **changes: object) -> None:
        """Change what is said at the next beat."""
        self._presence = replace(self._presence, **changes)  # type: ignore[arg-type]

    def say_now(self, **changes: object) -> None:
        """Change what is said, and say it at once."""
        self.say(**changes)
        self._beat()

    def close(self) -> None:
        """Take leave: the file goes."""
        self._closed.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _go_on(self) -> None:
        while not self._closed.wait(BEAT_S):
            self._end_orphan()
            self._beat()

    def _end_orphan(self) -> None:
        if self._parent is None or os.getppid() == self._parent:
            return
        if self._orphan_since is None:
            self._orphan_since = time.monotonic()
        elif time.monotonic() - self._orphan_since > ORPHAN_S:
            os._exit(ORPHANED)

    def _beat(self) -> None:
        try:
            self._write()
        except OSError:
            with contextlib.suppress(OSError):  # a full disk lets a file's time be changed still
                os.utime(self._path)

    def _write(self) -> None:
        with self._changing:
            temporary = self._path.with_suffix(".tmp")
            temporary.write_text(json.dumps(asdict(self._presence)), encoding="utf-8")
            temporary.replace(self._path)


def workers_folder(run_folder: Path) -> Path:
    """Where the workers of a run keep their presence."""
    return run_folder / "workers"


def look(run_folder: Path, worker: str) -> Seen | None:
    """The worker called `worker`; None if it took leave or its file cannot be read."""
    return _read(workers_folder(run_folder) / f"{worker}.json", _now(run_folder))


def lives(run_folder: Path, worker: str) -> bool:
    """Whether the worker called `worker` is at work, as far as anybody can tell.

    Only one whose file is gone has certainly taken leave: a file that cannot be read, because it
    was replaced at this moment or makes no sense, speaks by its age.
    """
    if seen := look(run_folder, worker):
        return seen.lives
    path = workers_folder(run_folder) / f"{worker}.json"
    try:
        return _now(run_folder) - path.stat().st_mtime <= LEASE_S
    except FileNotFoundError:
        return False
    except OSError:
        return True


def look_around(run_folder: Path) -> Iterator[Seen]:
    """All workers of a run that have not taken leave, the lost ones too, by name."""
    now = _now(run_folder)
    for path in sorted(workers_folder(run_folder).glob("*.json")):
        if seen := _read(path, now):
            yield seen


def forget_lost(run_folder: Path) -> None:
    """Remove the files of workers that are lost."""
    for seen in look_around(run_folder):
        if not seen.lives:
            worker = seen.presence.worker
            (workers_folder(run_folder) / f"{worker}.json").unlink(missing_ok=True)


def age(run_folder: Path, path: Path) -> float:
    """Seconds since a file of the run was changed; none for a file that is gone."""
    try:
        return max(0.0, _now(run_folder) - path.stat().st_mtime)
    except FileNotFoundError:
        return 0.0


def _read(path: Path, now: float) -> Seen | None:
    try:
        with path.open(encoding="utf-8") as file:  # opened: file systems refresh the time then
            said = os.fstat(file.fileno()).st_mtime
            presence = TypeAdapter(Presence).validate_json(file.read())
    except (OSError, ValidationError, UnicodeDecodeError):
        return None
    said_plainly = (presence.worker, presence.host, presence.shard, presence.through)
    if presence.worker != path.stem or not all(text.isprintable() for text in said_plainly):
        return None
    age = max(0.0, now - said)
    return Seen(presence, age, age <= LEASE_S and presence.runs())


def _now(run_folder: Path) -> float:
    """The time by the clock of the run's file system, or of this machine where it is read-only."""
    clock = workers_folder(run_folder) / ".clock"
    try:
        clock.touch()
        return clock.stat().st_mtime
    except OSError:
        return time.time()
