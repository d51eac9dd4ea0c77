"""Every engine against the plain network in float64: losses, scores, statistics, weights, resuming.

Shapes are tiny, and all that starts at a constant is moved away from it, so that mistakes show.
"""

import random
from dataclasses import dataclass
from functools import cache, partial

import pytest
import torch

from nas_skeleton.network.links import with_links
from nas_skeleton.skeletons.layouts import NTU, UTDMHAD, Layout
from nas_skeleton.spaces import load_space
from nas_skeleton.spaces.card import ASGCNStem, ImageStem, STGCNStem
from nas_skeleton.spaces.cell import CONVOLUTIONS, EDGES, NONE
from nas_skeleton.spaces.liveness import Role, ignores_input, roles
from nas_skeleton.spaces.recipe import AIMRecipe
from nas_skeleton.training.candidates import Problem, State, Unsupported, scores_of_clips
from nas_skeleton.training.clips import FixedClips
from nas_skeleton.training.engines.cuda_graph import CudaGraph
from nas_skeleton.training.engines.eager import Fast, Reference
from nas_skeleton.training.engines.native import Native
from nas_skeleton.training.engines.packed import Packed
from nas_skeleton.training.task import Task

ENGINES = {
    "fast": Fast,
    "native": Native,
    "packed": partial(Packed, capture=False),
    "cuda-graph": partial(CudaGraph, capture=False),
}
EVERY = {"reference": Reference, **ENGINES}
TOLERANCE = 1e-9

CLASSES = 5
TRAIN, HELD_OUT = 16, 11  # clips
RATES = (0.05, 0.05, 0.05, 0.03, 0.03)  # of five steps
BATCHES = (6, 6, 4, 6, 1)  # the last batch of an epoch may be smaller, down to one clip

SPACE = load_space("nb201")


@dataclass(frozen=True)
class Setting:
    """A stem, data of a shape, and what else a card or a recipe may change."""

    stem: ImageStem | STGCNStem
    layout: Layout = UTDMHAD
    bodies: int = 1
    reduction: str = "both"
    operations: str = "grid"
    nesterov: bool = True
    momentum: float = 0.9
    cells_per_stage: int = 1
    channels: int = 3


def stgcn(blocks, data_norm, partition="spatial-distance", temporal_kernel=3):
    return STGCNStem(
        kind="stgcn",
        blocks=blocks,
        data_norm=data_norm,
        partition=partition,
        temporal_kernel=temporal_kernel,
    )


def asgcn(blocks, data_norm):
    return ASGCNStem(
        kind="asgcn",
        blocks=blocks,
        data_norm=data_norm,
        partition="spatial-distance",
        temporal_kernel=3,
        hops=2,
        actional_weight=0.7,
    )


IMAGE = ImageStem(kind="image")
# The first three train many cells, the others those that engines get wrong.
BROAD = {
    "image": Setting(IMAGE),
    "graph": Setting(stgcn(1, "coordinates"), bodies=2),
    "graph cells": Setting(stgcn(1, "coordinates"), reduction="time", operations="graph"),
}
NARROW = {
    "image, 25 joints, two bodies": Setting(IMAGE, NTU, 2, "time", cells_per_stage=2),
    "two blocks, 25 joints": Setting(stgcn(2, "joints", temporal_kernel=9), NTU),
    "two blocks, 25 joints, two bodies": Setting(
        stgcn(2, "coordinates", "spatial-stgcn"), NTU, 2, nesterov=False
    ),
    "joints, two bodies": Setting(stgcn(1, "joints"), UTDMHAD, 2, "time", nesterov=False),
    "image, x and y": Setting(IMAGE, channels=2),
    "two modalities": Setting(stgcn(1, "coordinates"), bodies=2, channels=6),
    "joints, two modalities": Setting(stgcn(1, "joints"), channels=6),
    "no momentum": Setting(stgcn(1, "coordinates"), nesterov=False, momentum=0.0),
    "graph cells, 25 joints": Setting(
        stgcn(1, "joints", "spatial-stgcn"), NTU, 1, "time", "graph", cells_per_stage=2
    ),
    "graph cells, 25 joints, two bodies": Setting(
        stgcn(2, "coordinates"), NTU, 2, "time", "graph", nesterov=False
    ),
    "links": Setting(asgcn(1, "coordinates")),
    "links, two blocks, 25 joints, two bodies": Setting(asgcn(2, "joints"), NTU, 2, nesterov=False),
    "graph cells behind the image stem": Setting(IMAGE, reduction="time", operations="graph"),
}
SETTINGS = {**BROAD, **NARROW}


# --- cells


