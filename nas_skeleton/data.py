"""`python -m nas_skeleton.data`: list, download, prepare, check and show data sets."""

from __future__ import annotations

import csv
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas_skeleton import cli
from nas_skeleton.cores import usable_cores

if TYPE_CHECKING:
    from nas_skeleton.skeletons.card import Protocol
    from nas_skeleton.skeletons.header import Fault
    from nas_skeleton.skeletons.store import Dataset


MANY_SUBJECTS = 40  # more are counted, not listed
MANY_FAULTS = 20  # more go into a file


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Data sets: which there are, preparing them once, and whether they are whole.

    A data set is a card datasets/NAME.toml and raw files, which are looked for in datasets/NAME/
    and under the folder named by NAS_SKELETON_DATA. The set "synthetic" needs no files.
    """


@main.command("list")
def list_() -> None:
    """List all data sets.

    Says whether their raw data is found and whether they are prepared.
    """
    from tabulate import tabulate

    from nas_skeleton.cards import card_names

    rows = [_listed(name) for name in card_names("datasets")]
    click.echo(tabulate(rows, headers=["name", "raw data", "prepared", "title"]))


raw_option = click.option(
    "--raw",
    type=click.Path(path_type=Path),
    help="Raw file or folder; by default datasets/NAME/ and NAS_SKELETON_DATA are searched.",
)
workers_option = click.option(
    "--workers",
    type=click.IntRange(1, 1024),
    default=usable_cores,
    show_default="a core each",
    help="Processes that read raw files, where there are many.",
)


@main.command()
@click.argument("name")
@raw_option
@click.option("--skip-bad", is_flag=True, help="Leave out files that cannot be used, and say so.")
@workers_option
def prepare(name: str, raw: Path | None, skip_bad: bool, workers: int) -> None:
    """Prepare data set NAME from its raw data.

    The store goes to datasets/NAME/prepared/ in the working folder and replaces one that is there.
    Every file is read; those that cannot be used are listed with the reason, and nothing is
    prepared unless --skip-bad leaves them out. A run that was interrupted goes on where it stopped.
    """
    from nas_skeleton.commands.progress import preparing
    from nas_skeleton.skeletons import store

    kept = "what was read is kept; run the same command again to go on"
    with _interruptible(kept), preparing(name) as progress:
        try:
            store.prepare(
                name,
                raw,
                progress,
                skip_bad=skip_bad,
                workers=workers,
                announce=lambda line: click.echo(line, err=True),
            )
        except store.BadFiles as error:
            _print_faults(name, error.faults)
            raise
    dataset = store.load_dataset(name, prepare_missing=False)
    left_out = dataset.header.left_out
    if left_out:
        _print_faults(name, left_out)
        click.echo(f"left out: {len(left_out)}", err=True)
    if dataset.card.subset_of:
        whole = f"{name!r} is {len(dataset)} of {len(dataset.header.clips)} clips in "
    else:
        whole = ""
    click.echo(
        f"{whole}{dataset.folder}: {len(dataset.header.clips)} clips, "
        f"fingerprint {dataset.fingerprint[:16]}"
    )
    _say_if_incomplete(dataset)


@main.command()
@click.argument("name")
@raw_option
@workers_option
def check(name: str, raw: Path | None, workers: int) -> int:
    """Check data set NAME against its card.

    Compares counts, subjects, splits and every coordinate with what the card expects, and prints
    one line per check. With --raw, reads raw files instead and prints a table of what is wrong with
    which; nothing is prepared. The exit code is 2 if anything is wrong.
    """
    from nas_skeleton.commands.progress import open_dataset
    from nas_skeleton.skeletons.check import check_dataset
    from nas_skeleton.skeletons.store import BadFiles

    if raw is not None:
        return _check_raw(name, raw, workers)
    try:
        dataset = open_dataset(name, to_train=False)
    except BadFiles as error:
        _print_faults(name, error.faults)
        raise
    failed = 0
    for finding in check_dataset(dataset):
        click.echo(f"{'ok' if finding.ok else 'FAILED':6}  {finding.check:22}  {finding.detail}")
        failed += not finding.ok
    if failed:
        click.echo(
            f"Error: data set {name!r}: failed checks: {failed}; get complete raw data and run "
            f"`python -m nas_skeleton.data prepare {name}`",
            err=True,
        )
        return cli.BAD_INPUT
    click.echo(f"data set {name!r} is as its card says")
    return cli.COMPLETE


def _check_raw(name: str, raw: Path, workers: int) -> int:
    from nas_skeleton.commands.progress import preparing
    from nas_skeleton.skeletons.store import read_raw

    faults, clips, sources = [], 0, 0
    with _interruptible("run the same command again"), preparing(name) as progress:
        for read in read_raw(name, raw, progress, workers=workers):
            faults += read.faults
            clips += len(read.clips)
            sources += 1
    _print_faults(name, faults)
    click.echo(f"{sources} read, {clips} clips can be used, {len(faults)} cannot")
    return cli.BAD_INPUT if faults else cli.COMPLETE


def _print_faults(name: str, faults: Sequence[Fault]) -> None:
    """A table on standard output: which file, or clip of a file, and what is wrong with it.

    Where they are many, the first ones; all go into a file then.
    """
    from tabulate import tabulate

    if not faults:
        return
    rows = [[fault.source, fault.reason] for fault in faults]
    click.echo(tabulate(rows[:MANY_FAULTS], ["file", "what is wrong"], disable_numparse=True))
    if len(rows) > MANY_FAULTS:
        path = Path("datasets", name.partition(":")[0], "bad-files.csv")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([["file", "what is wrong"], *rows])
        click.echo(f"... and {len(rows) - MANY_FAULTS} more; all are listed in {path}")


def _say_if_incomplete(dataset: Dataset) -> None:
    from nas_skeleton.commands.progress import incomplete

    for line in incomplete(dataset):
        click.echo(line, err=True)


@main.command()
@click.argument("name")
def download(name: str) -> None:
    """Download the raw data of data set NAME into datasets/NAME/, where its licence allows.

    An interrupted download goes on where it stopped. For other data sets, says where to ask.
    """
    from nas_skeleton.commands.progress import Bytes
    from nas_skeleton.skeletons.downloading import download as fetch
    from nas_skeleton.skeletons.load import load_dataset_card, whole_card
    from nas_skeleton.skeletons.raw import download_of

    source, path = download_of(whole_card(load_dataset_card(name)))
    with Bytes(source.file, source.bytes) as progress:
        fetch(source.url, path, sha256=source.sha256, size=source.bytes, progress=progress)
    click.echo(f"{path}: {source.bytes} bytes, sha256 as expected")


@main.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@click.option("--clip", "clip_id", help="Draw this clip, by its id, instead.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="With --clip: file to draw into; .png, .pdf or .svg for a strip of skeletons, .gif or "
    ".html for an animation.  [default: CLIP.png]",
)
@click.option(
    "--frames",
    type=click.IntRange(1, 100),
    default=8,
    show_default=True,
    help="With --clip: skeletons in a strip.",
)
def show(name: str, as_json: bool, clip_id: str | None, output: Path | None, frames: int) -> None:
    """Show what is in data set NAME, or draw one of its clips.

    Clips, classes, subjects, frames, protocols, fingerprint, licence and citation.
    """
    from nas_skeleton.commands.progress import open_dataset

    if clip_id is None and output is not None:
        raise click.UsageError("-o goes with --clip")
    if clip_id is not None and as_json:
        raise click.UsageError("--json does not go with --clip")
    dataset = open_dataset(name, to_train=False)
    if clip_id is not None:
        from nas_skeleton.skeletons.showing import draw_clip

        path = output or Path(f"{_file_name(clip_id)}.png")
        click.echo(draw_clip(dataset, clip_id, path, frames=frames))
        return
    facts = _facts(dataset)
    if as_json:
        cli.print_json(facts)
    else:
        click.echo("\n".join(_described(facts)))


def _file_name(clip: str) -> str:
    """A clip's id without what cannot stand in a file name."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in clip)


