"""Reference models on engines: the same numbers from all that know them, and dropout by seed."""

from functools import partial

import pytest
import torch

from nas_skeleton.network.links import with_links
from nas_skeleton.network.models import WITH_DROPOUT
from nas_skeleton.skeletons.layouts import UTDMHAD
from nas_skeleton.spaces import Model, load_any_space
from nas_skeleton.spaces.models import MODEL_NAMES
from nas_skeleton.training.candidates import Problem, Unsupported
from nas_skeleton.training.clips import FixedClips
from nas_skeleton.training.engines import candidates_of
from nas_skeleton.training.engines.cuda_graph import CudaGraph
from nas_skeleton.training.engines.eager import Fast, Reference
from nas_skeleton.training.task import Task

CLIPS, CLASSES, FRAMES = 6, 3, 4
ENGINES = {
    "reference": Reference,
    "fast": Fast,
    "cuda-graph": partial(CudaGraph, capture=False),
}


def problem(name, **recipe):
    """Random clips in float64, as the model sees them."""
    card = load_any_space("models-asgcn" if name == "asgcn" else "models").card
    generator = torch.Generator().manual_seed(0)
    shape = (CLIPS, 3, FRAMES + card.input.future, 20, 1)
    clips = torch.randn(shape, dtype=torch.float64, generator=generator)
    if card.aim:
        clips = with_links(clips, torch.rand(CLIPS, 2, 20, 20, 1, generator=generator) / 20)
    labels = torch.arange(CLIPS) % CLASSES
    task = Task(FixedClips(clips), labels, {"train": torch.arange(CLIPS)}, CLASSES, UTDMHAD)
    return Problem(card, card.recipe("quick").model_copy(update={"frames": FRAMES, **recipe}), task)


def trained(engine, wanted, archs, seeds, steps=2):
    """Losses, scores and states of `archs`, each with weights of its own, after a few steps."""
    states = [wanted.initial_state(arch, seed) for seed, arch in enumerate(archs)]
    candidates = ENGINES[engine](wanted, archs, states)
    candidates.set_learning_rate(0.01)
    ids = torch.arange(CLIPS).expand(len(archs), -1)
    for step in range(steps):
        own = [seed + step for seed in seeds]
        candidates.step(*wanted.task.training_batch(ids, own), own)
    scores = candidates.scores(wanted.task.clips.evaluation(torch.arange(CLIPS)))
    return candidates.loss_sums, scores, [candidates.state(m) for m in range(len(archs))]


def assert_agree(wanted, arch, engine, another):
    losses, scores, [state] = trained(engine, wanted, [arch], [0])
    others, other_scores, [other] = trained(another, wanted, [arch], [0])
    torch.testing.assert_close(others, losses, rtol=1e-9, atol=0)
    torch.testing.assert_close(other_scores, scores, rtol=0, atol=1e-9 * scores.abs().max().item())
    for kind in ("weights", "momentum"):
        for key, value in getattr(state, kind).items():
            found = getattr(other, kind)[key]
            torch.testing.assert_close(found, value, rtol=1e-8, atol=1e-9, msg=f"{kind} {key}")


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_engines_that_know_models_agree(name):
    assert_agree(problem(name), Model(name), "fast", "cuda-graph")


@pytest.mark.parametrize("name", WITH_DROPOUT)
def test_dropout_is_the_same_in_both_memory_formats(name):
    assert_agree(problem(name, dropout=0.5), Model(name), "reference", "fast")


@pytest.mark.parametrize("engine", ["native", "packed"])
def test_engines_for_cells_say_that_they_know_no_models(engine):
    wanted, arch = problem("stgcn"), Model("stgcn")
    with pytest.raises(Unsupported, match="knows cells, no reference models"):
        candidates_of(engine, wanted, [arch], [wanted.initial_state(arch, 0)])


def test_dropout_depends_on_the_seed_of_the_step_and_on_nothing_else():
    wanted, arch = problem("stgcn", dropout=0.5), Model("stgcn")
    first, *_ = trained("fast", wanted, [arch], [7], steps=1)
    torch.manual_seed(1)
    again, *_ = trained("fast", wanted, [arch], [7], steps=1)
    other, *_ = trained("fast", wanted, [arch], [8], steps=1)
    in_company, *_ = trained("fast", wanted, [arch, arch], [7, 9], steps=1)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(first[0], in_company[0])
    without, *_ = trained("fast", problem("stgcn"), [arch], [7], steps=1)
    assert not torch.equal(first, without)


def test_dropout_leaves_the_global_generator_alone():
    wanted, arch = problem("stgcn", dropout=0.5), Model("stgcn")
    candidates = Fast(wanted, [arch], [wanted.initial_state(arch, 0)])
    before = torch.random.get_rng_state()
    candidates.step(*wanted.task.training_batch(torch.arange(CLIPS)[None], [1]), [1])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_dropout_cannot_be_captured():
    wanted, arch = problem("stgcn", dropout=0.5), Model("stgcn")
    with pytest.raises(Unsupported, match="dropout"):
        ENGINES["cuda-graph"](wanted, [arch], [wanted.initial_state(arch, 0)])
