import gc
import weakref

import pytest
import torch

from nas_skeleton.training.candidates import Unsupported
from nas_skeleton.training.engines.cuda_graph import CudaGraph
from nas_skeleton.training.engines.eager import Reference
from nas_skeleton.training.engines.precision import Arithmetic
from nas_skeleton.training.engines.replay import AHEAD

TOLERANCE = 1e-9
SETTINGS = {
    "graph, 20 joints": {},
    "graph, 25 joints, odd sizes": {
        "joints": 25,
        "bodies": 2,
        "frames": 7,
        "stem": {"blocks": 2, "data_norm": "joints", "partition": "spatial-stgcn"},
    },
    "graph cells, 25 joints": {
        "space": "nb201-graph",
        "joints": 25,
        "bodies": 2,
        "frames": 7,
        "reduction": "time",
    },
    "image, 25 joints": {"space": "nb201-image", "joints": 25, "reduction": "time"},
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_uncaptured_steps_train_as_the_plain_network(tiny, setting):
    task = tiny(**SETTINGS[setting])
    assert task.train(CudaGraph).differs_from(task.train(Reference)) < TOLERANCE


def test_training_goes_on_in_the_plain_network_and_back(tiny):
    task = tiny()
    whole = task.train(Reference)
    for engines in ((CudaGraph, Reference), (Reference, CudaGraph)):
        assert task.train_on_two(*engines).differs_from(whole) < TOLERANCE


def test_warming_up_changes_nothing(tiny):
    task = tiny()
    candidates, expected = (task.candidates(CudaGraph) for _ in range(2))
    first, *later = task.batches()
    for one in (candidates, expected):
        one.set_learning_rate(0.05)
        one.step(*task.on(first))
    for ids in later:
        for step, share in zip(candidates.steps, candidates.shares(*task.on(ids)), strict=True):
            step.rehearse(*share)
    outcomes = [task.advance(one, later) for one in (candidates, expected)]
    assert outcomes[0].differs_from(outcomes[1]) == 0


def test_a_step_writes_to_the_same_tensors_for_ever(tiny):
    task = tiny()
    candidates = task.candidates(CudaGraph)
    before = [[t.data_ptr() for t in step.changes] for step in candidates.steps]
    task.advance(candidates, task.batches())
    candidates.loss_sums = torch.zeros(len(before), dtype=torch.float64)
    assert [[t.data_ptr() for t in step.changes] for step in candidates.steps] == before
    assert not candidates.loss_sums.any()


def test_recorded_and_replayed_steps_train_as_direct_ones(tiny, recorded):
    task = tiny(space="nb201-image")
    members = [2, 5, 10]
    captured, direct = (task.candidates(CudaGraph, members) for _ in range(2))
    current = recorded(captured)
    batches = task.batches(members)
    outcomes = [task.advance(one, batches) for one in (captured, direct)]
    assert outcomes[0].differs_from(outcomes[1]) == 0
    streams = {lane.stream for lane in captured.lanes}
    assert streams == set(current.waited_for)
    assert len(streams) == len(captured.steps)


def test_only_a_few_batches_lie_ready_however_far_the_host_is_ahead(tiny, recorded):
    task = tiny()
    candidates = task.candidates(CudaGraph, [10, 11])
    current = recorded(candidates)
    batches = []
    for ids in [*task.batches([10, 11]), *task.batches([10, 11])]:
        inputs, labels = task.on(ids)
        batches.append(weakref.ref(inputs))
        candidates.step(inputs, labels)
        del inputs, labels
    assert sum(batch() is not None for batch in batches) == AHEAD
    # What had lain in their memory was taken before, which the current stream waited for.
    assert current.waited_for == [lane.stream for lane in candidates.lanes] * (10 - AHEAD)
    candidates.join()
    assert all(batch() is None for batch in batches)


def test_memory_is_free_as_soon_as_nobody_refers_to_the_candidates(tiny):
    task = tiny()
    candidates = task.candidates(CudaGraph, [10, 11])
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
    candidates = task.candidates(CudaGraph)
    with no_host_synchronisation:
        candidates.set_learning_rate(0.05)
        for ids in task.batches():
            candidates.step(*task.on(ids))


def test_infinite_loss_of_one_member_leaves_the_others_alone(tiny):
    task = tiny()
    clean = task.train(CudaGraph)
    task.states[2].weights["classifier.weight"].fill_(float("nan"))
    others = [member for member in range(len(task.cells)) if member != 2]
    spoilt = task.train(CudaGraph)
    assert not torch.isfinite(spoilt.losses[:, 2]).any()
    assert torch.equal(spoilt.losses[:, others], clean.losses[:, others])


def test_convolution_kernels_are_kept_channels_last(tiny):
    candidates = tiny().candidates(CudaGraph, [10])
    kernels = [p for p in candidates.networks[0].parameters() if p.dim() == 4 and p.shape[2] > 1]
    assert kernels
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)


