"""Runs as arrays: which cells count, and folds of a cross-validation as one."""

import numpy as np
import pytest

from nas_skeleton.analysis.observations import observe
from nas_skeleton.errors import InputError

CELLS = (6111, 11663, 4321, 777)
CONSTANT = 10  # its output does not depend on the input


def test_hits_are_where_predictions_are_right_in_the_order_of_cells_and_seeds(made_run):
    run = made_run("one", CELLS, seeds=[777, 888], clips=10)
    found = observe("one")
    assert found.archs.tolist() == sorted(CELLS)
    assert found.seeds == (777, 888)
    rows = run.rows(["arch_index", "seed", "final_valid_top1", "final_test_top1", "train_time_s"])
    for row in rows.to_dict("records"):
        at = sorted(CELLS).index(row["arch_index"]), found.seeds.index(row["seed"])
        for split in ("valid", "test"):
            assert found.accuracy[split][at] == row[f"final_{split}_top1"]
        assert found.seconds[at] == row["train_time_s"]


def test_cells_count_with_all_seeds_only_and_connected_ones_only(made_run):
    cells = (*CELLS, CONSTANT)
    made_run("one", cells, seeds=[1, 2], lacking=[(6111, 2)], diverged=[(777, 1)])
    found = observe("one")
    assert found.archs.tolist() == [4321, 11663]
    assert (found.unfinished, found.unconnected, found.diverged) == (2, 1, 1)
    assert CONSTANT in observe("one", unconnected=True).archs


def test_folds_are_one_result_over_the_clips_of_all(made_run):
    for fold in (1, 2, 3):
        made_run(f"x_loso-{fold}_y", CELLS, seeds=[1, 2], protocol=f"loso-{fold}", clips=10 + fold)
    made_run("x_thesis_y", CELLS, seeds=[1, 2])
    folds = [observe(f"x_loso-{fold}_y") for fold in (1, 2, 3)]
    found = observe("x_loso-*_y")
    assert (found.folds, found.protocol) == (3, "loso-1+loso-2+loso-3")
    assert found.hits["test"].shape == (4, 2, 11 + 12 + 13)
    rights = sum(fold.hits["test"].sum(axis=2) for fold in folds)
    assert np.array_equal(found.accuracy["test"], rights / 36)
    # A training clip in each fold, 3 epochs; two evaluations on it and on all others.
    held_out = [fold.hits[split].shape[2] for fold in folds for split in ("valid", "test")]
    passes = 3 * 3 + 2 * (3 + sum(held_out))
    assert found.work.tolist() == [passes * 1000.0] * 4
    assert found.seconds == pytest.approx(sum(fold.seconds for fold in folds))


def test_a_cell_counts_if_it_is_finished_in_every_fold(made_run):
    made_run("x_loso-1", CELLS, seeds=[1, 2, 3], protocol="loso-1")
    made_run("x_loso-2", CELLS[:3], seeds=[1, 2], protocol="loso-2", lacking=[(CELLS[0], 1)])
    found = observe("x_loso-*")
    assert found.archs.tolist() == sorted(CELLS[1:3])
    assert found.seeds == (1, 2)
    assert found.unfinished == 2


def test_runs_that_are_no_folds_of_one_thing_are_refused(made_run):
    made_run("x_1", CELLS, seeds=[1], protocol="loso-1")
    with pytest.raises(InputError, match="matches 1 runs"):
        observe("x_*")
    made_run("x_2", CELLS, seeds=[1], protocol="loso-1")
    with pytest.raises(InputError, match="tested in more than one of its 2 runs"):
        observe("x_*")
    made_run("x_3", CELLS, seeds=[1], protocol="loso-3", recipe_hash="other")
    with pytest.raises(InputError, match="recipe_hash of 'x_3'"):
        observe("x_[13]*")


def test_a_protocol_without_validation_clips_has_no_such_accuracy(made_run):
    made_run("one", CELLS, seeds=[1, 2], valid_clips=0)
    assert set(observe("one").accuracy) == {"test"}
