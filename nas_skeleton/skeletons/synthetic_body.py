"""The 20-joint body of the synthetic set: from hands, torso, pelvis and feet to all joints.

The trunk is turned about its axes, arms and legs are bent by two-bone inverse kinematics, so every
bone keeps its length in every frame. Targets come in the units of `synthetic_actions`. The result
is in metres, the floor at y = 0, the standing place at x = z = 0, in the axes of a camera in front
of the person: x to the person's right, y up, z away from the camera, towards which the person
faces. Style, time and noise are not known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_skeleton.skeletons.layouts import UTDMHAD

Array = NDArray[np.float64]

BONES: Mapping[str, float] = {
    "head": 0.190,
    "chest": 0.335,
    "spine": 0.062,
    "clavicle": 0.190,
    "upper arm": 0.262,
    "forearm": 0.232,
    "hand": 0.070,
    "hip": 0.102,
    "thigh": 0.440,
    "shin": 0.350,
    "foot": 0.080,
}
"""Bone lengths in metres of an average body; left and right are equal by construction."""

_TO_CAMERA = np.array([1.0, 1.0, -1.0])
"""(right, up, forward) of a person who faces the camera, as signs of the camera's axes."""

_SIDES = {"left": np.array([-1.0, 1.0, 1.0]), "right": np.ones(3)}
"""Factor from (outward, up, forward) to (right, up, forward)."""


@dataclass(frozen=True)
class Build:
    """A body and how it is held.

    Attributes:
        bones: Lengths in metres under the names of `BONES`.
        elbow: Where elbows point, (outward, up, forward), any length.
        slouch: Forward lean of the torso at rest, degrees.
        twist: Turn of the torso, in degrees, that comes with one hand reaching an arm length
            further forward than the other.
        stance: Shift of each foot outward, metres.
    """

    bones: Mapping[str, float]
    elbow: Array
    slouch: float
    twist: float
    stance: float


def pose(build: Build, targets: Mapping[str, Array], facing: float) -> Array:
    """Joint positions (T, 20, 3) of the body that follows the targets.

    Args:
        build: Whose body.
        targets: (T, 3) for every part of `synthetic_actions.REST`.
        facing: Turn of the whole person to the right, degrees; 0 faces the camera.
    """
    bone = build.bones
    leg = bone["thigh"] + bone["shin"]
    heading = np.array([0.0, 0.0, facing])
    reach = (targets["left"] - targets["right"])[:, 2:]
    bend = targets["torso"] + (build.slouch, 0.0, 0.0) + reach * (0.0, 0.0, build.twist)
    chest = _axes(bend + heading)
    pelvis = _axes(bend * (0.4, 0.3, 0.3) + heading)
    ground = _axes(heading[None])

    ankle_height = 0.5 * bone["foot"]
    hip = bone["hip"] * np.array([0.72, -0.69, 0.0])
    standing = 0.985 * leg + ankle_height - hip[1]
    centre = np.array([0.0, standing, 0.0]) + _turn(ground, leg * targets["pelvis"])
    spine = centre + _turn(pelvis, np.array([0.0, bone["spine"], 0.0]))
    collar = spine + _turn(chest, np.array([0.0, bone["chest"], 0.0]))
    head = collar + _turn(chest, np.array([0.0, bone["head"], 0.0]))
    joints = {"head": head, "shoulder centre": collar, "spine": spine, "hip centre": centre}
    for side, sign in _SIDES.items():
        hand = targets[side] * sign
        # The shoulder follows the hand a little: raised arms lift it.
        shoulder = collar + bone["clavicle"] * _turn(
            chest, _unit(sign * (0.85, -0.5, 0.0) + 0.25 * hand)
        )
        elbow, wrist = _two_bones(
            shoulder,
            shoulder + (bone["upper arm"] + bone["forearm"]) * _turn(chest, hand),
            (bone["upper arm"], bone["forearm"]),
            _turn(chest, build.elbow * sign),
        )
        foot = (hip[0] + build.stance, 0.0, 0.0) + leg * targets[f"{side}_foot"]
        socket = centre + _turn(pelvis, hip * sign)
        knee, ankle = _two_bones(
            socket,
            np.array([0.0, ankle_height, 0.0]) + _turn(ground, foot * sign),
            (bone["thigh"], bone["shin"]),
            _turn(ground, sign * (0.15, 0.0, 1.0)),
        )
        # Toes point forward along the ground and drop as the shin tips back.
        toes = _unit(_turn(ground, sign * (0.3, 0.0, 0.9)) + 0.45 * _unit(ankle - knee))
        limbs = {
            "shoulder": shoulder,
            "elbow": elbow,
            "wrist": wrist,
            "hand": wrist + bone["hand"] * _unit(wrist - elbow),
            "hip": socket,
            "knee": knee,
            "ankle": ankle,
            "foot": ankle + bone["foot"] * toes,
        }
        joints |= {f"{side} {name}": place for name, place in limbs.items()}
    return np.stack([joints[name] for name in UTDMHAD.joints], axis=1)


def _axes(degrees: Array) -> Array:
    """Rotations (T, 3, 3) by lean forward, lean to the right and twist to the right (T, 3)."""
    lean, side, twist = np.radians(-degrees).T
    zero, one = np.zeros_like(lean), np.ones_like(lean)
    (cl, sl), (cs, ss), (ct, st) = ((np.cos(angle), np.sin(angle)) for angle in (lean, side, twist))
    pitch = np.array([[one, zero, zero], [zero, cl, -sl], [zero, sl, cl]])
    roll = np.array([[cs, -ss, zero], [ss, cs, zero], [zero, zero, one]])
    yaw = np.array([[ct, zero, st], [zero, one, zero], [-st, zero, ct]])
    turned: Array = np.einsum("ijt,jkt,klt->til", yaw, pitch, roll)
    return turned


def _turn(axes: Array, offset: Array) -> Array:
    """Offsets (right, up, forward), (3,) or (T, 3), turned by `axes`; in camera axes, (T, 3)."""
    turned: Array = (axes * (offset * _TO_CAMERA)[..., None, :]).sum(axis=-1)
    return turned


def _unit(vectors: Array) -> Array:
    scaled: Array = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return scaled


def _two_bones(
    root: Array, goal: Array, lengths: tuple[float, float], pole: Array
) -> tuple[Array, Array]:
    """Middle and end joint (T, 3) of a limb that reaches from `root` to `goal`, bent to `pole`.

    A goal out of reach is reached for. The limb is never quite straight (99 % of its length) nor
    folded flat: there the bend would hang on rounding errors.
    """
    upper, lower = lengths
    away = goal - root
    distance = np.linalg.norm(away, axis=1, keepdims=True)
    direction = away / distance
    distance = np.clip(distance, 0.30 * (upper + lower), 0.99 * (upper + lower))
    along = (upper**2 - lower**2 + distance**2) / (2 * distance)
    bent = _unit(pole - (pole * direction).sum(axis=1, keepdims=True) * direction)
    middle: Array = root + along * direction + np.sqrt(upper**2 - along**2) * bent
    return middle, root + distance * direction
