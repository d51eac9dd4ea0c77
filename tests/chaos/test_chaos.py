"""The worst days of a search, all on one run. These tests go in order, each does something to it:

workers and commands are killed or stand still, the disk is full, or fails. The last one shows that
every training is there once, and the table is, bit for bit, that of a run that nothing happened to.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from pandas.testing import assert_frame_equal

pytestmark = pytest.mark.slow


def test_workers_and_commands_are_killed_at_random_moments(chaos):
    first = chaos.start()
    chaos.kill_workers(first, 11)
    orphans = chaos.kill(first)
    second = chaos.start()
    chaos.wait_until(
        lambda: chaos.ended(orphans), "workers of a killed command end by themselves", 60
    )
    chaos.kill_workers(second, 10)
    chaos.stopped = chaos.stop_at_work(second)
    orphans = chaos.kill(second) - chaos.stopped
    third = chaos.start()
    chaos.wait_until(
        lambda: chaos.ended(orphans), "workers of a killed command end by themselves", 60
    )
    chaos.kill_workers(third, 10)
    third.popen.terminate()
    assert chaos.end_of(third) == 75, third.output
    assert chaos.kills.total() >= 30 + 2
    assert chaos.stand(chaos.stopped)


def test_the_disk_is_full(chaos):
    if not chaos.run.is_mount():
        pytest.skip("mounting a small disk needs root, and a system that lets it")
    command = chaos.start(checkpoint_every=20)  # so that it is rows that find no room
    chaos.wait_for_rows(command, 4)
    ballast = chaos.run / "ballast"
    chaos.note("the disk gets full")
    chaos.wait_until(lambda: fill(ballast) or not command.runs, "the disk is full")
    chaos.wait_until(lambda: fill(ballast) and not command.runs, "the command ends")
    assert chaos.end_of(command) == 2, command.output
    assert says_why(command.output, "full", "No space left")
    again = chaos.start()
    chaos.wait_until(lambda: fill(ballast) and not again.runs, "the command ends")
    assert chaos.end_of(again) == 2, again.output
    assert says_why(again.output, "full", "No space left")
    ballast.unlink()
    chaos.note("the disk has room again")


def fill(ballast: Path) -> bool:
    """Make a file as large as it can be; True, when there is no room left."""
    with ballast.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return True


@pytest.mark.parametrize(
    ("calls", "when", "checkpoint_every"),
    [
        ("fsync,fdatasync", "1", 20),  # of the command itself
        ("fsync,fdatasync", "4", 20),  # of rows
        ("fsync,fdatasync", "3", 0),  # of checkpoints
        ("rename,renameat,renameat2", "3+", 0),
    ],
)
def test_the_disk_fails(chaos, calls, when, checkpoint_every):
    strace = ["strace", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", f"trace={calls}"]
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    if subprocess.run([*strace, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this process may not trace others")
    inject = ["-e", f"inject={calls}:error=EIO:when={when}"]
    command = chaos.start(*strace, *inject, workers=2, checkpoint_every=checkpoint_every)
    assert chaos.end_of(command) == 2, command.output
    assert says_why(command.output, "Input/output error", "disk I/O error")


def says_why(output: str, *reasons: str) -> bool:
    """Whether the last line, and no other, is an error's, for one of the reasons."""
    lines = output.strip().splitlines()
    errors = [line for line in lines if line.startswith("Error: ")]
    return errors == lines[-1:] and any(reason in errors[0] for reason in reasons)


def test_a_command_stands_still_and_another_takes_over(chaos):
    first = chaos.start(workers=1)
    chaos.new_claims(first)
    second = chaos.start(workers=3)
    company = "is also being trained by"
    chaos.wait_until(lambda: company in second.output, "they know of each other")
    chaos.new_claims(second)
    stopped = chaos.stopped | chaos.stop_at_work(first) | {first.popen.pid}
    chaos.stop({first.popen.pid})
    claimed = chaos.claims(stopped)
    assert claimed
    chaos.let_time_pass(stopped)
    assert chaos.end_of(second) == 0, second.output
    assert claimed.keys() <= chaos.settled()
    chaos.go_on(stopped)
    assert chaos.end_of(first) == 0, first.output
    chaos.wait_until(lambda: chaos.ended(chaos.stopped), "the worker without a command ends")


def test_in_the_end_every_training_is_there_once_as_if_nothing_had_happened(chaos):
    last = chaos.complete()
    assert "0 to do" in last.output
    assert not list((chaos.run / "checkpoints").glob("*.pt"))
    assert not chaos.claims()
    stored = chaos.stored()
    assert set(stored.values()) == {1}
    undisturbed = chaos.start(run="undisturbed", workers=2, checkpoint_every=20)
    assert chaos.end_of(undisturbed) == 0, undisturbed.output
    expected, found = (chaos.collected(run) for run in ("undisturbed", chaos.run.name))
    assert len(expected[0]) == chaos.trainings == len(stored)
    assert set(expected[0]["key"]) == stored.keys()
    assert set(expected[0]["status"]) == {"done"}
    for before, after in zip(expected, found, strict=True):
        assert_frame_equal(after, before, check_exact=True)
