"""How many cores this process may use."""

from __future__ import annotations

import os

# Where Slurm, PBS, SGE and LSF say how many cores a job has on its node; the first that is set.
CORES_OF_JOB = (
    *("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"),
    *("NCPUS", "NSLOTS", "LSB_DJOB_NUMPROC"),
)


def usable_cores() -> int:
    """Cores this process may use: those of a cluster's job, even where nothing holds it to them."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    said = [text for name in CORES_OF_JOB if (text := os.environ.get(name, "")).isdecimal()]
    return min(cores, max(1, int(said[0]))) if said else cores
