"""What the numbers were measured on, in the words a reader needs to judge them."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

import nas_skeleton

_CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Machine:
    """The machine and the libraries; `gpu` is None if training is on the CPU.

    `cores` is how many this process may use, `workers` how many measured, one thread each.
    """

    cpu: str
    cores: int
    workers: int
    gpu: str | None
    torch: str
    nas_skeleton: str
    system: str


def machine(device: Literal["cpu", "cuda"], cores: int, workers: int) -> Machine:
    """This machine."""
    return Machine(
        cpu=_cpu_model(),
        cores=cores,
        workers=workers,
        gpu=torch.cuda.get_device_name() if device == "cuda" else None,
        torch=torch.__version__,
        nas_skeleton=nas_skeleton.__version__,
        system=f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
    )


def _cpu_model() -> str:
    if _CPUINFO.is_file():
        for line in _CPUINFO.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
