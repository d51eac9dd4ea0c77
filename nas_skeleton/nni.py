"""`python -m nas_skeleton.nni`: the trainings of a search as the trials of an NNI experiment.

Thin: it reads options, plans the run as `search` does, and lets `adapters.nni_experiment` work.
"""

from __future__ import annotations

import itertools
import os
from contextlib import closing
from typing import TYPE_CHECKING, Literal

import click

from nas_skeleton import cli
from nas_skeleton.search import DEFAULT_TRIALS
from nas_skeleton.training.engines import ENGINES

if TYPE_CHECKING:
    from nas_skeleton.adapters.nni_experiment import PackExperiment
    from nas_skeleton.scheduling.campaign import Campaign
    from nas_skeleton.scheduling.forecast import Forecast
    from nas_skeleton.scheduling.means import Device, EngineChoice
    from nas_skeleton.scheduling.signals import Signals
    from nas_skeleton.training.job import Job

DEFAULT_PACK = 8


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@cli.space_option
@cli.dataset_option
@cli.seed_option
@click.option("--seeds", help="Training seeds, such as 777,888,999.  [default: 777]")
@click.option(
    "--strategy",
    type=click.Choice(["random", "exhaustive"]),
    default="random",
    show_default=True,
    help="Which architectures: drawn at random, or all. NNI's own strategies search with "
    "`search --strategy nni-evolution`, nni-rl or nni-tpe.",
)
@click.option(
    "--trials",
    type=click.IntRange(1),
    help=f"How many architectures.  [default: {DEFAULT_TRIALS}, all for exhaustive]",
)
@click.option(
    "--pack",
    type=click.IntRange(1),
    default=DEFAULT_PACK,
    show_default=True,
    help="How many trainings make one trial of NNI's. A trial costs NNI seconds, and about 40,000 "
    "are more than it survives.",
)
@click.option(
    "--workers",
    default="auto",
    show_default=True,
    help="Trials at a time; auto: a core each, or one on a GPU.",
)
@cli.recipe_option
@cli.protocol_option
@cli.modality_option
@click.option("--run", "run_name", help="Name under runs/.  [default: as `search` names it]")
@cli.device_option
@click.option("--engine", type=click.Choice(["auto", *ENGINES]), default="auto", show_default=True)
@click.option(
    "--web-ui",
    is_flag=True,
    help="Show NNI's pages while it runs. They have no password: whoever can reach them can start "
    "programs as you. On Linux connections of other accounts are closed.",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help="Where NNI's manager listens, on the loopback address only.  [default: any free one]",
)
@cli.top_option
def main(
    space: str,
    dataset: str,
    seed: int | None,
    seeds: str | None,
    strategy: Literal["random", "exhaustive"],
    trials: int | None,
    pack: int,
    workers: str,
    recipe: str | None,
    protocol: str | None,
    modality: str,
    run_name: str | None,
    device: Device,
    engine: EngineChoice,
    web_ui: bool,
    port: int | None,
    top: int,
) -> int:
    """Train architectures as the trials of an NNI experiment on this machine.

    It is the run that `search` with the same options makes: what one has trained the other does not
    train again. Run the same command again to continue; Ctrl-C saves everything and stops NNI too.
    """
    from nas_skeleton.scheduling.signals import Signals

    training_seeds = cli.parse_seeds(seed, seeds)
    with Signals().handled() as signals:
        from nas_skeleton.commands.narration import Saying, report_failures
        from nas_skeleton.commands.plan_text import plan_text
        from nas_skeleton.commands.progress import open_dataset
        from nas_skeleton.results.leaderboard import format_leaderboard
        from nas_skeleton.scheduling.means import choose_means
        from nas_skeleton.scheduling.start import start_campaign
        from nas_skeleton.spaces import load_space

        search_space = load_space(space, modality)
        means = choose_means(device, workers, engine)
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
            trials=trials or (None if strategy == "exhaustive" else DEFAULT_TRIALS),
            name=run_name,
            modality=modality,
            watch=Saying(signals),
        )
        jobs = campaign.remaining()
        forecast = campaign.forecast(jobs, signals.check)
        signals.check()
        click.echo(plan_text(campaign, jobs, forecast))
        packs = [jobs[first : first + pack] for first in range(0, len(jobs), pack)]
        if packs:
            click.echo(
                f"NNI        {len(packs)} trials of up to {pack} trainings, {means.workers} at a "
                "time; it takes some seconds more for each"
            )
        if company := campaign.company():
            click.echo(company, err=True)
        if packs:
            _train(campaign, packs, forecast, signals, port=port, web_ui=web_ui)
    click.echo(f"\n{format_leaderboard(campaign.leaderboard(), top)}\n")
    click.echo(
        f"All results: python -m nas_skeleton.runs show {campaign.run.name}; as files: "
        f"python -m nas_skeleton.runs collect {campaign.run.name}"
    )
    code = report_failures(campaign)
    if code == cli.COMPLETE and (left := campaign.remaining()):
        click.echo(f"NNI left {len(left)} trainings undone: run the same command again", err=True)
        return cli.SOME_FAILED
    return code


def _train(
    campaign: Campaign,
    packs: list[list[Job]],
    forecast: Forecast,
    signals: Signals,
    *,
    port: int | None,
    web_ui: bool,
) -> None:
    """Have NNI train `packs`, and say how it goes as `search` does.

    Raises:
        StoppedEarly: on a signal.
        InputError: NNI is not there, or ended.
    """
    from nas_skeleton.adapters.nni_experiment import CONNECTIONS, PackExperiment
    from nas_skeleton.commands.narration import narrated
    from nas_skeleton.scheduling.outcome import Settled
    from nas_skeleton.scheduling.presence import Beat, Presence, new_tag, worker_name
    from nas_skeleton.scheduling.worker import Assignment

    campaign.write()
    means, run = campaign.means, campaign.run
    assignment = Assignment(
        run.name, means.engine, forecast.side_by_side, means.device, means.checkpoint_every_s
    )
    name = worker_name(os.getpid(), new_tag())
    experiment = PackExperiment(
        run.folder / "nni" / name,  # a command's own: there may be several
        assignment,
        packs,
        concurrency=means.workers,
        port=port,
        web_ui=web_ui,
        at_once=lambda: signals.at_once,
    )
    jobs = list(itertools.chain(*packs))
    settled, told = Settled(run), set[str]()
    presence = Presence.of_this_process(name, os.getpid(), through="NNI")
    with (
        closing(Beat(run.folder, presence)),
        narrated(campaign, jobs, forecast) as (on_outcome, say),
        experiment,
    ):
        say("NNI is started; its first trainings begin within some 15 seconds")
        if web_ui or not CONNECTIONS.exists():
            say(_warning(experiment))

        def look() -> None:
            for outcome in settled.outcomes([job for job in jobs if job.key not in told]):
                told.add(outcome.job.key)
                on_outcome(outcome)

        experiment.wait(signals, look)
        look()


def _warning(experiment: PackExperiment) -> str:
    from nas_skeleton.adapters.nni_experiment import CONNECTIONS

    who = (
        "whoever can act as you here"
        if CONNECTIONS.exists()
        else "everybody with an account on this machine"
    )
    return (
        f"WARNING: NNI's pages are at {experiment.address} while this command runs, WITHOUT A "
        f"PASSWORD: {who} can read them and start programs as you. From elsewhere: ssh -L "
        f"{experiment.port}:127.0.0.1:{experiment.port} and this machine's name"
    )


if __name__ == "__main__":
    cli.run(main)
