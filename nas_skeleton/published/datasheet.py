"""The datasheet of a published table: what a user should know, every number computed from it.

Its headings are those of Gebru et al., Datasheets for Datasets (Communications of the ACM, 2021).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from nas_skeleton.errors import InputError
from nas_skeleton.published import files
from nas_skeleton.published.files import Manifest
from nas_skeleton.published.noise import describe_noise
from nas_skeleton.published.publisher import Publisher
from nas_skeleton.published.summary import DIGITS
from nas_skeleton.published.table import PublishedTable
from nas_skeleton.results import schema
from nas_skeleton.results.leaderboard import short_count
from nas_skeleton.skeletons.load import load_dataset_card
from nas_skeleton.spaces.space import CELLS, CLASSES
from nas_skeleton.training.result import ANALYTIC

RECORDS = {  # file -> name of its records, what one is
    files.TABLE: ("trainings", "One architecture trained with one seed, or a copy of that."),
    files.CURVES: ("epochs", "What one training was like after one of its epochs."),
    files.PREDICTIONS: ("predictions", "The classes one training predicts for all clips."),
    files.SUMMARY: ("architectures", "One architecture: means over its seeds."),
    files.CLIPS: ("clips", "One clip, in the order of predictions: its id and its label."),
}
USES = (
    "Studying search strategies, predictors and proxies on skeleton action recognition without "
    "training anything; studying which cells work behind its stem; teaching."
)
WARNINGS = (
    "Architectures may be chosen by validation accuracy only. Copied rows are no independent "
    "trainings. A difference within the noise stated in the datasheet may be one or not: the table "
    "cannot tell. Compare means over equal seeds: cells with more seeds than others may have been "
    "chosen for an accuracy that is still part of their mean. Accuracies are those of one recipe "
    "on one split, not the best a network can do."
)


@dataclass(frozen=True)
class Source:
    """What the card of the data set says of it; empty where there is no such card."""

    title: str = ""
    description: str = ""
    licence: str = ""
    citation: str = ""
    get: str = ""
    note: str = ""


def source_of(manifest: Manifest) -> Source:
    """The data set behind a table."""
    try:
        card = load_dataset_card(manifest.dataset)
        note = card.protocol(manifest.protocol).note
    except InputError:
        return Source()
    get = card.raw.get if card.raw else ""
    return Source(card.title, card.description, card.licence, card.citation, get, note)


def title_of(manifest: Manifest) -> str:
    """One sentence that says what the table is."""
    seeds = ", ".join(map(str, manifest.seeds))
    return (
        f"Trainings of {manifest.functions:,} of the {CLASSES:,} functionally different cells of "
        f"NAS-Bench-201 ({manifest.architectures:,} of its {CELLS:,} with copies) on skeleton "
        f"action recognition: search space {manifest.space!r}, data set {manifest.dataset!r}, "
        f"protocol {manifest.protocol!r}, recipe {manifest.recipe!r}, "
        f"{'seeds' if len(manifest.seeds) > 1 else 'seed'} {seeds}."
    )


def size(count: int) -> str:
    """Bytes as "3.4 kB" or "1.2 MB"."""
    return f"{count / 1e3:.1f} kB" if count < 1e6 else f"{count / 1e6:.1f} MB"


def write_datasheet(
    folder: Path, manifest: Manifest, table: pd.DataFrame, publisher: Publisher
) -> None:
    """Write the datasheet of `table`, whose other files are there."""
    sections = {
        "Motivation": _motivation(manifest, publisher),
        "Composition": _composition(folder, manifest, table),
        "Noise": describe_noise(PublishedTable(folder)),
        "Collection process": _collection(manifest, table),
        "Preprocessing, cleaning, labelling": _preprocessing(manifest),
        "Uses": [USES, WARNINGS],
        "Distribution": _distribution(manifest, publisher),
        "Maintenance": maintenance(manifest, publisher),
    }
    text = [f"# Datasheet of the table {manifest.name!r}", title_of(manifest)]
    for heading, paragraphs in sections.items():
        text += [f"## {heading}", *paragraphs]
    (folder / files.DATASHEET).write_text("\n\n".join(text) + "\n", encoding="utf-8")


def _motivation(manifest: Manifest, publisher: Publisher) -> list[str]:
    return [
        "For studying neural architecture search on skeleton action recognition in milliseconds, "
        "and for comparing fairly: everybody asks the same table. Made with nas_skeleton "
        f"{manifest.published_with}, which also reads it. Author: "
        f"{publisher.author or 'not stated'}."
    ]


def _composition(folder: Path, manifest: Manifest, table: pd.DataFrame) -> list[str]:
    own = table[table["source_index"].isna()]
    done = own[own["status"] == schema.DONE]
    per_seed = [
        f"| {seed} | {int((done['seed'] == seed).sum()):,} | "
        f"{int(((table['seed'] == seed) & (table['status'] == schema.COPIED)).sum()):,} | "
        f"{int(((own['seed'] == seed) & (own['status'] == schema.DIVERGED)).sum()):,} | "
        f"{table.loc[table['seed'] == seed, 'arch_index'].nunique():,} of {CELLS:,} |"
        for seed in manifest.seeds
    ]
    sizes = [
        f"| {name} | {size((folder / name).stat().st_size)} | {what} |"
        for name, what in _CONTENTS.items()
    ]
    clips = ", ".join(f"{count:,} {_SPLITS[split]}" for split, count in manifest.clips.items())
    columns = [
        f"| {column} | {100 * done[name].min():.1f} | {100 * done[name].median():.1f} | "
        f"{100 * done[name].max():.1f} |"
        for column, name in _TOP1.items()
        if done[name].notna().any()
    ]
    return [
        "A row is an architecture trained with a seed, or a copy of such a row for another cell "
        "that is exactly the same function (`source_index` says of which). Parameters and MACs of "
        "a copy are its own; times, latency and memory are those of what was trained. Copies are "
        "never independent trainings.",
        *(
            []
            if manifest.functions == CLASSES
            else [
                f"{CLASSES - manifest.functions:,} functional classes are missing{_why(manifest)}"
            ]
        ),
        "\n".join(
            [
                "| seed | trained | copied | diverged | architectures with a row |",
                "|---:|---:|---:|---:|---:|",
                *per_seed,
            ]
        ),
        f"The networks tell {len(manifest.classes)} classes of actions apart, by clips of "
        f"{manifest.joints} joints: {clips}.",
        "Top-1 accuracy after the last epoch, over the trained rows, in percent:",
        "\n".join(["| | lowest | median | highest |", "|---|---:|---:|---:|", *columns]),
        f"Parameters {short_count(table['params'].min())} to {short_count(table['params'].max())}, "
        f"MACs {short_count(table['macs'].min())} to {short_count(table['macs'].max())} a clip. "
        "MACs are multiply-accumulates of convolutions, graph sums and the classifier; dead edges "
        "count, as in NAS-Bench-201.",
        "Numbers are stored as they were measured, in double precision, accuracies as shares in "
        f"[0, 1]; the summary has {DIGITS} digits behind the point. Units are in the names of "
        "columns: `_s` seconds, `_ms` milliseconds, `_mb` MiB; top-1, top-5 and the mean of top-1 "
        "over classes are called `_top1`, `_top5` and `_mean_class`.",
        "\n".join(["| file | size | what a line is |", "|---|---:|---|", *sizes]),
    ]


def _why(manifest: Manifest) -> str:
    """How those that are not missing were chosen."""
    if len(manifest.sample) == manifest.functions:
        return ": those that are there were drawn by the publisher as a sample of all."
    return (
        ", and not at random unless a sample was trained: a search trains cells in the order of "
        "their indices, in which classes with many members come early."
    )


_CONTENTS = {name: what for name, (_, what) in RECORDS.items()} | {
    files.CARD: "The card of the search space: stem, macro skeleton and recipes."
}
_SPLITS = {"train": "for training", "valid": "for validation", "test": "for the test"}


_TOP1 = {"validation": "final_valid_top1", "test": "final_test_top1"}


def _collection(manifest: Manifest, table: pd.DataFrame) -> list[str]:
    done = table[table["status"] == schema.DONE]
    machines = [
        f"| {part.device} | {part.engine} | {part.precision} | {part.host} | {part.trainings:,} |"
        for part in manifest.hardware
    ]
    recipe = ", ".join(
        f"{key} {value}" for key, value in manifest.recipe_values.items() if value not in (None, [])
    )
    of_engine = {engine: rows["train_time_s"] for engine, rows in done.groupby("engine")}
    unasked = len(of_engine.pop(ANALYTIC, []))
    trained = pd.concat(list(of_engine.values())) if of_engine else pd.Series(dtype="float64")
    paragraphs = [
        f"Trained with nas_skeleton {', '.join(manifest.trained_with)}, the last one on "
        f"{manifest.trained_until[:10]} (UTC); each training from its own random numbers, derived "
        "from its seed and identity.",
    ]
    if len(trained):
        paragraphs.append(
            f"{len(trained):,} trainings took {_span(trained.sum())} in all, evaluations "
            f"included, and {trained.median():.3g} s each at the median. Times depend on the "
            "machine, on how many candidates advanced together and on what else it was at: MACs "
            f"and parameters do not.{_spread_of_times(done[done['engine'] != ANALYTIC])} Latency "
            "is of one clip through the network in PyTorch, without its dead edges, in evaluation "
            "mode, the median of 5 passes; memory is that of the whole process, libraries included."
        )
    if unasked:
        paragraphs.append(
            f"{unasked:,} rows of cells that ignore their input were filled in without training "
            f"(engine `{ANALYTIC}`): whatever such a cell learns, it says the same of every clip."
        )
    return [
        " ".join(paragraphs),
        f"Recipe {manifest.recipe!r} (hash {manifest.recipe_hash}; {files.CARD} has the card): "
        f"{recipe}. Evaluated after epochs {', '.join(map(str, manifest.epochs))}.",
        "\n".join(
            [
                "| device | engine | precision | machine | trainings |",
                "|---|---|---|---|---:|",
                *machines,
            ]
        ),
        *(
            [f"In the publisher's words: {manifest.hardware_note}"]
            if manifest.hardware_note
            else []
        ),
    ]


def _spread_of_times(trained: pd.DataFrame) -> str:
    """How far seconds and latency of one cell are apart that was trained with several seeds."""
    cells = trained.groupby("arch_index")[["train_time_s", "latency_ms"]]
    several = cells.max()[cells.size() > 1] / cells.min()[cells.size() > 1]
    if several.empty:
        return ""
    parts = (
        f"in {what} {several[column].median():.2f} times the shortest at the median and "
        f"{several[column].quantile(0.99):.2g} times at the 99th percentile"
        for what, column in (("seconds", "train_time_s"), ("latency", "latency_ms"))
    )
    return (
        f" Of the trainings of one cell with several seeds the longest is {', '.join(parts)} "
        f"({len(several):,} cells)."
    )


def _span(seconds: float) -> str:
    if seconds < 180:
        return f"{seconds:.3g} seconds"
    return f"{seconds / 60:.1f} minutes" if seconds < 3 * 3600 else f"{seconds / 3600:,.1f} hours"


def _preprocessing(manifest: Manifest) -> list[str]:
    source = source_of(manifest)
    about = f" {source.description}" if source.description else ""
    note = f' ("{source.note}")' if source.note else ""
    return [
        f"The clips are those of {source.title or repr(manifest.dataset)}.{about} They were split "
        f"by protocol {manifest.protocol!r}{note}; networks saw the modality "
        f"{manifest.modality!r} of them. Labels are the data set's own.",
        "Fingerprint of what was trained, a digest of the prepared clips and of who is in which "
        f"split (so not the one that `data prepare` prints): {manifest.fingerprint}.",
        "Nothing was left out but trainings that crashed or are unfinished. Diverged trainings are "
        'in the table with status "diverged" and no accuracy.',
    ]


def _distribution(manifest: Manifest, publisher: Publisher) -> list[str]:
    source = source_of(manifest)
    licence = publisher.licence or (
        "not stated, so ask the publisher before you pass the table on or build on it"
    )
    items = {
        "Licence of the table": licence,
        "Of the clips it holds": "ids and labels, no skeletons",
        "Licence of the clips": source.licence or "not known here",
        "To cite for the clips": source.citation,
        "Where to get the clips": source.get,
    }
    return [
        "\n".join(f"* {name}: {text}" for name, text in items.items() if text),
        f"{files.MANIFEST} has the SHA-256 of every file, and `python -m nas_skeleton.runs check` "
        f"looks whether they are sound. `nas_skeleton.Benchmark.load({manifest.name!r})` reads "
        "them, as does any program that knows Parquet and CSV.",
    ]


def maintenance(manifest: Manifest, publisher: Publisher) -> list[str]:
    """Who is told of errors, and what becomes of the table."""
    errors = (
        f"Errors are reported to {publisher.contact}"
        if publisher.contact
        else "Where to report errors is not stated"
    )
    return [
        f"{errors}. A table that is published again with further rows has another content: cite "
        f"this one as {manifest.name}, content {manifest.content}. The schema of the folder is "
        f"{manifest.schema}, that of the columns {manifest.results_schema}: a reader that does "
        "not know them says so."
    ]
