"""Learning curves of groups: means over what there is, and their spread over classes."""

import numpy as np
import pytest

from nas_skeleton.analysis.curves import group_curves
from nas_skeleton.errors import InputError


def test_courses_are_means_over_seeds_and_then_over_classes():
    curves = np.random.default_rng(0).random((8, 3, 2))
    groups = ["b", "a", "a", None, "a", "a", "a", "a"]
    found = group_curves(curves, groups, [5, 10]).set_index(["group", "epoch"])
    own = curves[[1, 2, 4, 5, 6, 7]].mean(axis=1)
    assert found.index.tolist() == [("a", 5), ("a", 10), ("b", 5), ("b", 10)]
    for at, epoch in enumerate((5, 10)):
        row = found.loc[("a", epoch)]
        assert row["classes"] == 6
        assert row["mean"] == pytest.approx(own[:, at].mean())
        assert row["quartile_1"] == pytest.approx(np.quantile(own[:, at], 0.25))
        assert row["low"] < row["mean"] < row["high"]
        # A mean of six is surer than one class, by about the root of six.
        error = own[:, at].std() / np.sqrt(6)
        assert (row["high"] - row["low"]) / (2 * 1.96) == pytest.approx(error, rel=0.2)
    assert np.isnan(found.loc[("b", 5), "low"])
    assert found.loc[("b", 5), "mean"] == pytest.approx(curves[0, :, 0].mean())


def test_seeds_that_lack_count_for_nothing_and_classes_without_any_are_left_out():
    curves = np.ones((3, 2, 2))
    curves[0, 0] = np.nan
    curves[1] = np.nan
    found = group_curves(curves, [True, True, True], [1, 2])
    assert found["classes"].tolist() == [2, 2]
    assert found["mean"].tolist() == [1, 1]
    with pytest.raises(InputError, match="no class"):
        group_curves(curves, [None, True, None], [1, 2])
    with pytest.raises(InputError, match="shape"):
        group_curves(curves, [True, True], [1, 2])
