"""A published table vouches for itself: whatever is wrong is said in one line."""

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from nas_skeleton.commands.runs_publish import check
from nas_skeleton.errors import InputError
from nas_skeleton.published import files
from nas_skeleton.published.benchmark import Benchmark
from nas_skeleton.published.check import check_table
from nas_skeleton.published.files import describe_file, read_manifest, write_manifest
from nas_skeleton.results import schema


@pytest.fixture
def copied(small, tmp_path):
    """A copy of the table that may be damaged."""
    return shutil.copytree(small, tmp_path / "runs" / "published" / "utdmhad")


def said_of(folder):
    with pytest.raises(InputError) as raised:
        check_table(folder)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def write(frame, path):
    """Like the file that is there, with its columns and types."""
    table = pa.Table.from_pandas(frame, pq.read_schema(path), preserve_index=False)
    pq.write_table(table, path)


def vouch_for(folder, name):
    """Make the manifest say that a file is as it should be."""
    manifest = read_manifest(folder)
    manifest.files[name] = describe_file(folder / name)
    write_manifest(folder, replace(manifest, content=files.content_of(manifest.files)))


def test_a_sound_table_passes(small):
    assert check_table(small) == read_manifest(small)


@pytest.mark.parametrize("name", [*files.DATA, files.DATASHEET, files.CROISSANT])
def test_a_missing_a_short_and_a_changed_file_are_noticed(copied, name):
    content = (copied / name).read_bytes()
    (copied / name).write_bytes(content[:-1])
    assert f"{name}: {len(content) - 1:,} bytes, the manifest says {len(content):,}" in said_of(
        copied
    )
    (copied / name).write_bytes(bytes([content[0] ^ 1]) + content[1:])
    assert f"{name}: changed since it was published: SHA-256" in said_of(copied)
    (copied / name).unlink()
    assert f"{name}: missing, the manifest lists it; fetch the folder again" in said_of(copied)


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
    assert message in said_of(copied)
    with pytest.raises(InputError):
        Benchmark.load(copied)


def test_a_manifest_that_is_no_json_is_noticed(copied):
    (copied / files.MANIFEST).write_text("<html>404</html>")
    assert "no manifest of a published table" in said_of(copied)


@pytest.mark.parametrize(
    ("name", "column", "message"),
    [
        (files.SUMMARY, "valid_top1", "column valid_top1 is not that of the table"),
        (files.SUMMARY, "seeds", "column seeds is not that of the table"),
        (files.CURVES, "test_top1", "a curve does not end in its final test accuracy"),
        (files.TABLE, "final_test_top1", "a copied row differs from the one it is copied from"),
        (files.TABLE, "arch_index", "a row has the arch_str of another architecture"),
        (files.CLIPS, "label", "a label is not that of its class in the manifest"),
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
        write(frame, path)
    vouch_for(copied, name)
    assert message in said_of(copied)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("results_schema", 1, "results_schema 1, this version of nas_skeleton reads 2"),
        ("content", "0" * 12, "content is '000000000000', the files have"),
        ("trained_with", ["0.2.0"], "trained_with is ['0.2.0'], the files have ['0.1.0']"),
        ("trained_until", "2027-01-01", "trained_until is"),
        ("space", "nb201-graph", "space.toml: not the card of space 'nb201-graph'"),
        ("dataset", "ntu60", "dataset is 'ntu60', the files have 'utdmhad'"),
        ("fingerprint", "0" * 64, "fingerprint is"),
        ("protocol", "odd-even", "protocol is 'odd-even', the files have 'thesis'"),
        ("recipe", "brief", "recipe_values are not space.toml's"),
        ("recipe_hash", "0" * 12, "recipe_hash is 000000000000, that of space.toml is"),
        ("modality", "bone", "recipe_hash is"),
        ("classes", ["a", "b", "c", "d"], "a label is not that of its class in the manifest"),
        ("clips", {"train": 12, "valid": 20, "test": 41}, "not 41 test clips"),
        ("joints", 25, "a row has the params of another architecture"),
        ("channels", 2, "a row has the params of another architecture"),
        ("seeds", [777], "a seed that the manifest lacks"),
        ("sample", [15_624], "sample has an architecture without a training"),
        ("epochs", [10, 25, 30], "an epoch the manifest lacks"),
        ("architectures", 1, "architectures is 1, the files have"),
        ("trained", 1, "trained is 1, the files have 13"),
        ("copied", 0, "copied is 0, the files have"),
        ("diverged", 0, "diverged is 0, the files have 1"),
        ("hardware", [], "hardware is [], the files have [Hardware("),
        ("name", "another", "croissant.json: not the metadata of this table"),
    ],
)
def test_every_field_of_the_manifest_is_held_against_the_files(copied, field, value, said):
    manifest = read_manifest(copied)
    write_manifest(copied, replace(manifest, **{field: value}))
    assert said in said_of(copied)


def test_a_recipe_in_the_manifest_that_is_not_the_cards_is_noticed(copied):
    manifest = read_manifest(copied)
    manifest.recipe_values["learning_rate"] *= 2
    write_manifest(copied, manifest)
    assert "MANIFEST.json: recipe_values are not space.toml's" in said_of(copied)


