"""Engines: how candidates are computed. Each computes the same function and differs in speed.

Pick one with `candidates_of`, which imports what it needs and nothing else: the names are here for
commands too, which must not load torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from nas_skeleton.spaces import Architecture
    from nas_skeleton.training.candidates import Candidates, Problem, State

EngineName = Literal["reference", "fast", "native", "cuda-graph", "packed"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)

# Where a candidate goes that an engine cannot train: unsupported, or out of memory.
FALLBACK: dict[EngineName, EngineName] = {
    "native": "fast",
    "cuda-graph": "fast",
    "packed": "cuda-graph",
}

# How many candidates one worker advances at a time, where the user does not say.
SIDE_BY_SIDE: dict[EngineName, int] = {"cuda-graph": 8, "packed": 64}


def candidates_of(
    engine: EngineName,
    problem: Problem,
    archs: Sequence[Architecture],
    states: Sequence[State],
) -> Candidates:
    """Candidates under training on `engine`.

    Raises:
        Unsupported: the engine cannot train them here; the message says why.
        torch.OutOfMemoryError: they do not fit on the device together.
    """
    if engine == "reference":
        from nas_skeleton.training.engines.eager import Reference

        return Reference(problem, archs, states)
    if engine == "fast":
        from nas_skeleton.training.engines.eager import Fast

        return Fast(problem, archs, states)
    if engine == "native":
        from nas_skeleton.training.engines.native import Native

        return Native(problem, archs, states)
    if engine == "packed":
        from nas_skeleton.training.engines.packed import Packed

        return Packed(problem, archs, states)
    from nas_skeleton.training.candidates import Unsupported
    from nas_skeleton.training.engines.cuda_graph import CudaGraph

    if problem.task.device.type != "cuda":
        raise Unsupported("cuda-graph needs a GPU")
    return CudaGraph(problem, archs, states)
