"""Shards: which part of a plan an array task of a cluster, or one of several machines, trains.

A shard depends on the plan, the efforts and the number of shards and on nothing else: not on what
is done already, nor on how fast a node is. So tasks need not talk to each other, and an array may
be resubmitted with another size at any time. Which part is meant is said by `--shard I/N`, or by
the variables in which Slurm, PBS, SGE and LSF number the tasks of an array.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nas_skeleton.errors import InputError

if TYPE_CHECKING:
    from nas_skeleton.training.job import Job

# What a user sets where an array does not tell its size, or is only a part of the first one.
SIZE = "NAS_SKELETON_SHARDS"
DEFAULT_SHARDS = 100  # where nobody says how many; fewer than any cluster's limit on arrays
_COUNT_FILE = "shards.json"
_SLURM, _SGE, _LSF = "SLURM_ARRAY_TASK_ID", "SGE_TASK_ID", "LSB_JOBINDEX"
_TASK_IDS = (_SLURM, "PBS_ARRAY_INDEX", "PBS_ARRAYID", _SGE, _LSF)
_NO_ARRAY = {"", "undefined"}  # what SGE says outside arrays is the second


@dataclass(frozen=True)
class Shard:
    """Part `index` of `count`, 0 <= index < count; `source` is where it was read, for the user."""

    index: int
    count: int
    source: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def parse_shard(text: str) -> Shard:
    """The shard that "3/100" means: the fourth of a hundred.

    Raises:
        InputError: it means none.
    """
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text.strip())
    if match is None or int(match[1]) >= int(match[2]):
        raise InputError(
            f"--shard {text!r}: give I/N with I from 0 to N-1; the first of 100 is 0/100"
        )
    return Shard(int(match[1]), int(match[2]), "--shard")


def shard_from_environment(environ: Mapping[str, str]) -> Shard | None:
    """The shard of the array task that has these environment variables; None outside arrays.

    Raises:
        InputError: the array does not tell which part of what this is, or nonsense.
    """
    for name in _TASK_IDS:
        text = environ.get(name, "").strip()
        if text not in _NO_ARRAY and not (name == _LSF and text == "0"):
            break
    else:
        return None
    task = _whole(name, text)
    ids: range | None
    if said := environ.get(SIZE, "").strip():
        ids, source = _written_array(said), f"{name}={task} and {SIZE}={said}"
    else:
        ids, source = _ids_of_array(environ, name), f"{name}={task}"
        if name == _LSF:
            source += f", taking the array to begin at 1 (if it does not, set {SIZE})"
    if ids is None:
        raise InputError(
            f"{name}={task}: the environment does not tell of how many tasks this is one: set "
            f"{SIZE} to the array as it was first written, such as 0-99, or give --shard I/N"
        )
    if task not in ids:
        raise InputError(
            f"{source}: no such task; set {SIZE} to the array as it was first written, such as "
            "0-99, or give --shard I/N"
        )
    return Shard(ids.index(task), len(ids), source)


def shards_of(work: Sequence[float], count: int) -> list[int]:
    """Which of `count` shards each job belongs to, given the work each is, in any unit.

    Numbers of jobs differ by at most one between shards, and sums of work by little: jobs are dealt
    in rounds of one per shard, the dearest first, and in each round the shard that has the least so
    far gets the dearest. As both numbers and sums are even, so are real times, whatever constant
    they have beside what is proportional to the work.
    """
    shards = [0] * len(work)
    order = sorted(range(len(work)), key=lambda job: (-work[job], job))
    sums = [0.0] * min(count, len(work))  # further shards are empty
    for first in range(0, len(order), count):
        lightest_first = sorted(range(len(sums)), key=lambda shard: (sums[shard], shard))
        for shard, job in zip(lightest_first, order[first : first + count], strict=False):
            shards[job] = shard
            sums[shard] += work[job]
    return shards


def shards_with(
    left: Iterable[Job], jobs: Sequence[Job], work: Sequence[float], count: int
) -> list[int]:
    """Which of `count` shards of the plan `jobs`, of so much work each, hold jobs that are left."""
    shard_of = {job.key: part for job, part in zip(jobs, shards_of(work, count), strict=True)}
    return sorted({shard_of[job.key] for job in left})


def remember_count(run_folder: Path, count: int) -> None:
    """Note into how many shards a run was divided the last time, for `remembered_count`.

    One is no division: who asks for all of an array's work does not forget the array.

    Raises:
        OSError: the disk is full or read-only.
    """
    if count > 1 and remembered_count(run_folder) != count:
        temporary = run_folder / f".{_COUNT_FILE}.{os.getpid()}.tmp"
        temporary.write_text(json.dumps({"count": count}) + "\n", encoding="utf-8")
        temporary.replace(run_folder / _COUNT_FILE)


def remembered_count(run_folder: Path) -> int | None:
    """Into how many shards a run was divided the last time; None if it never was."""
    try:
        count = json.loads((run_folder / _COUNT_FILE).read_text(encoding="utf-8"))["count"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return count if isinstance(count, int) and count > 0 else None


def in_ranges(numbers: Sequence[int]) -> str:
    """Whole numbers, ascending and different, as `sbatch --array` takes them: "3,17-20"."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1][1:] = [number]
        else:
            parts.append([number])
    return ",".join("-".join(map(str, part)) for part in parts)


def _ids_of_array(environ: Mapping[str, str], name: str) -> range | None:
    """The task ids of the array, in order; None if its variables do not tell."""

    def number(variable: str) -> int:
        return _whole(variable, environ[variable].strip())

    try:
        if name == _SLURM:
            prefix = "SLURM_ARRAY_TASK_"
            ids = range(number(prefix + "MIN"), number(prefix + "MAX") + 1, number(prefix + "STEP"))
            # An array like 3,17-20 has a smallest and a largest id too, but not all between.
            return ids if len(ids) == number(prefix + "COUNT") else None
        if name == _SGE:
            prefix = "SGE_TASK_"
            return range(
                number(prefix + "FIRST"), number(prefix + "LAST") + 1, number(prefix + "STEPSIZE")
            )
        if name == _LSF:  # which does not tell its first id: it is 1 unless somebody wants trouble
            return range(1, number(name + "_END") + 1, number(name + "_STEP"))
    except (KeyError, ValueError):  # a variable is missing, or a step of 0
        pass
    return None


def _written_array(text: str) -> range:
    """The task ids "100" (0 to 99), "1-100" and "1-199:2" mean; "%10" at the end is no matter.

    Raises:
        InputError: it means none.
    """
    match = re.fullmatch(r"([0-9]{1,9})(?:-([0-9]{1,9})(?::([0-9]{1,9}))?)?(?:%[0-9]+)?", text)
    if match is not None:
        first, last, step = (int(part) if part else None for part in match.groups())
        if last is None:
            ids = range(first or 0)
        else:
            ids = (
                range(first or 0, last + 1, 1 if step is None else step) if step != 0 else range(0)
            )
        if ids:
            return ids
    raise InputError(
        f"{SIZE}={text!r}: give the number of tasks, 100, or the array, 1-100 or 1-199:2"
    )


def _whole(variable: str, text: str) -> int:
    if re.fullmatch(r"[0-9]{1,9}", text) is None:
        raise InputError(f"{variable}={text!r}: not a whole number; give --shard I/N instead")
    return int(text)
