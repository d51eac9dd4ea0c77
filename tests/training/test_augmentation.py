"""Mirroring, turning and scaling of training clips."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.layouts import LAYOUTS, Layout, get_layout
from nas_skeleton.skeletons.modalities import MODALITIES, found, modality
from nas_skeleton.training.augmentation import Augmentation

UTD = get_layout("utdmhad")
XYZ = ("x", "y", "z")
LEFT_HAND, RIGHT_HAND = UTD.joints.index("left hand"), UTD.joints.index("right hand")


def batch(clips: int = 6, channels: int = 3, joints: int = 20) -> torch.Tensor:
    """Two bodies, of which the second is not always there."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(clips, channels, 5, joints, 2, generator=generator, dtype=torch.double)
    x[:, :, 3:, :, 1] = 0
    return x


def test_a_mirrored_clip_has_its_hands_exchanged() -> None:
    x = batch()
    mirrored = Augmentation(UTD, XYZ, mirror=1.0)(x, seed=1)
    wanted = x.clone()
    for left, right in UTD.left_right:
        wanted[:, :, :, [left, right]] = x[:, :, :, [right, left]]
    wanted[:, 0] *= -1
    torch.testing.assert_close(mirrored, wanted, rtol=0, atol=0)
    assert torch.equal(mirrored[:, 1, :, LEFT_HAND], x[:, 1, :, RIGHT_HAND])


def test_mirroring_twice_is_nothing() -> None:
    augmentation = Augmentation(UTD, XYZ, mirror=1.0)
    x = batch()
    assert torch.equal(augmentation(augmentation(x, 1), 2), x)


@pytest.mark.parametrize("share", [0.2, 0.7])
def test_as_many_clips_are_mirrored_as_the_recipe_says(share: float) -> None:
    x = torch.ones(2000, 3, 1, 20, 1)
    signs = Augmentation(UTD, XYZ, mirror=share)(x, seed=3)[:, 0, 0, 0, 0]
    assert abs((signs < 0).float().mean() - share) < 0.05


def test_a_turn_keeps_distances_and_the_origin() -> None:
    x = batch()
    x[:, :, 0, 3] = 0
    turned = Augmentation(UTD, XYZ, rotation=0.5)(x, seed=1)
    torch.testing.assert_close(turned.norm(dim=1), x.norm(dim=1))
    torch.testing.assert_close(
        (turned - turned.roll(1, 3)).norm(dim=1), (x - x.roll(1, 3)).norm(dim=1)
    )
    assert not turned[:, :, 0, 3].any()
    assert not turned[:, :, 3:, :, 1].any()
    assert (turned != x).any(dim=(1, 2, 3, 4)).all()


def test_angles_are_drawn_evenly_up_to_the_largest() -> None:
    count = 3000
    flat = Augmentation(UTD, ("x", "y"), rotation=0.4)
    x = torch.zeros(count, 2, 1, 20, 1, dtype=torch.double)
    x[:, 0] = 1
    turned = flat(x, seed=5)[:, :, 0, 0, 0]
    angles = torch.atan2(turned[:, 1], turned[:, 0])
    assert angles.abs().max() <= 0.4 + 1e-9
    quartiles = torch.quantile(angles, torch.tensor([0.25, 0.5, 0.75], dtype=torch.double))
    torch.testing.assert_close(
        quartiles, torch.tensor([-0.2, 0, 0.2], dtype=torch.double), atol=0.03, rtol=0
    )


def test_turns_are_about_x_then_y_then_z() -> None:
    """Against matrices written out, with the numbers that the seed gives."""
    largest, x = 0.7, batch(4)
    drawn = torch.rand(4, 5, generator=torch.Generator().manual_seed(9), dtype=torch.double)
    turned = Augmentation(UTD, XYZ, rotation=largest)(x, seed=9)
    for clip in range(4):
        a, b, c = ((2 * drawn[clip, 1:4] - 1) * largest).tolist()
        about_x = np.array(
            [[1, 0, 0], [0, math.cos(a), -math.sin(a)], [0, math.sin(a), math.cos(a)]]
        )
        about_y = np.array(
            [[math.cos(b), 0, math.sin(b)], [0, 1, 0], [-math.sin(b), 0, math.cos(b)]]
        )
        about_z = np.array(
            [[math.cos(c), -math.sin(c), 0], [math.sin(c), math.cos(c), 0], [0, 0, 1]]
        )
        wanted = np.einsum("ij,jtvm->itvm", about_z @ about_y @ about_x, x[clip].numpy())
        np.testing.assert_allclose(turned[clip].numpy(), wanted, atol=1e-12)


