"""The synthetic skeleton set: UTD-MHAD's shape and classes without its data, made on the spot.

Eight made-up people do 27 actions four times in front of a depth camera; each clip is what the
variable ``d_skel`` of UTD-MHAD holds. The key rows of `synthetic_actions` get a person's style, a
trial's whims and a time course, `synthetic_body` follows them, and the camera adds its drift and
noise. What is hard about the set is what is hard about people: new bodies, other habits, free
timing; never wrong labels. It is for trying the program and for tests: an accuracy on it says
nothing about recognising real actions.

Trained on subjects 1, 3, 5 and tested on the even ones (chance is 0.04), a linear probe gets 0.59
and a network of three convolutions 0.85 (0.84, 0.87, 0.84 with three seeds), on 16 frames each.
Most confused are the shapes drawn in the air, knock and wave, and push, boxing and clap.
``pytest -s tests/skeletons/test_synthetic.py -k learnable`` measures and prints both numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator, default_rng

from nas_skeleton.skeletons import synthetic_body
from nas_skeleton.skeletons.layouts import UTDMHAD
from nas_skeleton.skeletons.synthetic_actions import ACTIONS, REST, Action, Rows
from nas_skeleton.skeletons.synthetic_body import Array

VERSION = 1
"""Generator version, part of the data fingerprint: whatever changes a coordinate must raise it."""

SUBJECTS = 8
TRIALS = 4
MISSING = frozenset({(8, 1, 4), (23, 6, 4), (27, 8, 4)})
"""The (action, subject, trial) that UTD-MHAD lacks as well."""

_SHORTEST, _LONGEST = 41, 125  # frames, as in UTD-MHAD

_STATURES = (1.00, 0.98, 0.93, 0.97, 1.05, 1.08, 0.94, 1.02)  # by subject, of an average body
_HANDS = ("right", "left")
_HABIT, _WHIM = 0.03, 0.03  # how far hands aim beside the rows, by person and by trial, arm lengths

_STANDS_AT = np.array([-0.09, -1.06, 2.95])  # the floor under the person in camera space
_SWAY = np.array([0.012, 0.0, 0.012])

# Jitter from frame to frame and slow wander of tracked joints, standard deviations in metres.
_NOISE = {
    "head": (0.001, 0.004),
    "shoulder centre": (0.001, 0.003),
    "spine": (0.001, 0.003),
    "hip centre": (0.001, 0.003),
    "shoulder": (0.001, 0.005),
    "elbow": (0.002, 0.009),
    "wrist": (0.004, 0.012),
    "hand": (0.006, 0.016),
    "hip": (0.001, 0.004),
    "knee": (0.001, 0.007),
    "ankle": (0.002, 0.008),
    "foot": (0.004, 0.010),
}
_JITTER, _WANDER = np.array(
    [_NOISE[name.removeprefix("left ").removeprefix("right ")] for name in UTDMHAD.joints]
).T[..., None]


@dataclass(frozen=True)
class _Person:
    """What stays with a subject from clip to clip."""

    build: synthetic_body.Build
    facing: float  # degrees to the right
    tempo: float  # factor on the length of clips
    reach: float  # factor on how far movements go
    aim: Array  # shift of acting hands (outward, up, forward), arm lengths
    rest: Array  # shift of hanging hands, arm lengths
    readiness: float  # share of the waiting that comes before the movement


def names() -> Iterator[str]:
    """File stems of the 861 clips in file order, like ``a1_s1_t1_skeleton``."""
    for action, subject, trial in _identities():
        yield f"a{action}_s{subject}_t{trial}_skeleton"


def generate() -> Iterator[tuple[str, Array]]:
    """All 861 clips in file order: actions, then subjects, then trials.

    Yields:
        File stem and clip of shape (20 joints, 3 coordinates, T frames), see `clip`.
    """
    for stem, identity in zip(names(), _identities(), strict=True):
        yield stem, clip(*identity)


def clip(action: int, subject: int, trial: int) -> Array:
    """One clip, the same whether it is generated alone or among others.

    Args:
        action: 1 to 27, as in file names.
        subject: 1 to 8.
        trial: 1 to 4.

    Returns:
        Float64 joint positions of shape (20, 3, T) in metres and camera space (y up, z away from
        the camera, the person's right at larger x), 30 frames per second, T in 41..125. Rounded to
        0.01 mm, so that the last bits of a mathematical library do not show.
    """
    person = _person(subject)
    habit = default_rng((VERSION, subject, action))
    whim = default_rng((VERSION, action, subject, trial))
    targets = _perform(ACTIONS[action - 1], person, habit, whim)
    facing = person.facing + 3.0 * whim.standard_normal()
    joints = _seen(synthetic_body.pose(person.build, targets, facing), whim)
    return np.ascontiguousarray(np.round(joints, 5).transpose(1, 2, 0))


def _identities() -> Iterator[tuple[int, int, int]]:
    for action in range(1, len(ACTIONS) + 1):
        for subject in range(1, SUBJECTS + 1):
            for trial in range(1, TRIALS + 1):
                if (action, subject, trial) not in MISSING:
                    yield action, subject, trial


def _person(subject: int) -> _Person:
    rng = default_rng((VERSION, subject))
    scale = _STATURES[subject - 1] * rng.uniform(0.99, 1.01)
    bones = {
        bone: scale * length * rng.uniform(0.95, 1.05)
        for bone, length in synthetic_body.BONES.items()
    }
    return _Person(
        build=synthetic_body.Build(
            bones=bones,
            elbow=np.array([0.4, -0.7, -0.6]) + 0.10 * rng.standard_normal(3),
            slouch=rng.uniform(1.0, 7.0),
            twist=rng.uniform(4.0, 16.0),
            stance=rng.uniform(-0.03, 0.03),
        ),
        facing=3.0 * rng.standard_normal(),
        tempo=rng.uniform(0.81, 1.10),
        reach=rng.uniform(0.88, 1.12),
        aim=_HABIT * rng.standard_normal(3),
        rest=0.04 * rng.standard_normal(3),
        readiness=rng.uniform(0.4, 0.6),
    )


def _perform(plan: Action, person: _Person, habit: Generator, whim: Generator) -> dict[str, Array]:
    """Where each part is to be in every frame, (T, 3) in the units of `synthetic_actions`."""
    moments = _time_course(plan, person, habit, whim)
    starts = len(plan.starts)
    usual, other = int(habit.integers(starts)), int(whim.integers(starts))
    start = usual if whim.random() < 0.5 else other
    repeats = int(whim.integers(plan.repeats[0], plan.repeats[1] + 1))
    tracks = plan.tracks(repeats, plan.starts[start])
    aim = person.aim + _aside(habit, whim)
    targets = {}
    for part, rest in REST.items():
        # Drawn for every part, so that an edit of one track leaves the other parts as they were.
        size = (
            person.reach
            * (1 + 0.06 * habit.standard_normal())
            * (1 + 0.05 * whim.standard_normal())
        )
        beside = aim + 0.3 * _aside(habit, whim)
        home = np.array(rest) + (person.rest if part in _HANDS else 0.0)
        if part in tracks:
            moment, place = _styled(part, tracks[part], home, size, beside)
            targets[part] = _through(moment, place, moments)
        else:
            targets[part] = np.broadcast_to(home, (len(moments), 3))
    return targets


def _aside(habit: Generator, whim: Generator) -> Array:
    """How far a hand aims beside the rows, (outward, up, forward) in arm lengths."""
    shift: Array = _HABIT * habit.standard_normal(3) + _WHIM * whim.standard_normal(3)
    return shift


def _styled(part: str, rows: Rows, home: Array, size: float, beside: Array) -> tuple[Array, Array]:
    """Moments (K,) and places (K, 3) of `rows` as this person does them now.

    Movements grow by `size`, those of hands about their middle and moved `beside` it; rest becomes
    `home`.
    """
    table = np.array(rows, dtype=np.float64)
    moments, places = table[:, 0], table[:, 1:]
    resting = (places == np.array(REST[part])).all(axis=1)
    if part in _HANDS:
        middle = places[~resting].mean(axis=0)
        places = middle + beside + size * (places - middle)
    else:
        places = size * places
    places[resting] = home
    return moments, places


def _time_course(plan: Action, person: _Person, habit: Generator, whim: Generator) -> Array:
    """Moment of the movement in [0, 1] for every frame: a wait, uneven progress, a wait."""
    tempo = person.tempo * np.exp(0.06 * habit.standard_normal() + 0.07 * whim.standard_normal())
    frames = int(np.clip(round(plan.frames * tempo), _SHORTEST, _LONGEST))
    wait = plan.wait + 0.05 * whim.uniform(-1, 1)
    before = wait * np.clip(person.readiness + 0.5 * whim.uniform(-1, 1), 0.0, 1.0)
    moments = np.clip((np.arange(frames) / (frames - 1) - before) / (1 - wait), 0.0, 1.0)
    # Monotone: its slope is 1 + pi (a cos pi m + 2 b cos 2 pi m), and |a| + 2 |b| < 1 / pi.
    a, b = (0.06, 0.03) * (habit.uniform(-1, 1, 2) + whim.uniform(-1, 1, 2))
    warped: Array = moments + a * np.sin(np.pi * moments) + b * np.sin(2 * np.pi * moments)
    return warped


def _seen(joints: Array, whim: Generator) -> Array:
    """`joints` (T, 20, 3) in camera space as tracked: people sway, joints wander and jitter."""
    frames, count, axes = joints.shape
    spot = _STANDS_AT + np.array([0.03, 0.01, 0.08]) * whim.standard_normal(3)
    sway = _SWAY * _drift(frames, axes, 36, whim)
    wander = _WANDER * _drift(frames, count * axes, 12, whim).reshape(joints.shape)
    jitter = _JITTER * whim.standard_normal(joints.shape)
    seen: Array = joints + (spot + sway)[:, None, :] + wander + jitter
    return seen


def _drift(frames: int, width: int, spacing: int, rng: Generator) -> Array:
    """Smooth random curves (frames, width) of about unit size, a knot every `spacing` frames."""
    knots = np.arange(0.0, frames + spacing, spacing)
    return _through(knots, rng.standard_normal((len(knots), width)), np.arange(float(frames)))


def _through(moments: Array, places: Array, at: Array) -> Array:
    """Smooth curve through `places` (K, D) at `moments` (K,), read at `at` (T,): (T, D).

    Cubic Hermite pieces whose slopes are harmonic means of the chords' (Fritsch and Butland,
    1984): between two rows every coordinate stays between theirs, so feet never sink into the floor
    and a held pose is held.
    """
    step = np.diff(moments)[:, None]
    chord = np.diff(places, axis=0) / step
    product, total = chord[:-1] * chord[1:], chord[:-1] + chord[1:]
    slope = np.zeros_like(places)
    np.divide(2 * product, total, out=slope[1:-1], where=product > 0)
    k = np.clip(np.searchsorted(moments, at, side="right") - 1, 0, len(moments) - 2)
    u = (at - moments[k])[:, None] / step[k]
    v = 1 - u
    curve: Array = v * v * ((1 + 2 * u) * places[k] + u * step[k] * slope[k]) + u * u * (
        (1 + 2 * v) * places[k + 1] - v * step[k] * slope[k + 1]
    )
    return curve
