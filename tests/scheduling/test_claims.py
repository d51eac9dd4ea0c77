"""Claims on trainings, and the signs of life that they rest on."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import filelock
import psutil
import pytest

from nas_skeleton.scheduling import claims, lock, presence
from nas_skeleton.scheduling.claims import Claims
from nas_skeleton.scheduling.presence import (
    LEASE_S,
    Beat,
    Presence,
    forget_lost,
    look,
    look_around,
    worker_name,
)


@pytest.fixture
def worker(tmp_path):
    """`worker("a")` is a worker of this process with that tag: its name, claims and beat."""
    beats = []

    def begin(tag):
        name = worker_name(os.getpid(), tag)
        beats.append(Beat(tmp_path, Presence.of_this_process(name, os.getppid())))
        return name, Claims(tmp_path, name), beats[-1]

    yield begin
    for beat in beats:
        beat.close()


def age(folder, name, seconds):
    """Let the last sign of life be some seconds older."""
    path = presence.workers_folder(folder) / f"{name}.json"
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def rewritten(folder, name, **changes):
    """Change what a worker's file says."""
    path = presence.workers_folder(folder) / f"{name}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# --- presence


def test_a_worker_is_seen_from_its_first_moment_until_it_takes_leave(tmp_path, worker):
    name, _, beat = worker("a")
    beat.say_now(jobs=[(6111, 777)], epoch=3, epochs=30)
    [seen] = look_around(tmp_path)
    assert seen.lives
    assert seen.age_s < 5
    assert seen.presence.worker == name
    assert seen.presence.jobs == [(6111, 777)]
    assert (seen.presence.epoch, seen.presence.epochs) == (3, 30)
    beat.close()
    assert list(look_around(tmp_path)) == []
    assert look(tmp_path, name) is None


def test_a_beat_goes_on_by_itself(tmp_path, worker, monkeypatch):
    monkeypatch.setattr(presence, "BEAT_S", 0.05)
    name, _, _ = worker("a")
    age(tmp_path, name, 1000)
    deadline = time.monotonic() + 10
    while (seen := look(tmp_path, name)) is None or not seen.lives:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(("silent_s", "lives"), [(LEASE_S - 5, True), (LEASE_S + 5, False)])
def test_silence_of_more_than_the_lease_is_death(tmp_path, worker, silent_s, lives):
    name, _, _ = worker("a")
    age(tmp_path, name, silent_s)
    seen = look(tmp_path, name)
    assert seen.lives is lives
    assert silent_s - 1 < seen.age_s < silent_s + 5


def test_a_dead_process_of_this_machine_is_known_at_once(tmp_path, worker):
    name, _, _ = worker("a")
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    rewritten(tmp_path, name, pid=child.pid, process_began=presence.began(child.pid))
    assert look(tmp_path, name).lives
    child.kill()
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert not look(tmp_path, name).lives  # a zombie: nobody has asked how it ended
    child.communicate()
    assert not look(tmp_path, name).lives


def test_a_process_number_that_was_given_away_again_is_no_sign_of_life(tmp_path, worker):
    name, _, _ = worker("a")
    rewritten(tmp_path, name, process_began=presence.began(os.getpid()) - 360000)
    assert not look(tmp_path, name).lives


def test_of_another_machine_only_the_age_counts(tmp_path, worker):
    name, _, _ = worker("a")
    rewritten(tmp_path, name, machine="elsewhere", pid=2**22 + 1, process_began=1.0)
    assert look(tmp_path, name).lives
    age(tmp_path, name, LEASE_S + 5)
    assert not look(tmp_path, name).lives


@pytest.mark.parametrize("content", ["", "{", "[]", '{"worker": 1}', "\xff"])
def test_a_file_that_makes_no_sense_is_nobody(tmp_path, worker, content):
    name, _, _ = worker("a")
    path = presence.workers_folder(tmp_path) / f"{name}.json"
    path.write_bytes(content.encode("latin-1"))
    assert look(tmp_path, name) is None


def test_a_file_under_another_name_is_nobody(tmp_path, worker):
    name, _, _ = worker("a")
    folder = presence.workers_folder(tmp_path)
    (folder / "somebody.json").write_text((folder / f"{name}.json").read_text())
    assert look(tmp_path, "somebody") is None


def test_only_the_lost_are_forgotten(tmp_path, worker):
    here, _, _ = worker("a")
    lost, _, _ = worker("b")
    age(tmp_path, lost, LEASE_S + 5)
    forget_lost(tmp_path)
    assert [seen.presence.worker for seen in look_around(tmp_path)] == [here]


def test_a_full_disk_does_not_end_a_beat(tmp_path, worker, monkeypatch):
    name, _, beat = worker("a")
    age(tmp_path, name, LEASE_S + 5)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(presence.Path, "write_text", full)
    beat.say_now(epoch=2)
    assert look(tmp_path, name).lives  # the file's time is new, what it says is old


# --- claims


def test_one_of_two_has_the_claim(tmp_path, worker):
    first, mine, _ = worker("a")
    _, theirs, _ = worker("b")
    assert mine.take("key") is None
    assert theirs.take("key") == first
    assert mine.take("key") is None  # it is mine already
    assert mine.held("key")
    assert not theirs.held("key")
    mine.release("key")
    assert theirs.take("key") is None
    assert not mine.held("key")


