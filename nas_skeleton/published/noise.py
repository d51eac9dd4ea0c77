"""How far the numbers of a published table are from what other seeds or other clips would give.

The statistics are `analysis.reliability`'s and `analysis.top`'s; here they get the trainings of a
table and are put into words.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from nas_skeleton.analysis.observations import Observations
from nas_skeleton.analysis.reliability import (
    ClassSpread,
    Estimate,
    Signal,
    spread_within_classes,
    worth,
)
from nas_skeleton.analysis.top import Apart, TopTests, top_tests
from nas_skeleton.published.rows import listed
from nas_skeleton.published.table import PublishedTable
from nas_skeleton.results.schema import HELD_OUT
from nas_skeleton.spaces.liveness import ignores_input

TOP = 100  # cells to tell from the best
SPLIT_NAMES = {"valid": "Validation", "test": "Test"}


def observations_of(
    table: PublishedTable,
    *,
    seeds: Sequence[int] | None = None,
    sampled: bool = True,
    unconnected: bool = False,
    mates: bool = False,
) -> Observations:
    """The trainings of a table, of all cells that finished with every seed; copies are left out.

    Args:
        table: which.
        seeds: which count; all if None.
        sampled: whether to keep to the table's `sample`, where it has one.
        unconnected: whether cells whose output does not depend on the input count.
        mates: whether all trained members of a functional class count, and not the one with the
            most seeds: they are the same function, so no independent observations.
    """
    seeds = tuple(table.seeds if seeds is None else seeds)
    columns = [table.check_seed(seed) for seed in seeds]
    rows = table.prediction_rows[:, columns]
    trained = (rows >= 0) & ~table.copied[:, columns]
    some = np.flatnonzero(trained.any(axis=1))
    sample = table.manifest.sample if sampled else []
    among = np.intersect1d(some, sample) if sample else some
    if not mates:
        among = _one_per_class(table, among, trained)
    out = {arch for arch in among.tolist() if ignores_input(table.space.cell(arch))}
    if not unconnected:
        among = np.setdiff1d(among, list(out))
    archs = among[trained[among].all(axis=1)]
    hits = {}
    for split in HELD_OUT:
        if table.manifest.clips.get(split):
            labels = table.clips(split).labels
            hits[split] = table.predictions(split)[rows[archs]] == labels
        else:
            hits[split] = np.zeros((*rows[archs].shape, 0), np.bool_)
    clips = table.manifest.clips
    passes = table.epochs[-1] * clips["train"] + len(table.epochs) * sum(clips.values())
    macs = table.array("macs")[archs, columns[0]].astype(np.int64)
    return Observations(
        name=table.name,
        recipe=table.manifest.recipe,
        protocol=table.manifest.protocol,
        folds=1,
        seeds=seeds,
        archs=archs,
        classes=np.array([table.space.functional_key(arch) for arch in archs.tolist()], np.str_),
        macs=macs,
        seconds=table.array("train_time_s")[archs][:, columns],
        work=macs * float(passes),
        hits=hits,
        unconnected=0 if unconnected else len(out),
        unfinished=len(among) - len(archs),
        diverged=int((table.has_row()[among][:, columns] & (rows[among] < 0)).sum()),
    )


def _one_per_class(
    table: PublishedTable, archs: NDArray[np.int64], trained: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Of each functional class the member with the most seeds; of equals the lowest index."""
    best: dict[str, tuple[int, int]] = {}
    for arch in archs.tolist():
        candidate = (-int(trained[arch].sum()), arch)
        key = table.space.functional_key(arch)
        best[key] = min(candidate, best.get(key, candidate))
    return np.array(sorted(arch for _, arch in best.values()), np.int64)


def describe_noise(table: PublishedTable) -> list[str]:
    """Paragraphs in Markdown: how large noise is, what is signal, who is apart from the best."""
    observed = observations_of(table)
    cells, seeds = len(observed), len(table.seeds)
    if cells < 3:
        return [f"{cells} connected cells are finished with all seeds: too few to tell the noise."]
    found = worth(observed)
    spreads = _spreads(table)
    lines = []
    for split, signal in found.signals.items():
        parts = "; ".join(_parts(signal, spreads.get(split), seeds))
        lines.append(f"* {SPLIT_NAMES[split]}: {parts}.")
    if found.valid_test is not None:
        lines.append(
            "* Kendall's tau-b of validation and test accuracy: "
            f"{_interval(found.valid_test)} of one training"
            + f", {_interval(found.valid_test_of_means)} of means over seeds" * (seeds > 1)
            + "."
        )
    if seeds == 1:
        lines.append(
            "* One seed: another one moves accuracies by more than the binomial error; by how much "
            "is unknown."
        )
    return [
        f"{_who(table, observed)} Intervals are of 95 %, over cells.",
        "\n".join(lines),
        *_top(table),
    ]


