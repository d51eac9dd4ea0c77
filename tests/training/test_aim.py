"""A-links of a data set: what they depend on, that they are inferred once, and who learns what."""

import numpy as np
import pytest
import torch
from filelock import FileLock

from nas_skeleton.errors import InputError
from nas_skeleton.network.aim import AIM
from nas_skeleton.network.initialise import initialise
from nas_skeleton.skeletons.store import load_dataset
from nas_skeleton.spaces import load_any_space
from nas_skeleton.spaces.recipe import AIMRecipe
from nas_skeleton.training import aim
from nas_skeleton.training.aim import (
    Watch,
    clips_fingerprint,
    infer_links,
    links_key,
    pretrain,
    share_of_links,
)
from nas_skeleton.training.task import build_task


class Heard(Watch):
    """Keeps what it hears of, and ends the pre-training after so many epochs."""

    def __init__(self, stop_after=None):
        self.epochs, self.stop_after = [], stop_after

    def epoch(self, done):
        self.epochs.append(done)
        if done.epoch == self.stop_after:
            raise KeyboardInterrupt


RECIPE = AIMRecipe(frames=6, hidden=8, epochs=3, batch_size=4, learning_rate=0.01)
TRAIN = np.arange(8)


def poses(seed=0, bodies=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(12, 3, 6, 5, bodies, generator=generator).cumsum(dim=2)


@pytest.fixture
def linked(workdir):
    """Card of a small space with links, and the synthetic set."""
    text = (workdir / "search_spaces" / "tiny.toml").read_text()
    text = text.replace('name = "tiny"', 'name = "linked"').replace('"stgcn"', '"asgcn"\nhops = 2')
    text += "\n[aim]\nframes = 6\nhidden = 4\nepochs = 1\nbatch_size = 128\n"
    (workdir / "search_spaces" / "linked.toml").write_text(text)
    return load_any_space("linked").card, load_dataset("synthetic")


def test_links_repeat_bit_for_bit_whatever_ran_before():
    first = pretrain(poses(), TRAIN, RECIPE)
    torch.rand(5)  # the global generator is elsewhere now
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    assert np.array_equal(pretrain(poses(), TRAIN, RECIPE), first)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)
    other = RECIPE.model_copy(update={"seed": 1})
    assert not np.array_equal(pretrain(poses(), TRAIN, other), first)


def test_links_are_a_type_for_every_pair_of_joints_of_every_body():
    types = pretrain(poses(bodies=2), TRAIN, RECIPE)
    assert types.shape == (12, 2, 5 * 4)
    assert types.dtype == np.uint8
    assert types.max() <= 2
    assert share_of_links(types) == ((types == 1).mean(), (types == 2).mean())


def test_clips_that_are_not_trained_on_teach_nothing():
    seen, changed = poses(), poses()
    changed[8:] = poses(seed=1)[8:]
    first, second = (pretrain(clips, TRAIN, RECIPE) for clips in (seen, changed))
    assert np.array_equal(first[:8], second[:8])
    learnt, changed = poses(), poses()
    changed[0] = poses(seed=1)[0]
    first, second = (pretrain(clips, TRAIN, RECIPE) for clips in (learnt, changed))
    assert not np.array_equal(first[1:], second[1:])


def test_a_body_that_is_not_there_has_no_links_and_teaches_nothing():
    alone, pair = poses(), torch.zeros(12, 3, 6, 5, 2)
    pair[..., 0] = alone[..., 0]
    types = pretrain(pair, TRAIN, RECIPE)
    assert not types[:, 1].any()
    assert np.array_equal(types[:, :1], pretrain(alone, TRAIN, RECIPE))


def test_decoding_a_few_bodies_at_a_time_gives_the_gradients_of_the_whole_loss(monkeypatch):
    module = AIM(5, 3, 6, 8).double().eval()  # no dropout, which would be drawn in another order
    initialise(module, 0)
    bodies = poses()[..., 0].double()
    module.loss(bodies).backward()
    wanted = {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}
    for at_once in (1, 5, 12):
        monkeypatch.setattr(aim, "DECODED_AT_ONCE", at_once)
        module.zero_grad()
        loss = aim._gradients(module, bodies, None)
        assert loss.item() == pytest.approx(module.loss(bodies).item(), rel=1e-12)
        for name, gradient in wanted.items():
            found = module.get_parameter(name).grad
            torch.testing.assert_close(found, gradient, rtol=1e-9, atol=1e-9, msg=name)


