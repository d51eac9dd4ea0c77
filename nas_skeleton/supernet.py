"""`python -m nas_skeleton.supernet`: one-shot search.

Trains one network that holds all cells, ranks cells by the weights they inherit, and tells what
that ranking is worth where trainings from scratch are there to compare with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from nas_skeleton import cli
from nas_skeleton.commands.supernet_search import NAMES, Study, drawn_cells, problem_of

if TYPE_CHECKING:
    import pandas as pd

    from nas_skeleton.oneshot.methods import MethodName
    from nas_skeleton.results.one_shot import SupernetFolder
    from nas_skeleton.results.run import Run
    from nas_skeleton.scheduling.means import Device


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--method",
    type=click.Choice(list(NAMES)),
    default="spos",
    show_default=True,
    help="How the supernet is trained. spos: a path drawn uniformly for each batch; darts: all "
    "operations mixed; gdas: paths drawn by parameters that learn.",
)
@cli.space_option
@cli.dataset_option
@cli.recipe_option
@cli.protocol_option
@cli.modality_option
@click.option(
    "--seed",
    type=click.IntRange(0, cli.LARGEST_SEED),
    default=777,
    show_default=True,
    help="Of the supernet, and of the cells that are drawn.",
)
@click.option(
    "--epochs",
    type=click.IntRange(1),
    help="Of the supernet, which shares them among all cells.  [default: the recipe's]",
)
@click.option(
    "--cells",
    default="100",
    show_default=True,
    help="How many cells are ranked: those of --against, and functional classes drawn at random "
    "up to this number; or all, one cell for each class.",
)
@click.option(
    "--against",
    metavar="RUN",
    help="A run whose cells were trained from scratch on the same data: how far its order of "
    "cells agrees with the inherited one.",
)
@cli.top_option
@cli.run_option
@cli.device_option
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
def main(
    method: MethodName,
    space: str,
    dataset: str,
    recipe: str | None,
    protocol: str | None,
    modality: str,
    seed: int,
    epochs: int | None,
    cells: str,
    against: str | None,
    top: int,
    run_name: str | None,
    device: Device,
    dry_run: bool,
) -> int:
    """Train a supernet, and rank cells by validation accuracy with the weights they inherit.

    Run the same command again to continue, or with more --cells to rank more. The folder is no
    table of trainings: `search` and `train` make those.
    """
    from nas_skeleton.commands.narration import Saying
    from nas_skeleton.commands.progress import open_dataset
    from nas_skeleton.errors import InputError
    from nas_skeleton.results.one_shot import SupernetArguments, SupernetFolder
    from nas_skeleton.scheduling.means import check_precision, choose_means
    from nas_skeleton.scheduling.signals import Signals
    from nas_skeleton.spaces import load_space
    from nas_skeleton.training.aim import clips_fingerprint

    search_space = load_space(space, modality)
    recipe = recipe or search_space.card.default_recipe
    training_epochs = epochs or search_space.card.recipe(recipe).epochs
    count = _count(cells)
    with Signals().handled() as signals:
        import torch

        trained_on = choose_means(device, "1", "fast").device
        check_precision(recipe, search_space.card.recipe(recipe), trained_on)
        data = open_dataset(dataset)
        data.verify()
        protocol = protocol or data.card.default_protocol
        if not len(data.split(protocol)["valid"]):
            raise InputError(
                f"protocol {protocol!r} of {data.name} has no validation clips to rank by: choose "
                "another --protocol"
            )
        arguments = SupernetArguments(
            space=space,
            dataset=data.name,
            protocol=protocol,
            recipe=recipe,
            method=method,
            epochs=training_epochs,
            seed=seed,
            fingerprint=clips_fingerprint(
                data,
                search_space.card,
                protocol,
                Saying(signals),
                torch.device(trained_on),
                infer=not dry_run,
            ),
            recipe_hash=search_space.card.recipe_hash(recipe),
            modality=modality,
        )
        folder = SupernetFolder(run_name or arguments.default_name, arguments)
        trained = _trained(against, folder) if against else None
        from_scratch = [] if trained is None else [int(index) for index in trained.index]
        wanted = drawn_cells(search_space, count, seed, from_scratch)
        study = Study(
            search_space, data, folder, problem_of(search_space, data, folder, trained_on)
        )
        signals.check()
        click.echo(study.plan(wanted, from_scratch))
        if dry_run:
            return cli.COMPLETE
        folder.claim()
        training = study.train(signals)
        table = study.rank(training, wanted, signals)
    study.report(training, table, top)
    if trained is not None and against is not None:
        click.echo("\n" + _agreement(table, trained, against))
    click.echo(f"\n{folder.folder}: supernet and ranking; no table of trainings (`runs` skips it)")
    return cli.COMPLETE


def _count(cells: str) -> int | None:
    """The number that `--cells` asks for; None for all."""
    if cells == "all":
        return None
    if not cells.isascii() or not cells.isdecimal() or int(cells) == 0:
        raise click.UsageError(f"--cells {cells!r}: give a number of at least 1, or all")
    return int(cells)


def _trained(name: str, folder: SupernetFolder) -> pd.DataFrame:
    """Validation accuracies of the run `name` after its last epoch, by cell and seed.

    Raises:
        InputError: it was trained on other data, or nothing of it is finished.
    """
    from nas_skeleton.errors import InputError
    from nas_skeleton.results import schema
    from nas_skeleton.results.run import open_run

    run: Run = open_run(name)
    for field in ("space", "dataset", "protocol", "modality", "fingerprint"):
        mine, other = getattr(folder.arguments, field), getattr(run.arguments, field)
        if mine != other:
            raise InputError(f"--against {name}: its {field} is {other!r}, not {mine!r}")
    rows = run.rows(["arch_index", "seed", "status", "final_valid_top1"])
    done = rows[rows["status"] == schema.DONE]
    if done.empty:
        raise InputError(f"--against {name}: none of its trainings is finished")
    return done.pivot(index="arch_index", columns="seed", values="final_valid_top1")


def _agreement(table: pd.DataFrame, trained: pd.DataFrame, name: str) -> str:
    """What the inherited order is worth."""
    from nas_skeleton.analysis.agreement import agreements, format_agreements
    from nas_skeleton.results.run import open_run

    by_cell = table.set_index("arch_index")
    scores = {
        "inherited accuracy": by_cell["inherited_valid_top1"],
        "parameters": by_cell["params"],
        "MACs": by_cell["macs"],
    }
    recipe = open_run(name).arguments.recipe
    seeds = f"{trained.shape[1]} seed" + "s" * (trained.shape[1] > 1)
    return (
        f"Order of cells against that of validation top-1 from scratch ({name}: recipe {recipe}, "
        f"mean over {seeds}):\n{format_agreements(agreements(scores, trained))}\n"
        "Inherited and trained accuracies are of the same clips, so they share the luck of the "
        "draw."
    )


if __name__ == "__main__":
    cli.run(main)