@contextmanager
def _interruptible(what: str) -> Iterator[None]:
    """Let all signals that ask a command to stop end the block, and say `what` became of it."""
    from nas_skeleton.errors import StoppedEarly

    stopping = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in stopping}
    for number in before:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        for number in before:  # it ends; being told again would only spoil that
            signal.signal(number, signal.SIG_IGN)
        before.clear()
        raise StoppedEarly(f"stopped by a signal: {what}") from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _listed(name: str) -> list[str]:
    from nas_skeleton.errors import InputError
    from nas_skeleton.skeletons.load import load_dataset_card, whole_card
    from nas_skeleton.skeletons.raw import is_found
    from nas_skeleton.skeletons.readers import get_reader
    from nas_skeleton.skeletons.store import state

    try:
        card = load_dataset_card(name)
    except InputError as error:
        return [name, "", "", f"unusable card: {error}"]
    if get_reader(card.reader).NEEDS_RAW:
        raw = "found" if is_found(whole_card(card)) else "not found"
    else:
        raw = "not needed"
    return [name, raw, state(card), card.title]


def _facts(dataset: Dataset) -> dict[str, Any]:
    """What `show` tells, in plain types."""
    import numpy as np

    card, lengths = dataset.card, dataset.lengths
    subjects, counts = np.unique(dataset.subjects, return_counts=True)
    return {
        "name": card.name,
        "title": card.title,
        "description": card.description,
        "clips": len(dataset),
        "classes": list(dataset.classes),
        "clips_per_subject": dict(zip(map(str, subjects.tolist()), counts.tolist(), strict=True)),
        "knows_persons": card.subjects is not None,
        "frames": {
            "min": int(lengths.min()),
            "mean": round(float(lengths.mean()), 2),
            "max": int(lengths.max()),
        },
        "frames_per_second": card.frames_per_second,
        "layout": dataset.layout.name,
        "joints": len(dataset.layout.joints),
        "channels": dataset.channels,
        "axes": list(dataset.axes),
        "bodies": dataset.bodies,
        "units": card.units,
        "steps": [
            step.model_dump(mode="json", exclude_defaults=True) | {"name": step.name}
            for step in card.steps
        ],
        "left_out": [fault.model_dump() for fault in dataset.header.left_out],
        "default_protocol": card.default_protocol,
        "protocols": {
            name: _protocol_facts(dataset, name, protocol)
            for name, protocol in card.protocols.items()
        },
        "fingerprint": dataset.fingerprint,
        "folder": str(dataset.folder),
        "licence": card.licence,
        "citation": card.citation,
    }


