import gc
import weakref

import pytest
import torch
from torch import nn

from nas_skeleton.spaces.liveness import Role, roles
from nas_skeleton.training.candidates import Unsupported
from nas_skeleton.training.engines.eager import Reference
from nas_skeleton.training.engines.packed import Packed
from nas_skeleton.training.engines.packed_layers import stack

TOLERANCE = 1e-9
SETTINGS = {
    "graph, 20 joints": {},
    "graph, 25 joints, odd sizes": {
        "joints": 25,
        "bodies": 2,
        "frames": 7,
        "stem": {"blocks": 2, "data_norm": "joints", "partition": "spatial-stgcn"},
    },
    "graph, deep": {"bodies": 2, "reduction": "time", "cells_per_stage": 2, "stem": {"blocks": 3}},
    "image, 25 joints": {"space": "nb201-image", "joints": 25, "reduction": "time"},
    "graph cells, 20 joints": {"space": "nb201-graph", "reduction": "time"},
    "graph cells, 25 joints, deep": {
        "space": "nb201-graph",
        "joints": 25,
        "bodies": 2,
        "frames": 7,
        "reduction": "time",
        "cells_per_stage": 2,
    },
    "no nesterov": {"space": "nb201-image", "bodies": 2, "nesterov": False},
}
# Every member in another place and another neighbourhood, alone, and beside others of its kind.
PACKS = [[0], [10], [11, 3, 0], [4, 4, 4], [10, 11, 10, 6], list(reversed(range(12)))]


@pytest.mark.parametrize("setting", SETTINGS)
def test_pack_trains_as_the_plain_networks(tiny, setting):
    task = tiny(**SETTINGS[setting])
    assert task.train(Packed).differs_from(task.train(Reference)) < TOLERANCE


def test_cells_compared_hold_every_role(tiny):
    found = {role for cell in tiny().cells for role in roles(cell)}
    assert found == set(Role)


def test_a_member_does_not_depend_on_the_pack(tiny):
    task = tiny(bodies=2)
    everyone = task.train(Packed)
    for members in PACKS:
        assert task.train(Packed, members).differs_from(everyone, members) < TOLERANCE


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("name", ["stem.blocks.0.graph.project.weight", "classifier.bias"])
def test_nan_stays_in_its_own_member(tiny, dtype, name):
    nan_stays_in_its_own_member(tiny(dtype=dtype), name, near=1e-9)


def nan_stays_in_its_own_member(task, name, near):
    clean = task.train(Packed)
    for member, value in ((3, "nan"), (10, "inf")):
        task.states[member].weights[name].view(-1)[0] = float(value)
    spoilt = task.train(Packed)
    others = [member for member in range(len(task.cells)) if member not in (3, 10)]
    assert not torch.isfinite(spoilt.losses[-1, [3, 10]]).any()
    assert torch.allclose(spoilt.losses[:, others], clean.losses[:, others], rtol=0, atol=near)
    assert torch.isfinite(spoilt.scores[others]).all()
    for member in others:
        assert all(torch.isfinite(v).all() for v in spoilt.states[member].weights.values())


def test_states_come_back_as_they_were_given(tiny):
    task = tiny()
    given = task.states
    for state in given:
        for value in state.momentum.values():
            value.copy_(torch.randn_like(value))
    candidates = task.candidates(Packed)
    for member, state in enumerate(given):
        back = candidates.state(member)
        for kind in ("weights", "momentum"):
            values, wanted = getattr(back, kind), getattr(state, kind)
            assert list(values) == list(wanted)
            assert all(torch.equal(values[name], wanted[name]) for name in wanted)


def test_training_goes_on_in_the_plain_network_and_back(tiny):
    task = tiny()
    whole = task.train(Reference)
    for engines in ((Packed, Reference), (Reference, Packed)):
        assert task.train_on_two(*engines).differs_from(whole) < TOLERANCE


def test_warming_up_changes_nothing(tiny):
    task = tiny()
    candidates, expected = (task.candidates(Packed) for _ in range(2))
    first, *later = task.batches()
    for one in (candidates, expected):
        one.set_learning_rate(0.05)
        one.step(*task.on(first))
    for ids in later:
        for step, share in zip(candidates.steps, candidates.shares(*task.on(ids)), strict=True):
            step.rehearse(*share)
    outcomes = [task.advance(one, later) for one in (candidates, expected)]
    assert outcomes[0].differs_from(outcomes[1]) == 0


