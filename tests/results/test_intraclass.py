import numpy as np
import pandas as pd
import pytest

from nas_skeleton.results.intraclass import reliability


def rows(values):
    return pd.DataFrame(
        [
            {"arch_index": arch, "seed": seed, "accuracy": value}
            for arch, of_arch in enumerate(values)
            for seed, value in enumerate(of_arch)
        ]
    )


def test_example_of_shrout_and_fleiss():
    # Their table 2: six targets, four judges; ICC(1,1) = .17 and ICC(1,4) = .44 in table 4.
    ratings = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    found = reliability(rows(ratings), "accuracy")
    assert found.single == pytest.approx(0.17, abs=0.005)
    assert found.mean == pytest.approx(0.44, abs=0.005)
    assert (found.architectures, found.seeds) == (6, 4)
    # Their interval for ICC(1,1), worked from F = 1.79 on 5 and 18 degrees of freedom.
    assert (found.low, found.high) == pytest.approx((-0.13, 0.72), abs=0.01)


def test_recovers_the_share_it_was_simulated_with():
    rng = np.random.default_rng(0)
    values = rng.normal(0, 3, (4000, 1)) + rng.normal(0, 4, (4000, 3))
    found = reliability(rows(values), "accuracy")
    assert found.single == pytest.approx(9 / 25, abs=0.03)
    assert found.mean == pytest.approx(9 / (9 + 16 / 3), abs=0.03)


def test_needs_three_architectures_and_two_seeds():
    assert reliability(rows([[1.0], [2.0], [3.0]]), "accuracy") is None
    assert reliability(rows([[1.0, 2.0], [2.0, 1.0]]), "accuracy") is None


def test_architectures_without_all_seeds_do_not_count():
    table = rows([[1.0, 1.1], [2.0, 2.1], [3.0, 3.2], [9.0, 0.0]]).iloc[:-1]
    assert reliability(table, "accuracy").architectures == 3
