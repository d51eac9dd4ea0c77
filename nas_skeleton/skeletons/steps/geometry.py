"""Steps that move and turn the room: where the origin is, and which way a person faces."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.layouts import Layout
from nas_skeleton.skeletons.poses import Poses
from nas_skeleton.skeletons.steps.step import (
    Step,
    last_known,
    needed_axes,
    needed_joints,
    seen,
    with_somebody,
)

Bone = Annotated[tuple[str, str], Field(strict=False)]

_SPINES = (("spine base", "spine middle"), ("hip centre", "spine"))
_SHOULDERS = (("left shoulder", "right shoulder"),)
_SHORTEST = 1e-6
"""A bone that is shorter, in the data's unit, points nowhere."""


class Centre(Step):
    """Puts a joint of the first body into the origin; all bodies move with it.

    `joint` is its name, by default the layout's centring joint. `when`: "first-frame", by where it
    is in the first frame in which it was found, which keeps the way through the room; "every-frame"
    by where it is in each, or was when it was last found. Bodies that are not there stay at
    zero, and joints that were not found where the file has them.
    """

    name: Literal["centre"] = "centre"
    joint: str | None = None
    when: Literal["first-frame", "every-frame"] = "first-frame"

    def fault(self, layout: Layout, axes: tuple[str, ...]) -> str | None:  # noqa: ARG002
        return needed_joints((self.joint,), layout) if self.joint else None

    def apply(self, poses: Poses) -> Poses:
        layout = poses.layout
        joint = layout.joints.index(self.joint) if self.joint else layout.centring_joint
        with_somebody(poses)
        places = poses.coordinates[poses.places]
        found = seen(poses)
        known = found[:, joint, 0] & np.isfinite(places[:, :, joint, 0]).all(axis=0)
        frames = np.flatnonzero(known)
        if not len(frames):
            raise InputError(f"joint {layout.joints[joint]!r} of its first body is in no frame")
        held = last_known(known) if self.when == "every-frame" else np.full(len(known), frames[0])
        origin = places[:, held, joint, 0][:, :, None, None]
        x = poses.coordinates.copy()
        x[poses.places] = np.where(found, places - origin, places)
        return poses.having(x)


class Rotate(Step):
    """Turns a clip so that the person stands along +z and has the shoulders along +x.

    `spine` and `shoulders` are two joints each: the first one's way to the second comes to lie on
    +z and +x. For the Kinect layouts they are known: from the base of the spine up, and from the
    left shoulder to the right. One rotation about the origin, by the first frame in which the first
    body has both bones, is applied to all frames and bodies; "centre" belongs before it.

    `shoulders_turn`: "about-spine" turns about the spine only, which leaves it on +z, so that the
    step done twice is the step done once; the shoulders come to lie above +x. This default is not
    what is published: PYSKL's PreNormalize3D is "onto-x", which turns the shoulders onto +x wholly
    and tilts the spine again.

    In PreNormalize3D a clip that stands on its head, or faces backwards, stays as it is, since
    opposite directions have no axis between them: here it is turned by half a circle about some
    axis across. There the first frame decides even if a bone has no length in it.
    """

    name: Literal["rotate"] = "rotate"
    spine: Bone | None = None
    shoulders: Bone | None = None
    shoulders_turn: Literal["about-spine", "onto-x"] = "about-spine"

    def fault(self, layout: Layout, axes: tuple[str, ...]) -> str | None:
        lacking = needed_axes(("x", "y", "z"), axes)
        if lacking:
            return lacking
        for key, bone in self._bones(layout).items():
            if bone is None:
                return f"layout {layout.name!r} is not known to it: say {key} = [joint, joint]"
            unknown = needed_joints(bone, layout)
            if unknown:
                return unknown
        return None

    def apply(self, poses: Poses) -> Poses:
        with_somebody(poses)
        fault = self.fault(poses.layout, poses.axes)
        if fault:
            raise InputError(f"step 'rotate' {fault}")
        places = [poses.axes.index(axis) for axis in ("x", "y", "z")]
        first = poses.coordinates[places, :, :, 0]
        spines, shoulders = (
            first[:, :, poses.layout.joints.index(bone[1])]
            - first[:, :, poses.layout.joints.index(bone[0])]
            for bone in self._bones(poses.layout).values()
            if bone
        )
        rotation = self._rotation(spines.T, shoulders.T)
        x = poses.coordinates.copy()
        x[places] = np.einsum("ij,jtvm->itvm", rotation, x[places])
        return poses.having(x)

    def _bones(self, layout: Layout) -> dict[str, tuple[str, str] | None]:
        return {
            "spine": self.spine or _known(_SPINES, layout),
            "shoulders": self.shoulders or _known(_SHOULDERS, layout),
        }

    def _rotation(
        self, spines: NDArray[np.float64], shoulders: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """`(3, 3)` by the first frame of the bones `(T, 3)` that can be used."""
        for spine, shoulder in zip(spines, shoulders, strict=True):
            if not (np.isfinite(spine).all() and np.linalg.norm(spine) > _SHORTEST):
                continue
            upright = turn_onto(spine, np.array([0.0, 0.0, 1.0]))
            across = upright @ shoulder
            if self.shoulders_turn == "about-spine":
                across[2] = 0
            if np.isfinite(across).all() and np.linalg.norm(across) > _SHORTEST:
                return turn_onto(across, np.array([1.0, 0.0, 0.0]), about=2) @ upright
        raise InputError("step 'rotate' finds no frame with the first body's spine and shoulders")


def turn_onto(
    vector: NDArray[np.float64], target: NDArray[np.float64], about: int = 0
) -> NDArray[np.float64]:
    """The smallest rotation `(3, 3)` that gives `vector` the direction of the unit vector `target`.

    Args:
        vector: any length but 0.
        target: of length 1.
        about: the coordinate axis to turn about where the two are opposite; across `target`.
    """
    unit = vector / np.linalg.norm(vector)
    half = np.eye(3)
    if unit @ target < 0:
        # Half a turn first: near the opposite direction the formula below divides by almost zero.
        axis = np.cross(unit, target)
        if np.linalg.norm(axis) < 1e-9:
            axis = np.eye(3)[about]
        half = 2 * np.outer(axis, axis) / (axis @ axis) - np.eye(3)
        unit = half @ unit
    x, y, z = np.cross(unit, target)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turned: NDArray[np.float64] = np.eye(3) + cross + cross @ cross / (1 + unit @ target)
    return turned @ half


def _known(bones: tuple[tuple[str, str], ...], layout: Layout) -> tuple[str, str] | None:
    fitting = (bone for bone in bones if set(bone) <= set(layout.joints))
    return next(fitting, None)
