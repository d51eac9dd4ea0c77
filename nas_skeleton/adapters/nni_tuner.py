"""What NNI calls a tuner: hands out the packs of an experiment, one to a trial.

It lives in a process that NNI's manager starts, and detaches. From there it watches the command
that began the experiment: when that is gone, however it ended, the manager is asked to stop, and
this process ends even if the manager is gone too.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import nni
from nni.experiment import rest
from nni.tuner import Tuner

from nas_skeleton.scheduling.presence import began

LOOK_S = 1.0
STOP_S = 60.0  # what the manager may take to stop the trials and itself


class PackTuner(Tuner):  # type: ignore[misc]
    """Gives trial n the pack n.

    Args:
        packs: a JSON file: a list of packs, each a list of pairs of architecture and seed.
        command: the process that began the experiment.
        command_began: tells it from a later one of the same number.
        port: where the manager listens.
        prefix: of its address, if it has one.
    """

    def __init__(
        self, packs: str, command: int, command_began: float, port: int, prefix: str | None
    ) -> None:
        self._packs: list[list[list[int]]] = json.loads(Path(packs).read_text("utf-8"))
        watched = (command, command_began, port, prefix)
        threading.Thread(target=_end_orphan, args=watched, daemon=True).start()

    def update_search_space(self, search_space: dict[str, Any]) -> None:
        """Nothing: what is trained is in the packs."""

    def generate_parameters(self, parameter_id: int, **_: Any) -> dict[str, list[list[int]]]:
        if parameter_id >= len(self._packs):
            raise nni.NoMoreTrialError
        return {"pack": self._packs[parameter_id]}

    def receive_trial_result(
        self, parameter_id: int, parameters: Any, value: Any, **_: Any
    ) -> None:
        """Nothing: the results are in the store of the run."""


def _end_orphan(command: int, command_began: float, port: int, prefix: str | None) -> None:
    while began(command) == command_began:
        time.sleep(LOOK_S)
    # Asked at its address, not signalled: it is not the parent of this process.
    with contextlib.suppress(OSError):  # as `requests` says that the manager is gone
        rest.delete(port, "/experiment", prefix)
        time.sleep(STOP_S)  # it ends this process, having ended the trials
    os._exit(1)
