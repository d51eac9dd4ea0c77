"""The engine `native`: kernels in C++ for a whole training step on a CPU core."""

from nas_skeleton.training.engines.native.engine import Native
from nas_skeleton.training.engines.native.library import available

__all__ = ["Native", "available"]
