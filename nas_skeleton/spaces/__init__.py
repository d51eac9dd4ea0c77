"""Search spaces on paper: cells, their order, which are the same function, what they cost.

Pure Python: nothing here knows torch, data or training.
"""

from nas_skeleton.spaces.cell import Cell
from nas_skeleton.spaces.costs import Cost
from nas_skeleton.spaces.load import (
    Architecture,
    ModelSpace,
    SearchSpace,
    Space,
    find_model,
    load_any_space,
    load_space,
)
from nas_skeleton.spaces.models import Model
from nas_skeleton.spaces.space import CellSpace

__all__ = [
    "Architecture",
    "Cell",
    "CellSpace",
    "Cost",
    "Model",
    "ModelSpace",
    "SearchSpace",
    "Space",
    "find_model",
    "load_any_space",
    "load_space",
]
