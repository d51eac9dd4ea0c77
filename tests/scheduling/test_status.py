"""How a run is getting on, from its rows and its workers' signs of life."""

from __future__ import annotations

import datetime
import os

import pandas as pd
import pytest

from nas_skeleton.results import schema
from nas_skeleton.scheduling.effort import efforts
from nas_skeleton.scheduling.means import Means
from nas_skeleton.scheduling.presence import LEASE_S, Beat, Presence, worker_name, workers_folder
from nas_skeleton.scheduling.start import start_campaign
from nas_skeleton.scheduling.status import NEEDED, run_status
from nas_skeleton.skeletons.store import load_dataset
from nas_skeleton.spaces import load_space

NOW = datetime.datetime(2026, 5, 1, 12, 0, tzinfo=datetime.UTC)


@pytest.fixture
def campaign(workdir):
    """Forty planned trainings, nothing done."""
    means = Means(1, "cpu", "fast", 1, checkpoint_every_s=20.0)
    made = start_campaign(
        load_space("tiny"), load_dataset("synthetic"), means, seeds=[777, 888], trials=20
    )
    made.write()
    return made


@pytest.fixture
def at_work(campaign):
    """`at_work(jobs)`: a worker of this process is at them."""
    beats = []

    def begin(jobs, tag="a", shard=""):
        name = worker_name(os.getpid(), tag)
        presence = Presence.of_this_process(name, os.getpid(), shard)
        beat = Beat(campaign.run.folder, presence)
        beat.say_now(jobs=[(job.arch_index, job.seed) for job in jobs])
        beats.append(beat)
        return name

    yield begin
    for beat in beats:
        beat.close()


def rows(*ended):
    """Rows of (job, status, minutes before NOW, training seconds)."""
    records = [
        (
            job.arch_index,
            job.seed,
            status,
            (NOW - datetime.timedelta(minutes=ago)).isoformat(timespec="seconds"),
            took,
        )
        for job, status, ago, took in ended
    ]
    return pd.DataFrame(records, columns=NEEDED)


def status(campaign, table):
    return run_status(campaign.run, campaign.space, table, NOW)


def test_a_run_that_has_not_begun(campaign):
    found = status(campaign, rows())
    assert found.counts() == {
        "done": 0,
        "running": 0,
        "paused": 0,
        "diverged": 0,
        "failed": 0,
        "missing": 40,
    }
    assert (found.per_hour, found.left_s, found.workers) == (None, None, [])


def test_running_is_what_living_workers_are_at_and_is_not_done(campaign, at_work):
    jobs = campaign.jobs
    at_work(jobs[:2])
    lost = at_work(jobs[2:4], tag="b")
    path = workers_folder(campaign.run.folder) / f"{lost}.json"
    then = path.stat().st_mtime - LEASE_S - 5
    os.utime(path, (then, then))
    table = rows(
        (jobs[0], schema.DONE, 1, 30.0),  # its worker has not said so yet
        (jobs[5], schema.DIVERGED, 2, None),
        (jobs[6], schema.FAILED, 3, None),
    )
    found = status(campaign, table)
    assert found.counts() == {
        "done": 1,
        "running": 1,
        "paused": 0,
        "diverged": 1,
        "failed": 1,
        "missing": 38,
    }
    assert [seen.lives for seen in found.workers] == [True, False]


def test_the_pace_is_that_of_the_last_hour_and_the_rest_follows_by_effort(campaign, at_work):
    jobs = campaign.jobs
    at_work(jobs[30:31])
    old = [(job, schema.DONE, 600, 60.0) for job in jobs[:10]]
    late = [(job, schema.DONE, 50 - 5 * i, 60.0) for i, job in enumerate(jobs[10:20])]
    found = status(campaign, rows(*old, *late))
    window_s = 51 * 60  # the first of them began 51 minutes ago
    assert found.per_hour == pytest.approx(10 * 3600 / window_s)
    effort = [sum(efforts(campaign.space, campaign.run, part)) for part in (jobs[10:20], jobs[20:])]
    assert found.left_s == pytest.approx(effort[1] / (effort[0] / window_s))


def test_a_run_that_nobody_is_at_has_a_past_pace_and_no_end(campaign):
    late = [(job, schema.DONE, 1000 + i, 60.0) for i, job in enumerate(campaign.jobs[:10])]
    found = status(campaign, rows(*late))
    assert found.per_hour == pytest.approx(10 * 3600 / (10 * 60))
    assert found.left_s is None


def test_what_is_printed_as_json_is_plain(campaign, at_work):
    name = at_work(campaign.jobs[:1], shard="3/100")
    plain = status(campaign, rows((campaign.jobs[1], schema.DONE, 1, 30.0))).as_json()
    assert plain["trainings"]["running"] == 1
    [worker] = plain["workers"]
    assert (worker["worker"], worker["shard"], worker["lives"]) == (name, "3/100", True)
    assert worker["last_sign_s"] < 10
