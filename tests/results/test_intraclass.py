import numpy as np
import pandas as pd
import pytest

from nas_skeleton.results.intraclass import reliability, reliability_of


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


def test_recovers_the_share_it_was_simulated_with():
    rng = np.random.default_rng(0)
    values = rng.normal(0, 3, (4000, 1)) + rng.normal(0, 4, (4000, 3))
    found = reliability(rows(values), "accuracy")
    assert found.single == pytest.approx(9 / 25, abs=0.03)
    assert found.mean == pytest.approx(9 / (9 + 16 / 3), abs=0.03)


@pytest.mark.slow
def test_the_interval_covers_the_true_share_of_cells_of_unequal_noise():
    # As in a table: some cells are far worse than most, and noise differs severalfold among cells.
    rng = np.random.default_rng(1)

    def drawn(cells):
        quality = -rng.exponential(0.08, size=(cells, 1))
        noise = 0.04 * np.exp(rng.normal(0, 0.6, size=(cells, 1)))
        return quality + noise * rng.normal(size=(cells, 2)), noise

    _, noise = drawn(200_000)
    share = 0.08**2 / (0.08**2 + (noise**2).mean())
    covered = []
    for _ in range(200):
        found = reliability_of(drawn(60)[0])
        covered.append(found.low <= share <= found.high)
    assert np.mean(covered) >= 0.88


def test_needs_three_architectures_and_two_seeds():
    assert reliability(rows([[1.0], [2.0], [3.0]]), "accuracy") is None
    assert reliability(rows([[1.0, 2.0], [2.0, 1.0]]), "accuracy") is None


def test_architectures_without_all_seeds_do_not_count():
    table = rows([[1.0, 1.1], [2.0, 2.1], [3.0, 3.2], [9.0, 0.0]]).iloc[:-1]
    assert reliability(table, "accuracy").architectures == 3
