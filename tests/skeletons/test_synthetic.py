"""The synthetic set: its shape is UTD-MHAD's, its people are plausible, its difficulty known."""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas_skeleton.skeletons import synthetic
from nas_skeleton.skeletons.layouts import UTDMHAD
from nas_skeleton.skeletons.synthetic_actions import ACTIONS, REST
from nas_skeleton.skeletons.synthetic_body import pose

Array = NDArray[np.float64]
Identity = tuple[int, int, int]

CHECKOUT = Path(__file__).resolve().parents[2]
HEAD, SPINE, HIPS = 0, 2, 3
LEFT_HAND, RIGHT_HAND, LEFT_FOOT, RIGHT_FOOT = 7, 11, 15, 19
CLASS = {action.name: number for number, action in enumerate(ACTIONS, start=1)}

DIGESTS = {1: "a47367119bea7756b0ee7d5c3dab86ac173d211c221903b2cbe58e8bcc9669fc"}
"""SHA-256 over names and coordinates by generator version."""


@pytest.fixture(scope="module")
def clips() -> dict[Identity, Array]:
    found = {}
    for stem, clip in synthetic.generate():
        match = re.fullmatch(r"a(\d+)_s(\d+)_t(\d+)_skeleton", stem)
        assert match, stem
        found[int(match[1]), int(match[2]), int(match[3])] = clip
    return found


def of_class(clips: dict[Identity, Array], name: str) -> list[Array]:
    """The clips of a class, centred on the spine as it is in the first frame."""
    chosen = [clip for (action, _, _), clip in clips.items() if action == CLASS[name]]
    return [clip - clip[SPINE, :, :1][None] for clip in chosen]


def bone_lengths(clip: Array) -> Array:
    """(19 bones, T) in metres."""
    children, parents = np.array(UTDMHAD.edges).T
    lengths: Array = np.linalg.norm(clip[children] - clip[parents], axis=1)
    return lengths


def test_has_the_files_of_utd_mhad_in_file_order(clips: dict[Identity, Array]) -> None:
    everything = [(a, s, t) for a in range(1, 28) for s in range(1, 9) for t in range(1, 5)]
    missing = {(8, 1, 4), (23, 6, 4), (27, 8, 4)}
    assert list(clips) == [identity for identity in everything if identity not in missing]
    assert len(clips) == 861
    assert list(synthetic.names())[:2] == ["a1_s1_t1_skeleton", "a1_s1_t2_skeleton"]


def test_classes_are_those_of_the_card_in_order() -> None:
    card = tomllib.loads((CHECKOUT / "datasets" / "synthetic.toml").read_text(encoding="utf-8"))
    assert [action.name for action in ACTIONS] == card["classes"]


def test_clips_are_finite_float64_metres_of_plausible_length(clips: dict[Identity, Array]) -> None:
    for clip in clips.values():
        assert clip.dtype == np.float64
        assert clip.shape[:2] == (20, 3)
        assert 41 <= clip.shape[2] <= 125
        assert np.isfinite(clip).all()
        assert np.array_equal(clip, np.round(clip, 5))
    assert 64 <= np.mean([clip.shape[2] for clip in clips.values()]) <= 71
    depth = [clip[SPINE, 2].mean() for clip in clips.values()]
    assert min(depth) > 2.5
    assert max(depth) < 3.5


def test_a_clip_alone_equals_the_clip_in_the_full_run(clips: dict[Identity, Array]) -> None:
    for identity in [(27, 8, 3), (1, 1, 1), (22, 4, 2)]:
        assert np.array_equal(synthetic.clip(*identity), clips[identity])


def test_version_stands_for_the_coordinates(clips: dict[Identity, Array]) -> None:
    digest = hashlib.sha256()
    for stem, clip in zip(synthetic.names(), clips.values(), strict=True):
        digest.update(stem.encode())
        digest.update(np.rint(clip * 1e5).astype("<i4").tobytes())
    assert digest.hexdigest() == DIGESTS[synthetic.VERSION], (
        "the clips changed: raise VERSION, write down the new digest and measure the set again"
    )


