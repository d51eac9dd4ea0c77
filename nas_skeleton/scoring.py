"""`python -m nas_skeleton.proxies`: score cells by zero-cost proxies, without training any.

Thin: it reads options, prints the plan, lets `scheduling.scoring` work, and prints a summary.
"""

from __future__ import annotations

import re
from contextlib import closing
from typing import TYPE_CHECKING

import click

from nas_skeleton import cli
from nas_skeleton.commands.arch_list import LISTED, listed_archs

if TYPE_CHECKING:
    from nas_skeleton.results.proxies import ProxyRun
    from nas_skeleton.results.run import Run
    from nas_skeleton.scheduling.scoring import Assignment
    from nas_skeleton.scheduling.signals import Signals
    from nas_skeleton.skeletons.store import Dataset
    from nas_skeleton.spaces import Space


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
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
    help="Of the initial weights, which are those of a training with this seed, and of the clips.",
)
@click.option(
    "--clips",
    type=click.IntRange(2),
    default=32,
    show_default=True,
    help="Training clips that every cell is scored on, several of each of their classes.",
)
@click.option(
    "--archs",
    default="one-per-class",
    show_default=True,
    metavar=f"all|one-per-class|{LISTED}",
    help="Which cells; one-per-class: the first of each functional class.",
)
@click.option(
    "--workers", default="auto", show_default=True, help="Worker processes; auto: a core each."
)
@cli.run_option
@click.option(
    "--against",
    metavar="RUN",
    help="A run of the same space: also print how each proxy ranks its cells, compared with their "
    "validation accuracies.",
)
def main(
    space: str,
    dataset: str,
    recipe: str | None,
    protocol: str | None,
    modality: str,
    seed: int,
    clips: int,
    archs: str,
    workers: str,
    run_name: str | None,
    against: str | None,
) -> None:
    """Score cells by the 13 zero-cost proxies of NAS-Bench-Suite-Zero, on a batch of clips.

    Nothing is trained. Run the same command again to continue: what is scored is not scored again.
    """
    from nas_skeleton.scheduling.signals import Signals

    with Signals("cells that are being scored are finished first").handled() as signals:
        from nas_skeleton.commands.progress import open_dataset
        from nas_skeleton.cores import usable_cores
        from nas_skeleton.results.run import open_run
        from nas_skeleton.scheduling.means import worker_count
        from nas_skeleton.spaces import load_space

        search_space = load_space(space, modality)
        chosen = _cells(search_space, archs)
        trained = open_run(against) if against else None
        if trained:
            _check_comparable(trained, space)
        count = worker_count(workers, usable_cores())
        data = open_dataset(dataset)
        assignment = _assignment(
            search_space, data, recipe, protocol, modality, seed, clips, signals
        )
        run = _run(assignment, run_name)
        done = set(run.scores()["arch_index"].tolist())
        left = [arch for arch in chosen if arch not in done]
        click.echo(_plan(assignment, run, len(chosen), len(left), count))
        _check(signals)
        _score(assignment, run, left, count, signals, len(chosen))
        paths = run.write_tables(search_space) if run.path.is_file() else []
        _check(signals)
    click.echo(f"\n{_summary(run, assignment, data, trained)}\n")
    for path in paths:
        click.echo(path)


def _assignment(
    space: Space,
    data: Dataset,
    recipe: str | None,
    protocol: str | None,
    modality: str,
    seed: int,
    clips: int,
    signals: Signals,
) -> Assignment:
    from nas_skeleton.commands.narration import Saying
    from nas_skeleton.proxies.examples import draw_examples
    from nas_skeleton.results.proxies import Identity
    from nas_skeleton.scheduling.scoring import Assignment
    from nas_skeleton.training.aim import clips_fingerprint
    from nas_skeleton.training.task import build_task

    recipe = recipe or space.card.default_recipe
    protocol = protocol or data.card.default_protocol
    chosen = space.card.recipe(recipe)
    data.verify()
    identity = Identity(
        space=space.name,
        dataset=data.name,
        fingerprint=clips_fingerprint(data, space.card, protocol, Saying(signals)),
        protocol=protocol,
        recipe=recipe,
        recipe_hash=space.card.recipe_hash(recipe),
        modality=modality,
        seed=seed,
        clips=clips,
    )
    task = build_task(
        space.card, chosen, data, protocol, lambda line: click.echo(line, err=True), verify=True
    )
    return Assignment(space, identity, draw_examples(task, clips, seed))


