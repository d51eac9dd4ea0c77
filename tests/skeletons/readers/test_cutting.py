"""Recordings are cut so that no frame is lost."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_skeleton.skeletons.readers.cutting import windows


@pytest.mark.parametrize(
    ("frames", "length", "overlap", "expected"),
    [
        (10, 0, 0, [(0, 10)]),
        (10, 20, 5, [(0, 10)]),
        (10, 10, 0, [(0, 10)]),
        (0, 10, 0, []),
        (10, 5, 0, [(0, 5), (5, 10)]),
        (10, 4, 0, [(0, 4), (4, 8), (6, 10)]),
        (10, 4, 2, [(0, 4), (2, 6), (4, 8), (6, 10)]),
        (10, 4, 3, [(start, start + 4) for start in range(7)]),
    ],
)
def test_clips_follow_one_another_and_the_last_ends_with_the_recording(
    frames: int, length: int, overlap: int, expected: list[tuple[int, int]]
) -> None:
    assert [(clip.start, clip.stop) for clip in windows(frames, length, overlap)] == expected


@given(st.integers(1, 500), st.integers(1, 100), st.data())
def test_every_frame_is_in_a_clip_and_clips_overlap_as_asked(
    frames: int, length: int, data: st.DataObject
) -> None:
    overlap = data.draw(st.integers(0, length - 1))
    clips = windows(frames, length, overlap)
    assert {frame for clip in clips for frame in clip} == set(range(frames))
    assert {len(clip) for clip in clips} == {min(frames, length)}
    assert len({clip.start for clip in clips}) == len(clips)
    for one, following in pairwise(clips[:-1]):  # the last may overlap more
        assert one.stop - following.start == overlap
