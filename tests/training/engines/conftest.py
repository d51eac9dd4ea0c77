"""What tests of the GPU engines share: tiny problems, states to start from, and short trainings."""

from contextlib import nullcontext
from dataclasses import dataclass

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from nas_skeleton.skeletons.layouts import NTU, UTDMHAD
from nas_skeleton.spaces import Cell, load_space
from nas_skeleton.training.candidates import Problem, State, scores_of_clips
from nas_skeleton.training.clips import FixedClips
from nas_skeleton.training.engines.replay import Lane
from nas_skeleton.training.task import Task

CLIPS, CLASSES = 24, 5
BATCHES = (6, 6, 4, 6, 4)  # ragged at the end of an epoch
RATES = (0.05, 0.05, 0.05, 0.02, 0.02)

# Edges 0-1, 0-2, 1-2, 0-3, 1-3, 2-3; operations none, skip, 1x1, 3x3, pool.
CELLS = {
    "everything none": (0, 0, 0, 0, 0, 0),
    "everything skip": (1, 1, 1, 1, 1, 1),
    "everything pool": (4, 4, 4, 4, 4, 4),
    "everything 3x3": (3, 3, 3, 3, 3, 3),
    "only a bias": (0, 0, 0, 0, 3, 0),
    "biases beside the input": (0, 1, 2, 3, 2, 3),
    "convolution of a constant": (0, 0, 2, 0, 0, 3),
    "pool of a constant": (0, 0, 3, 0, 0, 4),
    "isolated node": (3, 2, 0, 1, 0, 4),
    "output cut off": (3, 3, 3, 0, 0, 0),
    "mixed": (2, 3, 4, 1, 3, 2),
    "mixed again": (3, 1, 3, 4, 2, 1),
}


@dataclass(frozen=True)
class Outcome:
    """Loss sums after each step, scores after the last, states of all members."""

    losses: torch.Tensor
    scores: torch.Tensor
    states: list[State]

    def differs_from(self, other, members=None):
        """The largest absolute difference to `other`, whose `members` these are."""
        members = range(len(other.states)) if members is None else members
        pairs = [
            (self.losses, other.losses[:, list(members)]),
            (self.scores, other.scores[list(members)]),
        ]
        for mine, member in zip(self.states, members, strict=True):
            for kind in ("weights", "momentum"):
                tensors, wanted = getattr(mine, kind), getattr(other.states[member], kind)
                assert list(tensors) == list(wanted)
                pairs += [(tensors[name], wanted[name]) for name in wanted]
        # Not max(), which may pass over NaN.
        return torch.stack([(a.cpu() - b.cpu()).abs().max().double() for a, b in pairs]).max()


class Tiny:
    """A problem with four channels, and what to train on it.

    Args:
        space: name of the card.
        joints: 20 or 25.
        bodies: how many per clip.
        dtype: of the inputs.
        device: of the inputs.
        stem: values to change in the card's stem.
        recipe: values to change in the recipe.
    """

    def __init__(
        self,
        space="nb201",
        *,
        joints=20,
        bodies=1,
        dtype=torch.float64,
        device="cpu",
        reduction="both",
        stem=None,
        **recipe,
    ):
        card = load_space(space).card
        macro = card.macro.model_copy(update={"reduction": reduction})
        own_stem = card.stem.model_copy(update=stem or {})
        card = card.model_copy(update={"macro": macro, "stem": own_stem})
        small = {"channels": 4, "cells_per_stage": 1, "frames": 8, "batch_size": 6, **recipe}
        generator = torch.Generator().manual_seed(0)
        shape = (CLIPS, 3, small["frames"], joints, bodies)
        inputs = torch.randn(shape, dtype=torch.float64, generator=generator)
        labels = torch.randint(CLASSES, (CLIPS,), generator=generator)
        splits = {"train": torch.arange(CLIPS)}
        task = Task(FixedClips(inputs), labels, splits, CLASSES, {20: UTDMHAD, 25: NTU}[joints])
        self.problem = Problem(
            card,
            card.recipe("quick").model_copy(update=small),
            task.to(torch.device(device), dtype),
        )
        self.cells = [Cell(operations) for operations in CELLS.values()]
        self.states = [self._start(cell, seed) for seed, cell in enumerate(self.cells)]

    def _start(self, cell, seed):
        """Weights in which nothing is where it starts, so that every bias shows."""
        generator = torch.Generator().manual_seed(seed)
        state = self.problem.initial_state(cell, seed)
        for name, value in state.weights.items():
            noise = 0.1 * torch.randn(value.shape, dtype=torch.float64, generator=generator)
            value.add_(noise.abs() if name.endswith("var") else noise)
        return state

    def batches(self, members=None):
        """Five steps of clip ids `(members, batch)`; a member's do not depend on the others."""
        members = range(len(self.cells)) if members is None else members
        orders = []
        for member in members:
            generator = torch.Generator().manual_seed(100 + member)
            orders.append(torch.cat([torch.randperm(CLIPS, generator=generator)] * 2))
        ids = torch.stack(orders).to(self.problem.task.device)
        return ids[:, : sum(BATCHES)].split(BATCHES, dim=1)

    def candidates(self, engine, members=None, **options):
        """`members` on `engine`, as they start."""
        members = range(len(self.cells)) if members is None else members
        cells = [self.cells[m] for m in members]
        return engine(self.problem, cells, [self.states[m] for m in members], **options)

    def on(self, ids):
        """Inputs and labels of a step on the clips `ids`, `(members, batch)`."""
        return self.problem.task.training_batch(ids, range(len(ids)))

    def train(self, engine, members=None, **options):
        """Five steps of `members` on `engine`."""
        return self.advance(self.candidates(engine, members, **options), self.batches(members))

    def train_on_two(self, first, second):
        """Three steps on `first`, the other two on `second`."""
        half = self.advance(self.candidates(first), self.batches()[:3])
        candidates = second(self.problem, self.cells, half.states)
        rest = self.advance(candidates, self.batches()[3:], RATES[3:])
        losses = torch.cat([half.losses, half.losses[-1] + rest.losses])
        return Outcome(losses, rest.scores, rest.states)

    def advance(self, candidates, batches, rates=RATES):
        """A step of `candidates` on each of `batches`."""
        torch.set_num_threads(1)
        losses = []
        for rate, ids in zip(rates, batches, strict=False):
            candidates.set_learning_rate(rate)
            candidates.step(*self.on(ids))
            losses.append(candidates.loss_sums.clone())
        scores = scores_of_clips(candidates, self.problem.task, torch.arange(10))
        states = [candidates.state(member) for member in range(len(scores))]
        return Outcome(torch.stack(losses), scores, states)


