"""Batches of clips: as they lie there, sampled anew, changed at random."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nas_skeleton.errors import InputError
from nas_skeleton.network.aim import link_matrices
from nas_skeleton.skeletons.inputs import encode
from nas_skeleton.skeletons.modalities import modality
from nas_skeleton.skeletons.store import Dataset, load_dataset
from nas_skeleton.spaces.card import Input, load_space_card
from nas_skeleton.spaces.recipe import Recipe
from nas_skeleton.training import clips as room
from nas_skeleton.training.clips import (
    AugmentedClips,
    FixedClips,
    LinkedClips,
    RaggedClips,
    build_clips,
    fits,
    sampled_places,
)

CPU = torch.device("cpu")


def drawn(clips: int, count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(clips, count + 1, generator=generator, dtype=torch.double)


# --- which frames are taken


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("length", [1, 2, 7, 15, 16, 17, 25, 31, 32, 33, 100])
def test_uniform_takes_whole_frames_of_the_whole_clip(length: int, training: bool) -> None:
    places = sampled_places(
        torch.full((200,), length), drawn(200, 16), "uniform", training=training
    )
    assert places.shape == (200, 16)
    assert (places == places.long()).all()
    assert places.min() >= 0
    assert places.max() < length
    if length < 16:  # the clip again and again
        assert ((places[:, 1:] - places[:, :-1]) % length == (1 % length)).all()
        starts = set(places[:, 0].tolist())
        assert starts == (set(range(length)) if training else {0})
    else:
        assert (places.diff(dim=1) > 0).all()
    if length == 16:
        assert (places == torch.arange(16)).all()
    if 16 < length < 32:  # no two frames in a row are left out, and all may be
        assert places.diff(dim=1).max() == 2
        assert (torch.bincount(places.flatten().long(), minlength=length) < 200).all()
    if length >= 32:
        for part in range(16):
            own = places[:, part]
            assert own.min() == part * length // 16
            assert own.max() == (part + 1) * length // 16 - 1


def test_uniform_thins_as_the_published_code_does() -> None:
    """Slots chosen at random; a frame moves by the slots chosen up to it."""
    for seed in range(20):
        numbers = drawn(1, 8, seed)
        [places] = sampled_places(torch.tensor([13]), numbers, "uniform", training=True)
        chosen = numbers[0].argsort()[: 13 - 8].tolist()
        wanted = [frame + sum(slot <= frame for slot in chosen) for frame in range(8)]
        assert places.tolist() == wanted


@pytest.mark.parametrize(("length", "least"), [(5, 5), (63, 63), (64, 64), (100, 64), (300, 150)])
def test_a_crop_has_as_many_frames_as_are_sampled_where_the_clip_has(
    length: int, least: int
) -> None:
    lengths = torch.full((500,), length)
    places = sampled_places(lengths, drawn(500, 64), "crop-resize", training=True)
    sizes = places[:, -1] - places[:, 0] + 1
    assert least <= sizes.min() <= least + 2
    assert (places >= 0).all()
    assert (places < length).all()


def test_crops_are_anywhere_and_at_least_half_the_clip() -> None:
    places = sampled_places(torch.full((3000,), 80), drawn(3000, 9), "crop-resize", training=True)
    first, last = places[:, 0], places[:, -1]
    assert (first == first.long()).all()
    sizes = last - first + 1
    assert (sizes.min(), sizes.max()) == (40, 79)
    assert first.min() == 0
    assert last.max() == 79
    spare = 80 - sizes
    middle = (first[spare > 8] / spare[spare > 8]).mean()
    assert abs(middle - 0.5) < 0.03
    torch.testing.assert_close(places.diff(dim=1), ((last - first) / 8)[:, None].expand(-1, 8))


@pytest.mark.parametrize(
    ("length", "first", "last"), [(100, 2, 97), (40, 1, 38), (30, 0, 29), (1, 0, 0)]
)
def test_the_middle_of_a_clip_is_tested(length: int, first: int, last: int) -> None:
    [places] = sampled_places(torch.tensor([length]), drawn(1, 5), "crop-resize", training=False)
    np.testing.assert_allclose(places, np.linspace(first, last, 5))


@pytest.mark.parametrize("sampling", ["uniform", "crop-resize"])
def test_other_clips_of_the_batch_change_nothing(sampling: str) -> None:
    lengths, numbers = torch.tensor([5, 20, 90, 33]), drawn(4, 16)
    together = sampled_places(lengths, numbers, sampling, training=True)
    for index in range(4):
        alone = sampled_places(lengths[[index]], numbers[[index]], sampling, training=True)
        assert torch.equal(together[[index]], alone)


# --- batches


LENGTHS = torch.tensor([30, 9, 50])


def made(sampling: str, count: int = 8, after: object = None) -> RaggedClips:
    """Three clips of random walks with two bodies; the second comes late in the first clip."""
    generator = torch.Generator().manual_seed(0)
    frames = torch.randn(89, 3, 20, 2, generator=generator, dtype=torch.double).cumsum(dim=0)
    frames[:20, :, :, 1] = 0
    known = (frames != 0).any(dim=1)[:, None]
    starts = LENGTHS.cumsum(0) - LENGTHS
    return RaggedClips(frames, known, starts, LENGTHS, count, sampling, after)  # type: ignore[arg-type]


def naive(clips: RaggedClips, index: int, places: torch.Tensor) -> torch.Tensor:
    """One clip, one frame after the other."""
    start, last = int(clips.starts[index]), int(clips.lengths[index]) - 1
    sampled = []
    for place in places.tolist():
        before = min(int(place), last)
        after, share = min(before + 1, last), place - before
        x, y = clips.frames[start + before], clips.frames[start + after]
        mixed = x * (1 - share) + y * share
        for body in range(2):
            if not (x[..., body].any() and y[..., body].any()):
                mixed[..., body] = (x if share < 0.5 else y)[..., body]
        sampled.append(mixed)
    return torch.stack(sampled, dim=1)


@pytest.mark.parametrize("sampling", ["uniform", "crop-resize"])
def test_batches_are_the_frames_that_were_drawn(
    sampling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = made(sampling)
    seen: list[torch.Tensor] = []

    def spy(*args: object, **options: object) -> torch.Tensor:
        seen.append(sampled_places(*args, **options))  # type: ignore[arg-type]
        return seen[-1]

    monkeypatch.setattr(room, "sampled_places", spy)
    ids = torch.tensor([2, 0, 0, 1])
    for seed in range(5):
        inputs = clips.training(ids, seed)
        assert inputs.shape == (4, *clips.shape[1:])
        for row, index in enumerate(ids.tolist()):
            torch.testing.assert_close(inputs[row], naive(clips, index, seen[-1][row]))
    inputs = clips.evaluation(ids)
    for row, index in enumerate(ids.tolist()):
        torch.testing.assert_close(inputs[row], naive(clips, index, seen[-1][row]))


@pytest.mark.parametrize("sampling", ["uniform", "crop-resize"])
def test_seeds_decide_what_is_trained_and_nothing_what_is_tested(sampling: str) -> None:
    clips, ids = made(sampling), torch.tensor([0, 1, 2])
    state = torch.get_rng_state()
    assert torch.equal(clips.training(ids, 5), clips.training(ids, 5))
    assert not torch.equal(clips.training(ids, 5), clips.training(ids, 6))
    tested = clips.evaluation(ids)
    assert torch.equal(clips.evaluation(ids), tested)
    assert torch.equal(clips.evaluation(ids.flip(0)), tested.flip(0))
    assert torch.equal(clips.evaluation(ids[1:2]), tested[1:2])
    assert torch.equal(torch.get_rng_state(), state)


def test_equally_long_clips_are_tested_at_frames_of_their_own() -> None:
    frames = torch.arange(200.0)[:, None, None, None] % 100 + 1
    known, lengths = torch.ones(200, 1, 1, 1, dtype=torch.bool), torch.tensor([100, 100])
    clips = RaggedClips(frames, known, torch.tensor([0, 100]), lengths, 8, "uniform")
    first, second = clips.evaluation(torch.tensor([0, 1]))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("sampling", ["uniform", "crop-resize"])
def test_what_is_computed_later_learns_where_joints_and_clips_end(
    sampling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
    places: list[torch.Tensor] = []

    def after(x: torch.Tensor, found: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
        told.append((x, found, ends))
        return x

    def spy(*args: object, **options: object) -> torch.Tensor:
        places.append(sampled_places(*args, **options))  # type: ignore[arg-type]
        return places[-1]

    monkeypatch.setattr(room, "sampled_places", spy)
    clips = made(sampling, 16, after)
    for seed in range(20):
        clips.training(torch.tensor([0, 1]), seed)
        x, found, ends = told[-1]
        assert torch.equal(found, (x != 0).any(dim=1))
        again = places[-1].diff(dim=1) < 0
        assert torch.equal(ends[:, :-1], again)
        assert not ends[:, -1].any()
        assert again[1].any() == (sampling == "uniform")  # 9 frames, repeated
        assert not again[0].any()


def test_every_modality_is_blended_where_it_is_known_itself() -> None:
    """Two modalities of one joint that is never away; the second is known in every other frame."""
    known = torch.ones(30, 2, 1, 1, dtype=torch.bool)
    known[1::2, 1] = False
    frames = torch.arange(30.0).repeat(2, 1).T.reshape(30, 2, 1, 1) * known + 1
    starts, lengths = torch.tensor([0]), torch.tensor([30])
    clips = RaggedClips(frames, known, starts, lengths, 40, "crop-resize")
    first, second = clips.training(torch.tensor([0]), 3)[0, :, :, 0, 0]
    torch.testing.assert_close(first, torch.linspace(1, 30, 40))
    assert set(second.tolist()) == set(frames[:, 1].flatten().tolist())


def test_another_precision_is_the_same_batch() -> None:
    clips, ids = made("crop-resize"), torch.tensor([0, 2])
    single = clips.to(CPU, torch.float32)
    assert single.dtype == single.training(ids, 1).dtype == torch.float32
    assert single.shape == clips.shape
    torch.testing.assert_close(
        single.training(ids, 1), clips.training(ids, 1).float(), atol=1e-4, rtol=1e-4
    )


def test_a_gpu_that_is_full_gets_batch_after_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The device "meta" plays the GPU."""
    ids = torch.tensor([0, 2])
    gpu = torch.device("meta")
    fixed = FixedClips(torch.randn(3, 3, 4, 20, 1))
    for clips in (made("uniform"), fixed):
        monkeypatch.setattr(room, "_free_bytes", lambda _: 100)
        full = clips.to(gpu, torch.float32)
        held = full.frames if isinstance(full, RaggedClips) else full.inputs  # type: ignore[attr-defined]
        assert held.device == CPU
        assert full.device == gpu
        assert full.evaluation(ids).device == gpu
        assert full.training(ids, 3).dtype == torch.float32
        monkeypatch.setattr(room, "_free_bytes", lambda _: 10**9)
        empty = clips.to(gpu, torch.float32)
        held = empty.frames if isinstance(empty, RaggedClips) else empty.inputs  # type: ignore[attr-defined]
        assert held.device == gpu