def test_sizes_change_by_a_share() -> None:
    x = torch.ones(2000, 3, 1, 20, 1, dtype=torch.double)
    sizes = Augmentation(UTD, XYZ, scaling=0.2)(x, seed=5)
    assert (sizes == sizes[:, :1, :, :1]).all()
    assert 0.8 <= sizes.min() < 0.81
    assert 1.19 < sizes.max() <= 1.2


@pytest.mark.parametrize("axes", [XYZ, ("x", "y"), ("x", "y", "score")], ids="".join)
def test_modalities_of_a_changed_clip_are_the_changed_modalities(axes: tuple[str, ...]) -> None:
    """Differences are taken before: the same must come out as if they were taken after."""
    layout = get_layout("ntu")
    x = batch(channels=len(axes), joints=25)
    if "score" in axes:
        x[:, 2].abs_()

    def stack(joints: torch.Tensor) -> torch.Tensor:
        parts = [modality(joints, found(joints, axes), name, layout, axes) for name in MODALITIES]
        return torch.cat(parts, dim=1)

    augmentation = Augmentation(layout, axes, mirror=0.5, rotation=0.3, scaling=0.1)
    augmentation.check(MODALITIES)
    changed = augmentation(x, seed=4)
    torch.testing.assert_close(augmentation(stack(x), seed=4), stack(changed))
    if "score" in axes:
        assert torch.equal(changed[:, 2].sort(dim=2)[0], x[:, 2].sort(dim=2)[0])


def test_equal_seeds_change_alike_and_others_otherwise() -> None:
    augmentation = Augmentation(UTD, XYZ, mirror=0.5, rotation=0.3, scaling=0.1)
    x = batch()
    kept = x.clone()
    assert torch.equal(augmentation(x, 1), augmentation(x, 1))
    assert not torch.equal(augmentation(x, 1), augmentation(x, 2))
    assert torch.equal(x, kept)
    single = augmentation(x.float(), 1)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single, augmentation(x, 1).float(), atol=1e-5, rtol=1e-5)
    assert augmentation(x[:0], 1).shape == (0, 3, 5, 20, 2)


def test_global_random_numbers_are_left_alone() -> None:
    state = torch.get_rng_state()
    Augmentation(UTD, XYZ, mirror=0.5, rotation=0.3)(batch(), 1)
    assert torch.equal(torch.get_rng_state(), state)


def test_nothing_to_do_is_false() -> None:
    assert not Augmentation(UTD, XYZ)
    assert Augmentation(UTD, XYZ, scaling=0.1)


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_shipped_layouts_can_be_mirrored_with_their_bones(name: str) -> None:
    Augmentation(get_layout(name), XYZ, mirror=0.5).check(MODALITIES)


def test_layouts_that_cannot_be_mirrored_are_said() -> None:
    chain = Layout("chain", ("a", "b", "c"), ((1, 0), (2, 1)), 0, 0, ())
    with pytest.raises(InputError, match="layout 'chain' has no left and right"):
        Augmentation(chain, XYZ, mirror=0.5).check(["joint"])
    Augmentation(chain, XYZ, rotation=0.5).check(["bone"])
    skewed = Layout("skewed", ("a", "l", "r"), ((1, 0), (2, 1)), 0, 0, ((1, 2),))
    Augmentation(skewed, XYZ, mirror=0.5).check(["joint", "joint-motion"])
    with pytest.raises(InputError, match="'skewed' has other bones on the left"):
        Augmentation(skewed, XYZ, mirror=0.5).check(["bone-motion"])