def test_bones_keep_their_length_but_for_sensor_noise(clips: dict[Identity, Array]) -> None:
    for clip in clips.values():
        assert bone_lengths(clip).std(axis=1).max() < 0.04


def test_bones_of_the_body_keep_their_length_exactly_in_any_pose() -> None:
    rng = np.random.default_rng(0)
    build = synthetic._person(3).build
    targets = {
        part: np.array(rest) + (20 if part == "torso" else 0.3) * rng.standard_normal((50, 3))
        for part, rest in REST.items()
    }
    lengths = bone_lengths(pose(build, targets, facing=10.0).transpose(1, 2, 0))
    assert np.ptp(lengths, axis=1).max() < 1e-9


def test_left_and_right_limbs_are_equal_and_subjects_differ(clips: dict[Identity, Array]) -> None:
    bone = {child: index for index, (child, _) in enumerate(UTDMHAD.edges)}
    people = np.array(
        [
            np.mean([bone_lengths(c).mean(1) for (_, s, _), c in clips.items() if s == subject], 0)
            for subject in range(1, 9)
        ]
    )
    for left, right in UTDMHAD.left_right:
        assert people[:, bone[left]] == pytest.approx(people[:, bone[right]], abs=0.004)
    for one in range(8):
        for other in range(one):
            assert np.abs(people[one] - people[other]).max() > 0.008


def test_people_stand_upright_on_the_floor(clips: dict[Identity, Array]) -> None:
    for (action, _, _), clip in clips.items():
        height = clip[:, 1]
        floor = np.percentile(height[[LEFT_FOOT, RIGHT_FOOT]], 5)
        assert abs(floor + 1.05) < 0.12
        assert (height[HEAD] > height[HIPS] + 0.15).all()
        assert (height[HIPS] > floor + 0.2).all()
        if action <= CLASS["draw_triangle"]:
            assert (height[HIPS] > floor + 0.65).all()
            assert (height[[LEFT_FOOT, RIGHT_FOOT]] < floor + 0.15).all()


def test_movements_are_what_their_names_say(clips: dict[Identity, Array]) -> None:
    """x grows to the person's right, z away from the camera; the right hand is the acting one."""
    for name in ("swipe_left", "swipe_right", "wave", "draw_x", "knock", "catch"):
        for clip in of_class(clips, name):
            assert np.ptp(clip[RIGHT_HAND, 1]) > 0.4
            assert np.ptp(clip[LEFT_HAND, 1]) < 0.15
    for name, way in (("swipe_left", 1), ("swipe_right", -1)):
        for clip in of_class(clips, name):
            across = way * clip[RIGHT_HAND, 0]
            assert across.argmax() < across.argmin()
    for name, way in (("draw_circle_CW", 1), ("draw_circle_CCW", -1)):
        turned = [way * _turned(clip) for clip in of_class(clips, name)]
        assert min(turned) > 0.5
    for clip in of_class(clips, "clap"):
        apart = np.linalg.norm(clip[LEFT_HAND] - clip[RIGHT_HAND], axis=0)
        assert apart.min() < 0.25
    for clip in of_class(clips, "sit2stand"):
        assert clip[HIPS, 1, -1] - clip[HIPS, 1, 0] > 0.2
    for clip in of_class(clips, "stand2sit"):
        assert clip[HIPS, 1, 0] - clip[HIPS, 1, -1] > 0.2
    for clip in of_class(clips, "squat"):
        assert np.ptp(clip[HIPS, 1]) > 0.25
    for clip in of_class(clips, "lunge"):
        assert (clip[RIGHT_FOOT, 2] - clip[LEFT_FOOT, 2]).max() > 0.4
    lift = {
        name: np.mean([np.ptp(c[[LEFT_FOOT, RIGHT_FOOT], 1]) for c in of_class(clips, name)])
        for name in ("walk", "jog")
    }
    assert 0.05 < lift["walk"] < lift["jog"]


