"""What every cleaning step is, and the questions several of them ask about a clip."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from nas_skeleton.cards import Card
from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.layouts import Layout
from nas_skeleton.skeletons.poses import Poses

SCORE = "score"


class Step(Card):
    """A cleaning step; its fields are its options.

    Attributes:
        name: what cards call it.
        version: raise it when the same clip and options come out otherwise than before.
    """

    version: ClassVar[int] = 1
    name: str

    @abstractmethod
    def apply(self, poses: Poses) -> Poses:
        """The cleaned clip; `poses` stays as it is.

        Raises:
            InputError: the clip cannot be cleaned; the message says why, without its name.
        """

    def fault(self, layout: Layout, axes: tuple[str, ...]) -> str | None:  # noqa: ARG002
        """What is wrong with this step for all clips of such a layout and axes, if anything."""
        return None


def needed_axes(needed: tuple[str, ...], axes: tuple[str, ...]) -> str | None:
    """What to say where one of the needed axes is not there."""
    lacking = [axis for axis in needed if axis not in axes]
    if lacking:
        return f"needs the axis {lacking[0]!r}, the data have {', '.join(axes)}"
    return None


def needed_joints(needed: tuple[str, ...], layout: Layout) -> str | None:
    """What to say where one of the needed joints is not there."""
    lacking = [joint for joint in needed if joint not in layout.joints]
    if lacking:
        return f"layout {layout.name!r} has no joint {lacking[0]!r}: {', '.join(layout.joints)}"
    return None


def scores(poses: Poses) -> NDArray[np.float64] | None:
    """Confidences `(T, V, M)`, None where the data have none."""
    if SCORE not in poses.axes:
        return None
    found: NDArray[np.float64] = poses.coordinates[poses.axes.index(SCORE)]
    return found


def seen(poses: Poses) -> NDArray[np.bool_]:
    """`(T, V, M)`: whether the joint was found: its body is there, and its score, if any, above 0.

    Without scores nothing tells a joint that is missing from one in the origin.
    """
    there = np.broadcast_to(poses.present[:, None], poses.coordinates.shape[1:])
    confidence = scores(poses)
    return there if confidence is None else there & (confidence > 0)


def with_somebody(poses: Poses) -> NDArray[np.bool_]:
    """`poses.present`, for steps that need at least one body in one frame."""
    present = poses.present
    if not present.any():
        raise InputError("nobody is in it")
    return present


def last_known(known: NDArray[np.bool_]) -> NDArray[np.intp]:
    """For each frame the last one up to it that is known; before the first, the first."""
    frames = np.where(known, np.arange(len(known)), 0)
    held: NDArray[np.intp] = np.maximum(np.maximum.accumulate(frames), known.argmax())
    return held
