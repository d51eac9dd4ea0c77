"""Names of the hand-designed reference models; the networks themselves are in `network.models`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

ModelName = Literal["stgcn", "agcn", "aagcn", "asgcn", "msg3d", "ctrgcn", "stgcn++"]
MODEL_NAMES: tuple[ModelName, ...] = get_args(ModelName)


@dataclass(frozen=True, slots=True)
class Model:
    """One reference model, where a space of cells has a `Cell`."""

    name: ModelName

    def __str__(self) -> str:
        return self.name
