from dataclasses import replace

import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.results.run import Arguments
from nas_skeleton.scheduling.plan import in_groups, planned_jobs
from nas_skeleton.spaces import load_space

ARGUMENTS = Arguments(
    space="nb201",
    dataset="utdmhad",
    protocol="thesis",
    recipe="quick",
    strategy="random",
    seeds=[777, 888],
    fingerprint="f",
    recipe_hash="h",
    trials=5,
)
SPACE = load_space("nb201")


def test_every_architecture_is_trained_with_every_seed_one_after_the_other():
    jobs = list(planned_jobs(ARGUMENTS, SPACE))
    assert [job.seed for job in jobs] == [777, 888] * 5
    assert [job.arch_index for job in jobs[::2]] == [job.arch_index for job in jobs[1::2]]
    assert len({job.key for job in jobs}) == 10


def test_more_trials_begin_with_the_same_jobs():
    few, many = (list(planned_jobs(replace(ARGUMENTS, trials=n), SPACE)) for n in (5, 50))
    assert many[:10] == few


def test_exhaustive_plans_the_whole_space_in_index_order():
    arguments = replace(ARGUMENTS, strategy="exhaustive", trials=None, seeds=[1])
    assert [job.arch_index for job in planned_jobs(arguments, SPACE)] == list(range(15625))


def test_one_per_class_plans_the_lowest_index_of_each_functional_class():
    arguments = replace(
        ARGUMENTS, strategy="exhaustive", trials=None, seeds=[1], one_per_class=True
    )
    archs = [job.arch_index for job in planned_jobs(arguments, SPACE)]
    assert len(archs) == 5234
    assert all(SPACE.representative(arch) == arch for arch in archs)


def test_given_architectures_need_no_strategy():
    arguments = replace(ARGUMENTS, strategy="given", archs=[6111], trials=None)
    assert [(job.arch_index, job.seed) for job in planned_jobs(arguments, SPACE)] == [
        (6111, 777),
        (6111, 888),
    ]


def test_unknown_strategy_lists_the_known_ones():
    with pytest.raises(InputError, match=r"'bogus'.*random, exhaustive"):
        list(planned_jobs(replace(ARGUMENTS, strategy="bogus"), SPACE))


@pytest.mark.parametrize(
    ("jobs", "workers", "side_by_side", "sizes"),
    [
        (5, 2, 1, [1, 1, 1, 1, 1]),
        (200, 2, 64, [50, 50, 50, 50]),
        (70, 2, 64, [35, 35]),  # not 64 and 6: one worker would wait for the other
        (100, 1, 64, [50, 50]),
        (9, 4, 8, [2, 2, 2, 3]),
        (3, 4, 8, [1, 1, 1]),
        (0, 4, 8, []),
    ],
)
def test_groups_are_as_large_as_they_may_be_without_a_worker_left_idle(
    jobs, workers, side_by_side, sizes
):
    groups = in_groups(range(jobs), workers, side_by_side)
    assert [len(group) for group in groups] == sizes
    assert [job for group in groups for job in group] == list(range(jobs))
