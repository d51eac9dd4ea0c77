"""`python -m nas_skeleton.supernet`: one-shot search.

Trains one network that holds all cells, ranks cells by the weights they inherit, and tells what
that ranking is worth where trainings from scratch are there to compare with.
"""

from __future__ import annotations

import random
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas_skeleton import cli

if TYPE_CHECKING:
    import pandas as pd

    from nas_skeleton.oneshot.methods import MethodName
    from nas_skeleton.oneshot.train import Training
    from nas_skeleton.results.one_shot import SupernetFolder
    from nas_skeleton.results.run import Run
    from nas_skeleton.scheduling.means import Device
    from nas_skeleton.scheduling.signals import Signals
    from nas_skeleton.skeletons.store import Dataset
    from nas_skeleton.spaces import Space
    from nas_skeleton.training.candidates import Problem

SAVE_EVERY_S = 20.0
NAMES = {"spos": "uniform paths", "darts": "DARTS, first order", "gdas": "GDAS"}


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--method",
    type=click.Choice(list(NAMES)),
    default="spos",
    show_default=True,
    help="How the supernet is trained. spos: a path drawn uniformly for each batch; darts: all "
    "operations mixed; gdas: paths drawn by parameters that learn.",
)
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
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
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
@click.option("--top", type=click.IntRange(1), default=10, show_default=True, help="Rows to print.")
@click.option("--run", "run_name", help="Name under runs/.  [default: named after the arguments]")
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
    from nas_skeleton.errors import InputError
    from nas_skeleton.narration import Saying
    from nas_skeleton.progress import open_dataset
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
        study = _Study(search_space, data, folder, _problem(search_space, data, folder, trained_on))
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


def drawn_cells(space: Space, count: int | None, seed: int, given: list[int]) -> list[int]:
    """Indices of the cells to rank: the `given` ones, then functional classes drawn at random.

    Each class is represented by its lowest index. A larger `count` adds to a smaller one; None
    stands for all classes.
    """
    order = [indices[0] for indices in space.functional_classes().values()]
    random.Random(f"supernet cells {seed}").shuffle(order)
    further = [index for index in order if index not in set(given)]
    return given + (further if count is None else further[: max(0, count - len(given))])