def test_inputs_go_to_a_gpu_when_they_leave_room_for_networks() -> None:
    gpu = torch.device("cuda")

    def free(device: torch.device) -> int:
        assert device == gpu
        return 1000

    assert fits(gpu, 500, free=free)
    assert not fits(gpu, 501, free=free)
    assert fits(gpu, 10**15, already=gpu, free=free)
    assert fits(CPU, 10**15)


def test_fixed_clips_are_what_they_are() -> None:
    x = torch.randn(5, 3, 4, 20, 1)
    clips, ids = FixedClips(x), torch.tensor([3, 0])
    assert len(clips) == 5
    assert torch.equal(clips.training(ids, 1), x[ids])
    assert torch.equal(clips.evaluation(ids), x[ids])
    assert clips.to(CPU, torch.double).evaluation(ids).dtype == torch.double


# --- from a data set


@pytest.fixture
def dataset(workdir: Path) -> Dataset:
    return load_dataset("synthetic")


@pytest.fixture
def recipe(workdir: Path) -> Recipe:
    return load_space_card("tiny").recipe()


def card(**options: object) -> Input:
    return Input.model_validate({"encoding": "centred-first-frame", **options})


def test_by_default_clips_are_the_encoded_array(dataset: Dataset, recipe: Recipe) -> None:
    clips = build_clips(dataset, card(), recipe, "thesis")
    assert isinstance(clips, FixedClips)
    wanted = encode(dataset, "centred-first-frame", recipe.frames)
    np.testing.assert_array_equal(clips.inputs.numpy(), wanted)
    ids = torch.tensor([5, 0])
    np.testing.assert_array_equal(clips.training(ids, 1).numpy(), wanted[[5, 0]])


