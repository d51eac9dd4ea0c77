"""nas_skeleton: train, store and study every cell of a NAS space on skeleton action recognition.

import nas_skeleton as ns
space = ns.load_space("nb201")
data = ns.load_dataset("utdmhad")
net = ns.build_network("nb201", 6111, dataset=data, recipe="quick", seed=777)
table = ns.Benchmark.load("utdmhad")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from nas_skeleton.network.build import build_network
    from nas_skeleton.published.benchmark import Benchmark
    from nas_skeleton.skeletons.store import load_dataset
    from nas_skeleton.spaces import load_space

_HOMES = {  # loaded when first asked for: torch alone takes more than a second
    "Benchmark": "nas_skeleton.published.benchmark",
    "build_network": "nas_skeleton.network.build",
    "load_dataset": "nas_skeleton.skeletons.store",
    "load_space": "nas_skeleton.spaces",
}

__all__ = ["Benchmark", "build_network", "load_dataset", "load_space"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
