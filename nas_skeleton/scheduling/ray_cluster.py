"""The cluster that `--executor ray` trains on: a new one on this machine, or one at RAY_ADDRESS.

Device and engine are chosen, and times forecast, by the machine the command runs on: the nodes of a
cluster should be like it. A new cluster ends with the command, however that ends. Nobody but its
user reaches it: it listens on the loopback address only, and asks for a token that is written to no
file.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nas_skeleton.errors import InputError, StoppedEarly
from nas_skeleton.processes import SIGNALS

if TYPE_CHECKING:
    from nas_skeleton.scheduling.means import Means

CONNECT_S = 5.0
OBJECT_STORE = 80 * 2**20  # bytes, about the least Ray takes; outcomes hardly need it
QUIET = {"RAY_DEDUP_LOGS_SKIP_REGEX": "."}  # dead workers are reported by `feed` already
PRIVATE = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # keeps Ray on the loopback address, on Linux too
}


def connect(workers: int, device: Literal["cpu", "cuda"], files: Path) -> Any:
    """The module `ray`, connected to a cluster.

    Args:
        workers: how many a new cluster has room for, if it has a core for each.
        device: what for.
        files: a folder for the files of a new cluster.

    Raises:
        InputError: Ray is not installed, or the cluster not reached.
        StoppedEarly: a signal came meanwhile.
    """
    address, options = existing(), {}
    if address is None:
        import torch

        options = {
            "num_cpus": workers,
            "num_gpus": torch.cuda.device_count() if device == "cuda" else 0,
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE,
            "_temp_dir": str(files),
        }
    ray = import_ray()
    if ray.is_initialized():
        return ray
    try:
        if address and (at := re.fullmatch(r"\[?([^/]+?)\]?:(\d+)", address)):
            # Ray itself tries for minutes.
            socket.create_connection((at[1], int(at[2])), CONNECT_S).close()
        with _signals_kept():
            ray.init(
                address=address or "local",
                log_to_driver=False,
                configure_logging=False,
                logging_level=logging.ERROR,
                **options,
            )
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        where = f"RAY_ADDRESS={address}" if address else "a new cluster"
        raise InputError(f"--executor ray, {where}: {in_short(error)}") from None
    return ray


def existing() -> str | None:
    """The address of the cluster that is there already, None to start one."""
    address = os.environ.get("RAY_ADDRESS", "")
    return None if address in ("", "local") else address


def places(ray: Any, device: Literal["cpu", "cuda"]) -> int:
    """How many GPUs the cluster has, or cores.

    Raises:
        InputError: none.
    """
    resource = "GPU" if device == "cuda" else "CPU"
    count = int(ray.cluster_resources().get(resource, 0))
    if not count:
        raise InputError(f"the Ray cluster has no {resource}: choose another --device")
    return count


def means_for_ray(means: Means, workers: str) -> Means:
    """`means` with actors; "auto" workers are as many as an existing cluster has places.

    Raises:
        InputError: Ray is not installed, or its cluster not reached or of no use.
    """
    ray = import_ray()
    if workers == "auto" and existing():
        ray = connect(means.workers, means.device, Path())
        means = replace(means, workers=places(ray, means.device))
    return replace(means, executor="ray")


def in_short(error: BaseException) -> str:
    """One line of what Ray's errors explain at length."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = re.split(" Some common causes| OOM kill reason| Last connection error", text)[0]
    if "connection error code 2" in text:
        return "its process was killed or crashed"
    return re.split("The actor is dead because |The actor died because ", text)[-1]


def import_ray() -> Any:
    """The module `ray`, told to be discreet; its types are its own business.

    Raises:
        InputError: it is not installed.
    """
    if "ray" not in sys.modules:  # it reads all of these while it is imported
        os.environ.update(QUIET)
        if existing() is None:
            os.environ.update(PRIVATE, RAY_AUTH_TOKEN=secrets.token_hex())
    try:
        import ray
    except ImportError:
        raise InputError("--executor ray needs Ray: pip install 'nas-skeleton[ray]'") from None
    return ray


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Let signals do what they did before Ray started.

    Its processes shall last until trainings are saved: they do not get what would end them when a
    terminal is closed or a scheduler warns all processes of a job.
    """
    before = {number: signal.getsignal(number) for number in SIGNALS}
    held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP, signal.SIGUSR1})
    try:
        yield
    except SystemExit:  # Ray's answer to SIGTERM
        raise StoppedEarly("stopped by a signal before any training began") from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
