"""What NNI calls a tuner: hands out the packs of an experiment, one to a trial.

It lives in a process that NNI's manager starts. From there it watches the command that began the
experiment: when that is gone, however it ended, the manager is told to stop, and all else with it.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import nni
from nni.tuner import Tuner

from nas_skeleton.scheduling.presence import began

LOOK_S = 1.0


class PackTuner(Tuner):  # type: ignore[misc]
    """Gives trial n the pack n.

    Args:
        packs: a JSON file: a list of packs, each a list of pairs of architecture and seed.
        command: the process that began the experiment.
        command_began: tells it from a later one of the same number.
    """

    def __init__(self, packs: str, command: int, command_began: float) -> None:
        self._packs: list[list[list[int]]] = json.loads(Path(packs).read_text("utf-8"))
        manager = os.getppid()
        threading.Thread(
            target=_end_orphan, args=(manager, command, command_began), daemon=True
        ).start()

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


def _end_orphan(manager: int, command: int, command_began: float) -> None:
    while began(command) == command_began:
        time.sleep(LOOK_S)
    os.kill(manager, signal.SIGTERM)
