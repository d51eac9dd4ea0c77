"""The search space on paper: cells, their order, which are the same function, what they cost.

Pure Python: nothing here knows torch, data or training.
"""

from nas_skeleton.spaces.cell import Cell
from nas_skeleton.spaces.costs import Cost
from nas_skeleton.spaces.load import Space, load_space
from nas_skeleton.spaces.space import CellSpace

__all__ = ["Cell", "CellSpace", "Cost", "Space", "load_space"]
