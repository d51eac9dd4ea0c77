"""How evenly shards share a whole space, predicted and by the clock.

One cell of every functional class is timed for a few steps; the other cells of a class count as
long as it (they differ in pools and skips at most). Shards are made of predicted efforts, as
clusters make them, and their sums of measured seconds are compared. The start of a task, and what
lies between two trainings, is not in these sums: shards have equally many trainings.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import mean, median, stdev

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.stats import spearmanr

from nas_skeleton.benchmarks.bench import Crew
from nas_skeleton.benchmarks.settings import Setting
from nas_skeleton.errors import InputError
from nas_skeleton.scheduling.effort import PRICES, Network, Prices
from nas_skeleton.scheduling.shards import shards_of
from nas_skeleton.spaces import Space
from nas_skeleton.spaces.liveness import ignores_input
from nas_skeleton.training.candidates import Unsupported
from nas_skeleton.training.engines import EngineName

LEAST = 20  # classes timed, to say anything
CARELESS = 0.05  # relative error beyond which a time says little about prices

Watch = Callable[[str, int], Callable[[], None]]
"""Called with a setting's name and a number of cells; what it returns is called after each."""


@dataclass(frozen=True)
class Balance:
    """What was found under one setting.

    Attributes:
        setting: its name and sizes.
        engine: what the cells were timed with.
        shards: into how many parts the space was divided.
        classes: functional classes timed, one cell of each.
        of_classes: how many there are. If not all were timed, the others' times are their efforts
            times ratios of time to effort drawn from those that were.
        predicted: the largest shard's sum of efforts over the mean.
        actual: the same of measured seconds.
        by_index: the same if shard i had every `shards`-th cell from i on.
        rank_correlation: of effort and time, over the classes timed (Spearman).
        spread: standard deviation of time over effort, relative to its mean.
        prices: what would predict these times best; of a part of the work that no timed cell has,
            the price is a guess.
        seconds: of a training, by index of the cell timed.
        interrupted: whether Ctrl-C came before all were timed that were to be.
    """

    setting: Setting
    engine: EngineName
    shards: int
    classes: int
    of_classes: int
    predicted: float
    actual: float
    by_index: float
    rank_correlation: float
    spread: float
    prices: Prices
    seconds: dict[int, float]
    interrupted: bool = False


def measure_balance(
    crew: Crew,
    space: Space,
    joints: int,
    setting: Setting,
    engine: EngineName,
    shards: int,
    *,
    classes: int | None,
    seed: int,
    watch: Watch,
    channels: int = 3,
) -> Balance:
    """Time `classes` functional classes (None: all) in random order, and divide the space.

    Ctrl-C ends the timing, and those timed by then stand for the rest; the crew is of no use any
    more then.

    Raises:
        InputError: the engine cannot train a cell, or a measuring process died.
        KeyboardInterrupt: it came when too few had been timed.
    """
    members = list(space.functional_classes().values())
    order = [cells[0] for cells in members]
    random.Random(seed).shuffle(order)
    order = order[:classes]
    if len(order) < min(LEAST, len(members)):
        raise InputError(f"balance: {len(order)} classes say nothing, give at least {LEAST}")
    crew.all("open", setting)
    advance = watch(setting.name, len(order))
    seconds: dict[int, float] = {}
    interrupted = False
    try:
        for (_, index), found in crew.each("training_s", [(engine, index) for index in order]):
            seconds[index] = found
            advance()
    except Unsupported as error:
        raise InputError(f"balance: engine {engine} cannot train a cell: {error}") from None
    except KeyboardInterrupt:
        if len(seconds) < LEAST:
            raise
        interrupted = True
    found = balance_of(space, joints, setting, engine, shards, seconds, seed, channels)
    return replace(found, interrupted=interrupted)


def balance_of(
    space: Space,
    joints: int,
    setting: Setting,
    engine: EngineName,
    shards: int,
    seconds: dict[int, float],
    seed: int,
    channels: int = 3,
) -> Balance:
    """What measured `seconds` of some classes' first cells say of the whole space."""
    network = Network(space, setting.recipe, joints, channels)
    efforts = [network.effort(space.cell(index)) for index in range(len(space))]
    ratios = {index: seconds[index] / efforts[index] for index in sorted(seconds)}
    drawn = random.Random(seed)
    times = [0.0] * len(space)
    for cells in space.functional_classes().values():
        first = cells[0]
        ratio = ratios[first] if first in ratios else drawn.choice(list(ratios.values()))
        for cell in cells:
            times[cell] = ratio * efforts[first]
    shard_of = shards_of(efforts, shards)
    timed = list(seconds)
    correlation = spearmanr([efforts[i] for i in timed], [seconds[i] for i in timed]).statistic
    return Balance(
        setting=setting,
        engine=engine,
        shards=shards,
        classes=len(seconds),
        of_classes=len(space.functional_classes()),
        predicted=largest_over_mean(efforts, shard_of, shards),
        actual=largest_over_mean(times, shard_of, shards),
        by_index=largest_over_mean(times, [i % shards for i in range(len(times))], shards),
        rank_correlation=float(correlation),
        spread=stdev(ratios.values()) / mean(ratios.values()),
        prices=fitted_prices(space, network, seconds),
        seconds=seconds,
    )


def largest_over_mean(values: Sequence[float], shard_of: Sequence[int], shards: int) -> float:
    """The largest sum of a shard over the mean of all shards; 1 is perfect."""
    sums = [0.0] * shards
    for value, shard in zip(values, shard_of, strict=True):
        sums[shard] += value
    return max(sums) / mean(sums)


def fitted_prices(space: Space, network: Network, seconds: dict[int, float]) -> Prices:
    """The prices, none below 0, whose efforts are most nearly proportional to `seconds`.

    Relative errors count, large ones less than by their square: a cell may have been timed while
    the machine did something else.
    """
    cells = {index: space.cell(index) for index in seconds}
    blind = [index for index, cell in cells.items() if ignores_input(cell)]
    seeing = sorted(cells.keys() - set(blind))
    works = [network.work(cells[index]) for index in seeing]
    table = np.array(
        [(w.multiply_adds, w.convolution, w.relu, w.pool, w.skip, w.links) for w in works]
    )
    measured = np.array([seconds[index] for index in seeing])
    scale = measured.mean() / np.maximum(table.mean(axis=0), 1.0)

    def errors(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.log((table * scale) @ x / measured))

    found = least_squares(
        errors,
        np.full(len(scale), 1 / len(scale)),
        bounds=(1e-9, np.inf),
        loss="soft_l1",
        f_scale=CARELESS,
    )
    rate, *rest = found.x * scale
    convolution, relu, pool, skip, links = (float(value / rate) for value in rest)
    if not table[:, -1].any():
        links = PRICES.links  # cells on a grid say nothing of it
    prices = Prices(convolution, relu, pool, skip, links, blind=1.0)
    lefts = [seconds[i] / (rate * network.effort(cells[i], prices)) for i in blind]
    return replace(prices, blind=float(median(lefts)) if lefts else PRICES.blind)
