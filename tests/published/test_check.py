"""A published table vouches for itself: whatever is wrong is said in one line."""

import json

import pandas as pd
import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.published import files
from nas_skeleton.published.benchmark import Benchmark
from nas_skeleton.published.check import check_table
from nas_skeleton.published.files import describe_file, read_manifest, write_manifest
from nas_skeleton.results import schema


def said(folder):
    with pytest.raises(InputError) as raised:
        check_table(folder)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def vouch_for(folder, name):
    """Make the manifest say that a file is as it should be."""
    manifest = read_manifest(folder)
    manifest.files[name] = describe_file(folder / name)
    write_manifest(folder, manifest)


def test_a_sound_table_passes(whole):
    assert check_table(whole) == read_manifest(whole)


@pytest.mark.parametrize("name", [*files.DATA, files.DATASHEET, files.CROISSANT])
def test_a_missing_a_short_and_a_changed_file_are_noticed(copied, name):
    content = (copied / name).read_bytes()
    (copied / name).write_bytes(content[:-1])
    assert f"{name}: {len(content) - 1:,} bytes, the manifest says {len(content):,}" in said(copied)
    (copied / name).write_bytes(bytes([content[0] ^ 1]) + content[1:])
    assert f"{name}: changed since it was published: SHA-256" in said(copied)
    (copied / name).unlink()
    assert f"{name}: missing, the manifest lists it; fetch the folder again" in said(copied)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda content: content.update(schema=2),
            "schema 2, this version of nas_skeleton reads 1",
        ),
        (lambda content: content.pop("schema"), "no manifest of a published table"),
        (lambda content: content.pop("seeds"), "seeds: Field required"),
        (lambda content: content["files"].pop("table.parquet"), "does not list table.parquet"),
    ],
)
def test_a_manifest_that_is_none_is_noticed(copied, change, message):
    path = copied / files.MANIFEST
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    assert message in said(copied)
    with pytest.raises(InputError):
        Benchmark.load(copied)


def test_a_manifest_that_is_no_json_is_noticed(copied):
    (copied / files.MANIFEST).write_text("<html>404</html>")
    assert "no manifest of a published table" in said(copied)


@pytest.mark.parametrize(
    ("name", "column", "message"),
    [
        (files.SUMMARY, "valid_top1", "column valid_top1 is not that of the table"),
        (files.SUMMARY, "seeds", "column seeds is not that of the table"),
        (files.CURVES, "test_top1", "a curve does not end in its final test accuracy"),
        (files.TABLE, "final_test_top1", "a copied row differs from the one it is copied from"),
        (files.TABLE, "arch_index", "a row has the arch_str of another architecture"),
        (files.CLIPS, "label", "valid accuracies are not the stored"),
    ],
)
def test_files_that_do_not_agree_are_noticed(copied, name, column, message):
    path = copied / name
    frame = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    known = frame[column].notna()
    if name == files.TABLE:
        known &= frame["status"] == schema.COPIED
    at = frame.index[known][-1]
    if column == "arch_index":
        rows = frame[column].value_counts()
        frame.loc[at, column] = rows.index[rows == 1][0]
        frame.loc[at, "seed"] = 888
    elif frame[column].dtype.kind == "i":
        frame[column] = (frame[column] + 1) % 4
    else:
        frame.loc[at, column] = (frame.loc[at, column] + 1) / 3
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path)
    vouch_for(copied, name)
    assert message in said(copied)


def test_a_training_that_is_there_twice_is_noticed(copied):
    path = copied / files.TABLE
    frame = pd.read_parquet(path)
    pd.concat([frame, frame.tail(1)]).to_parquet(path)
    vouch_for(copied, files.TABLE)
    assert "table.parquet: a training is in it twice" in said(copied)


def test_damage_of_what_is_read_later_is_noticed_when_it_is_read(copied):
    for name in (files.CURVES, files.PREDICTIONS, files.CLIPS):
        with (copied / name).open("ab") as file:
            file.write(b"x")
    table = Benchmark.load(copied)
    assert table.query(0, seed=777).epoch == 30
    for ask in (
        lambda: table.query(0, seed=777, epoch=10),
        lambda: table.predicted(0, "test", seed=777),
        lambda: table.clips("test"),
    ):
        with pytest.raises(InputError, match="bytes, the manifest says"):
            ask()
