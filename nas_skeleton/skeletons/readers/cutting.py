"""Long recordings: what their names say, and how they are cut into clips of equal length."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, model_validator

from nas_skeleton.cards import Card


class CutOptions(Card):
    """What a card may say of how recordings are cut.

    Attributes:
        clip_frames: frames of a clip; 0 leaves recordings whole. The last clip of a recording ends
            with it.
        overlap: frames that a clip shares with the next one.
    """

    clip_frames: Annotated[int, Field(ge=0)] = 0
    overlap: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _clips_go_on(self) -> CutOptions:
        if self.overlap and self.overlap >= self.clip_frames:
            raise ValueError("overlap must be less than clip_frames")
        return self


def check_pattern(pattern: str, needed: set[str], known: set[str]) -> str:
    """The pattern, if it is a regular expression with the named groups.

    Raises:
        ValueError: it is not, lacks one of `needed` or has one that is not `known`.
    """
    try:
        groups = set(re.compile(pattern).groupindex)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    for group in sorted(needed - groups):
        raise ValueError(f"needs a group (?P<{group}>…)")
    for group in sorted(groups - known):
        raise ValueError(f"group {group!r} is none of {', '.join(sorted(known))}")
    return pattern


def windows(frames: int, length: int, overlap: int) -> list[range]:
    """Which frames make the clips of a recording; every frame is in one at least.

    The last clip ends with the recording and overlaps its neighbour by as much as that takes. A
    recording shorter than `length` is one clip.

    Args:
        frames: of the recording.
        length: frames of a clip; 0 leaves the recording whole.
        overlap: frames a clip shares with the next one, less than `length`.
    """
    if not length or frames <= length:
        return [range(frames)] if frames else []
    step = length - overlap
    starts = list(range(0, frames - length, step))
    return [range(start, start + length) for start in (*starts, frames - length)]
