"""The main command as its user meets it: start, continue, kill, stop, and what it says."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pandas as pd
import pytest

from nas_skeleton.results import schema
from nas_skeleton.results.run import open_run
from nas_skeleton.scheduling.means import choose_means
from nas_skeleton.scheduling.signals import Signals
from nas_skeleton.scheduling.start import start_campaign
from nas_skeleton.skeletons.store import load_dataset
from nas_skeleton.spaces import load_space

SEARCH = ("--space", "tiny", "--dataset", "synthetic", "--seed", "777", "--trials", "6")
NAME = "tiny_synthetic_thesis_tiny_random_777"
MEASURED_ANEW = ["train_time_s", "latency_ms", "peak_memory_mb", "host", "finished_at"]


def table(name=NAME):
    """A run's rows with curves and predictions, without what is a matter of the clock."""
    return open_run(name).rows(blobs=True).drop(columns=MEASURED_ANEW)


@contextmanager
def started(workdir, *arguments):
    """The search as a process of its own, in a group of its own, killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "nas_skeleton.search", *arguments],
        cwd=workdir,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with_group = Path(f"/proc/{process.pid}").exists()
        if with_group and process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


@pytest.fixture
def finished(workdir, searched):
    """What the command `SEARCH` printed; its run is in the working folder, complete."""
    runs, done = searched
    shutil.copytree(runs, workdir / "runs")
    return done


def undisturbed(trials):
    """The table of such a search when nothing happens to it, trained one by one right here."""
    campaign = start_campaign(
        load_space("tiny"),
        load_dataset("synthetic"),
        choose_means("auto", "1"),
        seeds=[777],
        trials=trials,
        name="undisturbed",
    )
    for job in campaign.jobs:
        campaign.execute_here(job, Signals(), lambda _: None)
    return table("undisturbed")


def lengthen(workdir, epochs):
    """Make trainings take longer than the three epochs they have."""
    card = workdir / "search_spaces/tiny.toml"
    card.write_text(card.read_text().replace("epochs = 3", f"epochs = {epochs}"))


def wait_for_rows(process, count, name=NAME, timeout=120.0):
    """Wait until at least `count` rows are stored."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        assert process.poll() is None, process.stdout.read()
        try:
            if len(open_run(name).rows()) >= count:
                return
        except Exception:  # the run is not there yet
            pass
        time.sleep(0.02)
    pytest.fail(f"no {count} rows in {timeout} s")


def stored_keys(path):
    """Keys of all rows in one file of results."""
    with closing(sqlite3.connect(path)) as connection:
        return [key for (key,) in connection.execute("SELECT key FROM trainings")]


