"""When a finding holds."""

import numpy as np
import pytest

from nas_skeleton.analysis.verdicts import Finding, Verdict, findings_table, verdict
from nas_skeleton.errors import InputError


@pytest.mark.parametrize(
    ("intervals", "expected"),
    [
        ([(0.1, 2)], Verdict.HOLDS),
        ([(0.1, 2), (3, 4)], Verdict.HOLDS),
        ([(-2, -0.1), (-4, -3)], Verdict.DOES_NOT_HOLD),
        ([(0.1, 2), (-0.1, 4)], Verdict.CANNOT_TELL),
        ([(0.1, 2), (-4, -3)], Verdict.CANNOT_TELL),  # splits contradict each other
        ([(0.0, 2)], Verdict.CANNOT_TELL),
        ([(0.1, 2), (np.nan, np.nan)], Verdict.CANNOT_TELL),
    ],
)
def test_all_intervals_must_agree(intervals, expected):
    assert verdict(*intervals) == expected


def test_what_is_no_interval_is_said():
    with pytest.raises(InputError, match="at least one"):
        verdict()
    with pytest.raises(InputError, match="low end above"):
        verdict((2, 1))


def test_findings_stand_in_a_table_with_their_verdicts():
    found = findings_table(
        [
            Finding("1", "a is good", "a less b", {"valid": (2, 1, 3), "test": (1, 0.5, 1.5)}),
            Finding("", "a is bad", "b less a", {"valid": (-2, -3, -1), "test": (-1, -1.5, 0.5)}),
            Finding("2", "c is good", "no table", {}),
            Finding("2b", "c is good", "of three", {"test": (4, np.nan, np.nan)}),
            Finding("3", "d is chance", "its definition", {}, by_construction=Verdict.HOLDS),
        ]
    )
    verdicts = ["holds", *["cannot tell"] * 3, "holds, by construction"]
    assert found["verdict"].tolist() == verdicts
    assert found["valid"].tolist() == ["+2.0 [+1.0, +3.0]", "-2.0 [-3.0, -1.0]", *[""] * 3]
    assert found["test"].tolist()[3] == "+4.0 [too few]"
    assert found.columns.tolist()[:3] == ["#", "finding", "measured, in points"]
