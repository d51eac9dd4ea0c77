"""`python -m nas_skeleton.runs`: look at runs, see what is missing, write their tables as files."""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nas_skeleton import cli
from nas_skeleton.commands.runs_publish import check, publish
from nas_skeleton.commands.runs_verify import verify
from nas_skeleton.scheduling.shards import DEFAULT_SHARDS

if TYPE_CHECKING:
    import pandas as pd

    from nas_skeleton.results.run import Run
    from nas_skeleton.scheduling.status import Status
    from nas_skeleton.spaces import SearchSpace
    from nas_skeleton.training.job import Job


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Runs: what searches and trainings wrote to runs/ in the working folder."""


@main.command("list")
def list_() -> None:
    """List all runs with the number of their trainings: finished, paused, failed, missing.

    Of a search that decides by results, what is left of its budget is missing. Published tables
    are named below.
    """
    from tabulate import tabulate

    from nas_skeleton.published.files import published_names
    from nas_skeleton.results.run import run_names

    rows = [[name, *_listed(name)] for name in run_names()]
    if rows:
        click.echo(tabulate(rows, headers=["run", *COUNTS]))
    else:
        click.echo("No runs here yet. Start one: python -m nas_skeleton.search --dataset synthetic")
    if tables := published_names():
        click.echo(f"Published tables: {', '.join(tables)}")


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
    """Show what RUN was asked for, how it is getting on, who is at it, and its leaderboard."""
    import datetime

    from nas_skeleton.results.leaderboard import NEEDED, format_leaderboard, run_leaderboard
    from nas_skeleton.scheduling.status import NEEDED as NEEDED_TOO
    from nas_skeleton.scheduling.status import run_status

    opened, space = _open(run)
    # Once for all that is shown.
    rows = opened.rows(tuple(dict.fromkeys((*NEEDED, *NEEDED_TOO, *FAILURE))))
    status = run_status(opened, space, rows, datetime.datetime.now(datetime.UTC))
    board = run_leaderboard(opened, rows)
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
                **status.as_json(),
                "engines": board.engines,
                "ranked_by": board.ranked_by,
                "reliability": {name: asdict(value) for name, value in board.reliability.items()},
                "leaderboard": table.where(table.notna(), None).to_dict("records"),
            }
        )
        return
    for field, value in asdict(opened.arguments).items():
        if value not in (None, ""):
            click.echo(f"{field:14} {value}")
    engines = ", ".join(f"{engine} ({count})" for engine, count in board.engines.items())
    click.echo(f"{'engines':14} {engines or 'none yet'}")
    if status.spent is not None:
        budget = opened.arguments.trials or len(space)
        click.echo(
            f"{'budget':14} {status.spent:.3g} of {budget} whole trainings' worth is asked for by "
            "now; 'missing' is what of that is not trained"
        )
    click.echo("\n".join(_status_lines(status, _errors(rows))) + "\n")
    click.echo(format_leaderboard(board, top))


def _status_lines(status: Status, errors: dict[tuple[int, int], str]) -> list[str]:
    """How a run is getting on, for people."""
    from nas_skeleton.commands.progress import duration

    counts = ", ".join(f"{count} {what}" for what, count in status.counts().items())
    among = ", those running and failed among them" * bool(status.running or status.failed)
    lines = [f"{'trainings':14} {counts}{among}"]
    for arch, seed in list(errors)[:FAILURES_SHOWN]:
        lines.append(f"{'failed':14} #{arch} seed {seed}: {errors[arch, seed]}")
    if len(errors) > FAILURES_SHOWN:
        lines.append(f"{'':14} and {len(errors) - FAILURES_SHOWN} more: see runs missing")
    # Who took no leave of a run that is complete is nobody's concern any more.
    lost = [seen for seen in status.workers if not seen.lives and status.missing]
    living = [seen for seen in status.workers if seen.lives]
    if status.per_hour is not None:
        pace = f"{status.per_hour:.3g} trainings an hour"
        if status.left_s is not None:
            pace += f", about {duration(status.left_s)} left"
        elif not living:
            pace += " when it was last at work"
        lines.append(f"{'pace':14} {pace}")
    elif living:
        lines.append(f"{'pace':14} not known before the first training has ended")
    if status.missing and not living:
        lines.append(f"{'workers':14} none: run the same command again to go on")
    for at, seen in enumerate(living[:WORKERS_SHOWN]):
        presence = seen.presence
        sign = f"last sign of life {duration(seen.age_s)} ago"
        if presence.through:
            text = f"{presence.worker}: {sign}, has {presence.through} start workers"
            lines.append(f"{'workers' * (at == 0):14} {text}")
            continue
        jobs = ", ".join(f"#{arch} seed {seed}" for arch, seed in presence.jobs[:2])
        if more := len(presence.jobs) - 2:
            jobs += f" and {more} more" * (more > 0)
        text = f"{presence.worker}: {sign}, {presence.done} done"
        text += f", {presence.failed} failed" * (presence.failed > 0)
        text += f", shard {presence.shard}" * bool(presence.shard)
        text += f", at {jobs}" * bool(jobs)
        evaluated = f", evaluated after epoch {presence.epoch} of {presence.epochs}"
        text += evaluated * bool(jobs and presence.epoch)
        text += ", starting" * (not jobs and not presence.done and not presence.failed)
        lines.append(f"{'workers' * (at == 0):14} {text}")
    if len(living) > WORKERS_SHOWN:
        lines.append(f"{'':14} and {len(living) - WORKERS_SHOWN} more")
    for seen in lost[:WORKERS_SHOWN]:
        text = (
            f"{seen.presence.worker}: no sign of life for {duration(seen.age_s)}; what it was at "
        )
        text += "is taken over by who comes next"
        lines.append(f"{'lost':14} {text}")
    return lines


@main.command()
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@click.option(
    "--format",
    "layout",
    type=click.Choice(["plain", "slurm"]),
    default="plain",
    show_default=True,
    help="slurm: print the options that make sbatch run the array tasks (shards) with something "
    "missing: sbatch $(python -m nas_skeleton.runs missing RUN --format slurm) job.sh",
)
@click.option(
    "--shards",
    type=click.IntRange(1),
    help="slurm: parts the plan is divided into.  [default: as many as the last time, else "
    f"{DEFAULT_SHARDS}, or as many as there are trainings missing]",
)
def missing(run: str, as_json: bool, layout: str, shards: int | None) -> None:
    """List the trainings RUN still needs: architecture and seed, and why it failed if it did."""
    from nas_skeleton.errors import InputError
    from nas_skeleton.scheduling.adaptive import AdaptiveSearch, decides_by_results
    from nas_skeleton.scheduling.plan import missing_jobs, planned_jobs

    if layout == "plain" and shards is not None:
        raise click.UsageError("--shards needs --format slurm")
    if layout == "slurm" and as_json:
        raise click.UsageError("--json and --format slurm: give one of them")
    opened, space = _open(run)
    if decides_by_results(opened.arguments):
        if layout == "slurm":
            raise InputError(
                f"run {run!r}: strategy {opened.arguments.strategy!r} decides by results, which no "
                "array of jobs can: let one job run the search command"
            )
        plan, jobs = [], AdaptiveSearch(opened, space).missing()
    else:
        plan = list(planned_jobs(opened.arguments, space))
        jobs = missing_jobs(opened, plan)
    if layout == "slurm":
        click.echo(f"{len(jobs)} trainings missing", err=True)
        if jobs:
            click.echo(_sbatch_options(opened, space, plan, jobs, shards))
        else:
            click.echo("--array=none")  # which sbatch refuses: without it, it would submit the lot
        return
    errors = _errors(opened.rows(FAILURE))
    if as_json:
        pairs = [
            {"arch_index": arch, "seed": seed, "error": errors.get((arch, seed))}
            for arch, seed in ((job.arch_index, job.seed) for job in jobs)
        ]
        cli.print_json({"run": opened.name, "missing": pairs})
        return
    for job in jobs:
        error = errors.get((job.arch_index, job.seed))
        click.echo(f"{job.arch_index} {job.seed}" + (f" failed: {error}" if error else ""))
    trainings = "training" + "s" * (len(jobs) != 1)
    by_now = " of those asked for by now" * decides_by_results(opened.arguments)
    click.echo(f"{len(jobs)} {trainings} missing{by_now}", err=True)


@main.command()
@click.argument("run")
@click.option(
    "--proxies",
    "scored",
    metavar="NAME",
    help="Add the scores in runs/NAME, which `python -m nas_skeleton.proxies` wrote, to the table.",
)
def collect(run: str, scored: str | None) -> None:
    """Write RUN's table, learning curves and predictions as Parquet, the table also as CSV."""
    from nas_skeleton.commands.progress import Progress
    from nas_skeleton.results.collect import collect as write
    from nas_skeleton.results.proxies import check_fits, open_proxy_run, with_scores

    opened, space = _open(run)
    proxies = open_proxy_run(scored) if scored else None
    if proxies:
        check_fits(proxies, opened)
    with ExitStack() as stack:

        def watch(steps: int) -> Callable[[], None]:
            progress = Progress("parts of the run", steps)
            stack.callback(progress.close)
            return progress.advance

        merged = write(
            opened,
            space,
            watch,
            lambda table: with_scores(table, proxies, space) if proxies else table,
        )
    for path in merged.paths:
        click.echo(path)
    missing = _counts(opened, space)["missing"]
    click.echo(
        f"{merged.trainings} trainings of {merged.sources} files, {missing} missing", err=True
    )
    if merged.copies:
        click.echo(f"{merged.copies} copies within functional classes", err=True)
    if merged.repeated:
        click.echo(
            f"{merged.repeated} rows left out: their trainings were stored more than once, "
            f"{merged.differing} of them with different accuracies",
            err=True,
        )