def test_options_of_the_card_reach_the_clips(dataset: Dataset, recipe: Recipe) -> None:
    options = {"modalities": ("bone", "bone-motion"), "motion": "after-sampling"}
    clips = build_clips(dataset, card(sampling="pad-repeat", **options), recipe, "thesis")
    wanted = encode(
        dataset,
        "centred-first-frame",
        recipe.frames,
        modalities=("bone", "bone-motion"),
        motion="after-sampling",
        sampling="pad-repeat",
    )
    np.testing.assert_array_equal(clips.evaluation(torch.arange(3)).numpy(), wanted[:3])


@pytest.mark.parametrize("motion", ["before-sampling", "after-sampling"])
@pytest.mark.parametrize("sampling", ["uniform", "crop-resize"])
def test_ragged_clips_have_the_modalities_of_the_card(
    dataset: Dataset, recipe: Recipe, sampling: str, motion: str
) -> None:
    names = ("joint", "bone-motion")
    ids = torch.tensor([7, 100, 300])
    asked = card(sampling=sampling, modalities=names, motion=motion)
    clips = build_clips(dataset, asked, recipe, "thesis")
    plain = build_clips(dataset, card(sampling=sampling), recipe, "thesis")
    assert clips.shape == (len(dataset), 6, recipe.frames, 20, 1)
    joints = plain.training(ids, 3)
    inputs = clips.training(ids, 3)
    torch.testing.assert_close(inputs[:, :3], joints)
    everywhere = torch.ones(3, recipe.frames, 20, 1, dtype=torch.bool)
    late = modality(joints, everywhere, "bone-motion", dataset.layout, dataset.axes)
    same = torch.allclose(inputs[:, 3:], late, atol=1e-6)
    assert same == (motion == "after-sampling")


