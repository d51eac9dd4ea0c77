"""The store against what happens to computers: kills, full disks, failing syncs, missing locks."""

import contextlib
import inspect
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.results import schema
from nas_skeleton.results.store import NewRows, ResultWriter, read_rows, unpack_predictions


def numbered(n):
    """Training number n, all parts of which are made of n."""
    row = {"key": str(n), "arch_index": n, "seed": 777, "status": "done", "engine": f"engine {n}"}
    return row, f'[{{"epoch": {n}}}]', {"test": np.full(3000, n % 27, dtype=np.int16)}


def check(rows):
    """All rows are whole, and numbered from 1 without a gap."""
    assert rows["arch_index"].tolist() == list(range(1, len(rows) + 1))
    for n, row in enumerate(rows.to_dict("records"), start=1):
        assert (row["key"], row["engine"]) == (str(n), f"engine {n}")
        assert row["curve"] == f'[{{"epoch": {n}}}]'
        assert set(unpack_predictions(row["test_predictions"])) == {n % 27}
        assert len(unpack_predictions(row["test_predictions"])) == 3000


@contextlib.contextmanager
def forked(work):
    """`work(tell)` in a process of its own, which ends with the block; gives what it tells."""
    heard, telling = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(heard)
            work(lambda: os.write(telling, b"."))
            code = 0
        except BaseException as error:  # what pytest would not see
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(code)
    os.close(telling)
    try:
        yield pid, heard
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
        os.close(heard)


def everything(pipe):
    """How often a process told, which is dead by now."""
    count = 0
    while told := os.read(pipe, 2**16):
        count += len(told)
    return count


def test_kill_9_at_any_moment_loses_nothing_that_was_written_and_leaves_no_half_row(tmp_path):
    rng = random.Random(1)
    life = hot = 0
    while life < 20 or hot < 5:  # else the kills did not come in the middle of anything
        life += 1
        assert life < 200
        folder = tmp_path / str(life)
        new = NewRows(folder, ["arch_index"])

        def live(tell, folder=folder):
            writer, n = ResultWriter(folder, "w"), 0
            while True:
                n += 1
                writer.append(*numbered(n))
                tell()

        with forked(live) as (pid, told):
            time.sleep(rng.uniform(0.01, 0.07))
            seen = new.read()
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            written = everything(told)
        journals = list(folder.glob("*-journal"))
        hot += any(journal.stat().st_size for journal in journals)
        rows = read_rows(folder, blobs=True)
        check(rows)
        assert written <= len(rows) <= written + 1  # the last one may not have been told any more
        seen += new.read()
        assert [row["arch_index"] for row in seen] == list(range(1, len(rows) + 1))
        if life % 4 == 0:  # and a file that can be written
            ResultWriter(folder, "w").append(*numbered(len(rows) + 1))
            check(read_rows(folder, blobs=True))