@dataclass
class _Study:
    """One supernet, from its plan to its report."""

    space: Space
    dataset: Dataset
    folder: SupernetFolder
    problem: Problem

    def plan(self, wanted: list[int], from_scratch: list[int]) -> str:
        """What is to be done and how long it takes."""
        from nas_skeleton.progress import duration

        arguments = self.folder.arguments
        recipe = self.space.card.recipe(arguments.recipe)
        split = self.dataset.split(arguments.protocol)
        training = self._training()
        training.resume(self.folder.checkpoint_path)
        epochs = arguments.epochs - training.progress.epoch
        cells = [index for index in wanted if index not in self.folder.ranking()]
        lines = [
            f"Space      {arguments.space}: {self.space.card.title}",
            f"Data       {arguments.dataset}, protocol {arguments.protocol}: "
            f"{len(split['train'])} train, {len(split['valid'])} valid clips"
            + f", modality {arguments.modality}"
            * bool(arguments.modality),
            f"Recipe     {arguments.recipe} ({arguments.recipe_hash}): C={recipe.channels}, "
            f"N={recipe.cells_per_stage}, {recipe.frames} frames, batch {recipe.batch_size}, "
            f"learning rate {recipe.peak_learning_rate:g}",
            f"Supernet   {NAMES[arguments.method]}, seed {arguments.seed}: {arguments.epochs} "
            f"epochs of {training.steps} steps"
            + " (half the clips teach weights, half operations)" * training.method.learns
            + f", {arguments.epochs - epochs} done",
            f"Ranking    {len(wanted)} cells"
            + f", {len(from_scratch)} of them trained from scratch" * bool(from_scratch)
            + f", {len(wanted) - len(cells)} done",
        ]
        if epochs or cells:
            per_epoch, per_cell = self._pace(epochs, cells)
            total = epochs * per_epoch + len(cells) * per_cell
            lines.append(
                f"Time       about {duration(total)} on {self.problem.task.device.type}: "
                f"{per_epoch:.2g} s an epoch, {per_cell:.2g} s a cell (from a short calibration)"
            )
        return "\n".join([*lines, f"Results    {self.folder.folder}"])

    def train(self, signals: Signals) -> Training:
        """The supernet, trained; raises `StoppedEarly` on a signal."""
        from nas_skeleton.progress import Progress
        from nas_skeleton.training.loop import Stopped

        training = self._training()
        path: Path = self.folder.checkpoint_path
        training.resume(path)
        if training.finished:
            return training
        with closing(Progress("epochs", self.folder.arguments.epochs)) as progress:
            progress.skip(training.progress.epoch)

            def on_epoch(done: Training) -> None:
                cell = done.derived()
                so_far = f", derived so far #{self.space.index(cell)}" if cell else ""
                progress.advance(note=f"loss {done.progress.losses[-1]:.3f}{so_far}")

            try:
                training.run(
                    path,
                    save_every_s=SAVE_EVERY_S,
                    should_stop=lambda: signals.received,
                    on_epoch=on_epoch,
                )
            except Stopped:
                signals.check()
        return training

    def rank(self, training: Training, wanted: list[int], signals: Signals) -> pd.DataFrame:
        """All cells ranked so far, after those `wanted`; raises `StoppedEarly` on a signal."""
        from nas_skeleton.oneshot.ranking import Ranker
        from nas_skeleton.progress import Progress

        derived = training.derived()
        if derived is not None:
            wanted = [*wanted, self.space.index(derived)]
        inherited = self.folder.ranking()
        left = [index for index in dict.fromkeys(wanted) if index not in inherited]
        if left:
            ranker = Ranker(self.problem, training.supernet, training.key)
            saved = time.monotonic()
            with closing(Progress("cells", len(left))) as progress:
                for index in left:
                    inherited[index] = ranker.accuracy(self.space.cell(index))
                    best = max(inherited, key=lambda cell: inherited[cell])
                    progress.advance(note=f"best #{best}, {100 * inherited[best]:.1f} %")
                    if signals.received or time.monotonic() - saved >= SAVE_EVERY_S:
                        self._write(inherited, derived)
                        saved = time.monotonic()
                    signals.check()
        return self._write(inherited, derived)

    def report(self, training: Training, table: pd.DataFrame, top: int) -> None:
        """Print the ranking, and the method's own cell if it has one."""
        from tabulate import tabulate

        from nas_skeleton.results.leaderboard import short_count, wilson_error

        clips = len(self.dataset.split(self.folder.arguments.protocol)["valid"])
        shown = table.head(top)
        click.echo(
            f"\nBest {len(shown)} of {len(table)} cells by validation top-1 with inherited weights "
            f"({clips} clips):"
        )
        body = [
            [
                rank,
                row["arch_index"],
                row["arch_str"],
                f"{100 * row['inherited_valid_top1']:.1f} ± "
                f"{100 * wilson_error(row['inherited_valid_top1'], clips):.1f}",
                short_count(row["params"]),
                short_count(row["macs"]),
            ]
            for rank, row in enumerate(shown.to_dict("records"), start=1)
        ]
        header = ["rank", "index", "architecture", "inherited valid %", "params", "MACs"]
        align = ("right", "right", "left", "right", "right", "right")
        click.echo(tabulate(body, header, colalign=align, disable_numparse=True))
        click.echo(
            "± is the binomial standard error over clips. Inherited accuracies order cells, they "
            "do not foretell what a cell achieves."
        )
        [chosen] = table[table["selected"]].to_dict("records")
        what = "Best by validation" if training.derived() is None else "Derived cell"
        click.echo(f"\n{what}: #{chosen['arch_index']} {chosen['arch_str']}")
        if (certainty := training.method.certainty()) is not None:
            place = int(table.index[table["selected"]][0]) + 1
            click.echo(
                f"inherits {100 * chosen['inherited_valid_top1']:.1f} %, rank {place} of "
                f"{len(table)}; mean probability of its operations {certainty:.3f} (0.2: none "
                "preferred)"
            )
        click.echo(f"Train it: {self._command(chosen['arch_index'])}")

    def _command(self, index: int) -> str:
        arguments = self.folder.arguments
        return (
            f"python -m nas_skeleton.train --arch {index} --space {arguments.space} --dataset "
            f"{arguments.dataset} --protocol {arguments.protocol} --recipe {arguments.recipe}"
            + f" --modality {arguments.modality}"
            * bool(arguments.modality)
        )

    def _training(self) -> Training:
        from nas_skeleton.oneshot.train import Training

        arguments = self.folder.arguments
        return Training(self.problem, arguments.method, arguments.key)  # type: ignore[arg-type]

    def _pace(self, epochs: int, cells: list[int]) -> tuple[float, float]:
        """Seconds of an epoch, and of ranking a cell in the middle of those by MACs."""
        from nas_skeleton.oneshot.ranking import Ranker
        from nas_skeleton.oneshot.train import seconds_per_epoch

        per_epoch = per_cell = 0.0
        method: Any = self.folder.arguments.method
        if epochs:
            per_epoch = seconds_per_epoch(self.problem, method)
        if cells:
            middle = sorted(cells, key=lambda index: self._facts(index)["macs"])[len(cells) // 2]
            ranker = Ranker(self.problem, self._training().supernet, "calibration")
            per_cell = ranker.seconds_per_cell(self.space.cell(middle))
        return per_epoch, per_cell

    def _facts(self, index: int) -> dict[str, Any]:
        """Columns of a cell."""
        task, recipe = self.problem.task, self.folder.arguments.recipe
        cost = self.space.cost(
            index,
            self.space.card.recipe(recipe),
            classes=task.classes,
            joints=len(task.layout.joints),
            bodies=task.bodies,
            channels=task.channels,
        )
        return {
            "arch_str": self.space.arch_string(index),
            "functional_key": self.space.functional_key(index),
            "params": cost.params,
            "macs": cost.macs,
        }

    def _write(self, inherited: dict[int, float], derived: Any) -> pd.DataFrame:
        from nas_skeleton.results.one_shot import ranking_table

        cells = {index: self._facts(index) for index in inherited}
        own = None if derived is None else self.space.index(derived)
        table = ranking_table(self.folder.arguments, cells, inherited, own)
        self.folder.write_ranking(table)
        return table


def _count(cells: str) -> int | None:
    """The number that `--cells` asks for; None for all."""
    if cells == "all":
        return None
    if not cells.isascii() or not cells.isdecimal() or int(cells) == 0:
        raise click.UsageError(f"--cells {cells!r}: give a number of at least 1, or all")
    return int(cells)


def _problem(space: Space, dataset: Dataset, folder: SupernetFolder, device: str) -> Problem:
    """Card, recipe and clips of a supernet, on its device; without test clips."""
    import dataclasses

    import torch

    from nas_skeleton.oneshot.train import with_epochs
    from nas_skeleton.training.candidates import Problem
    from nas_skeleton.training.task import build_task

    arguments = folder.arguments
    recipe = with_epochs(space.card.recipe(arguments.recipe), arguments.epochs)
    task = build_task(
        space.card, recipe, dataset, arguments.protocol, lambda line: click.echo(line, err=True)
    )
    seen = {split: ids for split, ids in task.splits.items() if split != "test"}
    task = dataclasses.replace(task, splits=seen)
    return Problem(space.card, recipe, task.to(torch.device(device)))


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
    from tabulate import tabulate

    from nas_skeleton.analysis.agreement import FEWEST, TOP, agreements
    from nas_skeleton.results.run import open_run

    by_cell = table.set_index("arch_index")
    scores = {
        "inherited accuracy": by_cell["inherited_valid_top1"],
        "parameters": by_cell["params"],
        "MACs": by_cell["macs"],
    }
    found = agreements(scores, trained)
    if not found:
        return f"run {name} has too few cells with all its seeds finished to compare with"
    body = [
        [
            "all" if part == "all" else f"best {100 * TOP:.0f} %",
            score,
            value.cells,
            f"{value.tau:+.2f} [{value.low:+.2f}, {value.high:+.2f}]",
        ]
        for (part, score), value in found.items()
    ]
    recipe = open_run(name).arguments.recipe
    seeds = f"{trained.shape[1]} seed" + "s" * (trained.shape[1] > 1)
    lines = [
        f"Kendall's tau-b with validation top-1 from scratch ({name}: recipe {recipe}, mean over "
        f"{seeds}), and its 95 % interval over cells:",
        tabulate(body, ["cells", "order by", "number", "tau"], colalign=("left", "left")),
        "Inherited and trained accuracies are those of the same clips, so they share the luck of "
        "the draw.",
    ]
    if not any(part == "top" for part, _ in found):
        few = round(FEWEST / TOP)
        lines.append(f"For the best {100 * TOP:.0f} % alone it takes {few} cells or more.")
    return "\n".join(lines)


if __name__ == "__main__":
    cli.run(main)
