"""Repetitions of trainings against noise of seeds: what passes, and what must not."""

import numpy as np
import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.results.run import Arguments, Clips, DataFacts, Run
from nas_skeleton.results.store import ResultWriter
from nas_skeleton.results.verification import Repetition, drawn_rows, verification

CLIPS = 200


def run_with(folder, accuracies):
    """A run whose trainings `(architectures, seeds)` have these accuracies on both splits."""
    clips = Clips([f"clip {i}" for i in range(CLIPS)], [0] * CLIPS)
    arguments = Arguments("tiny", "made-up", "p", "r", "random", [1, 2], "f", "h")
    run = Run(
        folder / "run", arguments, DataFacts(["a", "b"], 20, 1, {"valid": clips, "test": clips})
    )
    trainings = []
    for arch, of_arch in enumerate(accuracies):
        for seed, share in enumerate(of_arch, 1):
            row = {
                "key": f"{arch}/{seed}",
                "arch_index": arch,
                "seed": seed,
                "status": "done" if share is not None else "failed",
                "fingerprint": "f",
                "recipe_hash": "h",
                "final_valid_top1": share,
                "final_test_top1": share,
            }
            trainings.append((row, "[]", {}))
    writer = ResultWriter(run.results_folder, "w")
    writer.append_all(trainings)
    writer.close()
    return run


def repeated(arch, seed, stored, again):
    return Repetition(
        arch, seed, {"test": stored}, {"test": again}, {"test": 1}, stored == again, "native"
    )


@pytest.fixture
def noisy(tmp_path):
    """Two seeds of a cell differ by 0.04: a standard deviation of 0.028."""
    return run_with(tmp_path, [[0.5, 0.54], [0.66, 0.62], [0.7, 0.74]])


def test_other_seeds_pass_and_are_measured_by_the_noise_of_seeds(noisy):
    pairs = [(0, 1, 0.5, 0.54), (1, 2, 0.62, 0.6), (2, 1, 0.7, 0.7)]
    found = verification(noisy, [repeated(*pair) for pair in pairs])
    deviation = found.deviations["test"]
    assert deviation.noise == "seeds"
    assert deviation.expected == pytest.approx(0.04)  # sqrt(2) * 0.04 / sqrt(2)
    assert deviation.mean == pytest.approx(0.02 / 3)
    assert deviation.rms == pytest.approx(np.sqrt((0.04**2 + 0.02**2) / 3))
    assert deviation.p_size > 0.1
    assert found.passed
    assert (found.identical, found.failed) == (1, 0)
    assert "valid" not in found.deviations


@pytest.mark.parametrize(
    "shift", [lambda i: 0.1 * (-1) ** i, lambda i: -0.035], ids=["scattered", "all a little worse"]
)
def test_what_seeds_do_not_explain_does_not_pass(noisy, shift):
    again = [repeated(i, 1, 0.5, 0.5 + shift(i)) for i in range(20)]
    found = verification(noisy, again)
    assert found.deviations["test"].beyond_noise
    assert not found.passed


def test_with_one_seed_the_binomial_error_is_told_and_judges_nothing(tmp_path):
    run = run_with(tmp_path, [[0.5], [0.6]])
    found = verification(run, [repeated(i, 1, 0.5, 0.1) for i in range(20)])
    deviation = found.deviations["test"]
    assert deviation.noise == "clips"
    assert deviation.expected == pytest.approx(np.sqrt(2 * 0.25 / CLIPS), rel=0.01)
    assert deviation.p_size < 1e-6
    assert found.passed


def test_a_repetition_that_fails_fails_the_verification(noisy):
    bad = Repetition(0, 1, {"test": 0.5}, {}, {}, False, "", "Diverged: infinite loss")
    found = verification(noisy, [bad, repeated(1, 1, 0.66, 0.66)])
    assert (found.failed, found.identical, found.passed) == (1, 1, False)
    assert found.deviations["test"].rms == 0


def test_rows_are_drawn_by_the_seed_from_what_is_finished(tmp_path):
    run = run_with(tmp_path, [[0.5, None]] * 30)
    drawn = drawn_rows(run, 10, seed=1)
    assert drawn["arch_index"].is_monotonic_increasing
    assert drawn["arch_index"].nunique() == 10
    assert set(drawn["status"]) == {"done"}
    assert drawn_rows(run, 10, seed=1)["key"].tolist() == drawn["key"].tolist()
    assert drawn_rows(run, 10, seed=2)["key"].tolist() != drawn["key"].tolist()
    assert len(drawn_rows(run, 99, seed=1)) == 30


def test_a_run_without_finished_trainings_is_refused(tmp_path):
    with pytest.raises(InputError, match="no finished training"):
        drawn_rows(run_with(tmp_path, [[None]]), 5, seed=0)