def _who(table: PublishedTable, observed: Observations) -> str:
    """Which cells the statistics are of, and whether these stand for all."""
    cells, sample = len(observed), table.manifest.sample
    if len(table.seeds) == 1:
        return f"Over the {cells:,} connected cells that are trained, one of each functional class."
    if sample:
        return (
            f"Over {cells:,} connected cells with all seeds, of {len(sample):,} whose further "
            "seeds the publisher had trained as a sample of all functional classes, in proportion "
            "to the ranks of their validation accuracy."
        )
    text = f"Over the {cells:,} connected cells, one of each functional class, that have all seeds."
    if observed.unfinished:
        text += (
            f" {observed.unfinished:,} more lack some. Which have them is not said to be random: "
            "if it was for their accuracy, these numbers are not those of all cells."
        )
    return text


def _spreads(table: PublishedTable) -> dict[str, ClassSpread | None]:
    """By split, of members of one class: with the seed of which most were trained."""
    seed = _commonest_seed(table)
    every = observations_of(table, seeds=(seed,), sampled=False, mates=True)
    return {
        split: spread_within_classes(values, every.classes)
        for split, values in every.accuracy.items()
    }


def _commonest_seed(table: PublishedTable) -> int:
    """The seed with which most were trained; of equals the first."""
    trained = (table.prediction_rows >= 0) & ~table.copied
    return table.seeds[int(trained.sum(axis=0).argmax())]


def _parts(signal: Signal, spread: ClassSpread | None, seeds: int) -> Iterator[str]:
    """What there is to say of one split."""
    yield (
        f"one clip is {100 / signal.clips:.2f} points; the binomial standard error over "
        f"{signal.clips} clips is {100 * signal.clip_error:.1f} points"
    )
    if signal.seed_sd is not None:
        shared = signal.shared_sd or 0
        alone = math.sqrt(max(0.0, signal.seed_sd**2 - shared**2))
        yield (
            f"the standard deviation over seeds is {100 * signal.seed_sd:.1f} points: "
            f"{100 * shared:.1f} of what moves all clips alike, and {100 * alone:.1f} of which "
            "clips a seed happens to get right (squares add up)"
        )
    if spread:
        yield (
            f"the standard deviation among {spread.members:,} members of {spread.classes:,} "
            "functional classes, which are the same function, with one seed is "
            f"{100 * spread.sd:.1f} points"
        )
    if signal.single and signal.mean_of_seeds is not None:
        yield (
            f"{_interval(signal.single)} of the variance of one training's accuracy belongs to the "
            f"cell (ICC), {signal.mean_of_seeds:.2f} of that of the mean over {seeds} seeds"
        )
    if signal.better_half:
        yield (
            f"among the better half of the cells, chosen on validation with the first half of the "
            f"seeds and measured with the others, that share is {_interval(signal.better_half)}: "
            "orders among good cells are far less certain than orders among all"
        )
    if signal.between_seeds:
        yield f"Kendall's tau-b of two seeds is {_interval(signal.between_seeds)}"


def _top(table: PublishedTable) -> Iterator[str]:
    """How many of the best can be told from the best: of networks, and of cells over seeds."""
    seed = _commonest_seed(table)
    one_seed = observations_of(table, seeds=(seed,), sampled=False)
    networks = top_tests(one_seed, TOP)
    if networks is None:
        return
    text = (
        f"Of the {len(one_seed):,} connected cells with seed {seed}, the {networks.compared} next "
        f"to the best on validation: {_apart(networks.networks, networks)} by a permutation test "
        "over test clips: these networks, whatever other seeds give."
    )
    every_seed = observations_of(table, sampled=False)
    found = top_tests(every_seed, TOP) if len(table.seeds) > 1 else None
    if found and found.cells:
        choosing, testing = listed(found.cells.chosen_with), listed(found.cells.tested_with)
        text += (
            f" As cells, were they trained with other seeds: of the {len(every_seed):,} with all "
            f"seeds and the {found.compared} next to the best, {_apart(found.cells, found)}, by a "
            f"test over clips and seeds: chosen with seed {choosing}, tested with {testing}."
        )
    yield (
        f"{text} Holm's correction, 5 % in all. Clips count as independent, though few persons "
        "perform them: rather fewer are apart."
    )


def _apart(apart: Apart, found: TopTests) -> str:
    return (
        f"{apart.worse} are worse and {apart.better} better on test clips, and "
        f"{found.compared - apart.worse - apart.better} cannot be told apart (a difference of "
        f"{100 * apart.detectable:.1f} points is found every second time)"
    )


def _interval(found: Estimate | None) -> str:
    return "n/a" if found is None else f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"
