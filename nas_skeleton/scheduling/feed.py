"""Keeps workers busy until every job has ended, whatever becomes of workers.

The policy that all executors share: a job whose worker died is tried again, alone, a bounded number
of times; a worker that needs far longer than its forecast counts as hung and is ended; where the
machine ran out of memory fewer workers go on; what other commands are at is looked after again.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from nas_skeleton.errors import InputError
from nas_skeleton.results.schema import FAILED
from nas_skeleton.scheduling.outcome import ELSEWHERE, STOPPED, Outcome
from nas_skeleton.scheduling.signals import Signals
from nas_skeleton.training.job import Job

ATTEMPTS = 3  # how often a job whose worker died is tried in all
POLL_S = 0.2
HUNG_FACTOR, HUNG_S = 10.0, 60.0  # a group may take so many times its forecast, and this on top
START_S = 600.0  # what a worker may take to load PyTorch and the data, from a slow disk too
HOPELESS = 10 * ATTEMPTS  # deaths without a training that ended: time to give up
SAVE_S = 60.0  # how long a worker that was asked to stop may take to write its checkpoints
AGAIN_S = 3.0  # between two looks at what other commands are at


@dataclass(frozen=True)
class Ended:
    """A group is out of its worker's hands.

    Attributes:
        group: the number `Executor.start` was given.
        death: empty, or how its worker died with it.
        out_of_memory: whether the system ended the worker because memory was short.
    """

    group: int
    death: str = ""
    out_of_memory: bool = False


@dataclass(frozen=True)
class Begun:
    """A worker has loaded what it needs and begins to train its group."""

    group: int


@dataclass(frozen=True)
class Heard:
    """An outcome that a worker told while its group goes on."""

    group: int
    outcome: Outcome


class Source(Protocol):
    """Where groups of jobs come from."""

    def next(self) -> Sequence[Job] | None:
        """The next group; None if there is none now."""

    def exhausted(self) -> bool:
        """Whether there will be none any more."""

    def hear(self, outcome: Outcome) -> None:
        """Learn what became of a job, before anybody else does."""


class Planned:
    """Groups that are known from the beginning, in their order."""

    def __init__(self, groups: Iterable[Sequence[Job]]) -> None:
        self._groups = iter(groups)
        self._exhausted = False

    def next(self) -> Sequence[Job] | None:
        group = next(self._groups, None)
        self._exhausted = group is None
        return group

    def exhausted(self) -> bool:
        return self._exhausted

    def hear(self, outcome: Outcome) -> None:
        """Nothing changes."""


class Executor(Protocol):
    """Workers that train groups of jobs, each in a process of its own."""

    def free(self) -> int:
        """How many groups could begin now; for a while it may be none, even of none at work."""

    def start(self, group: int, jobs: Sequence[Job]) -> None:
        """Give a group to a free worker."""

    def wait(self, timeout_s: float) -> Iterable[Begun | Heard | Ended]:
        """What happened, after waiting for something to happen.

        Raises:
            InputError: what a worker raised, as it raised it.
        """

    def kill(self, group: int) -> None:
        """End the worker that has the group, at once; `wait` tells of its death."""

    def ask_to_stop(self) -> None:
        """Let running trainings write their checkpoints and end."""

    def close(self, *, at_once: bool) -> None:
        """End all workers."""


@dataclass
class _Group:
    """Jobs handed out together.

    Attributes:
        jobs: those without an outcome so far, by key.
        limit_s: seconds after which they count as hung, if there is a limit.
        deadline: when that is, by the monotonic clock.
    """

    jobs: dict[str, Job]
    limit_s: float | None = None
    deadline: float | None = None


@dataclass
class Listener:
    """Who hears what happens."""

    outcome: Callable[[Outcome], None]
    remark: Callable[[str], None] = field(default=lambda _: None)


class Feed:
    """Hands out groups of jobs and hears what becomes of them.

    Args:
        executor: the workers.
        source: the jobs in groups, which are taken one by one as workers get free.
        signals: asks to stop.
        listener: hears of every job as it ends, and of what a person should know.
        settled: the outcomes of those of some jobs that are in the store: what a worker finished
            before it died is neither lost nor trained again.
        forecast_s: predicted seconds of a training by its job's key; without it nothing counts as
            hung.
    """

    def __init__(
        self,
        executor: Executor,
        source: Source,
        signals: Signals,
        listener: Listener,
        settled: Callable[[Sequence[Job]], list[Outcome]],
        forecast_s: Mapping[str, float] | None = None,
    ) -> None:
        self._executor = executor
        self._source = source
        self._again: deque[_Group] = deque()
        self._running: dict[int, _Group] = {}
        self._elsewhere: dict[str, Job] = {}
        self._deaths: Counter[str] = Counter()  # of workers, by the key of what they trained
        self._deaths_in_a_row = 0
        self._said_waiting = False
        self._told: set[str] = set()  # holders that a remark named
        self._look_again = 0.0
        self._most: int | None = None  # how many groups may run together, once memory was short
        self._numbers = iter(range(2**62))
        self._signals = signals
        self._listener = listener
        self._settled = settled
        self._forecast_s = forecast_s
        self._stopping = False
        self._looked = time.monotonic()

    def run(self) -> None:
        """Return when all jobs have ended, or when a signal came and all workers have saved."""
        while not self._signals.at_once:
            if self._signals.received:
                self._ask_to_stop()
            else:
                self._hand_out()
            if not self._running and (self._stopping or self._nothing_left()):
                return
            for event in self._executor.wait(POLL_S):
                if isinstance(event, Heard):
                    self._hear(self._running[event.group], event.outcome)
                elif isinstance(event, Begun):
                    self._begin(self._running[event.group])
                else:
                    self._end(event)
            self._end_hung()

    def _hand_out(self) -> None:
        while self._executor.free() and not (
            self._most is not None and len(self._running) >= self._most
        ):
            group = self._next()
            if group is None:
                return
            if self._forecast_s is not None:
                expected = sum(self._forecast_s.get(key, 0.0) for key in group.jobs)
                group.limit_s = HUNG_FACTOR * expected + HUNG_S
                group.deadline = time.monotonic() + START_S + group.limit_s
            number = next(self._numbers)
            self._running[number] = group
            self._executor.start(number, list(group.jobs.values()))

    def _next(self) -> _Group | None:
        if self._again:
            return self._again.popleft()
        if jobs := self._source.next():
            return _Group({job.key: job for job in jobs})
        if not self._elsewhere or time.monotonic() < self._look_again:
            return None
        if not self._running and not self._said_waiting and self._source.exhausted():
            self._said_waiting = True
            self._listener.remark(
                f"nothing left to do but what other commands are at ({len(self._elsewhere)}): "
                "waiting for them, to take over what they do not finish"
            )
        self._look_again = time.monotonic() + AGAIN_S
        self._again.extend(_Group({key: job}) for key, job in self._elsewhere.items())
        self._elsewhere.clear()
        return self._again.popleft()

    def _nothing_left(self) -> bool:
        # Asked, not concluded from idle workers: it may take a while until the first one is free.
        return self._source.exhausted() and not self._again and not self._elsewhere

    def _begin(self, group: _Group) -> None:
        if group.limit_s is not None and not self._stopping:
            group.deadline = time.monotonic() + group.limit_s

    def _hear(self, group: _Group, outcome: Outcome) -> None:
        if outcome.status == STOPPED:  # asked to or not: `_end` knows what is left
            return
        group.jobs.pop(outcome.job.key, None)
        if outcome.status == ELSEWHERE:
            self._elsewhere[outcome.job.key] = outcome.job
            name = _name(outcome.job)
            if not outcome.holder:
                self._listener.remark(f"{name}: another command has taken it over meanwhile")
            elif outcome.holder not in self._told:
                self._told.add(outcome.holder)
                self._listener.remark(
                    f"worker {outcome.holder} of another command is at {name}: what it trains is "
                    "left to it"
                )
        else:
            self._deaths_in_a_row = 0
            self._tell(outcome)

    def _tell(self, outcome: Outcome) -> None:
        self._source.hear(outcome)
        self._listener.outcome(outcome)

    def _end(self, event: Ended) -> None:
        group = self._running.pop(event.group)
        if not group.jobs or (self._stopping and not event.death):
            return
        if event.out_of_memory:
            self._most = max(1, (len(self._running) + 1) // 2)
            self._listener.remark(
                f"a worker was killed because memory was short: going on with {self._most} at a "
                "time"
            )
        for outcome in self._settled(list(group.jobs.values())):
            self._hear(group, outcome)
        if self._stopping:
            return
        self._deaths_in_a_row += 1
        # Who is killed while others fill the memory may well fit in alone.
        counts = not (event.out_of_memory and self._running)
        if group.jobs:
            names = ", ".join(map(_name, group.jobs.values()))
            self._listener.remark(f"a worker died at {names}: {event.death or 'it left it undone'}")
        for key, job in group.jobs.items():
            self._deaths[key] += counts
            if self._deaths[key] < ATTEMPTS:  # alone, so that it takes no other with it again
                self._again.append(_Group({key: job}))
            else:
                how = event.death or "the last one left it undone"
                text = f"worker died {self._deaths[key]} times, {how}"
                self._tell(Outcome(job, FAILED, error=text, unstored=True))
        if self._deaths_in_a_row >= HOPELESS:
            raise InputError(
                f"{HOPELESS} workers died one after the other, the last one: {event.death}; "
                "something is wrong with this machine, or with the program on it: mend it and run "
                "the same command again"
            )

    def _ask_to_stop(self) -> None:
        if self._stopping:
            return
        self._stopping = True
        self._executor.ask_to_stop()
        for group in self._running.values():
            group.limit_s, group.deadline = SAVE_S, time.monotonic() + SAVE_S

    def _end_hung(self) -> None:
        """End workers whose time is up; time in which this process itself stood still is none."""
        now = time.monotonic()
        stood_still, self._looked = now - self._looked, now
        for number, group in list(self._running.items()):
            if group.deadline is None or group.limit_s is None:
                continue
            if stood_still > HUNG_S / 2:
                group.deadline += stood_still
            if now > group.deadline:
                names = ", ".join(map(_name, group.jobs.values()))
                self._listener.remark(
                    f"{names}: hung, not done after {group.limit_s:.0f} s; its worker is ended"
                )
                group.deadline = None
                self._executor.kill(number)


def _name(job: Job) -> str:
    return f"#{job.arch_index} seed {job.seed}"
