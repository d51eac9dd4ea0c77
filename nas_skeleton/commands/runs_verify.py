"""`runs verify`: trains some stored rows once more and says how far they are from the stored."""

from __future__ import annotations

import secrets
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from nas_skeleton import cli
from nas_skeleton.training.engines import ENGINES

if TYPE_CHECKING:
    import pandas as pd

    from nas_skeleton.results.finished import Fault, Finished
    from nas_skeleton.results.repetition import Repetition, Verification
    from nas_skeleton.results.seed_noise import Deviation
    from nas_skeleton.scheduling.means import Device, EngineChoice

SHOWN = 5  # of rows that are not sound


@click.command()
@click.argument("name", metavar="RUN|TABLE")
@click.option(
    "--sample",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Finished rows to train again, drawn at random.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    help="Of the draw of rows.  [default: another one each time, which is printed: nobody knows "
    "beforehand which rows are drawn]",
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
    name: str,
    sample: int,
    seed: int | None,
    device: Device | None,
    engine: EngineChoice | None,
    as_json: bool,
) -> int:
    """Train random finished rows again and say how far they are from the stored ones.

    Of a RUN in runs/, or of a published TABLE: its name, or a folder. Every row of it is first held
    against its own predictions. Then some are trained again, by the recipe as it was, from the same
    seeds. With the same engine on the same type of machine they come out identical, bit for bit;
    elsewhere rounding acts like another seed, and those that differ are held against the noise of
    seeds. Copied rows are never drawn; nothing is stored.

    The exit code is 1 where a row is not its own predictions, where a repetition failed, or where
    repetitions, together or one alone, are further off than seeds explain.
    """
    import numpy as np

    from nas_skeleton.commands.progress import Progress, open_dataset
    from nas_skeleton.results.finished import drawn
    from nas_skeleton.results.repetition import verification
    from nas_skeleton.scheduling.repeating import repetitions
    from nas_skeleton.scheduling.signals import Signals

    finished = _finished(name)
    if finished.faults:
        click.echo(_fault_line(finished), err=True)
    if seed is None:
        seed = secrets.randbelow(2**31)
    rows = drawn(finished, sample, seed)
    dataset = open_dataset(finished.arguments.dataset)
    found: list[Repetition] = []
    with (
        Signals("nothing is kept of a verification").handled() as signals,
        closing(Progress("trainings", len(rows))) as progress,
    ):
        for repetition in repetitions(
            finished,
            dataset,
            rows,
            device=device,
            engine=engine,
            should_stop=lambda: signals.received,
        ):
            found.append(repetition)
            progress.advance(note=f"{sum(one.identical for one in found)} identical")
    found.sort(key=lambda one: (one.arch_index, one.seed))
    outcome = verification(finished, found, np.random.default_rng([seed, 1]))
    if as_json:
        cli.print_json({"seed": seed} | _as_json(finished, outcome))
    else:
        click.echo(_table(outcome) + "\n")
        click.echo(f"Rows drawn with --seed {seed}.")
        for line in _said(finished, outcome, rows):
            click.echo(line)
    return cli.COMPLETE if outcome.passed else cli.SOME_FAILED


def _finished(name: str) -> Finished:
    """The run of that name, else the published table.

    Raises:
        InputError: neither is there.
    """
    from nas_skeleton.published.find import find_run_or_table
    from nas_skeleton.published.finished import finished_of_table
    from nas_skeleton.results.finished import finished_of_run
    from nas_skeleton.results.run import Run
    from nas_skeleton.spaces import load_any_space

    found = find_run_or_table(name)
    if not isinstance(found, Run):
        return finished_of_table(found)
    arguments = found.arguments
    return finished_of_run(found, load_any_space(arguments.space, arguments.modality))


def _as_json(finished: Finished, outcome: Verification) -> dict[str, Any]:
    return {
        finished.kind: finished.name,
        "passed": outcome.passed,
        "identical": outcome.identical,
        "failed": outcome.failed,
        "beyond_noise": outcome.beyond_noise,
        "unexplained": [
            {"arch_index": one.arch_index, "seed": one.seed} for one in outcome.unexplained
        ],
        **asdict(outcome),
    }


def _table(outcome: Verification) -> str:
    from tabulate import tabulate

    splits = {split for one in outcome.repetitions for split in one.stored}
    header = ["index", "seed"]
    for split in ("valid", "test"):
        if split in splits:
            header += [f"{split} %", f"{split} % again", f"{split} clips changed"]
    header += ["engine", "outcome"]
    body = []
    for one in outcome.repetitions:
        line = [str(one.arch_index), str(one.seed)]
        for split in ("valid", "test"):
            if split in splits:
                line += [_points(of.get(split)) for of in (one.stored, one.again)]
                line += [str(one.differing.get(split, "n/a"))]
        line += [one.engine or "n/a", _outcome(one)]
        body.append(line)
    align = (*["right"] * (len(header) - 2), "left", "left")
    return tabulate(body, header, colalign=align, disable_numparse=True)


