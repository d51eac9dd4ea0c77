"""A bench: one process with its own contenders, which are timed on command; and a crew of them.

All processes of a crew do the same at the same time or the first one works alone: so throughput of
several workers and speed of one are measured in the same rounds, on the same candidates.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.synchronize import Barrier
from types import TracebackType
from typing import Any, Literal

import torch

from nas_skeleton.benchmarks.contenders import THESIS, Contender, Engine, Thesis
from nas_skeleton.benchmarks.roofline import Peaks, measure_peaks
from nas_skeleton.benchmarks.settings import Setting
from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.store import load_dataset
from nas_skeleton.spaces import load_space
from nas_skeleton.training.candidates import Problem, Unsupported
from nas_skeleton.training.engines import EngineName
from nas_skeleton.training.task import build_task

STARTED_TOGETHER_S = 120.0  # longer than any step


@dataclass(frozen=True)
class Plan:
    """What is compared, on what.

    Attributes:
        space: name of the search space's card.
        dataset: name of the data set's card; it is prepared.
        protocol: None for the data set's default.
        cells: indices of the candidates.
        engines: the engines, `reference` among them.
        device: what to train on.
        workers: processes in a crew, one thread each.
        thesis: whether the thesis' loop takes part.
        loader_workers: processes of its loaders.
        side_by_side: candidates that advance together, see `contenders.Engine`.
        seed: of weights and batches.
    """

    space: str
    dataset: str
    protocol: str | None
    cells: tuple[int, ...]
    engines: tuple[EngineName, ...]
    device: Literal["cpu", "cuda"]
    workers: int
    thesis: bool = True
    loader_workers: int = 0
    side_by_side: int | None = None
    seed: int = 777


class Bench:
    """The contenders of one process. Every method is called by the crew."""

    def __init__(self, plan: Plan, barrier: Barrier | None = None) -> None:
        self.plan = plan
        self.device = torch.device(plan.device)
        self.space = load_space(plan.space)
        self.dataset = load_dataset(plan.dataset)
        self._barrier = barrier
        self._problem: Problem | None = None
        self._contenders: dict[str, Contender] = {}

    def open(self, setting: Setting) -> None:
        """Make room, and encode the data for `setting`."""
        self._contenders.clear()
        torch.cuda.empty_cache()  # for the other processes; nothing without a GPU
        card = self.space.card
        protocol = self.plan.protocol or self.dataset.card.default_protocol
        task = build_task(card, setting.recipe, self.dataset, protocol)
        self._problem = Problem(card, setting.recipe, task.to(self.device))

    def prepare(self, name: str) -> str | None:
        """Build a contender and let it warm up; returns why it cannot take part, if it cannot."""
        assert self._problem is not None
        cells = [self.space.cell(index) for index in self.plan.cells]
        try:
            contender: Contender
            if name == THESIS:
                contender = Thesis(self._problem, cells, self.plan.seed, self.plan.loader_workers)
            else:
                contender = Engine(
                    name,  # type: ignore[arg-type]
                    self._problem,
                    cells,
                    self.plan.seed,
                    self.plan.side_by_side,
                )
            contender.train(2)
            contender.evaluate()
        except (Unsupported, torch.OutOfMemoryError) as error:
            torch.cuda.empty_cache()
            return " ".join(str(error).split())
        self._contenders[name] = contender
        return None

    def drop(self, name: str) -> None:
        """Give up a contender that another process of the crew cannot run."""
        self._contenders.pop(name, None)

    def side_by_side(self, name: str) -> int:
        """How many of a contender's candidates advance together."""
        return self._contenders[name].side_by_side

    def steps_in(self, name: str, seconds: float) -> int:
        """How many steps of all candidates of a contender take about so long; at least one."""
        contender = self._contenders[name]
        made, taken = self._timed(lambda: contender.train(1), together=False)
        return max(1, round(seconds / taken * made))

    def train(self, name: str, steps: int, together: bool) -> float:
        """Steps of one candidate per second, summed over the candidates."""
        contender = self._contenders[name]
        made, seconds = self._timed(lambda: contender.train(steps), together)
        return contender.trainings * made / seconds

    def evaluate(self, name: str, together: bool) -> float:
        """Clips per second, summed over the candidates."""
        contender = self._contenders[name]
        clips, seconds = self._timed(contender.evaluate, together)
        return contender.trainings * clips / seconds

    def peaks(self, maps: float) -> Peaks:
        """What the machine can do, see `roofline.measure_peaks`."""
        return measure_peaks(self.device, maps)

    def _timed(self, work: Callable[[], int], together: bool) -> tuple[int, float]:
        if together and self._barrier is not None:
            self._barrier.wait(STARTED_TOGETHER_S)
        started = time.perf_counter()
        result = work()
        return result, time.perf_counter() - started


class Crew:
    """Processes with a bench each; a context manager that ends them."""

    def __init__(self, plan: Plan) -> None:
        context = multiprocessing.get_context("spawn")  # a forked torch may hang in its threads
        self._barrier = context.Barrier(plan.workers)  # lives only as long as it is held here
        self._connections: list[Connection] = []
        self._processes = []
        for _ in range(plan.workers):
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(there, plan, self._barrier), daemon=True)
            process.start()
            there.close()  # now its end is seen when the process dies
            self._connections.append(here)
            self._processes.append(process)

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        for process in self._processes:
            process.kill()  # nothing of value is in them
        for process in self._processes:
            process.join()

    def first(self, method: str, *arguments: Any) -> Any:
        """What a method of `Bench` gives in the first process, while the others wait."""
        return self._call(self._connections[:1], method, arguments)[0]

    def all(self, method: str, *arguments: Any) -> list[Any]:
        """What it gives in every process, all at once."""
        return self._call(self._connections, method, arguments)

    def _call(
        self, connections: Sequence[Connection], method: str, arguments: tuple[Any, ...]
    ) -> list[Any]:
        answers: dict[Connection, Any] = {}
        try:
            for connection in connections:
                connection.send((method, arguments))
            while len(answers) < len(connections):
                for ready in wait([c for c in connections if c not in answers]):
                    assert isinstance(ready, Connection)
                    answer = ready.recv()
                    if isinstance(answer, Exception):
                        raise answer
                    answers[ready] = answer
        except (EOFError, ConnectionError):
            raise InputError(
                "a measuring process died, perhaps for lack of memory: try fewer --workers, "
                "--cells or --side-by-side"
            ) from None
        return [answers[connection] for connection in connections]


def _serve(connection: Connection, plan: Plan, barrier: Barrier) -> None:
    """The life of a process of the crew: does what it is told until nobody is there."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    torch.set_num_threads(1)
    bench: Bench | None = None
    while True:
        try:
            method, arguments = connection.recv()
        except EOFError:
            return
        try:
            bench = bench or Bench(plan, barrier)
            answer = getattr(bench, method)(*arguments)
        except Exception as error:
            error.add_note(traceback.format_exc())
            answer = error
        connection.send(answer)
