"""`compare strategies`: search strategies side by side on a finished table."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas_skeleton import cli
from nas_skeleton.strategies.named import QUICK, STOPS_EARLY

if TYPE_CHECKING:
    from nas_skeleton.analysis.ranking import Axis, Ranking
    from nas_skeleton.analysis.replay import Trace
    from nas_skeleton.results.table import SearchTable

POINTS = 200  # of a course in seconds


@click.command(short_help="Search strategies side by side, on a finished table.")
@click.option(
    "--on",
    "source",
    required=True,
    metavar="TABLE",
    help="What to search on: a run with all architectures, the name or folder of a published "
    "table, a table.parquet of `runs collect`, or NATS-Bench's CSV (FILE.csv, FILE.csv:CIFAR100, "
    "FILE.csv:ImageNet16-120).",
)
@click.option(
    "--strategies",
    metavar="NAME,NAME...",
    help=f"Which.  [default: {', '.join(QUICK)}; those that stop trainings early only on a table "
    "with learning curves]",
)
@click.option(
    "--repeats", type=click.IntRange(2), default=500, show_default=True, help="Searches of each."
)
@click.option(
    "--trials",
    type=click.IntRange(1),
    default=200,
    show_default=True,
    help="Budget of a search, in whole trainings.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=777, show_default=True, help="Of all draws."
)
@click.option(
    "--parallel",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Proposals that may be unknown to each other, on as many simulated workers.",
)
@click.option(
    "--workers", type=click.IntRange(1), help="Processes that replay.  [default: a core each]"
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("strategies"),
    show_default=True,
    help="Folder for the tables (CSV) and figures (PNG).",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def strategies(
    source: str,
    strategies: str | None,
    repeats: int,
    trials: int,
    seed: int,
    parallel: int,
    workers: int | None,
    output: Path,
    as_json: bool,
) -> int:
    """Let strategies search on a finished table, again and again, and say which is better.

    Searches see validation accuracies, of one training seed each; they are judged by mean test
    accuracy. Regret is what the best architecture of the table has more on test clips than the one
    a search would hand its user. Costs are whole trainings, and seconds where the table has them.
    """
    from nas_skeleton.analysis.ranking import rank
    from nas_skeleton.analysis.replay import Terms, replays
    from nas_skeleton.commands.progress import Progress
    from nas_skeleton.cores import usable_cores
    from nas_skeleton.errors import StoppedEarly
    from nas_skeleton.published.find import find_search_table
    from nas_skeleton.scheduling.signals import Signals

    table = find_search_table(source)
    names = _names(strategies, several_epochs=len(table.epochs) > 1)
    if strategies is None and (left_out := [name for name in QUICK if name not in names]):
        click.echo(f"left out, for this table has no curves: {', '.join(left_out)}", err=True)
    began = time.monotonic()

    def check() -> None:
        if signals.received:
            raise StoppedEarly("stopped by a signal: nothing is kept of searches on a table")

    with (
        Signals("searches on the table that are running end first").handled() as signals,
        closing(Progress("searches", repeats * len(names))) as progress,
    ):
        traces = replays(
            names,
            table,
            Terms(trials, parallel, parallel),
            repeats=repeats,
            seed=seed,
            processes=workers or usable_cores(),
            advance=lambda count: progress.advance(count, units=count),
            check=check,
            at_once=lambda: signals.at_once,
        )
    took = time.monotonic() - began
    ranking = rank(table, traces)
    output.mkdir(parents=True, exist_ok=True)
    _write_searches(table, traces, output / "searches.csv", seed)
    _write_csv(output / "summary.csv", [asdict(standing) for standing in ranking.standings])
    axes: list[Axis] = ["spent", "seconds"] if table.has_seconds else ["spent"]
    for axis in axes:
        _draw_courses(table, traces, axis, trials, output)
    if ranking.critical_difference is not None:
        from nas_skeleton.analysis.strategy_figures import save_critical_differences

        heading = f"mean rank of final test regret, {repeats} searches each\n{table.title}"
        save_critical_differences(ranking, output / "ranks.png", heading)
    if as_json:
        cli.print_json({"table": table.title, "remarks": table.remarks, **asdict(ranking)})
        return cli.COMPLETE
    click.echo(f"{table.title}\n")
    click.echo(_summary(ranking))
    for line in (*_verdicts(ranking), *(f"Note: {remark}." for remark in table.remarks)):
        click.echo(line)
    click.echo(f"{repeats * len(names):,} searches in {took:.0f} s; files in {output}/")
    return cli.COMPLETE


def _names(given: str | None, *, several_epochs: bool) -> list[str]:
    if given is None:
        return [name for name in QUICK if several_epochs or name not in STOPS_EARLY]
    names = [name.strip() for name in given.split(",")]
    if len(set(names)) < len(names) or not all(names):
        raise click.UsageError(f"--strategies {given!r}: give different names: random,bananas")
    return names


def _summary(ranking: Ranking) -> str:
    from tabulate import tabulate

    header = ["strategy", "median", "middle half", "mean [95 %]", "rank", "against random"]
    rows = []
    for one in ranking.standings:
        low, median, high, mean, mean_low, mean_high = (
            f"{100 * value:.2f}"
            for value in (one.low, one.median, one.high, one.mean, one.mean_low, one.mean_high)
        )
        wins = "" if one.p is None else f"{one.wins}:{one.ties}:{one.losses}, p {_p(one.p)}"
        rows.append(
            [
                one.strategy,
                median,
                f"{low} to {high}",
                f"{mean} [{mean_low}, {mean_high}]",
                f"{one.rank:.2f}",
                wins,
            ]
        )
    align = ("left", *["right"] * (len(header) - 1))
    table = tabulate(rows, header, colalign=align, disable_numparse=True)
    what = "Final test regret in points; against random: wins, ties and losses, sign test"
    return f"{what}:\n\n{table}\n"


def _verdicts(ranking: Ranking) -> list[str]:
    """What the tests say, in words."""
    from nas_skeleton.analysis.ranking import cliques

    if ranking.friedman_p is None or ranking.critical_difference is None:
        return []
    lines = [
        f"Friedman test of ranks over {ranking.repeats} searches: p {_p(ranking.friedman_p)}; "
        f"critical difference of mean ranks {ranking.critical_difference:.2f} (Nemenyi, 5 %)."
    ]
    names = [one.strategy for one in ranking.standings]
    for first, last in cliques([s.rank for s in ranking.standings], ranking.critical_difference):
        lines.append(f"Cannot be told apart: {', '.join(names[first : last + 1])}.")
    lines.append("This is about this table: repeats are luck of the search, not other data.")
    return lines


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _draw_courses(
    table: SearchTable,
    traces: Mapping[str, Sequence[Trace]],
    axis: Axis,
    trials: int,
    output: Path,
) -> None:
    """The regret as searches go on, as CSV and as a picture."""
    import numpy as np

    from nas_skeleton.analysis.ranking import courses
    from nas_skeleton.analysis.strategy_figures import save_courses

    if axis == "spent":
        grid = np.arange(1.0, trials + 1)
        name, label = "evaluations", "evaluations (whole trainings' worth)"
    else:
        # As far as the slowest strategy's median search: beyond, few are left to look at.
        ends = [np.median([trace.seconds[-1] for trace in of]) for of in traces.values()]
        grid = np.linspace(0, max(ends), POINTS + 1)[1:]
        name, label = "seconds", "seconds on the simulated clock"
    regrets = {name: courses(table, of, axis, grid) for name, of in traces.items()}
    rows = []
    for strategy, values in regrets.items():
        for at, point in enumerate(grid):
            if not np.isnan(values[:, at]).any():  # before, it would be that of the quick ones
                low, median, high = np.quantile(values[:, at], [0.25, 0.5, 0.75]).tolist()
                rows.append(
                    {
                        "strategy": strategy,
                        name: float(point),
                        "searches": len(values),
                        "low": low,
                        "median": median,
                        "high": high,
                    }
                )
    _write_csv(output / f"regret-by-{name}.csv", rows)
    path = output / f"regret-by-{name}.png"
    save_courses(regrets, grid, path, axis=label, title=table.title)


def _write_searches(
    table: SearchTable, traces: Mapping[str, Sequence[Trace]], path: Path, seed: int
) -> None:
    """One row per search."""
    from nas_skeleton.analysis.ranking import final_regrets
    from nas_skeleton.analysis.replay import repeat_seed

    rows = []
    for name, of in traces.items():
        for repeat, (trace, regret) in enumerate(zip(of, final_regrets(table, of), strict=True)):
            arch = int(trace.incumbent[-1])
            rows.append(
                {
                    "strategy": name,
                    "repeat": repeat,
                    "seed": repeat_seed(seed, repeat),
                    "training_seed": table.seeds[repeat % len(table.seeds)],
                    "trainings": float(trace.spent[-1]),
                    "seconds": float(trace.seconds[-1]) if table.has_seconds else None,
                    "arch_index": arch,
                    "arch_str": table.space.arch_string(arch),
                    "valid_seen": float(trace.valid[-1]),
                    "mean_valid": float(table.mean_valid[arch]),
                    "mean_test": float(table.mean_test[arch]),
                    "test_regret": float(regret),
                }
            )
    _write_csv(path, rows)


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    import pandas as pd

    pd.DataFrame(rows).to_csv(path, index=False)
