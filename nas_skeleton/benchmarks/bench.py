"""A bench: one process with its own contenders, which are timed on command; and a crew of them.

All processes of a crew do the same at the same time or the first one works alone: so throughput of
several workers and speed of one are measured in the same rounds, on the same candidates.
"""

from __future__ import annotations

import itertools
import math
import multiprocessing
import signal
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
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
from nas_skeleton.training.averaging import estimation_steps
from nas_skeleton.training.candidates import Problem, Unsupported
from nas_skeleton.training.engines import EngineName
from nas_skeleton.training.loop import clips_per_epoch
from nas_skeleton.training.task import build_task

STARTED_TOGETHER_S = 120.0  # longer than any step
STEPS = 4  # of which the fastest counts, where every cell is timed only once


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

    def training_s(self, name: EngineName, index: int) -> float:
        """Seconds a training of the cell `index` takes, by a few of its steps and evaluations.

        On a CPU it is the processor's time that counts, and the fastest step: what other programs
        did meanwhile is not the cell's.

        Raises:
            Unsupported: the engine cannot train it here.
            torch.OutOfMemoryError: it does not fit on the device.
        """
        assert self._problem is not None
        recipe, splits = self._problem.recipe, self._problem.task.splits
        cells = [self.space.cell(index)]
        engine = Engine(name, self._problem, cells, self.plan.seed, self.plan.side_by_side)
        engine.train(1)
        clock = time.perf_counter if self.device.type == "cuda" else time.thread_time
        times = [clock()]
        for _ in range(STEPS):
            engine.train(1)
            times.append(clock())
        step_s = min(after - before for before, after in itertools.pairwise(times))
        clips = engine.evaluate()
        evaluation_s = clock() - times[-1]
        batches = math.ceil(clips_per_epoch(recipe, len(splits["train"])) / recipe.batch_size)
        steps = recipe.epochs * batches + estimation_steps(recipe, batches)
        evaluations = math.ceil(recipe.epochs / recipe.evaluate_every)
        evaluated = evaluations * sum(map(len, splits.values()))
        return (steps * step_s + evaluated * evaluation_s / clips) / engine.trainings

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

    def each(self, method: str, items: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """Each item with what the method gives for it, as they come from whoever is free.

        `items` are the lists of arguments.
        """
        waiting = iter(items)
        at_work: dict[Connection, Any] = {}
        free = list(self._connections)
        while True:
            with _death_in_words():
                for connection, item in zip(free, waiting, strict=False):
                    connection.send((method, item))
                    at_work[connection] = item
                if not at_work:
                    return
                free = [c for c in wait(list(at_work)) if isinstance(c, Connection)]
                answers = [(at_work.pop(connection), _receive(connection)) for connection in free]
            yield from answers

    def _call(
        self, connections: Sequence[Connection], method: str, arguments: tuple[Any, ...]
    ) -> list[Any]:
        answers: dict[Connection, Any] = {}
        with _death_in_words():
            for connection in connections:
                connection.send((method, arguments))
            while len(answers) < len(connections):
                for ready in wait([c for c in connections if c not in answers]):
                    assert isinstance(ready, Connection)
                    answers[ready] = _receive(ready)
        return [answers[connection] for connection in connections]


def _receive(connection: Connection) -> Any:
    """What a process answers, or raise what it raised."""
    answer = connection.recv()
    if isinstance(answer, Exception):
        raise answer
    return answer


@contextmanager
def _death_in_words() -> Iterator[None]:
    try:
        yield
    except (EOFError, ConnectionError):
        raise InputError(
            "a measuring process died, perhaps for lack of memory: try fewer --workers, --cells or "
            "--side-by-side"
        ) from None


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
        try:
            connection.send(answer)
        except BrokenPipeError:
            return
