"""`compare`: models and cells trained alike, side by side."""

import json

import click
import pytest

from nas_skeleton.compare import _recipe_of
from nas_skeleton.results.run import open_run, run_names

MODELS = """
name = "few-models"
title = "reference models for tests"
models = ["stgcn++"]
default_recipe = "tiny"
[input]
encoding = "centred-first-frame"
[recipes.tiny]
frames = 8
epochs = 3
batch_size = 64
drop_last = false
learning_rate = 0.05
momentum = 0.9
nesterov = true
weight_decay = 5e-4
evaluate_every = 2
"""
ASKED = (
    *("compare", "--dataset", "synthetic:wave+clap+squat", "--recipe", "tiny"),
    *("--models", "few-models", "--space", "tiny", "--trials", "2", "--seeds", "1,2"),
)


@pytest.fixture
def few_models(workdir):
    card = workdir / "search_spaces" / "few-models.toml"
    card.write_text(MODELS)
    return card


def test_models_and_the_best_cell_stand_in_one_table(here, few_models):
    done = here(*ASKED)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert any(line.startswith("stgcn++ ") for line in lines)
    assert sum(line.startswith("tiny #") and "|" not in line for line in lines) == 2
    [verdict] = [line for line in lines if "against stgcn++" in line]
    assert "% of its MACs, test " in verdict

    facts = json.loads(here(*ASKED, "--json").stdout)  # nothing is trained again
    assert facts["missing"] == 0
    [model, cell] = facts["rows"]
    assert (model["name"], model["seeds"], cell["seeds"]) == ("stgcn++", 2, 2)
    assert model["macs"] > cell["macs"]
    assert model["latency_ms_of_32"] > model["latency_ms"] > 0
    searched = open_run(next(name for name in run_names() if name.startswith("tiny_"))).rows()
    best = searched.groupby("arch_index")["final_valid_top1"].mean().max()
    assert cell["valid"] == pytest.approx(best)

    table = here(*ASKED, "--markdown").stdout
    assert "| stgcn++ " in table


def test_what_is_missing_is_said_and_not_trained(here, few_models):
    done = here(*ASKED, "--no-training")
    assert done.returncode == 2
    assert "nothing is finished yet" in done.stderr
    assert not run_names()


def test_another_budget_is_no_comparison(here, few_models):
    few_models.write_text(MODELS.replace("learning_rate = 0.05", "learning_rate = 0.1"))
    done = here(*ASKED)
    assert done.returncode == 2
    assert "learning_rate is 0.1 in 'few-models' and 0.05 in 'tiny'" in done.stderr


def test_everything_is_checked_before_anything_is_trained(here, few_models):
    for wrong, message in (
        (("--dataset", "nowhere"), "unknown data set 'nowhere'"),
        (("--recipe", "nobody"), "unknown recipe 'nobody'"),
        (("--models", "tiny"), "--models tiny: this card is for --space"),
        (("--protocol", "odd-even"), "no validation clips to choose a cell by"),
    ):
        done = here(*ASKED, *wrong)
        assert done.returncode == 2
        assert message in done.stderr
    assert not run_names()


def test_a_data_set_may_have_a_recipe_of_its_own():
    recipes = ("brief", "nwucla=brief-large")
    assert _recipe_of("utdmhad", recipes) == "brief"
    assert _recipe_of("nwucla", recipes) == "brief-large"
    with pytest.raises(click.UsageError, match="none is given for utdmhad"):
        _recipe_of("utdmhad", ("nwucla=brief-large",))
