"""The datasheet of a published table: what a user should know, every number computed from it.

Its headings are those of Gebru et al., Datasheets for Datasets (Communications of the ACM, 2021).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from nas_skeleton.errors import InputError
from nas_skeleton.published import files
from nas_skeleton.published.files import Manifest
from nas_skeleton.published.summary import DIGITS
from nas_skeleton.results import schema
from nas_skeleton.results.leaderboard import build_leaderboard, short_count, wilson_error
from nas_skeleton.skeletons.load import load_dataset_card
from nas_skeleton.spaces.space import CELLS

LICENCE = "https://www.apache.org/licenses/LICENSE-2.0"
USES = (
    "Studying search strategies, predictors and proxies on skeleton action recognition without "
    "training anything; studying which cells work behind a graph stem; teaching."
)
WARNINGS = (
    "Architectures may be chosen by validation accuracy only. Copied rows are no independent "
    "trainings. Differences within the noise stated in the datasheet are none. Accuracies are "
    "those of one recipe on one split, not the best a network can do."
)


@dataclass(frozen=True)
class Source:
    """What the card of the data set says of it; empty where there is no such card."""

    title: str = ""
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
    return Source(card.title, card.licence, card.citation, get, note)


def title_of(manifest: Manifest) -> str:
    """One sentence that says what the table is."""
    seeds = ", ".join(map(str, manifest.seeds))
    return (
        f"{manifest.architectures:,} of the {CELLS:,} cells of NAS-Bench-201 in space "
        f"{manifest.space!r} on skeleton action recognition: data set {manifest.dataset!r}, "
        f"protocol {manifest.protocol!r}, recipe {manifest.recipe!r}, seeds {seeds}."
    )


def write_datasheet(folder: Path, manifest: Manifest, table: pd.DataFrame) -> None:
    """Write the datasheet of `table`, whose other files are there."""
    sections = {
        "Motivation": _motivation(),
        "Composition": _composition(folder, manifest, table),
        "Noise": _noise(manifest, table),
        "Collection process": _collection(manifest, table),
        "Preprocessing, cleaning, labelling": _preprocessing(manifest),
        "Uses": [USES, WARNINGS],
        "Distribution": _distribution(manifest),
        "Maintenance": _maintenance(manifest),
    }
    text = [f"# Datasheet of the table {manifest.name!r}", title_of(manifest)]
    for heading, paragraphs in sections.items():
        text += [f"## {heading}", *paragraphs]
    (folder / files.DATASHEET).write_text("\n\n".join(text) + "\n", encoding="utf-8")


def _motivation() -> list[str]:
    return [
        "Made so that neural architecture search on skeleton action recognition can be studied in "
        "milliseconds and compared fairly: everybody asks the same table. Made by the nas_skeleton "
        "authors with the program that reads it."
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
        f"| {file.name} | {file.stat().st_size / 1e6:.2f} MB |"
        for file in sorted(folder.iterdir())
        if file.name in files.DATA
    ]
    clips = ", ".join(f"{count} {split}" for split, count in manifest.clips.items())
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
        "\n".join(
            [
                "| seed | trained | copied | diverged | architectures with a row |",
                "|---:|---:|---:|---:|---:|",
                *per_seed,
            ]
        ),
        f"Clips: {clips}; {len(manifest.classes)} classes, {manifest.joints} joints.",
        "Top-1 accuracy after the last epoch, over the trained rows, in percent:",
        "\n".join(["| | lowest | median | highest |", "|---|---:|---:|---:|", *columns]),
        f"Parameters {short_count(table['params'].min())} to {short_count(table['params'].max())}, "
        f"MACs {short_count(table['macs'].min())} to {short_count(table['macs'].max())} a clip. "
        "MACs are multiply-accumulates of convolutions, graph sums and the classifier; dead edges "
        "count, as in NAS-Bench-201.",
        "Numbers are stored as they were measured, in double precision, accuracies as shares in "
        f"[0, 1]; the summary has {DIGITS} digits behind the point.",
        "\n".join(["| file | size |", "|---|---:|", *sizes]),
    ]


_TOP1 = {"validation": "final_valid_top1", "test": "final_test_top1"}


def _noise(manifest: Manifest, table: pd.DataFrame) -> list[str]:
    """How far a number may be from what another seed, other clips or another member would give."""
    done = table[table["status"] == schema.DONE]
    board = build_leaderboard(
        done, valid_clips=manifest.clips.get("valid", 0), test_clips=manifest.clips.get("test", 0)
    )
    lines = []
    for split, column in _TOP1.items():
        clips = board.valid_clips if split == "validation" else board.test_clips
        if not clips:
            continue
        parts = [
            f"one clip is {100 / clips:.2f} points; the binomial standard error over {clips} clips "
            f"at the median is {100 * wilson_error(float(done[column].median()), clips):.1f} points"
        ]
        if over_seeds := _pooled_sd(done, column, ["arch_index"]):
            parts.append(f"the standard deviation over seeds is {100 * over_seeds:.1f} points")
        if within := _pooled_sd(done, column, ["functional_key", "seed"]):
            parts.append(
                f"that over members of one functional class with one seed is {100 * within:.1f} "
                "points"
            )
        if taus := _taus(done, column):
            parts.append(
                "Kendall's tau-b between two seeds is "
                + ", ".join(f"{tau:.2f} ({a} and {b}, {n:,} cells)" for a, b, tau, n in taus)
            )
        if found := board.reliability.get("valid" if split == "validation" else "test"):
            parts.append(
                f"the share of the variance that belongs to the architecture is {found.single:.2f} "
                f"[{found.low:.2f}, {found.high:.2f}] of one training and {found.mean:.2f} of the "
                f"mean over {found.seeds} seeds ({found.architectures:,} cells)"
            )
        lines.append(f"* {split.capitalize()}: " + "; ".join(parts) + ".")
    if board.ranked_by:
        lines.append(
            f"* At least {board.near_best():,} of {len(board.table):,} trained architectures "
            "cannot be told apart from the best on validation (within two standard errors)."
        )
    if len(manifest.seeds) == 1:
        lines.append("* One seed: the noise over seeds is unknown, and comes on top.")
    return ["\n".join(lines)]


def _pooled_sd(rows: pd.DataFrame, column: str, group: list[str]) -> float | None:
    """Standard deviation within groups, over all of them; None where no group has two rows."""
    by = rows.groupby(group)[column]
    freedom = (by.count() - 1).clip(lower=0)
    if freedom.sum() == 0:
        return None
    return float(((by.var() * freedom).sum() / freedom.sum()) ** 0.5)


def _taus(rows: pd.DataFrame, column: str) -> list[tuple[int, int, float, int]]:
    from scipy.stats import kendalltau

    values = rows.pivot(index="arch_index", columns="seed", values=column)
    found = []
    for first, second in itertools.combinations(values.columns, 2):
        both = values[[first, second]].dropna()
        if len(both) > 2:
            tau = float(kendalltau(both[first], both[second]).statistic)
            found.append((int(first), int(second), tau, len(both)))
    return found


def _collection(manifest: Manifest, table: pd.DataFrame) -> list[str]:
    done = table[table["status"] == schema.DONE]
    machines = [
        f"| {part.device} | {part.engine} | {part.precision} | {part.host} | {part.trainings:,} |"
        for part in manifest.hardware
    ]
    hours = done["train_time_s"].sum() / 3600
    recipe = ", ".join(f"{key} {value}" for key, value in manifest.recipe_values.items())
    return [
        f"Trained by nas_skeleton {', '.join(manifest.trained_with)} until "
        f"{manifest.trained_until}, each training from its own random numbers, derived from its "
        "seed and identity. "
        f"{hours:,.1f} hours of training in all, evaluations included; "
        f"{done['train_time_s'].median():.3g} s each at the median. Times depend on the machine "
        "and on how many candidates advanced together.",
        f"Recipe {manifest.recipe!r} (hash {manifest.recipe_hash}; the card is {files.CARD}): "
        f"{recipe}. Evaluated after epochs {', '.join(map(str, manifest.epochs))}.",
        "\n".join(
            [
                "| device | engine | precision | machine (hash of its name) | trainings |",
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


def _preprocessing(manifest: Manifest) -> list[str]:
    source = source_of(manifest)
    note = f" ({source.note})" if source.note else ""
    return [
        f"Networks saw {manifest.modality} of clips of {source.title or manifest.dataset}, split "
        f"by protocol {manifest.protocol!r}{note}. Fingerprint of the prepared clips: "
        f"{manifest.fingerprint}. Labels are the data set's own.",
        "Nothing was left out but trainings that crashed or are unfinished. Diverged trainings are "
        'in the table with status "diverged" and no accuracy.',
    ]


def _distribution(manifest: Manifest) -> list[str]:
    source = source_of(manifest)
    lines = [f"The table is under the licence of nas_skeleton ({LICENCE})."]
    if source.licence:
        lines.append(
            f"The clips are not in it. The data set: {source.licence}. {source.citation}. "
            f"From {source.get}."
        )
    return [
        " ".join(lines),
        f"{files.MANIFEST} has the SHA-256 of every file. Content {manifest.content} names all of "
        f"them together: cite it with the name ({manifest.name}, content {manifest.content}).",
    ]


def _maintenance(manifest: Manifest) -> list[str]:
    return [
        f"Kept in the repository of nas_skeleton; errors are reported there. Schema of the folder "
        f"{manifest.schema}, of the columns {manifest.results_schema}: a reader that does not know "
        "them says so. Rows that are added later come with a new manifest; numbers that were "
        "published do not change silently."
    ]
