"""Sampling and gradients of the methods, against what their papers say."""

import math

import pytest
import torch
from torch import nn

from nas_skeleton.oneshot import methods
from nas_skeleton.oneshot.methods import uniform_paths
from nas_skeleton.oneshot.relaxation import (
    certainty,
    derived_cell,
    gumbel_noise,
    hard_sample,
    initial_alphas,
    temperature,
)
from nas_skeleton.oneshot.train import Training
from nas_skeleton.spaces.cell import EDGES, OPERATIONS, Cell


def batch(problem):
    ids = problem.task.splits["train"][:8]
    return problem.task.clips.evaluation(ids), problem.task.labels[ids]


def test_paths_are_uniform_over_operations_edges_and_pairs_of_edges():
    paths = uniform_paths(20_000, seed=1)
    drawn = torch.tensor([path.operations for path in paths])
    counts = torch.stack([torch.bincount(edge, minlength=5) for edge in drawn.T])
    assert counts.shape == (len(EDGES), len(OPERATIONS))
    # Chi-squared with four degrees of freedom: 18.5 is exceeded once in 1,000 times.
    assert ((counts - 4000) ** 2 / 4000).sum(dim=1).max() < 18.5
    pairs = torch.bincount(drawn[:, 0] * 5 + drawn[:, 5], minlength=25)
    assert ((pairs - 800) ** 2 / 800).sum() < 51.2  # 24 degrees
    assert paths == uniform_paths(20_000, seed=1)
    assert paths != uniform_paths(20_000, seed=2)


def test_alphas_start_nearly_equal():
    alphas = initial_alphas(1)
    assert alphas.shape == (6, 5)
    assert alphas.std().item() == pytest.approx(1e-3, rel=0.4)
    assert certainty(alphas) == pytest.approx(0.2, abs=1e-3)


def test_the_derived_cell_has_the_likeliest_operation_on_every_edge():
    alphas = torch.zeros(6, 5)
    alphas[range(6), [3, 0, 4, 1, 2, 3]] = 1
    assert derived_cell(alphas) == Cell((3, 0, 4, 1, 2, 3))
    assert certainty(alphas) == pytest.approx(math.e / (math.e + 4))


def test_temperature_falls_linearly_from_10_to_a_tenth():
    assert [temperature(epoch, 251) for epoch in (0, 125, 250)] == pytest.approx([10, 5.05, 0.1])
    assert temperature(0, 1) == 10


@pytest.mark.parametrize("heat", [10.0, 0.1])
def test_operations_are_drawn_with_their_probabilities_at_any_temperature(heat):
    alphas = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    noise = gumbel_noise(6000, seed=4)
    drawn = torch.tensor([hard_sample(alphas, one, heat)[0].operations for one in noise])
    shares = torch.stack([torch.bincount(edge, minlength=5) for edge in drawn.T]) / len(drawn)
    assert (shares - alphas.softmax(dim=1)).abs().max() < 0.025  # four standard errors


def test_a_hard_sample_is_one_forwards_and_gumbels_softmax_backwards():
    alphas = torch.randn(6, 5, dtype=torch.float64).requires_grad_()
    noise = gumbel_noise(1, seed=5)[0]
    cell, scales = hard_sample(alphas, noise, heat=2.0)
    assert torch.equal(scales, torch.ones(6, dtype=torch.float64))
    weights = torch.arange(1.0, 7.0, dtype=torch.float64)
    (found,) = torch.autograd.grad((weights * scales).sum(), alphas)

    logits = (torch.log(alphas.exp() / alphas.exp().sum(dim=1, keepdim=True)) + noise) / 2.0
    soft = logits.exp() / logits.exp().sum(dim=1, keepdim=True)
    chosen = soft[range(6), soft.argmax(dim=1)]
    (expected,) = torch.autograd.grad((weights * chosen).sum(), alphas)
    assert cell.operations == tuple(soft.argmax(dim=1).tolist())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert found.abs().max() > 0


