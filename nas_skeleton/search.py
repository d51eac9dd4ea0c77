"""`python -m nas_skeleton.search`: train many architectures and rank them.

Thin: it reads options, prints the plan, lets `scheduling` work, and prints what `results` says.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import click

from nas_skeleton import cli
from nas_skeleton.training.engines import ENGINES

if TYPE_CHECKING:
    from nas_skeleton.scheduling.campaign import Campaign, Device, EngineChoice
    from nas_skeleton.scheduling.signals import Signals
    from nas_skeleton.scheduling.worker import Outcome
    from nas_skeleton.training.job import Job

DEFAULT_TRIALS = 24
LARGEST_SEED = 2**63 - 1  # what the store's integers hold


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--space", default="nb201", show_default=True, help="Card in search_spaces/.")
@click.option("--dataset", default="utdmhad", show_default=True, help="Card in datasets/.")
@click.option(
    "--seed", type=click.IntRange(0, LARGEST_SEED), help="One seed; short for --seeds SEED."
)
@click.option(
    "--seeds",
    help="Training seeds, such as 777,888,999; each architecture is trained with each. The first "
    "also decides what a random search draws.  [default: 777]",
)
@click.option(
    "--strategy",
    type=click.Choice(["random", "exhaustive"]),
    default="random",
    show_default=True,
    help="Which architectures: drawn at random, or all.",
)
@click.option(
    "--trials",
    type=click.IntRange(1),
    help=f"How many architectures.  [default: {DEFAULT_TRIALS} for random, all for exhaustive]",
)
@click.option(
    "--one-per-class",
    is_flag=True,
    help="exhaustive: train one architecture of each functional class and copy its row to the "
    "others, marked as copied.",
)
@click.option("--recipe", help="Recipe in the space's card.  [default: the card's default_recipe]")
@click.option(
    "--protocol", help="Protocol in the data set's card.  [default: its default_protocol]"
)
@click.option("--run", "run_name", help="Name under runs/.  [default: named after the arguments]")
@click.option("--workers", default="auto", show_default=True, help="Worker processes, or auto.")
@cli.device_option
@click.option(
    "--engine",
    type=click.Choice(["auto", *ENGINES]),
    default="auto",
    show_default=True,
    help="What computes the networks; engines differ in speed and rounding only. auto: cuda-graph "
    "on a GPU, else native, or fast where native cannot run.",
)
@click.option("--top", type=click.IntRange(1), default=10, show_default=True, help="Rows to print.")
@click.option(
    "--checkpoint-every",
    type=click.FloatRange(min=0),
    default=20.0,
    show_default=True,
    help="Seconds between checkpoints of a running training.",
)
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
def main(
    space: str,
    dataset: str,
    seed: int | None,
    seeds: str | None,
    strategy: str,
    trials: int | None,
    one_per_class: bool,
    recipe: str | None,
    protocol: str | None,
    run_name: str | None,
    workers: str,
    device: Device,
    engine: EngineChoice,
    top: int,
    checkpoint_every: float,
    dry_run: bool,
) -> int:
    """Train architectures of a search space on a data set and rank them by validation accuracy.

    Run the same command again to continue: what is finished is not trained again. One Ctrl-C saves
    everything and stops, two stop at once.
    """
    from nas_skeleton.scheduling.signals import Signals

    if one_per_class and strategy != "exhaustive":
        raise click.UsageError("--one-per-class needs --strategy exhaustive")
    training_seeds = parse_seeds(seed, seeds)
    with Signals().handled() as signals:
        from nas_skeleton.progress import open_dataset
        from nas_skeleton.results.leaderboard import format_leaderboard
        from nas_skeleton.scheduling.campaign import choose_means, start_campaign
        from nas_skeleton.spaces import load_space

        search_space = load_space(space)
        search_space.card.recipe(recipe)
        means = choose_means(device, workers, engine, checkpoint_every)
        if means.remark:
            click.echo(means.remark, err=True)
        campaign = start_campaign(
            search_space,
            open_dataset(dataset),
            means,
            recipe=recipe,
            protocol=protocol,
            strategy=strategy,
            seeds=training_seeds,
            trials=trials or (DEFAULT_TRIALS if strategy == "random" else None),
            one_per_class=one_per_class,
            name=run_name,
        )
        jobs = campaign.remaining()
        signals.check()
        forecasts = campaign.forecast(jobs)
        signals.check()
        click.echo(_plan(campaign, jobs, forecasts))
        if engine != "auto" and (others := campaign.trained_by_others()):
            click.echo(others, err=True)
        if dry_run:
            return cli.COMPLETE
        try:
            _train(campaign, jobs, forecasts, signals)
        finally:
            click.echo(f"\n{format_leaderboard(campaign.leaderboard(), top)}\n")
    click.echo(
        f"All results: python -m nas_skeleton.runs show {campaign.run.name}; as files: "
        f"python -m nas_skeleton.runs collect {campaign.run.name}"
    )
    return _report_failures(campaign)


def parse_seeds(seed: int | None, seeds: str | None) -> list[int]:
    """The list of seeds from `--seed` or `--seeds`.

    Raises:
        click.UsageError: both are given, or `--seeds` is no list of different whole numbers.
    """
    if seed is not None and seeds is not None:
        raise click.UsageError("--seed and --seeds: give one of them")
    if seeds is None:
        return [777 if seed is None else seed]
    parts = [part.strip() for part in seeds.split(",")]
    numbers = [int(part) for part in parts if part.isascii() and part.isdecimal()]
    if len(set(numbers)) < len(parts) or max(numbers) > LARGEST_SEED:
        raise click.UsageError(f"--seeds {seeds!r}: give different whole numbers: 777,888,999")
    return numbers


def _plan(campaign: Campaign, jobs: list[Job], forecasts: list[float]) -> str:
    from nas_skeleton.progress import duration

    arguments, means = campaign.run.arguments, campaign.means
    recipe = campaign.space.card.recipe(arguments.recipe)
    split = campaign.dataset.split(arguments.protocol)
    archs = len({job.arch_index for job in campaign.jobs})
    clips = ", ".join(f"{len(split[part])} {part}" for part in ("train", "valid", "test"))
    done = len(campaign.jobs) - len(jobs)
    begun = sum(campaign.run.checkpoint_path(job.key).exists() for job in jobs)
    seeds = f"{len(arguments.seeds)} seed" + "s" * (len(arguments.seeds) > 1)
    seconds = sum(forecasts) / min(means.workers, max(1, len(jobs)))
    where = f"{means.workers} {means.device} worker" + "s" * (means.workers > 1)
    where += f", engine {means.engine}"
    lines = [
        f"Space      {arguments.space}: {campaign.space.card.title}",
        f"Data       {arguments.dataset}, protocol {arguments.protocol}: {clips} clips",
        f"Recipe     {arguments.recipe} ({arguments.recipe_hash}): {recipe.epochs} epochs, "
        f"C={recipe.channels}, N={recipe.cells_per_stage}, {recipe.frames} frames, batch "
        f"{recipe.batch_size}, learning rate {recipe.learning_rate:g}",
        f"Plan       {archs} architectures ({arguments.strategy}) x {seeds} = "
        f"{len(campaign.jobs)} trainings, {done} done, {len(jobs)} to do"
        + f" ({begun} of them begun)"
        * (begun > 0),
    ]
    if jobs:
        lines.append(f"Time       about {duration(seconds)} on {where} (from a short calibration)")
    lines.append(f"Results    {campaign.run.folder}")
    return "\n".join(lines)


def _train(campaign: Campaign, jobs: list[Job], forecasts: list[float], signals: Signals) -> None:
    from nas_skeleton.progress import Progress

    expected = {job.key: seconds for job, seconds in zip(jobs, forecasts, strict=True)}
    finished = campaign.run.rows()[["final_valid_top1", "arch_index"]].dropna()
    best = max(finished.itertuples(index=False, name=None), default=None)
    total = sum(forecasts)
    together = campaign.means.workers * campaign.means.side_by_side
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
                note = f"#{arch} seed {outcome.job.seed} fell back from {outcome.fallback}"
            if outcome.error:
                note = f"#{arch} seed {outcome.job.seed} {outcome.status}: {outcome.error}"
            progress.advance(expected[outcome.job.key], note)

        campaign.execute(jobs, signals, on_outcome)


def _report_failures(campaign: Campaign) -> int:
    from nas_skeleton.results import schema

    rows = campaign.run.rows()
    planned = {job.key for job in campaign.jobs}
    failed = rows[rows["status"].isin([schema.DIVERGED, schema.FAILED]) & rows["key"].isin(planned)]
    for row in failed.itertuples():
        click.echo(f"#{row.arch_index} seed {row.seed} {row.status}: {row.error}", err=True)
    if failed.empty:
        return cli.COMPLETE
    counts = " and ".join(f"{n} {status}" for status, n in failed["status"].value_counts().items())
    click.echo(f"of {len(planned)} trainings {counts} (listed above)", err=True)
    return cli.SOME_FAILED


if __name__ == "__main__":
    cli.run(main)
