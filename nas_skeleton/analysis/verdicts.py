"""Whether a finding holds, by one rule for all, so that none is read as one would like it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pandas as pd

from nas_skeleton.errors import InputError

Interval = tuple[float, float]
Effect = tuple[float, float, float]  # and its low and high end


class Verdict(StrEnum):
    """What intervals say about a finding that has a sign."""

    HOLDS = "holds"
    DOES_NOT_HOLD = "does not hold"
    CANNOT_TELL = "cannot tell"


def verdict(*intervals: Interval) -> Verdict:
    """A finding holds if every interval is above 0, and does not if every one is below.

    Everything else cannot be told: an interval that holds or touches 0, intervals on both sides,
    and one that is not known (NaN).

    Args:
        intervals: low and high of the same difference, on splits, seeds or tables that all must
            agree; signed such that the finding says it is positive.

    Raises:
        InputError: no interval, or one whose low end is above its high end.
    """
    if not intervals:
        raise InputError("a verdict needs at least one interval")
    ends = np.array(intervals, np.float64)
    if (ends[:, 0] > ends[:, 1]).any():
        raise InputError(f"intervals {intervals}: a low end above its high end")
    if (ends[:, 0] > 0).all():
        return Verdict.HOLDS
    if (ends[:, 1] < 0).all():
        return Verdict.DOES_NOT_HOLD
    return Verdict.CANNOT_TELL


@dataclass(frozen=True)
class Finding:
    """What was said, and what was measured.

    Attributes:
        number: of the saying, as text; empty for what stands beside it.
        saying: in words.
        measure: what the numbers are, in words.
        effects: by split, positive where the saying holds; empty where nothing could be measured.
        by_construction: a verdict that needs no measurement.
    """

    number: str
    saying: str
    measure: str
    effects: Mapping[str, Effect]
    by_construction: Verdict | None = None

    @property
    def verdict(self) -> Verdict:
        """By the rule of `verdict`, over all splits; nothing measured cannot be told."""
        if self.by_construction:
            return self.by_construction
        if not self.effects:
            return Verdict.CANNOT_TELL
        return verdict(*(effect[1:] for effect in self.effects.values()))


def findings_table(findings: Sequence[Finding]) -> pd.DataFrame:
    """A row per finding: number, saying, measure, a column of texts per split, verdict."""
    splits = list(dict.fromkeys(split for one in findings for split in one.effects))
    rows = []
    for one in findings:
        texts = {
            split: _text(*one.effects[split]) if split in one.effects else "" for split in splits
        }
        named = {"#": one.number, "finding": one.saying, "measured, in points": one.measure}
        text = f"{one.verdict}, by construction" if one.by_construction else str(one.verdict)
        rows.append({**named, **texts, "verdict": text})
    return pd.DataFrame(rows)


def _text(effect: float, low: float, high: float) -> str:
    if np.isnan([low, high]).any():
        return f"{effect:+.1f} [too few]"
    return f"{effect:+.1f} [{low:+.1f}, {high:+.1f}]"
