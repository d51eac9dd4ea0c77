"""`runs verify`: trains some rows of a run once more and says how far they are from the stored."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from nas_skeleton import cli
from nas_skeleton.training.engines import ENGINES

if TYPE_CHECKING:
    import pandas as pd

    from nas_skeleton.results.verification import Deviation, Repetition, Verification
    from nas_skeleton.scheduling.means import Device, EngineChoice


@click.command()
@click.argument("run")
@click.option(
    "--sample",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Finished rows to train again, drawn at random.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=777, show_default=True, help="Of the draw of rows."
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    help="What to train on.  [default: what the row was trained on, where this machine has it]",
)
@click.option(
    "--engine",
    type=click.Choice(["auto", *ENGINES]),
    help="What computes the networks.  [default: what trained the row, where it can run here]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def verify(
    run: str,
    sample: int,
    seed: int,
    device: Device | None,
    engine: EngineChoice | None,
    as_json: bool,
) -> int:
    """Train random finished rows of RUN again and say how far they are from the stored ones.

    By the recipe as it was, from the same seeds. With the same engine on the same type of machine
    repetitions are identical, bit for bit; elsewhere rounding acts like another seed, and they are
    held against the noise of seeds. Nothing is stored. The exit code is 1 where a repetition failed
    or where together they are further off than seeds explain.
    """
    from nas_skeleton.progress import Progress, open_dataset
    from nas_skeleton.results.run import open_run
    from nas_skeleton.results.verification import drawn_rows, verification
    from nas_skeleton.scheduling.signals import Signals
    from nas_skeleton.scheduling.verification import repetitions
    from nas_skeleton.spaces import load_any_space

    opened = open_run(run)
    rows = drawn_rows(opened, sample, seed)
    arguments = opened.arguments
    space = load_any_space(arguments.space, arguments.modality)
    dataset = open_dataset(arguments.dataset)
    found: list[Repetition] = []
    with (
        Signals("nothing is kept of a verification").handled() as signals,
        closing(Progress("trainings", len(rows))) as progress,
    ):
        for repetition in repetitions(
            opened,
            space,
            dataset,
            rows,
            device=device,
            engine=engine,
            should_stop=lambda: signals.received,
        ):
            found.append(repetition)
            progress.advance(note=f"{sum(one.identical for one in found)} identical")
    found.sort(key=lambda one: (one.arch_index, one.seed))
    outcome = verification(opened, found)
    if as_json:
        cli.print_json(
            {
                "run": opened.name,
                "passed": outcome.passed,
                "identical": outcome.identical,
                "failed": outcome.failed,
                **asdict(outcome),
            }
        )
    else:
        click.echo(_table(outcome) + "\n")
        for line in _said(outcome, rows):
            click.echo(line)
    return cli.COMPLETE if outcome.passed else cli.SOME_FAILED


def _table(outcome: Verification) -> str:
    from tabulate import tabulate

    header = ["index", "seed", "valid %", "again", "test %", "again", "other valid", "other test"]
    header += ["engine", ""]
    body = []
    for one in outcome.repetitions:
        line = [str(one.arch_index), str(one.seed)]
        for split in ("valid", "test"):
            line += [_points(of.get(split)) for of in (one.stored, one.again)]
        line += [str(one.differing.get(split, "")) for split in ("valid", "test")]
        line += [one.engine, one.error or "identical" * one.identical]
        body.append(line)
    align = (*["right"] * (len(header) - 2), "left", "left")
    return tabulate(body, header, colalign=align, disable_numparse=True)


def _said(outcome: Verification, rows: pd.DataFrame) -> list[str]:
    """What all repetitions say together."""
    import nas_skeleton

    count = len(outcome.repetitions)
    versions = ", ".join(sorted(set(rows["version"])))
    engines = ", ".join(sorted(set(rows["engine"])))
    devices = ", ".join(sorted(set(rows["device"])))
    lines = [
        f"{outcome.identical} of {count} identical, bit for bit: predictions, losses and "
        "accuracies of all evaluated epochs. Other valid, other test: clips that were classified "
        "differently.",
        f"Stored: engine {engines} on {devices}, version {versions}; this is version "
        f"{nas_skeleton.__version__}.",
    ]
    if outcome.failed:
        lines.append(f"{outcome.failed} of {count} FAILED.")
    for split, deviation in outcome.deviations.items():
        lines.append(f"{split:5}: {_verdict(deviation)}")
    return lines


def _verdict(found: Deviation) -> str:
    text = (
        f"again minus stored {100 * found.mean:+.2f} points in the mean, {100 * found.rms:.2f} "
        "root mean square; "
    )
    expected = f"{100 * found.expected:.2f}"
    if found.noise == "clips":
        return (
            f"{text}two draws of clips would differ by {expected}. The run has one seed, so how "
            "much another seed does is not known: more than that"
        )
    tests = f"p {_p(found.p_size)} for the size, {_p(found.p_mean)} for the mean"
    if found.beyond_noise:
        return f"{text}two seeds differ by {expected}: FURTHER OFF THAN SEEDS EXPLAIN ({tests})"
    return f"{text}two seeds differ by {expected}: no further off than seeds explain ({tests})"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _points(share: float | None) -> str:
    return "n/a" if share is None else f"{100 * share:.2f}"