def test_the_loss_falls():
    heard = Heard()
    recipe = RECIPE.model_copy(update={"epochs": 20})
    drifting = poses()[:, :, :1] + 0.1 * torch.arange(6)[:, None, None]
    pretrain(drifting, TRAIN, recipe, heard)
    assert [(epoch.epoch, epoch.epochs) for epoch in heard.epochs] == [
        (i, 20) for i in range(1, 21)
    ]
    assert heard.epochs[-1].loss < 0.7 * heard.epochs[0].loss


@pytest.mark.parametrize("stop_after", [1, 2])
def test_a_stopped_pre_training_ends_as_an_undisturbed_one(tmp_path, stop_after):
    path = tmp_path / "unfinished.pt"
    with pytest.raises(KeyboardInterrupt):
        pretrain(poses(), TRAIN, RECIPE, Heard(stop_after), unfinished=path)
    heard = Heard()
    types = pretrain(poses(), TRAIN, RECIPE, heard, unfinished=path)
    assert [epoch.epoch for epoch in heard.epochs] == list(range(stop_after + 1, 4))
    assert np.array_equal(types, pretrain(poses(), TRAIN, RECIPE))


def test_a_loss_that_is_not_finite_is_one_line():
    hot = RECIPE.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(InputError, match=r"lower aim\.learning_rate"):
        pretrain(poses(), TRAIN, hot)


def test_links_are_inferred_once_and_then_read(linked, monkeypatch):
    card, data = linked
    first = infer_links(data, card, "thesis")
    assert first.shape == (len(data), 1, 20 * 19)
    monkeypatch.setattr(aim, "pretrain", lambda *_: pytest.fail("trained again"))
    assert np.array_equal(infer_links(data, card, "thesis"), first)
    folder = data.folder.parent / "links"
    assert not list(folder.glob("*.pt"))
    assert [path.stat().st_size for path in folder.glob("*.u1")] == [first.size]


def test_whatever_decides_links_decides_where_they_are_kept(linked):
    card, data = linked
    other = card.model_copy(update={"aim": card.aim.model_copy(update={"seed": 1})})
    bone = card.with_modalities(["bone"])
    keys = {links_key(data, c, p) for c in (card, other, bone) for p in ("thesis", "odd-even")}
    assert len(keys) == 6


def test_other_links_are_other_clips(linked, monkeypatch):
    card, data = linked
    plain = data.split_fingerprint("thesis")
    assert clips_fingerprint(data, load_any_space("tiny").card, "thesis") == plain
    first = clips_fingerprint(data, card, "thesis")
    assert len({plain, first}) == 2
    types = infer_links(data, card, "thesis").copy()
    types[0, 0, 0] = 1 - min(types[0, 0, 0], 1)
    monkeypatch.setattr(aim, "infer_links", lambda *_, **__: types)
    assert clips_fingerprint(data, card, "thesis") != first


def test_the_task_of_a_card_with_links_has_them_in_its_clips(linked):
    card, data = linked
    task = build_task(card, card.recipe(), data, "thesis")
    assert task.channels == card.channels(3, 20) == 43
    batch = task.clips.evaluation(torch.tensor([0]))
    sums = batch[0, 3:, 0, :, 0].view(2, 20, 20).sum(dim=1)
    torch.testing.assert_close(sums, torch.full_like(sums, 0.1))


def test_links_are_not_inferred_where_that_was_not_asked_for(linked):
    card, data = linked
    with pytest.raises(InputError, match=r"train --model aim --space linked --dataset synthetic"):
        infer_links(data, card, "thesis", infer=False)
    infer_links(data, card, "thesis")
    assert infer_links(data, card, "thesis", infer=False).max() <= 2


def test_a_folder_that_cannot_hold_links_is_one_line(linked):
    card, data = linked
    (data.folder.parent / "links").write_text("in the way")
    with pytest.raises(InputError, match="links: A-links must be kept there"):
        infer_links(data, card, "thesis")


def test_whoever_needs_links_that_are_being_inferred_waits_and_can_be_stopped(linked):
    card, data = linked

    class Impatient(Watch):
        told = 0

        def waiting(self):
            self.told += 1

        def check(self):
            raise KeyboardInterrupt

    watch = Impatient()
    folder = data.folder.parent / "links"
    folder.mkdir()
    held = FileLock(folder / f".{links_key(data, card, 'thesis')}.lock")
    with held, pytest.raises(KeyboardInterrupt):
        infer_links(data, card, "thesis", watch)
    assert watch.told == 1


def test_links_need_a_table_and_bodies(linked):
    _, data = linked
    with pytest.raises(InputError, match="no A-links can be learnt"):
        pretrain(torch.zeros(12, 3, 6, 5, 1), TRAIN, RECIPE)
    with pytest.raises(InputError, match=r"lacks a table \[aim\]"):
        infer_links(data, load_any_space("tiny").card, "thesis")
