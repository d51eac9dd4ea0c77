"""`search --executor slurm`: an array of jobs that run the same command, submitted or shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from nas_skeleton import cli
from nas_skeleton.commands.plan_text import plan_text
from nas_skeleton.scheduling.shards import DEFAULT_SHARDS

if TYPE_CHECKING:
    from nas_skeleton.scheduling.campaign import Campaign
    from nas_skeleton.training.job import Job

WHO_TRAINS = {"executor", "shard", "shards", "slurm", "dry_run"}  # no matter of a task of an array


def same_command(context: click.Context) -> list[str]:
    """The options of this call as they were given, but for those that say who trains."""
    given = []
    for option in context.command.params:
        assert option.name is not None
        value, source = context.params[option.name], context.get_parameter_source(option.name)
        if source is ParameterSource.COMMANDLINE and option.name not in WHO_TRAINS:
            given.append(option.opts[0] if value is True else f"{option.opts[0]}={value}")
    return given


def slurm_parameters(options: tuple[str, ...]) -> dict[str, Any]:
    """What `--slurm KEY=VALUE` asks of each task.

    Raises:
        InputError: there is no Slurm here, or it has no such option.
    """
    from nas_skeleton.scheduling.slurm import check_slurm, parameters_of

    check_slurm()
    return parameters_of(options)


def submit(
    campaign: Campaign,
    jobs: list[Job],
    command: list[str],
    shards: int | None,
    parameters: dict[str, Any],
    dry_run: bool,
) -> int:
    """Submit an array that trains `jobs`; a dry run prints its script and nothing else."""
    from nas_skeleton.scheduling.effort import efforts
    from nas_skeleton.scheduling.shards import Shard, remember_count, shards_with
    from nas_skeleton.scheduling.slurm import Submission

    click.echo(plan_text(campaign, jobs, None), err=dry_run)
    if not jobs:
        click.echo("Nothing is missing, nothing to submit.", err=dry_run)
        return cli.COMPLETE
    run, count = campaign.run, min(shards or DEFAULT_SHARDS, len(jobs))
    parts = shards_with(jobs, campaign.jobs, efforts(campaign.space, run, campaign.jobs), count)
    submission = Submission(run.folder, command, [Shard(i, count) for i in parts], parameters)
    if dry_run:
        click.echo(submission.script())
        return cli.COMPLETE
    campaign.write()
    job = submission.submit()
    remember_count(run.folder, count)
    tasks = f"{len(parts)} task" + "s" * (len(parts) > 1)
    click.echo(
        f"Submitted job {job}: {tasks}, shards of {count}; scripts and logs in {submission.folder}"
        f"\nWatch it: python -m nas_skeleton.runs show {run.name}; squeue --job {job}. Stop it: "
        f"scancel {job}. When it has ended, the same command submits what is left."
    )
    return cli.COMPLETE