def test_capture_is_refused_without_a_gpu(tiny):
    with pytest.raises(Unsupported, match="GPU"):
        tiny().candidates(CudaGraph, capture=True)


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_low_precision_is_refused_without_a_gpu(tiny, precision):
    with pytest.raises(Unsupported, match=f"{precision}.*GPU"):
        tiny(precision=precision, dtype=torch.float32).candidates(CudaGraph)


def test_flags_of_precision_are_set_locally(tiny):
    def current():
        return [
            place.fp32_precision
            for place in (torch.backends.cudnn.conv, torch.backends.cuda.matmul)
        ]

    before = current()
    arithmetic = Arithmetic(tiny().problem)
    with arithmetic.flags():
        assert current() == ["ieee", "ieee"]
    assert current() == before
    with pytest.raises(ZeroDivisionError), arithmetic.flags():
        raise ZeroDivisionError
    assert current() == before
    arithmetic.precision = "tf32"
    with arithmetic.flags():
        assert current() == ["tf32", "tf32"]
    assert current() == before


# --- on a GPU


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)], ids=str
)
@pytest.mark.parametrize("setting", SETTINGS)
def test_captured_steps_train_as_uncaptured_ones(tiny, gpu, setting, dtype, tolerance):
    task = tiny(**SETTINGS[setting], device=gpu, dtype=dtype)
    captured, direct = (task.train(CudaGraph, capture=capture) for capture in (True, False))
    assert captured.differs_from(direct) < tolerance


@pytest.mark.gpu
def test_first_captured_step_rounds_as_the_uncaptured_one(tiny, gpu):
    task = tiny(device=gpu, dtype=torch.float32)
    outcomes = [
        task.advance(task.candidates(CudaGraph, capture=capture), task.batches()[:1])
        for capture in (True, False)
    ]
    assert outcomes[0].differs_from(outcomes[1]) < 1e-6


@pytest.mark.gpu
def test_gpu_trains_as_the_cpu(tiny, gpu):
    expected = tiny().train(Reference)
    assert tiny(device=gpu).train(CudaGraph).differs_from(expected) < TOLERANCE


@pytest.mark.gpu
def test_members_on_streams_of_their_own_do_not_disturb_each_other(tiny, gpu):
    task = tiny(device=gpu)
    together = task.train(CudaGraph)
    for member in range(len(task.cells)):
        assert task.train(CudaGraph, [member]).differs_from(together, [member]) < TOLERANCE


@pytest.mark.gpu
def test_many_steps_without_looking_end_as_steps_one_by_one(tiny, gpu):
    task = tiny(device=gpu)
    results = []
    for look in (True, False):
        candidates = task.candidates(CudaGraph)
        for epoch in range(20):
            candidates.set_learning_rate(0.01 / (1 + epoch))
            for ids in task.batches():
                candidates.step(*task.on(ids))  # whose memory is free again at once
                if look:
                    torch.cuda.synchronize()
        results.append(candidates.loss_sums.clone())
    assert torch.allclose(*results, rtol=0, atol=TOLERANCE)


@pytest.mark.gpu
def test_host_does_not_wait_inside_an_epoch(tiny, gpu):
    task = tiny(device=gpu, dtype=torch.float32)
    candidates = task.candidates(CudaGraph)
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


@pytest.mark.gpu
@pytest.mark.parametrize(("precision", "near"), [("tf32", 0.05), ("bfloat16", 0.5)])
def test_low_precision_changes_the_arithmetic_a_little(tiny, gpu, precision, near):
    exact, rough = (
        tiny(device=gpu, dtype=torch.float32, channels=16, precision=name).train(CudaGraph)
        for name in ("float32", precision)
    )
    difference = (exact.losses[0] - rough.losses[0]).abs().max()
    assert 0 < difference < near
    assert rough.scores.dtype == torch.float32
    assert all(value.dtype == torch.float32 for value in rough.states[0].weights.values())
