"""`python -m nas_skeleton.report`: one HTML file to click through a run or a published table."""

from __future__ import annotations

from pathlib import Path

import click

from nas_skeleton import cli


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("name", metavar="RUN|TABLE")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("report.html"),
    show_default=True,
    help="File to write; one that is there is replaced.",
)
@click.option(
    "--clips",
    type=click.IntRange(0),
    default=24,
    show_default=True,
    help="Put so many clips that the best cell gets wrong into the file, as moving skeletons, "
    "where the data set is prepared; 0 for none, as where its licence lets you not pass clips on.",
)
def main(name: str, output: Path, clips: int) -> None:
    """Write one HTML file that shows all architectures of a RUN or a published TABLE.

    A table to sort and filter, accuracy against cost, each cell with its learning curve, and two
    cells clip by clip. TABLE is the name of a published table or a folder. The file needs no
    network and loads nothing: send it to somebody, or open it in any browser of 2023 or later.
    """
    from nas_skeleton.commands.progress import Progress
    from nas_skeleton.report.animations import Animations, animations_of
    from nas_skeleton.report.page import best_of, leaderboard, report_page
    from nas_skeleton.report.study import find_study
    from nas_skeleton.results.collect import replacing

    progress = Progress("steps", 3)
    try:
        study = find_study(name)
        progress.advance(note="results are read")
        board = leaderboard(study)
        moving = animations_of(study, best_of(board), clips) if clips else Animations()
        progress.advance(note=f"{len(moving.clips)} clips")
        page = report_page(study, board, moving)
        output.parent.mkdir(parents=True, exist_ok=True)
        with replacing(output) as temporary:
            temporary.write_text(page, encoding="utf-8", newline="\n")
        progress.advance(note="written")
    finally:
        progress.close()
    archs = study.rows["arch_index"].nunique()
    click.echo(
        f"{output}: {archs:,} architectures of {study.kind} {study.name!r}, "
        f"{output.stat().st_size / 1e6:.1f} MB"
    )
    if moving.clips:
        click.echo(
            f"{len(moving.clips)} clips are in it (licence: {moving.licence}); before you pass it "
            "on, see that you may, or leave them out with --clips 0",
            err=True,
        )
    elif moving.missing:
        click.echo(f"no moving skeletons: {moving.missing}", err=True)


if __name__ == "__main__":
    cli.run(main)
