"""`python -m nas_skeleton.train`: one network, every epoch printed; or only described.

`train fuse` joins the class scores of trainings that are finished.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from nas_skeleton import cli
from nas_skeleton.training.engines import ENGINES

if TYPE_CHECKING:
    from nas_skeleton.results.fusion import Fusion
    from nas_skeleton.results.run import Run
    from nas_skeleton.scheduling.campaign import Device, EngineChoice
    from nas_skeleton.spaces import Space
    from nas_skeleton.training.result import Accuracy, EpochRecord


@click.group(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    subcommand_metavar="| fuse RUN...",
)
@click.option("--arch", help="Index of a cell (0 to 15624) or its string.")
@click.option("--space", default="nb201", show_default=True, help="Card in search_spaces/.")
@click.option(
    "--dataset",
    default="utdmhad",
    show_default=True,
    help="Card in datasets/; NAME:CLASS+CLASS for some of its classes.",
)
@click.option("--recipe", help="Recipe in the space's card.  [default: the card's default_recipe]")
@click.option(
    "--protocol", help="Protocol in the data set's card.  [default: its default_protocol]"
)
@cli.modality_option
@click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), default=777, show_default=True, help="Its seed."
)
@click.option("--run", "run_name", help="Name under runs/.  [default: named after the arguments]")
@cli.device_option
@click.option(
    "--engine",
    type=click.Choice(["auto", *ENGINES]),
    default="auto",
    show_default=True,
    help="What computes the networks; engines differ in speed and rounding only. auto: cuda-graph "
    "on a GPU, else native, or fast where native cannot run.",
)
@click.option("--describe", is_flag=True, help="Print parameters, MACs and shapes; do not train.")
@click.option("--json", "as_json", is_flag=True, help="With --describe: print one JSON object.")
@click.pass_context
def main(
    context: click.Context,
    arch: str | None,
    space: str,
    dataset: str,
    recipe: str | None,
    protocol: str | None,
    modality: str,
    seed: int,
    run_name: str | None,
    device: Device,
    engine: EngineChoice,
    describe: bool,
    as_json: bool,
) -> int:
    """Train one architecture and print every evaluated epoch; the row is kept as a run of one.

    Run the same command again to continue an interrupted training. `train fuse --help` tells how to
    join trainings that are finished.
    """
    if context.invoked_subcommand is not None:
        _refuse_options(context)
        return cli.COMPLETE
    if arch is None:
        raise click.UsageError("Missing option '--arch'.")
    from nas_skeleton.progress import open_dataset
    from nas_skeleton.spaces import load_space

    search_space = load_space(space, modality)
    index = search_space.resolve(arch)
    search_space.card.recipe(recipe)
    if as_json and not describe:
        raise click.UsageError("--json goes with --describe; for results see `runs show --json`")
    if describe:
        facts = _describe(search_space, index, dataset, recipe)
        if as_json:
            cli.print_json(facts)
        else:
            for name, value in facts.items():
                click.echo(f"{name:16} {value}")
        return cli.COMPLETE

    from nas_skeleton.results import schema
    from nas_skeleton.scheduling.campaign import choose_means, start_campaign
    from nas_skeleton.scheduling.signals import Signals

    means = choose_means(device, "1", engine)
    if means.remark:
        click.echo(means.remark, err=True)
    campaign = start_campaign(
        search_space,
        open_dataset(dataset),
        means,
        recipe=recipe,
        protocol=protocol,
        strategy="given",
        seeds=[seed],
        archs=[index],
        name=run_name,
        modality=modality,
        keep_scores=True,
    )
    click.echo(f"#{index} {search_space.arch_string(index)}")
    click.echo(f"results: {campaign.run.folder}\n")
    jobs = campaign.remaining()
    if jobs:
        with Signals().handled() as signals:
            outcome = campaign.execute_here(
                jobs[0], signals, lambda record: click.echo(_epoch_line(record))
            )
        if outcome.fallback:
            click.echo(f"fell back from {outcome.fallback}", err=True)
        if outcome.error:
            click.echo(f"{outcome.status}: {outcome.error}", err=True)
    else:
        click.echo("already trained")
        if engine != "auto" and (others := campaign.trained_by_others()):
            click.echo(others, err=True)
    for line in _last_epoch(campaign.run):
        click.echo(line)
    click.echo(f"\nstored: python -m nas_skeleton.runs show {campaign.run.name}")
    done = (campaign.run.rows(["status"])["status"] == schema.DONE).all()
    return cli.COMPLETE if done else cli.SOME_FAILED


def _epoch_line(record: EpochRecord) -> str:
    accuracies = "  ".join(
        f"{split} {100 * accuracy.top1:5.1f} %" for split, accuracy in record.accuracy.items()
    )
    return (
        f"epoch {record.epoch:4}  learning rate {record.learning_rate:.2e}  "
        f"loss {record.train_loss:.4f}  {accuracies}"
    )


def _last_epoch(run: Run) -> list[str]:
    """All accuracies of the run's only training after its last epoch, a line for each split."""
    from nas_skeleton.results import schema
    from nas_skeleton.training.result import SPLITS

    columns = [f"final_{split}_{metric}" for split in SPLITS for metric in schema.METRICS]
    rows = run.rows(["status", *columns])
    lines = []
    for row in rows[rows["status"] == schema.DONE].head(1).to_dict("records"):
        for split in SPLITS:
            found = [row[f"final_{split}_{metric}"] for metric in schema.METRICS]
            if found[0] == found[0]:  # a split without clips has none
                lines.append(f"{split:6} {_percents(found)}")
    return ["", "after the last epoch", *lines] if lines else []


