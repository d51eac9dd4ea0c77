"""What a recipe's `precision` means to PyTorch: TensorFloat-32 flags and autocast, set locally.

"float32" is IEEE arithmetic on every device: on a GPU PyTorch's own default lets convolutions round
their inputs to TensorFloat-32. Weights, momentum and running statistics keep the task's precision.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from nas_skeleton.training.candidates import Problem, Unsupported


class Arithmetic:
    """How the operations of one problem's trainings are rounded.

    Raises:
        Unsupported: the recipe asks for "tf32" or "bfloat16" without a GPU, or for inputs that are
            not float32.
    """

    def __init__(self, problem: Problem) -> None:
        self.precision = problem.recipe.precision
        task = problem.task
        if self.precision != "float32" and task.device.type != "cuda":
            raise Unsupported(f"precision {self.precision!r} needs a GPU")
        if self.precision != "float32" and task.dtype != torch.float32:
            raise Unsupported(f"precision {self.precision!r} is for float32 inputs")

    @contextmanager
    def flags(self) -> Iterator[None]:
        """Around a whole step, its backward pass included; restores what was set before."""
        wanted = "tf32" if self.precision == "tf32" else "ieee"
        places = (
            torch.backends.cudnn.conv,  # type: ignore[attr-defined]
            torch.backends.cuda.matmul,
        )
        before = [place.fp32_precision for place in places]
        try:
            for place in places:
                place.fp32_precision = wanted
            yield
        finally:
            for place, value in zip(places, before, strict=True):
                place.fp32_precision = value

    def forward(self) -> AbstractContextManager[object]:
        """Around forward passes and the loss only."""
        if self.precision != "bfloat16":
            return nullcontext()
        # Without the cache, which would outlive the capture of a CUDA graph.
        return torch.autocast("cuda", dtype=torch.bfloat16, cache_enabled=False)
