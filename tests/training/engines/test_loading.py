"""Candidates that are given other states go on from these as if they had started there."""

from functools import partial

import pytest

from nas_skeleton.training.engines.cuda_graph import CudaGraph
from nas_skeleton.training.engines.eager import Fast, Reference
from nas_skeleton.training.engines.native import Native
from nas_skeleton.training.engines.packed import Packed

EVERY = {
    "reference": Reference,
    "fast": Fast,
    "native": Native,
    "packed": partial(Packed, capture=False),
    "cuda-graph": partial(CudaGraph, capture=False),
}


def elsewhere(task, engine):
    """Candidates that have trained for some steps."""
    candidates = task.candidates(engine)
    task.advance(candidates, task.batches()[:2])
    candidates.loss_sums.zero_()
    return candidates


@pytest.mark.parametrize("engine", EVERY)
def test_loaded_candidates_train_as_new_ones_bit_for_bit(tiny, engine):
    task = tiny()
    expected = task.train(EVERY[engine])
    candidates = elsewhere(task, EVERY[engine])
    candidates.load(task.states)
    assert task.advance(candidates, task.batches()).differs_from(expected) == 0


@pytest.mark.parametrize("engine", [CudaGraph, Packed])
def test_captured_steps_see_what_is_loaded(tiny, recorded, engine):
    task = tiny()
    expected = task.train(engine, capture=False)
    candidates = task.candidates(engine, capture=False)
    recorded(candidates)
    task.advance(candidates, task.batches()[:3])  # steps of both sizes are captured
    candidates.loss_sums = candidates.loss_sums * 0
    candidates.load(task.states)
    assert task.advance(candidates, task.batches()).differs_from(expected) < 1e-9


@pytest.mark.parametrize("engine", [CudaGraph, Packed])
def test_captured_steps_see_what_is_loaded_on_a_gpu(tiny, gpu, engine):
    task = tiny(device=gpu)
    expected = task.train(Reference)
    candidates = task.candidates(engine)
    task.advance(candidates, task.batches()[:3])
    candidates.loss_sums = candidates.loss_sums * 0
    candidates.load(task.states)
    assert task.advance(candidates, task.batches()).differs_from(expected) < 1e-9
