"""`search --strategy` with strategies that learn, as their user meets them."""

import json

import pytest

from nas_skeleton.results import schema
from nas_skeleton.results.run import open_run

EVOLUTION = (
    *("search", "--space", "tiny", "--dataset", "synthetic", "--protocol", "thesis"),
    *("--strategy", "regularized-evolution", "--workers", "1"),
)
HALVING = (*EVOLUTION[:-3], "successive-halving", "--workers", "2")


def test_a_strategy_searches_and_the_same_command_has_nothing_left_to_do(here):
    done = here(*EVOLUTION, "--trials", "4", "--parallel", "2")
    assert done.returncode == 0, done.stderr
    assert "regularized-evolution, worth 4 architectures x 1 seed, up to 2 proposals" in done.stdout
    assert "Best 4 of 4 architectures by validation top-1" in done.stdout
    again = here(*EVOLUTION, "--trials", "4", "--parallel", "2")
    assert "4 done, 0 to do" in again.stdout
    (name,) = [line.split()[-1] for line in done.stdout.splitlines() if "runs collect" in line]
    assert "regularized-evolution" in name
    assert "4 of 4 whole trainings' worth is asked for" in here("runs", "show", name).stdout
    shown = json.loads(here("runs", "show", name, "--json").stdout)
    assert shown["trainings"]["done"] == 4
    assert shown["trainings"]["missing"] == 0
    assert shown["arguments"]["parallel"] == 2


def test_list_tells_what_is_left_of_a_budget_without_making_the_search_again(here, monkeypatch):
    done = here(*HALVING, "--trials", "2", "--run", "halving")
    assert done.returncode == 0, done.stderr
    path = open_run("halving").folder / "run.json"
    path.write_text(path.read_text().replace('"trials": 2', '"trials": 9'))

    def made_again(*_):
        raise AssertionError("the search was made again")

    monkeypatch.setattr("nas_skeleton.scheduling.adaptive.AdaptiveSearch", made_again)
    listed = [line.split() for line in here("runs", "list").stdout.splitlines()]
    [counts] = [words for words in listed if words[:1] == ["halving"]]
    assert counts[-1] == "7"


def test_successive_halving_pauses_most_and_finishes_few(here):
    done = here(*HALVING, "--trials", "4", "--run", "halving")
    assert done.returncode == 0, done.stderr
    assert "looked at after epochs 1 and the last" in done.stdout
    rows = open_run("halving").rows(["status", "epochs"])
    counts = rows["status"].value_counts()
    assert counts[schema.PAUSED] > counts[schema.DONE] > 0
    assert set(rows.loc[rows["status"] == schema.PAUSED, "epochs"]) <= {1, 2}
    listed = here("runs", "list").stdout.splitlines()
    assert "paused" in listed[0]
    [counts] = [line.split() for line in listed if line.startswith("halving ")]
    assert counts[-1] == "0"  # missing
    collected = here("runs", "collect", "halving")
    assert collected.returncode == 0, collected.stderr
    assert "left out" not in collected.stderr  # a training that went on was not stored twice


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--strategy", "bogus"), "unknown --strategy 'bogus': known are random, exhaustive"),
        (("--parallel", "3"), "--parallel needs a --strategy that learns, not random"),
        (("--strategy", "tpe", "--export-study", "no/x.db"), "there is no folder no"),
        (("--strategy", "reinforce", "--shard", "0/2"), "cannot be divided beforehand"),
        (("--strategy", "bananas", "--export-study", "x.db"), "needs a --strategy of Optuna"),
        (("--strategy", "reinforce", "--space", "models"), "reinforce"),
    ],
)
def test_a_mistake_is_one_line(here, options, message):
    done = here("search", "--space", "tiny", "--dataset", "synthetic", *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_study_of_optuna_is_exported(here, workdir):
    options = ("--strategy", "tpe", "--trials", "3", "--export-study", "study.db")
    done = here(*EVOLUTION[:-4], *options, "--workers", "1", "--run", "mine")
    assert done.returncode == 0, done.stderr
    assert "optuna-dashboard sqlite:///study.db" in done.stderr
    optuna = pytest.importorskip("optuna")
    study = optuna.load_study(study_name="mine", storage=f"sqlite:///{workdir}/study.db")
    assert len(study.trials) == 3
    rows = open_run("mine").rows(["arch_index", "final_valid_top1"])
    assert {trial.user_attrs["arch_index"]: trial.value for trial in study.trials} == dict(
        rows.itertuples(index=False, name=None)
    )
