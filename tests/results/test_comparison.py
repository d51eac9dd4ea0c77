"""Networks side by side: means, deviations, who is shown, and the difference to an anchor."""

import math

import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.results import schema
from nas_skeleton.results.comparison import Entry, against, check_alike, entries, percent
from nas_skeleton.results.run import Arguments, Clips, DataFacts, Run
from nas_skeleton.results.store import ResultWriter
from nas_skeleton.spaces import load_any_space

KEYS = [f"{arch}-{seed}" for arch in (1, 2, 3) for seed in (1, 2, 3)]


def run_with(folder, rows):
    """A run of the rows (architecture, seed, valid, test, status)."""
    arguments = Arguments(
        "nb201", "d", "p", "r", "random", [1, 2, 3], fingerprint="f", recipe_hash="h"
    )
    clips = Clips(["a", "b"], [0, 1])
    data = DataFacts(["x", "y"], 20, 1, {"valid": clips, "test": clips, "train": clips})
    run = Run(folder, arguments, data)
    writer = ResultWriter(run.results_folder, "w")
    for arch, seed, valid, test, status in rows:
        writer.append(
            {
                "key": f"{arch}-{seed}",
                "fingerprint": "f",
                "recipe_hash": "h",
                "arch_index": arch,
                "arch_str": f"cell {arch}",
                "seed": seed,
                "status": status,
                "engine": "native",
                "params": 10 * arch,
                "macs": 100 * arch,
                "train_time_s": float(seed),
                "final_valid_top1": valid,
                "final_test_top1": test,
                "best_test_top1": None if test is None else test / 2,
            }
        )
    return run


def test_every_network_has_its_mean_and_spread_over_finished_seeds(tmp_path):
    done = schema.DONE
    run = run_with(
        tmp_path / "run",
        [(3, 1, 0.5, 0.6, done), (3, 2, 0.7, 0.8, done), (3, 3, None, None, schema.FAILED)],
    )
    [entry] = entries(run, KEYS)
    assert (entry.name, entry.params, entry.macs) == ("cell 3", 30, 300)
    assert (entry.seeds, entry.planned_seeds) == (2, 3)
    assert (entry.valid, entry.test, entry.best_test) == pytest.approx((0.6, 0.7, 0.35))
    assert entry.test_sd == pytest.approx(math.sqrt(0.02))
    assert entry.train_time_s == 1.5
    assert entry.engines == ("native",)


def test_of_a_search_the_best_on_validation_are_shown_whatever_test_says(tmp_path):
    done = schema.DONE
    rows = [(1, 1, 0.9, 0.1, done), (2, 1, 0.8, 0.9, done), (3, 1, 0.7, 0.8, done)]
    run = run_with(tmp_path / "run", rows)
    assert [entry.arch_index for entry in entries(run, KEYS, best=2)] == [1, 2]
    assert [entry.arch_index for entry in entries(run, KEYS)] == [1, 2, 3]
    assert entries(run, KEYS)[0].test_sd is None


def test_without_validation_clips_there_is_no_validation_accuracy(tmp_path):
    run = run_with(tmp_path / "run", [(1, 1, None, 0.5, schema.DONE)])
    [entry] = entries(run, KEYS)
    assert (entry.valid, entry.valid_sd) == (None, None)
    assert percent(entry.valid, entry.valid_sd) == "n/a"
    assert percent(entry.test, None) == "50.0"
    assert percent(0.5, 0.012) == "50.0 ± 1.2"


def entry_of(test, test_sd, seeds, macs=1, planned=0):
    of_seeds = (seeds, max(seeds, planned), None, None, test, test_sd, None, None)
    return Entry("d", "s", 0, "n", *of_seeds, 1, macs, 1.0, ("fast",))


def test_a_difference_has_the_error_of_both_means():
    found = against(entry_of(0.8, 0.03, 3, 10), entry_of(0.7, 0.04, 4, 100))
    assert found.difference == pytest.approx(0.1)
    assert found.error == pytest.approx(math.sqrt(0.03**2 / 3 + 0.04**2 / 4))
    assert against(entry_of(0.8, None, 1), entry_of(0.7, 0.04, 4)).error is None


def test_a_network_that_lost_seeds_is_not_held_against_another():
    assert against(entry_of(0.8, 0.03, 2, planned=3), entry_of(0.7, 0.04, 3)) is None
    assert against(entry_of(0.7, 0.04, 3), entry_of(0.8, 0.03, 2, planned=3)) is None


def test_what_else_the_run_has_does_not_count(tmp_path):
    done = schema.DONE
    run = run_with(tmp_path / "run", [(1, 1, 0.9, 0.1, done), (2, 1, 0.8, 0.9, done)])
    assert [entry.arch_index for entry in entries(run, ["2-1"], best=1)] == [2]


def test_a_small_network_is_chosen_on_validation_as_well(tmp_path):
    done = schema.DONE
    rows = [(1, 1, 0.7, 0.1, done), (2, 1, 0.8, 0.1, done), (3, 1, 0.9, 0.1, done)]
    run = run_with(tmp_path / "run", rows)
    assert [entry.arch_index for entry in entries(run, KEYS, 1, most_macs=200)] == [2]
    assert entries(run, KEYS, 1, most_macs=99) == []


def test_spaces_of_one_recipe_are_alike_but_for_what_networks_have_and_predict():
    names = ("models", "models-asgcn", "nb201", "nb201-graph", "nb201-asgcn")
    spaces = [load_any_space(name) for name in names]
    for recipe in ("quick", "standard", "brief", "brief-large"):
        check_alike(spaces, recipe)
    with pytest.raises(InputError, match=r"encoding is .* in 'models' and image in 'nb201-image'"):
        check_alike([*spaces[:1], load_any_space("nb201-image")], "quick")
    with pytest.raises(InputError, match="unknown recipe 'pyskl'"):
        check_alike(spaces, "pyskl")
