"""What commands say of work that takes long: trainings with a bar, pre-trainings epoch by epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import click

from nas_skeleton import cli
from nas_skeleton.commands.progress import Progress
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


@contextmanager
def narrated(
    campaign: Campaign, jobs: list[Job], forecast: Forecast
) -> Iterator[tuple[Callable[[Outcome], None], Callable[[str], None]]]:
    """A bar for the trainings `jobs`, which names the best validation accuracy so far.

    Yields:
        What hears of every job as it ends, and what prints a line beside the bar.
    """
    expected = _expected_s(jobs, forecast)
    best = BestSoFar(campaign)
    total = sum(forecast.seconds)
    together = campaign.means.workers * forecast.side_by_side
    under_way = total * min(1.0, together / max(1, len(jobs))) / 2
    with closing(Progress("trainings", len(jobs), total, under_way)) as progress:

        def on_outcome(outcome: Outcome) -> None:
            _say_mishaps(outcome, progress)
            progress.advance(expected[outcome.job.key], best.note(outcome))

        yield on_outcome, progress.say


def train_with_progress(
    campaign: Campaign, jobs: list[Job], forecast: Forecast, signals: Signals
) -> None:
    """Train `jobs` of a campaign, with a bar that names the best validation accuracy so far.

    Raises:
        StoppedEarly: on a signal.
        InputError: as `Campaign.execute`.
    """
    with narrated(campaign, jobs, forecast) as (on_outcome, say):
        campaign.execute(
            jobs,
            signals,
            on_outcome,
            say,
            side_by_side=forecast.side_by_side,
            forecast_s=_expected_s(jobs, forecast),
        )


def pursue_with_progress(campaign: Campaign, forecast: Forecast, signals: Signals) -> None:
    """Train what the strategy of a campaign asks for, with a bar of the epochs of its budget.

    Args:
        campaign: of a strategy that decides by results.
        forecast: seconds of every architecture of the space.
        signals: ask to stop.

    Raises:
        StoppedEarly: on a signal.
        InputError: as `Campaign.pursue`.
    """
    search, arguments = campaign.adaptive, campaign.run.arguments
    assert search is not None
    search.expect(forecast.seconds.__getitem__)
    budget = (arguments.trials or len(campaign.space)) * len(arguments.seeds) * search.epochs
    reached = {key: search.trained_epochs(key) for key in search.jobs}
    left = max(1, budget - sum(reached.values()))
    best = BestSoFar(campaign)
    # By epochs: which architectures will be asked for, and so how long they take, nobody knows.
    with closing(Progress("epochs of the budget", left)) as progress:

        def on_outcome(outcome: Outcome) -> None:
            _say_mishaps(outcome, progress)
            key = outcome.job.key
            before, reached[key] = reached.get(key, 0), search.trained_epochs(key)
            epochs = reached[key] - before
            progress.advance(epochs, best.note(outcome), epochs)

        campaign.pursue(signals, on_outcome, progress.say, side_by_side=forecast.side_by_side)
        if arguments.trials and search.search.spent < arguments.trials - 1e-6:
            progress.say(
                f"strategy {arguments.strategy} has nothing new to propose: it used "
                f"{search.search.spent:.1f} of {arguments.trials} trainings"
            )


def report_failures(campaign: Campaign) -> int:
    """Say which of a command's trainings failed or diverged, and why; the exit code."""
    import pandas as pd

    from nas_skeleton.results import schema

    # Every row: a training that failed after a pause has its row of the pause as well.
    columns = ["key", "arch_index", "seed", "status", "error", "finished_at"]
    rows = campaign.run.rows(columns, every=True)
    planned = {job.key for job in campaign.own_jobs}
    settled = campaign.run.settled_keys()
    last = rows.sort_values("finished_at", kind="stable").drop_duplicates("key", keep="last")
    diverged = rows[rows["status"] == schema.DIVERGED].drop_duplicates("key")
    crashed = last[(last["status"] == schema.FAILED) & ~last["key"].isin(settled)]
    failed = pd.concat([diverged, crashed]).sort_values(["arch_index", "seed"])
    failed = failed[failed["key"].isin(planned)]
    for row in failed.itertuples():
        click.echo(f"#{row.arch_index} seed {row.seed} {row.status}: {row.error}", err=True)
    if failed.empty:
        return cli.COMPLETE
    counts = " and ".join(f"{n} {status}" for status, n in failed["status"].value_counts().items())
    click.echo(f"of {len(planned)} trainings {counts} (listed above)", err=True)
    return cli.SOME_FAILED


class BestSoFar:
    """The best validation accuracy of a whole training, from the store and as they end."""

    def __init__(self, campaign: Campaign) -> None:
        finished = campaign.run.rows(["final_valid_top1", "arch_index"]).dropna()
        self._best = max(finished.itertuples(index=False, name=None), default=None)

    def note(self, outcome: Outcome) -> str:
        """What to say after this outcome; empty before the first."""
        valid = outcome.valid_top1
        if valid is not None and (self._best is None or valid > self._best[0]):
            self._best = (valid, outcome.job.arch_index)
        if self._best is None:
            return ""
        valid, arch = self._best
        return f"best single training so far: #{arch}, valid {100 * valid:.1f} %"


def _expected_s(jobs: list[Job], forecast: Forecast) -> dict[str, float]:
    """Seconds that each training may take, by its job's key."""
    return {job.key: seconds for job, seconds in zip(jobs, forecast.seconds, strict=True)}


def _say_mishaps(outcome: Outcome, progress: Progress) -> None:
    name = f"#{outcome.job.arch_index} seed {outcome.job.seed}"
    if outcome.fallback:
        progress.say(f"{name} fell back from {outcome.fallback}")
    if outcome.error:
        progress.say(f"{name} {outcome.status}: {outcome.error}")
