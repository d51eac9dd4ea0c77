"""`python -m nas_skeleton.compare`: reference models and searched cells side by side.

Everything is trained with one recipe, protocol and list of seeds; what is trained already is taken
as it is.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

from nas_skeleton import cli

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nas_skeleton.results.comparison import Entry
    from nas_skeleton.scheduling.campaign import Campaign, Device
    from nas_skeleton.scheduling.signals import Signals
    from nas_skeleton.spaces import SearchSpace

BATCH = 32  # clips of the second latency
ANCHOR = "stgcn++"  # what searched networks are held against
BUDGET = ("frames", "epochs", "batch_size", "drop_last")  # what a recipe must have in common


@dataclass(frozen=True)
class _Row:
    """A network and its latencies in milliseconds: of one clip, and of `BATCH`."""

    entry: Entry
    searched: bool
    latency_ms: float
    batch_latency_ms: float


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--dataset",
    "datasets",
    multiple=True,
    default=("utdmhad", "nwucla"),
    show_default=True,
    help="Card in datasets/; may be given often.",
)
@click.option(
    "--recipe",
    default="quick",
    show_default=True,
    help="Recipe that all cards have, with the same budget: frames, epochs, batch size.",
)
@click.option("--protocol", help="Protocol in the data sets' cards.  [default: their own default]")
@click.option(
    "--models",
    multiple=True,
    default=("models", "models-asgcn"),
    show_default=True,
    help="Card with reference models, of which all are trained; may be given often.",
)
@click.option(
    "--space",
    "spaces",
    multiple=True,
    default=("nb201", "nb201-graph", "nb201-asgcn"),
    show_default=True,
    help="Card with cells, of which random ones are trained; may be given often.",
)
@click.option(
    "--trials", type=click.IntRange(1), default=24, show_default=True, help="Cells of each space."
)
@click.option(
    "--best",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="How many cells of each space are shown: the best by mean validation accuracy.",
)
@click.option(
    "--seeds", default="777,888,999", show_default=True, help="Every network is trained with each."
)
@click.option(
    "--workers", default="auto", show_default=True, help="Worker processes: a number, or auto."
)
@cli.device_option
@click.option("--no-training", is_flag=True, help="Show what is finished; train nothing.")
@click.option("--markdown", is_flag=True, help="Print the table as Markdown.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def main(
    datasets: tuple[str, ...],
    recipe: str,
    protocol: str | None,
    models: tuple[str, ...],
    spaces: tuple[str, ...],
    trials: int,
    best: int,
    seeds: str,
    workers: str,
    device: Device,
    no_training: bool,
    markdown: bool,
    as_json: bool,
) -> int:
    """Train reference models and random cells alike; print what each costs and achieves.

    Run the same command again to continue. Cells are chosen by validation accuracy; test accuracy
    is shown and chooses nothing.
    """
    from nas_skeleton.errors import InputError
    from nas_skeleton.pretraining import Saying
    from nas_skeleton.progress import open_dataset, train_with_progress
    from nas_skeleton.scheduling.campaign import choose_means, start_campaign
    from nas_skeleton.scheduling.signals import Signals
    from nas_skeleton.search import parse_seeds
    from nas_skeleton.spaces import Space, load_any_space

    chosen = [load_any_space(name) for name in (*models, *spaces)]
    _check_budget(chosen, recipe)
    training_seeds = parse_seeds(None, seeds)

    def campaigns(signals: Signals) -> Iterator[Campaign]:
        for name in datasets:
            dataset = open_dataset(name)
            for space in chosen:
                cells = isinstance(space, Space)
                yield start_campaign(
                    space,
                    dataset,
                    choose_means(device, workers, cells=cells),
                    recipe=recipe,
                    protocol=protocol,
                    strategy="random" if cells else "exhaustive",
                    seeds=training_seeds,
                    trials=trials if cells else None,
                    watch=Saying(signals),
                )
                signals.check()

    left = 0
    rows: list[_Row] = []
    with Signals().handled() as signals:
        every = []
        for campaign in campaigns(signals):
            every.append(campaign)
            jobs = campaign.remaining()
            if jobs and not no_training:
                click.echo(f"{campaign.run.name}: {len(jobs)} trainings", err=True)
                train_with_progress(campaign, jobs, campaign.forecast(jobs), signals)
            left += len(campaign.remaining())
        for campaign in every:  # at the end, when no worker is at work beside it
            rows += _rows(campaign, best)
            signals.check()
    if not rows:
        raise InputError("nothing is finished yet: leave out --no-training")
    if as_json:
        facts = [
            {
                **asdict(row.entry),
                "latency_ms": row.latency_ms,
                f"latency_ms_of_{BATCH}": row.batch_latency_ms,
            }
            for row in rows
        ]
        cli.print_json({"recipe": recipe, "missing": left, "rows": facts})
    else:
        for line in _lines(rows, recipe, markdown=markdown):
            click.echo(line)
    if left:
        click.echo(f"{left} trainings are missing or failed: see `runs list`", err=True)
    return cli.SOME_FAILED if left else cli.COMPLETE


def _check_budget(spaces: list[SearchSpace], recipe: str) -> None:
    """Raise `InputError` where the recipe does not mean the same budget everywhere."""
    from nas_skeleton.errors import InputError

    first = spaces[0].card.recipe(recipe)
    for space in spaces[1:]:
        other = space.card.recipe(recipe)
        for field in BUDGET:
            if getattr(first, field) != getattr(other, field):
                raise InputError(
                    f"recipe {recipe!r} has {field} {getattr(first, field)} in "
                    f"{spaces[0].name!r}, {getattr(other, field)} in {space.name!r}: a comparison "
                    "needs the same"
                )


def _rows(campaign: Campaign, best: int) -> list[_Row]:
    from nas_skeleton.results.comparison import entries
    from nas_skeleton.spaces import Space

    searched = isinstance(campaign.space, Space)
    rows = []
    for entry in entries(campaign.run, best if searched else None):
        one, many = (1e3 * campaign.latency(entry.arch_index, clips) for clips in (1, BATCH))
        rows.append(_Row(entry, searched, one, many))
    return rows


def _lines(rows: list[_Row], recipe: str, *, markdown: bool) -> list[str]:
    from tabulate import tabulate

    from nas_skeleton.results.comparison import percent
    from nas_skeleton.results.leaderboard import short_count

    lines = []
    for name in dict.fromkeys(row.entry.dataset for row in rows):
        own = sorted((r for r in rows if r.entry.dataset == name), key=lambda r: -r.entry.macs)
        header = ["network", "seeds", "params", "MACs", "valid %", "test %", "test %, best epoch"]
        header += ["training s", "ms, 1 clip", f"ms, {BATCH} clips"]
        body = [
            [
                f"{row.entry.space} #{row.entry.arch_index}" if row.searched else row.entry.name,
                row.entry.seeds,
                short_count(row.entry.params),
                short_count(row.entry.macs),
                percent(row.entry.valid, row.entry.valid_sd),
                percent(row.entry.test, row.entry.test_sd),
                percent(row.entry.best_test, row.entry.best_test_sd),
                f"{row.entry.train_time_s:.0f}",
                f"{row.latency_ms:.1f}",
                f"{row.batch_latency_ms:.0f}",
            ]
            for row in own
        ]
        align = ("left", *["right"] * (len(header) - 1))
        style = "github" if markdown else "simple"
        lines += [f"{name}, recipe {recipe}, mean ± standard deviation over seeds:", ""]
        lines += [tabulate(body, header, style, colalign=align, disable_numparse=True), ""]
        lines += [
            f"{r.entry.space} #{r.entry.arch_index}: {r.entry.name}" for r in own if r.searched
        ]
        lines += ["", *_verdicts(own), ""]
    return lines


def _verdicts(rows: list[_Row]) -> list[str]:
    """Searched networks against the anchor."""
    from nas_skeleton.results.comparison import against

    anchors = [row.entry for row in rows if row.entry.name == ANCHOR]
    if not anchors:
        return []
    lines = []
    for row in rows:
        if row.searched:
            found = against(row.entry, anchors[0])
            error = "" if found.error is None else f" ± {100 * found.error:.1f}"
            lines.append(
                f"{row.entry.space} #{row.entry.arch_index} against {ANCHOR}: "
                f"{100 * found.macs:.1f} % of its MACs, test {100 * found.difference:+.1f}{error} "
                "points (standard error over seeds)"
            )
    return lines


if __name__ == "__main__":
    cli.run(main)
