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
@click.option(
    "--sample",
    metavar="RUN",
    help="The one of RUN... whose architectures `runs sample RUN --size N` drew, where not "
    "all have all seeds: the noise in the datasheet is that of these.",
)
@click.option(
    "--author", default="", metavar="TEXT", help="Who made the table, a person or a group."
)
@click.option(
    "--licence",
    default="",
    metavar="TEXT",
    help="Terms of the table: an SPDX name such as CC-BY-4.0, or an address.",
)
@click.option(
    "--contact", default="", metavar="TEXT", help="Where errors are reported: mail or web address."
)
def publish(
    runs: tuple[str, ...],
    name: str,
    folder: Path,
    hardware: str,
    sample: str | None,
    author: str,
    licence: str,
    contact: str,
) -> None:
    """Make an open table of all that is finished in RUN..., with checksums and a datasheet.

    The runs are merged: same space, data set, protocol and recipe; other architectures or seeds.
    The datasheet says what --author, --licence and --contact say, or that it is not stated.
    Running it again replaces the table by one with what is finished by then. Python reads it with
    nas_skeleton.Benchmark.load(NAME).
    """
    from nas_skeleton.commands.progress import Progress
    from nas_skeleton.published.datasheet import size
    from nas_skeleton.published.publish import publish as make
    from nas_skeleton.published.publisher import Publisher
    from nas_skeleton.results.run import open_run

    if sample is not None and sample not in runs:
        raise click.UsageError(f"--sample {sample}: is none of the runs that are published")
    publisher = Publisher(author=author, contact=contact, licence=licence)
    with ExitStack() as stack:

        def watch(steps: int) -> Callable[[], None]:
            progress = Progress("parts of the table", steps)
            stack.callback(progress.close)
            return progress.advance

        opened = [open_run(run) for run in dict.fromkeys(runs)]
        sampled = next((run for run in opened if run.name == sample), None)
        made = make(
            opened,
            name,
            folder,
            hardware=hardware,
            publisher=publisher,
            sample=sampled,
            watch=watch,
        )
    for file, described in made.files.items():
        click.echo(f"{size(described.bytes):>9}  {folder / name / file}")
    click.echo(_published_line(made), err=True)
    if publisher.unsaid:
        options = ", ".join(f"--{name}" for name in publisher.unsaid)
        click.echo(f"Without {options} the datasheet says that it is not stated.", err=True)


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
