"""Finished trainings of a run: which are their own predictions, and which are drawn."""

import json

import numpy as np
import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.results.finished import drawn, finished_of_run
from nas_skeleton.results.run import Arguments, Clips, DataFacts, Run
from nas_skeleton.results.store import ResultWriter

CLASSES, COUNTS = 3, {"valid": 10, "test": 20}
LABELS = {split: [i % CLASSES for i in range(count)] for split, count in COUNTS.items()}
EPOCHS = (5, 10)


def training(arch, seed=1, status="done", **columns):
    """A made-up training whose predictions, curve and accuracies agree, but for `columns`."""
    rng = np.random.default_rng([arch, seed])
    predictions, at_end = {}, {}
    for split, labels in LABELS.items():
        guesses = rng.integers(0, CLASSES, len(labels)).astype(np.int16)
        predictions[split] = guesses
        hit = guesses == np.array(labels)
        per_class = [hit[np.array(labels) == label].mean() for label in range(CLASSES)]
        at_end |= {
            f"{split}_top1": float(hit.mean()),
            f"{split}_top5": 1.0,
            f"{split}_mean_class": float(np.mean(per_class)),
        }
    curve = [{"epoch": epoch, "train_loss": 1.0, **at_end} for epoch in EPOCHS]
    row = {
        "key": f"{arch}/{seed}",
        "arch_index": arch,
        "seed": seed,
        "status": status,
        "fingerprint": "f",
        "recipe_hash": "h",
        "epochs": EPOCHS[-1],
        "best_epoch": EPOCHS[0],
        **{f"{when}_{name}": value for when in ("final", "best") for name, value in at_end.items()},
    }
    return row | columns, json.dumps(curve), predictions


@pytest.fixture
def finished(tmp_path):
    """`finished(trainings)` of a run that has these."""

    def make(trainings, labels=LABELS):
        clips = {s: Clips([f"{s} {i}" for i in range(len(of))], of) for s, of in labels.items()}
        arguments = Arguments("tiny", "made-up", "p", "r", "random", [1, 2], "f", "h")
        run = Run(tmp_path / "run", arguments, DataFacts(["a", "b", "c"], 20, 1, clips))
        writer = ResultWriter(run.results_folder, "w")
        writer.append_all(trainings)
        writer.close()
        return finished_of_run(run, space=None)

    return make


def test_rows_that_are_their_own_predictions_have_no_fault(finished):
    found = finished([training(arch) for arch in range(5)])
    assert found.faults == []
    assert len(found.sound) == 5
    (kept,) = found.read(found.rows.iloc[2:3])
    assert kept.predictions["test"].tolist() == training(2)[2]["test"].tolist()
    assert sorted(kept.curve) == list(EPOCHS)


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("final_valid_top1", "valid top1 is stored as 95.00 %, its predictions have"),
        ("final_test_top1", "test top1 is stored as 95.00 %, its predictions have"),
        ("final_test_mean_class", "test mean_class is stored as 95.00 %, its predictions have"),
        ("final_test_top5", "final_test_top5 is 0.950000, its curve has 1.000000"),
        ("best_valid_top1", "best_valid_top1 is 0.950000, its curve has"),
    ],
)
def test_a_forged_accuracy_with_true_predictions_is_found(finished, column, said):
    found = finished([training(0), training(1, **{column: 0.95}), training(2)])
    (fault,) = found.faults
    assert (fault.arch_index, fault.seed) == (1, 1)
    assert said in fault.what
    assert found.sound["arch_index"].tolist() == [0, 2]


def test_a_forged_curve_a_missing_prediction_and_an_accuracy_of_nothing_are_found(finished):
    row, curve, predictions = training(0)
    forged = json.dumps([*json.loads(curve)[:-1], {**json.loads(curve)[-1], "valid_top1": 0.99}])
    short, unknown = training(1), training(2, final_valid_top1=None)
    found = finished(
        [(row, forged, predictions), (*short[:2], {"test": short[2]["test"]}), unknown]
    )
    said = [fault.what for fault in found.faults]
    assert "its curve has 0.990000" in said[0]
    assert said[1] == "0 predictions for 10 valid clips"
    assert "valid top1 is stored as nan" in said[2]


def test_a_protocol_without_validation_clips_is_no_fault(finished):
    row, curve, predictions = training(0, best_epoch=None)
    row = {name: value for name, value in row.items() if "valid" not in name and "best" not in name}
    records = [
        {name: value for name, value in record.items() if "valid" not in name}
        for record in json.loads(curve)
    ]
    test_only = (row, json.dumps(records), {"test": predictions["test"]})
    assert finished([test_only], LABELS | {"valid": []}).faults == []


def test_rows_are_drawn_by_the_seed_from_sound_ones(finished):
    many = [training(arch) for arch in range(30)]
    many += [training(arch, 2, status="failed") for arch in range(30)]
    found = finished([*many, training(99, final_test_top1=0.99)])
    some = drawn(found, 10, seed=1)
    assert some["arch_index"].is_monotonic_increasing
    assert some["arch_index"].nunique() == 10
    assert drawn(found, 10, seed=1)["key"].tolist() == some["key"].tolist()
    assert drawn(found, 10, seed=2)["key"].tolist() != some["key"].tolist()
    everything = drawn(found, 99, seed=1)
    assert everything["arch_index"].tolist() == list(range(30))
    assert set(everything["status"]) == {"done"}


def test_a_run_without_finished_trainings_is_refused(finished):
    with pytest.raises(InputError, match="no finished training"):
        finished([training(0, status="failed")])
