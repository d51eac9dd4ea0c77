import pytest
import torch
from torch import nn

from nas_skeleton.network.dropout import Dropout, reseed


def ones(*shape, dtype=torch.float32):
    return torch.ones(shape or (4, 8, 16, 20), dtype=dtype)


def seeded(seed, probability=0.5):
    dropout = Dropout(probability)
    reseed(dropout, seed)
    return dropout


@pytest.mark.parametrize("probability", [0.2, 0.5])
def test_the_mean_stays_and_so_many_features_go(probability):
    dropped = seeded(0, probability)(ones())
    assert dropped.mean().item() == pytest.approx(1, abs=0.03)
    assert (dropped == 0).double().mean().item() == pytest.approx(probability, abs=0.02)
    assert torch.allclose(dropped[dropped > 0], torch.tensor(1 / (1 - probability)))


def test_nothing_happens_in_evaluation_or_without_probability():
    maps = ones()
    assert Dropout(0.5).eval()(maps) is maps
    assert Dropout(0.0)(maps) is maps


def test_mask_does_not_depend_on_memory_format_or_precision():
    maps = ones()
    expected = seeded(1)(maps)
    last = maps.to(memory_format=torch.channels_last)
    assert torch.equal(seeded(1)(last), expected)
    for dtype in (torch.bfloat16, torch.float64):
        dropped = seeded(1)(maps.to(dtype))
        assert dropped.dtype == dtype
        assert torch.equal(dropped, expected.to(dtype))


def test_maps_keep_their_memory_format():
    last = ones().to(memory_format=torch.channels_last)
    assert seeded(1)(last).is_contiguous(memory_format=torch.channels_last)
    assert seeded(1)(ones()).is_contiguous()


def test_gradient_passes_where_the_features_did():
    maps = ones().requires_grad_()
    dropped = seeded(1)(maps)
    dropped.sum().backward()
    assert torch.equal(maps.grad, dropped.detach())


def test_masks_follow_from_the_seed():
    assert torch.equal(seeded(1)(ones()), seeded(1)(ones()))
    assert not torch.equal(seeded(1)(ones()), seeded(2)(ones()))


def test_every_call_has_a_mask_of_its_own():
    dropout = seeded(1)
    assert not torch.equal(dropout(ones()), dropout(ones()))


def test_layers_draw_one_after_the_other_from_one_generator():
    network = nn.Sequential(Dropout(0.5), nn.Sequential(Dropout(0.5)))
    reseed(network, 3)
    first, second = network[0](ones()), network[1](ones())
    one = seeded(3)
    assert torch.equal(first, one(ones()))
    assert torch.equal(second, one(ones()))


def test_global_generator_is_left_alone_once_there_is_a_seed():
    before = torch.random.get_rng_state()
    seeded(1)(ones())
    assert torch.equal(torch.random.get_rng_state(), before)
    Dropout(0.5)(ones())
    assert not torch.equal(torch.random.get_rng_state(), before)


def test_state_has_no_entries():
    assert not seeded(1).state_dict()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_mask_is_the_same_on_a_gpu():
    assert torch.equal(seeded(1)(ones().cuda()).cpu(), seeded(1)(ones()))
