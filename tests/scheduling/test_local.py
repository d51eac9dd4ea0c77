"""Groups of jobs in real worker processes: deaths, stops, and company."""

import collections
import multiprocessing
import os
import sqlite3
import threading

import pytest

from nas_skeleton.errors import InputError, StoppedEarly
from nas_skeleton.results import schema
from nas_skeleton.scheduling import feed, local
from nas_skeleton.scheduling.feed import Ended, Feed, Listener, Planned
from nas_skeleton.scheduling.local import LocalExecutor
from nas_skeleton.scheduling.means import Means
from nas_skeleton.scheduling.outcome import ELSEWHERE, STOPPED, Outcome
from nas_skeleton.scheduling.presence import Presence, worker_name
from nas_skeleton.scheduling.signals import Signals
from nas_skeleton.scheduling.start import start_campaign
from nas_skeleton.scheduling.worker import Worker
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
    assert failed.status == schema.FAILED
    assert failed.error == "worker died 3 times, killed by SIGKILL"
    assert {outcome.status for outcome in by_key.values()} == {schema.DONE}
    tried = (workdir / "tried").read_text().splitlines()
    assert sorted(tried) == ["1 False", "1 False", "1 True", "1 True", "3 True"]
    row = campaign.run.rows().set_index("key").loc[deadly.key]
    assert (row["status"], row["engine"]) == (schema.FAILED, "fast")


DIES_SAYING_WHY = """
from nas_skeleton.training import train
def dying(*arguments):
    print('the floor is lava', file=sys.stderr, flush=True)
    os._exit(9)
train.candidates_of = dying
"""


def test_a_failed_row_carries_the_last_lines_of_the_log(workdir, monkeypatch):
    in_workers(workdir, monkeypatch, DIES_SAYING_WHY)
    campaign = campaign_of(trials=1, side_by_side=1)
    campaign.execute(campaign.jobs, Signals(), lambda _: None)
    [row] = campaign.run.rows().to_dict("records")
    assert row["status"] == schema.FAILED
    log = max((campaign.run.folder / "logs").iterdir(), key=lambda path: path.stat().st_mtime)
    assert row["error"] == (
        f"worker died 3 times, exit code 9; its log {log.name} ends: the floor is lava"
    )


LOSES_ITS_GPU = """
import torch
from nas_skeleton.training import train
candidates_of = train.candidates_of
def failing(*arguments):
    if not os.path.exists('lost'):
        open('lost', 'w').close()
        raise torch.AcceleratorError('CUDA error: an illegal memory access was encountered')
    return candidates_of(*arguments)
train.candidates_of = failing
"""


def test_a_worker_that_lost_its_gpu_is_replaced(workdir, monkeypatch):
    in_workers(workdir, monkeypatch, LOSES_ITS_GPU)
    campaign = campaign_of(trials=3, side_by_side=1)
    outcomes = []
    campaign.execute(campaign.jobs, Signals(), outcomes.append)
    assert (workdir / "lost").exists()
    assert [outcome.status for outcome in outcomes] == [schema.DONE] * 3
    assert len(list(campaign.run.results_folder.glob("*.sqlite"))) == 1  # the first stored nothing
    text = "\n".join(path.read_text() for path in (campaign.run.folder / "logs").iterdir())
    assert "illegal memory access" in text


HAS_A_BAD_GPU = """
import torch
from nas_skeleton.training import train
candidates_of = train.candidates_of
def failing(*arguments):
    if os.environ['CUDA_VISIBLE_DEVICES'] == 'bad':
        raise torch.AcceleratorError('CUDA error: uncorrectable ECC error encountered')
    return candidates_of(*arguments)
train.candidates_of = failing
"""


def test_a_gpu_that_fails_again_and_again_is_left_alone(workdir, monkeypatch):
    in_workers(workdir, monkeypatch, HAS_A_BAD_GPU)
    campaign = campaign_of(trials=6, side_by_side=1)
    campaign.write()
    outcomes, remarks = [], []
    executor = LocalExecutor(campaign._assignment(1), campaign.run, 2, remarks.append)
    executor._gpus = ["bad", "good"]  # trained on the CPU all the same
    groups = [[job] for job in campaign.jobs]
    try:
        Feed(executor, Planned(groups), Signals(), Listener(outcomes.append), lambda _: []).run()
    finally:
        executor.close(at_once=False)
    assert [outcome.status for outcome in outcomes] == [schema.DONE] * 6
    [remark] = remarks
    assert remark.startswith("GPU bad failed 2 times in a row and is left alone: its GPU could not")


def test_a_last_gpu_that_fails_ends_the_command(workdir, monkeypatch):
    in_workers(workdir, monkeypatch, HAS_A_BAD_GPU)
    monkeypatch.setattr(local, "GIVEN_UP_AFTER", 2)
    campaign = campaign_of(trials=1, side_by_side=1)
    campaign.write()
    executor = LocalExecutor(campaign._assignment(1), campaign.run, 1)
    executor._gpus = ["bad"]
    groups = [[job] for job in campaign.jobs]
    try:
        with pytest.raises(InputError, match=r"GPU bad failed 2 times .*ECC error.*CUDA_VISIBLE"):
            Feed(executor, Planned(groups), Signals(), Listener(lambda _: None), lambda _: []).run()
    finally:
        executor.close(at_once=False)


