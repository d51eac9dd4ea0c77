"""Bones and motion, in NumPy and PyTorch alike, and zero where there is nobody."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.layouts import LAYOUTS, Layout, get_layout
from nas_skeleton.skeletons.modalities import (
    MODALITIES,
    check_modalities,
    found,
    known,
    modality,
)

UTD = get_layout("utdmhad")
SETTINGS = [("x", "y", "z"), ("x", "y", "score"), ("x", "y")]


def clip(axes: tuple[str, ...], layout: Layout = UTD, frames: int = 7) -> np.ndarray:
    """`(C, T, V, 2)`: the second body comes in frame 2 and leaves after frame 4."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(len(axes), frames, len(layout.joints), 2))
    x[:, :2, :, 1] = x[:, 5:, :, 1] = 0
    if "score" in axes:
        x[2] = np.abs(x[2])
        x[:, 3, 6, 0] = 0  # a joint that was not found
    return x


def naive(x: np.ndarray, name: str, layout: Layout, axes: tuple[str, ...]) -> np.ndarray:
    """The definitions, one number at a time."""
    channels, frames, joints, _ = x.shape
    score = axes.index("score") if "score" in axes else None
    places = [c for c in range(channels) if c != score]
    parents = dict(layout.edges)

    def there(t: int, v: int, m: int) -> bool:
        somebody = any(x[c, t, j, m] != 0 for c in places for j in range(joints))
        return somebody and (score is None or x[score, t, v, m] != 0)

    def bone(c: int, t: int, v: int, m: int) -> tuple[float, bool]:
        if not name.startswith("bone"):
            return x[c, t, v, m], there(t, v, m)
        p = parents.get(v, v)
        both = there(t, v, m) and there(t, p, m)
        if c == score:
            return (x[c, t, v, m] + x[c, t, p, m]) / 2, both
        return (x[c, t, v, m] - x[c, t, p, m] if both else 0.0), both

    result = np.zeros_like(x)
    for c, t, v, m in np.ndindex(x.shape):
        value, known = bone(c, t, v, m)
        if name.endswith("motion"):
            if t + 1 == frames:
                continue
            following, also = bone(c, t + 1, v, m)
            if c == score:
                result[c, t, v, m] = (value + following) / 2
            elif known and also:
                result[c, t, v, m] = following - value
        else:
            result[c, t, v, m] = value
    return result


@pytest.mark.parametrize("axes", SETTINGS, ids="".join)
@pytest.mark.parametrize("name", MODALITIES)
def test_modalities_are_what_their_definition_says(name: str, axes: tuple[str, ...]) -> None:
    for layout in (UTD, get_layout("ntu")):
        x = clip(axes, layout)
        computed = modality(x, found(x, axes), name, layout, axes)
        np.testing.assert_allclose(computed, naive(x, name, layout, axes), atol=1e-12)


@pytest.mark.parametrize("axes", SETTINGS, ids="".join)
@pytest.mark.parametrize("name", MODALITIES)
def test_a_batch_in_pytorch_is_its_clips_in_numpy(name: str, axes: tuple[str, ...]) -> None:
    clips = [clip(axes), clip(axes)[:, ::-1].copy()]
    batch = torch.from_numpy(np.stack(clips))
    kept = batch.clone()
    ends = np.array([False, True, False, False, False, False, False])
    for cut in (None, ends):
        every = None if cut is None else torch.from_numpy(np.stack([cut, cut]))
        computed = modality(batch, found(batch, axes), name, UTD, axes, every)
        for index, x in enumerate(clips):
            wanted = modality(x, found(x, axes), name, UTD, axes, cut)
            np.testing.assert_array_equal(computed[index].numpy(), wanted)
    assert torch.equal(batch, kept)


