"""`python -m nas_skeleton.data`: list, prepare, check and show data sets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas_skeleton import cli

if TYPE_CHECKING:
    from nas_skeleton.skeletons.store import Dataset


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


@main.command()
@click.argument("name")
@click.option(
    "--raw",
    type=click.Path(path_type=Path),
    help="Raw file or folder; by default datasets/NAME/ and NAS_SKELETON_DATA are searched.",
)
def prepare(name: str, raw: Path | None) -> None:
    """Prepare data set NAME from its raw data.

    The store goes to datasets/NAME/prepared/ in the working folder and replaces one that is there.
    """
    from nas_skeleton.progress import preparing
    from nas_skeleton.skeletons import store

    with preparing(name) as progress:
        folder = store.prepare(name, raw, progress)
    dataset = store.load_dataset(name, prepare_missing=False)
    click.echo(f"{folder}: {len(dataset)} clips, fingerprint {dataset.fingerprint[:16]}")


@main.command()
@click.argument("name")
def check(name: str) -> int:
    """Check data set NAME against its card.

    Compares counts, subjects, splits and every coordinate with what the card expects, and prints
    one line per check. The exit code is 2 if one failed.
    """
    from nas_skeleton.progress import open_dataset
    from nas_skeleton.skeletons.check import check_dataset

    failed = 0
    for finding in check_dataset(open_dataset(name)):
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


@main.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def show(name: str, as_json: bool) -> None:
    """Show what is in data set NAME.

    Clips, classes, subjects, frames, protocols, fingerprint, licence and citation.
    """
    from nas_skeleton.progress import open_dataset

    facts = _facts(open_dataset(name))
    if as_json:
        cli.print_json(facts)
    else:
        click.echo("\n".join(_described(facts)))


def _listed(name: str) -> list[str]:
    from nas_skeleton.errors import InputError
    from nas_skeleton.skeletons.card import load_dataset_card
    from nas_skeleton.skeletons.raw import is_found
    from nas_skeleton.skeletons.readers import get_reader
    from nas_skeleton.skeletons.store import state

    try:
        card = load_dataset_card(name)
    except InputError as error:
        return [name, "", "", f"unusable card: {error}"]
    if get_reader(card.reader).NEEDS_RAW:
        raw = "found" if is_found(card) else "not found"
    else:
        raw = "not needed"
    return [name, raw, state(card), card.title]


def _facts(dataset: Dataset) -> dict[str, Any]:
    """What `show` tells, in plain types."""
    card, lengths = dataset.card, dataset.lengths
    subjects = dataset.subjects.tolist()
    return {
        "name": card.name,
        "title": card.title,
        "description": card.description,
        "clips": len(dataset),
        "classes": list(dataset.classes),
        "clips_per_subject": {str(s): subjects.count(s) for s in sorted(set(subjects))},
        "frames": {
            "min": int(lengths.min()),
            "mean": round(float(lengths.mean()), 2),
            "max": int(lengths.max()),
        },
        "frames_per_second": card.frames_per_second,
        "layout": card.layout,
        "joints": len(dataset.layout.joints),
        "channels": dataset.channels,
        "bodies": dataset.bodies,
        "units": card.units,
        "steps": list(card.steps),
        "default_protocol": card.default_protocol,
        "protocols": {
            name: {
                **{part: len(clips) for part, clips in dataset.split(name).items()},
                "subjects": {part: list(who) for part, who in protocol.parts().items()},
                "note": protocol.note,
            }
            for name, protocol in card.protocols.items()
        },
        "fingerprint": dataset.fingerprint,
        "folder": str(dataset.folder),
        "licence": card.licence,
        "citation": card.citation,
    }


def _described(facts: dict[str, Any]) -> Iterator[str]:
    """The same for people, line by line."""
    frames = facts["frames"]
    yield f"{facts['name']}: {facts['title']}"
    yield " ".join(facts["description"].split())
    yield ""
    yield (
        f"clips        {facts['clips']}, {facts['joints']} joints ({facts['layout']}), "
        f"{facts['channels']} coordinates in {facts['units']}, bodies {facts['bodies']}"
    )
    yield (
        f"frames       {frames['min']} to {frames['max']}, mean {frames['mean']}, "
        f"at {facts['frames_per_second']:g} per second"
    )
    yield f"cleaning     {', '.join(facts['steps']) or 'none, as recorded'}"
    yield f"classes      {len(facts['classes'])}: {', '.join(facts['classes'])}"
    per_subject = facts["clips_per_subject"].items()
    yield f"subjects     {', '.join(f'{subject}: {clips}' for subject, clips in per_subject)} clips"
    for name, protocol in facts["protocols"].items():
        default = " (default)" if name == facts["default_protocol"] else ""
        valid = f"valid {protocol['valid']}" if protocol["valid"] else "NO VALIDATION SET"
        counts = f"train {protocol['train']}, {valid}, test {protocol['test']}"
        yield f"protocol     {name}{default}: {counts}; {protocol['note']}"
    yield f"fingerprint  {facts['fingerprint']}"
    yield f"store        {facts['folder']}"
    yield f"licence      {facts['licence']}"
    yield f"citation     {' '.join(facts['citation'].split())}"


if __name__ == "__main__":
    cli.run(main)