def test_dartss_gradient_is_that_of_finite_differences(double_problem):
    training = Training(double_problem, "darts", "one")
    method, (clips, labels) = training.method, batch(double_problem)
    with torch.no_grad():
        method.alphas.normal_(generator=torch.Generator().manual_seed(1))
    found = method.gradient(clips, labels, turn=0)

    def loss(alphas):
        with torch.no_grad():
            scores = training.supernet.mixture(clips, alphas.softmax(dim=1))
            return nn.functional.cross_entropy(scores, labels).item()

    for edge, operation in ((0, 0), (0, 3), (2, 4), (3, 1), (4, 2), (5, 3)):
        step = torch.zeros(6, 5, dtype=torch.float64)
        step[edge, operation] = 1e-5
        slope = (loss(method.alphas + step) - loss(method.alphas - step)) / 2e-5
        assert found[edge, operation].item() == pytest.approx(slope, abs=1e-7)
    assert found.abs().max() > 1e-4


def test_gdass_gradient_is_that_of_the_drawn_paths_factors(double_problem):
    training = Training(double_problem, "gdas", "one")
    method, (clips, labels) = training.method, batch(double_problem)
    method.begin(0, 2, 4)
    found = method.gradient(clips, labels, turn=3)
    cell, _ = hard_sample(method.alphas, method.noise[3], method.heat)

    def loss(factors):
        with torch.no_grad():
            scores = training.supernet(clips, cell, factors)
            return nn.functional.cross_entropy(scores, labels).item()

    slopes = []
    for edge in range(6):
        step = torch.zeros(6, dtype=torch.float64)
        step[edge] = 1e-5
        slopes.append((loss(1 + step) - loss(1 - step)) / 2e-5)
    soft = ((method.alphas.log_softmax(dim=1) + method.noise[3]) / method.heat).softmax(dim=1)
    soft = soft[range(6), list(cell.operations)]
    (expected,) = torch.autograd.grad((torch.tensor(slopes).double() * soft).sum(), method.alphas)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-7)
    assert found.abs().max() > 1e-6


def test_a_cell_without_output_teaches_gdas_nothing(problem, monkeypatch):
    training = Training(problem, "gdas", "one")
    monkeypatch.setattr(
        methods, "hard_sample", lambda alphas, *_: (Cell((0,) * 6), alphas.softmax(dim=1)[:, 0])
    )
    training.method.begin(0, 2, 4)
    assert torch.equal(training.method.gradient(*batch(problem), turn=0), torch.zeros(6, 5))


@pytest.mark.parametrize("name", ["darts", "gdas"])
def test_weights_learn_on_one_half_of_the_clips_and_alphas_on_the_other(problem, name):
    training = Training(problem, name, "one")
    seen = {"weights": set(), "alphas": set()}
    step = training.step

    def watched(batches, epoch, at):
        for kind, ids in zip(seen, batches, strict=True):
            seen[kind] |= set(ids.tolist())
        return step(batches, epoch, at)

    training.step = watched
    before = training.method.alphas.detach().clone()
    training.run()
    train = set(problem.task.splits["train"].tolist())
    assert seen["weights"] | seen["alphas"] <= train
    assert not seen["weights"] & seen["alphas"]
    assert not torch.equal(training.method.alphas, before)


def test_alphas_move_by_adam_with_the_published_numbers(problem):
    group = Training(problem, "darts", "one").method.optimizer.param_groups[0]
    assert (group["lr"], group["betas"], group["weight_decay"]) == (3e-4, (0.5, 0.999), 1e-3)


@pytest.mark.parametrize(("name", "learnt"), [("spos", True), ("darts", False), ("gdas", False)])
def test_scales_of_batch_norm_are_learnt_only_where_no_alpha_weighs_operations(
    problem, name, learnt
):
    training = Training(problem, name, "one")
    training.run()
    scales = [
        parameter
        for name, parameter in training.supernet.named_parameters()
        if "nor_conv" in name and name.endswith("norm.weight")
    ]
    assert scales
    assert any(not torch.equal(scale, torch.ones_like(scale)) for scale in scales) == learnt
