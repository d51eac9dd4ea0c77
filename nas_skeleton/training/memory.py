"""How much memory a training took at its highest, and how it shows that there was too little."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_SHORT = ("out of memory", "can't allocate memory", "not enough memory")


class PeakMemory:
    """Peak memory from now on, in bytes.

    On a GPU: what this process has allocated there. On the CPU: the resident size of the whole
    worker process, with the data set and the libraries in it. Where the system cannot reset its
    high-water mark (other than Linux) it is the highest since the process started.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        elif _CLEAR_REFS.exists():
            try:
                _CLEAR_REFS.write_text("5")  # resets VmHWM, see proc(5)
            except OSError:  # some containers forbid it: then the mark is since the start
                return

    def read(self) -> int:
        """The peak so far, in bytes."""
        if self.device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self.device))
        if _STATUS.exists():
            for line in _STATUS.read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory was short, on the GPU or in the machine."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()  # torch's other allocations say so in words only
    return isinstance(error, RuntimeError) and any(words in text for words in _SHORT)
