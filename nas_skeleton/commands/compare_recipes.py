"""`compare recipes`: what the accuracies of several recipes are worth, and what that costs."""

from __future__ import annotations

import math
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nas_skeleton import cli

if TYPE_CHECKING:
    from nas_skeleton.analysis.observations import Observations
    from nas_skeleton.analysis.recipes import ComparedRecipe
    from nas_skeleton.analysis.reliability import Estimate, Signal


@click.command(short_help="What accuracies of several recipes are worth, and what that costs.")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option(
    "--against",
    metavar="RUN",
    help="How each agrees with this run, on the cells that both have.",
)
@click.option(
    "--reliability",
    "wanted",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.9,
    show_default=True,
    help="Of the mean over seeds: what is asked for.",
)
@click.option(
    "--top",
    type=click.IntRange(2, 1000),  # of 20,000 resamples the least p times 1000 is below 5 %
    default=100,
    show_default=True,
    help="Cells to tell from the best: the best on validation.",
)
@click.option(
    "--unconnected",
    is_flag=True,
    help="Count cells whose output does not depend on the input too. They are all equally bad, "
    "which makes every recipe look more reliable than it is among the others.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("recipes"),
    show_default=True,
    help="Folder for the tables (CSV) and the figure (PNG).",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def recipes(
    runs: tuple[str, ...],
    against: str | None,
    wanted: float,
    top: int,
    unconnected: bool,
    output: Path,
    as_json: bool,
) -> int:
    """Say of each RUN how much of its accuracies is the cell, how much luck, and what that costs.

    Runs should have the same cells, each trained with at least two seeds: only cells that all of
    them have with all their seeds are looked at. A RUN with * in it, such as 'nb201_*_loso-*_777'
    in quotes, stands for all runs that match, as folds of a cross-validation: then one result is
    the accuracy over the clips of all folds, and takes the seconds of all of them. A RUN may also
    be a published table, by its name or folder.

    The first are the recipes that take the fewest seconds per cell for the wanted reliability.
    """
    import pandas as pd

    from nas_skeleton.analysis.recipe_figures import save_reliabilities
    from nas_skeleton.analysis.recipes import compare_recipes
    from nas_skeleton.commands.progress import Progress

    if len(set(runs)) < len(runs):
        raise click.UsageError("RUN...: one of them is given twice")
    observed = [_observed(name, unconnected=unconnected) for name in runs]
    other = _observed(against, unconnected=unconnected) if against else None
    for one in [*observed, other] if other else observed:
        click.echo(_what_is_there(one), err=True)
    with closing(Progress("recipes", len(runs))) as progress:
        rows = compare_recipes(observed, other, wanted=wanted, top=top, advance=progress.advance)
    facts = [row.facts() for row in rows]
    replaced = (output / "recipes.csv").exists()
    output.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(facts).to_csv(output / "recipes.csv", index=False)
    trainings = pd.concat([row.observed.trainings().assign(recipe=row.label) for row in rows])
    trainings.to_csv(output / "trainings.csv", index=False)
    save_reliabilities({row.label: row.worth for row in rows}, wanted, output / "recipes.png")
    if as_json:
        cli.print_json(
            {
                "cells": rows[0].worth.cells,
                "reliability": wanted,
                "against": against,
                "recipes": facts,
            }
        )
        return cli.COMPLETE
    for line in _said(rows, wanted, other, unconnected=unconnected):
        click.echo(line)
    click.echo(
        f"All numbers, with 95 % intervals over cells, all trainings, and a figure: {output}/"
        + ", in place of older ones" * replaced
    )
    return cli.COMPLETE


def _observed(name: str, *, unconnected: bool) -> Observations:
    """Of a run, of folds, or of a published table."""
    from nas_skeleton.analysis.observations import observe
    from nas_skeleton.published.find import find_run_or_table
    from nas_skeleton.published.noise import observations_of
    from nas_skeleton.published.table import PublishedTable
    from nas_skeleton.results.run import Run

    found = None if "*" in name else find_run_or_table(name)
    if found is None or isinstance(found, Run):
        return observe(name, unconnected=unconnected)
    return observations_of(PublishedTable(found), unconnected=unconnected)


def _what_is_there(one: Observations) -> str:
    """How many cells count, and why others do not."""
    text = f"{one.name}: {len(one)} cells with {_count(len(one.seeds), 'seed')}"
    text += f" and {one.folds} folds" * (one.folds > 1)
    if one.unfinished:
        text += f"; {one.unfinished} more are not finished with all of them"
    if one.diverged:
        text += f", {_count(one.diverged, 'training')} diverged"
    if one.unconnected:
        text += f"; {one.unconnected} left out, whose output does not depend on the input"
    return text


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + "s" * (number != 1)


def _said(
    rows: list[ComparedRecipe], wanted: float, other: Observations | None, *, unconnected: bool
) -> list[str]:
    """Three tables, and how to read them."""
    from nas_skeleton.analysis.agreement import FEWEST

    cells = rows[0].worth.cells
    lines = [
        f"{cells} cells that all have"
        + ("" if unconnected else ", all of them connected")
        + f"; seconds are of one worker, per cell; wanted reliability {wanted:g}:",
        "",
        _signal_table(rows),
        "",
        "ICC: share of the variance of one training's accuracy that belongs to the cell, [95 % "
        "interval over cells]. Seeds: how many a mean of the wanted reliability takes (Spearman-"
        "Brown) [that of the interval of the ICC]; seconds for the larger number of the two. Best: "
        "test accuracy of the cell that is best on validation, by the networks that were chosen: "
        "luck helps it, the more the noisier a recipe is. Each: of one training; seconds by "
        "the clock, so that other load counts, MACs of its forward passes and evaluations.",
        *(
            [f"Only {cells} cells: intervals of tau are narrower than they should be."]
            if cells < FEWEST
            else []
        ),
        "",
        _order_table(rows, other),
        "",
    ]
    if other:
        lines += [
            f"Against {other.name}: tau-b of mean test accuracies over the cells both have, and, "
            "corrected, without the noise of seeds (Spearman's correction of the correlation that "
            "belongs to tau by Greiner's relation). Both are measured on the same clips if their "
            "protocols are the same.",
            "",
        ]
    lines += [_noise_table(rows), "", *_noise_notes(rows), ""]
    if any(row.observed.folds > 1 for row in rows):
        lines += [
            "Of joined folds: a clip that one fold chooses with is tested in another, so nothing "
            "is said of validation against test.",
            "",
        ]
    return lines


def _table(header: list[str], body: list[list[str]]) -> str:
    from tabulate import tabulate

    align = ("left", *["right"] * (len(header) - 1))
    return tabulate(body, header, colalign=align, disable_numparse=True)


def _signal_table(rows: list[ComparedRecipe]) -> str:
    from nas_skeleton.results.leaderboard import short_count

    header = ["recipe", "s each", "MACs each", "mean test %", "best", "ICC valid", "ICC test"]
    header += ["seeds on valid", "seeds on test", "s needed", "in whole seeds"]
    body = []
    for row in rows:
        worth = row.worth
        valid, test = _signals(row)
        body.append(
            [
                row.label,
                f"{worth.seconds:.3g}",
                short_count(worth.work),
                _points(test.mean if test else None),
                _points(worth.best_test),
                _interval(valid.single if valid else None),
                _interval(test.single if test else None),
                *(_interval(of.trainings if of else None, ".1f") for of in (valid, test)),
                _number(row.seconds_needed, ".3g"),
                _number(row.whole_seconds_needed, ".3g"),
            ]
        )
    return _table(header, body)


def _order_table(rows: list[ComparedRecipe], other: Observations | None) -> str:
    header = ["Kendall's tau-b", "seed-seed valid", "seed-seed test", "valid-test"]
    header += ["valid-test of means"]
    header += ["against", "cells", "corrected"] * bool(other)
    body = []
    for row in rows:
        worth, agreed = row.worth, row.agreed["test"]
        line = [
            row.label,
            *(_interval(of.between_seeds if of else None) for of in _signals(row)),
            _interval(worth.valid_test),
            _interval(worth.valid_test_of_means),
        ]
        if other:
            line += [
                _interval(agreed.tau if agreed else None),
                str(agreed.cells) if agreed else "n/a",
                _number(agreed.corrected if agreed else None, ".2f"),
            ]
        body.append(line)
    return _table(header, body)


def _noise_table(rows: list[ComparedRecipe]) -> str:
    header = ["noise in points", "seeds, valid", "seeds, test", "clips, valid", "clips, test"]
    header += ["on top, test", "in a class, test", "ICC test, better half"]
    header += ["networks apart", "cells apart"]
    body = []
    for row in rows:
        valid, test = _signals(row)
        spread = test.within_class if test else None
        top = row.top
        body.append(
            [
                row.label,
                *(_points(of.seed_sd if of else None) for of in (valid, test)),
                *(_points(of.clip_error if of else None) for of in (valid, test)),
                _points(test.shared_sd if test else None),
                f"{_points(spread.sd)} ({spread.members} in {spread.classes})" if spread else "n/a",
                _interval(test.better_half if test else None),
                *(
                    f"{apart.worse} + {apart.better} of {top.compared}" if apart and top else "n/a"
                    for apart in ((top.networks, top.cells) if top else (None, None))
                ),
            ]
        )
    return _table(header, body)


def _noise_notes(rows: list[ComparedRecipe]) -> list[str]:
    clips = {row.worth.signals["test"].clips for row in rows}
    return [
        "Seeds: standard deviation of one training's accuracy over seeds. Clips: binomial standard "
        f"error of an accuracy on that many clips (test: {', '.join(map(str, sorted(clips)))}). On "
        "top: what of the noise of seeds all clips share, so that it adds to that of clips. In a "
        "class: standard deviation among trainings, with the same seed, of members of one "
        "functional class (members in classes), which are one function: noise and nothing else. "
        "Better half: the ICC among the better half of the cells, chosen on validation with the "
        "first half of the seeds and measured with the others, from three seeds on.",
        "Apart from the best: of the cells next best on validation, how many have less + more mean "
        "test accuracy than the best on validation, after Holm's correction at 5 %. Networks: "
        "these trained networks, by a permutation test over clips. Cells: the cells, were they "
        "trained again with other seeds, by a test over clips and seeds; the first half of the "
        "seeds chooses, the others are tested. Clips count as independent, though few persons "
        "perform them: rather fewer are apart.",
        "Of a published table that has a sample these are the cells of that: its DATASHEET.md has "
        "the members of classes, and the best of all cells.",
    ]


def _signals(row: ComparedRecipe) -> tuple[Signal | None, Signal | None]:
    """On validation and on test clips."""
    signals = row.worth.signals
    return signals.get("valid"), signals.get("test")


def _points(share: float | None) -> str:
    return "n/a" if share is None else f"{100 * share:.1f}"


def _number(value: float | None, form: str) -> str:
    if value is None:
        return "n/a"
    return "never" if math.isinf(value) else format(value, form)


def _interval(found: Estimate | None, form: str = ".2f") -> str:
    if found is None or math.isnan(found.value):
        return "n/a"
    value, low, high = (_number(one, form) for one in (found.value, found.low, found.high))
    return f"{value} [{low}, {high}]"