@main.command()
@click.argument("run")
@click.option("--size", type=click.IntRange(1), required=True, help="How many architectures.")
@click.option(
    "--best", type=click.IntRange(0), default=0, show_default=True, help="So many best ones first."
)
@click.option(
    "--mates",
    type=click.IntRange(1),
    help="Draw among those with so many others in their functional class, and print these others: "
    "they are the same function, so their trainings differ by noise alone.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the draw.")
def sample(run: str, size: int, best: int, mates: int | None, seed: int) -> None:
    """Print a sample of RUN's architectures, one index a line: for `search --archs @FILE`.

    The best by validation accuracy, and of all others, ranked, one from each of as many equal parts
    as are needed, in random order. The first line is a comment that says what was drawn.
    """
    from nas_skeleton.errors import InputError
    from nas_skeleton.results.leaderboard import run_leaderboard
    from nas_skeleton.results.sampling import class_mates, others_of, stratified_sample
    from nas_skeleton.spaces import Space

    opened, space = _open(run)
    if missing := _counts(opened, space)["missing"]:
        click.echo(
            f"Warning: {missing:,} trainings of {run} are missing: a sample of what is there",
            err=True,
        )
    board = run_leaderboard(opened)
    if board.ranked_by is None:
        raise InputError(f"run {run!r}: its protocol has no validation clips to rank by")
    valid = board.table.set_index("arch_index")["valid"]
    mates_text = ""
    if mates is not None:
        if not isinstance(space, Space):
            raise InputError(f"run {run!r} is of reference models: --mates is for cells")
        valid = valid[[len(others_of(arch, space)) >= mates for arch in valid.index]]
        mates_text = f"; of each {mates} others of its functional class"
    chosen = stratified_sample(valid, best=best, size=size, seed=seed)
    click.echo(
        f"# {run}: the {best} best on validation of {len(valid):,} and {size - best} in proportion "
        f"to the ranks of all others, seed {seed}{mates_text}"
    )
    if isinstance(space, Space) and mates is not None:
        chosen = class_mates(chosen, space, count=mates, seed=seed)
    for index in chosen:
        click.echo(index)