def _outcome(one: Repetition) -> str:
    if one.error:
        return f"FAILED: {one.error}"
    return "identical" if one.identical else "differs"


def _said(finished: Finished, outcome: Verification, rows: pd.DataFrame) -> list[str]:
    """What all of it says together, the conclusion last."""
    import nas_skeleton

    count = len(outcome.repetitions)
    versions, engines, devices = (
        ", ".join(sorted(set(rows[name]))) for name in ("version", "engine", "device")
    )
    lines = [
        f"Stored: {finished.title}, engine {engines or 'n/a'} on {devices or 'n/a'}, version "
        f"{versions or 'n/a'}; this is version {nas_skeleton.__version__}.",
        _fault_line(finished)
        if finished.faults
        else f"All {outcome.finished:,} finished rows have the accuracies of their own predictions "
        "and curves.",
        f"{outcome.identical} of {count} identical, bit for bit: predictions, losses and "
        "accuracies of all evaluated epochs.",
    ]
    if outcome.failed:
        lines.append(f"{outcome.failed} of {count} FAILED.")
    if outcome.unexplained:
        lines.append(
            f"{_rows(outcome.unexplained)}: other rows from the same machine, engine and version "
            "are identical, so rounding does not explain why these are not. Look at them."
        )
    for split, deviation in outcome.deviations.items():
        lines.append(f"{split:5}: {_verdict(deviation, split in outcome.beyond_noise)}")
    return [*lines, _conclusion(finished, outcome)]


def _fault_line(finished: Finished) -> str:
    """How many rows are not sound, and which first."""
    faults = finished.faults
    shown = "; ".join(f"{_row(fault)}: {fault.what}" for fault in faults[:SHOWN])
    more = f"; and {len(faults) - SHOWN:,} more" * (len(faults) > SHOWN)
    return (
        f"{len(faults):,} of {len(finished.rows):,} finished rows NOT THEIR OWN PREDICTIONS, not "
        f"trained again: {shown}{more}."
    )


def _verdict(found: Deviation, beyond: bool) -> str:
    from nas_skeleton.results.seed_noise import ASSUMED

    of = "the one that differs" if found.judged == 1 else f"the {found.judged} that differ"
    text = (
        f"{of}: again minus stored {100 * found.mean:+.2f} points in the mean, "
        f"{100 * found.rms:.2f} root mean square, {100 * found.worst:+.2f} at most. "
    )
    expected = f"{100 * found.expected:.2f} root mean square"
    if found.noise == "seeds":
        text += f"Two seeds differ by {expected} ({found.architectures:,} architectures): "
    else:
        text += (
            f"THE NOISE OF SEEDS IS NOT KNOWN: {found.architectures:,} architectures have several. "
            f"Assumed is much, {ASSUMED} binomial errors of the clips (two seeds differ by "
            f"{expected}), so only gross errors are found: "
        )
    text += "FURTHER OFF THAN SEEDS EXPLAIN" if beyond else "no further off than seeds explain"
    tests = f"p {_p(found.p_mean)} mean, {_p(found.p_size)} size, {_p(found.p_worst)} largest"
    return f"{text} ({tests}). One alone is found from {100 * found.noticeable:.0f} points on."


def _conclusion(finished: Finished, outcome: Verification) -> str:
    """One sentence that can be quoted."""
    wrong = []
    if outcome.faults:
        wrong.append(f"{len(outcome.faults):,} rows are not their own predictions")
    if outcome.failed:
        wrong.append(f"{outcome.failed} repetitions failed")
    if outcome.beyond_noise:
        splits = " and ".join(outcome.beyond_noise)
        wrong.append(f"{splits} accuracies are further off than seeds explain")
    if wrong:
        return f"NOT VERIFIED: {finished.title}: {'; '.join(wrong)}."
    count = len(outcome.repetitions)
    text = (
        f"Verified: {finished.title}: {count} of {outcome.finished:,} rows were trained again: "
        f"{outcome.identical} identical"
    )
    if differing := count - outcome.identical:
        is_known = all(of.noise == "seeds" for of in outcome.deviations.values())
        seeds = "another seed is" if is_known else "another seed might be"
        return f"{text}, {differing} no further off than {seeds}."
    share = 1 - 0.05 ** (1 / count)  # if it were wrong, none of so many would be at a chance of .05
    return (
        f"{text}. Were more than {100 * share:.0f} % of all rows wrong, one would have been "
        "drawn (95 % confidence)."
    )


def _rows(some: list[Repetition]) -> str:
    return ", ".join(map(_row, some[:SHOWN])) + " and more" * (len(some) > SHOWN)


def _row(one: Repetition | Fault) -> str:
    return f"#{one.arch_index} seed {one.seed}"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _points(share: float | None) -> str:
    return "n/a" if share is None else f"{100 * share:.2f}"
