"""What a trial of an NNI experiment runs: a worker of the run, for one pack.

`python -m nas_skeleton.adapters.nni_trial ORDER` is started by NNI in the working folder of the
command that began the experiment. ORDER is a JSON file with the fields of `Order`. What is trained
already is answered from the store.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

from nas_skeleton.results import schema
from nas_skeleton.results.run import open_run
from nas_skeleton.scheduling.plan import job_of
from nas_skeleton.scheduling.presence import Presence, began, new_tag, worker_name
from nas_skeleton.scheduling.signals import Signals
from nas_skeleton.scheduling.worker import Assignment, Worker


@dataclasses.dataclass(frozen=True)
class Order:
    """What all trials of an experiment have in common.

    Attributes:
        assignment: the fields of the worker's `Assignment`.
        command: the process that began the experiment; a trial does not outlive it.
        command_began: tells it from a later one of the same number.
    """

    assignment: dict[str, Any]
    command: int
    command_began: float

    def write(self, path: Path) -> None:
        """Write it into a file, which `read` reads."""
        path.write_text(json.dumps(dataclasses.asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Order:
        """What `write` wrote."""
        return cls(**json.loads(path.read_text("utf-8")))


def result_of(valid: list[float]) -> dict[str, float]:
    """What NNI is told of a pack: the best validation top-1 as its metric, and the mean."""
    return {"default": max(valid), "mean": fmean(valid)}


def main(path: Path) -> None:
    """Train the pack that NNI has for this trial and report to it."""
    with Signals().handled() as signals:
        import nni
        import torch

        torch.set_num_threads(1)
        order = Order.read(path)
        run = open_run(order.assignment["run"])
        pack = nni.get_next_parameter()["pack"]
        jobs = [job_of(run.arguments, arch, seed) for arch, seed in pack]
        presence = Presence.of_this_process(worker_name(os.getpid(), new_tag()), order.command)
        worker = Worker(Assignment(**{**order.assignment, "looks": ()}), presence)
        valid: list[float] = []

        def should_stop() -> bool:
            return signals.received or began(order.command) != order.command_began

        try:
            together = order.assignment["side_by_side"]
            for first in range(0, len(jobs), together):
                for outcome in worker.work(jobs[first : first + together], should_stop=should_stop):
                    if outcome.status in (schema.DONE, schema.DIVERGED, schema.FAILED):
                        valid.append(outcome.valid_top1 or 0.0)
                        nni.report_intermediate_result(result_of(valid))
        finally:
            worker.close()
        signals.check()
        if valid:
            nni.report_final_result(result_of(valid))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
