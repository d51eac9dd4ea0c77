"""The order of the cells: which index a cell has in NAS-Bench-201, NATS-Bench and HW-NAS-Bench.

Those benchmarks list all cells lexicographically (operations in the order of `OPERATIONS`, the last
edge fastest) and shuffle the list once with Python's Mersenne Twister, seed 88. Published tables
hold on to that order, so it is checked whenever it is made.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from functools import cache

from nas_skeleton.spaces.cell import EDGES, OPERATIONS, Cell, arch_string

SHUFFLE_SEED = 88
# SHA-256 of all architecture strings in index order, joined by line feeds, as NATS-Bench has them.
ORDER_SHA256 = "83abc799e45cf34e9d2163654668ab998b9a54d01c39e72ca1f71f2cdf356d84"


@cache
def nats_bench_order() -> tuple[Cell, ...]:
    """All 15,625 cells, each at its NATS-Bench topology-space index.

    Raises:
        RuntimeError: this Python shuffles differently, so that every index would be wrong.
    """
    cells = [Cell(ops) for ops in itertools.product(range(len(OPERATIONS)), repeat=len(EDGES))]
    # Shuffling the cells moves them exactly as shuffling their positions would.
    random.Random(SHUFFLE_SEED).shuffle(cells)
    if order_sha256(cells) != ORDER_SHA256:
        raise RuntimeError(
            "random.shuffle of this Python no longer gives the order of NATS-Bench: every "
            "architecture index would be wrong; use a Python version the package is tested with"
        )
    return tuple(cells)


def order_sha256(cells: list[Cell]) -> str:
    """Fingerprint of an order of cells: SHA-256 of their architecture strings, one per line."""
    return hashlib.sha256("\n".join(map(arch_string, cells)).encode()).hexdigest()
