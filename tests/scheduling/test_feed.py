"""What the feed hands out, with workers that do what the test says."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.results import schema
from nas_skeleton.scheduling import feed as feed_module
from nas_skeleton.scheduling.feed import (
    AGAIN_S,
    ATTEMPTS,
    HOPELESS,
    HUNG_FACTOR,
    HUNG_S,
    SAVE_S,
    START_S,
    Begun,
    Ended,
    Feed,
    Heard,
    Listener,
    Planned,
)
from nas_skeleton.scheduling.outcome import ELSEWHERE, STOPPED, Outcome
from nas_skeleton.scheduling.signals import Signals


@dataclass(frozen=True)
class Job:
    """Stands for a training: the feed asks for no more of it."""

    arch_index: int
    seed: int = 777

    @property
    def key(self):
        return f"k{self.arch_index}"


class Workers:
    """Stands for worker processes: `step(workers)` says what happens whenever the parent waits."""

    def __init__(self, count, step):
        self.count = count
        self.step = step
        self.handed_out = []
        self.open = {}
        self.killed = []
        self.asked = False

    def free(self):
        return self.count - len(self.open)

    def start(self, group, jobs):
        assert self.free() > 0
        self.handed_out.append([job.arch_index for job in jobs])
        self.open[group] = jobs

    def wait(self, _timeout_s):
        yield from list(self.step(self) or ())

    def kill(self, group):
        self.killed.append(group)

    def ask_to_stop(self):
        self.asked = True

    def end(self, group, status=schema.DONE, death="", **how):
        """What a worker tells at the end of a group."""
        jobs = self.open.pop(group)
        if not death:
            for job in jobs:
                yield Heard(group, Outcome(job, status))
        yield Ended(group, death, **how)


@pytest.fixture
def clock(monkeypatch):
    """The monotonic clock: 0.2 s later at every look, or as a test says."""

    class Clock:
        now = 0.0

        def monotonic(self):
            return self.now

    ours = Clock()
    monkeypatch.setattr(feed_module, "time", ours)
    return ours


@pytest.fixture
def feed(clock):
    """`feed(groups, step)` runs a feed over groups of numbers and returns workers and listener."""

    def run(groups, step, *, workers=2, settled=(), signals=None, forecast_s=None):
        def timed(executor):
            clock.now += 0.2
            assert clock.now < 1e4, "the feed goes round in circles"
            return step(executor)

        executor = Workers(workers, timed)
        heard, remarks = [], []
        Feed(
            executor,
            Planned([Job(n) for n in group] for group in groups),
            signals or Signals(),
            Listener(heard.append, remarks.append),
            lambda jobs: [o for o in settled if o.job in jobs],
            forecast_s,
        ).run()
        return executor, heard, remarks

    return run


def oldest(workers):
    return min(workers.open)


def numbers_of(jobs):
    return [job.arch_index for job in jobs]


def numbers(outcomes):
    return [outcome.job.arch_index for outcome in outcomes]


def test_every_free_worker_gets_a_group_and_the_order_is_kept(feed):
    most = []

    def step(workers):
        most.append(len(workers.open))
        return workers.end(oldest(workers))

    workers, heard, _ = feed([[n] for n in range(9)], step)
    assert max(most) == 2
    assert workers.handed_out == [[n] for n in range(9)]
    assert numbers(heard) == list(range(9))


def test_groups_are_taken_one_by_one_as_workers_get_free(clock):
    taken = []

    def groups():
        for n in range(4):
            taken.append(n)
            yield [Job(n)]

    def step(workers):
        clock.now += 0.2
        assert len(taken) <= len(workers.handed_out)
        return workers.end(oldest(workers))

    workers = Workers(1, step)
    Feed(workers, Planned(groups()), Signals(), Listener(lambda _: None), lambda _: []).run()
    assert workers.handed_out == [[0], [1], [2], [3]]


def test_a_job_whose_worker_dies_is_tried_again_alone_and_then_failed(feed):
    def step(workers):
        group = oldest(workers)
        deadly = any(job.arch_index == 1 for job in workers.open[group])
        return workers.end(group, death="killed by SIGKILL" if deadly else "")

    workers, heard, _ = feed([[0, 1, 2], [3]], step)
    assert workers.handed_out == [[0, 1, 2], [3], [0], [1], [2], [1]]
    assert [numbers([o])[0] for o in heard if o.status == schema.DONE] == [3, 0, 2]
    [failed] = [o for o in heard if o.status == schema.FAILED]
    assert failed.job.arch_index == 1
    assert failed.unstored
    assert failed.error == f"worker died {ATTEMPTS} times, killed by SIGKILL"


def test_what_was_told_or_stored_before_a_death_is_heard_once(feed):
    def step(workers):
        group = oldest(workers)
        if len(workers.open[group]) == 1:
            return workers.end(group)
        told = Heard(group, Outcome(Job(0), schema.DONE))
        return [told, *workers.end(group, death="exit code 1")]

    stored = [Outcome(Job(0), schema.DONE), Outcome(Job(1), schema.DIVERGED, error="loss")]
    workers, heard, _ = feed([[0, 1, 2]], step, settled=stored)
    assert workers.handed_out == [[0, 1, 2], [2]]
    assert [(o.job.arch_index, o.status) for o in heard] == [
        (0, "done"),
        (1, "diverged"),
        (2, "done"),
    ]


def test_at_a_stop_nothing_more_is_handed_out_and_all_are_waited_for(feed):
    signals = Signals()

    def step(workers):
        if not signals.received:
            signals.received = True
            return ()
        assert workers.asked
        group = oldest(workers)
        return workers.end(group, STOPPED if group else schema.DONE)

    workers, heard, _ = feed([[n] for n in range(6)], step, signals=signals)
    assert workers.handed_out == [[0], [1]]
    assert numbers(heard) == [0]


def test_a_worker_that_dies_while_it_is_to_stop_is_not_replaced(feed):
    signals = Signals()

    def step(workers):
        signals.received = True
        return workers.end(oldest(workers), death="killed by SIGKILL") if workers.asked else ()

    workers, heard, _ = feed([[0], [1]], step, signals=signals)
    assert workers.handed_out == [[0], [1]]
    assert heard == []


def test_what_a_worker_leaves_undone_without_being_asked_is_handed_out_again(feed):
    def step(workers):
        group = oldest(workers)
        return workers.end(group, STOPPED if group == 0 else schema.DONE)

    workers, heard, _ = feed([[0, 1]], step)
    assert workers.handed_out == [[0, 1], [0], [1]]
    assert [(o.job.arch_index, o.status) for o in heard] == [(0, "done"), (1, "done")]


def test_a_second_ctrl_c_waits_for_nothing(feed):
    signals = Signals()

    def step(_):
        signals.at_once = signals.received
        signals.received = True

    workers, heard, _ = feed([[0], [1]], step, signals=signals)
    assert len(workers.open) == 2
    assert heard == []


def test_an_error_that_concerns_all_comes_through(feed):
    def step(_):
        raise InputError("the disk is full")

    with pytest.raises(InputError, match="full"):
        feed([[0]], step)


def test_deaths_are_counted_across_looks_at_other_commands(feed):
    """A claim of our own dead worker on another node stands for a while."""
    deaths = []

    def step(workers):
        if not workers.open:
            return ()
        group = oldest(workers)
        [job] = workers.open[group]
        if len(deaths) < len(workers.handed_out) / 2:
            deaths.append(group)
            return workers.end(group, death="its node is gone")
        del workers.open[group]
        return [Heard(group, Outcome(job, ELSEWHERE, holder="w1")), Ended(group)]

    _, heard, _ = feed([[0]], step, workers=1)
    assert len(deaths) == ATTEMPTS
    assert [outcome.status for outcome in heard] == [schema.FAILED]


def test_a_machine_on_which_nothing_works_does_not_spoil_the_plan(feed):
    failed = []

    def step(workers):
        failed.append(1)
        return workers.end(oldest(workers), death="exit code 1")

    with pytest.raises(InputError, match=f"{HOPELESS} workers died one after the other.*code 1"):
        feed([[n] for n in range(1000)], step)
    assert len(failed) == HOPELESS


# --- what hangs


def test_a_group_far_over_its_forecast_is_ended_and_tried_again(feed, clock):
    forecast_s = {"k0": 5.0, "k1": 1.0}
    limit = HUNG_FACTOR * 6 + HUNG_S
    began, looks = [], []

    def step(workers):
        group = oldest(workers)
        if len(began) < len(workers.handed_out):
            looks.append(1)
            if len(looks) % 1000:  # a worker that starts slowly does not hang
                return ()
            began.append(clock.now)
            return [Begun(group)]
        if workers.killed:
            if group in workers.killed:
                took = clock.now - began[-1]
                assert limit <= took < limit + 1
                return workers.end(group, death="hung and ended")
            return workers.end(group)
        return ()

    workers, heard, remarks = feed([[0, 1]], step, workers=1, forecast_s=forecast_s)
    assert workers.killed == [0]
    assert workers.handed_out == [[0, 1], [0], [1]]
    assert numbers(heard) == [0, 1]
    assert remarks == [
        "#0 seed 777, #1 seed 777: hung, not done after 120 s; its worker is ended",
        "a worker died at #0 seed 777, #1 seed 777: hung and ended",
    ]


def test_a_worker_that_never_begins_hangs_too(feed, clock):
    def step(workers):
        group = oldest(workers)
        if group in workers.killed:
            return workers.end(group, death="hung and ended")
        return workers.end(group) if group else ()

    workers, heard, _ = feed([[0]], step, forecast_s={"k0": 1.0})
    assert workers.killed == [0]
    assert START_S < clock.now < START_S + HUNG_FACTOR + HUNG_S + 2
    assert numbers(heard) == [0]


def test_time_in_which_the_command_itself_stood_still_is_not_counted(feed, clock):
    slept = []

    def step(workers):
        if not slept:  # Ctrl-Z, and back after a night
            slept.append(clock.now)
            clock.now += 3600
            return ()
        return workers.end(oldest(workers))

    workers, heard, _ = feed([[0]], step, forecast_s={"k0": 1.0})
    assert workers.killed == []
    assert numbers(heard) == [0]


def test_a_worker_that_does_not_save_in_time_is_ended(feed, clock):
    signals = Signals()

    def step(workers):
        signals.received = True
        if workers.killed:
            return workers.end(oldest(workers), death="hung and ended")
        return ()

    workers, heard, _ = feed([[0]], step, signals=signals)
    assert workers.killed == [0]
    assert SAVE_S <= clock.now < SAVE_S + 2
    assert heard == []


# --- memory


def test_where_memory_is_short_half_as_many_go_on(feed):
    most = []

    def step(workers):
        group = oldest(workers)
        if len(workers.open) == 4 and not most:
            return workers.end(group, death="killed by SIGKILL", out_of_memory=True)
        most.append(len(workers.open))
        return workers.end(group)

    _, heard, remarks = feed([[n] for n in range(10)], step, workers=4)
    assert sorted(numbers(heard)) == list(range(10))
    assert most[0] == 3  # those that live are not ended for it
    assert max(most[1:]) == 2
    assert remarks == [
        "a worker was killed because memory was short: going on with 2 at a time",
        "a worker died at #0 seed 777: killed by SIGKILL",
    ]


def test_who_is_killed_while_others_fill_the_memory_gets_its_turn_alone(feed):
    """Job 0 fits in only if nobody else is at work."""

    def step(workers):
        for group in list(workers.open):
            if numbers_of(workers.open[group]) != [0]:
                yield from workers.end(group)
            elif len(workers.open) > 1:
                yield from workers.end(group, death="killed by SIGKILL", out_of_memory=True)
            else:
                yield from workers.end(group)

    _, heard, _ = feed([[n] for n in range(40)], step, workers=16)
    assert {outcome.status for outcome in heard} == {schema.DONE}
    assert len(heard) == 40


# --- other commands


def test_what_others_are_at_is_left_to_them_and_looked_after_in_the_end(feed, clock):
    looks = []

    def step(workers):
        group = oldest(workers) if workers.open else None
        if group is None:
            return ()
        [job] = workers.open[group]
        if job.arch_index != 0:
            return workers.end(group)
        looks.append(clock.now)
        if len(looks) < 3:
            del workers.open[group]
            return [Heard(group, Outcome(job, ELSEWHERE, holder="w1")), Ended(group)]
        return workers.end(group)

    workers, heard, remarks = feed([[0], [1], [2]], step, workers=1)
    assert workers.handed_out == [[0], [1], [2], [0], [0]]
    assert looks[2] - looks[1] >= AGAIN_S
    assert numbers(heard) == [1, 2, 0]
    assert remarks == [
        "worker w1 of another command is at #0 seed 777: what it trains is left to it",
        "nothing left to do but what other commands are at (1): waiting for them, to take over "
        "what they do not finish",
    ]


def test_workers_that_are_not_there_yet_are_waited_for(feed):
    waited = []

    def step(workers):
        if not workers.count:
            waited.append(workers.handed_out[:])
            workers.count = len(waited) > 5
        for group in list(workers.open):
            yield from workers.end(group)

    workers, heard, _ = feed([[0], [1]], step, workers=0)
    assert waited == [[]] * 6
    assert workers.handed_out == [[0], [1]]
    assert numbers(heard) == [0, 1]


def test_a_stop_does_not_wait_for_what_others_are_at(feed):
    signals = Signals()

    def step(workers):
        if workers.open:
            group = oldest(workers)
            [job] = workers.open.pop(group)
            return [Heard(group, Outcome(job, ELSEWHERE, holder="w1")), Ended(group)]
        signals.received = True
        return ()

    _, heard, _ = feed([[0]], step, signals=signals)
    assert heard == []