def children_of(pid):
    """Process ids of the direct children that train (not multiprocessing's resource tracker)."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rsplit(")", 1)[1].split()[1])
            if parent == pid and b"spawn_main" in (stat.parent / "cmdline").read_bytes():
                found.append(int(stat.parent.name))
        except (OSError, IndexError):
            continue
    return found


def test_search_trains_ranks_and_says_on_which_split(finished):
    assert finished.returncode == 0, finished.stderr
    assert "6 architectures (random) x 1 seed = 6 trainings, 0 done, 6 to do" in finished.stdout
    assert "Time       about" in finished.stdout
    assert "Best 6 of 6 architectures by validation top-1 (108 clips), 1 seed" in finished.stdout
    assert "6/6 trainings" in finished.stderr
    rows = table()
    assert (rows["status"] == schema.DONE).all()
    best = rows.sort_values("final_valid_top1").iloc[-1]
    winner = finished.stdout[finished.stdout.index("Best 6") :].splitlines()[3]
    assert f"{100 * best['final_valid_top1']:.1f} ± " in winner


def test_every_column_of_a_finished_training_is_filled(finished):
    row = open_run(NAME).rows().iloc[0]
    ended = pd.Timestamp(row["finished_at"]).timestamp()
    assert time.time() - 3600 < ended <= time.time()
    empty = set(row[row.isna()].index)
    assert empty == {"source_index", "fallback", "error"}
    assert row["dataset"] == "synthetic"
    assert row["protocol"] == "thesis"
    assert row["engine"] == choose_means("auto", "1").engine
    assert row["precision"] == "float32"
    assert row["epochs"] == 3
    assert 0 <= row["best_valid_top1"] <= 1


def test_the_same_command_again_trains_nothing_and_shows_the_same(here, finished):
    before = table()
    again = here("search", *SEARCH)
    assert again.returncode == 0
    assert "6 done, 0 to do" in again.stdout
    assert again.stdout.split("Best")[1] == finished.stdout.split("Best")[1]
    pd.testing.assert_frame_equal(table(), before)


def test_more_trials_and_another_engine_extend_a_run_without_changing_it(here, finished):
    before = table()
    done = here("search", *SEARCH, "--trials", "9", "--workers", "1", "--engine", "packed")
    assert "6 done, 3 to do" in done.stdout
    after = table()
    kept = after[after["key"].isin(before["key"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, before)
    assert (after["engine"] == "packed").sum() == 3


def test_kill_in_the_middle_and_the_same_command_again_ends_as_undisturbed(here, workdir, finished):
    arguments = (*SEARCH, "--run", "killed", "--checkpoint-every", "0")
    for rows in (1, 3):
        with started(workdir, *arguments) as process:
            wait_for_rows(process, rows, "killed")
            os.kill(process.pid, signal.SIGKILL)  # workers notice by themselves
            process.wait()
    done = here("search", *arguments)
    assert done.returncode == 0, done.stderr
    assert " 0 done" not in done.stdout
    pd.testing.assert_frame_equal(table("killed"), table(NAME))
    assert list((workdir / "runs/killed/checkpoints").glob("*")) == []


def test_workers_of_a_killed_search_end_by_themselves(workdir):
    with started(workdir, *SEARCH, "--trials", "200") as process:
        wait_for_rows(process, 1)
        workers = children_of(process.pid)
        assert workers
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and any(map(is_running, workers)):
            time.sleep(0.1)
        assert not any(map(is_running, workers))


def is_running(pid):
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_signal_to_the_whole_group_saves_everything_and_exits_75(here, workdir, number):
    lengthen(workdir, 100)  # so that the signal comes in the middle of one
    with started(workdir, *SEARCH, "--trials", "100") as process:
        wait_for_rows(process, 1)
        os.killpg(process.pid, number)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 75, output
    assert "run the same command again" in output
    assert "Stopping: running trainings are saved first" in output
    assert "Best" in output
    checkpoints = list((workdir / f"runs/{NAME}/checkpoints").glob("*.pt"))
    assert 1 <= len(checkpoints) <= 2  # what was under way; what only waited is left alone
    stopped = table()
    assert len(stopped) < 100
    if number != signal.SIGINT:
        return
    trials = len(stopped) + len(checkpoints)
    done = here("search", *SEARCH, "--trials", str(trials), "--workers", "1")
    assert done.returncode == 0
    assert f"({len(checkpoints)} of them begun)" in done.stdout
    pd.testing.assert_frame_equal(table(), undisturbed(trials))


@pytest.mark.parametrize("delay", [0.3, 1.5])
def test_a_signal_before_the_first_training_exits_75_too(workdir, delay):
    with started(workdir, *SEARCH, "--trials", "100") as process:
        time.sleep(delay)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode in {75, -signal.SIGTERM} if delay < 1 else process.returncode == 75


def test_an_error_in_one_training_is_its_failed_row_and_the_others_go_on(command, here, workdir):
    fault = workdir / "sitecustomize.py"
    fault.write_text(
        "import sys\n"
        "if 'spawn_main' in ' '.join(sys.orig_argv):\n"
        "    from nas_skeleton.spaces import load_space\n"
        "    from nas_skeleton.training import train\n"
        "    candidates_of = train.candidates_of\n"
        "    faulty = load_space('tiny').cell(11663)\n"
        "    def patched(engine, problem, cells, states):\n"
        "        if faulty in cells:\n"
        "            raise RuntimeError('out of order,\\nperhaps')\n"
        "        return candidates_of(engine, problem, cells, states)\n"
        "    train.candidates_of = patched\n"
    )
    done = command("search", *SEARCH, env={**os.environ, "PYTHONPATH": str(workdir)})
    assert done.returncode == 1, done.stderr
    assert "#11663 seed 777 failed: RuntimeError: out of order, perhaps (" in done.stderr
    rows = table().set_index("arch_index")
    assert (rows["status"] == schema.DONE).sum() == 5
    assert rows.at[11663, "engine"] == choose_means("auto", "1").engine
    assert here("search", *SEARCH, "--workers", "1").returncode == 0
    assert (table()["status"] == schema.DONE).all()


def test_a_worker_that_dies_takes_only_its_own_training_which_is_tried_again(workdir):
    lengthen(workdir, 20)
    with started(workdir, *SEARCH, "--trials", "12") as process:
        wait_for_rows(process, 1)
        os.kill(children_of(process.pid)[0], signal.SIGKILL)
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert (table()["status"] == schema.DONE).all()
    assert len(table()) == 12


def test_trainings_whose_worker_always_dies_are_listed_and_tried_again_by_the_next_call(
    here, workdir
):
    with started(workdir, *SEARCH, "--trials", "2", "--workers", "1") as process:
        while process.poll() is None:
            for worker in children_of(process.pid):
                os.kill(worker, signal.SIGKILL)
            time.sleep(0.05)
        output = process.stdout.read()
    assert process.returncode == 1, output
    assert "worker died 3 times" in output
    assert "of 2 trainings 2 failed (listed above)" in output
    missing = here("runs", "missing", NAME)
    assert len(missing.stdout.splitlines()) == 2
    assert here("search", *SEARCH, "--trials", "2", "--workers", "1").returncode == 0
    assert here("runs", "missing", NAME).stdout == ""


def test_diverged_trainings_are_results_listed_and_not_repeated(here, workdir):
    card = workdir / "search_spaces/tiny.toml"
    card.write_text(card.read_text().replace("learning_rate = 0.05", "learning_rate = 1e30"))
    for to_do in (2, 0):
        done = here("search", *SEARCH, "--trials", "2", "--workers", "1")
        assert done.returncode == 1, done.stderr
        assert f"{to_do} to do" in done.stdout
        assert "; reference: loss is" in done.stderr
        assert "of 2 trainings 2 diverged (listed above)" in done.stderr
        assert "No finished training yet" in done.stdout


def test_two_searches_share_a_run_and_say_so(here, workdir):
    lengthen(workdir, 30)
    asked = (*SEARCH, "--trials", "30", "--workers", "1")
    with started(workdir, *asked) as process:
        wait_for_rows(process, 1)
        second = here("search", *asked)
        assert process.wait(120) == 0
    assert second.returncode == 0, second.stderr
    assert f"is also being trained by process {process.pid} on " in second.stderr
    assert "with 1 worker: the work is shared, nothing is trained twice" in second.stderr
    stored = [stored_keys(path) for path in open_run(NAME).results_folder.glob("*.sqlite")]
    assert len(stored) == 2
    assert len([*stored[0], *stored[1]]) == len({*stored[0], *stored[1]}) == 30


def test_several_seeds_give_a_spread(here, finished):
    asked = ("--seeds", "777,888,999", "--trials", "2", "--workers", "1")
    done = here("search", *SEARCH[:4], *asked)
    assert done.returncode == 0, done.stderr
    assert "2 architectures (random) x 3 seeds = 6 trainings, 2 done, 4 to do" in done.stdout
    assert "standard deviation over seeds" in done.stdout


def test_dry_run_prints_the_plan_and_trains_nothing(here):
    done = here("search", *SEARCH, "--dry-run")
    assert done.returncode == 0
    assert "6 to do" in done.stdout
    assert not Path("runs").exists()


def test_exhaustive_by_class_copies_rows_and_says_so(here):
    asked = ("--strategy", "exhaustive", "--one-per-class", "--trials", "3", "--workers", "1")
    done = here("search", *SEARCH[:6], *asked)
    assert done.returncode == 0, done.stderr
    name = "tiny_synthetic_thesis_tiny_exhaustive-one-per-class_777"
    assert here("runs", "collect", name).returncode == 0
    rows = pd.read_parquet(f"runs/{name}/table.parquet")
    trained = rows[rows["status"] == schema.DONE]
    copied = rows[rows["status"] == schema.COPIED]
    assert len(trained) == 3
    assert trained["source_index"].isna().all()
    assert len(copied) > 0
    sources = trained.set_index("arch_index")
    for row in copied.to_dict("records"):
        source = sources.loc[row["source_index"]]
        assert row["functional_key"] == source["functional_key"]
        assert row["final_test_top1"] == source["final_test_top1"]
    assert rows["key"].is_unique
    assert len(pd.read_parquet(f"runs/{name}/predictions.parquet")) == 3


def test_some_classes_of_a_data_set_are_a_data_set(command) -> None:
    arguments = ["--space", "tiny", "--trials", "2", "--workers", "2"]
    done = command("search", *arguments, "--dataset", "synthetic:clap+wave")
    assert done.returncode == 0, done.stderr
    assert "synthetic:wave+clap" in done.stdout  # one name, in whatever order they are given
    [name] = [path.name for path in Path("runs").iterdir()]
    assert "synthetic-wave-clap" in name
    run = open_run(name)
    assert run.data.classes == ["wave", "clap"]
    assert {label for part in run.data.splits.values() for label in part.labels} == {0, 1}
    assert run.rows()["status"].tolist() == ["done", "done"]
    assert "already" not in command("search", *arguments, "--dataset", "synthetic").stdout
    done = command("search", *arguments, "--dataset", "synthetic:wave+clap")
    assert done.returncode == 0
    assert "2 done, 0 to do" in done.stdout