def _protocol_facts(dataset: Dataset, name: str, protocol: Protocol) -> dict[str, Any]:
    from nas_skeleton.errors import InputError

    facts: dict[str, Any] = {
        "by": protocol.kind,
        protocol.kind: {part: list(values) for part, values in protocol.parts().items()},
        "held_out": _held_out(protocol),
        "note": protocol.note,
    }
    try:
        return facts | {part: len(clips) for part, clips in dataset.split(name).items()}
    except InputError as error:  # a part of the data may well be there without all it needs
        return facts | {"unusable": str(error)}


def _described(facts: dict[str, Any]) -> Iterator[str]:
    """The same for people, line by line."""
    frames = facts["frames"]
    yield f"{facts['name']}: {facts['title']}"
    yield " ".join(facts["description"].split())
    yield ""
    yield (
        f"clips        {facts['clips']}, {facts['joints']} joints ({facts['layout']}), "
        f"{', '.join(facts['axes'])} in {facts['units']}, bodies {facts['bodies']}"
    )
    yield (
        f"frames       {frames['min']} to {frames['max']}, mean {frames['mean']}, "
        f"at {facts['frames_per_second']:g} per second"
    )
    steps = ", ".join(_step_text(step) for step in facts["steps"])
    yield f"cleaning     {steps or 'none, as recorded'}"
    if facts["left_out"]:
        yield f"left out     {len(facts['left_out'])} that could not be used, see --json"
    yield f"classes      {len(facts['classes'])}: {', '.join(facts['classes'])}"
    per_subject = facts["clips_per_subject"].items()
    if not facts["knows_persons"]:
        yield f"groups       {len(per_subject)}; who the persons are is not known"
    elif len(per_subject) <= MANY_SUBJECTS:
        each = ", ".join(f"{subject}: {clips}" for subject, clips in per_subject)
        yield f"subjects     {each} clips"
    else:
        counts = facts["clips_per_subject"].values()
        yield f"subjects     {len(per_subject)} with {min(counts)} to {max(counts)} clips each"
    for name, protocol in facts["protocols"].items():
        default = " (default)" if name == facts["default_protocol"] else ""
        if "unusable" in protocol:
            yield f"protocol     {name}{default}: CANNOT BE USED: {protocol['unusable']}"
            continue
        valid = f"valid {protocol['valid']}" if protocol["valid"] else "NO VALIDATION SET"
        counts = f"train {protocol['train']}, {valid}, test {protocol['test']}"
        yield f"protocol     {name}{default}: {'; '.join(filter(None, (counts, protocol['note'])))}"
    yield f"fingerprint  {facts['fingerprint']}"
    yield f"store        {facts['folder']}"
    yield f"licence      {facts['licence']}"
    yield f"citation     {' '.join(facts['citation'].split())}"


def _held_out(protocol: Protocol) -> str:
    """Who of the training side chooses, where the protocol does not go by subjects."""
    if protocol.valid_share:
        return f"{protocol.valid_share:g} of the training side's subjects"
    if protocol.kind != "subjects" and protocol.valid_subjects:
        return f"subjects {', '.join(map(str, protocol.valid_subjects))} of the training side"
    return ""


def _step_text(step: dict[str, Any]) -> str:
    options = ", ".join(f"{key} {value}" for key, value in step.items() if key != "name")
    return f"{step['name']} ({options})" if options else str(step["name"])


if __name__ == "__main__":
    cli.run(main)
