"""`python -m nas_skeleton.train`: one network, every epoch printed; or only described.

Its other commands are in modules of their own: `train fuse` in `fusing`, `train predict` in
`predicting`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from nas_skeleton import cli
from nas_skeleton.commands.train_fuse import fuse
from nas_skeleton.commands.train_predict import predict
from nas_skeleton.training.engines import ENGINES

if TYPE_CHECKING:
    from nas_skeleton.results.run import Run
    from nas_skeleton.scheduling.means import Device, EngineChoice
    from nas_skeleton.spaces import SearchSpace
    from nas_skeleton.training.result import EpochRecord

AIM, AIM_SPACE = "aim", "nb201-asgcn"

NETWORKS = ("recipe", "streams", "seed", "run_name", "engine", "describe", "as_json")

# Late fusion of streams as in PYSKL's model zoo.
STREAMS = {
    "2": {"joint": 1.0, "bone": 1.0},
    "4": {"joint": 2.0, "bone": 2.0, "joint-motion": 1.0, "bone-motion": 1.0},
}


@click.group(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    subcommand_metavar="| fuse RUN... | predict RUN",
)
@click.option("--arch", help="Index of a cell (0 to 15624) or its string.")
@click.option(
    "--model",
    help="A reference model instead of a cell: stgcn, agcn, aagcn, asgcn, msg3d, ctrgcn, stgcn++; "
    "or aim, which infers AS-GCN's A-links for a data set.",
)
@click.option(
    "--space",
    help="Card in search_spaces/.  [default: nb201; with --model the card that has it]",
)
@cli.dataset_option
@cli.recipe_option
@cli.protocol_option
@cli.modality_option
@click.option(
    "--streams",
    type=click.Choice(list(STREAMS)),
    help="Train a network each on joint and bone (2), and on the motion of both (4), and fuse "
    "them: 1:1, 2:2:1:1.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, cli.LARGEST_SEED),
    default=777,
    show_default=True,
    help="Its seed.",
)
@cli.run_option
@cli.device_option
@click.option(
    "--engine",
    type=click.Choice(["auto", *ENGINES]),
    default="auto",
    show_default=True,
    help="What computes the networks; engines differ in speed and rounding only. auto: cuda-graph "
    "on a GPU, else native for cells, or fast where native cannot run.",
)
@click.option("--describe", is_flag=True, help="Print parameters, MACs and shapes; do not train.")
@click.option("--json", "as_json", is_flag=True, help="With --describe: print one JSON object.")
@click.pass_context
def main(
    context: click.Context,
    arch: str | None,
    model: str | None,
    space: str | None,
    dataset: str,
    recipe: str | None,
    protocol: str | None,
    modality: str,
    streams: str | None,
    seed: int,
    run_name: str | None,
    device: Device,
    engine: EngineChoice,
    describe: bool,
    as_json: bool,
) -> int:
    """Train one network and print every evaluated epoch; row and weights are kept as a run of one.

    Run the same command again to continue an interrupted training. `train fuse --help` tells how to
    join trainings that are finished, `train predict --help` how to let AS-GCN predict poses.
    """
    if context.invoked_subcommand is not None:
        _refuse_options(context)
        return cli.COMPLETE
    if (arch is None) == (model is None):
        raise click.UsageError("Give one of --arch (a cell) and --model (a reference model).")
    if as_json and not describe:
        raise click.UsageError("--json goes with --describe; for results see `runs show --json`")
    if streams and (modality or describe):
        raise click.UsageError("--streams trains the streams: leave out --modality and --describe")
    if model == AIM:
        _refuse(context, "does not go with --model aim: its card says how it is trained", NETWORKS)
        return _train_aim(space or AIM_SPACE, dataset, protocol, modality, device)
    from nas_skeleton.spaces import Space, find_model, load_any_space

    search_space: SearchSpace
    if model is not None and space is None:
        search_space, index = find_model(model, modality)
    else:
        search_space = load_any_space(space or "nb201", modality)
        if model is not None and isinstance(search_space, Space):
            raise click.UsageError(f"space {search_space.name!r} has cells, no models: use --arch")
        index = search_space.resolve(model or arch or "")
    search_space.card.recipe(recipe)
    if describe:
        from nas_skeleton.commands.train_describe import description

        facts = description(search_space, index, dataset, recipe)
        if as_json:
            cli.print_json(facts)
        else:
            for name, value in facts.items():
                click.echo(f"{name:16} {value}")
        return cli.COMPLETE
    wanted = _Wanted(search_space, index, dataset, recipe, protocol, seed, device, engine)
    if streams is None:
        _, code = _train(wanted, modality, run_name)
        return code
    return _train_streams(wanted, streams, run_name)


@dataclass(frozen=True)
class _Wanted:
    """What the options say of a training, but for its modality and the name of its run."""

    space: SearchSpace
    index: int
    dataset: str
    recipe: str | None
    protocol: str | None
    seed: int
    device: Device
    engine: EngineChoice


def _train(wanted: _Wanted, modality: str, run_name: str | None) -> tuple[Run, int]:
    """Train one network, print how it goes; its run and the exit code."""
    from nas_skeleton.commands.narration import Saying
    from nas_skeleton.commands.progress import open_dataset
    from nas_skeleton.results import schema
    from nas_skeleton.scheduling.means import choose_means
    from nas_skeleton.scheduling.signals import Signals
    from nas_skeleton.scheduling.start import start_campaign
    from nas_skeleton.spaces import Cell, Space
    from nas_skeleton.spaces.liveness import ignores_input

    cells = isinstance(wanted.space, Space)
    means = choose_means(wanted.device, "1", wanted.engine, cells=cells)
    if means.remark:
        click.echo(means.remark, err=True)
    with Signals().handled() as signals:
        campaign = start_campaign(
            wanted.space,
            open_dataset(wanted.dataset),
            means,
            recipe=wanted.recipe,
            protocol=wanted.protocol,
            strategy="given",
            seeds=[wanted.seed],
            archs=[wanted.index],
            name=run_name,
            modality=modality,
            keep_scores=True,
            keep_weights=True,
            watch=Saying(signals),
        )
        click.echo(f"#{wanted.index} {campaign.space.arch_string(wanted.index)}")
        run, recipe = campaign.run, campaign.space.card.recipe(campaign.run.arguments.recipe)
        click.echo(
            f"data {run.arguments.dataset}, protocol {run.arguments.protocol}; space "
            f"{run.arguments.space}, recipe {run.arguments.recipe}: {recipe.epochs} epochs, a line "
            f"for each that is evaluated, every {recipe.evaluate_every}; engine {means.engine}"
        )
        click.echo(f"results: {run.folder}\n")
        arch = campaign.space.architecture(wanted.index)
        filled_in = isinstance(arch, Cell) and ignores_input(arch)
        if filled_in:
            click.echo(
                "not trained: this cell ignores its input, so what training comes to is known and "
                "filled in (engine analytic); there are no weights to keep"
            )
        jobs = campaign.remaining()
        if jobs:
            outcome = campaign.execute_here(
                jobs[0], signals, lambda record: click.echo(_epoch_line(record))
            )
            if outcome.fallback:
                click.echo(f"fell back from {outcome.fallback}", err=True)
            if outcome.error:
                click.echo(f"{outcome.status}: {outcome.error}", err=True)
        elif not filled_in:
            click.echo("already trained")
            if wanted.engine != "auto" and (others := campaign.trained_by_others()):
                click.echo(others, err=True)
    for line in _accuracies(campaign.run):
        click.echo(line)
    click.echo(f"\nstored: python -m nas_skeleton.runs show {campaign.run.name}")
    done = (campaign.run.rows(["status"])["status"] == schema.DONE).all()
    return campaign.run, cli.COMPLETE if done else cli.SOME_FAILED


def _train_streams(wanted: _Wanted, streams: str, run_name: str | None) -> int:
    """Train a network on each modality, one after the other, and fuse what they give."""
    from nas_skeleton.commands.train_fuse import fused_table

    runs, weights = [], STREAMS[streams]
    for name in weights:  # before hours of training of the first
        wanted.space.with_modality(name)
    for name in weights:
        own = wanted.space.card.input.modalities
        modality = "" if (name,) == own else name  # the same run as without --streams
        click.echo(f"stream {name}:")
        run, code = _train(wanted, modality, f"{run_name}_{name}" if run_name else None)
        click.echo()
        if code != cli.COMPLETE:
            return code
        runs.append(run.name)
    click.echo(fused_table(runs, list(weights.values())))
    asked = ":".join(f"{weight:g}" for weight in weights.values())
    click.echo(f"\nagain: python -m nas_skeleton.train fuse {' '.join(runs)} --weights {asked}")
    return cli.COMPLETE


def _train_aim(
    space: str, dataset: str, protocol: str | None, modality: str, device: Device
) -> int:
    """Infer the A-links of a data set, or say that they are there."""
    import torch

    from nas_skeleton.commands.narration import Saying
    from nas_skeleton.commands.progress import open_dataset
    from nas_skeleton.scheduling.means import choose_means
    from nas_skeleton.scheduling.signals import Signals
    from nas_skeleton.spaces import load_any_space
    from nas_skeleton.training.aim import FOLDER, infer_links, links_path, share_of_links

    card = load_any_space(space, modality).card
    data = open_dataset(dataset)
    protocol = protocol or data.card.default_protocol
    with Signals().handled() as signals:
        trained_on = torch.device(choose_means(device, "1", "fast").device)
        known = card.aim is not None and links_path(data, card, protocol).is_file()
        types = infer_links(
            data,
            card,
            protocol,
            Saying(signals),
            device=trained_on,
        )
    shares = " and ".join(f"{100 * share:.1f} %" for share in share_of_links(types))
    click.echo(
        f"A-links of {len(types)} clips of {data.name} (protocol {protocol}, space {space}): of "
        f"each type between {shares} of all pairs of joints"
    )
    click.echo(("already there: " if known else "kept in ") + str(data.folder.parent / FOLDER))
    return cli.COMPLETE


def _epoch_line(record: EpochRecord) -> str:
    accuracies = "  ".join(
        f"{split} {100 * accuracy.top1:5.1f} %" for split, accuracy in record.accuracy.items()
    )
    return (
        f"epoch {record.epoch:4}  learning rate {record.learning_rate:.2e}  "
        f"loss {record.train_loss:.4f}  {accuracies}"
    )


def _accuracies(run: Run) -> list[str]:
    """All accuracies of the run's only training, with its last weights and its best ones."""
    import pandas as pd

    from nas_skeleton.results import schema
    from nas_skeleton.training.result import SPLITS

    rows = run.rows(["status", "best_epoch", *schema.ACCURACIES])
    lines: list[str] = []
    for row in rows[rows["status"] == schema.DONE].head(1).to_dict("records"):
        titles = {"final": "with the weights of the last epoch"}
        if pd.notna(row["best_epoch"]):  # without validation clips there is none
            best = f"epoch {row['best_epoch']:.0f}, the best of those evaluated"
            titles["best"] = f"with the weights that were best on validation ({best})"
        for when, title in titles.items():
            lines += ["", title]
            for split in SPLITS:
                found = [row[f"{when}_{split}_{metric}"] for metric in schema.METRICS]
                if pd.notna(found[0]):  # a split without clips has none
                    lines.append(f"{split:6} {_percents(found)}")
    return lines


def _percents(accuracies: list[float]) -> str:
    """Top-1, top-5 and mean-class as text."""
    names = ("top-1", "top-5", "mean-class")
    pairs = zip(names, accuracies, strict=True)
    return "  ".join(f"{name} {100 * share:5.1f} %" for name, share in pairs)


def _refuse_options(context: click.Context) -> None:
    """Options of a training before the name of another command would be passed over."""
    own = f"write `train {context.invoked_subcommand}` and its own options behind it"
    _refuse(context, f"is for a training: {own}", tuple(context.params))


def _refuse(context: click.Context, why: str, names: tuple[str, ...]) -> None:
    """Raise `UsageError` for the first of these parameters that was given."""
    for option in context.command.params:
        given = context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
        if given and option.name in names:
            raise click.UsageError(f"{option.opts[0]} {why}")


main.add_command(fuse)
main.add_command(predict)

if __name__ == "__main__":
    cli.run(main)
