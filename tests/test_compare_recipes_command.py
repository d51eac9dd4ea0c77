"""`compare recipes`, from the outside."""

import csv
import json

import pytest

CELLS = (*range(6000, 6019), 10)  # the last does not look at its input


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    monkeypatch.setattr("nas_skeleton.analysis.agreement.RESAMPLES", 50)


@pytest.fixture
def runs(made_run):
    made_run("steady", CELLS, seeds=[1, 2], recipe="steady", noise=0.02, clips=400, valid_clips=200)
    made_run("moody", CELLS, seeds=[1, 2], recipe="moody", noise=0.2)
    for fold in (1, 2):
        made_run(f"fold-{fold}", CELLS, seeds=[1, 2], recipe="folded", protocol=f"loso-{fold}")
    made_run("other", CELLS[5:], seeds=[1, 2], recipe="other", noise=0.02)


def test_recipes_are_printed_and_written_the_cheapest_reliability_first(here, runs, workdir):
    done = here("compare", "recipes", "moody", "steady", "fold-*", "--against", "other")
    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert said.index("\nsteady ") < said.index("\nmoody ")
    for part in ("ICC valid", "seed-seed test", "Against other", "after Holm's correction"):
        assert part in said
    assert "a clip that one fold chooses with is tested in another" in said
    assert "fold-*:" in done.stderr
    assert "2 folds" in done.stderr
    assert "whose output does not depend on the input" in done.stderr
    assert (workdir / "recipes" / "recipes.png").stat().st_size > 5000
    with (workdir / "recipes" / "recipes.csv").open() as file:
        rows = {row["recipe"]: row for row in csv.DictReader(file)}
    with (workdir / "recipes" / "trainings.csv").open() as file:
        of_steady = [row for row in csv.DictReader(file) if row["recipe"] == "steady"]
    assert len(of_steady) == 2 * int(rows["steady"]["cells"])
    mean = sum(float(row["test_top1"]) for row in of_steady) / len(of_steady)
    assert float(rows["steady"]["test_mean"]) == pytest.approx(mean)
    assert rows["folded"]["folds"] == "2"
    assert rows["folded"]["test_clips"] == "100"
    steady = rows["steady"]
    assert float(steady["test_icc_low"]) < float(steady["test_icc"]) <= 1
    assert float(steady["seconds_needed_whole_seeds"]) >= float(steady["seconds"])
    assert int(steady["test_against_cells"]) < int(steady["cells"]) < len(CELLS)


def test_json_holds_what_the_table_shows(here, runs):
    done = here("compare", "recipes", "steady", "moody", "--reliability", "0.8", "--json")
    facts = json.loads(done.stdout)
    assert facts["reliability"] == 0.8
    assert [one["recipe"] for one in facts["recipes"]] == ["steady", "moody"]
    steady = facts["recipes"][0]
    assert steady["valid_seeds_needed"] < facts["recipes"][1]["valid_seeds_needed"]
    assert steady["top_compared"] == facts["cells"] - 1
    assert steady["test_against_tau"] is None


def test_unconnected_cells_count_if_they_are_to(here, runs):
    few = json.loads(here("compare", "recipes", "steady", "--json").stdout)
    every = json.loads(here("compare", "recipes", "steady", "--unconnected", "--json").stdout)
    assert every["cells"] == len(CELLS) > few["cells"]


def test_one_seed_leaves_gaps_and_no_traceback(here, made_run):
    made_run("single", CELLS, seeds=[1], valid_clips=0)
    done = here("compare", "recipes", "single")
    assert done.returncode == 0, done.stderr
    assert "n/a" in done.stdout


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("nowhere",), "no run 'nowhere'"),
        (("steady", "steady"), "given twice"),
        (("nothing-*",), "matches 0 runs"),
        (("steady", "moody", "--reliability", "1"), "0<x<1"),
        ((), "Missing argument"),
    ],
)
def test_a_mistake_is_one_line(here, runs, given, said):
    done = here("compare", "recipes", *given)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_published_table_is_compared_like_a_run(here, workdir):
    of_what = ("--space", "tiny", "--dataset", "synthetic", "--trials", "6", "--seeds", "1,2")
    searched = here("search", *of_what)
    assert searched.returncode == 0, searched.stderr
    (run,) = [path.parent.name for path in (workdir / "runs").glob("*/run.json")]
    here("runs", "publish", run, "--name", "mine")
    of_run = json.loads(here("compare", "recipes", run, "--json").stdout)
    done = here("compare", "recipes", "runs/published/mine", "--json")
    assert done.returncode == 0, done.stderr
    (found,), (wanted,) = json.loads(done.stdout)["recipes"], of_run["recipes"]
    assert found | {"run": run} == wanted
    nothing = here("compare", "recipes", "runs/published/yours")
    assert nothing.returncode == 2
    assert "no published table" in nothing.stderr
