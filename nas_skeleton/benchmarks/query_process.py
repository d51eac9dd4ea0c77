"""A process that loads a published table, asks it, and prints what that took (see `queries`).

Nothing is imported here that a user of the table would not import, but for what looks at memory.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

SECONDS = 0.5  # that each kind of query is repeated


@dataclass(frozen=True)
class QueryCost:
    """What one process took.

    Attributes:
        table: name of the table.
        rows: architectures times seeds that have a row.
        disk_mb: size of its folder.
        import_s: until `nas_skeleton.Benchmark` is there.
        load_s: `Benchmark.load`, checksum included.
        memory_mb: resident in the process after that, Python and libraries included.
        per_second: kind of query -> how many in a second.
        arrays_s: until curves of all trainings and their predictions on test clips are arrays.
        all_memory_mb: resident in the process at the end.
    """

    table: str
    rows: int
    disk_mb: float
    import_s: float
    load_s: float
    memory_mb: float
    per_second: dict[str, float]
    arrays_s: float
    all_memory_mb: float


def ask(folder: Path) -> QueryCost:
    """Load a table in this process, which has done nothing yet, and ask it."""
    start = time.perf_counter()
    from nas_skeleton.published.benchmark import Benchmark

    imported = time.perf_counter()
    table = Benchmark.load(folder)
    loaded = time.perf_counter()
    process = psutil.Process()
    memory = process.memory_info().rss
    made = table.manifest()
    seed, epoch = made.seeds[0], made.epochs[0]
    archs = [a for a, p in enumerate(table.array("params")[:, 0].tolist()) if p == p]
    strings = [table.space.arch_string(arch) for arch in archs]
    asked: dict[str, Callable[[int], object]] = {
        "by index and seed": lambda i: table.query(archs[i], seed=seed),
        "by string and seed": lambda i: table.query(strings[i], seed=seed),
        "by index, mean over seeds": lambda i: table.query(archs[i], aggregate="mean"),
        "by index, seed and epoch": lambda i: table.query(archs[i], seed=seed, epoch=epoch),
    }
    per_second = {kind: _rate(query, len(archs)) for kind, query in asked.items()}
    start_arrays = time.perf_counter()
    table.curves("valid_top1")
    table.table().predictions("test")
    return QueryCost(
        table=made.name,
        rows=made.trained + made.copied + made.diverged,
        disk_mb=sum(path.stat().st_size for path in folder.iterdir()) / 1e6,
        import_s=imported - start,
        load_s=loaded - imported,
        memory_mb=memory / 1e6,
        per_second=per_second,
        arrays_s=time.perf_counter() - start_arrays,
        all_memory_mb=process.memory_info().rss / 1e6,
    )


def _rate(query: Callable[[int], object], count: int) -> float:
    """Calls a second, going round the architectures."""
    query(0)
    start = time.perf_counter()
    for done in itertools.count(1):
        query(done % count)
        if done % 100 == 0 and (took := time.perf_counter() - start) > SECONDS:
            return done / took
    raise AssertionError


if __name__ == "__main__":
    print(json.dumps(asdict(ask(Path(sys.argv[1])))))
