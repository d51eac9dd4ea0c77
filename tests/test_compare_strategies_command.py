"""`compare strategies` and `search --on`: searches on a finished table, from the outside."""

import contextlib
import csv
import json
import os
import random
import signal
import subprocess
import sys
import time

import psutil
import pytest

from nas_skeleton.spaces import load_space

FILES = {
    *("searches.csv", "summary.csv", "ranks.png"),
    *("regret-by-evaluations.csv", "regret-by-evaluations.png"),
}


@pytest.fixture(scope="module")
def cifar(tmp_path_factory):
    """A file in NATS-Bench's form, with accuracies that are worth a search."""
    space, rng = load_space("nb201"), random.Random(3)
    worth = [[rng.random() for _ in range(5)] for _ in range(6)]
    path = tmp_path_factory.mktemp("nats") / "nats.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["CIFAR10TestAccuracy200Epochs", "ArchitectureString"])
        for index in range(len(space)):
            of_edges = zip(worth, space.cell(index).operations, strict=True)
            writer.writerow([40 + 8 * sum(w[op] for w, op in of_edges), space.arch_string(index)])
    return str(path)


def ask(cifar, *more):
    return (
        *("compare", "strategies", "--on", cifar, "--repeats", "8", "--trials", "30"),
        *("--strategies", "random,regularized-evolution,local-search", *more),
    )


def test_strategies_are_ranked_and_files_say_how(here, cifar, workdir):
    done = here(*ask(cifar, "--workers", "1", "-o", "one"))
    assert done.returncode == 0, done.stderr
    for said in ("Final test regret", "Friedman test", "critical difference", "no times", "Note:"):
        assert said in done.stdout
    assert {path.name for path in (workdir / "one").iterdir()} == FILES
    with (workdir / "one" / "searches.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 8
    assert {row["trainings"] for row in rows} == {"30.0"}
    assert len({row["seed"] for row in rows}) == 8  # paired: the same for all strategies

    with (workdir / "one" / "regret-by-evaluations.csv").open() as file:
        ends = {
            row["strategy"]: float(row["median"])
            for row in csv.DictReader(file)
            if row["evaluations"] == "30.0"
        }
    with (workdir / "one" / "summary.csv").open() as file:
        medians = {row["strategy"]: float(row["median"]) for row in csv.DictReader(file)}
    assert medians == pytest.approx(ends, abs=1e-9)

    again = here(*ask(cifar, "--workers", "2", "-o", "two"))
    assert again.returncode == 0, again.stderr
    for name in ("searches.csv", "summary.csv", "regret-by-evaluations.csv"):
        one, two = ((workdir / folder / name).read_bytes() for folder in ("one", "two"))
        assert one == two


def test_json_holds_all_that_the_table_shows(here, cifar):
    facts = json.loads(here(*ask(cifar, "--workers", "1", "--json")).stdout)
    assert facts["repeats"] == 8
    assert facts["critical_difference"] > 0
    assert len(facts["remarks"]) == 2
    standings = {one["strategy"]: one for one in facts["standings"]}
    assert standings["random"]["p"] is None
    evolution = standings["regularized-evolution"]
    assert evolution["wins"] + evolution["ties"] + evolution["losses"] == 8
    assert evolution["mean_low"] <= evolution["mean"] <= evolution["mean_high"]


def test_on_a_table_without_curves_strategies_for_whole_trainings_are_the_default(here, cifar):
    options = ("--repeats", "2", "--trials", "12", "--workers", "1", "--json")
    done = here("compare", "strategies", "--on", cifar, *options)
    assert {one["strategy"] for one in json.loads(done.stdout)["standings"]} == {
        *("bananas", "local-search", "random", "regularized-evolution"),
        *("regularized-evolution-nats", "reinforce"),
    }
    assert "left out, for this table has no curves: successive-halving" in done.stderr


def test_one_search_is_told_improvement_by_improvement(here, cifar):
    done = here("search", "--on", cifar, "--strategy", "local-search", "--trials", "40")
    assert done.returncode == 0, done.stderr
    assert "40 trainings" in done.stdout
    assert "Regret" in done.stdout
    assert "valid % seen" in done.stdout


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--on", "nowhere"), "no table 'nowhere'"),
        (("--on", "nowhere.csv"), "there is no such file"),
        (("--on", "CSV:MNIST"), "known are CIFAR10"),
        (("--on", "CSV", "--strategies", "random,bogus"), "unknown --strategy 'bogus'"),
        (("--on", "CSV", "--strategies", "random,random"), "give different names"),
        (("--on", "CSV", "--strategies", "random,asha"), "stops bad trainings early"),
    ],
)
def test_a_mistake_is_one_line(here, cifar, given, said):
    done = here("compare", "strategies", *(text.replace("CSV", cifar) for text in given))
    assert done.returncode == 2
    assert said in done.stderr
    assert "\nError:" in f"\n{done.stderr}"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--recipe", "quick"), "--recipe is for trainings, and --on trains nothing"),
        (("--seeds", "1,2"), "the trainings of this table have 0: give these, or one"),
    ],
)
def test_options_of_trainings_do_not_go_with_a_table(here, cifar, given, said):
    done = here("search", "--on", cifar, *given)
    assert done.returncode == 2
    assert said in done.stderr


def test_options_of_networks_do_not_go_before_the_subcommand(here, cifar):
    done = here("compare", "--trials", "3", "strategies", "--on", cifar)
    assert done.returncode == 2
    assert "--trials is for networks" in done.stderr


@pytest.mark.slow
def test_a_signal_to_all_processes_stops_it_in_one_line(cifar, tmp_path):
    command = ("compare", "strategies", "--on", cifar, "--strategies", "random,bananas")
    running = subprocess.Popen(
        [sys.executable, "-m", f"nas_skeleton.{command[0]}", *command[1:], "--repeats", "100000"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert running.stderr is not None
    assert "searches" in running.stderr.readline()  # processes are at work
    os.killpg(running.pid, signal.SIGTERM)
    began = time.monotonic()
    _, said = running.communicate(timeout=60)
    assert running.returncode == 75, said
    assert "nothing is kept of searches on a table" in said
    assert "Traceback" not in said
    assert time.monotonic() - began < 30


@pytest.mark.slow
def test_a_second_ctrl_c_does_not_wait_for_running_searches(cifar, tmp_path):
    options = ("--strategies", "bananas", "--trials", "15000", "--repeats", "20")  # minutes each
    running = subprocess.Popen(
        [sys.executable, "-m", "nas_skeleton.compare", "strategies", "--on", cifar, *options],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    workers = []
    try:
        end = time.monotonic() + 60
        while sum(worker.cpu_times().user > 1 for worker in workers) < 2:
            assert time.monotonic() < end
            assert running.poll() is None
            time.sleep(0.2)
            workers = psutil.Process(running.pid).children()
        os.killpg(running.pid, signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            running.wait(2)
        os.killpg(running.pid, signal.SIGINT)
        _, said = running.communicate(timeout=10)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
    assert running.returncode == 75, said
    assert "searches on the table that are running end first; Ctrl-C again stops at once" in said
    assert "Traceback" not in said
    assert not psutil.wait_procs(workers, timeout=5)[1]
