"""Steps that decide who is in a clip: from a tracker's bodies to actors."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.layouts import Layout
from nas_skeleton.skeletons.poses import Poses
from nas_skeleton.skeletons.steps.step import Step, needed_axes, scores, with_somebody

Count = Annotated[int, Field(gt=0)]
Ranking = Literal["motion", "presence", "score", "score-per-frame"]


class Denoise(Step):
    """From a Kinect's tracks to at most two actors, with the rules of the NTU scripts.

    The rules are those with which CTR-GCN and PYSKL prepare NTU RGB+D. They only concern clips with
    two tracks or more; one track alone is taken as it is.

    1. A track that is there in `shortest - 1` frames or fewer is no person.
    2. A frame of a track is noisy where it is wider than `widest` times its height. A track with a
       share of `most_noisy` noisy frames or more is no person. Otherwise its motion is the lesser
       of the motion over all frames and over those that are not noisy. Motion is the sum of the
       variances of the coordinates over all joints and frames.
    3. Tracks are taken in the order of their motion, largest first. Each joins the first actor, or
       else the second, with whom it shares no frame, and is left out where it shares one with both.
       This is how a person whose number changes in the middle stays one person.

    Frames stay, also those that nobody is left in; "drop-empty-frames" takes them out.

    The scripts have faults that are not repeated here. A body that comes back after a pause counted
    from the frame after its last one, which closed the pause and put it beside frames it was not
    in: here a frame is where the file has it. Overlap was judged by first and last frame, with one
    shared frame overwritten: here by the frames themselves. Where all tracks were too short nothing
    was left: here the longest stays, and of tracks that are all too noisy the least noisy one. The
    filter by a range of motions, which the scripts define and never use, is left out.
    """

    name: Literal["denoise"] = "denoise"
    shortest: Count = 12
    widest: Annotated[float, Field(gt=0)] = 0.8
    most_noisy: Annotated[float, Field(gt=0, le=1)] = 0.69754

    def fault(self, layout: Layout, axes: tuple[str, ...]) -> str | None:  # noqa: ARG002
        return needed_axes(("x", "y"), axes)

    def apply(self, poses: Poses) -> Poses:
        present = with_somebody(poses)
        tracks = [body for body in range(present.shape[1]) if present[:, body].any()]
        if len(tracks) == 1:
            return poses.having(poses.coordinates[..., tracks])
        lengths = {body: int(present[:, body].sum()) for body in tracks}
        long_enough = [body for body in tracks if lengths[body] >= self.shortest]
        tracks = long_enough or [max(tracks, key=lambda body: lengths[body])]
        if len(tracks) == 1:
            return poses.having(poses.coordinates[..., tracks])
        tracks = self._in_order(poses, present, tracks)
        return poses.having(_actors(poses.coordinates, present, tracks))

    def _in_order(self, poses: Poses, present: NDArray[np.bool_], tracks: list[int]) -> list[int]:
        """The tracks that are persons by their shape, the one that moves most first."""
        noisy = {body: self._noisy(poses, present[:, body], body) for body in tracks}
        shares = {body: float(noisy[body].mean()) for body in tracks}
        persons = [body for body in tracks if shares[body] < self.most_noisy]
        persons = persons or [min(tracks, key=lambda body: shares[body])]
        motions = {}
        for body in persons:
            points = poses.coordinates[poses.places][..., body][:, present[:, body]]
            motions[body] = _motion(points)
            if noisy[body].any():
                motions[body] = min(motions[body], _motion(points[:, ~noisy[body]]))
        return sorted(persons, key=lambda body: -motions[body])

    def _noisy(self, poses: Poses, frames: NDArray[np.bool_], body: int) -> NDArray[np.bool_]:
        """Which of the frames that the body is in are wider than a person is."""
        extents = []
        for axis in ("x", "y"):
            values = poses.coordinates[poses.axes.index(axis), ..., body][frames]
            unknown = np.isnan(values)
            highest = np.where(unknown, -np.inf, values).max(axis=1)
            extents.append(highest - np.where(unknown, np.inf, values).min(axis=1))
        known = np.isfinite(extents[0]) & np.isfinite(extents[1])
        noisy: NDArray[np.bool_] = ~known | (extents[0] > self.widest * extents[1])
        return noisy


class ChooseBodies(Step):
    """The `count` most important bodies, the most important one first.

    `by`: "motion", sum of the variances of the coordinates over the joints and frames of a body;
    "presence", frames it is there; "score", mean score over all frames of the clip, so that who is
    there longer counts more. "score-per-frame" sorts the people of every frame by their mean score,
    as ST-GCN's loader does for Kinetics: then a body is a rank and not the same person throughout.
    """

    name: Literal["choose-bodies"] = "choose-bodies"
    count: Count
    by: Ranking = "motion"

    def fault(self, layout: Layout, axes: tuple[str, ...]) -> str | None:  # noqa: ARG002
        return needed_axes(("score",), axes) if self.by.startswith("score") else None

    def apply(self, poses: Poses) -> Poses:
        x = poses.coordinates
        present = poses.present
        if self.by == "score-per-frame":
            confidence = _scores(poses).mean(axis=1)
            order = np.argsort(-np.where(present, confidence, -np.inf), axis=1, kind="stable")
            ranked = np.take_along_axis(x, order[None, :, None, :], axis=3)
            return poses.having(ranked[..., : self.count])
        if self.by == "score":
            ranks = _scores(poses).mean(axis=(0, 1))
        elif self.by == "presence":
            ranks = present.sum(axis=0).astype(np.float64)
        else:
            bodies = range(present.shape[1])
            points = x[poses.places]
            ranks = np.array([_motion(points[..., body][:, present[:, body]]) for body in bodies])
        # who is never there comes last, whatever the rank
        ranks = np.where(present.any(axis=0), ranks, -np.inf)
        return poses.having(x[..., np.argsort(-ranks, kind="stable")[: self.count]])


class MainBodyFirst(Step):
    """The body that is there in most frames first, and only the frames that it is there.

    The others keep their order; of bodies with equally many frames the first stays first. As the
    beginning of PYSKL's PreNormalize3D, which knows two bodies at most.
    """

    name: Literal["main-body-first"] = "main-body-first"

    def apply(self, poses: Poses) -> Poses:
        present = with_somebody(poses)
        main = int(present.sum(axis=0).argmax())
        order = [main, *(body for body in range(present.shape[1]) if body != main)]
        return poses.having(poses.coordinates[:, present[:, main]][..., order])


class SecondBody(Step):
    """What stands in the place of a second body where a clip has one only.

    `fill`: "zero", nobody; "copy", the first body once more. Published NTU60 data have the former
    and NTU120 data the latter, from the same authors' scripts.
    """

    name: Literal["second-body"] = "second-body"
    fill: Literal["zero", "copy"] = "zero"

    def apply(self, poses: Poses) -> Poses:
        x = poses.coordinates
        present = with_somebody(poses)
        if present[:, 1:].any():
            return poses
        first = x[..., :1]
        second = first if self.fill == "copy" else np.zeros_like(first)
        return poses.having(np.concatenate([first, second, x[..., 2:]], axis=3))


def _actors(
    x: NDArray[np.float64], present: NDArray[np.bool_], tracks: list[int]
) -> NDArray[np.float64]:
    """One or two actors, each put together from tracks that share no frame."""
    actors = np.zeros((*x.shape[:3], 2))
    taken = np.zeros((x.shape[1], 2), dtype=bool)
    for track in tracks:
        frames = present[:, track]
        free = [actor for actor in (0, 1) if not (taken[:, actor] & frames).any()]
        if free:
            actors[..., free[0]][:, frames] = x[..., track][:, frames]
            taken[frames, free[0]] = True
    return actors if taken[:, 1].any() else actors[..., :1]


def _motion(points: NDArray[np.float64]) -> float:
    """Sum of the variances of `(places, frames, joints)` over frames and joints, but for NaN."""
    rows = points.reshape(len(points), -1)
    known = rows[:, ~np.isnan(rows).any(axis=0)]
    return float(known.var(axis=1).sum()) if known.shape[1] else 0.0


def _scores(poses: Poses) -> NDArray[np.float64]:
    found = scores(poses)
    if found is None:
        raise InputError(f"needs the axis 'score', it has {', '.join(poses.axes)}")
    return found
