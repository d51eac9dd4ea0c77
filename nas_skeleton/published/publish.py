"""From runs to a published table: merged, described, checked, and then put in its place."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import nas_skeleton
from nas_skeleton.cards import check_name, read_card
from nas_skeleton.errors import InputError
from nas_skeleton.published import files
from nas_skeleton.published.check import check_table
from nas_skeleton.published.croissant import write_croissant
from nas_skeleton.published.datasheet import write_datasheet
from nas_skeleton.published.facts import facts_of
from nas_skeleton.published.files import Manifest
from nas_skeleton.published.publisher import UNSTATED, Publisher
from nas_skeleton.published.summary import write_clips, write_summary
from nas_skeleton.results import arrow, collect, schema, store
from nas_skeleton.results.copies import with_copies
from nas_skeleton.results.run import Arguments, Run
from nas_skeleton.spaces import Space, load_space

# What runs may differ in: which of the architectures they trained, and with which seeds.
_OWN = {"strategy", "seeds", "trials", "one_per_class", "archs", "parallel", "share_classes"}
_SHARED = [field.name for field in fields(Arguments) if field.name not in _OWN]
BATCH = 4096  # trainings whose curves and predictions are parsed together

Watch = Callable[[int], Callable[[], None]]
"""Called with a number of steps; what it returns is called after each."""


def publish(
    runs: Sequence[Run],
    name: str,
    folder: Path,
    *,
    hardware: str = "",
    publisher: Publisher = UNSTATED,
    sample: Run | None = None,
    watch: Watch = lambda _: lambda: None,
) -> Manifest:
    """Make the folder `folder`/`name` of everything finished in `runs`.

    Runs are merged where they trained the same thing: of a training that is stored twice the
    quicker one is kept, for its seconds tell least of what else the machine was at. Every other
    member of a trained cell's functional class gets a row that says "copied" and from where. A
    table that is there already is replaced, but not before the new one has passed `check_table`.
    The same runs give the same bytes again.

    Args:
        runs: of one space of cells, data set, protocol and recipe; they may still be at work.
        name: of the table.
        folder: where published tables lie.
        hardware: what the trainings ran on, in words.
        publisher: who answers for the table, and its licence.
        sample: the one of `runs` whose architectures were drawn in proportion from all.
        watch: tells how far it is.

    Raises:
        InputError: the runs do not belong together, nothing in them is finished, or the space's
            card is no longer theirs; or the folder is there and is no published table.
        OSError: the disk is full.
    """
    check_name(name, "--name")
    target = folder / name
    if target.exists() and not (target / files.MANIFEST).is_file():
        raise InputError(f"{target} is there and is no published table: choose another --name")
    space = _space_of(runs)
    merged = _merged(runs)
    temporary = folder / f".{name}.{os.getpid()}.tmp"
    temporary.mkdir(parents=True)
    try:
        sampled = _sampled(sample, merged) if sample else []
        manifest = _write(runs, merged, space, temporary, name, hardware, publisher, sampled, watch)
        _check(temporary, target)
        _put_in_place(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return manifest


def _sampled(sample: Run, merged: pd.DataFrame) -> list[int]:
    """The architectures of a run that finished in it.

    Raises:
        InputError: none did, or some of its trainings are still to come.
    """
    rows = sample.rows(["arch_index", "seed", "status"])
    done = set(rows.loc[rows["status"] == schema.DONE, "arch_index"].tolist())
    if not done:
        raise InputError(
            f"--sample {sample.name}: nothing in it is finished, so there is no sample to tell the "
            "noise of: leave --sample away, or train it first"
        )
    ended = rows[rows["status"] != schema.PAUSED]
    drawn = sample.arguments.archs or ended["arch_index"].unique().tolist()
    planned = set(itertools.product(drawn, sample.arguments.seeds))
    tried = set(zip(ended["arch_index"].tolist(), ended["seed"].tolist(), strict=True))
    if missing := len(planned - tried):
        raise InputError(
            f"--sample {sample.name}: {missing:,} of its {len(planned):,} trainings are missing, "
            "and what is done may be no sample of all: leave --sample away, or train the rest"
        )
    return sorted(done & set(merged["arch_index"].tolist()))


def _check(temporary: Path, target: Path) -> None:
    try:
        check_table(temporary)
    except InputError as error:
        raise InputError(str(error).replace(str(temporary), str(target))) from None


def _space_of(runs: Sequence[Run]) -> Space:
    """The space of all these runs.

    Raises:
        InputError: they have not one, or its card changed.
    """
    first = runs[0]
    for run in runs[1:]:
        for field in _SHARED:
            mine, other = getattr(first.arguments, field), getattr(run.arguments, field)
            if mine != other:
                raise InputError(
                    f"runs {first.name!r} and {run.name!r}: {field} is {mine!r} and {other!r}: a "
                    "table has one; publish them under two names"
                )
        if run.data != first.data:
            raise InputError(
                f"runs {first.name!r} and {run.name!r} have different clips in data.json: publish "
                "them under two names"
            )
    asked = first.arguments
    space = load_space(asked.space, asked.modality)
    if space.card.recipe_hash(asked.recipe) != asked.recipe_hash:
        raise InputError(
            f"search_spaces/{space.name}.toml changed since run {first.name!r}: a table is "
            "published with the card that it was trained with: restore it"
        )
    return space


_RUN = "run"  # place in the list of runs


def _merged(runs: Sequence[Run]) -> pd.DataFrame:
    """One row per finished training, sorted by architecture and seed, with where it lies."""
    columns = [*schema.COLUMNS, store.FILE, store.ROW]
    parts = [run.rows(columns).assign(**{_RUN: at}) for at, run in enumerate(runs)]
    rows = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
    rows = rows[~rows["status"].isin(schema.UNSETTLED)]
    quickest = rows.sort_values(["train_time_s", "finished_at"], kind="stable")  # NaN comes last
    rows = quickest.drop_duplicates("key")
    if not (rows["status"] == schema.DONE).any():
        names = ", ".join(repr(run.name) for run in runs)
        raise InputError(f"nothing to publish: no training of {names} is finished")
    return rows.sort_values(["arch_index", "seed"], kind="stable", ignore_index=True)


def _write(
    runs: Sequence[Run],
    rows: pd.DataFrame,
    space: Space,
    folder: Path,
    name: str,
    hardware: str,
    publisher: Publisher,
    sampled: list[int],
    watch: Watch,
) -> Manifest:
    data, asked = runs[0].data, runs[0].arguments
    advance = watch(sum(-(-len(own) // BATCH) for _, own in rows.groupby(_RUN)) + 1)
    curves, predictions = _details(runs, rows, advance)
    table = with_copies(rows[list(schema.COLUMNS)], space, data)
    table = table.assign(host=_numbered(table["host"]))
    in_arrow = pa.Table.from_pandas(table, arrow.TABLE, preserve_index=False)
    _write_parquet(in_arrow, folder / files.TABLE)
    _write_parquet(curves, folder / files.CURVES)
    _write_parquet(predictions, folder / files.PREDICTIONS, rows_together=files.PART)
    write_summary(table, folder / files.SUMMARY)
    write_clips(data, folder / files.CLIPS)
    card = read_card("search_spaces", space.name)[1]
    shutil.copyfile(card, folder / files.CARD)
    described = {file: files.describe_file(folder / file) for file in files.DATA}
    manifest = Manifest(
        schema=files.SCHEMA,
        results_schema=schema.SCHEMA,
        name=name,
        content=files.content_of(described),
        published_with=nas_skeleton.__version__,
        space=space.name,
        dataset=asked.dataset,
        fingerprint=asked.fingerprint,
        protocol=asked.protocol,
        recipe=asked.recipe,
        recipe_hash=asked.recipe_hash,
        recipe_values=space.card.recipe(asked.recipe).model_dump(mode="json"),
        modality="+".join(space.card.input.modalities),
        classes=data.classes,
        joints=data.joints,
        bodies=data.bodies,
        channels=data.channels,
        clips={split: len(clips.ids) for split, clips in data.splits.items()},
        sample=sampled,
        epochs=pc.unique(curves["epoch"]).sort().to_pylist(),
        hardware_note=hardware,
        files=described,
        **facts_of(table),
    )
    files.write_manifest(folder, manifest)  # so that the table can be read
    write_datasheet(folder, manifest, table, publisher)
    manifest.files[files.DATASHEET] = files.describe_file(folder / files.DATASHEET)
    write_croissant(folder, manifest, publisher)  # describes the others
    manifest.files[files.CROISSANT] = files.describe_file(folder / files.CROISSANT)
    files.write_manifest(folder, manifest)
    advance()
    return manifest


def _details(
    runs: Sequence[Run], rows: pd.DataFrame, advance: Callable[[], None]
) -> tuple[pa.Table, pa.Table]:
    """The curves and the predictions of all rows, sorted as they are."""
    of_curves, of_predictions = collect.curve_columns(runs[0]), collect.prediction_columns(runs[0])
    curves, predictions = [], []
    for at, run in enumerate(runs):
        own = rows[rows[_RUN] == at]
        for part, details in store.read_details(run.results_folder, own, BATCH):
            curves.append(collect.curves_of(part, [curve for curve, *_ in details], of_curves))
            predictions.append(collect.predictions_of(part, details, of_predictions))
            advance()
    all_curves = pa.concat_tables([of_curves.empty_table(), *curves]).sort_by(
        [("arch_index", "ascending"), ("seed", "ascending"), ("epoch", "ascending")]
    )
    all_predictions = pa.concat_tables(predictions).sort_by(
        [("arch_index", "ascending"), ("seed", "ascending")]
    )
    return all_curves, _compact(all_predictions, runs[0])


def _compact(predictions: pa.Table, run: Run) -> pa.Table:
    """Predictions as arrays of one length and of the smallest type; no column without clips."""
    kind = pa.int8() if len(run.data.classes) <= 127 else pa.int16()
    lengths = {split: len(run.data.splits[split].ids) for split in schema.HELD_OUT}
    columns = pa.schema(
        [
            *(("key", pa.string()), ("arch_index", pa.int64()), ("seed", pa.int64())),
            *((split, pa.list_(kind, length)) for split, length in lengths.items() if length),
        ]
    )
    return predictions.select(columns.names).cast(columns)


def _write_parquet(table: pa.Table, path: Path, rows_together: int | None = None) -> None:
    pq.write_table(
        table.replace_schema_metadata(None),
        path,
        rows_together,
        compression="zstd",
        compression_level=12,
        dictionary_pagesize_limit=2**24,
    )


def _numbered(hosts: pd.Series) -> pd.Series:
    """Machines told apart by numbers in the order in which they appear, without their names."""
    numbers, _ = pd.factorize(hosts.replace("", None))
    return pd.Series(numbers, hosts.index).map(lambda n: f"machine {n + 1}" if n >= 0 else None)


def _put_in_place(temporary: Path, target: Path) -> None:
    """Replace a folder as a whole: whoever reads it meanwhile has the old one, or finds none.

    Raises:
        OSError: it cannot be put there; the old one is there again.
    """
    old = temporary.with_suffix(".old")
    try:
        if target.exists():
            target.replace(old)
        temporary.replace(target)
    except BaseException:
        if old.exists() and not target.exists():
            old.replace(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