def test_a_claim_of_the_lost_is_taken_over_and_they_find_out(tmp_path, worker):
    lost, theirs, _ = worker("a")
    _, mine, _ = worker("b")
    assert theirs.take("key") is None
    age(tmp_path, lost, LEASE_S + 5)
    assert mine.take("key") is None
    assert not theirs.held("key")
    theirs.release("key")  # must not take mine away
    assert mine.held("key")


def test_a_claim_of_somebody_who_took_leave_is_free(tmp_path, worker):
    _, theirs, beat = worker("a")
    _, mine, _ = worker("b")
    assert theirs.take("key") is None
    beat.close()
    assert mine.take("key") is None


def test_a_claim_without_a_name_is_honoured_for_a_while(tmp_path, worker):
    _, mine, _ = worker("a")
    path = tmp_path / "claims" / "key"
    path.write_text("")
    assert mine.take("key") == ""
    then = path.stat().st_mtime - 60
    os.utime(path, (then, then))
    assert mine.take("key") is None


def test_a_full_disk_leaves_no_claim_behind(tmp_path, worker, monkeypatch):
    _, mine, _ = worker("a")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(claims.os, "write", full)
    with pytest.raises(OSError, match="No space"):
        mine.take("key")
    assert not (tmp_path / "claims" / "key").exists()


def test_somebody_who_stands_still_with_the_lock_stops_nobody(tmp_path, worker, monkeypatch):
    monkeypatch.setattr(lock, "LOCK_S", 0.1)
    _, mine, _ = worker("a")
    lost, theirs, _ = worker("b")
    assert mine.take("one") is None
    assert theirs.take("two") is None
    age(tmp_path, lost, LEASE_S + 5)
    with filelock.FileLock(tmp_path / "claims" / ".lock"):
        mine.release("one")
        assert mine.take("two") == lost  # not now
        assert mine.take("three") is None
    assert mine.held("one")
    assert mine.take("two") is None


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, None])
def test_without_locks_claims_are_taken_over_too(tmp_path, worker, monkeypatch, number):
    def without(_):
        raise OSError(number, "no locks") if number else NotImplementedError("no locks")

    monkeypatch.setattr(filelock.FileLock, "acquire", without)
    lost, theirs, _ = worker("a")
    _, mine, _ = worker("b")
    assert theirs.take("key") is None
    age(tmp_path, lost, LEASE_S + 5)
    assert mine.take("key") is None
    mine.release("key")
    assert theirs.take("key") is None


def test_a_file_that_cannot_be_read_right_now_is_no_leave(tmp_path, worker, monkeypatch):
    """A network file system may say ESTALE of a file that was just replaced."""
    name, theirs, _ = worker("a")
    _, mine, _ = worker("b")
    assert theirs.take("key") is None
    path = presence.workers_folder(tmp_path) / f"{name}.json"
    path.write_text("{")
    assert mine.take("key") == name
    age(tmp_path, name, LEASE_S + 5)
    assert mine.take("key") is None


ORPHAN = """
import os, sys, time
from pathlib import Path
from nas_skeleton.scheduling import presence
presence.BEAT_S, presence.ORPHAN_S = 0.05, 0.2
parent = os.getpid()
if os.fork():
    time.sleep(0.5)
    os._exit(0)
name = presence.worker_name(os.getpid(), "orphan")
presence.Beat(Path(sys.argv[1]), presence.Presence.of_this_process(name, parent), parent)
print(os.getpid(), flush=True)
time.sleep(600)  # hangs
"""


def test_a_worker_that_hangs_is_ended_when_its_command_is_gone(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", ORPHAN, str(tmp_path)], capture_output=True, text=True, timeout=60
    )  # waits for whoever has its output open: the orphan, which ends a moment after closing it
    end = time.monotonic() + 10
    while presence.began(int(done.stdout)) is not None:
        assert time.monotonic() < end
        time.sleep(0.01)
    [seen] = look_around(tmp_path)
    assert not seen.lives


def _grab(folder, keys, barrier, results):
    name = worker_name(os.getpid(), "racing")
    beat = Beat(folder, Presence.of_this_process(name, os.getppid()))
    mine = Claims(folder, name)
    barrier.wait()
    results.put([key for key in keys if mine.take(key) is None])
    barrier.wait()
    beat.close()


def test_of_many_that_grab_at_once_exactly_one_gets_each(tmp_path, worker):
    """Half of the keys are claimed by somebody lost, so that racers take over as well."""
    lost, theirs, _ = worker("a")
    keys = [f"k{i}" for i in range(60)]
    for key in keys[::2]:
        assert theirs.take(key) is None
    age(tmp_path, lost, LEASE_S + 5)
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(4), context.Queue()
    racers = [
        context.Process(target=_grab, args=(tmp_path, keys, barrier, results)) for _ in range(4)
    ]
    for racer in racers:
        racer.start()
    taken = [key for _ in racers for key in results.get(timeout=60)]
    for racer in racers:
        racer.join()
    assert sorted(taken) == sorted(keys)


def test_a_stopped_process_loses_its_claims_with_the_lease(tmp_path, worker):
    """SIGSTOP: the process is there, but nothing beats."""
    _, mine, _ = worker("a")
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    racer = context.Process(target=_grab, args=(tmp_path, ["key"], barrier, results))
    racer.start()
    barrier.wait()
    assert results.get(timeout=60) == ["key"]
    os.kill(racer.pid, signal.SIGSTOP)
    holder = worker_name(racer.pid, "racing")
    try:
        assert mine.take("key") == holder
        age(tmp_path, holder, LEASE_S + 5)
        assert mine.take("key") is None
    finally:
        racer.kill()
        racer.join()
