"""`python -m nas_skeleton.train`: one network, every epoch printed; or only described."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from nas_skeleton import cli
from nas_skeleton.training.engines import ENGINES

if TYPE_CHECKING:
    from nas_skeleton.scheduling.campaign import Device, EngineChoice
    from nas_skeleton.spaces import Space
    from nas_skeleton.training.result import EpochRecord


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--arch", required=True, help="Index of a cell (0 to 15624) or its string.")
@click.option("--space", default="nb201", show_default=True, help="Card in search_spaces/.")
@click.option("--dataset", default="utdmhad", show_default=True, help="Card in datasets/.")
@click.option("--recipe", help="Recipe in the space's card.  [default: the card's default_recipe]")
@click.option(
    "--protocol", help="Protocol in the data set's card.  [default: its default_protocol]"
)
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
def main(
    arch: str,
    space: str,
    dataset: str,
    recipe: str | None,
    protocol: str | None,
    seed: int,
    run_name: str | None,
    device: Device,
    engine: EngineChoice,
    describe: bool,
    as_json: bool,
) -> int:
    """Train one architecture and print every evaluated epoch; the row is kept as a run of one.

    Run the same command again to continue an interrupted training.
    """
    from nas_skeleton.progress import open_dataset
    from nas_skeleton.spaces import load_space

    search_space = load_space(space)
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


def _describe(space: Space, index: int, dataset: str, recipe_name: str | None) -> dict[str, Any]:
    """Facts of a network from the cards alone: the data need not be there."""
    from nas_skeleton.skeletons.card import load_dataset_card
    from nas_skeleton.skeletons.layouts import get_layout
    from nas_skeleton.spaces.costs import reduced_size
    from nas_skeleton.spaces.liveness import roles

    card = load_dataset_card(dataset)
    recipe = space.card.recipe(recipe_name)
    joints = len(get_layout(card.layout).joints)
    bodies = 1 if space.card.input.encoding == "image" else card.bodies
    cost = space.cost(index, recipe, classes=len(card.classes), joints=joints, bodies=bodies)
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
        "input_shape": ["N", 3, recipe.frames, joints, bodies],
        "stage_shapes": shapes,
        "classes": len(card.classes),
    }


if __name__ == "__main__":
    cli.run(main)