def _turned(clip: Array) -> float:
    """Clockwise turns of the raised right hand about its own middle, as the person sees it."""
    hand = clip[RIGHT_HAND, :2]
    raised = hand[:, hand[1] > -0.1]
    x, y = raised - (raised.max(1) + raised.min(1))[:, None] / 2
    angle = np.unwrap(np.arctan2(x, y))
    return float(angle[-1] - angle[0]) / (2 * np.pi)


# How hard the set is ----------------------------------------------------------------------------


def _maps(clips: dict[Identity, Array], frames: int = 16) -> tuple[Tensor, Tensor, Tensor]:
    """Spine-centred xyz resampled to (N, 3, frames, 20), labels (N,) and subjects (N,)."""
    maps = []
    for clip in clips.values():
        centred = clip - clip[SPINE]
        at = np.linspace(0, clip.shape[2] - 1, frames)
        before = np.minimum(at.astype(int), clip.shape[2] - 2)
        weight = at - before
        resampled = (1 - weight) * centred[..., before] + weight * centred[..., before + 1]
        maps.append(resampled.transpose(1, 2, 0))
    labels, subjects, _ = torch.tensor(list(clips)).T
    return torch.tensor(np.stack(maps), dtype=torch.float32), labels - 1, subjects


def _probe_accuracy(maps: Tensor, labels: Tensor, train: Tensor, test: Tensor) -> float:
    """Multinomial logistic regression, ridge 1, on standardised flattened maps."""
    flat = maps.flatten(1)
    flat = (flat - flat[train].mean(0)) / (flat[train].std(0) + 1e-6)
    weight = torch.zeros(flat.shape[1], 27, requires_grad=True)
    bias = torch.zeros(27, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=300, line_search_fn="strong_wolfe")

    def loss() -> float:
        optimiser.zero_grad()
        logits = flat[train] @ weight + bias
        total = nn.functional.cross_entropy(logits, labels[train], reduction="sum")
        total = total + weight.square().sum() / 2
        total.backward()
        return total.item()

    optimiser.step(loss)
    with torch.no_grad():
        guess = (flat[test] @ weight + bias).argmax(1)
    return float((guess == labels[test]).float().mean())


def _network_accuracy(
    maps: Tensor, labels: Tensor, train: Tensor, test: Tensor, seed: int
) -> float:
    """Three 3x3 convolutions with 16, 32, 64 channels, the last two of stride 2; 60 epochs."""
    torch.manual_seed(seed)

    def block(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
        convolution = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]

    blocks = [*block(3, 16, 1), *block(16, 32, 2), *block(32, 64, 2)]
    network = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 27))
    optimiser = torch.optim.SGD(
        network.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 60)
    over = (0, 2, 3)
    maps = (maps - maps[train].mean(over, keepdim=True)) / maps[train].std(over, keepdim=True)
    ids = train.nonzero().flatten()
    for _ in range(60):
        for batch in ids[torch.randperm(len(ids))].split(32):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(maps[batch]), labels[batch]).backward()
            optimiser.step()
        schedule.step()
    network.eval()
    with torch.no_grad():
        guess = network(maps[test]).argmax(1)
    return float((guess == labels[test]).float().mean())


@pytest.mark.slow
def test_is_learnable_but_not_trivial(clips: dict[Identity, Array]) -> None:
    """What the docstring of `synthetic` says; run with ``-s`` to see the numbers."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        maps, labels, subjects = _maps(clips)
        train = torch.isin(subjects, torch.tensor([1, 3, 5]))
        test = subjects % 2 == 0
        assert (int(train.sum()), int(test.sum())) == (323, 430)
        probe = _probe_accuracy(maps, labels, train, test)
        networks = [_network_accuracy(maps, labels, train, test, seed) for seed in (777, 888, 999)]
    finally:
        torch.set_num_threads(threads)
    print(f"\nlinear probe {probe:.3f}, network {np.mean(networks):.3f} of", np.round(networks, 3))
    assert 0.3 < probe < 0.7
    assert probe + 0.1 < np.mean(networks) < 0.97
