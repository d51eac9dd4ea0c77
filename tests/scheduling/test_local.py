"""Groups of jobs in worker processes: deaths, stops, and what is handed out ahead."""

import collections
import multiprocessing
import os
import sqlite3
from concurrent.futures import Future

import pytest

from nas_skeleton.errors import StoppedEarly
from nas_skeleton.results import schema
from nas_skeleton.scheduling import local, worker
from nas_skeleton.scheduling.campaign import Means, start_campaign
from nas_skeleton.scheduling.signals import Signals
from nas_skeleton.scheduling.worker import Assignment, Outcome
from nas_skeleton.skeletons.store import load_dataset
from nas_skeleton.spaces import load_space

# --- worker processes that die


def campaign_of(trials, side_by_side):
    """A campaign with one worker that advances `side_by_side` candidates."""
    means = Means(1, "cpu", "fast", side_by_side, checkpoint_every_s=20.0)
    space, data = load_space("tiny"), load_dataset("synthetic")
    return start_campaign(space, data, means, seeds=[777], trials=trials, name="mine")


def in_workers(workdir, monkeypatch, program):
    """Let every worker process begin with `program`."""
    (workdir / "sitecustomize.py").write_text(
        "import os, signal, sys\nif 'spawn_main' in ' '.join(sys.orig_argv):\n"
        + "".join(f"    {line}\n" for line in program.splitlines())
    )
    monkeypatch.setenv("PYTHONPATH", str(workdir))


def times_stored(run):
    """How often each key is in the store, over all files."""
    count = collections.Counter()
    for path in run.results_folder.glob("*.sqlite"):
        with sqlite3.connect(path) as connection:
            count.update(key for (key,) in connection.execute("SELECT key FROM trainings"))
        connection.close()
    return count


DIES_AFTER_TWO_ROWS = """
from nas_skeleton.results.store import ResultWriter
append, rows = ResultWriter.append, []
def dying(*arguments):
    append(*arguments)
    rows.append(1)
    if len(rows) == 2 and not os.path.exists('died'):
        open('died', 'w').close()
        os.kill(os.getpid(), signal.SIGKILL)
ResultWriter.append = dying
"""


def test_rows_stored_before_a_worker_died_are_neither_lost_nor_trained_again(workdir, monkeypatch):
    in_workers(workdir, monkeypatch, DIES_AFTER_TWO_ROWS)
    campaign = campaign_of(trials=4, side_by_side=4)
    outcomes = []
    campaign.execute(campaign.jobs, Signals(), outcomes.append)
    assert (workdir / "died").exists()
    assert sorted(o.job.key for o in outcomes) == sorted(job.key for job in campaign.jobs)
    assert times_stored(campaign.run) == {job.key: 1 for job in campaign.jobs}
    rows = campaign.run.rows().set_index("key")
    assert set(rows["status"]) == {schema.DONE}
    for outcome in outcomes:
        row = rows.loc[outcome.job.key]
        assert outcome.status == schema.DONE
        assert outcome.valid_top1 == row["final_valid_top1"]
        assert outcome.train_time_s == row["train_time_s"]


DIES_OF_ONE_CELL = """
from nas_skeleton.spaces import load_space
from nas_skeleton.training import train
candidates_of, deadly = train.candidates_of, load_space('tiny').cell(DEADLY)
def dying(engine, problem, cells, states):
    with open('tried', 'a') as file:
        print(len(cells), deadly in cells, file=file)
    if deadly in cells:
        os.kill(os.getpid(), signal.SIGKILL)
    return candidates_of(engine, problem, cells, states)
train.candidates_of = dying
"""


def test_a_job_that_kills_its_worker_does_not_take_its_group_with_it(workdir, monkeypatch):
    campaign = campaign_of(trials=3, side_by_side=3)
    deadly = campaign.jobs[1]
    in_workers(workdir, monkeypatch, DIES_OF_ONE_CELL.replace("DEADLY", str(deadly.arch_index)))
    outcomes = []
    campaign.execute(campaign.jobs, Signals(), outcomes.append)
    by_key = {outcome.job.key: outcome for outcome in outcomes}
    assert len(outcomes) == len(by_key) == 3
    failed = by_key.pop(deadly.key)
    assert (failed.status, failed.error) == (schema.FAILED, "worker died 3 times, exit code -9")
    assert {outcome.status for outcome in by_key.values()} == {schema.DONE}
    tried = (workdir / "tried").read_text().splitlines()
    assert sorted(tried) == ["1 False", "1 False", "1 True", "1 True", "3 True"]
    row = campaign.run.rows().set_index("key").loc[deadly.key]
    assert (row["status"], row["engine"]) == (schema.FAILED, "fast")


# --- what is handed out, with a pool that does what the test says


class Pool:
    """Stands for worker processes: groups wait until the test lets them end."""

    def __init__(self):
        self.handed_out = []
        self.asked = False
        self.alive = True

    def submit(self, group):
        future = Future()
        self.handed_out.append((list(group), future))
        return future

    def ask_to_stop(self):
        self.asked = True

    def open(self):
        return [(jobs, future) for jobs, future in self.handed_out if not future.done()]