@main.command(short_help="List architectures whose seconds other work made long.")
@click.argument("run")
@click.option(
    "--factor",
    type=click.FloatRange(1, min_open=True),
    default=2.0,
    show_default=True,
    help="How many times the usual seconds or latency is too long.",
)
def disturbed(run: str, factor: float) -> None:
    """Print RUN's architectures that took far longer than others that cost the same.

    One index a line, for `search --archs @FILE --run AGAIN` on a machine that does nothing else:
    accuracies stay as they are, and `runs publish RUN AGAIN` takes the quicker of two rows. Usual
    is the lower quartile among cells with equally many live operations of each kind.
    """
    from nas_skeleton.errors import InputError
    from nas_skeleton.results.sampling import disturbed as far_longer
    from nas_skeleton.results.schema import DONE
    from nas_skeleton.spaces import Space

    opened, space = _open(run)
    if not isinstance(space, Space):
        raise InputError(f"run {run!r} is of reference models: this is for cells")
    rows = opened.rows(["arch_index", "status", "train_time_s", "latency_ms"])
    rows = rows[rows["status"] == DONE]
    found = far_longer(rows, space, factor)
    click.echo(
        f"# {run}: {len(found):,} of {rows['arch_index'].nunique():,} with a training of over "
        f"{factor:g} times the usual seconds or latency"
    )
    for index in found:
        click.echo(index)