@pytest.mark.parametrize("axes", SETTINGS, ids="".join)
@pytest.mark.parametrize("name", MODALITIES)
def test_known_is_what_is_not_zero_for_want_of_a_joint(name: str, axes: tuple[str, ...]) -> None:
    x = clip(axes)
    if "score" in axes:
        x[2, 4, 9] = 0  # places without a score
    there, ends = found(x, axes), np.arange(7) == 1
    for cut in (None, ends):
        places = modality(x, there, name, UTD, axes, cut)[:2]
        if name == "joint":
            places = places * there
        mask = known(there, name, UTD, cut)
        if name.startswith("bone"):  # the root's is known, and zero
            lone = known(there, name.replace("bone", "joint"), UTD, cut)
            np.testing.assert_array_equal(mask[:, UTD.root], lone[:, UTD.root])
            mask[:, UTD.root] = False
        np.testing.assert_array_equal(mask, places.any(axis=0))
        every = None if cut is None else torch.from_numpy(cut)
        batch = known(torch.from_numpy(there)[None], name, UTD, every)
        batch[..., UTD.root, :] &= not name.startswith("bone")
        np.testing.assert_array_equal(batch[0].numpy(), mask)
    np.testing.assert_array_equal(there, found(x, axes))


def test_only_a_score_above_zero_is_a_joint() -> None:
    x = np.ones((3, 1, 20, 1))
    x[2, 0, :4, 0] = 0, -1, np.nan, 1e-9
    assert found(x, ("x", "y", "score"))[0, :4, 0].tolist() == [False, False, False, True]
    assert found(torch.from_numpy(x), ("x", "y", "score"))[0, 1:4, 0].tolist() == [0, 0, 1]


def test_who_comes_or_leaves_makes_no_jump() -> None:
    axes = ("x", "y", "z")
    x = clip(axes) + 50 * (clip(axes) != 0)
    for name in ("joint-motion", "bone-motion"):
        motion = modality(x, found(x, axes), name, UTD, axes)
        assert np.abs(motion).max() < 20
        assert not motion[:, [0, 1, 4, 5, 6], :, 1].any()
        assert motion[:, 2:4, 0, 1].all()


def test_a_joint_that_was_not_found_makes_no_jump() -> None:
    axes = ("x", "y", "score")
    x = clip(axes)
    x[:2][x[:2] != 0] += 50
    for name in ("bone", "joint-motion", "bone-motion"):
        assert np.abs(modality(x, found(x, axes), name, UTD, axes)[:2]).max() < 20


def test_a_repetition_makes_no_jump() -> None:
    x = clip(("x", "y", "z"), frames=4)
    twice = np.concatenate([x, x], axis=1)
    axes = ("x", "y", "z")
    ends = np.arange(8) == 3
    motion = modality(twice, found(twice, axes), "joint-motion", UTD, axes, ends)
    once = modality(x, found(x, axes), "joint-motion", UTD, axes)
    np.testing.assert_array_equal(motion, np.concatenate([once, once], axis=1))


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_places_are_the_sum_of_the_bones_above(layout: str) -> None:
    skeleton = get_layout(layout)
    axes = ("x", "y", "z")
    x = np.random.default_rng(0).normal(size=(3, 2, len(skeleton.joints), 1))
    bones = modality(x, found(x, axes), "bone", skeleton, axes)
    assert not bones[:, :, skeleton.root].any()
    parents = dict(skeleton.edges)
    for joint in range(len(skeleton.joints)):
        total, above = x[:, :, skeleton.root].copy(), joint
        while above in parents:
            total += bones[:, :, above]
            above = parents[above]
        np.testing.assert_allclose(total, x[:, :, joint])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["velocity"], "unknown modality 'velocity': known are joint, bone, joint-motion, bone-m"),
        ([], "modalities none: name one or more"),
        (["bone", "joint", "bone"], r"modalities bone\+joint\+bone: .* none twice"),
    ],
)
def test_what_is_no_choice_of_modalities_is_one_line(names: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_modalities(names)