@pytest.fixture
def feed(monkeypatch):
    """`feed(jobs, side_by_side, step)` calls `step(pool, signals)` whenever the parent waits."""

    def run(groups, step, stored=lambda jobs: []):
        pool, signals, heard = Pool(), Signals(), []

        def wait(running, **_):
            step(pool, signals)
            return {future for future in running if future.done()}, set()

        monkeypatch.setattr(local, "wait", wait)
        groups = [local._Group(group) for group in groups]
        local._feed(pool, groups, local.AHEAD * 2, signals, heard.append, stored)
        return pool, heard

    return run


def done(jobs):
    return [Outcome(job, schema.DONE) for job in jobs]


def test_one_group_waits_for_each_worker_and_the_order_is_kept(feed):
    most = []

    def step(pool, _):
        most.append(len(pool.open()))
        jobs, future = pool.open()[0]
        future.set_result(done(jobs))

    groups = [[n] for n in range(9)]
    pool, heard = feed(groups, step)
    assert max(most) == 4  # two workers: two groups under way, two that wait
    assert [jobs for jobs, _ in pool.handed_out] == groups
    assert [outcome.job for outcome in heard] == list(range(9))


def test_at_a_stop_nothing_more_is_handed_out_and_what_waited_is_left(feed):
    def step(pool, signals):
        if not signals.received:
            signals.received = 1
            return
        assert pool.asked
        under_way, *waiting = pool.open()
        under_way[1].set_result([Outcome(0, schema.DONE), Outcome(1, worker.STOPPED)])
        for jobs, future in waiting:
            future.set_result([Outcome(job, worker.STOPPED) for job in jobs])

    pool, heard = feed([[0, 1], [2], [3], [4], [5], [6]], step)
    assert len(pool.handed_out) == 4
    assert [outcome.job for outcome in heard] == [0]


def test_a_pool_that_was_given_up_costs_every_group_one_attempt(feed):
    def step(pool, _):
        pool.alive = False  # no future ends any more

    pool, heard = feed([[0, 1], [2]], step)
    assert [jobs for jobs, _ in pool.handed_out] == [[0, 1], [2]] + [[0], [1], [2]] * 2
    assert [(o.job, o.status, o.error) for o in heard] == [
        (job, schema.FAILED, "worker died 3 times") for job in (0, 1, 2)
    ]


def test_what_was_stored_before_a_death_is_heard_of_once(feed):
    def step(pool, _):
        jobs, future = pool.open()[0]
        if len(jobs) > 1:
            future.set_exception(local.pebble.ProcessExpired("gone", code=-9))
        else:
            future.set_result(done(jobs))

    pool, heard = feed(
        [[0, 1, 2]], step, stored=lambda jobs: [Outcome(1, schema.DIVERGED, error="loss")]
    )
    assert [jobs for jobs, _ in pool.handed_out] == [[0, 1, 2], [0], [2]]
    assert [(o.job, o.status) for o in heard] == [(1, "diverged"), (0, "done"), (2, "done")]


# --- a worker that is asked to stop


def test_a_group_that_comes_up_after_the_stop_is_left_alone(monkeypatch):
    stop = multiprocessing.get_context("spawn").Event()
    stop.set()
    monkeypatch.setattr(worker, "_stop", stop)
    monkeypatch.setattr(worker, "_parent", os.getppid())
    outcomes = worker.work(Assignment("no such run", "fast", 2, "cpu", 20.0), [1, 2])
    assert outcomes == [Outcome(1, worker.STOPPED), Outcome(2, worker.STOPPED)]


def test_what_a_group_finished_before_a_stop_is_stored(workdir):
    campaign = campaign_of(trials=2, side_by_side=2)
    first, second = campaign.jobs
    calls = iter(range(1000))
    campaign.run.write()
    place = campaign._workplace()

    def advance(jobs, after):
        start = next(calls)
        return list(
            worker.train(
                place,
                campaign._assignment,
                jobs,
                should_stop=lambda: next(calls) - start >= after,
            )
        )

    steps = 3 * 6  # epochs and batches
    assert advance([first], 12) == [Outcome(first, worker.STOPPED)]
    ended = advance([first, second], steps - 12 + 4)  # in turn: they are not equally far
    assert [(o.job, o.status) for o in ended] == [
        (first, schema.DONE),
        (second, worker.STOPPED),
    ]
    assert campaign.run.settled_keys() == {first.key}
    assert not campaign.run.checkpoint_path(first.key).exists()
    assert campaign.run.checkpoint_path(second.key).exists()


def test_a_stop_is_told_to_who_asked_for_the_trainings(workdir):
    campaign = campaign_of(trials=1, side_by_side=1)
    signals = Signals()
    signals.received = 1
    with pytest.raises(StoppedEarly):
        campaign.execute_here(campaign.jobs[0], signals, lambda _: None)
