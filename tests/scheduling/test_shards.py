"""Shards: every training in exactly one, evenly, and the same wherever and whenever one asks."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_skeleton.errors import InputError
from nas_skeleton.scheduling.shards import (
    SIZE,
    Shard,
    in_ranges,
    parse_shard,
    shard_from_environment,
    shards_of,
)

efforts_of_plans = st.lists(st.floats(0.1, 1e9), max_size=300)


@given(efforts_of_plans, st.integers(1, 400))
def test_every_job_is_in_one_shard_and_counts_differ_by_at_most_one(efforts, count):
    shards = shards_of(efforts, count)
    assert len(shards) == len(efforts)
    assert set(shards) <= set(range(count))
    counts = [shards.count(shard) for shard in range(count)]
    assert max(counts) - min(counts) <= 1


@given(efforts_of_plans, st.integers(1, 400))
def test_sums_differ_by_no_more_than_the_dearest_job(efforts, count):
    shards = shards_of(efforts, count)
    sums = [0.0] * count
    for shard, effort in zip(shards, efforts, strict=True):
        sums[shard] += effort
    assert max(sums) - min(sums) <= max(efforts, default=0.0) * (1 + 1e-9)


def test_shards_do_not_depend_on_the_order_of_unequal_jobs():
    generator = random.Random(1)
    efforts = [generator.uniform(1, 30) for _ in range(500)]
    order = generator.sample(range(500), 500)
    shards = shards_of(efforts, 7)
    assert shards_of([efforts[job] for job in order], 7) == [shards[job] for job in order]


@pytest.mark.parametrize(("constant", "slope"), [(1.0, 0.0), (0.0, 1.0), (30.0, 1.0), (1.0, 30.0)])
def test_a_whole_space_is_balanced_whatever_a_unit_of_effort_takes(constant, slope):
    generator = random.Random(777)
    efforts = [generator.choice((1.0, 2.0, 5.0)) * generator.uniform(1, 5) for _ in range(15625)]
    sums = [0.0] * 100
    for shard, effort in zip(shards_of(efforts, 100), efforts, strict=True):
        sums[shard] += constant + slope * effort
    assert max(sums) / (sum(sums) / 100) < 1.01


def test_more_shards_than_jobs_leave_some_empty():
    assert sorted(shards_of([3.0, 1.0, 2.0], 10**9)) == [0, 1, 2]
    assert shards_of([], 5) == []


@pytest.mark.parametrize("text", ["0/1", "3/100", " 99/100 "])
def test_a_shard_is_written_as_it_is_read(text):
    assert str(parse_shard(text)) == text.strip()


@pytest.mark.parametrize(
    "text", ["", "3", "100/100", "3/0", "-1/5", "1/5/9", "a/b", "1.0/5", "³/5", "0/" + "9" * 5000]
)
def test_what_is_no_shard_is_refused_in_one_line(text):
    with pytest.raises(InputError, match=r"^--shard .*the first of 100 is 0/100$"):
        parse_shard(text)


def slurm(task, first, last, step, count):
    names = ("ID", "MIN", "MAX", "STEP", "COUNT")
    values = (task, first, last, step, count)
    return {
        f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in zip(names, values, strict=True)
    }


def sge(task, first, last, step):
    return {
        "SGE_TASK_ID": task,
        "SGE_TASK_FIRST": first,
        "SGE_TASK_LAST": last,
        "SGE_TASK_STEPSIZE": step,
    }


def lsf(task, last, step):
    return {"LSB_JOBINDEX": task, "LSB_JOBINDEX_END": last, "LSB_JOBINDEX_STEP": step}


@pytest.mark.parametrize(
    ("environ", "shard"),
    [
        ({}, None),
        ({SIZE: "100"}, None),
        (slurm(0, 0, 99, 1, 100), Shard(0, 100)),
        (slurm(99, 0, 99, 1, 100), Shard(99, 100)),
        (slurm(1, 1, 100, 1, 100), Shard(0, 100)),
        (slurm(7, 1, 10, 3, 4), Shard(2, 4)),
        (slurm(17, 17, 17, 1, 1), Shard(0, 1)),
        (slurm(17, 3, 20, 1, 5) | {SIZE: "100"}, Shard(17, 100)),
        (slurm(17, 17, 17, 1, 1) | {SIZE: "1-100"}, Shard(16, 100)),
        (slurm(5, 3, 7, 1, 5) | {SIZE: "1-199:2%10"}, Shard(2, 100)),
        ({"PBS_ARRAY_INDEX": "3", SIZE: "0-9"}, Shard(3, 10)),
        ({"PBS_ARRAYID": "3", SIZE: " 10 "}, Shard(3, 10)),
        (sge("undefined", "undefined", "undefined", "undefined"), None),
        (sge("3", "1", "10", "1"), Shard(2, 10)),
        (sge("5", "1", "9", "4"), Shard(1, 3)),
        (sge("9", "1", "10", "4"), Shard(2, 3)),
        (sge("9", "1", "10", "4") | {SIZE: "1-10"}, Shard(8, 10)),
        (lsf("0", "0", "0"), None),
        (lsf("10", "10", "1"), Shard(9, 10)),
        (lsf("5", "10", "2"), Shard(2, 5)),
        (lsf("7", "10", "1") | {SIZE: "5-10"}, Shard(2, 6)),
    ],
)
def test_array_tasks_know_their_shard(environ, shard):
    assert shard_from_environment(environ) == shard


def test_a_shard_says_where_it_was_read():
    environ = slurm(17, 3, 20, 1, 5)
    assert shard_from_environment(environ | {SIZE: "100"}).source == (
        "SLURM_ARRAY_TASK_ID=17 and NAS_SKELETON_SHARDS=100"
    )


@given(
    st.integers(0, 1000), st.integers(1, 50), st.integers(1, 60), st.sampled_from([slurm, sge, lsf])
)
def test_the_tasks_of_a_regular_array_are_all_shards_once(first, step, count, scheduler):
    first = 1 if scheduler is lsf else first
    last = first + step * (count - 1)
    shards = []
    for task in range(first, last + 1, step):
        arguments = {slurm: (first, last, step, count), sge: (first, last, step), lsf: (last, step)}
        said = scheduler(task, *arguments[scheduler])
        shards.append(shard_from_environment({name: str(value) for name, value in said.items()}))
    assert shards == [Shard(index, count) for index in range(count)]


@pytest.mark.parametrize(
    ("environ", "parts"),
    [
        (slurm(17, 3, 20, 1, 5), ("SLURM_ARRAY_TASK_ID=17", SIZE, "--shard I/N")),
        ({"SLURM_ARRAY_TASK_ID": "3"}, ("SLURM_ARRAY_TASK_ID=3", SIZE, "--shard I/N")),
        (slurm(3, 0, 9, 0, 10), ("SLURM_ARRAY_TASK_ID=3", SIZE)),
        ({"PBS_ARRAY_INDEX": "3"}, ("PBS_ARRAY_INDEX=3", SIZE, "--shard I/N")),
        ({"PBS_ARRAYID": "3"}, ("PBS_ARRAYID=3", SIZE, "--shard I/N")),
        ({"SGE_TASK_ID": "3"}, ("SGE_TASK_ID=3", SIZE)),
        (lsf("4", "10", "2"), ("LSB_JOBINDEX=4", "no such task", SIZE)),
        (lsf("4", "", "2"), ("LSB_JOBINDEX_END=''",)),
        (slurm("x", 0, 9, 1, 10), ("SLURM_ARRAY_TASK_ID='x'", "--shard I/N")),
        (slurm(3, 0, "nine", 1, 10), ("SLURM_ARRAY_TASK_MAX='nine'",)),
        (slurm(100, 100, 100, 1, 1) | {SIZE: "100"}, ("=100 and", "no such task", "--shard I/N")),
        (slurm(4, 4, 4, 1, 1) | {SIZE: "1-199:2"}, ("=4 and", "no such task")),
        *(
            (slurm(3, 0, 9, 1, 10) | {SIZE: text}, (SIZE, repr(text), "1-199:2"))
            for text in ("0", "many", "9-1", "1-9:0", "1,3", "-5", "1-", "9" * 5000)
        ),
    ],
)
def test_an_unclear_array_is_one_line_with_the_way_out(environ, parts):
    with pytest.raises(InputError) as refused:
        shard_from_environment(environ)
    for part in parts:
        assert part in str(refused.value)
    assert "\n" not in str(refused.value)


@given(st.sets(st.integers(0, 300)))
def test_ranges_name_every_number_once(numbers):
    text = in_ranges(sorted(numbers))
    found = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    assert found == sorted(numbers)


def test_ranges_are_compressed():
    assert in_ranges([3, 17, 18, 19, 20]) == "3,17-20"
