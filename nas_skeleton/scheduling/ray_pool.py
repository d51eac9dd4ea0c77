"""Ray: every worker is an actor, a process that Ray finds a place for in a cluster of computers.

Ray gives an actor a core or its share of a GPU, tells how it died (its process, its node, memory
that ran short), and ends the actors of a command that is gone. It repeats nothing: what follows
from a death is up to `feed`, and a new actor takes the place of the dead one. (An actor that Ray
restarts is out of reach for seconds, and whatever it is given then fails as if it had died of it.)

All nodes must have this program and see the folder of the command under the same path: cards, data
and the run, whose store, claims and checkpoints are where workers of all nodes meet.
"""

from __future__ import annotations

import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas_skeleton.errors import InputError
from nas_skeleton.results.run import Run
from nas_skeleton.scheduling import ray_cluster
from nas_skeleton.scheduling.feed import ATTEMPTS, SAVE_S, Ended, Heard
from nas_skeleton.scheduling.local import LEAVE_S, last_words, log_path, write_into
from nas_skeleton.scheduling.outcome import Outcome
from nas_skeleton.scheduling.presence import Presence, new_tag
from nas_skeleton.scheduling.worker import Assignment, Worker
from nas_skeleton.training.job import Job

ASIDE = "aside"  # threads of an actor beside the one that trains
WATCH_S = 2.0  # between two looks of an actor at its node
PATIENCE_S = 30.0  # without any actor, until the user is told