def test_two_readers_beside_a_writer_see_whole_commits_and_do_not_hold_it_up(tmp_path):
    pairs = 40

    def watch(tell):
        new, seen = NewRows(tmp_path, ["arch_index"]), 0
        while seen < 2 * pairs:
            rows = read_rows(tmp_path, blobs=True)
            check(rows)
            assert len(rows) % 2 == 0  # two trainings in every commit
            seen += len(new.read())
            assert seen >= len(rows)

    def write(tell):
        writer = ResultWriter(tmp_path, "w")
        for n in range(1, 2 * pairs, 2):
            writer.append_all([numbered(n), numbered(n + 1)])

    with forked(watch) as (first, _), forked(watch) as (second, _), forked(write) as (third, _):
        deadline, codes = time.monotonic() + 30, {}
        while len(codes) < 3 and time.monotonic() < deadline:
            for pid in {first, second, third} - codes.keys():
                if (ended := os.waitpid(pid, os.WNOHANG))[0]:
                    codes[pid] = os.waitstatus_to_exitcode(ended[1])
            time.sleep(0.01)
    assert codes == {first: 0, second: 0, third: 0}
    check(read_rows(tmp_path, blobs=True))


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a file system of 400 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    if not shutil.which("mount"):
        pytest.skip("there is no mount here")
    mounted = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_on_a_full_disk_what_was_written_stays_and_the_writer_goes_on_when_there_is_room(
    small_disk,
):
    results = small_disk / "results"
    writer, new = ResultWriter(results, "w"), NewRows(results, ["arch_index"])
    random_text = random.Random(1).randbytes  # which nothing compresses

    def append(n):
        row, curve, _ = numbered(n)
        noise = np.frombuffer(random_text(6000), dtype=np.int16)
        writer.append(row, curve, {"test": noise})

    def append_until_full():
        for n in itertools.count(1):
            append(n)
            told.append(n)

    told = []
    with pytest.raises(InputError, match=r"w\.sqlite: cannot write results: .*full.*room"):
        append_until_full()
    written = len(told)
    assert 20 < written < 70
    for _ in range(3):  # it stays full, and nothing is worse for trying
        with pytest.raises(InputError, match="full"):
            append(written + 1)
        assert read_rows(results)["arch_index"].tolist() == list(range(1, written + 1))
    assert len(new.read()) == written
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    for n in range(written + 1, written + 20):
        append(n)
    assert read_rows(results)["arch_index"].tolist() == list(range(1, written + 20))
    assert len(new.read()) == 19


APPEND = f"""
import sys
from pathlib import Path
import numpy as np
from nas_skeleton.errors import InputError
from nas_skeleton.results.store import ResultWriter, read_rows
{inspect.getsource(numbered)}
writer, failures = ResultWriter(Path(sys.argv[1]), "w"), 0
for n in range(1, int(sys.argv[2]) + 1):
    while True:
        try:
            writer.append(*numbered(n))
            break
        except InputError as error:
            failures += 1
            assert "cannot write results" in str(error), error
            found = set(read_rows(Path(sys.argv[1]))["arch_index"])
            assert set(range(1, n)) <= found <= set(range(1, n + 1)), (n, found)
            if n in found:  # it was the very last step that failed
                break
print(failures)
"""


def under_strace(folder, rows, *faults, path=None):
    """Append rows with faults injected into system calls; gives how many attempts failed.

    With `path`, only calls that concern this file fail.
    """
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    calls = ",".join(fault.partition(":")[0] for fault in faults)
    command = ["strace", "-f", "-qq", "-o", str(folder / "trace"), "-e", f"trace={calls}"]
    for fault in faults:
        command += ["-e", f"inject={fault}"]
    if path:
        command += ["-P", str(path)]
    done = subprocess.run(
        [*command, sys.executable, "-c", APPEND, str(folder / "results"), str(rows)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "ptrace" in done.stderr and not (folder / "results").exists():
        pytest.skip(f"strace may not trace here: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.parametrize("step", [3, 7])  # commits sync five times: every one of these fails
def test_a_sync_that_fails_costs_its_row_and_no_other(tmp_path, step):
    failures = under_strace(tmp_path, 15, f"fdatasync,fsync:error=EIO:when=2+{step}")
    assert failures >= 5
    rows = read_rows(tmp_path / "results", blobs=True)
    check(rows)
    assert len(rows) == 15


def test_writes_that_fail_cost_their_row_and_no_other(tmp_path):
    failures = under_strace(
        tmp_path, 15, "pwrite64:error=EIO:when=5+23", "ftruncate:error=EIO:when=3+4"
    )
    assert failures >= 5
    check(read_rows(tmp_path / "results", blobs=True))


def test_a_file_system_without_locks_will_do(tmp_path):
    path = tmp_path / "results/w.sqlite"
    assert under_strace(tmp_path, 5, "fcntl:error=ENOLCK", path=path) == 0
    assert "ENOLCK" in (tmp_path / "trace").read_text()
    rows = read_rows(tmp_path / "results", blobs=True)
    check(rows)
    assert len(rows) == 5
    assert set(rows["status"]) == {schema.DONE}
