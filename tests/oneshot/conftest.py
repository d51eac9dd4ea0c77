"""A tiny problem in memory: four classes of clips that differ, and networks that train at once."""

import pytest
import torch

from nas_skeleton.skeletons.layouts import UTDMHAD
from nas_skeleton.spaces import load_space
from nas_skeleton.training.candidates import Problem
from nas_skeleton.training.clips import FixedClips
from nas_skeleton.training.task import Task

STGCN = load_space("nb201")
SMALL = STGCN.card.recipe("quick").model_copy(
    update={"channels": 4, "cells_per_stage": 1, "frames": 7, "batch_size": 8, "epochs": 2}
)


def _problem(*, dtype=torch.float32, space=STGCN, channels=3, **recipe):
    """Forty clips to train on, sixteen to validate, eight to test."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(64) % 4
    clips = torch.randn(64, channels, 7, 20, 1, generator=generator)
    clips += labels[:, None, None, None, None]
    order = torch.randperm(64, generator=generator)
    splits = {"train": order[:40], "valid": order[40:56], "test": order[56:]}
    task = Task(FixedClips(clips), labels, splits, 4, UTDMHAD).to(torch.device("cpu"), dtype)
    return Problem(space.card, SMALL.model_copy(update=recipe), task)


@pytest.fixture
def small_problem():
    """`small_problem(epochs=7)` makes one, by a recipe that differs in this."""
    return _problem


@pytest.fixture
def problem():
    return _problem()


@pytest.fixture
def double_problem():
    return _problem(dtype=torch.float64)
