"""One-shot search with a plan and progress bars: what `python -m nas_skeleton.supernet` does.

What a supernet is and how it learns is in `oneshot`, what its folder holds in `results.one_shot`.
"""

from __future__ import annotations

import dataclasses
import random
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import pandas as pd

    from nas_skeleton.oneshot.train import Training
    from nas_skeleton.results.one_shot import SupernetFolder
    from nas_skeleton.scheduling.signals import Signals
    from nas_skeleton.skeletons.store import Dataset
    from nas_skeleton.spaces import Cell, Space
    from nas_skeleton.training.candidates import Problem

SAVE_EVERY_S = 20.0
NAMES = {"spos": "uniform paths", "darts": "DARTS, first order", "gdas": "GDAS"}


@dataclass
class Study:
    """One supernet, from its plan to its report."""

    space: Space
    dataset: Dataset
    folder: SupernetFolder
    problem: Problem

    def plan(self, wanted: list[int], from_scratch: list[int]) -> str:
        """What is to be done and how long it takes."""
        from nas_skeleton.commands.progress import duration

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
        from nas_skeleton.commands.progress import Progress
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
        from nas_skeleton.commands.progress import Progress
        from nas_skeleton.oneshot.ranking import Ranker

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
        """Print the ranking, and the cell to go on with."""
        from nas_skeleton.commands.progress import duration
        from nas_skeleton.results.one_shot import format_ranking

        click.echo(f"\nSupernet trained in {duration(training.progress.train_time_s)}")
        clips = len(self.dataset.split(self.folder.arguments.protocol)["valid"])
        click.echo(format_ranking(table, clips, top))
        [chosen] = table[table["selected"]].to_dict("records")
        certainty = training.method.certainty()
        what = "Best by validation" if certainty is None else "Derived cell"
        click.echo(f"\n{what}: #{chosen['arch_index']} {chosen['arch_str']}")
        if certainty is not None:
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

    def _write(self, inherited: dict[int, float], derived: Cell | None) -> pd.DataFrame:
        from nas_skeleton.results.one_shot import ranking_table

        cells = {index: self._facts(index) for index in inherited}
        own = None if derived is None else self.space.index(derived)
        table = ranking_table(self.folder.arguments, cells, inherited, own)
        self.folder.write_ranking(table)
        return table


def drawn_cells(space: Space, count: int | None, seed: int, given: list[int]) -> list[int]:
    """Indices of the cells to rank: the `given` ones, then functional classes drawn at random.

    Each class is represented by its lowest index. A larger `count` adds to a smaller one; None
    stands for all classes.
    """
    order = [indices[0] for indices in space.functional_classes().values()]
    random.Random(f"supernet cells {seed}").shuffle(order)
    further = [index for index in order if index not in set(given)]
    return given + (further if count is None else further[: max(0, count - len(given))])


def problem_of(space: Space, dataset: Dataset, folder: SupernetFolder, device: str) -> Problem:
    """Card, recipe and clips of a supernet, on its device; without test clips."""
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