def _percents(accuracies: list[float]) -> str:
    """Top-1, top-5 and mean-class as text."""
    names = ("top-1", "top-5", "mean-class")
    pairs = zip(names, accuracies, strict=True)
    return "  ".join(f"{name} {100 * share:5.1f} %" for name, share in pairs)


def _refuse_options(context: click.Context) -> None:
    """Options of a training before the name of another command would be passed over."""
    for name in context.params:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = "--" + name.replace("_", "-")
            raise click.UsageError(
                f"{option} is for a training: write `train {context.invoked_subcommand}` and its "
                "own options behind it"
            )


@main.command(short_help="Late fusion of finished trainings, without training again.")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option(
    "--weights",
    metavar="W:W...|fit",
    help="How much each run counts, such as 2:2:1:1; fit: those that suit the validation clips "
    "best, test clips are not looked at.  [default: all the same]",
)
@click.option(
    "--csv",
    "csv_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the table to this file, accuracies as shares.",
)
@click.option(
    "--confusion",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the confusion matrix of test clips: numbers to a .csv, or a .png, .svg or .pdf.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def fuse(
    runs: tuple[str, ...],
    weights: str | None,
    csv_path: Path | None,
    confusion: Path | None,
    as_json: bool,
) -> int:
    """Average the class probabilities of finished trainings: late fusion, without training again.

    RUN is a run with one finished training that kept its scores, or RUN:ARCH:SEED.
    """
    from nas_skeleton.results.fusion import fuse as fused_from
    from nas_skeleton.results.fusion import open_stream

    chosen = _weights(weights, len(runs))
    if confusion is not None and confusion.suffix.lower() != ".csv":
        from nas_skeleton.analysis.figures import check_format

        check_format(confusion)
    found = fused_from([open_stream(run) for run in runs], chosen)
    rows = _fused_rows(found)
    if csv_path is not None:
        _write_csv(csv_path, [list(rows[0]), *(list(row.values()) for row in rows)])
    if confusion is not None:
        _write_confusion(found, confusion)
    if as_json:
        cli.print_json({"weights": "fitted" if chosen is None else "given", "rows": rows})
        return cli.COMPLETE
    from tabulate import tabulate

    shown = [
        [row["stream"], f"{row['weight']:.3f}"]
        + ["n/a" if row[name] is None else f"{100 * row[name]:.2f}" for name in list(row)[2:]]
        for row in rows
    ]
    header = ["stream", "weight", *(name.replace("_", " ") + " %" for name in list(rows[0])[2:])]
    align = ("left", *["right"] * (len(header) - 1))
    click.echo(tabulate(shown, header, colalign=align, disable_numparse=True))
    if chosen is None:
        click.echo(
            "Weights were fitted on validation clips: fused accuracy there flatters a little."
        )
    return cli.COMPLETE


def _weights(text: str | None, streams: int) -> list[float] | None:
    """The numbers of `--weights`, None to fit them."""
    if text is None:
        return [1.0] * streams
    if text == "fit":
        return None
    try:
        return [float(part) for part in text.split(":")]
    except ValueError:
        raise click.UsageError(
            f"--weights {text!r}: give numbers such as 2:2:1:1, or fit"
        ) from None


def _fused_rows(found: Fusion) -> list[dict[str, Any]]:
    """A row for each stream and one for all together, accuracies as shares."""
    rows = []
    streams = zip(found.names, found.weights, found.of_streams, strict=True)
    for name, weight, accuracies in (*streams, ("fused", 1.0, found.fused)):
        row: dict[str, Any] = {"stream": name, "weight": weight}
        for split in ("valid", "test"):
            of_split: Accuracy | None = accuracies.get(split)
            for metric in ("top1", "top5", "mean_class"):
                row[f"{split}_{metric}"] = getattr(of_split, metric) if of_split else None
        rows.append(row)
    return rows


def _write_csv(path: Path, rows: list[list[Any]]) -> None:
    import csv

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def _write_confusion(found: Fusion, path: Path) -> None:
    if path.suffix.lower() == ".csv":
        lines = zip(found.classes, found.confusion.tolist(), strict=True)
        _write_csv(path, [["true class", *found.classes], *([name, *row] for name, row in lines)])
        return
    from nas_skeleton.analysis.figures import save_confusion_figure

    title = f"{' + '.join(found.names)}: test clips"
    save_confusion_figure(found.confusion, found.classes, path, title)


def _describe(space: Space, index: int, dataset: str, recipe_name: str | None) -> dict[str, Any]:
    """Facts of a network from the cards alone: the data need not be there."""
    from nas_skeleton.skeletons.load import load_dataset_card
    from nas_skeleton.spaces.costs import reduced_size
    from nas_skeleton.spaces.liveness import roles

    card = load_dataset_card(dataset)
    recipe = space.card.recipe(recipe_name)
    joints = len(card.skeleton.joints)
    bodies = space.card.input.bodies(card.bodies)
    channels = space.card.input.channels(len(card.axes))
    cost = space.cost(
        index,
        recipe,
        classes=len(card.classes),
        joints=joints,
        bodies=bodies,
        channels=channels,
    )
    shapes = []
    size = (recipe.frames, joints)
    for stage in range(3):
        if stage:
            size = reduced_size(*size, space.card.macro.reduction)
        shapes.append([recipe.channels * 2**stage, *size])
    cell = space.cell(index)
    return {
        "arch_index": index,
        "arch_str": space.arch_string(index),
        "functional_key": space.functional_key(index),
        "edges": [
            f"{source}->{target} {name} ({role.value})"
            for (source, target, name), role in zip(cell.named_edges(), roles(cell), strict=True)
        ],
        "params": cost.params,
        "macs": cost.macs,
        "input_shape": ["N", channels, recipe.frames, joints, bodies],
        "stage_shapes": shapes,
        "classes": len(card.classes),
    }


if __name__ == "__main__":
    cli.run(main)