def _run(assignment: Assignment, name: str | None) -> ProxyRun:
    from nas_skeleton.results.proxies import plan_proxy_run

    its = assignment.identity
    parts = ("proxies", its.space, its.dataset, its.protocol, its.recipe, its.seed, its.modality)
    default = "_".join(re.sub(r"[^A-Za-z0-9_.-]", "-", str(part)) for part in parts if part != "")
    return plan_proxy_run(name or default, its)


def _score(
    assignment: Assignment,
    run: ProxyRun,
    left: list[int],
    workers: int,
    signals: Signals,
    total: int,
) -> None:
    from nas_skeleton.commands.progress import Progress
    from nas_skeleton.scheduling.scoring import score_cells

    if not left:
        return
    with closing(Progress("cells", total, under_way=min(workers, len(left)) / 2)) as progress:
        progress.skip(total - len(left))
        score_cells(
            assignment,
            run,
            left,
            min(workers, len(left)),
            signals,
            lambda _: progress.advance(),
        )


def _cells(space: Space, archs: str) -> list[int]:
    """The indices that `--archs` asks for.

    Raises:
        click.UsageError: it is no such list.
        InputError: the space has no such cell.
    """
    if archs == "all":
        return list(range(len(space)))
    if archs == "one-per-class":
        return sorted(members[0] for members in space.functional_classes().values())
    return listed_archs(space, archs)


def _check_comparable(trained: Run, space: str) -> None:
    from nas_skeleton.errors import InputError

    if trained.arguments.space != space:
        raise InputError(
            f"--against {trained.name!r}: its space is {trained.arguments.space!r}, not {space!r}"
        )


def _check(signals: Signals) -> None:
    from nas_skeleton.errors import StoppedEarly

    if signals.received:
        raise StoppedEarly(
            "stopped by a signal: scored cells are kept; run the same command again to go on"
        )


def _plan(assignment: Assignment, run: ProxyRun, cells: int, left: int, workers: int) -> str:
    its, examples = assignment.identity, assignment.examples
    recipe = assignment.space.card.recipe(its.recipe)
    classes = len(set(examples.labels.tolist()))
    return "\n".join(
        (
            f"Space      {its.space}: {assignment.space.card.title}",
            f"Data       {its.dataset}, protocol {its.protocol}: {its.clips} training clips of "
            f"{classes} classes" + f", modality {its.modality}" * bool(its.modality),
            f"Recipe     {its.recipe} ({its.recipe_hash}): C={recipe.channels}, "
            f"N={recipe.cells_per_stage}, {recipe.frames} frames, seed {its.seed}",
            f"Plan       {cells} cells, {cells - left} scored, {left} to do, {workers} worker"
            + "s" * (workers > 1),
            f"Results    {run.folder}",
        )
    )


def _summary(run: ProxyRun, assignment: Assignment, data: Dataset, trained: Run | None) -> str:
    """The best cell by each proxy, and what each is worth where there are trainings to compare."""
    from tabulate import tabulate

    from nas_skeleton.analysis.agreement import rank_correlations
    from nas_skeleton.proxies.names import PROXIES
    from nas_skeleton.results.proxies import scored_and_trained

    scores = run.scores()
    headers = ["proxy", "highest at", "score", "lowest", "median", "missing"]
    rows: list[list[object]] = []
    for name in PROXIES:
        column = scores[f"proxy_{name}"]
        known = scores["arch_index"][column == column.max()]
        at = f"#{known.iloc[0]}" if len(known) else "-"
        numbers = [f"{value:.6g}" for value in (column.max(), column.min(), column.median())]
        rows.append([name, at, *numbers, int(column.isna().sum())])
    text = f"{len(scores)} cells, {scores['seconds'].mean():.2f} s of one core each\n"
    if trained is None:
        return text + tabulate(rows, headers, disable_numparse=True)
    both = scored_and_trained(run, trained, assignment.space, data)
    headers += ["Spearman", "Kendall tau-b", "cells"]
    for row, name in zip(rows, PROXIES, strict=True):
        found = rank_correlations(both, f"proxy_{name}", "final_valid_top1")
        row += [f"{found.spearman:.3f}", f"{found.kendall:.3f}", found.cells]
    its = trained.arguments
    text += (
        f"against final validation accuracy in run {trained.name} ({its.dataset}, protocol "
        f"{its.protocol}, recipe {its.recipe}; mean over a cell's seeds)\n"
    )
    return text + tabulate(rows, headers, disable_numparse=True)


if __name__ == "__main__":
    cli.run(main)