def test_recorded_and_replayed_steps_train_as_direct_ones(tiny, recorded):
    task = tiny(space="nb201-image")
    members = [2, 5, 10]
    captured, direct = (task.candidates(Packed, members) for _ in range(2))
    current = recorded(captured)
    batches = task.batches(members)
    outcomes = [task.advance(one, batches) for one in (captured, direct)]
    assert outcomes[0].differs_from(outcomes[1]) == 0
    streams = {lane.stream for lane in captured.lanes}
    assert streams == set(current.waited_for)
    assert len(streams) == len(captured.steps)


def test_memory_is_free_as_soon_as_nobody_refers_to_the_candidates(tiny):
    task = tiny()
    candidates = task.candidates(Packed, [10, 11])
    task.advance(candidates, task.batches([10, 11])[:1])
    watched = weakref.ref(candidates)
    gc.disable()
    try:
        del candidates
        assert watched() is None
    finally:
        gc.enable()


def test_a_step_never_waits_for_the_device(tiny, no_host_synchronisation):
    task = tiny()
    candidates = task.candidates(Packed)
    with no_host_synchronisation:
        candidates.set_learning_rate(0.05)
        for ids in task.batches():
            candidates.step(*task.on(ids))


def test_a_pack_of_one_cell_moves_no_channels(tiny):
    task = tiny()
    network = task.candidates(Packed, [10, 10, 10]).network
    groups = [group for block in network.blocks for group in getattr(block, "groups", ())]
    assert groups
    assert all(group.taken_from is None and group.added_to is None for group in groups)


def test_pack_works_under_autocast(tiny, monkeypatch):
    task = tiny(dtype=torch.float32)
    exact = task.train(Packed)
    rough = task.candidates(Packed)
    monkeypatch.setattr(rough.arithmetic, "forward", lambda: torch.autocast("cpu", torch.bfloat16))
    outcome = task.advance(rough, task.batches())
    assert 0 < (outcome.losses[0] - exact.losses[0]).abs().max() < 1
    assert outcome.scores.dtype == torch.float32
    assert all(value.dtype == torch.float32 for value in outcome.states[0].weights.values())


def test_a_layer_without_packed_form_is_unsupported():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.PReLU())
    with pytest.raises(Unsupported, match="PReLU"):
        stack(network, [0, 1])


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_low_precision_is_refused_without_a_gpu(tiny, precision):
    with pytest.raises(Unsupported, match=f"{precision}.*GPU"):
        tiny(precision=precision, dtype=torch.float32).candidates(Packed)


# --- on a GPU


@pytest.mark.gpu
@pytest.mark.parametrize("capture", [False, True])
@pytest.mark.parametrize("setting", SETTINGS)
def test_pack_on_a_gpu_trains_as_the_cpu(tiny, gpu, setting, capture):
    expected = tiny(**SETTINGS[setting]).train(Reference)
    outcome = tiny(**SETTINGS[setting], device=gpu).train(Packed, capture=capture)
    assert outcome.differs_from(expected) < TOLERANCE


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
@pytest.mark.parametrize("channels", [4, 16])
def test_nan_stays_in_its_own_member_on_a_gpu(tiny, gpu, precision, channels):
    # Library kernels may multiply the channels of several groups at once, by zeros: 0 * NaN is NaN.
    task = tiny(device=gpu, dtype=torch.float32, precision=precision, channels=channels)
    nan_stays_in_its_own_member(task, "stem.blocks.0.graph.project.weight", near=0.5)


@pytest.mark.gpu
def test_host_does_not_wait_inside_an_epoch(tiny, gpu):
    task = tiny(device=gpu, dtype=torch.float32)
    candidates = task.candidates(Packed)
    batches = task.batches()
    task.advance(candidates, batches)  # captures both sizes of a batch
    torch.cuda.set_sync_debug_mode("error")
    try:
        candidates.set_learning_rate(0.05)
        for ids in batches:
            candidates.step(*task.on(ids))
        sums = candidates.loss_sums
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.isfinite(sums).all()
