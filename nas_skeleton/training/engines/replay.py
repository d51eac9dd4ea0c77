"""Steps of training as CUDA graphs: captured once per batch size, then replayed on own streams.

The common half of the engines `cuda-graph` and `packed`. Without capture the very same step is
called directly: on a CPU always, and for tests. The host waits for the GPU in a capture only.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nas_skeleton.training.candidates import RUNNING, Candidates, Problem, Unsupported
from nas_skeleton.training.engines.precision import Arithmetic

# Steps before a capture, in which libraries set themselves up; what they change is put back.
WARM_UP_STEPS = 2
# Batches that lie ready for lanes at most: the host is hundreds of steps ahead of the GPU, and
# without a limit so many batches would be in its memory.
AHEAD = 4


@dataclass(frozen=True)
class Step:
    """A step of training: a function of inputs and labels, and every tensor it writes to.

    The tensors must never move, because a captured step writes to the same addresses for ever.
    """

    run: Callable[[Tensor, Tensor], None]
    changes: Sequence[Tensor]

    def rehearse(self, inputs: Tensor, labels: Tensor) -> None:
        """Run a few times without consequences."""
        before = [tensor.clone() for tensor in self.changes]
        try:
            for _ in range(WARM_UP_STEPS):
                self.run(inputs, labels)
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
        self._graphs: dict[torch.Size, tuple[Tensor, Tensor, torch.cuda.CUDAGraph]] = {}

    def prepare(self, inputs: Tensor, labels: Tensor) -> None:
        """Capture the step for inputs of this shape, if that is not yet done; changes no weights.

        Raises:
            torch.OutOfMemoryError: it does not fit on the device.
            Unsupported: the step cannot be captured; CUDA says why.
        """
        if inputs.shape in self._graphs:
            return
        try:
            self._graphs[inputs.shape] = self._capture(inputs, labels)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            if "captur" not in str(error):  # the GPU itself is in trouble
                raise
            raise Unsupported(f"no CUDA graph: {' '.join(str(error).split())[:200]}") from None

    def _capture(
        self, inputs: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor, torch.cuda.CUDAGraph]:
        # A capture waits for the device, so what still writes inputs or weights ends before it.
        self.stream.wait_stream(torch.cuda.current_stream(inputs.device))
        with torch.cuda.stream(self.stream):
            clips, classes = inputs.clone(), labels.clone()
            self.step.rehearse(clips, classes)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self.stream):
            self.step.run(clips, classes)
        return clips, classes, graph

    def launch(self, inputs: Tensor, labels: Tensor, ready: torch.cuda.Event) -> torch.cuda.Event:
        """Run the step after the event `ready`; the host does not wait for it.

        Returns:
            The event after which `inputs` and `labels` are of no use to it any more.
        """
        clips, classes, graph = self._graphs[inputs.shape]
        self.stream.wait_event(ready)
        with torch.cuda.stream(self.stream):
            clips.copy_(inputs)
            classes.copy_(labels)
            taken: torch.cuda.Event = self.stream.record_event()
            graph.replay()
        return taken


class Replayed(Candidates):
    """Candidates whose steps may be captured and replayed.

    A subclass adds its steps in `__init__` and says in `shares` which clips each gets. Asking for
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
        device, dtype = problem.task.device, problem.task.dtype
        on_gpu = device.type == "cuda"
        self.capture = on_gpu if capture is None else capture
        if self.capture and not on_gpu:
            raise Unsupported("CUDA graphs need a GPU")
        self.rate = torch.zeros((), dtype=dtype, device=device)
        self._loss_sums = torch.zeros(members, dtype=torch.float64, device=device)
        self.steps: list[Step] = []
        self.lanes: list[Lane] = []
        # What lanes were given and may not have taken yet, and the events that say so.
        self._given: deque[tuple[Tensor, Tensor, list[torch.cuda.Event]]] = deque()

    def add(self, step: Step) -> None:
        """Let `step` run on its share of the clips."""
        self.steps.append(step)
        if self.capture:
            self.lanes.append(Lane(step, self.problem.task.device))

    @abstractmethod
    def shares(self, inputs: Tensor, labels: Tensor) -> Sequence[tuple[Tensor, Tensor]]:
        """What each of `steps` gets of inputs and labels, which have the members in front."""

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

    def step(self, inputs: Tensor, labels: Tensor, seeds: Sequence[int] = ()) -> None:  # noqa: ARG002
        shares = self.shares(inputs, labels)
        if not self.capture:
            for step, share in zip(self.steps, shares, strict=True):
                step.run(*share)
            return
        for lane, share in zip(self.lanes, shares, strict=True):
            lane.prepare(*share)
        current = torch.cuda.current_stream(inputs.device)
        ready = current.record_event()
        taken = [lane.launch(*share, ready) for lane, share in zip(self.lanes, shares, strict=True)]
        self._given.append((inputs, labels, taken))
        if len(self._given) > AHEAD:
            # The memory of these goes to what the current stream does next: that has to wait.
            _, _, events = self._given.popleft()
            for event in events:
                current.wait_event(event)

    def join(self) -> None:
        """Let the current stream wait until all lanes have done what they were given."""
        for lane in self.lanes:
            torch.cuda.current_stream(lane.stream.device).wait_stream(lane.stream)
        self._given.clear()

    def __del__(self) -> None:
        if hasattr(self, "lanes"):  # an object whose making failed early has none
            self.join()  # what still runs must end before its memory is given to others


def running_statistics(network: nn.Module) -> dict[str, Tensor]:
    """Running means and variances of all batch norms of `network`, by name."""
    return {name: value for name, value in network.named_buffers() if name.endswith(RUNNING)}