def _errors(rows: pd.DataFrame) -> dict[tuple[int, int], str]:
    """What went wrong in the trainings that failed, by architecture and seed."""
    from nas_skeleton.results.schema import FAILED

    failed = rows[rows["status"] == FAILED]
    pairs = zip(failed["arch_index"].tolist(), failed["seed"].tolist(), strict=True)
    return dict(zip(pairs, failed["error"].tolist(), strict=True))


def _listed(name: str) -> list[object]:
    from nas_skeleton.errors import InputError

    try:
        return list(_counts(*_open(name), by_budget=True).values())
    except InputError as error:
        return [f"unreadable: {error}"]


def _sbatch_options(
    run: Run, space: SearchSpace, plan: list[Job], left: list[Job], shards: int | None
) -> str:
    """What makes sbatch run those of the `shards` of a plan that hold jobs that are left."""
    from nas_skeleton.scheduling.effort import efforts
    from nas_skeleton.scheduling.shards import SIZE, in_ranges, remembered_count, shards_with

    count = shards or remembered_count(run.folder) or min(DEFAULT_SHARDS, len(left))
    tasks = in_ranges(shards_with(left, plan, efforts(space, run, plan), count))
    return f"--array={tasks} --export=ALL,{SIZE}={count}"


main.add_command(verify)

COUNTS = ("done", "paused", "diverged", "failed", "missing")
FAILURE = ("arch_index", "seed", "status", "error")  # columns that say what went wrong where
WORKERS_SHOWN, FAILURES_SHOWN = 20, 5


def _open(name: str) -> tuple[Run, SearchSpace]:
    from nas_skeleton.errors import InputError
    from nas_skeleton.published.files import published_names
    from nas_skeleton.results.run import open_run, run_names
    from nas_skeleton.spaces import load_any_space

    if name in published_names() and name not in run_names():
        raise InputError(
            f"{name!r} is a published table and no run: `runs check`, `runs verify`, `compare "
            "recipes` and `report` take it, and nas_skeleton.Benchmark asks it"
        )
    run = open_run(name)
    return run, load_any_space(run.arguments.space, run.arguments.modality)


def _counts(run: Run, space: SearchSpace, *, by_budget: bool = False) -> dict[str, int]:
    """How many of the planned trainings have which status; failed ones count as missing too.

    Of a search that decides by results those are missing that it asks for by now, or `by_budget`,
    which is quick, those that it may ask for yet.
    """
    from nas_skeleton.results.schema import UNSETTLED
    from nas_skeleton.scheduling.adaptive import (
        budget_left,
        decides_by_results,
        missing_pairs,
        search_of,
    )

    rows = run.rows(["arch_index", "seed", "status", "epochs"])
    counts = {what: int((rows["status"] == what).sum()) for what in COUNTS[:-1]}
    if by_budget and decides_by_results(run.arguments):
        return {**counts, "missing": budget_left(run, space, rows)}
    settled = rows.loc[~rows["status"].isin(UNSETTLED), ["arch_index", "seed"]]
    done = set(zip(settled["arch_index"].tolist(), settled["seed"].tolist(), strict=True))
    return {**counts, "missing": len(missing_pairs(run, space, search_of(run, space), done))}


main.add_command(publish)
main.add_command(check)


if __name__ == "__main__":
    gc.disable()  # the commands are short: looking for garbage is a sixth of what `show` takes
    cli.run(main)
