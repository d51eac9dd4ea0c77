"""Measures engines side by side: alternating rounds, medians over rounds, ratios to `reference`.

In a round every contender trains and is evaluated once in one process with one thread, and once in
all processes of a crew at the same time; then comes the next round. A ratio is taken within a round
and its median over the rounds is reported, so that a machine that slows down for a while slows both
sides.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median

from nas_skeleton.benchmarks import roofline
from nas_skeleton.benchmarks.bench import Crew, Plan
from nas_skeleton.benchmarks.contenders import REFERENCE, THESIS
from nas_skeleton.benchmarks.settings import Setting
from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.store import load_dataset
from nas_skeleton.spaces import load_space
from nas_skeleton.spaces.recipe import Recipe
from nas_skeleton.training.loop import clips_per_epoch

LEAST_ROUNDS = 3
STEP_SECONDS = 0.1  # a measurement is about this long for each cell, and at least one step
ONE, ALL = "one", "all"  # processes at work

Watch = Callable[[str, int], Callable[[], None]]
"""Called with a setting and its number of rounds; what it returns is called after every round."""


@dataclass(frozen=True)
class Ratio:
    """A ratio over the rounds: its median, the lowest and the highest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Ratio:
        """The ratio of these rounds."""
        rounds = sorted(values)
        return cls(median(rounds), rounds[0], rounds[-1])


@dataclass(frozen=True)
class Speed:
    """What one contender reached under one setting; medians over rounds.

    Attributes:
        ms_per_step: of one candidate, in one process.
        per_core: speed in one process, `reference` = 1.
        roofline_share: the floor of a step over `ms_per_step`; None for the thesis' loop.
        workers_ratio: throughput of all workers over that of one process of `reference`.
        s_per_epoch: seconds for one epoch of one candidate with its evaluations, all workers at
            work: what a whole run waits for. An engine evaluates as often as the recipe says, the
            thesis' loop after every epoch.
        over_thesis: epochs per second over those of the thesis' loop in as many processes; None
            where it was not measured.
        side_by_side: candidates that advance together in one process.
        steps_per_round: of each candidate.
    """

    ms_per_step: float
    per_core: Ratio
    roofline_share: float | None
    workers_ratio: Ratio
    s_per_epoch: float
    over_thesis: Ratio | None
    side_by_side: int
    steps_per_round: int


@dataclass(frozen=True)
class Measured:
    """One setting: what was measured, the machine's floor, and every contender.

    `unsupported` says of each engine that could not take part why. Steps are of one candidate;
    `floor` and `floor_ms` are the mean over the cells.
    """

    name: str
    recipe: Recipe
    rounds: int
    clips_per_epoch: int
    clips_evaluated: int
    peaks: roofline.Peaks
    demand: roofline.Demand
    floor: roofline.Floor
    floor_ms: float
    speeds: dict[str, Speed]
    unsupported: dict[str, str]


@dataclass(frozen=True)
class _Rates:
    """One round of one contender: steps and clips per second, summed over processes."""

    steps: dict[str, float]
    clips: dict[str, float]


