"""`compare strategies` and `search --on`, as their users meet them."""

import json

import pandas as pd
import pytest

SMALL = ("--repeats", "6", "--trials", "20", "--workers", "1")


@pytest.fixture
def cifar(shared_data):
    return str(shared_data / "nb201" / "nats_bench_cifar.csv")


def test_strategies_are_compared_in_words_files_and_pictures(here, workdir, cifar):
    names = ("--strategies", "random,regularized-evolution,local-search")
    done = here("compare", "strategies", "--on", cifar, *SMALL, *names, "-o", "out")
    assert done.returncode == 0, done.stderr
    assert "NATS-Bench, CIFAR10, test accuracy after 200 epochs" in done.stdout
    assert "Friedman test of ranks over 6 searches" in done.stdout
    assert "Note: this table has test accuracies only" in done.stdout
    assert "18 searches in" in done.stdout
    assert sorted(path.name for path in (workdir / "out").iterdir()) == [
        *("ranks.png", "regret-by-evaluations.csv", "regret-by-evaluations.png"),
        *("searches.csv", "summary.csv"),
    ]
    searches = pd.read_csv(workdir / "out" / "searches.csv")
    assert len(searches) == 18
    assert (searches["trainings"] == 20).all()
    assert searches.groupby("repeat")["seed"].nunique().eq(1).all()  # pairs
    courses = pd.read_csv(workdir / "out" / "regret-by-evaluations.csv")
    last = courses[courses["evaluations"] == 20].set_index("strategy")["median"]
    medians = searches.groupby("strategy")["test_regret"].median()
    assert last.to_dict() == pytest.approx(medians.to_dict())
    summary = pd.read_csv(workdir / "out" / "summary.csv").set_index("strategy")
    assert summary["median"].to_dict() == pytest.approx(medians.to_dict())


def test_the_default_on_a_table_without_curves_are_strategies_for_whole_trainings(here, cifar):
    done = here("compare", "strategies", "--on", f"{cifar}:CIFAR100", *SMALL, "--json")
    found = json.loads(done.stdout)
    assert sorted(found["mean_regret"]) == [
        *("bananas", "local-search", "random", "regularized-evolution"),
        *("regularized-evolution-nats", "reinforce"),
    ]


def test_one_search_says_what_it_found_when(here, cifar):
    options = ("--strategy", "local-search", "--trials", "60", "--seed", "5")
    done = here("search", "--on", cifar, *options)
    assert done.returncode == 0, done.stderr
    assert "local-search, seed 5" in done.stdout
    assert "60 trainings" in done.stdout
    assert "Regret " in done.stdout
    assert here("search", "--on", cifar, *options).stdout == done.stdout


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("compare", "strategies", "--on", "CSV", "--strategies", "bogus"), "'bogus'"),
        (("compare", "strategies", "--on", "CSV", "--strategies", "asha"), "--strategy asha"),
        (("compare", "strategies", "--on", "CSV", "--strategies", "random,random"), "different"),
        (("compare", "strategies", "--on", "nothing"), "no table 'nothing'"),
        (("compare", "--trials", "3", "strategies", "--on", "CSV"), "--trials is for networks"),
        (("search", "--on", "CSV", "--recipe", "quick"), "--recipe is for trainings"),
        (("search", "--on", "CSV", "--seeds", "1,2"), "--on searches once"),
    ],
)
def test_a_mistake_is_one_line(here, cifar, command, message):
    done = here(*(cifar if word == "CSV" else word for word in command))
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
