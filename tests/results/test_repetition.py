"""Repetitions together: identical ones prove nothing of the others, and any fault fails."""

import numpy as np
import pandas as pd
import pytest

from nas_skeleton.results.finished import Fault, Finished
from nas_skeleton.results.repetition import Repetition, verification

CLIPS, SD = 430, 0.03
ORIGIN = ("native", "cpu", "0.1.0", "here")


def stored(seeds=2, faults=(), engine="native", further=()):
    """100 architectures with so many seeds, whose standard deviation is .03 on test clips."""
    rng = np.random.default_rng(0)
    values = 0.7 + SD * rng.standard_normal((100, seeds))
    rows = [
        {"arch_index": a, "seed": s, "engine": engine, "final_test_top1": values[a, s]}
        for a in range(100)
        for s in range(seeds)
    ]
    labels = {"test": np.zeros(CLIPS, np.int64)}
    table = pd.DataFrame([*rows, *further])
    return Finished("run", "r", None, None, labels, table, list(faults), read=None)


def repeated(arch, difference=None, origin=ORIGIN, error=""):
    """A repetition that is so far off; None is identical."""
    again = {} if error else {"test": 0.7 + (difference or 0.0)}
    same = difference is None and not error
    return Repetition(
        arch, 0, origin, {"test": 0.7}, again, {"test": 0 if same else 9}, same, "native", error
    )


def verified(finished, repetitions):
    return verification(finished, repetitions, np.random.default_rng(1))


def test_identical_ones_pass_and_there_is_nothing_to_judge():
    found = verified(stored(), [repeated(arch) for arch in range(20)])
    assert found.passed
    assert (found.identical, found.failed, found.deviations) == (20, 0, {})


def test_other_seeds_pass():
    noise = SD * np.sqrt(2) * np.random.default_rng(2).standard_normal(20)
    found = verified(stored(), [repeated(arch, noise[arch]) for arch in range(20)])
    assert found.passed
    assert found.deviations["test"].judged == 20


@pytest.mark.parametrize("wrong", [1, 3])
def test_a_few_wrong_rows_among_many_identical_ones_fail(wrong):
    again = [repeated(arch, -0.3 if arch < wrong else None) for arch in range(100)]
    found = verified(stored(), again)
    assert found.identical == 100 - wrong
    assert found.deviations["test"].judged == wrong
    assert found.beyond_noise == ["test"]
    assert not found.passed


def test_one_forged_row_among_others_that_differ_by_noise_fails():
    noise = 0.5 * SD * np.random.default_rng(2).standard_normal(20)
    noise[4] = 0.28
    found = verified(stored(), [repeated(arch, noise[arch]) for arch in range(20)])
    assert found.beyond_noise == ["test"]


def test_with_one_seed_a_gross_error_fails_and_noise_does_not():
    noise = SD * np.sqrt(2) * np.random.default_rng(2).standard_normal(20)
    fine = verified(stored(seeds=1), [repeated(arch, noise[arch]) for arch in range(20)])
    assert fine.passed
    assert fine.deviations["test"].noise == "assumed"
    noise[7] = 1 / 27 - 0.7  # trained nothing
    assert not verified(stored(seeds=1), [repeated(arch, noise[arch]) for arch in range(20)]).passed


def test_rows_that_are_not_their_own_predictions_fail_and_do_not_widen_the_noise():
    forged = [
        {"arch_index": arch, "seed": 5, "engine": "native", "final_test_top1": 0.1}
        for arch in range(50)
    ]
    faults = [Fault(arch, 5, "forged") for arch in range(50)]
    found = verified(stored(faults=faults, further=forged), [repeated(1, 0.0)])
    assert found.deviations["test"].expected == pytest.approx(SD * np.sqrt(2), rel=0.15)
    assert found.beyond_noise == []
    assert not found.passed


def test_rows_filled_in_without_training_do_not_narrow_the_noise():
    filled = [
        {"arch_index": 1000 + arch, "seed": seed, "engine": "analytic", "final_test_top1": 0.04}
        for arch in range(300)
        for seed in range(2)
    ]
    found = verified(stored(further=filled), [repeated(1, 0.0)])
    assert found.deviations["test"].architectures == 100


def test_a_repetition_that_fails_fails_the_verification():
    found = verified(stored(), [repeated(0, error="Diverged: infinite loss"), repeated(1)])
    assert (found.failed, found.identical, found.passed) == (1, 1, False)
    assert found.deviations == {}


def test_one_that_differs_where_others_of_its_machine_are_identical_is_named():
    elsewhere = (*ORIGIN[:3], "another")
    again = [repeated(0), repeated(1, 0.01), repeated(2, 0.01, elsewhere)]
    found = verified(stored(), again)
    assert [one.arch_index for one in found.unexplained] == [1]
    assert found.passed