def measure(crew: Crew, plan: Plan, setting: Setting, seconds: float, watch: Watch) -> Measured:
    """Measure `setting` for about `seconds`, and at least `LEAST_ROUNDS` rounds.

    Raises:
        InputError: a measuring process died, or `reference` does not fit on the device.
    """
    recipe = setting.recipe
    crew.all("open", setting)
    demand, peaks = _roofline(crew, plan, recipe)  # while there is room on the device
    names, unsupported = _prepare(crew, plan)
    if REFERENCE in unsupported:
        raise InputError(f"setting {setting.name!r}: reference: {unsupported[REFERENCE]}")
    measured_s = STEP_SECONDS * len(plan.cells)
    steps = {name: crew.first("steps_in", name, measured_s) for name in names}

    several = plan.workers > 1
    began = time.perf_counter()
    rounds = [_round(crew, steps, several)]
    total = max(LEAST_ROUNDS, round(seconds / (time.perf_counter() - began)))
    advance = watch(setting.name, total)
    advance()
    while len(rounds) < total:
        rounds.append(_round(crew, steps, several))
        advance()

    dataset = load_dataset(plan.dataset)
    split = dataset.split(plan.protocol)
    clips = clips_per_epoch(recipe, len(split["train"]))
    evaluated = sum(map(len, split.values()))

    def epochs_per_second(name: str, rates: _Rates) -> float:
        every = 1 if name == THESIS else recipe.evaluate_every
        training = clips / recipe.batch_size / rates.steps[ALL]
        return 1 / (training + evaluated / every / rates.clips[ALL])

    floor = roofline.floor(demand, peaks)
    speeds = {}
    for name in names:
        ms_per_step = median(1e3 / each[name].steps[ONE] for each in rounds)
        over_thesis = None
        if THESIS in names:
            over_thesis = Ratio.of(
                epochs_per_second(name, each[name]) / epochs_per_second(THESIS, each[THESIS])
                for each in rounds
            )
        speeds[name] = Speed(
            ms_per_step=ms_per_step,
            per_core=Ratio.of(
                each[name].steps[ONE] / each[REFERENCE].steps[ONE] for each in rounds
            ),
            roofline_share=None if name == THESIS else floor.ms / ms_per_step,
            workers_ratio=Ratio.of(
                each[name].steps[ALL] / each[REFERENCE].steps[ONE] for each in rounds
            ),
            s_per_epoch=median(1 / epochs_per_second(name, each[name]) for each in rounds),
            over_thesis=over_thesis,
            side_by_side=crew.first("side_by_side", name),
            steps_per_round=steps[name],
        )
    return Measured(
        name=setting.name,
        recipe=recipe,
        rounds=total,
        clips_per_epoch=clips,
        clips_evaluated=evaluated,
        peaks=peaks,
        demand=demand,
        floor=floor,
        floor_ms=floor.ms,
        speeds=speeds,
        unsupported=unsupported,
    )


def _prepare(crew: Crew, plan: Plan) -> tuple[list[str], dict[str, str]]:
    """Build all contenders in all processes: who takes part, and why others do not."""
    names: list[str] = []
    unsupported: dict[str, str] = {}
    for name in [*plan.engines, *([THESIS] if plan.thesis else [])]:
        reasons = [reason for reason in crew.all("prepare", name) if reason is not None]
        if reasons:
            crew.all("drop", name)
            unsupported[name] = reasons[0]
        else:
            names.append(name)
    return names, unsupported


def _roofline(crew: Crew, plan: Plan, recipe: Recipe) -> tuple[roofline.Demand, roofline.Peaks]:
    space, dataset = load_space(plan.space), load_dataset(plan.dataset)
    joints = len(dataset.layout.joints)
    demand = roofline.mean_demand(
        space,
        recipe,
        list(plan.cells),
        classes=len(dataset.classes),
        joints=joints,
        bodies=space.card.input.bodies(dataset.bodies),
        channels=space.card.channels(dataset.channels, joints),
    )
    return demand, crew.first("peaks", demand.maps)


def _round(crew: Crew, steps: dict[str, int], several: bool) -> dict[str, _Rates]:
    rates = {name: _Rates({}, {}) for name in steps}
    for name in steps:
        rates[name].steps[ONE] = crew.first("train", name, steps[name], False)
        rates[name].clips[ONE] = crew.first("evaluate", name, False)
    for name in steps:
        if several:
            rates[name].steps[ALL] = sum(crew.all("train", name, steps[name], True))
            rates[name].clips[ALL] = sum(crew.all("evaluate", name, True))
        else:
            rates[name].steps[ALL] = rates[name].steps[ONE]
            rates[name].clips[ALL] = rates[name].clips[ONE]
    return rates
