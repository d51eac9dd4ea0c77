"""What commands say of work that takes long: trainings with a bar, pre-trainings epoch by epoch."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import click

from nas_skeleton.progress import Progress
from nas_skeleton.scheduling.signals import Signals
from nas_skeleton.training.aim import PretrainingEpoch, Watch

if TYPE_CHECKING:
    from nas_skeleton.scheduling.campaign import Campaign
    from nas_skeleton.scheduling.forecast import Forecast
    from nas_skeleton.scheduling.outcome import Outcome
    from nas_skeleton.training.job import Job


class Saying(Watch):
    """Prints a line for every epoch of a pre-training, and stops it on a signal."""

    def __init__(self, signals: Signals) -> None:
        self.signals = signals

    def check(self) -> None:
        self.signals.check()

    def waiting(self) -> None:
        click.echo("waiting for another command, which is pre-training AIM for this data", err=True)

    def begin(self, bodies: int, epochs: int) -> None:
        click.echo(
            f"pre-training AIM for A-links, once for this data, space and modality: {epochs} "
            f"epochs of {bodies} bodies, a line for each",
            err=True,
        )

    def epoch(self, done: PretrainingEpoch) -> None:
        links = ", ".join(
            f"{100 * share:.1f} % of type {kind}" for kind, share in enumerate(done.linked, 1)
        )
        click.echo(
            f"AIM epoch {done.epoch} of {done.epochs}: loss {done.loss:.1f} (error of predicted "
            f"poses and divergence of link types), links between {links} of all pairs of joints",
            err=True,
        )


def train_with_progress(
    campaign: Campaign, jobs: list[Job], forecast: Forecast, signals: Signals
) -> None:
    """Train `jobs` of a campaign, with a bar that names the best validation accuracy so far.

    Raises:
        StoppedEarly: on a signal.
        InputError: as `Campaign.execute`.
    """
    expected = {job.key: seconds for job, seconds in zip(jobs, forecast.seconds, strict=True)}
    finished = campaign.run.rows(["final_valid_top1", "arch_index"]).dropna()
    best = max(finished.itertuples(index=False, name=None), default=None)
    total = sum(forecast.seconds)
    together = campaign.means.workers * forecast.side_by_side
    under_way = total * min(1.0, together / max(1, len(jobs))) / 2
    with closing(Progress("trainings", len(jobs), total, under_way)) as progress:

        def on_outcome(outcome: Outcome) -> None:
            nonlocal best
            arch = outcome.job.arch_index
            if outcome.valid_top1 is not None and (best is None or outcome.valid_top1 > best[0]):
                best = (outcome.valid_top1, arch)
            note = (
                f"best single training so far: #{best[1]}, valid {100 * best[0]:.1f} %"
                if best
                else ""
            )
            if outcome.fallback:
                progress.say(f"#{arch} seed {outcome.job.seed} fell back from {outcome.fallback}")
            if outcome.error:
                progress.say(f"#{arch} seed {outcome.job.seed} {outcome.status}: {outcome.error}")
            progress.advance(expected[outcome.job.key], note)

        campaign.execute(
            jobs,
            signals,
            on_outcome,
            progress.say,
            side_by_side=forecast.side_by_side,
            forecast_s=expected,
        )
