"""`python -m nas_skeleton.runs`: look at runs, see what is missing, write their tables as files."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nas_skeleton import cli

if TYPE_CHECKING:
    from nas_skeleton.results.run import Run
    from nas_skeleton.spaces import Space


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Runs: what searches and trainings wrote to runs/ in the working folder."""


@main.command("list")
def list_() -> None:
    """List all runs with the number of their trainings: finished, failed, missing."""
    from tabulate import tabulate

    from nas_skeleton.results.run import run_names

    rows = [[name, *_listed(name)] for name in run_names()]
    if not rows:
        click.echo("No runs here yet. Start one: python -m nas_skeleton.search --dataset synthetic")
        return
    click.echo(tabulate(rows, headers=["run", *COUNTS]))


@main.command()
@click.argument("run")
@click.option("--top", type=click.IntRange(1), default=10, show_default=True, help="Rows to print.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@click.option(
    "--figure",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also draw the run to this file (.png, .svg or .pdf).",
)
def show(run: str, top: int, as_json: bool, figure: Path | None) -> None:
    """Show the leaderboard of RUN, what it was asked for, and how much of it is done."""
    from nas_skeleton.results.leaderboard import format_leaderboard, run_leaderboard

    opened, space = _open(run)
    counts = _counts(opened, space)
    board = run_leaderboard(opened)
    if figure:
        from nas_skeleton.analysis.figures import save_run_figure

        save_run_figure(board, space, figure, title=opened.name)
        click.echo(f"figure: {figure}", err=True)
    if as_json:
        table = board.table.head(top).astype(object)
        cli.print_json(
            {
                "run": opened.name,
                "arguments": asdict(opened.arguments),
                "trainings": counts,
                "engines": board.engines,
                "ranked_by": board.ranked_by,
                "reliability": {name: asdict(value) for name, value in board.reliability.items()},
                "leaderboard": table.where(table.notna(), None).to_dict("records"),
            }
        )
        return
    for field, value in asdict(opened.arguments).items():
        if value is not None:
            click.echo(f"{field:14} {value}")
    engines = ", ".join(f"{engine} ({count})" for engine, count in board.engines.items())
    click.echo(f"{'engines':14} {engines or 'none yet'}")
    click.echo(", ".join(f"{count} {what}" for what, count in counts.items()) + " trainings\n")
    click.echo(format_leaderboard(board, top))


@main.command()
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def missing(run: str, as_json: bool) -> None:
    """List the trainings RUN still needs, failed ones included: architecture and seed."""
    from nas_skeleton.scheduling.plan import missing_jobs, planned_jobs

    opened, space = _open(run)
    jobs = missing_jobs(opened, planned_jobs(opened.arguments, space))
    if as_json:
        pairs = [{"arch_index": job.arch_index, "seed": job.seed} for job in jobs]
        cli.print_json({"run": opened.name, "missing": pairs})
        return
    for job in jobs:
        click.echo(f"{job.arch_index} {job.seed}")
    click.echo(f"{len(jobs)} trainings missing", err=True)


@main.command()
@click.argument("run")
def collect(run: str) -> None:
    """Write RUN's table, learning curves and predictions as Parquet, the table also as CSV."""
    from nas_skeleton.results.collect import collect as write
    from nas_skeleton.results.copies import table_rows

    opened, space = _open(run)
    rows = table_rows(opened, space, blobs=True)
    for path in write(opened, rows):
        click.echo(path)
    click.echo(f"{len(rows)} rows, {_counts(opened, space)['missing']} missing", err=True)


def _listed(name: str) -> list[object]:
    from nas_skeleton.errors import InputError

    try:
        return list(_counts(*_open(name)).values())
    except InputError as error:
        return [f"unreadable: {error}"]


COUNTS = ("done", "diverged", "failed", "missing")


def _open(name: str) -> tuple[Run, Space]:
    from nas_skeleton.results.run import open_run
    from nas_skeleton.spaces import load_space

    run = open_run(name)
    return run, load_space(run.arguments.space)


def _counts(run: Run, space: Space) -> dict[str, int]:
    """How many of the planned trainings have which status; failed ones count as missing too."""
    from nas_skeleton.scheduling.plan import missing_jobs, planned_jobs

    jobs = list(planned_jobs(run.arguments, space))
    status = run.rows()["status"]
    counts = {what: int((status == what).sum()) for what in COUNTS[:-1]}
    return {**counts, "missing": len(missing_jobs(run, jobs))}


if __name__ == "__main__":
    cli.run(main)