class Trainer:
    """What runs in an actor; see `local.serve`."""

    def __init__(self) -> None:
        self._stopped, self._left = threading.Event(), threading.Event()
        self._node, self._lost = os.getppid(), False  # the node's process that started this one
        self._working = threading.Lock()
        self._log = Path()
        self._worker: Worker | None = None

    def begin(self, folder: Path, logs: Path, environ: dict[str, str]) -> Path:
        """Go to the folder of the command and print into a log from now on, which is returned.

        Raises:
            InputError: this node does not see the folder, or another one of this name.
        """
        if not (folder.is_dir() and logs.is_dir()):
            raise InputError(
                f"Ray node {socket.gethostname()} does not see {logs}: all nodes need the folder "
                f"{folder} under the same path, on a file system they share"
            )
        os.chdir(folder)
        os.environ.update(environ)  # before torch is loaded
        self._log = log_path(logs, os.getpid(), new_tag())
        write_into(self._log)
        return self._log

    def live(self) -> None:
        """Run until the actor is to end: who waits for that hears of its death, idle or not.

        Ray leaves an actor alone whose node it has lost, though another one has its place by then.
        """
        while not self._left.wait(WATCH_S) and not self._lost:
            self._lost = os.getppid() != self._node
        self._stopped.set()
        if self._working.acquire(timeout=SAVE_S):
            time.sleep(WATCH_S)  # the answer of `leave` is on its way
        os._exit(0)

    def work(self, assignment: Assignment, command: int, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Train a group, see `Worker.work`."""
        if self._worker is None:
            presence = Presence.of_this_process(self._log.stem, command, assignment.shard)
            self._worker = Worker(assignment, presence)
        with self._working:
            for outcome in self._worker.work(jobs, should_stop=self._stopped.is_set):
                if not self._lost:  # else it was saved, but nobody asked for that
                    yield outcome
        if self._lost:
            os._exit(1)

    def stop(self) -> None:
        """Let a training under way write its checkpoint and end."""
        self._stopped.set()

    def leave(self) -> None:
        """Take leave."""
        if self._worker is not None:
            self._worker.close()
        if not self._log.stat().st_size:
            self._log.unlink()
        self._left.set()


@dataclass
class _Actor:
    """An actor as the command sees it.

    Attributes:
        handle: what Ray calls it by.
        life: resolves when it is dead.
        told: what it tells next: where its log is, then the outcomes of a group, or its death.
        attempt: how many in its place died before they had begun, itself included.
        log: None until it has begun.
        group: what it is at, None while it is idle.
        killed: whether it was ended because it hung.
    """

    handle: Any
    life: Any
    told: Any
    attempt: int = 1
    log: Path | None = None
    group: int | None = None
    killed: bool = False

    @property
    def free(self) -> bool:
        """Whether it could begin a group."""
        return self.log is not None and self.group is None


class RayExecutor:
    """Actors for one assignment, see `feed.Executor`.

    Args:
        assignment: what all of them do.
        run: the run they do it for.
        workers: how many actors; those with GPUs share them evenly.
        remark: hears what the user should know.

    Raises:
        InputError: Ray is not installed, or its cluster not reached or of no use.
    """

    def __init__(
        self, assignment: Assignment, run: Run, workers: int, remark: Callable[[str], None]
    ) -> None:
        self._files = tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True)
        self._ray = ray_cluster.connect(workers, assignment.device, Path(self._files.name))
        self._assignment = assignment
        self._logs = run.folder.absolute() / "logs"
        self._logs.mkdir(parents=True, exist_ok=True)
        self._remark = remark
        self._alone_since: float | None = time.monotonic()
        self._stopping = False
        places = ray_cluster.places(self._ray, assignment.device)
        if assignment.device == "cuda":
            share = 10_000 // -(-workers // places) / 10_000  # Ray's precision
            self._needs = {"num_cpus": 0, "num_gpus": share}
        else:
            self._needs = {"num_cpus": 1}
        self._actors = [self._begin() for _ in range(workers)]

    def free(self) -> int:
        """How many groups could begin now."""
        return sum(actor.free for actor in self._actors)

    def start(self, group: int, jobs: Sequence[Job]) -> None:
        """Give a group to a free actor."""
        actor = next(actor for actor in self._actors if actor.free)
        work = actor.handle.work.options(num_returns="streaming")
        actor.group, actor.told = group, work.remote(self._assignment, os.getpid(), list(jobs))

    def wait(self, timeout_s: float) -> Iterator[Heard | Ended]:
        """What happened, after waiting for something to happen.

        Raises:
            InputError: what a worker raised, as it raised it, or actors die before they begin.
        """
        told = {actor.told: actor for actor in self._actors}
        if not told:
            time.sleep(timeout_s)
            return
        self._say_if_alone()
        if self._ray.wait(list(told), timeout=timeout_s)[0]:
            for ready in self._ray.wait(list(told), num_returns=len(told), timeout=0)[0]:
                yield from self._hear(told[ready])

    def kill(self, group: int) -> None:
        """End the actor that has the group; `wait` tells of its death."""
        for actor in self._actors:
            if actor.group == group:
                actor.killed = True
                self._ray.kill(actor.handle)

    def ask_to_stop(self) -> None:
        """Let running trainings write their checkpoints and end."""
        self._stopping = True
        for actor in self._actors:
            actor.handle.stop.options(concurrency_group=ASIDE).remote()

    def close(self, *, at_once: bool) -> None:
        """End all actors: those that are at work save first, unless `at_once`."""
        self.ask_to_stop()
        leaving = [actor.handle.leave.remote() for actor in self._actors if actor.log is not None]
        if leaving and not at_once:
            self._ray.wait(leaving, num_returns=len(leaving), timeout=LEAVE_S)
        self._ray.shutdown()  # ends what is left of them
        self._files.cleanup()

    def _begin(self, attempt: int = 1) -> _Actor:
        options = {"max_restarts": 0, "max_task_retries": 0, "concurrency_groups": {ASIDE: 2}}
        handle = self._ray.remote(**self._needs, **options)(Trainer).remote()
        environ = {name: text for name, text in os.environ.items() if name[:4] == "NAS_"}
        begun = handle.begin.remote(Path.cwd(), self._logs, {**environ, "OMP_NUM_THREADS": "1"})
        life = handle.live.options(concurrency_group=ASIDE).remote()
        return _Actor(handle, life, begun, attempt)

    def _hear(self, actor: _Actor) -> Iterator[Heard | Ended]:
        group, exceptions = actor.group, self._ray.exceptions
        try:
            told = self._ray.get(actor.told if group is None else next(actor.told))
        except StopIteration:
            assert group is not None
            actor.group, actor.told = None, actor.life
            yield Ended(group)
        except exceptions.RayError as error:
            cause = getattr(error, "cause", None)  # what the actor raised itself
            if isinstance(cause, InputError | OSError):
                raise cause from None
            short = isinstance(error, exceptions.OutOfMemoryError)
            yield from self._death(actor, ray_cluster.in_short(cause or error), short)
        else:
            if group is not None:
                yield Heard(group, told)
            else:
                actor.log, actor.told = told, actor.life

    def _say_if_alone(self) -> None:
        now = time.monotonic()
        if any(actor.log for actor in self._actors):
            self._alone_since = now
        elif self._alone_since is not None and now > self._alone_since + PATIENCE_S:
            self._alone_since = None
            needs = " and ".join(f"{name}={amount:g}" for name, amount in self._needs.items())
            self._remark(f"waiting for Ray: its cluster has no room for a worker with {needs}")

    def _death(self, actor: _Actor, how: str, short: bool) -> Iterator[Ended]:
        """An actor died: another takes its place, unless memory is short for so many."""
        self._ray.kill(actor.handle)  # if only its training ended, with an unforeseen error
        self._actors.remove(actor)
        attempt = actor.attempt + 1 if actor.log is None else 1
        if attempt > ATTEMPTS:
            raise InputError(f"Ray actors die before they have begun: {how}")
        if not self._stopping and not (short and self._actors):
            self._actors.append(self._begin(attempt))
        if actor.group is not None:
            assert actor.log is not None
            text = "hung and ended" if actor.killed else how
            yield Ended(actor.group, text + last_words(actor.log), short)
