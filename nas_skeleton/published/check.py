"""Whether a published table is sound: its files are those of the manifest, and agree.

What is looked at: size and SHA-256 of every file; everything the manifest says that card, rows,
curves and clips can confirm; every row there once, of the architecture it says, with costs and
accuracies that can be; predictions, labels and stored accuracies say the same; curves go through
the stored accuracies; the summary is that of the table. Whether a training repeats is another
question: `finished` and `runs verify`.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError

from nas_skeleton.cards import check_card
from nas_skeleton.published import files
from nas_skeleton.published.agreement import (
    check_curves,
    check_predictions,
    check_rows,
    check_sources,
    check_summary,
)
from nas_skeleton.published.croissant import version_of
from nas_skeleton.published.facts import IDENTITY, facts_of
from nas_skeleton.published.files import Manifest, checked_file
from nas_skeleton.published.opening import reading, require
from nas_skeleton.published.table import PublishedTable
from nas_skeleton.results import schema
from nas_skeleton.spaces import Space
from nas_skeleton.spaces.card import SpaceCard
from nas_skeleton.spaces.recipe import Recipe


def check_table(folder: Path) -> Manifest:
    """The manifest of the table in `folder`, if all of it is sound.

    Raises:
        InputError: it is not; the message names the file and the first thing that is wrong.
    """
    table = PublishedTable(folder)
    manifest = table.manifest
    for name in (*files.DATA, files.DATASHEET, files.CROISSANT):
        checked_file(folder, manifest, name)
    table.read_all()
    space = space_of(folder, manifest)
    with reading(folder):
        _check_contents(table, space)
    return manifest


def space_of(folder: Path, manifest: Manifest) -> Space:
    """The space with the card that lies in `folder`, which must be what the table was trained with.

    Raises:
        InputError: the card cannot be read, or it or the recipe is another than in the manifest.
    """
    path = checked_file(folder, manifest, files.CARD)
    with reading(path):
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        card = check_card(content, path, SpaceCard).with_modalities(manifest.modality.split("+"))
    require(card.name == manifest.space, path, f"not the card of space {manifest.space!r}")
    recipe = card.recipe(manifest.recipe)
    try:
        same = Recipe.model_validate(manifest.recipe_values) == recipe
    except ValidationError:
        same = False
    require(same, folder / files.MANIFEST, f"recipe_values are not {files.CARD}'s")
    require(
        card.recipe_hash(manifest.recipe) == manifest.recipe_hash,
        folder / files.MANIFEST,
        f"recipe_hash is {manifest.recipe_hash}, that of {files.CARD} is "
        f"{card.recipe_hash(manifest.recipe)} in this version of nas_skeleton",
    )
    return Space(card)


def _check_contents(opened: PublishedTable, space: Space) -> None:
    folder, manifest = opened.folder, opened.manifest
    path = folder / files.TABLE
    table = opened.to_pandas("trainings")
    require(not table.duplicated("key").any(), path, "a training is in it twice")
    own = table[table["source_index"].isna()]
    curves = opened.to_pandas("epochs")
    check_rows(path, table, manifest, space)
    _check_manifest(folder, manifest, table, curves)
    check_sources(path, table)
    check_curves(folder / files.CURVES, curves, own, manifest)
    done = own[own["status"] == schema.DONE]
    check_predictions(folder / files.PREDICTIONS, opened, done)
    check_summary(folder / files.SUMMARY, table)
    _check_metadata(folder / files.CROISSANT, manifest)


def _check_manifest(
    folder: Path, manifest: Manifest, table: pd.DataFrame, curves: pd.DataFrame
) -> None:
    """Every field that rows and curves can confirm; the others are looked at with the files."""
    found: dict[str, Any] = {
        "content": files.content_of(manifest.files),
        "epochs": sorted(curves["epoch"].unique().tolist()),
        **facts_of(table),
    }
    for name in IDENTITY:
        values = table[name].unique().tolist()
        found[name] = values[0] if len(values) == 1 else values
    for name, value in found.items():
        stated = getattr(manifest, name)
        what = f"{name} is {stated!r:.60}, the files have {value!r:.60}"
        require(stated == value, folder / files.MANIFEST, what)
    trained = table.loc[table["source_index"].isna(), "arch_index"]
    is_trained = set(manifest.sample) <= set(trained.tolist())
    require(is_trained, folder / files.MANIFEST, "sample has an architecture without a training")


def _check_metadata(path: Path, manifest: Manifest) -> None:
    with reading(path):
        described = json.loads(path.read_text(encoding="utf-8"))
        sums = {part["@id"]: part["sha256"] for part in described["distribution"]}
        same = (described["name"], described["version"]) == (manifest.name, version_of(manifest))
    listed = {name: f.sha256 for name, f in manifest.files.items() if name != files.CROISSANT}
    require(same and sums == listed, path, "not the metadata of this table")
