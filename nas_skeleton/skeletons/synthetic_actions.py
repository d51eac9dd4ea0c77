"""The 27 actions of the synthetic set, as data: where the parts of the body are at a few moments.

An action is a handful of key rows per part; `synthetic` interpolates them, gives them a person's
style and `synthetic_body` solves the joints. The classes and their order are UTD-MHAD's, the
movements are our own sketch of what the names say. Nothing here knows metres, frames or noise.

Every row is ``(moment, a, b, c)`` with the moment in [0, 1] from the start to the end of the
movement and, by part:

* ``right``, ``left`` (wrists): outward from the midline, up, forward, from the own shoulder, in arm
  lengths;
* ``torso``: lean forward, lean to the right, twist to the right, in degrees;
* ``pelvis``: right, up, forward from standing, in leg lengths;
* ``right_foot``, ``left_foot`` (ankles): outward, up, forward from standing, in leg lengths.

A part without rows rests; before its first row it comes from rest, after its last it goes back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

Row = tuple[float, float, float, float]
Rows = tuple[Row, ...]

REST: Mapping[str, tuple[float, float, float]] = {
    "right": (0.14, -0.95, 0.06),
    "left": (0.14, -0.95, 0.06),
    "torso": (0.0, 0.0, 0.0),
    "pelvis": (0.0, 0.0, 0.0),
    "right_foot": (0.0, 0.0, 0.0),
    "left_foot": (0.0, 0.0, 0.0),
}


@dataclass(frozen=True)
class Action:
    """One class of movement.

    Attributes:
        name: Class name as in UTD-MHAD.
        frames: Usual length of a clip at 30 frames per second.
        keys: Rows that are passed once.
        cycle: Rows of one period of a repeated or closed movement, moments in [0, 1) of the period.
        window: First and last moment of the cycles within the movement.
        repeats: Fewest and most periods that people do.
        starts: Moments of the period at which people may begin; each is the moment of some row.
        closed: Whether the last period ends on the row it began with.
        wait: Share of the clip that is spent still, before and after the movement together.
    """

    name: str
    frames: int
    keys: Mapping[str, Rows] = field(default_factory=dict)
    cycle: Mapping[str, Rows] = field(default_factory=dict)
    window: tuple[float, float] = (0.18, 0.84)
    repeats: tuple[int, int] = (1, 1)
    starts: tuple[float, ...] = (0.0,)
    closed: bool = True
    wait: float = 0.57

    def tracks(self, repeats: int, start: float) -> dict[str, Rows]:
        """Rows per body part in order of time, from moment 0 to 1; parts that rest are left out.

        Args:
            repeats: How often the cycle is done.
            start: The moment of the period at which it begins, one of `starts`.
        """
        tracks = {}
        for part in REST:
            rows = [*self.keys.get(part, ()), *self._unrolled(part, repeats, start)]
            if not rows:
                continue
            rows.sort()
            if rows[0][0] > 0:
                rows.insert(0, (0.0, *REST[part]))
            if rows[-1][0] < 1:
                rows.append((1.0, *REST[part]))
            tracks[part] = tuple(rows)
        return tracks

    def _unrolled(self, part: str, repeats: int, start: float) -> list[Row]:
        """The periods of a part, begun at `start` and laid out in the window."""
        if part not in self.cycle:
            return []
        period = sorted(((row[0] - start) % 1.0, *row[1:]) for row in self.cycle[part])
        rows = [(k + moment, *place) for k in range(repeats) for moment, *place in period]
        if self.closed and period[0][0] == 0.0:
            rows.append((float(repeats), *period[0][1:]))
        first, last = self.window
        unit = (last - first) / (repeats if self.closed else rows[-1][0])
        return [(first + moment * unit, a, b, c) for moment, a, b, c in rows]


def _both(*rows: Row) -> dict[str, Rows]:
    """The same movement of both hands."""
    return {"right": rows, "left": rows}


def _circle(turn: int) -> Rows:
    """A circle from its top in front of the chest, clockwise (+1) or not (-1) for the person."""
    return tuple(
        (
            k / 8,
            -0.10 + 0.48 * turn * math.sin(k / 8 * math.tau),
            0.48 * math.cos(k / 8 * math.tau),
            0.68,
        )
        for k in range(8)
    )


_SEATED_HAND = (-0.05, -0.78, 0.38)
_SEATED = (0.0, -0.42, -0.38)

# One row per moment reads best side by side.
# fmt: off
ACTIONS: tuple[Action, ...] = (
    Action("swipe_left", 61, {
        "right": ((0.32, 0.62, -0.08, 0.58), (0.48, 0, -0.06, 0.85), (0.64, -0.62, -0.1, 0.45)),
        "torso": ((0.32, 0, 0, 8), (0.64, 2, 0, -16)),
    }),
    Action("swipe_right", 60, {
        "right": ((0.32, -0.58, -0.08, 0.45), (0.48, 0, -0.06, 0.85), (0.64, 0.72, -0.04, 0.5)),
        "torso": ((0.32, 2, 0, -12), (0.64, 0, 0, 10)),
    }),
    Action("wave", 65, cycle={
        "right": ((0, -0.28, 0.32, 0.5), (0.5, 0.34, 0.3, 0.52)),
    }, repeats=(2, 3), starts=(0, 0.5)),
    Action("clap", 62, cycle={
        **_both((0, 0.02, -0.3, 0.5), (0.5, -0.29, -0.26, 0.55)),
    }, repeats=(2, 3)),
    Action("throw", 59, {
        "right": (
            (0.28, 0.5, -0.35, -0.1), (0.44, 0.38, 0.4, -0.2), (0.58, 0.05, 0.3, 0.85),
            (0.7, -0.25, -0.35, 0.75),
        ),
        "torso": ((0.4, -4, 4, 18), (0.62, 8, -2, -16)),
    }),
    Action("arm_cross", 64, {
        "right": ((0.34, -0.52, -0.1, 0.38), (0.66, -0.52, -0.1, 0.38)),
        "left": ((0.34, -0.52, -0.2, 0.3), (0.66, -0.52, -0.2, 0.3)),
    }),
    Action("basketball_shoot", 60, {
        "right": ((0.32, -0.2, 0.05, 0.42), (0.46, -0.12, 0.38, 0.35), (0.58, -0.08, 0.78, 0.52)),
        "left": ((0.32, -0.28, 0, 0.45), (0.46, -0.22, 0.34, 0.42), (0.58, -0.12, 0.6, 0.55)),
        "pelvis": ((0.4, 0, -0.07, 0), (0.55, 0, 0.01, 0.01)),
        "torso": ((0.58, -5, 0, -4),),
    }),
    Action("draw_x", 66, cycle={
        "right": (
            (0, 0.36, 0.5, 0.62), (0.3, -0.54, -0.5, 0.58), (0.5, -0.54, 0.5, 0.58),
            (0.8, 0.36, -0.5, 0.62),
        ),
    }, closed=False, wait=0.42),
    Action("draw_circle_CW", 76, cycle={"right": _circle(+1)}, starts=(0, 0.5, 0.75), wait=0.5),
    Action("draw_circle_CCW", 75, cycle={"right": _circle(-1)}, starts=(0, 0.5, 0.75), wait=0.5),
    Action("draw_triangle", 77, cycle={
        "right": ((0, -0.08, 0.55, 0.62), (0.33, 0.46, -0.4, 0.62), (0.67, -0.62, -0.4, 0.55)),
    }, starts=(0, 0.67), wait=0.5),
    Action("bowling", 77, {
        "right": (
            (0.2, -0.05, -0.55, 0.45), (0.42, 0.18, -0.72, -0.55), (0.58, -0.02, -0.8, 0.4),
            (0.7, -0.12, -0.15, 0.85),
        ),
        "left": ((0.42, 0.45, -0.7, 0.1), (0.62, 0.5, -0.7, -0.05)),
        "torso": ((0.42, 28, 0, 10), (0.6, 36, 0, -8)),
        "pelvis": ((0.36, 0, -0.1, 0.22), (0.56, 0, -0.24, 0.42), (0.72, 0, -0.12, 0.4)),
        "left_foot": (
            (0.22, 0, 0, 0), (0.32, 0, 0.08, 0.3), (0.42, 0, 0, 0.62), (0.78, 0, 0, 0.62),
        ),
        "right_foot": ((0.42, 0, 0, 0), (0.58, 0.08, 0.1, -0.12), (0.78, 0, 0.02, 0.05)),
    }, wait=0.45),
    Action("boxing", 68, cycle={
        "right": ((0, -0.12, -0.12, 0.36), (0.25, -0.22, 0, 0.92), (0.5, -0.12, -0.12, 0.36)),
        "left": ((0, -0.12, -0.12, 0.36), (0.5, -0.12, -0.12, 0.36), (0.75, -0.22, 0, 0.92)),
        "torso": ((0.25, 5, 0, -14), (0.75, 5, 0, 14)),
    }, repeats=(1, 2), starts=(0, 0.5)),
    Action("baseball_swing", 74, {
        "right": ((0.34, -0.02, 0.02, 0.26), (0.5, -0.3, -0.16, 0.72), (0.62, -0.72, 0, 0.4)),
        "left": ((0.34, -0.62, -0.02, 0.36), (0.5, -0.32, -0.2, 0.75), (0.62, 0.1, -0.02, 0.5)),
        "torso": ((0.34, 4, 4, 30), (0.62, 4, -4, -42)),
        "pelvis": ((0.34, 0.08, -0.02, 0), (0.62, -0.08, -0.02, 0)),
    }),
    Action("tennis_swing", 64, {
        "right": ((0.34, 0.66, 0, -0.35), (0.5, 0.42, -0.38, 0.55), (0.64, -0.55, 0.1, 0.5)),
        "torso": ((0.34, 0, 2, 24), (0.64, 6, -2, -22)),
        "left_foot": ((0.3, 0, 0, 0), (0.4, 0, 0.04, 0.12), (0.48, 0, 0, 0.22), (0.74, 0, 0, 0.22)),
    }),
    Action("arm_curl", 59, cycle={
        **_both((0, 0.06, -0.86, 0.28), (0.5, 0.04, -0.16, 0.36)),
    }, window=(0.16, 0.84), repeats=(1, 2)),
    Action("tennis_serve", 68, {
        "right": (
            (0.3, 0.45, -0.5, -0.15), (0.44, 0.35, 0.38, -0.22), (0.56, 0.05, 0.78, 0.4),
            (0.68, -0.3, -0.3, 0.75),
        ),
        "left": ((0.2, -0.05, -0.4, 0.6), (0.36, 0, 0.62, 0.5), (0.54, -0.1, -0.3, 0.4)),
        "torso": ((0.4, -8, 6, 18), (0.62, 12, -4, -18)),
    }),
    Action("push", 62, {
        **_both((0.32, 0, -0.12, 0.3), (0.5, -0.1, -0.04, 0.94), (0.62, -0.1, -0.04, 0.94)),
        "torso": ((0.32, -2, 0, 0), (0.52, 6, 0, 0)),
    }),
    Action("knock", 68, cycle={
        "right": ((0, 0.02, 0.14, 0.5), (0.5, -0.05, 0.14, 0.76)),
    }, repeats=(2, 3)),
    Action("catch", 59, {
        "right": ((0.36, 0.04, 0.34, 0.66), (0.48, 0.02, 0.36, 0.72), (0.64, 0.06, -0.2, 0.42)),
    }),
    Action("pickup_throw", 87, {
        "right": (
            (0.16, -0.05, -0.7, 0.6), (0.3, -0.12, -0.8, 0.5), (0.46, 0.3, -0.55, 0.05),
            (0.6, 0.38, 0.38, -0.18), (0.72, 0.05, 0.3, 0.85), (0.82, -0.2, -0.4, 0.65),
        ),
        "left": ((0.2, 0, -0.8, 0.4), (0.32, 0.02, -0.75, 0.45), (0.48, 0.14, -0.92, 0.1)),
        "torso": ((0.26, 52, 0, 0), (0.34, 50, 0, 0), (0.58, -4, 4, 18), (0.76, 8, -2, -16)),
        "pelvis": ((0.28, 0, -0.4, -0.1), (0.34, 0, -0.38, -0.1), (0.52, 0, 0, 0)),
    }, wait=0.4),
    Action("jog", 68, cycle={
        "right": ((0, 0.06, -0.55, 0.42), (0.5, 0.16, -0.68, -0.18)),
        "left": ((0, 0.16, -0.68, -0.18), (0.5, 0.06, -0.55, 0.42)),
        "right_foot": ((0, 0, 0.26, -0.26), (0.25, 0, 0, 0), (0.5, 0, 0, 0), (0.75, 0, 0, 0)),
        "left_foot": ((0, 0, 0, 0), (0.25, 0, 0, 0), (0.5, 0, 0.26, -0.26), (0.75, 0, 0, 0)),
        "pelvis": ((0, 0, 0, 0), (0.25, 0, -0.05, 0), (0.5, 0, 0, 0), (0.75, 0, -0.05, 0)),
    }, window=(0.14, 0.86), repeats=(2, 3), starts=(0, 0.5), wait=0.22),
    Action("walk", 76, cycle={
        "right": ((0, 0.12, -0.86, 0.36), (0.5, 0.16, -0.88, -0.2)),
        "left": ((0, 0.16, -0.88, -0.2), (0.5, 0.12, -0.86, 0.36)),
        "right_foot": ((0, 0, 0.12, -0.08), (0.25, 0, 0, 0), (0.5, 0, 0, 0), (0.75, 0, 0, 0)),
        "left_foot": ((0, 0, 0, 0), (0.25, 0, 0, 0), (0.5, 0, 0.12, -0.08), (0.75, 0, 0, 0)),
    }, window=(0.12, 0.88), repeats=(1, 2), starts=(0, 0.5), wait=0.22),
    Action("sit2stand", 55, {
        **_both((0, *_SEATED_HAND), (0.32, *_SEATED_HAND), (0.55, 0.05, -0.9, 0.25)),
        "torso": ((0, 4, 0, 0), (0.22, 6, 0, 0), (0.42, 34, 0, 0), (0.66, 4, 0, 0)),
        "pelvis": ((0, *_SEATED), (0.32, *_SEATED), (0.66, 0, 0, 0)),
    }),
    Action("stand2sit", 57, {
        **_both((0.34, 0.12, -0.94, 0.1), (0.72, *_SEATED_HAND), (1, *_SEATED_HAND)),
        "torso": ((0.28, 2, 0, 0), (0.55, 34, 0, 0), (0.76, 6, 0, 0), (1, 4, 0, 0)),
        "pelvis": ((0.28, 0, 0, 0), (0.66, *_SEATED), (1, *_SEATED)),
    }),
    Action("lunge", 80, {
        "pelvis": (
            (0.3, 0, -0.06, 0.2), (0.48, 0, -0.34, 0.36), (0.58, 0, -0.34, 0.36),
            (0.74, 0, -0.06, 0.16),
        ),
        "left_foot": (
            (0.14, 0, 0, 0), (0.24, 0, 0.1, 0.32), (0.34, 0, 0, 0.72), (0.7, 0, 0, 0.72),
            (0.8, 0, 0.1, 0.3), (0.9, 0, 0, 0),
        ),
        "right_foot": (
            (0.3, 0, 0, 0), (0.48, 0, 0.1, -0.06), (0.58, 0, 0.1, -0.06), (0.74, 0, 0, 0),
        ),
        "torso": ((0.5, 6, 0, 0),),
    }, wait=0.45),
    Action("squat", 82, {
        **_both((0.24, -0.05, -0.06, 0.9), (0.74, -0.05, -0.06, 0.9)),
        "torso": ((0.28, 0, 0, 0), (0.48, 24, 0, 0), (0.56, 24, 0, 0), (0.74, 0, 0, 0)),
        "pelvis": (
            (0.26, 0, 0, 0), (0.48, 0, -0.46, -0.16), (0.56, 0, -0.46, -0.16), (0.76, 0, 0, 0),
        ),
    }, wait=0.45),
)
# fmt: on
