"""Modalities: what of a moving skeleton a network sees, places, bones, or how both move.

Arrays are `(…, C, T, V, M)`, one clip or a batch, in NumPy or PyTorch: everything here is written
with what both understand. `found`, `(…, T, V, M)`, says where there is a joint at all; what would
be a difference to a joint or body that is not there is zero, so that nobody jumps in or out of the
origin; `known` says where it is more than that zero.

    joint         x
    bone          x(joint) - x(its parent), of the root 0
    joint-motion  x(next frame) - x(this frame), in the last frame 0
    bone-motion   the same of bones

A confidence is no place: the score of a difference is the mean of the two scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.layouts import Layout
from nas_skeleton.skeletons.poses import SPATIAL

Modality = Literal["joint", "bone", "joint-motion", "bone-motion"]
MODALITIES: tuple[str, ...] = get_args(Modality)

Array = Any
"""A NumPy array or a PyTorch tensor."""


def check_modalities(names: Sequence[str]) -> None:
    """Raise `InputError` unless `names` are modalities, at least one and none twice."""
    for name in names:
        if name not in MODALITIES:
            raise InputError(f"unknown modality {name!r}: known are {', '.join(MODALITIES)}")
    if not names or len(set(names)) != len(names):
        raise InputError(f"modalities {'+'.join(names) or 'none'}: name one or more, none twice")


def found(x: Array, axes: Sequence[str]) -> Array:
    """Where there is a joint, `(…, T, V, M)`, by what the clips themselves say.

    A body that is all zero in a frame is not there; a joint without a score above 0 was not found,
    wherever the data put it.
    """
    body = (x[..., _places(axes), :, :, :] != 0).any(axis=-4).any(axis=-2)[..., None, :]
    if "score" in axes:
        return body & (x[..., axes.index("score"), :, :, :] > 0)
    return body & (x[..., 0, :, :, :] == x[..., 0, :, :, :])  # all joints of the body


def known(found: Array, name: str, layout: Layout, ends: Array | None = None) -> Array:
    """Where there is a modality at all, `(…, T, V, M)`: both joints of a bone, both ends of a step.

    Elsewhere `modality` is zero for want of something better, as motion in the last frame, and must
    not be averaged with what was measured. Takes the arguments of `modality`.
    """
    if name.startswith("bone"):
        found = found & found[..., _parents(layout), :]
    if name.endswith("motion"):
        found = found & found[..., _following(found.shape[-3]), :, :]
        if ends is not None:
            found = found & ~ends[..., None, None]
        found[..., -1, :, :] = False
    return found


def modality(
    x: Array,
    found: Array,
    name: str,
    layout: Layout,
    axes: Sequence[str],
    ends: Array | None = None,
) -> Array:
    """One modality of clips `(…, C, T, V, M)`; the shape stays.

    Args:
        x: places of joints, and scores.
        found: where there is a joint, see `found`.
        name: one of `MODALITIES`.
        layout: whose bones.
        axes: names of C.
        ends: `(…, T)`, True where the next frame does not go on from this one, as where a clip is
            repeated; the last frame always ends.
    """
    if name.startswith("bone"):
        x = _difference(x, x[..., _parents(layout), :], known(found, "bone", layout), axes)
    if name.endswith("motion"):
        both = known(found, name, layout, ends)
        x = _difference(x[..., _following(x.shape[-3]), :, :], x, both, axes)
        x[..., -1, :, :] = 0
    return x


def _parents(layout: Layout) -> list[int]:
    """For every joint the one its bone comes from; of the root itself."""
    parents = dict(layout.edges)
    return [parents.get(joint, joint) for joint in range(len(layout.joints))]


def _following(frames: int) -> list[int]:
    """For every frame the next one; of the last itself."""
    return [min(frame + 1, frames - 1) for frame in range(frames)]


def _difference(x: Array, y: Array, both: Array, axes: Sequence[str]) -> Array:
    """`x - y` where both are there, and the mean of both scores."""
    difference = (x - y) * both[..., None, :, :, :]
    for index, axis in enumerate(axes):
        if axis not in SPATIAL:
            difference[..., index, :, :, :] = (x + y)[..., index, :, :, :] / 2
    return difference


def _places(axes: Sequence[str]) -> list[int]:
    return [index for index, axis in enumerate(axes) if axis in SPATIAL]
