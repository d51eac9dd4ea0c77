"""Steps of training as CUDA graphs: captured once per batch size, then replayed on own streams.

The common half of the engines `cuda-graph` and `packed`. Without capture the very same step is
called directly: on a CPU always, and for tests. The host waits for the GPU in a capture only.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nas_skeleton.training.candidates import RUNNING, Candidates, Problem, Unsupported
from nas_skeleton.training.engines.precision import Arithmetic

# Steps before a capture, in which libraries set themselves up; what they change is put back.
WARM_UP_STEPS = 2


@dataclass(frozen=True)
class Step:
    """A step of training: a function of clip ids, and every tensor it writes to.

    The tensors must never move, because a captured step writes to the same addresses for ever.
    """

    run: Callable[[Tensor], None]
    changes: Sequence[Tensor]

    def rehearse(self, ids: Tensor) -> None:
        """Run a few times without consequences."""
        before = [tensor.clone() for tensor in self.changes]
        try:
            for _ in range(WARM_UP_STEPS):
                self.run(ids)
        finally:
            for tensor, value in zip(self.changes, before, strict=True):
                tensor.copy_(value)


class Lane:
    """One step on a stream of its own.

    Graphs of one lane share a memory pool, because they never run at the same time; those of
    different lanes do, and have pools of their own.
    """

    def __init__(self, step: Step, device: torch.device) -> None:
        self.step = step
        self.stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()
        self._graphs: dict[torch.Size, tuple[Tensor, torch.cuda.CUDAGraph]] = {}

    def prepare(self, ids: Tensor) -> None:
        """Capture the step for ids of this shape, if that is not yet done; changes no weights.

        Raises:
            torch.OutOfMemoryError: it does not fit on the device.
            Unsupported: the step cannot be captured; CUDA says why.
        """
        if ids.shape in self._graphs:
            return
        try:
            self._graphs[ids.shape] = self._capture(ids)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            if "captur" not in str(error):  # the GPU itself is in trouble
                raise
            raise Unsupported(f"no CUDA graph: {' '.join(str(error).split())[:200]}") from None

    def _capture(self, ids: Tensor) -> tuple[Tensor, torch.cuda.CUDAGraph]:
        # A capture waits for the device, so what is still writing ids or weights ends before it.
        self.stream.wait_stream(torch.cuda.current_stream(ids.device))
        with torch.cuda.stream(self.stream):
            static = ids.clone()
            self.step.rehearse(static)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self.stream):
            self.step.run(static)
        return static, graph

    def launch(self, ids: Tensor, ready: torch.cuda.Event) -> None:
        """Run the step on `ids` after the event `ready`; the host does not wait for it."""
        static, graph = self._graphs[ids.shape]
        self.stream.wait_event(ready)
        with torch.cuda.stream(self.stream):
            static.copy_(ids)
            graph.replay()
        ids.record_stream(self.stream)  # so that its memory is not reused before it is copied


class Replayed(Candidates):
    """Candidates whose steps may be captured and replayed.

    A subclass adds its steps in `__init__` and says in `shares` which ids each gets. Asking for
    `loss_sums`, `scores` or `state` lets the current stream wait for all lanes; the host does not.

    Args:
        problem: with the task on the device to train on.
        members: how many candidates.
        capture: whether to capture steps as CUDA graphs; None: where the task is on a GPU.

    Raises:
        Unsupported: capture without a GPU, or a precision that this device lacks.
    """

    def __init__(self, problem: Problem, members: int, capture: bool | None) -> None:
        self.problem = problem
        self.arithmetic = Arithmetic(problem)
        inputs = problem.task.inputs
        self.capture = inputs.is_cuda if capture is None else capture
        if self.capture and not inputs.is_cuda:
            raise Unsupported("CUDA graphs need a GPU")
        self.rate = torch.zeros((), dtype=inputs.dtype, device=inputs.device)
        self._loss_sums = torch.zeros(members, dtype=torch.float64, device=inputs.device)
        self.steps: list[Step] = []
        self.lanes: list[Lane] = []

    def add(self, step: Step) -> None:
        """Let `step` run on its share of the ids."""
        self.steps.append(step)
        if self.capture:
            self.lanes.append(Lane(step, self.problem.task.inputs.device))

    @abstractmethod
    def shares(self, batches: Tensor) -> Sequence[Tensor]:
        """What each of `steps` gets of the ids `(members, batch)`."""

    @property
    def loss_sums(self) -> Tensor:
        """Sums since the last reset; ask again after further steps (see `Candidates`)."""
        self.join()
        return self._loss_sums

    @loss_sums.setter
    def loss_sums(self, values: Tensor) -> None:
        self.join()
        self._loss_sums.copy_(values)  # captured steps write where the tensor always was

    def set_learning_rate(self, rate: float) -> None:
        self.join()
        self.rate.fill_(rate)

    def step(self, batches: Tensor) -> None:
        shares = self.shares(batches)
        if not self.capture:
            for step, ids in zip(self.steps, shares, strict=True):
                step.run(ids)
            return
        for lane, ids in zip(self.lanes, shares, strict=True):
            lane.prepare(ids)
        ready = torch.cuda.current_stream(batches.device).record_event()
        for lane, ids in zip(self.lanes, shares, strict=True):
            lane.launch(ids, ready)

    def join(self) -> None:
        """Let the current stream wait until all lanes have done what they were given."""
        for lane in self.lanes:
            torch.cuda.current_stream(lane.stream.device).wait_stream(lane.stream)

    def __del__(self) -> None:
        if hasattr(self, "lanes"):  # an object whose making failed early has none
            self.join()  # what still runs must end before its memory is given to others


def running_statistics(network: nn.Module) -> dict[str, Tensor]:
    """Running means and variances of all batch norms of `network`, by name."""
    return {name: value for name, value in network.named_buffers() if name.endswith(RUNNING)}