def constants(cell):
    """Whether each node is, wherever in the map, the same for every input, and not zero."""
    zero, same = [False] * 4, [False, True, True, True]
    for target in (1, 2, 3):
        edges = [
            (source, op)
            for (source, to), op in zip(EDGES, cell.operations, strict=True)
            if to == target and op != NONE and not (zero[source] and op not in CONVOLUTIONS)
        ]
        zero[target] = not edges
        same[target] = all(same[source] or zero[source] for source, _ in edges)
    return [a and not b for a, b in zip(same, zero, strict=True)]


def convolves_a_constant(cell):
    constant = constants(cell)
    return any(
        role is Role.LIVE and op in CONVOLUTIONS and constant[source]
        for (source, _), op, role in zip(EDGES, cell.operations, roles(cell), strict=True)
    )


def has_isolated_node(cell):
    """Whether an inner node has no part in the output, and the output is no constant."""
    touched = {
        node
        for edge, role in zip(EDGES, roles(cell), strict=True)
        if role is not Role.DEAD
        for node in edge
    }
    return not {1, 2} <= touched and not ignores_input(cell)


TRAPS = {
    "a convolution of zero": lambda cell: Role.BIAS in roles(cell) and not ignores_input(cell),
    "a convolution of a constant": convolves_a_constant,
    "an isolated node": has_isolated_node,
    "no input": ignores_input,
    "a constant output": lambda cell: constants(cell)[3],
    "no output": lambda cell: set(roles(cell)) == {Role.DEAD},
}


@cache
def cells(many):
    """Indices: the all-none cell, the all-3x3 cell, some of every trap, and others at random."""
    order = random.Random(0).sample(range(len(SPACE)), len(SPACE))
    found = [SPACE.resolve("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"), 1462]
    for kind in TRAPS.values():
        found += [i for i in order[:4000] if kind(SPACE.cell(i))][: 5 if many else 2]
    return list(dict.fromkeys(found + order))[: 54 if many else 12]


def test_the_cells_compared_are_many_and_hold_every_trap():
    assert len(cells(True)) >= 50
    for many, least in ((True, 5), (False, 2)):
        for kind in TRAPS.values():
            assert sum(kind(SPACE.cell(i)) for i in cells(many)) >= least
    assert sum(ignores_input(SPACE.cell(i)) for i in range(len(SPACE))) == 341


# --- training


@cache
def problem(setting):
    """A recipe with ragged batches, and clips whose numbers mean nothing."""
    macro = SPACE.card.macro.model_copy(update={"reduction": setting.reduction})
    card = SPACE.card.model_copy(
        update={
            "stem": setting.stem,
            "macro": macro,
            "operations": setting.operations,
            "aim": AIMRecipe() if isinstance(setting.stem, ASGCNStem) else None,
        }
    )
    recipe = SPACE.card.recipe("quick").model_copy(
        update={
            "channels": 4,
            "cells_per_stage": setting.cells_per_stage,
            "frames": 8,
            "batch_size": max(BATCHES),
            "drop_last": False,
            "momentum": setting.momentum,
            "nesterov": setting.nesterov,
            "weight_decay": 0.01,
        }
    )
    generator = torch.Generator().manual_seed(1)
    clips, joints = TRAIN + HELD_OUT, len(setting.layout.joints)
    inputs = torch.randn(
        clips, setting.channels, 8, joints, setting.bodies, dtype=torch.float64, generator=generator
    )
    if card.aim:
        shape = (clips, 2, joints, joints, setting.bodies)
        inputs = with_links(inputs, torch.rand(shape, dtype=torch.float64, generator=generator))
    labels = torch.randint(CLASSES, (clips,), generator=generator)
    splits = {"train": torch.arange(TRAIN), "test": torch.arange(TRAIN, clips)}
    return Problem(card, recipe, Task(FixedClips(inputs), labels, splits, CLASSES, setting.layout))


@cache
def start(setting, many):
    """Cells and the states they start from, in the middle of a training as it were."""
    members = [SPACE.cell(i) for i in cells(many)]
    generator = torch.Generator().manual_seed(2)

    def noise(like, scale):
        return scale * torch.randn(like.shape, dtype=like.dtype, generator=generator)

    states = []
    for seed, cell in enumerate(members):
        state = problem(setting).initial_state(cell, seed)
        weights = {
            name: value + (noise(value, 0.1).abs() if name.endswith("var") else noise(value, 0.1))
            for name, value in state.weights.items()
        }
        momentum = {name: noise(value, 0.01) for name, value in state.momentum.items()}
        states.append(State(weights, momentum))
    return members, states


def batches(members):
    """Five steps of clip ids, `(members, batch)` each, other clips for every member."""
    generator = torch.Generator().manual_seed(3)

    def orders():
        return torch.stack([torch.randperm(TRAIN, generator=generator) for _ in range(members)])

    ids = torch.cat([orders(), orders()], dim=1)
    return ids[:, : sum(BATCHES)].split(BATCHES, dim=1)