@pytest.fixture(scope="session")
def tiny():
    """The class `Tiny`."""
    return Tiny


@pytest.fixture
def gpu():
    """The GPU; the test is skipped where there is none."""
    if not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU")
    return torch.device("cuda")


WAITING = {"_local_scalar_dense", "nonzero", "item", "masked_select", "_unique2", "equal"}


class NoWaiting(TorchDispatchMode):
    """Operations for which the host would wait for a GPU fail, on the CPU too."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.name().partition("::")[2].partition(".")[0]
        assert name not in WAITING, f"{name} waits for the GPU"
        return function(*args, **(kwargs or {}))


@pytest.fixture
def no_host_synchronisation():
    """A context in which whatever makes the host wait for a GPU fails, checked on the CPU."""
    return NoWaiting()


class Recorded:
    """Stands for a CUDA graph: the operations of a step with the very tensors they worked on."""

    def __init__(self):
        self.operations = []

    @torch.no_grad()
    def replay(self):
        for function, args, kwargs, outputs in self.operations:
            results = function(*args, **kwargs)
            for old, new in zip(tensors_in(outputs), tensors_in(results), strict=True):
                if old.data_ptr() != new.data_ptr():  # neither a view nor in place
                    old.copy_(new)


class Capture(TorchDispatchMode):
    """Stands for `torch.cuda.graph`: records operations, and undoes what they changed."""

    def __init__(self, graph, **_):
        super().__init__()
        self.graph = graph
        self.before = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        inputs = tensors_in((args, kwargs))
        for tensor in inputs:
            self.before.setdefault(id(tensor), (tensor, tensor.clone()))
        outputs = function(*args, **kwargs)
        memory = tree_map(
            lambda v: v.detach() if isinstance(v, torch.Tensor) else v, [args, kwargs]
        )
        self.graph.operations.append((function, *memory, outputs))
        return outputs

    def __exit__(self, *error):
        super().__exit__(*error)
        with torch.no_grad():
            for tensor, value in self.before.values():
                if not torch.allclose(tensor, value, rtol=0, atol=0, equal_nan=True):
                    tensor.copy_(value)


class Stream:
    """Stands for a CUDA stream: on a CPU all is done in order anyway."""

    def __init__(self, device=None):
        self.device = device
        self.waited_for = []

    def wait_stream(self, other):
        self.waited_for.append(other)

    wait_event = wait_stream

    def record_event(self):
        return self


def tensors_in(values):
    return [value for value in tree_leaves(values) if isinstance(value, torch.Tensor)]


@pytest.fixture
def recorded(monkeypatch):
    """A function that has steps captured and replayed on the CPU: what is recorded is what counts.

    It turns uncaptured candidates into such. A value that a capture would freeze, and a tensor that
    does not stay where it is, show as wrong numbers. Returns the current stream.
    """
    current = Stream()
    fakes = {
        "Stream": Stream,
        "CUDAGraph": Recorded,
        "graph": Capture,
        "stream": lambda _: nullcontext(),
        "current_stream": lambda *_: current,
        "graph_pool_handle": lambda: None,
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)

    def have_captured(candidates):
        candidates.capture = True
        candidates.lanes = [Lane(step, "cpu") for step in candidates.steps]
        return current

    return have_captured
