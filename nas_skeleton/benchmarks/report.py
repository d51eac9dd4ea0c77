"""What was measured, for people and as one JSON object."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tabulate import tabulate

from nas_skeleton.benchmarks.balance import Balance
from nas_skeleton.benchmarks.bookkeeping import RUN, Bookkeeping
from nas_skeleton.benchmarks.contenders import THESIS
from nas_skeleton.benchmarks.machine import Machine
from nas_skeleton.benchmarks.measure import Measured, Speed
from nas_skeleton.benchmarks.no_op import NoOp
from nas_skeleton.benchmarks.preparation import WHOLE, PreparationCost
from nas_skeleton.benchmarks.query_process import QueryCost
from nas_skeleton.benchmarks.store import StoreCost


@dataclass(frozen=True)
class Report:
    """Everything one call of `speed` found; `cells` are (index, architecture string)."""

    machine: Machine
    space: str
    dataset: str
    protocol: str
    seed: int
    cells: list[tuple[int, str]]
    settings: list[Measured]
    bookkeeping: Bookkeeping | None


def as_json(report: Report) -> dict[str, Any]:
    """The report in plain types; recipes as in the cards."""
    return {
        "machine": asdict(report.machine),
        "space": report.space,
        "dataset": report.dataset,
        "protocol": report.protocol,
        "seed": report.seed,
        "cells": [{"index": index, "arch": arch} for index, arch in report.cells],
        "settings": [
            {**_fields(measured), "recipe": measured.recipe.model_dump()}
            for measured in report.settings
        ],
        "bookkeeping": asdict(report.bookkeeping) if report.bookkeeping else None,
    }


def as_text(report: Report) -> str:
    """The report as tables with what they mean below."""
    machine = report.machine
    lines = [
        *_machine(machine),
        f"Data       {report.dataset}, protocol {report.protocol}; space {report.space}",
        f"Cells      {len(report.cells)} random ones, seed {report.seed}: "
        + ", ".join(f"#{index}" for index, _ in report.cells),
    ]
    for measured in report.settings:
        lines += ["", *_table(measured, machine.workers)]
    lines += ["", *_notes(machine.workers, any(THESIS in m.speeds for m in report.settings))]
    if report.bookkeeping:
        lines += ["", *_bookkeeping(report.bookkeeping)]
    return "\n".join(lines)


def balances_as_json(machine: Machine, balances: list[Balance]) -> dict[str, Any]:
    """How evenly shards share the space, in plain types; seconds by the index of the cell."""
    return {
        "machine": asdict(machine),
        "balances": [
            {
                **vars(found),
                "setting": found.setting.name,
                "recipe": found.setting.recipe.model_dump(),
                "prices": asdict(found.prices),
            }
            for found in balances
        ],
    }


def balances_as_text(machine: Machine, balances: list[Balance]) -> str:
    """The same for people."""
    lines = _machine(machine)
    for found in balances:
        timed = f"{found.classes:,} of {found.of_classes:,} functional classes"
        if found.classes == found.of_classes:
            timed = f"all {found.classes:,} functional classes"
        elif found.interrupted:
            timed += " (interrupted)"
        prices = ", ".join(f"{name} {price:.3g}" for name, price in asdict(found.prices).items())
        lines += [
            "",
            str(found.setting),
            f"{found.shards} shards of the whole space, largest over mean: predicted "
            f"{found.predicted:.4f}, by the clock {found.actual:.4f}; "
            f"dealt out by index {found.by_index:.4f}",
            f"by the clock: {timed}, engine {found.engine}, a few steps and an evaluation each",
            f"effort and time: rank correlation {found.rank_correlation:.4f}; time over effort "
            f"varies by {100 * found.spread:.1f} %",
            f"prices that would predict these times best: {prices}",
        ]
    return "\n".join(lines)


def no_op_as_json(machine: Machine, found: NoOp) -> dict[str, Any]:
    """What the scheduler costs by itself, in plain types."""
    return {"machine": asdict(machine), "no_op": asdict(found)}


def no_op_as_text(machine: Machine, found: NoOp) -> str:
    """The same for people."""
    lines = [
        *_machine(machine),
        "",
        f"{found.trainings:,} trainings that do nothing on {_workers(found.workers)}, real "
        "scheduler, claims and store",
        f"  {found.ms_per_training:.2f} ms of a worker per training, {found.per_second:.0f} "
        "trainings per second in all",
        f"  start-up {found.startup_s:.2f} s, ending {found.ending_s:.2f} s; to see that nothing "
        f"is missing {found.planning_s:.2f} s",
    ]
    return "\n".join(lines)


def store_as_json(machine: Machine, found: StoreCost) -> dict[str, Any]:
    """What the commands take on a large run, in plain types."""
    return {"machine": asdict(machine), **asdict(found)}


def store_as_text(machine: Machine, found: StoreCost) -> str:
    """The same for people."""
    body = [
        (cost.command, f"{cost.seconds:.2f} s", f"{cost.cpu_s:.2f} s", f"{cost.peak_mb:.0f} MiB")
        for cost in found.commands
    ]
    lines = [
        *_machine(machine)[:1],
        "",
        f"A made-up run of {found.trainings:,} trainings, {found.epochs} evaluated epochs and "
        f"{found.clips} predictions each,",
        f"in {found.files} files of {found.disk_mb:.0f} MiB together: {found.row_bytes:.0f} bytes "
        "per training",
        "",
        tabulate(
            body,
            ("command", "time", "of processors", "peak memory"),
            colalign=("left", "right", "right", "right"),
        ),
    ]
    return "\n".join(lines)


def queries_as_json(machine: Machine, found: QueryCost) -> dict[str, Any]:
    """What a published table costs its user, in plain types."""
    return {"machine": asdict(machine), **asdict(found)}


def queries_as_text(machine: Machine, found: QueryCost) -> str:
    """The same for people."""
    body = [(kind, f"{rate:,.0f}") for kind, rate in found.per_second.items()]
    lines = [
        *_machine(machine)[:1],
        "",
        f"Table {found.table}: {found.rows:,} rows, {found.disk_mb:.1f} MB on the disk",
        f"loads in {1e3 * found.load_s:.0f} ms (importing the package {1e3 * found.import_s:.0f} "
        f"ms before), {found.memory_mb:.0f} MB in the process then",
        f"curves and test predictions of all trainings as arrays: {found.arrays_s:.2f} s, "
        f"{found.all_memory_mb:.0f} MB in the process at the end",
        "",
        tabulate(body, ("query", "a second"), colalign=("left", "right"), disable_numparse=True),
    ]
    return "\n".join(lines)


def preparation_as_json(machine: Machine, found: PreparationCost) -> dict[str, Any]:
    """What preparing a large data set takes, in plain types."""
    return {
        "machine": asdict(machine),
        **asdict(found),
        "clips_per_core_second": found.per_core,
        "projected_s": {name: found.projected_s(clips) for name, clips in WHOLE.items()},
        "projected_mb": {name: found.projected_mb(clips) for name, clips in WHOLE.items()},
    }


def preparation_as_text(machine: Machine, found: PreparationCost) -> str:
    """The same for people."""
    same = "the same bytes" if found.resumed else "OTHER BYTES"
    lines = [
        *_machine(machine)[:1],
        "",
        f"{found.clips:,} made-up raw NTU clips ({found.raw_mb:,.0f} MiB), "
        f"{found.workers} processes",
        f"time         {found.seconds:.0f} s, {found.clips / found.seconds:.0f} clips/s; "
        f"{found.per_core:.0f} clips/s of a core",
        f"peak memory  {found.peak_mb:.0f} MiB, all processes together",
        f"store        {found.store_mb:.0f} MiB",
        f"killed twice and continued: {same}, {found.resumed_s / found.seconds:.2f} times as long",
        *(
            f"projected for {name} ({clips:,} clips): {found.projected_s(clips) / 60:.1f} min, "
            f"{found.projected_mb(clips) / 1024:.1f} GiB"
            for name, clips in WHOLE.items()
        ),
    ]
    return "\n".join(lines)


def _machine(machine: Machine) -> list[str]:
    return [
        f"Machine    {machine.cpu}, {machine.cores} cores usable; {machine.system}",
        f"           {machine.gpu or 'no GPU used'}; torch {machine.torch}",
        f"Processes  {machine.workers}, one thread each",
    ]


def _fields(measured: Measured) -> dict[str, Any]:
    values = {**vars(measured), "recipe": None}
    for name in ("peaks", "demand", "floor"):
        values[name] = asdict(values[name])
    values["speeds"] = {name: asdict(speed) for name, speed in measured.speeds.items()}
    return values


def _table(measured: Measured, workers: int) -> list[str]:
    recipe, floor = measured.recipe, measured.floor
    several = _workers(workers)
    header = ["engine", "together", "ms/step", "per core", "roofline", several, "s/epoch", "thesis"]
    body = [_row(name, speed) for name, speed in measured.speeds.items()]
    align = ("left", *["right"] * (len(header) - 1))
    peaks = measured.peaks
    return [
        f"{measured.name}: C={recipe.channels}, N={recipe.cells_per_stage}, {recipe.frames} "
        f"frames, batch {recipe.batch_size}; medians of {measured.rounds} rounds",
        tabulate(body, header, colalign=align, disable_numparse=True),
        f"floor {measured.floor_ms:.3g} ms: arithmetic {floor.compute_ms:.3g} ms "
        f"({measured.demand.flops / 1e9:.3g} GFLOP at {peaks.flops_per_s / 1e9:.4g} GFLOP/s), "
        f"traffic {floor.traffic_ms:.3g} ms ({measured.demand.least_bytes / 1e6:.3g} MB at "
        f"{peaks.bytes_per_s / 1e9:.3g} GB/s; op by op {floor.op_by_op_traffic_ms:.3g} ms)",
        *(f"{name} cannot take part: {why}" for name, why in measured.unsupported.items()),
    ]


def _workers(count: int) -> str:
    return f"{count} worker" + "s" * (count > 1)


def _row(name: str, speed: Speed) -> list[str]:
    share = "" if speed.roofline_share is None else f"{100 * speed.roofline_share:.0f} %"
    thesis = "" if speed.over_thesis is None else f"{speed.over_thesis.median:.2f} x"
    return [
        name,
        str(speed.side_by_side),
        f"{speed.ms_per_step:.4g}",
        f"{speed.per_core.median:.2f} x",
        share,
        f"{speed.workers_ratio.median:.2f} x",
        f"{speed.s_per_epoch:.3g}",
        thesis,
    ]


def _notes(workers: int, thesis: bool) -> list[str]:
    plural = "processes" if workers > 1 else "process"
    notes = [
        "together: candidates that advance side by side in one process. ms/step: of one candidate, "
        "in one process with one thread.",
        "per core: steps per second of one process; reference, the plain PyTorch code, is 1.",
        "roofline: floor / time of a step; the floor is the larger of the least arithmetic of "
        "direct convolutions at the peak of sgemm and least traffic at the bandwidth of a copy, "
        "both measured.",
        f"{_workers(workers)}: steps per second of {workers} {plural} over those of one process of "
        "reference.",
        f"s/epoch: of one candidate with {workers} {plural} at work, evaluation included: an "
        "engine's as often as the recipe says, the thesis' after every epoch.",
    ]
    if thesis:
        notes.append(
            f"thesis: epochs per second over those of the thesis-style loop in {workers} {plural} "
            "(8-bit images through a DataLoader, plain modules, .item() every step, evaluation of "
            "train, valid and test every epoch; same stem, sizes and clips)."
        )
    return notes


def _bookkeeping(found: Bookkeeping) -> list[str]:
    return [
        f"Bookkeeping: {found.trainings} trainings of {found.training_s:.2f} s on "
        f"{_workers(found.workers)}, engine {found.engine}, real scheduler and store",
        f"  between two trainings {1e3 * found.between_s:.1f} ms: "
        f"{100 * found.share_between:.2f} % of a two-second training",
        f"  start-up {found.startup_s:.2f} s, ending {found.ending_s:.2f} s; all together "
        f"{100 * found.share_of_run:.2f} % of a run of {RUN} two-second trainings",
    ]
