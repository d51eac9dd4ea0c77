"""What commands say while A-links are pre-trained, and how they stop it."""

from __future__ import annotations

import click

from nas_skeleton.scheduling.signals import Signals
from nas_skeleton.training.aim import PretrainingEpoch, Watch


class Saying(Watch):
    """Prints a line for every epoch, and stops after the running batch on a signal."""

    def __init__(self, signals: Signals) -> None:
        self.signals = signals

    def batch(self) -> None:
        self.signals.check()

    def epoch(self, done: PretrainingEpoch) -> None:
        links = " and ".join(f"{100 * share:.1f} %" for share in done.linked)
        click.echo(
            f"pre-training AIM for A-links, once for this data: epoch {done.epoch} of "
            f"{done.epochs}, loss {done.loss:.3f}, links of each type between {links} of pairs",
            err=True,
        )
