"""`train fuse`: joins the class scores of trainings that are finished."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas_skeleton import cli

if TYPE_CHECKING:
    from nas_skeleton.results.fusion import Fusion
    from nas_skeleton.training.result import Accuracy


@click.command(short_help="Late fusion of finished trainings, without training again.")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option(
    "--weights",
    metavar="W:W...|fit",
    help="How much each run counts, such as 2:2:1:1; fit: those that suit the validation clips "
    "best, test clips are not looked at.  [default: all the same]",
)
@click.option(
    "--csv",
    "csv_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the table to this file, accuracies as shares.",
)
@click.option(
    "--confusion",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the confusion matrix of test clips: numbers to a .csv, or a .png, .svg or .pdf.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def fuse(
    runs: tuple[str, ...],
    weights: str | None,
    csv_path: Path | None,
    confusion: Path | None,
    as_json: bool,
) -> int:
    """Average the class probabilities of finished trainings: late fusion, without training again.

    RUN is a run with one finished training that kept its scores, or RUN:ARCH:SEED.
    """
    from nas_skeleton.results.fusion import fuse as fused_from
    from nas_skeleton.results.fusion import open_stream

    chosen = _weights(weights, len(runs))
    if confusion is not None and confusion.suffix.lower() != ".csv":
        from nas_skeleton.analysis.style import check_format

        check_format(confusion)
    found = fused_from([open_stream(run) for run in runs], chosen)
    rows = _fused_rows(found)
    if csv_path is not None:
        _write_csv(csv_path, [list(rows[0]), *(list(row.values()) for row in rows)])
    if confusion is not None:
        _write_confusion(found, confusion)
    if as_json:
        cli.print_json({"weights": "fitted" if chosen is None else "given", "rows": rows})
        return cli.COMPLETE
    click.echo(_table(rows))
    if chosen is None:
        click.echo(
            "Weights were fitted on validation clips: fused accuracy there flatters a little."
        )
    return cli.COMPLETE


def fused_table(runs: Sequence[str], weights: Sequence[float]) -> str:
    """What `train fuse` prints of finished runs."""
    from nas_skeleton.results.fusion import fuse as fused_from
    from nas_skeleton.results.fusion import open_stream

    return _table(_fused_rows(fused_from([open_stream(run) for run in runs], weights)))


def _table(rows: list[dict[str, Any]]) -> str:
    from tabulate import tabulate

    shown = [
        [row["stream"], f"{row['weight']:.3f}"]
        + ["n/a" if row[name] is None else f"{100 * row[name]:.2f}" for name in list(row)[2:]]
        for row in rows
    ]
    header = ["stream", "weight", *(name.replace("_", " ") + " %" for name in list(rows[0])[2:])]
    align = ("left", *["right"] * (len(header) - 1))
    return tabulate(shown, header, colalign=align, disable_numparse=True)


def _weights(text: str | None, streams: int) -> list[float] | None:
    """The numbers of `--weights`, None to fit them."""
    if text is None:
        return [1.0] * streams
    if text == "fit":
        return None
    try:
        return [float(part) for part in text.split(":")]
    except ValueError:
        raise click.UsageError(
            f"--weights {text!r}: give numbers such as 2:2:1:1, or fit"
        ) from None


def _fused_rows(found: Fusion) -> list[dict[str, Any]]:
    """A row for each stream and one for all together, accuracies as shares."""
    rows = []
    streams = zip(found.names, found.weights, found.of_streams, strict=True)
    for name, weight, accuracies in (*streams, ("fused", 1.0, found.fused)):
        row: dict[str, Any] = {"stream": name, "weight": weight}
        for split in ("valid", "test"):
            of_split: Accuracy | None = accuracies.get(split)
            for metric in ("top1", "top5", "mean_class"):
                row[f"{split}_{metric}"] = getattr(of_split, metric) if of_split else None
        rows.append(row)
    return rows


def _write_csv(path: Path, rows: list[list[Any]]) -> None:
    import csv

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def _write_confusion(found: Fusion, path: Path) -> None:
    if path.suffix.lower() == ".csv":
        lines = zip(found.classes, found.confusion.tolist(), strict=True)
        _write_csv(path, [["true class", *found.classes], *([name, *row] for name, row in lines)])
        return
    from nas_skeleton.analysis.class_figures import save_confusion_figure

    title = f"{' + '.join(found.names)}: test clips"
    save_confusion_figure(found.confusion, found.classes, path, title)
