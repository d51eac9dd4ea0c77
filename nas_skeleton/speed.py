"""`python -m nas_skeleton.speed`: engines side by side on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from nas_skeleton import cli
from nas_skeleton.cores import usable_cores
from nas_skeleton.spaces.space import CELLS
from nas_skeleton.training.engines import ENGINES

if TYPE_CHECKING:
    from nas_skeleton.benchmarks.balance import Balance
    from nas_skeleton.benchmarks.bench import Plan
    from nas_skeleton.benchmarks.no_op import NoOp
    from nas_skeleton.benchmarks.report import Report
    from nas_skeleton.benchmarks.settings import Setting
    from nas_skeleton.scheduling.means import Device, Means
    from nas_skeleton.skeletons.store import Dataset
    from nas_skeleton.spaces import Space
    from nas_skeleton.training.engines import EngineName

SETTINGS = ("table", "c16n1", "c16n5")
BUSY = 0.7  # processes at work on average in the last minute, before measuring begins
MADE_UP = ""  # name of no published table
START_S = 12.0  # to start the processes and warm up under one setting, roughly


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--space", default="nb201", show_default=True, help="Card in search_spaces/.")
@click.option("--dataset", default="utdmhad", show_default=True, help="Card in datasets/.")
@click.option(
    "--protocol", help="Protocol in the data set's card.  [default: its default_protocol]"
)
@click.option(
    "--setting",
    "named",
    type=click.Choice(SETTINGS),
    multiple=True,
    help="What to measure, repeatable: table is C=8, N=3, 16 frames, batch 32; c16n1 and c16n5 are "
    "C=16, N=1 or 5, 32 frames, batch 64.  [default: all three]",
)
@click.option(
    "--recipe",
    "recipes",
    multiple=True,
    help="A recipe in the space's card as setting, repeatable.",
)
@click.option(
    "--engine",
    "engines",
    type=click.Choice(ENGINES),
    multiple=True,
    help="An engine to compare with reference, repeatable.  [default: all; with --balance what "
    "search would take]",
)
@click.option(
    "--cells",
    type=click.IntRange(1, 1000),
    default=6,
    show_default=True,
    help="How many random cells, the same for all.",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), default=777, show_default=True, help="Draws them."
)
@click.option(
    "--workers",
    default="auto",
    show_default=True,
    help="Processes at work together, one thread each; auto: a core each, one on a GPU.",
)
@cli.device_option
@click.option(
    "--side-by-side",
    type=click.IntRange(1),
    help="Candidates that advance together on cuda-graph and packed.  [default: on a GPU the "
    "engine's own number, on a CPU every cell once]",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0),
    default=45.0,
    show_default=True,
    help="How long to measure each setting; never less than three rounds.",
)
@click.option(
    "--thesis/--no-thesis",
    default=True,
    show_default=True,
    help="Compare with the thesis-style loop too.",
)
@click.option(
    "--loader-workers",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Processes of each DataLoader of the thesis-style loop.",
)
@click.option(
    "--bookkeeping",
    is_flag=True,
    help="Also measure what scheduling and storing cost, on a run of two-second trainings.",
)
@click.option(
    "--balance",
    type=click.IntRange(1, CELLS),
    is_flag=False,
    flag_value=100,
    metavar="[SHARDS]",
    help="Instead of engines, measure how evenly so many shards (100 if not said) share the whole "
    "space, by timing a cell of every functional class under the settings, or under the space's "
    "default recipe.",
)
@click.option(
    "--classes",
    type=click.IntRange(20),
    help="With --balance: how many classes to time, drawn at random.  [default: all]",
)
@click.option(
    "--no-op",
    type=click.IntRange(2, CELLS),
    is_flag=False,
    flag_value=10_000,
    metavar="[TRAININGS]",
    help="Instead of engines, measure what the scheduler costs by itself: so many trainings "
    "(10000 if not said) that do nothing.",
)
@click.option(
    "--store",
    type=click.IntRange(1, 10_000_000),
    is_flag=False,
    flag_value=100_000,
    metavar="[TRAININGS]",
    help="Instead of engines, measure what the commands that read results take on a made-up run of "
    "so many trainings (100000 if not said).",
)
@click.option(
    "--prepare",
    type=click.IntRange(10, 200_000),
    is_flag=False,
    flag_value=2_000,
    metavar="[CLIPS]",
    help="Instead of engines, measure how fast so many raw clips (2000 if not said) of the size of "
    "NTU RGB+D's are prepared, and whether that goes on after kill -9.",
)
@click.option(
    "--queries",
    is_flag=False,
    flag_value=MADE_UP,
    metavar="[TABLE]",
    help="Instead of engines, measure how fast a published table (a made-up one of full size if "
    "not said) loads and answers, and what memory it takes.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def main(
    space: str,
    dataset: str,
    protocol: str | None,
    named: tuple[str, ...],
    recipes: tuple[str, ...],
    engines: tuple[EngineName, ...],
    cells: int,
    seed: int,
    workers: str,
    device: Device,
    side_by_side: int | None,
    seconds: float,
    thesis: bool,
    loader_workers: int,
    bookkeeping: bool,
    balance: int | None,
    classes: int | None,
    no_op: int | None,
    store: int | None,
    prepare: int | None,
    queries: str | None,
    as_json: bool,
) -> int:
    """Measure how fast the engines train on this machine, against plain PyTorch code.

    All engines train the same random cells in alternating rounds; reported are medians, as ratios
    to reference, the plain code. Leave the machine alone meanwhile.
    """
    from nas_skeleton.benchmarks import report
    from nas_skeleton.benchmarks.bench import Plan
    from nas_skeleton.benchmarks.machine import machine
    from nas_skeleton.benchmarks.settings import choose_settings
    from nas_skeleton.commands.progress import open_dataset
    from nas_skeleton.scheduling.means import check_precision, choose_means
    from nas_skeleton.spaces import load_space
    from nas_skeleton.strategies import Random

    if store:
        _store(store, as_json)
        return cli.COMPLETE
    if prepare:
        _prepare(prepare, workers, as_json)
        return cli.COMPLETE
    if queries is not None:
        _queries(queries, as_json)
        return cli.COMPLETE
    search_space = load_space(space)
    if (balance or no_op) and not named and not recipes:
        recipes = (search_space.card.default_recipe,)
    settings = choose_settings(search_space.card, named, recipes)
    means = choose_means(device, workers, engines[0] if balance and engines else "auto")
    for setting in settings:
        check_precision(setting.name, setting.recipe, means.device)
    data = open_dataset(dataset)
    protocol = protocol or data.card.default_protocol
    data.split(protocol)
    drawn = Random(len(search_space), seed)
    plan = Plan(
        space=space,
        dataset=dataset,
        protocol=protocol,
        cells=tuple(trial.arch_index for _ in range(cells) if (trial := drawn.ask())),
        engines=tuple(dict.fromkeys(("reference", *(engines or ENGINES)))),
        device=means.device,
        workers=means.workers,
        thesis=thesis,
        loader_workers=loader_workers,
        side_by_side=side_by_side,
        seed=seed,
    )
    if search_space.card.aim:
        _infer_links(search_space, data, protocol, means)
    made_on = machine(plan.device, usable_cores(), plan.workers)
    code = cli.COMPLETE
    if balance:
        balances = _balances(plan, search_space, settings, means, balance, classes)
        as_object = report.balances_as_json(made_on, balances)
        text = report.balances_as_text(made_on, balances)
        code = cli.STOPPED if balances[-1].interrupted else code
    elif no_op:
        idle = _no_op(search_space, dataset, settings[0], means, no_op)
        as_object = report.no_op_as_json(made_on, idle)
        text = report.no_op_as_text(made_on, idle)
    else:
        found = _measure(plan, search_space, settings, means, seconds, bookkeeping)
        as_object, text = report.as_json(found), report.as_text(found)
    if as_json:
        cli.print_json(as_object)
    else:
        click.echo(text)
    return code


def _infer_links(space: Space, data: Dataset, protocol: str, means: Means) -> None:
    """Infer A-links where the data set has none, before processes need them that are measured."""
    import torch

    from nas_skeleton.commands.narration import Saying
    from nas_skeleton.scheduling.signals import Signals
    from nas_skeleton.training.aim import infer_links

    with Signals().handled() as signals:
        infer_links(data, space.card, protocol, Saying(signals), device=torch.device(means.device))


def _measure(
    plan: Plan,
    space: Space,
    settings: list[Setting],
    means: Means,
    seconds: float,
    bookkeeping: bool,
) -> Report:
    from nas_skeleton.benchmarks.bench import Crew
    from nas_skeleton.benchmarks.bookkeeping import measure_bookkeeping
    from nas_skeleton.benchmarks.machine import machine
    from nas_skeleton.benchmarks.measure import measure
    from nas_skeleton.benchmarks.report import Report
    from nas_skeleton.commands.progress import duration

    names = ", ".join(setting.name for setting in settings)
    time = len(settings) * (seconds + START_S) + 40 * bookkeeping
    click.echo(
        f"Measuring {names} with {plan.workers} process(es): about {duration(time)}, longer if "
        "three rounds take longer",
        err=True,
    )
    _say_if_busy()
    with _progress() as watch:
        with Crew(plan) as crew:
            measured = [
                measure(crew, plan, setting, seconds, lambda name, n: watch(f"rounds of {name}", n))
                for setting in settings
            ]
        beside = None
        if bookkeeping:
            beside = measure_bookkeeping(
                space, plan.dataset, settings[0], means, lambda n: watch("short trainings", n)
            )
    return Report(
        machine=machine(plan.device, usable_cores(), plan.workers),
        space=plan.space,
        dataset=plan.dataset,
        protocol=plan.protocol or "",
        seed=plan.seed,
        cells=[(index, space.arch_string(index)) for index in plan.cells],
        settings=measured,
        bookkeeping=beside,
    )


def _balances(
    plan: Plan,
    space: Space,
    settings: list[Setting],
    means: Means,
    shards: int,
    classes: int | None,
) -> list[Balance]:
    from nas_skeleton.benchmarks.balance import measure_balance
    from nas_skeleton.benchmarks.bench import Crew
    from nas_skeleton.skeletons.store import load_dataset

    data = load_dataset(plan.dataset)
    joints = len(data.layout.joints)
    channels = space.card.channels(data.channels, joints)
    _say_if_busy()
    balances: list[Balance] = []
    with _progress() as watch, Crew(plan) as crew:
        for setting in settings:
            found = measure_balance(
                crew,
                space,
                joints,
                setting,
                means.engine,
                shards,
                classes=classes,
                seed=plan.seed,
                watch=lambda name, n: watch(f"classes under {name}", n),
                channels=channels,
            )
            balances.append(found)
            if found.interrupted:
                break
    return balances


def _no_op(space: Space, dataset: str, setting: Setting, means: Means, trainings: int) -> NoOp:
    from nas_skeleton.benchmarks.no_op import measure_no_op

    _say_if_busy()
    with _progress() as watch:
        return measure_no_op(
            space, dataset, setting, means, trainings, lambda n: watch("trainings of nothing", n)
        )


def _store(trainings: int, as_json: bool) -> None:
    from nas_skeleton.benchmarks import report
    from nas_skeleton.benchmarks.machine import machine
    from nas_skeleton.benchmarks.store import measure_store

    _say_if_busy()
    with _progress() as watch:
        found = measure_store(trainings, watch)
    made_on = machine("cpu", usable_cores(), workers=1)
    if as_json:
        cli.print_json(report.store_as_json(made_on, found))
    else:
        click.echo(report.store_as_text(made_on, found))


def _queries(table: str, as_json: bool) -> None:
    from nas_skeleton.benchmarks import report
    from nas_skeleton.benchmarks.machine import machine
    from nas_skeleton.benchmarks.queries import measure_queries

    _say_if_busy()
    with _progress() as watch:
        found = measure_queries(None if table == MADE_UP else table, watch)
    made_on = machine("cpu", usable_cores(), workers=1)
    if as_json:
        cli.print_json(report.queries_as_json(made_on, found))
    else:
        click.echo(report.queries_as_text(made_on, found))


def _prepare(clips: int, workers: str, as_json: bool) -> None:
    from nas_skeleton.benchmarks import report
    from nas_skeleton.benchmarks.machine import machine
    from nas_skeleton.benchmarks.preparation import measure_preparation
    from nas_skeleton.scheduling.means import choose_means

    _say_if_busy()
    processes = choose_means("cpu", workers, "auto").workers
    with _progress() as watch:
        found = measure_preparation(clips, processes, watch)
    made_on = machine("cpu", usable_cores(), workers=processes)
    if as_json:
        cli.print_json(report.preparation_as_json(made_on, found))
    else:
        click.echo(report.preparation_as_text(made_on, found))


def _say_if_busy() -> None:
    load = os.getloadavg()[0]
    if load > BUSY:
        click.echo(f"other programs are at work (load {load:.1f}): let them end first", err=True)


@contextmanager
def _progress() -> Iterator[Callable[[str, int], Callable[[], None]]]:
    """Gives a function that begins to show progress: what of, and how many; and how it advances."""
    from nas_skeleton.commands.progress import Progress

    shown: list[Progress] = []

    def watch(what: str, total: int) -> Callable[[], None]:
        progress = Progress(what, total)
        shown.append(progress)

        def advance() -> None:
            progress.advance()
            if progress.done == total:
                progress.close()  # before the next one begins

        return advance

    try:
        yield watch
    finally:
        for progress in shown:
            progress.close()


if __name__ == "__main__":
    cli.run(main)
