"""The search space under NATS-Bench's names: indices, strings and their notations, without numbers.

What was measured in it is `nats_bench`'s business. Indices are those of NATS-Bench.
"""

from __future__ import annotations

import operator
import random
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from nas_skeleton.errors import InputError
from nas_skeleton.spaces import CellSpace
from nas_skeleton.spaces.cell import NODES, OPERATIONS, lists, parse_arch


class TopologySpace:
    """NATS-Bench's topology search space ("tss"): the 15,625 cells of NAS-Bench-201."""

    search_space_name = "topology"
    is_topology = True
    is_size = False

    def __init__(self) -> None:
        self.space = CellSpace()

    def __len__(self) -> int:
        """How many cells there are; those that were trained are `evaluated_indexes`, as there."""
        return len(self.space)

    def __getitem__(self, index: int) -> str:
        return self.meta_archs[index]

    @cached_property
    def meta_archs(self) -> list[str]:
        """The architecture strings of all cells, by index."""
        return [self.space.arch_string(index) for index in range(len(self.space))]

    @cached_property
    def archstr2index(self) -> dict[str, int]:
        """Architecture string -> index, of all cells."""
        return {text: index for index, text in enumerate(self.meta_archs)}

    def arch(self, index: int) -> str:
        """The architecture string at an index."""
        return self.space.arch_string(index)

    def random(self) -> int:
        """A random index, by the global generator of `random`, as there; it may have no row."""
        return random.randint(0, len(self) - 1)

    def query_index_by_arch(self, arch: Any) -> int:
        """The index of a string, an object with `tostr()` or an index; -1 if it is none.

        Raises:
            ValueError: an index that the space does not have.
        """
        text = arch.tostr() if hasattr(arch, "tostr") else arch
        if isinstance(text, str):
            return self.archstr2index.get(text, -1)
        try:
            index = operator.index(text)
        except TypeError:
            return -1
        if not 0 <= index < len(self):
            raise ValueError(f"invalid architecture index {index}: 0 to {len(self) - 1}")
        return index

    def get_unique_str(self, arch: Any) -> str:
        """Equal for cells that NATS-Bench takes for one: 6,466 different ones.

        `Benchmark` rows have a `functional_key`, which is exact.
        """
        return self.space.nb201_key(self.checked_index(arch))

    def checked_index(self, arch: Any) -> int:
        """What `query_index_by_arch` finds.

        Raises:
            InputError: no architecture is meant.
            ValueError: an index that the space does not have.
        """
        index = self.query_index_by_arch(arch)
        if index < 0:
            raise InputError(f"not an architecture of NAS-Bench-201: {arch!r:.120}")
        return index

    @staticmethod
    def str2lists(arch_str: str) -> list[tuple[tuple[str, int], ...]]:
        """The (operation, source node) pairs of nodes 1, 2 and 3."""
        return [tuple(node) for node in lists(parse_arch(arch_str))]

    @staticmethod
    def str2matrix(arch_str: str, search_space: Sequence[str] = OPERATIONS) -> Any:
        """The cell as a 4x4 array: row target, column source, entry the place of its operation."""
        found = np.zeros((NODES, NODES))
        for target, node in enumerate(lists(parse_arch(arch_str)), start=1):
            for operation, source in node:
                found[target, source] = search_space.index(operation)
        return found
