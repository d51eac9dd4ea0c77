"""Searches on finished tables: any strategy, in milliseconds, by a simulated clock.

A replay answers proposals with what a table knows of **validation** clips; it never touches test
accuracies. What the chosen architectures are worth on test clips is looked up afterwards, by
whoever reports (`ranking`).
"""

from __future__ import annotations

import hashlib
import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from nas_skeleton.errors import InputError
from nas_skeleton.processes import ignore_signals, process_pool, signals_held
from nas_skeleton.results.table import SearchTable
from nas_skeleton.strategies import Asked, Result, Search, Setting, build_strategy

CHUNK = 10  # searches that a process is given at a time


@dataclass(frozen=True)
class Trace:
    """What a search had found after each of its evaluations that cost something.

    Attributes:
        spent: `(n,)` cost so far, in whole trainings.
        seconds: `(n,)` on the simulated clock; NaN where the table has no times.
        incumbent: `(n,)` the architecture a user would take then: of those looked at after the most
            epochs so far, and then with the most seeds, the best mean on validation clips.
        valid: `(n,)` its validation top-1 in [0, 1], as the search saw it.
    """

    spent: NDArray[np.float64]
    seconds: NDArray[np.float64]
    incumbent: NDArray[np.int64]
    valid: NDArray[np.float64]


@dataclass(frozen=True)
class Terms:
    """On what terms strategies search.

    Attributes:
        trials: the budget, in whole trainings.
        parallel: proposals that may be without a result that the strategy knows.
        workers: trainings that go on side by side on the simulated clock.
    """

    trials: int
    parallel: int = 1
    workers: int = 1


def replay(
    strategy: str, table: SearchTable, terms: Terms, *, seed: int, training_seed: int | None = None
) -> Trace:
    """Search once on a table.

    Args:
        strategy: its name.
        table: what answers.
        terms: budget and workers.
        seed: of the strategy.
        training_seed: position in `table.seeds` of the seed that everything is trained with; None:
            with all, and the strategy hears means.

    Raises:
        InputError: unknown strategy, or one that cannot work on this table.
    """
    return _Replay(strategy, table, terms, seed, training_seed).run()


def repeat_seed(seed: int, repeat: int) -> int:
    """The strategy's seed in one of several repeats, the same for all strategies."""
    digest = hashlib.sha256(f"replay {seed} {repeat}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def replays(
    strategies: Sequence[str],
    table: SearchTable,
    terms: Terms,
    *,
    repeats: int,
    seed: int,
    processes: int | None = None,
    advance: Callable[[int], None] = lambda _: None,
    check: Callable[[], None] = lambda: None,
    at_once: Callable[[], bool] = lambda: False,
) -> dict[str, list[Trace]]:
    """Search `repeats` times with each strategy; the same whatever the number of processes.

    In repeat r everything is trained with the table's seed r modulo their number, as a user with
    one seed would.

    Args:
        strategies: names.
        table: what answers.
        terms: budget and workers.
        repeats: searches per strategy.
        seed: from which `repeat_seed` derives theirs.
        processes: how many work on it; None for this one itself.
        advance: hears how many more searches are done.
        check: called now and then; what it raises ends all, after the searches that are running.
        at_once: whether there is no time for these.

    Raises:
        InputError: as `replay`.
    """
    table = table.without_test()
    for name in strategies:  # mistakes, before processes are started
        build_strategy(name, _setting(table, terms, 0, 1))
    found: dict[str, list[Trace | None]] = {name: [None] * repeats for name in strategies}
    chunks = [
        (name, range(start, min(start + CHUNK, repeats)))
        for start in range(0, repeats, CHUNK)
        for name in strategies
    ]
    for (name, numbers), traces in _worked_off(
        chunks, table, terms, seed, processes, check, at_once
    ):
        for number, trace in zip(numbers, traces, strict=True):
            found[name][number] = trace
        advance(len(traces))
    return {name: [trace for trace in of if trace is not None] for name, of in found.items()}


_Chunk = tuple[str, range]
_at_work: tuple[SearchTable, Terms, int] | None = None  # of a process that replays


