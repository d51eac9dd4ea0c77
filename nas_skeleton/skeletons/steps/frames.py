"""Steps along time: frames that nobody is in, gaps in what was recorded, another frame rate."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.poses import Poses
from nas_skeleton.skeletons.steps.step import Step, seen, with_somebody


class DropEmptyFrames(Step):
    """Takes out the frames that nobody is in: everywhere, or at both ends of the clip only."""

    name: Literal["drop-empty-frames"] = "drop-empty-frames"
    where: Literal["everywhere", "ends"] = "everywhere"

    def apply(self, poses: Poses) -> Poses:
        frames = np.flatnonzero(with_somebody(poses).any(axis=1))
        if self.where == "ends":
            frames = np.arange(frames[0], frames[-1] + 1)
        return poses.having(poses.coordinates[:, frames])


class FillGaps(Step):
    """Fills NaN by linear interpolation in time between the frames in which the number is known.

    Only frames with the body in them count, the first and last known numbers hold to both ends.
    `longest` is the longest gap, in frames, that may be filled; none given, any. A joint that is
    NaN in all frames cannot be filled.
    """

    name: Literal["fill-gaps"] = "fill-gaps"
    longest: Annotated[int, Field(gt=0)] | None = None

    def apply(self, poses: Poses) -> Poses:
        unknown = np.isnan(poses.coordinates)
        if not unknown.any():
            return poses
        x = poses.coordinates.copy()
        present = poses.present
        for channel, joint, body in np.argwhere(unknown.any(axis=1)):
            frames = np.flatnonzero(present[:, body])
            gaps = unknown[channel, frames, joint, body]
            name = poses.layout.joints[joint]
            if gaps.all():
                raise InputError(f"joint {name!r} of body {body} is NaN in all frames")
            longest = _longest_run(gaps)
            if self.longest is not None and longest > self.longest:
                raise InputError(
                    f"joint {name!r} of body {body} is NaN in {longest} frames at a stretch, more "
                    f"than the {self.longest} that step 'fill-gaps' may fill"
                )
            known = frames[~gaps]
            values = x[channel, known, joint, body]
            x[channel, frames, joint, body] = np.interp(frames, known, values)
        return poses.having(x)


class SameRate(Step):
    """Resamples to `frames_per_second`, linearly; the first frame stays the first.

    Nothing is blended with a frame in which the body is not there or the joint was not found: there
    the nearer frame counts.
    """

    name: Literal["same-rate"] = "same-rate"
    frames_per_second: Annotated[float, Field(gt=0)]

    def apply(self, poses: Poses) -> Poses:
        ratio = poses.frames_per_second / self.frames_per_second
        if ratio == 1:
            return poses
        x = poses.coordinates
        last = x.shape[1] - 1
        # 1e-9: rounding must not cost the last frame
        times = np.arange(int(last / ratio + 1e-9) + 1) * ratio
        before = np.minimum(times.astype(np.intp), max(last - 1, 0))
        after = np.minimum(before + 1, last)
        share = np.clip(times - before, 0, 1)[None, :, None, None]
        found = seen(poses)
        both = (found[before] & found[after])[None] & (share > 0)
        blended = x[:, before] * (1 - share) + x[:, after] * share
        nearer = np.where(share < 0.5, x[:, before], x[:, after])
        resampled = np.where(both, blended, nearer)
        return replace(poses, coordinates=resampled, frames_per_second=self.frames_per_second)


def _longest_run(flags: NDArray[np.bool_]) -> int:
    """Length of the longest stretch of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max(initial=0))
