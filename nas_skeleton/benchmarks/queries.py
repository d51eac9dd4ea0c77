"""What a published table costs its user: how long it loads, what memory it takes, queries a second.

Measured in a process of its own, on a published table or on a made-up one of full size: 15,625
architectures with three seeds, each a training of its own, evaluated after 30 epochs. A real one
has a third of the trainings, for most architectures are copies.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from statistics import median

from nas_skeleton.benchmarks import query_process
from nas_skeleton.benchmarks.bookkeeping import scratch_folder
from nas_skeleton.benchmarks.query_process import QueryCost
from nas_skeleton.benchmarks.store import Watch, make_run
from nas_skeleton.errors import InputError
from nas_skeleton.published.files import find_published
from nas_skeleton.published.publish import publish
from nas_skeleton.spaces.space import CELLS

TRAININGS = 3 * CELLS  # of the made-up table
TIMES = 5  # processes that load it


def measure_queries(name: str | None, watch: Watch) -> QueryCost:
    """Load the table `name` in several processes and ask it; None: a made-up one.

    Raises:
        InputError: no such table, or a damaged one.
    """
    if name is not None:
        return _median_of(find_published(name), watch)
    with scratch_folder():
        run = make_run(TRAININGS, watch)
        publish([run], "made-up", Path("published"), watch=lambda steps: watch("parts", steps))
        return _median_of(Path("published/made-up"), watch)


def _median_of(folder: Path, watch: Watch) -> QueryCost:
    """That of several processes with the median time to load."""
    advance = watch("processes", TIMES)
    found = []
    for _ in range(TIMES):
        line = [sys.executable, "-m", query_process.__name__, str(folder.absolute())]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise InputError(f"{folder}: cannot be asked: {done.stderr.strip()[-500:]}")
        found.append(QueryCost(**json.loads(done.stdout)))
        advance()
    load_s = median(cost.load_s for cost in found)
    return min(found, key=lambda cost: abs(cost.load_s - load_s))
