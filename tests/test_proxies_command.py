"""`python -m nas_skeleton.proxies` as its user meets it: score, continue, kill, stop, compare."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import pandas as pd
import psutil
import pytest
import torch

from nas_skeleton.proxies.examples import draw_examples
from nas_skeleton.proxies.names import PROXIES
from nas_skeleton.proxies.score import score_cell
from nas_skeleton.results.proxies import COLUMNS, open_proxy_run
from nas_skeleton.results.run import run_names
from nas_skeleton.skeletons.store import load_dataset
from nas_skeleton.spaces import load_space
from nas_skeleton.training.task import build_task

PROXY = ("--space", "tiny", "--dataset", "synthetic", "--clips", "8")
NAME = "proxies_tiny_synthetic_thesis_tiny_777"
CELLS = [0, 5, 700, 1651, 6111, 9000]
SOME = ("--archs", ",".join(map(str, CELLS)))
MANY = ("--archs", ",".join(map(str, range(0, 15000, 100))))


@pytest.fixture(scope="module")
def scored(furnished):
    """A working folder in which some cells are scored, by two workers."""
    folder = furnished("scored")
    command = [sys.executable, "-m", "nas_skeleton.proxies", *PROXY, *SOME, "--workers", "2"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder, done


@pytest.fixture
def continued(scored, monkeypatch):
    """The same folder, with the printed text; this process is in it."""
    folder, done = scored
    monkeypatch.chdir(folder)
    return done


def test_help_is_quick_because_torch_is_not_loaded():
    program = (
        "import sys, nas_skeleton.proxies.__main__\n"
        "sys.exit(bool({'torch', 'pandas', 'scipy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_it_prints_the_plan_and_the_best_cell_by_each_proxy(continued):
    assert "8 training clips of 4 classes" in continued.stdout
    assert "Plan       6 cells, 0 scored, 6 to do, 2 workers" in continued.stdout
    lines = continued.stdout.splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("-----")) + 1
    assert [line.split()[0] for line in lines[start : start + 13]] == list(PROXIES)
    assert "6/6 cells" in continued.stderr


def test_the_tables_have_the_scores_and_what_they_belong_to(continued):
    folder = open_proxy_run(NAME).folder
    table = pd.read_parquet(folder / "proxies.parquet")
    pd.testing.assert_frame_equal(table, pd.read_csv(folder / "proxies.csv"), check_dtype=False)
    space = load_space("tiny")
    assert table["arch_index"].tolist() == CELLS
    assert table["arch_str"].tolist() == [space.arch_string(arch) for arch in CELLS]
    assert table["functional_key"].tolist() == [space.functional_key(arch) for arch in CELLS]
    assert set(table) == {
        *COLUMNS, "space", "arch_index", "arch_str", "functional_key", "dataset", "fingerprint",
        "protocol", "recipe", "recipe_hash", "modality", "seed", "clips", "seconds",
    }  # fmt: skip
    assert set(table["recipe_hash"]) == {space.card.recipe_hash("tiny")}
    blind = table.set_index("arch_index").loc[1651]
    assert np.isnan(blind["proxy_jacov"])
    assert blind["proxy_snip"] == 0


def test_scores_do_not_depend_on_who_computes_them(continued):
    run, space, data = open_proxy_run(NAME), load_space("tiny"), load_dataset("synthetic")
    task = build_task(space.card, space.card.recipe("tiny"), data, run.identity.protocol)
    examples = draw_examples(task, 8, 777)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for row in run.scores().to_dict("records"):
            scores = score_cell(space, run.identity.job(row["arch_index"]), examples)
            for name, score in scores.items():
                np.testing.assert_equal(row[f"proxy_{name}"], score, name)
    finally:
        torch.set_num_threads(threads)


def test_the_same_command_scores_nothing_again(here, continued):
    before = open_proxy_run(NAME).scores()
    done = subprocess.run(
        [sys.executable, "-m", "nas_skeleton.proxies", *PROXY, *SOME, "--workers", "1"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "6 scored, 0 to do" in done.stdout
    pd.testing.assert_frame_equal(open_proxy_run(NAME).scores(), before)  # the seconds too


@contextmanager
def scoring(folder, *arguments):
    """The command as a process of its own, with its workers, killed at the end."""
    command = [sys.executable, "-m", "nas_skeleton.proxies", *PROXY, *arguments]
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_for_scores(process, count):
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        if (found := scores_so_far()) is not None and len(found) >= count:
            return found
        time.sleep(0.05)
    raise AssertionError(process.communicate()[1])


def scores_so_far():
    if NAME not in {path.parent.name for path in run_files()}:
        return None
    try:
        return open_proxy_run(NAME).scores()
    except Exception:  # not yet there
        return None


def run_files():
    from nas_skeleton.results.run import runs_folder

    return runs_folder().glob("*/proxies.sqlite")


@pytest.mark.slow
def test_what_a_killed_command_scored_is_not_scored_again_and_its_workers_end(workdir):
    with scoring(workdir, *MANY, "--workers", "2") as process:
        wait_for_scores(process, 2)
        workers = psutil.Process(process.pid).children()
        os.kill(process.pid, signal.SIGKILL)
        _, alive = psutil.wait_procs(workers, timeout=20)
        assert not alive
    before = scores_so_far()
    assert 2 <= len(before) < 150
    with scoring(workdir, *MANY, "--workers", "1") as process:
        wait_for_scores(process, len(before) + 2)
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 75
    assert f"150 cells, {len(before)} scored, {150 - len(before)} to do, 1 worker\n" in output
    assert errors.splitlines()[-1].startswith("Error: stopped by a signal: scored cells are kept")
    after = scores_so_far()
    pd.testing.assert_frame_equal(
        after[after["arch_index"].isin(before["arch_index"])].reset_index(drop=True), before
    )
    assert len(pd.read_parquet(workdir / "runs" / NAME / "proxies.parquet")) == len(after)


@pytest.mark.slow
def test_a_second_ctrl_c_does_not_wait_for_cells_that_are_being_scored(workdir, monkeypatch):
    (workdir / "sitecustomize.py").write_text(
        "import sys, time\n"
        "if 'spawn_main' in ' '.join(sys.orig_argv):\n"
        "    from nas_skeleton.proxies import score\n"
        "    score.score_cell = lambda *_: [open('at-work', 'w').close(), time.sleep(600)]\n"
    )
    places = [str(workdir), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(places))
    with scoring(workdir, *MANY, "--workers", "2") as process:
        end = time.monotonic() + 60
        while not (workdir / "at-work").exists():
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.1)
        workers = psutil.Process(process.pid).children()
        os.killpg(process.pid, signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=10)
    assert process.returncode == 75
    assert "Traceback" not in errors
    assert not psutil.wait_procs(workers, timeout=5)[1]


def test_against_prints_rank_correlations_with_validation_accuracy(here, continued, searched):
    runs, _ = searched
    (trained,) = [path.parent.name for path in runs.glob("*/run.json")]
    shutil.copytree(runs / trained, f"runs/{trained}", dirs_exist_ok=True)
    done = here("scoring", *PROXY, *SOME, "--against", trained)
    assert done.returncode == 0, done.stderr
    assert f"against final validation accuracy in run {trained}" in done.stdout
    assert "Spearman" in done.stdout
    assert "Kendall tau-b" in done.stdout
    assert trained in run_names()
    assert NAME not in run_names()  # it holds no trainings


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--archs", "some"), "--archs 'some': give indices: 6111,1462, or @FILE"),
        (("--archs", "15625"), "no architecture 15625"),
        (("--clips", "100000"), "--clips 100000: the protocol has only"),
        (("--clips", "9"), "belong to clips 8, not 9: choose another name with --run"),
        (("--workers", "0"), "--workers '0': give a number of at least 1, or auto"),
        (("--against", "nothing"), "no run 'nothing'"),
        (("--space", "models"), "has reference models, no cells"),
        (("--recipe", "none"), "unknown recipe 'none'"),
        (("--protocol", "none"), "protocol"),
    ],
    ids=str,
)
def test_mistakes_are_one_line(here, continued, arguments, message):
    done = here("scoring", *PROXY, *SOME, *arguments)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_damaged_file_is_said_in_one_line(here, workdir):
    (workdir / "runs" / NAME).mkdir(parents=True)
    (workdir / "runs" / NAME / "proxies.sqlite").write_bytes(b"no database" * 100)
    done = here("scoring", *PROXY, *SOME)
    assert done.returncode == 2
    assert "proxies.sqlite: damaged" in done.stderr.splitlines()[-1]
