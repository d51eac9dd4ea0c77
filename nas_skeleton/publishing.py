"""`runs publish` and `runs check`: open tables made from runs, and whether one is sound."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from nas_skeleton.published.files import Manifest


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--name", required=True, help="Name of the table, and of its folder.")
@click.option(
    "-o",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs/published"),
    show_default=True,
    help="Folder to make the table's folder in.",
)
@click.option(
    "--hardware",
    default="",
    metavar="TEXT",
    help="What the trainings ran on, in words, for the datasheet.",
)
def publish(runs: tuple[str, ...], name: str, folder: Path, hardware: str) -> None:
    """Make an open table of all that is finished in RUN..., with checksums and a datasheet.

    The runs are merged: same space, data set, protocol and recipe; other architectures or seeds.
    Running it again replaces the table by one with what is finished by then. Python reads it with
    nas_skeleton.Benchmark.load(NAME).
    """
    from nas_skeleton.progress import Progress
    from nas_skeleton.published.publish import publish as make
    from nas_skeleton.results.run import open_run

    with ExitStack() as stack:

        def watch(steps: int) -> Callable[[], None]:
            progress = Progress("parts of the table", steps)
            stack.callback(progress.close)
            return progress.advance

        opened = [open_run(run) for run in dict.fromkeys(runs)]
        made = make(opened, name, folder, hardware=hardware, watch=watch)
    for file, described in made.files.items():
        click.echo(f"{described.bytes / 1e6:8.2f} MB  {folder / name / file}")
    click.echo(_published_line(made), err=True)


@click.command()
@click.argument("table")
def check(table: str) -> None:
    """Check the published TABLE, a name or a folder: checksums, and that its files agree."""
    from nas_skeleton.published.check import check_table
    from nas_skeleton.published.files import find_published

    folder = find_published(table)
    click.echo(f"{folder}: sound. {_published_line(check_table(folder))}")


def _published_line(made: Manifest) -> str:
    return (
        f"{made.trained:,} trainings, {made.copied:,} copies within functional classes, "
        f"{made.diverged:,} diverged; {made.architectures:,} architectures, "
        f"seeds {', '.join(map(str, made.seeds))}; content {made.content}"
    )
