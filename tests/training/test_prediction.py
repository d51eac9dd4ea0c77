"""Predicted poses: whose they are, what they are measured by, and which weights are refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from nas_skeleton.errors import InputError
from nas_skeleton.network.links import with_links
from nas_skeleton.skeletons.layouts import UTDMHAD
from nas_skeleton.spaces import Model, load_any_space
from nas_skeleton.training.candidates import Problem
from nas_skeleton.training.clips import FixedClips
from nas_skeleton.training.prediction import Prediction, predict
from nas_skeleton.training.task import Task


@pytest.fixture
def problem():
    card = load_any_space("models-asgcn").card
    generator = torch.Generator().manual_seed(0)
    clips = torch.randn(4, 3, 6 + card.input.future, 20, 2, generator=generator)
    clips = with_links(clips, torch.rand(4, 2, 20, 20, 2, generator=generator) / 20)
    task = Task(FixedClips(clips), torch.zeros(4, dtype=torch.int64), {}, 3, UTDMHAD)
    return Problem(card, card.recipe("quick"), task)


def test_poses_are_those_of_the_clips_that_were_asked_for(problem):
    weights = problem.initial_state(Model("asgcn"), 0).weights
    every = predict(problem, Model("asgcn"), weights, torch.arange(4), "xyz")
    some = predict(problem, Model("asgcn"), weights, torch.tensor([2, 0]), "xyz")
    assert every.predicted.shape == every.true.shape == (4, 3, 10, 20, 2)
    np.testing.assert_allclose(some.predicted, every.predicted[[2, 0]], atol=1e-5)
    clips = problem.task.clips.evaluation(torch.tensor([1]))[0, :3].numpy()
    np.testing.assert_array_equal(every.true[1], clips[:, 6:])
    np.testing.assert_array_equal(every.last[1], clips[:, 5])


def test_errors_are_distances_of_joints_of_bodies_that_are_there():
    true = np.zeros((1, 3, 2, 4, 2), np.float32)
    true[:, 0, :, :, 0] = 1  # the second body is not there
    predicted, last = true.copy(), true[:, :, 0].copy()
    predicted[:, :, :, :, 0] += np.array([3, 4, 0], np.float32)[None, :, None, None]
    predicted[..., 1] = 100
    found = Prediction([0, 1, 2], last, predicted, true)
    assert found.error() == pytest.approx(5)
    assert found.error_of_standing_still() == 0
    assert Prediction([0], last, predicted, true).error() == pytest.approx(3)  # others are scores


def test_bones_are_no_poses(problem):
    bones = replace(problem, card=problem.card.with_modalities(["bone"]))
    weights = problem.initial_state(Model("asgcn"), 0).weights
    with pytest.raises(InputError, match="this network saw bone"):
        predict(bones, Model("asgcn"), weights, torch.arange(1), "xyz")


def test_weights_of_another_network_are_refused(problem):
    weights = problem.initial_state(Model("asgcn"), 0).weights
    first = next(iter(weights))
    del weights[first]
    with pytest.raises(InputError, match="not those of this network"):
        predict(problem, Model("asgcn"), weights, torch.arange(1), "xyz")