STANDS_STILL = """
from nas_skeleton.training import train
candidates_of = train.candidates_of
def standing_still(*arguments):
    if not os.path.exists('stood'):
        open('stood', 'w').close()
        os.kill(os.getpid(), signal.SIGSTOP)
    return candidates_of(*arguments)
train.candidates_of = standing_still
"""


def test_a_worker_that_stands_still_is_ended_and_its_training_repeated(workdir, monkeypatch):
    in_workers(workdir, monkeypatch, STANDS_STILL)
    monkeypatch.setattr(feed, "HUNG_S", 8.0)
    campaign = campaign_of(trials=1, side_by_side=1)
    outcomes, remarks = [], []
    campaign.execute(
        campaign.jobs,
        Signals(),
        outcomes.append,
        remarks.append,
        forecast_s={job.key: 0.1 for job in campaign.jobs},
    )
    assert [outcome.status for outcome in outcomes] == [schema.DONE]
    hung, died = remarks
    assert hung.endswith("hung, not done after 9 s; its worker is ended")
    assert died.endswith("hung and ended")


def test_idle_workers_that_die_are_replaced(workdir):
    campaign = campaign_of(trials=2, side_by_side=1)
    campaign.write()
    executor = LocalExecutor(campaign._assignment(1), campaign.run, 1)
    try:
        for number, job in enumerate(campaign.jobs):
            executor.start(number, [job])
            events = []
            while not any(isinstance(event, Ended) for event in events):
                events += executor.wait(1.0)
            _, heard, ended = events
            assert (heard.outcome.status, ended) == (schema.DONE, Ended(number))
            [worker] = multiprocessing.active_children()
            worker.kill()
            worker.join()
    finally:
        executor.close(at_once=False)


def test_two_commands_share_a_run(workdir, monkeypatch):
    """Each trains a part, neither what the other has; both hear of all."""
    campaign = campaign_of(trials=12, side_by_side=1)
    other = campaign_of(trials=12, side_by_side=1)
    mine, theirs = [], []
    thread = threading.Thread(target=other.execute, args=(other.jobs, Signals(), theirs.append))
    thread.start()
    campaign.execute(campaign.jobs, Signals(), mine.append)
    thread.join()
    keys = sorted(job.key for job in campaign.jobs)
    assert sorted(outcome.job.key for outcome in mine) == keys
    assert sorted(outcome.job.key for outcome in theirs) == keys
    assert times_stored(campaign.run) == dict.fromkeys(keys, 1)
    assert len(list(campaign.run.results_folder.glob("*.sqlite"))) == 2


# --- a worker in this process


@pytest.fixture
def worker(workdir):
    """A worker of this process for the campaign `mine`."""
    campaign = campaign_of(trials=2, side_by_side=2)
    campaign.write()
    name = worker_name(os.getpid(), "here")
    presence = Presence.of_this_process(name, os.getpid())
    made = Worker(campaign._assignment(2), presence)
    yield campaign, made
    made.close()


def test_a_group_that_comes_up_after_the_stop_is_left_alone(worker):
    campaign, here = worker
    assert list(here.work(campaign.jobs, should_stop=lambda: True)) == [
        Outcome(job, STOPPED) for job in campaign.jobs
    ]


def test_what_was_stored_meanwhile_is_not_trained_again(worker):
    campaign, here = worker
    first, second = campaign.jobs
    [before] = here.work([first], should_stop=lambda: False)
    after = list(here.work([first, second], should_stop=lambda: False))
    assert after[0] == before
    assert times_stored(campaign.run) == {first.key: 1, second.key: 1}


def test_a_training_that_was_taken_over_is_not_stored(worker):
    campaign, here = worker
    first, second = campaign.jobs
    claim = campaign.run.folder / "claims" / first.key

    def taken(_):
        claim.write_text("somebody else")

    outcomes = list(here.work([first, second], should_stop=lambda: False, on_epoch=taken))
    assert [(o.job, o.status) for o in outcomes] == [
        (first, ELSEWHERE),
        (second, schema.DONE),
    ]
    assert times_stored(campaign.run) == {second.key: 1}
    assert claim.read_text() == "somebody else"


def test_what_a_group_finished_before_a_stop_is_stored(worker):
    campaign, here = worker
    first, second = campaign.jobs
    calls = iter(range(1000))

    def advance(jobs, after):
        start = next(calls)
        return list(here.work(jobs, should_stop=lambda: next(calls) - start > after))

    steps = 3 * 6  # epochs and batches
    assert advance([first], 12) == [Outcome(first, STOPPED)]
    ended = advance([first, second], steps - 12 + 4)  # in turn: they are not equally far
    assert [(o.job, o.status) for o in ended] == [(first, schema.DONE), (second, STOPPED)]
    assert campaign.run.settled_keys() == {first.key}
    assert not campaign.run.checkpoint_path(first.key).exists()
    assert campaign.run.checkpoint_path(second.key).exists()
    assert [path.name for path in (campaign.run.folder / "claims").iterdir()] == [".lock"]


def test_a_stop_is_told_to_who_asked_for_the_trainings(workdir):
    campaign = campaign_of(trials=1, side_by_side=1)
    signals = Signals()
    signals.received = True
    with pytest.raises(StoppedEarly):
        campaign.execute_here(campaign.jobs[0], signals, lambda _: None)