@dataclass(frozen=True)
class Outcome:
    """Loss sums after every step, scores of all clips after the last, and all states."""

    losses: torch.Tensor
    scores: torch.Tensor
    states: list[State]


def advance(engine, setting, members, states, steps):
    """Train on `engine` from `states` through `steps`, a range of the five."""
    torch.set_num_threads(1)
    candidates = EVERY[engine](problem(setting), members, states)
    ids = batches(len(members))
    losses = []
    for step in steps:
        candidates.set_learning_rate(RATES[step])
        candidates.step(*problem(setting).task.training_batch(ids[step], range(len(ids[step]))))
        losses.append(candidates.loss_sums.clone())
    scores = scores_of_clips(candidates, problem(setting).task, torch.arange(TRAIN + HELD_OUT))
    return Outcome(torch.stack(losses), scores, [candidates.state(m) for m in range(len(members))])


@cache
def trained(engine, setting, many):
    return advance(engine, setting, *start(setting, many), range(len(RATES)))


def differences(outcome, expected, setting, many):
    """Where two outcomes differ, with the cell's index; empty if they agree."""
    found = []
    for member, index in enumerate(cells(many)):
        pairs = {
            "losses": (outcome.losses[:, member], expected.losses[-len(outcome.losses) :, member]),
            "scores": (outcome.scores[member], expected.scores[member]),
        }
        states = outcome.states[member], expected.states[member]
        # Without momentum nobody reads what is kept of it.
        for kind in ("weights", "momentum") if setting.momentum else ("weights",):
            tensors, wanted = (getattr(state, kind) for state in states)
            assert tensors.keys() == wanted.keys()
            pairs |= {f"{kind} {name}": (tensors[name], wanted[name]) for name in wanted}
        for name, (value, wanted) in pairs.items():
            assert value.shape == wanted.shape, name
            assert value.dtype == torch.float64, name
            difference = (value - wanted).abs().max().item()
            if not difference <= TOLERANCE:
                found.append((index, name, difference))
    return found


def test_packed_knows_no_links():
    setting = NARROW["links"]
    with pytest.raises(Unsupported, match="A-links"):
        EVERY["packed"](problem(setting), *start(setting, False))


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("engine", ENGINES)
def test_engine_trains_as_the_plain_network(engine, name):
    setting, many = SETTINGS[name], name in BROAD
    if engine == "packed" and isinstance(setting.stem, ASGCNStem):
        return  # see the test before
    expected = trained("reference", setting, many)
    assert torch.isfinite(expected.losses).all()
    assert expected.losses[0].std() > 0.1
    assert not differences(trained(engine, setting, many), expected, setting, many)


@pytest.mark.parametrize("second", EVERY)
@pytest.mark.parametrize("first", EVERY)
def test_engine_goes_on_where_another_stopped(first, second):
    setting = BROAD["graph"]
    members, _ = start(setting, False)
    half = halfway(first, setting)
    rest = advance(second, setting, members, half.states, range(2, len(RATES)))
    rest.losses.add_(half.losses[-1])
    assert not differences(rest, trained("reference", setting, False), setting, False)


@cache
def halfway(engine, setting):
    return advance(engine, setting, *start(setting, False), range(2))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_member_does_not_depend_on_its_company(engine):
    setting = NARROW["joints, two bodies"]
    members, states = start(setting, False)
    together = trained(engine, setting, False)
    ids = batches(len(members))
    for member in (1, len(members) - 1):
        alone = EVERY[engine](problem(setting), members[member : member + 1], [states[member]])
        for step, rate in enumerate(RATES):
            alone.set_learning_rate(rate)
            own = ids[step][member : member + 1]
            alone.step(*problem(setting).task.training_batch(own, [0]))
        assert torch.allclose(alone.loss_sums, together.losses[-1, member], rtol=0, atol=TOLERANCE)
        for name, value in alone.state(0).weights.items():
            wanted = together.states[member].weights[name]
            assert torch.allclose(value, wanted, rtol=0, atol=TOLERANCE), name


@pytest.mark.parametrize("engine", EVERY)
def test_a_state_is_a_copy_and_what_was_given_is_left_alone(engine):
    setting = BROAD["image"]
    members, states = (part[:2] for part in start(setting, False))
    before = [{name: value.clone() for name, value in s.weights.items()} for s in states]
    candidates = EVERY[engine](problem(setting), members, states)
    candidates.set_learning_rate(0.1)
    task = problem(setting).task
    candidates.step(*task.training_batch(batches(2)[0], (0, 1)))
    taken = candidates.state(0).weights
    copied = {name: value.clone() for name, value in taken.items()}
    candidates.step(*task.training_batch(batches(2)[1], (0, 1)))
    assert all(torch.equal(taken[name], copied[name]) for name in taken)
    for state, kept in zip(states, before, strict=True):
        assert all(torch.equal(state.weights[name], kept[name]) for name in kept)
