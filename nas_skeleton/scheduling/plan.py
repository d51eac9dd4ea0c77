"""The plan of a run: from a strategy and seeds to jobs."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

from nas_skeleton.errors import InputError
from nas_skeleton.results.run import Arguments, Run
from nas_skeleton.spaces import SearchSpace
from nas_skeleton.strategies import Exhaustive, Setting, Strategy, build_strategy
from nas_skeleton.training.job import Job


def planned_strategy(arguments: Arguments, space: SearchSpace) -> Strategy:
    """The strategy of a run whose trials can be planned; a random one draws with the first seed.

    Raises:
        InputError: unknown strategy, or one that must hear results.
    """
    if arguments.archs is not None:
        return Exhaustive(arguments.archs)
    if arguments.strategy == "exhaustive" and arguments.one_per_class:
        return Exhaustive(sorted(members[0] for members in space.functional_classes().values()))
    strategy = build_strategy(arguments.strategy, Setting(space, arguments.seeds[0]))
    if strategy.learns:
        raise InputError(
            f"--strategy {arguments.strategy} decides by results: it cannot be planned"
        )
    return strategy


def planned_pairs(arguments: Arguments, space: SearchSpace) -> Iterator[tuple[int, int]]:
    """Architecture and seed of all jobs of a run, in the order they are trained.

    Per architecture all its seeds. Within a run they are as good as the keys of jobs, and quicker.
    """
    strategy = planned_strategy(arguments, space)
    proposed = 0
    while arguments.trials is None or proposed < arguments.trials:
        trial = strategy.ask()
        if trial is None:
            return
        proposed += 1
        for seed in arguments.seeds:
            yield trial.arch_index, seed


def planned_jobs(arguments: Arguments, space: SearchSpace) -> Iterator[Job]:
    """All jobs of a run, in the order they are trained: per architecture all its seeds."""
    for arch, seed in planned_pairs(arguments, space):
        yield job_of(arguments, arch, seed)


def job_of(arguments: Arguments, arch: int, seed: int) -> Job:
    """The job of a run that trains an architecture with a seed."""
    return Job(
        space=arguments.space,
        arch_index=arch,
        dataset=arguments.dataset,
        fingerprint=arguments.fingerprint,
        protocol=arguments.protocol,
        recipe=arguments.recipe,
        recipe_hash=arguments.recipe_hash,
        seed=seed,
    )


def missing_jobs(run: Run, jobs: Iterable[Job]) -> list[Job]:
    """Those of `jobs` without a settled row in the run's store; failed ones are among them."""
    settled = run.settled_keys()
    return [job for job in jobs if job.key not in settled]


def in_groups(jobs: Sequence[Job], workers: int, side_by_side: int) -> list[Sequence[Job]]:
    """`jobs` in groups of at most `side_by_side`, as few as keep all workers busy to the end.

    Groups are of one size, give or take one job, and as many as a multiple of `workers`, unless
    there are fewer jobs.
    """
    rounds = -(-len(jobs) // (workers * side_by_side))
    count = min(rounds * workers, len(jobs))
    bounds = [len(jobs) * i // max(1, count) for i in range(count + 1)]
    return [jobs[start:end] for start, end in itertools.pairwise(bounds)]