def test_a_recipe_that_augments_changes_training_only(dataset: Dataset, recipe: Recipe) -> None:
    ids = torch.tensor([7, 100, 300])
    plain = build_clips(dataset, card(), recipe, "thesis")
    turned = recipe.model_copy(update={"rotation": 0.3})
    clips = build_clips(dataset, card(), turned, "thesis").to(CPU, torch.double)
    assert isinstance(clips, AugmentedClips)
    assert torch.equal(clips.evaluation(ids), plain.evaluation(ids).double())
    changed = clips.training(ids, 1)
    assert not torch.allclose(changed, plain.training(ids, 1).double())
    torch.testing.assert_close(changed.norm(dim=1), plain.training(ids, 1).double().norm(dim=1))
    assert torch.equal(changed, clips.training(ids, 1))
    assert not torch.equal(changed, clips.training(ids, 2))


def test_what_the_data_cannot_have_is_said(dataset: Dataset, recipe: Recipe) -> None:
    image = Input(encoding="image")
    with pytest.raises(InputError, match="unknown protocol"):
        build_clips(dataset, image, recipe, "no such protocol")


def test_inputs_that_cannot_be_written_to_do_not_alarm_anybody(
    dataset: Dataset, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*arguments: object, **options: object) -> np.ndarray:
        inputs = encode(dataset, "centred-first-frame", 8)
        inputs.flags.writeable = False
        return inputs

    monkeypatch.setattr(room, "encoded", read_only)
    clips = build_clips(dataset, card(), recipe, "thesis")
    assert clips.evaluation(torch.tensor([3])).shape == (1, 3, 8, 20, 1)


@pytest.mark.gpu
@pytest.mark.parametrize("bodies", [1, 2])
def test_links_ride_behind_the_coordinates_of_their_own_clip_and_body(bodies: int) -> None:
    joints, generator = 4, torch.Generator().manual_seed(0)
    coordinates = torch.randn(5, 3, 6, joints, bodies, generator=generator)
    types = torch.randint(3, (5, bodies, joints * (joints - 1)), generator=generator).to(
        torch.uint8
    )
    clips = LinkedClips(FixedClips(coordinates), types)
    assert clips.shape == (5, 3 + 2 * joints, 6, joints, bodies)
    batch = clips.evaluation(torch.tensor([4, 1]))
    torch.testing.assert_close(batch[:, :3], coordinates[[4, 1]])
    for place, index in enumerate((4, 1)):
        for body in range(bodies):
            [links] = link_matrices(types[index, body][None], joints)
            for frame in range(6):
                found = batch[place, 3:, frame, :, body].view(2, joints, joints)
                torch.testing.assert_close(found, links)
    torch.testing.assert_close(clips.training(torch.tensor([4, 1]), seed=3), batch)
    assert clips.to(CPU, torch.float64).evaluation(torch.tensor([0])).dtype == torch.float64


def test_a_gpu_draws_what_the_cpu_draws() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU")
    gpu, ids = torch.device("cuda"), torch.tensor([0, 2, 1])
    for sampling in ("uniform", "crop-resize"):
        clips = made(sampling)
        there = clips.to(gpu, torch.double)
        assert there.frames.is_cuda
        torch.testing.assert_close(there.training(ids, 1).cpu(), clips.training(ids, 1))
        torch.testing.assert_close(there.evaluation(ids.to(gpu)).cpu(), clips.evaluation(ids))
