"""`python -m nas_skeleton.search`: train many architectures and rank them.

Thin: it reads options, prints the plan, lets `scheduling` work, and prints what `results` says.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
from click.core import ParameterSource

from nas_skeleton import cli
from nas_skeleton.commands.arch_list import LISTED, listed_archs
from nas_skeleton.commands.search_slurm import same_command, slurm_parameters, submit
from nas_skeleton.scheduling.shards import DEFAULT_SHARDS
from nas_skeleton.strategies.named import FROM_NNI, STRATEGIES, check_known, has_study, learns
from nas_skeleton.strategies.search import PARALLEL
from nas_skeleton.training.engines import ENGINES

if TYPE_CHECKING:
    from nas_skeleton.scheduling.campaign import Campaign
    from nas_skeleton.scheduling.means import Device, EngineChoice
    from nas_skeleton.scheduling.shards import Shard

DEFAULT_TRIALS = 24
OF_REPLAYS = {"table", "strategy", "trials", "seed", "seeds", "parallel", "top"}  # beside --on


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@cli.space_option
@cli.dataset_option
@cli.seed_option
@click.option(
    "--seeds",
    help="Training seeds, such as 777,888,999; each architecture is trained with each. The first "
    "also decides what a random search draws.  [default: 777]",
)
@click.option(
    "--strategy",
    default="random",
    show_default=True,
    metavar="NAME",
    help="Which architectures: random ones, all (exhaustive), or what a search strategy asks for "
    f"as results come in: {', '.join(name for name in STRATEGIES if learns(name))}; and NNI's own: "
    f"{', '.join(sorted(FROM_NNI))}.",
)
@click.option(
    "--trials",
    type=click.IntRange(1),
    help="How many architectures; of a strategy that trains some for fewer epochs or with fewer "
    f"seeds, so many whole trainings' worth.  [default: {DEFAULT_TRIALS}, all for exhaustive]",
)
@click.option(
    "--on",
    "table",
    metavar="TABLE",
    help="Train nothing: search on the finished trainings of all architectures, by a simulated "
    "clock. A run, a published table, a table.parquet of `runs collect`, or NATS-Bench's CSV.",
)
@click.option(
    "--parallel",
    type=click.IntRange(1),
    help="For strategies that learn: how many proposals may be under way, unknown to each other. "
    f"The number of workers changes nothing in a search, this does.  [default: {PARALLEL}]",
)
@click.option(
    "--share-classes",
    is_flag=True,
    help="For strategies that learn: take architectures that compute the same function for one, "
    "and train the one with the lowest index only.",
)
@click.option(
    "--export-study",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="For strategies of Optuna: write the study to this SQLite file when the search is "
    "complete, for optuna-dashboard sqlite:///FILE.",
)
@click.option(
    "--one-per-class",
    is_flag=True,
    help="exhaustive: train one architecture of each functional class and copy its row to the "
    "others, marked as copied.",
)
@click.option(
    "--archs",
    metavar=LISTED,
    help="Exactly these architectures, instead of a --strategy; a file has an index a line, as "
    "`runs sample` prints them. A list with more of them extends the --run that is named.",
)
@cli.recipe_option
@cli.protocol_option
@cli.modality_option
@cli.run_option
@click.option(
    "--workers",
    default="auto",
    show_default=True,
    help="Worker processes; auto: a core each, or on GPUs one for each GPU.",
)
@cli.device_option
@click.option(
    "--engine",
    type=click.Choice(["auto", *ENGINES]),
    default="auto",
    show_default=True,
    help="What computes the networks; engines differ in speed and rounding only. auto: cuda-graph "
    "on a GPU, else native, or fast where native cannot run.",
)
@cli.top_option
@click.option(
    "--checkpoint-every",
    type=click.FloatRange(min=0),
    default=20.0,
    show_default=True,
    help="Seconds between checkpoints of a running training.",
)
@click.option(
    "--executor",
    type=click.Choice(["local", "slurm", "ray"]),
    default="local",
    show_default=True,
    help="Who trains: worker processes here, or an array of jobs that is submitted to Slurm and "
    "trains what is missing, or actors of Ray: on the cluster at RAY_ADDRESS, else on a new one "
    "here.",
)
@click.option(
    "--shard",
    metavar="I/N",
    help="Train part I of N of the plan only, I from 0 to N-1.  [default: the task's own part "
    "inside a job array of Slurm, PBS, SGE or LSF, whose size NAS_SKELETON_SHARDS says where they "
    "do not (100, 0-99, 1-199:2); else everything]",
)
@click.option(
    "--shards",
    type=click.IntRange(1),
    help=f"slurm: parts the plan is divided into, one per task.  [default: {DEFAULT_SHARDS}, or as "
    "many as there are trainings missing]",
)
@click.option(
    "--slurm",
    metavar="KEY=VALUE",
    multiple=True,
    help="slurm: an option for each task, such as partition=gpu, gres=gpu:1, time=240 (minutes), "
    "cpus_per_task=4, mem=8G, array_parallelism=20, account=x; may be given often.  [default: "
    "time=60, the rest as the cluster has it]",
)
@click.option(
    "--keep-scores",
    is_flag=True,
    help="Keep the class scores of trainings that finish from now on, for `train fuse`: two bytes "
    "for each class and each validation and test clip of a training.",
)
@click.option(
    "--dry-run", is_flag=True, help="Print the plan (slurm: the script for sbatch) and stop."
)
@click.pass_context
def main(
    context: click.Context,
    space: str,
    dataset: str,
    seed: int | None,
    seeds: str | None,
    strategy: str,
    trials: int | None,
    table: str | None,
    parallel: int | None,
    share_classes: bool,
    export_study: Path | None,
    one_per_class: bool,
    archs: str | None,
    recipe: str | None,
    protocol: str | None,
    modality: str,
    run_name: str | None,
    workers: str,
    device: Device,
    engine: EngineChoice,
    top: int,
    checkpoint_every: float,
    executor: Literal["local", "slurm", "ray"],
    shard: str | None,
    shards: int | None,
    slurm: tuple[str, ...],
    keep_scores: bool,
    dry_run: bool,
) -> int:
    """Train architectures of a search space on a data set and rank them by validation accuracy.

    Run the same command again to continue: what is finished is not trained again. One Ctrl-C saves
    everything and stops, two stop at once.
    """
    from nas_skeleton.scheduling.signals import Signals

    check_known(strategy)
    training_seeds = cli.parse_seeds(seed, seeds)
    if table is not None:
        return _replay(context, table, strategy, trials, training_seeds, parallel, top)
    if archs is not None:
        for option in ("strategy", "trials", "one_per_class"):
            if context.get_parameter_source(option) is ParameterSource.COMMANDLINE:
                name = option.replace("_", "-")
                raise click.UsageError(f"--archs and --{name}: give one of them")
    if one_per_class and strategy != "exhaustive":
        raise click.UsageError("--one-per-class needs --strategy exhaustive")
    if not learns(strategy) and (parallel is not None or share_classes):
        option = "--share-classes" if share_classes else "--parallel"
        raise click.UsageError(f"{option} needs a --strategy that learns, not {strategy}")
    if learns(strategy) and (executor == "slurm" or shard is not None):
        option = "--executor slurm" if shard is None else f"--shard {shard}"
        raise click.UsageError(
            f"{option}: --strategy {strategy} decides by results, so it cannot be divided "
            "beforehand. Let one job run this command, or several the same one: they share the work"
        )
    if export_study is not None:
        if not has_study(strategy):
            raise click.UsageError("--export-study needs a --strategy of Optuna, such as tpe")
        if not export_study.parent.is_dir():
            raise click.UsageError(f"--export-study: there is no folder {export_study.parent}")
    if executor != "slurm" and (shards is not None or slurm):
        raise click.UsageError("--shards and --slurm need --executor slurm")
    if executor == "slurm" and shard is not None:
        raise click.UsageError("--executor slurm submits all shards: leave --shard out")
    parameters = slurm_parameters(slurm) if executor == "slurm" else {}
    with Signals().handled() as signals:
        from nas_skeleton.commands.narration import (
            Saying,
            pursue_with_progress,
            report_failures,
            train_with_progress,
        )
        from nas_skeleton.commands.plan_text import plan_text
        from nas_skeleton.commands.progress import open_dataset
        from nas_skeleton.results.leaderboard import format_leaderboard
        from nas_skeleton.scheduling.means import Means, choose_means
        from nas_skeleton.scheduling.start import start_campaign
        from nas_skeleton.spaces import Space, load_any_space

        search_space = load_any_space(space, modality)
        search_space.card.recipe(recipe)
        listed = None if archs is None else listed_archs(search_space, archs)
        if executor == "slurm":  # the nodes choose; this machine may have no GPU, for example
            chosen: Literal["cpu", "cuda"] = "cpu" if device == "cpu" else "cuda"
            means = Means(1, chosen, "fast", 1, checkpoint_every)
        else:
            cells = isinstance(search_space, Space)
            means = choose_means(device, workers, engine, checkpoint_every, cells=cells)
            if executor == "ray":
                from nas_skeleton.scheduling.ray_cluster import means_for_ray

                means = means_for_ray(means, workers)
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
            trials=trials or (None if strategy == "exhaustive" or listed else DEFAULT_TRIALS),
            one_per_class=one_per_class,
            archs=listed,
            name=run_name,
            shard=None if executor == "slurm" or learns(strategy) else _own_shard(shard),
            parallel=parallel,
            share_classes=share_classes,
            modality=modality,
            keep_scores=keep_scores,
            watch=Saying(signals),
            infer=not dry_run,
        )
        jobs = campaign.remaining()
        signals.check()
        if executor == "slurm":
            command = same_command(context)
            return submit(campaign, jobs, command, shards, parameters, dry_run)
        if jobs and not isinstance(search_space, Space):
            click.echo("measuring how long each model takes on this machine", err=True)
        if campaign.adaptive is None:
            forecast = campaign.forecast(jobs, signals.check)
        else:
            forecast = campaign.forecast_search(signals.check)
        signals.check()
        click.echo(plan_text(campaign, jobs, forecast))
        if company := campaign.company():
            click.echo(company, err=True)
        if engine != "auto" and (others := campaign.trained_by_others()):
            click.echo(others, err=True)
        if dry_run:
            return cli.COMPLETE
        try:
            if campaign.adaptive is None:
                train_with_progress(campaign, jobs, forecast, signals)
            else:
                pursue_with_progress(campaign, forecast, signals)
        finally:
            if campaign.shard is None:
                click.echo(f"\n{format_leaderboard(campaign.leaderboard(), top)}\n")
            else:
                click.echo(_share(campaign))
    if export_study is not None:
        click.echo(_exported(campaign, export_study), err=True)
    click.echo(
        f"All results: python -m nas_skeleton.runs show {campaign.run.name}; as files: "
        f"python -m nas_skeleton.runs collect {campaign.run.name}"
    )
    return report_failures(campaign)


def _replay(
    context: click.Context,
    table: str,
    strategy: str,
    trials: int | None,
    seeds: list[int],
    parallel: int | None,
    top: int,
) -> int:
    """`--on`: search on a finished table."""
    from nas_skeleton.commands.search_on_table import replay_search

    for option in context.command.params:
        assert option.name is not None
        given = context.get_parameter_source(option.name) is ParameterSource.COMMANDLINE
        if given and option.name not in OF_REPLAYS:
            raise click.UsageError(
                f"{option.opts[0]} is for trainings, and --on trains nothing: leave it away"
            )
    return replay_search(
        table,
        strategy,
        trials=trials or (None if strategy == "exhaustive" else DEFAULT_TRIALS),
        seeds=seeds,
        parallel=parallel,
        as_many=top,
    )


def _exported(campaign: Campaign, path: Path) -> str:
    """Write the study of a search; what to say of it."""
    from nas_skeleton.strategies.optuna_search import export_study

    assert campaign.adaptive is not None
    trials = export_study(campaign.adaptive.strategy, path, campaign.run.name)
    return f"study of {trials} proposals in {path}: optuna-dashboard sqlite:///{path}"


def _share(campaign: Campaign) -> str:
    """How far a shard is, and all of its run."""
    settled = campaign.run.settled_keys()
    own, every = (sum(j.key in settled for j in js) for js in (campaign.own_jobs, campaign.jobs))
    return (
        f"Shard {campaign.shard}: {own} of its {len(campaign.own_jobs)} trainings are done, "
        f"{every} of all {len(campaign.jobs)}"
    )


def _own_shard(text: str | None) -> Shard | None:
    """The shard that `--shard` or the environment asks for, None for all."""
    from nas_skeleton.scheduling.shards import parse_shard, shard_from_environment

    if text is not None:
        return parse_shard(text)
    shard = shard_from_environment(os.environ)
    if shard is not None:
        click.echo(f"shard {shard}: {shard.source} ('--shard 0/1' trains everything)", err=True)
    return shard


if __name__ == "__main__":
    cli.run(main)