def changed_rows(folder, column, change, rows=slice(None)):
    """Change rows of the table, and vouch for it; counts in the manifest are left as they are."""
    path = folder / files.TABLE
    frame = pd.read_parquet(path)
    chosen = frame.index[frame["status"] == schema.DONE][rows]
    frame.loc[chosen, column] = change(frame.loc[chosen, column])
    write(frame, path)
    vouch_for(folder, files.TABLE)


@pytest.mark.parametrize(
    ("column", "change", "said"),
    [
        ("final_test_top1", lambda _: float("nan"), "final test accuracies outside [0, 1]"),
        ("final_train_top1", lambda _: 1.25, "final_train_top1 outside [0, 1]"),
        ("best_valid_top5", lambda _: -0.01, "best_valid_top5 outside [0, 1]"),
        ("final_train_top5", lambda _: 0.0, "a final train top-1 above its top-5"),
        ("macs", lambda macs: macs + 1, "a row has the macs of another architecture"),
        ("nb201_key", lambda _: "x", "a row has the nb201_key of another architecture"),
        ("key", lambda key: "x" + key, "a key is not that of its training"),
        ("epochs", lambda epochs: epochs - 1, "a training has not 30 epochs"),
        ("train_time_s", lambda _: float("nan"), "a finished training has no train_time_s"),
        ("recipe_hash", lambda _: "0" * 12, "a key is not that of its training"),
    ],
)
def test_rows_that_cannot_be_are_noticed(copied, column, change, said):
    changed_rows(copied, column, change, rows=slice(-1, None))
    assert said in said_of(copied)


def test_a_prediction_of_no_class_is_noticed(copied):
    path = copied / files.PREDICTIONS
    kinds = pq.read_schema(path)
    records = pq.read_table(path).to_pylist()
    records[3]["test"][0] = 4
    pq.write_table(pa.Table.from_pylist(records, kinds), path)
    vouch_for(copied, files.PREDICTIONS)
    assert "predictions.parquet: a test prediction is no class" in said_of(copied)


def test_a_curve_that_misses_its_best_accuracy_is_noticed(copied):
    table = pd.read_parquet(copied / files.TABLE).set_index("key")
    path = copied / files.CURVES
    curves = pd.read_parquet(path)
    best = table.loc[curves["key"], "best_epoch"].to_numpy()
    at = curves.index[(curves["epoch"] == best) & (curves["epoch"] < 30)][0]
    curves.loc[at, "test_top1"] = (curves.loc[at, "test_top1"] + 1) / 3
    write(curves, path)
    vouch_for(copied, files.CURVES)
    assert "a curve does not go through its best test accuracy" in said_of(copied)


def test_the_content_names_what_is_in_the_data_files_and_nothing_else(copied, small):
    content = read_manifest(small).content
    sums = sorted(describe_file(small / name).sha256 for name in files.DATA)
    assert content == hashlib.sha256("\n".join(sums).encode()).hexdigest()[:12]
    (copied / files.DATASHEET).write_text("Other words.")
    vouch_for(copied, files.DATASHEET)
    assert files.content_of(read_manifest(copied).files) == content
    changed_rows(copied, "train_time_s", lambda seconds: seconds + 1)
    assert files.content_of(read_manifest(copied).files) != content


def test_the_content_is_told_wherever_the_table_is_named(small):
    content = read_manifest(small).content
    assert repr(Benchmark.load(small)) == f"Benchmark(utdmhad, content {content})"
    assert f"content {content}" in (small / files.DATASHEET).read_text()
    assert json.loads((small / files.CROISSANT).read_text())["version"] == f"1.0.0+{content}"
    assert f"content {content}" in CliRunner().invoke(check, [str(small)]).output


def test_accuracies_that_are_not_those_of_the_predictions_are_noticed(copied):
    path = copied / files.CLIPS
    clips = pd.read_csv(path)
    names = clips.drop_duplicates("label").set_index("label")["class"]
    clips["label"] = (clips["label"] + 1) % 4
    clips["class"] = clips["label"].map(names)
    clips.to_csv(path, index=False)
    vouch_for(copied, files.CLIPS)
    assert "valid accuracies (top1) are not the stored" in said_of(copied)


def test_a_training_that_is_there_twice_is_noticed(copied):
    path = copied / files.TABLE
    frame = pd.read_parquet(path)
    write(pd.concat([frame, frame.tail(1)]), path)
    vouch_for(copied, files.TABLE)
    assert "table.parquet: a training is in it twice" in said_of(copied)


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


def test_python_without_assertions_notices_it_too(copied):
    with (copied / files.CLIPS).open("ab") as file:
        file.write(b"x")
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from nas_skeleton.errors import InputError\n"
        "from nas_skeleton.published.table import PublishedTable\n"
        "for ask in (lambda t: t.predictions('test'), lambda t: t.read_all()):\n"
        "    try: ask(PublishedTable(Path(sys.argv[1])))\n"
        "    except InputError as error: print(error)\n"
    )
    command = [sys.executable, "-O", "-c", program, str(copied)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    said = done.stdout.splitlines()
    assert len(said) == 2
    assert all(line.startswith(f"{copied / files.CLIPS}: ") for line in said)