def _worked_off(
    chunks: list[_Chunk],
    table: SearchTable,
    terms: Terms,
    seed: int,
    processes: int | None,
    check: Callable[[], None],
    at_once: Callable[[], bool],
) -> Iterator[tuple[_Chunk, list[Trace]]]:
    if processes is None:
        for chunk in chunks:
            check()
            yield chunk, _replay_chunk(chunk, table, terms, seed)
        return
    with process_pool(processes, _start_work, (table, terms, seed), at_once) as pool:
        with signals_held():
            open_ = {pool.submit(_work, chunk): chunk for chunk in chunks}
        while open_:
            check()
            done, _ = wait(open_, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in done:
                yield open_.pop(future), future.result()


def _start_work(table: SearchTable, terms: Terms, seed: int) -> None:
    global _at_work
    ignore_signals()
    _at_work = (table, terms, seed)


def _work(chunk: _Chunk) -> list[Trace]:
    assert _at_work is not None
    return _replay_chunk(chunk, *_at_work)


def _replay_chunk(chunk: _Chunk, table: SearchTable, terms: Terms, seed: int) -> list[Trace]:
    name, numbers = chunk
    return [
        replay(
            name,
            table,
            terms,
            seed=repeat_seed(seed, number),
            training_seed=number % len(table.seeds),
        )
        for number in numbers
    ]


def _setting(table: SearchTable, terms: Terms, seed: int, seeds: int) -> Setting:
    return Setting(table.space, seed, epochs=table.epochs, seeds=seeds, trials=terms.trials)


class _Replay:
    """One search on a table."""

    def __init__(
        self, strategy: str, table: SearchTable, terms: Terms, seed: int, training_seed: int | None
    ) -> None:
        if terms.workers > terms.parallel:
            raise InputError(
                f"{terms.workers} simulated workers and {terms.parallel} parallel proposals: each "
                "worker needs one to work on"
            )
        every = range(len(table.seeds)) if training_seed is None else [training_seed]
        self.table = table
        self.workers = terms.workers
        self.seeds = list(every)  # positions in the table
        setting = _setting(table, terms, seed, len(self.seeds))
        self.search = Search(build_strategy(strategy, setting), setting, parallel=terms.parallel)
        self.place = {epoch: at for at, epoch in enumerate(table.epochs)}
        self.trained: dict[tuple[int, int], int] = {}  # architecture, seed -> epochs
        self.ready: dict[tuple[int, int], float] = {}  # when a worker is done with it
        self.now = 0.0
        self.seen: dict[tuple[int, int], dict[int, float]] = {}  # architecture, epochs -> by seed
        self.best = (0, 0, -1.0)  # epochs, seeds and mean validation accuracy of the incumbent
        self.incumbent = -1
        self.rows: list[tuple[float, float, int, float]] = []

    def run(self) -> Trace:
        free, spent = self.workers, 0.0
        under_way: list[tuple[float, int, Asked]] = []
        while True:
            while free and (asked := self.search.next()) is not None:
                free -= asked.cost > 0
                heapq.heappush(under_way, (self._end(asked), asked.number, asked))
            if not under_way:
                break
            self.now, _, asked = heapq.heappop(under_way)
            free += asked.cost > 0
            spent += asked.cost
            self._finish(asked, spent)
        spents, seconds, incumbents, valid = zip(*self.rows, strict=True) if self.rows else [()] * 4
        return Trace(
            np.array(spents), np.array(seconds), np.array(incumbents, np.int64), np.array(valid)
        )

    def _end(self, asked: Asked) -> float:
        """When its trainings are done, one seed after the other; what is trained is continued."""
        arch, end = asked.arch_index, self.now
        for seed in asked.seeds:
            key = (arch, seed)
            end = max(end, self.ready.get(key, 0.0))
            added = asked.epochs - self.trained.get(key, 0)
            if added > 0:
                end += added / self.table.epochs[-1] * self._seconds(arch, seed)
                self.trained[key] = asked.epochs
                self.ready[key] = end
        return end

    def _seconds(self, arch: int, seed: int) -> float:
        """Of a whole training; one each where there are no times, to tell what ends first."""
        if not self.table.has_seconds:
            return 1.0
        return self.table.seconds.item(arch, self.seeds[seed])

    def _finish(self, asked: Asked, spent: float) -> None:
        table, arch, at = self.table, asked.arch_index, self.place[asked.epochs]
        told = {seed: table.valid.item(arch, self.seeds[seed], at) for seed in asked.seeds}
        valid = fmean(told.values())
        macs, latency = table.macs.item(arch), table.latency_ms.item(arch)
        result = Result(valid, macs or None, None if math.isnan(latency) else latency)
        self.search.finish(asked, result)
        seen = self.seen.setdefault((arch, asked.epochs), {})
        seen.update(told)
        candidate = (asked.epochs, len(seen), fmean(seen.values()))
        if candidate > self.best:
            self.best, self.incumbent = candidate, arch
        if asked.cost:
            now = self.now if table.has_seconds else math.nan
            self.rows.append((spent, now, self.incumbent, self.best[2]))
