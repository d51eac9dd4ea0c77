"""What `publish` makes of runs: everything that is finished, once, honest about copies."""

import csv
import errno
import json
import re
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.published import files
from nas_skeleton.published.files import read_manifest
from nas_skeleton.published.publish import publish
from nas_skeleton.published.publisher import Publisher
from nas_skeleton.results import schema
from nas_skeleton.spaces import load_space

HERE = Path("published")
SPACE = load_space("nb201")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_architecture_has_a_row_and_copies_say_so(whole, rows):
    of_seed = rows.xs(777, level="seed")
    assert of_seed.index.tolist() == list(range(15_625))
    assert list(pd.read_parquet(whole / files.TABLE).columns) == list(schema.COLUMNS)
    copies = of_seed[of_seed["source_index"].notna()]
    sources = of_seed.loc[copies["source_index"].astype(int)]
    assert sources["source_index"].isna().all()
    assert (sources["functional_key"].to_numpy() == copies["functional_key"].to_numpy()).all()
    assert set(copies["status"]) == {schema.COPIED, schema.DIVERGED}
    recipe = SPACE.card.recipe("quick")
    for arch in copies.index[:20]:
        cost = SPACE.cost(arch, recipe, classes=4, joints=20)
        assert (copies["params"][arch], copies["macs"][arch]) == (cost.params, cost.macs)


def test_copies_are_not_counted_as_trainings(whole, made):
    manifest = read_manifest(whole)
    assert manifest.trained == 5_234 + len(made.some) - 1
    assert manifest.diverged == 1
    assert manifest.architectures == 15_625
    assert sum(part.trainings for part in manifest.hardware) == manifest.trained
    assert pq.read_metadata(whole / files.PREDICTIONS).num_rows == manifest.trained


def test_members_of_a_class_whose_only_training_diverged_are_told_so(rows, made):
    members = SPACE.functional_classes()[SPACE.functional_key(made.lost[0])]
    found = rows.loc[[(arch, made.lost[1]) for arch in members]]
    assert set(found["status"]) == {schema.DIVERGED}
    assert found["final_test_top1"].isna().all()
    assert (found["source_index"].iloc[1:] == made.lost[0]).all()


def test_the_summary_is_that_of_the_table(whole, rows):
    with (whole / files.SUMMARY).open() as file:
        lines = list(csv.DictReader(file))
    assert [int(line["arch_index"]) for line in lines] == list(range(15_625))
    for line in lines[:60]:
        own = rows.loc[int(line["arch_index"])]
        done = own[own["status"] != schema.DIVERGED]
        assert int(line["seeds"]) == len(done)
        assert int(line["copied"]) == (own["status"] == schema.COPIED).sum()
        assert int(line["diverged"]) == len(own) - len(done)
        assert int(line["macs"]) == own["macs"].iloc[0]
        for column in ("valid_top1", "test_top1"):
            values = done[f"final_{column}"].tolist()
            if values:
                assert float(line[column]) == pytest.approx(statistics.mean(values), abs=5e-7)
            if len(values) > 1:
                spread = statistics.stdev(values)
                assert float(line[f"{column}_sd"]) == pytest.approx(spread, abs=5e-7)


def test_numbers_are_those_of_the_store_to_the_last_digit(few, made):
    publish([few], "t", HERE)
    stored = few.rows().set_index("key")
    found = pd.read_parquet(HERE / "t" / files.TABLE).set_index("key").loc[stored.index]
    for name in ("final_valid_top1", "train_time_s", "latency_ms"):
        assert found[name].tolist() == stored[name].tolist()
    curves = pd.read_parquet(HERE / "t" / files.CURVES)
    for record in json.loads(made.training(made.some[1], 888)[1]):
        own = curves[(curves["arch_index"] == made.some[1]) & (curves["seed"] == 888)]
        (loss,) = own.loc[own["epoch"] == record["epoch"], "train_loss"]
        assert loss == record["train_loss"]


def test_the_same_runs_give_the_same_bytes(few):
    publish([few], "t", HERE)
    before = contents(HERE / "t")
    publish([few], "t", HERE)
    assert contents(HERE / "t") == before
    assert [path.name for path in HERE.iterdir()] == ["t"]


def test_two_runs_are_one_table(few, made):
    publish([few], "t", HERE)
    first = made.make_run(
        "first", [made.training(made.some[0], 777), made.training(made.some[1], 888)]
    )
    rest = [
        (made.some[0], 888),
        (made.some[1], 777),
        (made.some[2], 777),
        (made.some[2], 888),
        (made.some[0], 777),
    ]
    second = made.make_run("second", [made.training(*pair) for pair in rest])
    publish([first, second], "u", HERE)
    for name in files.DATA:
        assert (HERE / "u" / name).read_bytes() == (HERE / "t" / name).read_bytes()


def test_of_a_training_that_two_runs_have_the_quicker_row_is_taken(few, made, tmp_path):
    arch, other = made.some[:2]
    slow = made.training(arch, 777, train_time_s=1e4, latency_ms=90.0)
    again = made.training(arch, 777, train_time_s=1.5, finished_at="2026-02-01T00:00:00+00:00")
    runs = [
        few,
        made.make_run("slow", [slow, made.training(other, 777, train_time_s=1e4)]),
        made.make_run("again", [again]),
    ]
    for order in (runs, runs[::-1]):
        publish(order, "t", tmp_path)
        rows = pd.read_parquet(tmp_path / "t" / files.TABLE).set_index(["arch_index", "seed"])
        assert rows.loc[(arch, 777), "train_time_s"] == 1.5
        assert rows.loc[(arch, 777), "latency_ms"] == again[0]["latency_ms"]
        assert rows.loc[(other, 777), "train_time_s"] < 20


def test_machines_are_numbered_and_not_named(few, made):
    other = made.make_run("other", [made.training(made.some[8], 777, host="machine-0")])
    unknown = made.make_run("unknown", [made.training(made.some[9], 777, host=None)])
    manifest = publish([few, other, unknown], "t", HERE, hardware="two old laptops")
    assert b"machine-" not in b"".join(contents(HERE / "t").values())
    table = pd.read_parquet(HERE / "t" / files.TABLE)
    real = {arch: f"machine-{arch % 2}" for arch in made.some[:3]} | {made.some[8]: "machine-0"}
    own = table[table["source_index"].isna()]
    seen = own["arch_index"].map(real)  # sorted by architecture
    numbers = {name: f"machine {n}" for n, name in enumerate(seen.dropna().unique(), start=1)}
    assert own["host"].fillna("").tolist() == [numbers.get(name, "") for name in seen]
    assert {part.host for part in manifest.hardware} == {*numbers.values(), "unknown"}
    assert "two old laptops" in (HERE / "t" / files.DATASHEET).read_text()


def test_who_publishes_under_which_licence_is_said_as_given(few):
    publisher = Publisher("The Skeleton Group", "https://example.org/issues", "CC-BY-4.0")
    publish([few], "t", HERE, publisher=publisher)
    sheet = (HERE / "t" / files.DATASHEET).read_text()
    assert "Author: The Skeleton Group." in sheet
    assert "Licence of the table: CC-BY-4.0" in sheet
    assert "Errors are reported to https://example.org/issues." in sheet
    described = json.loads((HERE / "t" / files.CROISSANT).read_text())
    assert described["license"] == "CC-BY-4.0"
    assert described["creator"]["name"] == "The Skeleton Group"
    assert described["creator"]["url"] == "https://example.org/issues"
    assert described["citeAs"].startswith("Author: The Skeleton Group. Table 't'")


def test_what_the_publisher_did_not_say_is_not_made_up(few):
    publish([few], "t", HERE)
    sheet = (HERE / "t" / files.DATASHEET).read_text()
    for said in (
        "Author: not stated.",
        "Licence of the table: not stated, so ask",
        "Where to report errors is not stated.",
    ):
        assert said in sheet
    described = json.loads((HERE / "t" / files.CROISSANT).read_text())
    assert described["license"] == "NOASSERTION"
    assert described["creator"]["name"] == "not stated"
    for text in (sheet, json.dumps(described)):
        assert "nas_skeleton authors" not in text
        assert "apache" not in text.lower()


def test_what_is_not_finished_is_left_out(few, made):
    unfinished = [
        made.training(made.some[5], 777, status=schema.FAILED),
        made.training(made.some[6], 777, status=schema.PAUSED),
    ]
    more = made.make_run("more", unfinished)
    publish([few, more], "t", HERE)
    assert not {made.some[5], made.some[6]} & set(
        pd.read_parquet(HERE / "t" / files.TABLE)["arch_index"]
    )
    with pytest.raises(InputError, match="nothing to publish: no training of 'more'"):
        publish([more], "u", HERE)


@pytest.mark.parametrize(
    ("field", "value"), [("protocol", "odd-even"), ("dataset", "nwucla"), ("fingerprint", "g")]
)
def test_runs_of_two_kinds_are_refused(few, field, value, made):
    other = made.make_run(
        "other", [made.training(made.some[4], 777)], replace(made.arguments, **{field: value})
    )
    with pytest.raises(InputError, match=f"'few' and 'other': {field} is .*two names"):
        publish([few, other], "t", HERE)


def test_a_changed_card_is_refused(few):
    few.arguments = replace(few.arguments, recipe_hash="0" * 12)
    with pytest.raises(InputError, match=r"nb201\.toml changed since run 'few'.*restore it"):
        publish([few], "t", HERE)


def test_a_folder_that_is_no_table_is_left_alone(few):
    (HERE / "t").mkdir(parents=True)
    (HERE / "t" / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="no published table: choose another"):
        publish([few], "t", HERE)
    assert (HERE / "t" / "thesis.tex").read_text() == "years of work"


def test_a_table_that_is_not_sound_does_not_take_the_place_of_one_that_is(few, made):
    publish([few], "t", HERE)
    before = contents(HERE / "t")
    row, curve, predictions = made.training(made.some[9], 777)
    wrong = (row | {"final_test_top1": row["final_test_top1"] / 2 + 0.01}, curve, predictions)
    with pytest.raises(InputError, match=r"published/t/curves\.parquet: a curve does not end"):
        publish([few, made.make_run("wrong", [wrong])], "t", HERE)
    assert contents(HERE / "t") == before
    assert [path.name for path in HERE.iterdir()] == ["t"]


def test_a_table_that_cannot_be_put_in_place_leaves_the_old_one_there(few, monkeypatch):
    publish([few], "t", HERE)
    before, replace_by = contents(HERE / "t"), Path.replace

    def full(path, target):
        if path.suffix == ".tmp":
            raise OSError(errno.ENOSPC, "no space left on device")
        return replace_by(path, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="no space left"):
        publish([few], "t", HERE, hardware="another")
    assert contents(HERE / "t") == before
    assert [path.name for path in HERE.iterdir()] == ["t"]


def test_the_datasheet_has_its_headings_and_numbers_of_this_table(whole, made):
    text = (whole / files.DATASHEET).read_text()
    headings = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert headings == [
        *("Motivation", "Composition", "Noise", "Collection process"),
        *("Preprocessing, cleaning, labelling", "Uses", "Distribution", "Maintenance"),
    ]
    assert "5,234 of the 5,234 functionally different cells" in text
    assert "(15,625 of its 15,625 with copies)" in text
    assert "are missing" not in text
    # (15,625 architectures - 5,234 classes) less the copies of the class that diverged
    copies = (
        15_625 - 5_234 - len(SPACE.functional_classes()[SPACE.functional_key(made.lost[0])]) + 1
    )
    assert f"| 777 | 5,233 | {copies:,} | 1 | 15,625 of 15,625 |" in text
    assert f"one clip is {100 / made.counts['test']:.2f} points" in text
    rows = pd.read_parquet(whole / files.TABLE).query("status == 'done' and engine != 'analytic'")
    of_cells = [rows for _, rows in rows.groupby("arch_index") if len(rows) == 2]
    ratios = [own["latency_ms"].max() / own["latency_ms"].min() for own in of_cells]
    assert (
        f"in latency {statistics.median(ratios):.2f} times the shortest at the median and "
        f"{pd.Series(ratios).quantile(0.99):.2g} times at the 99th percentile ({len(ratios)} cells)"
    ) in text


def test_the_datasheet_of_a_part_says_how_it_was_chosen(few, made, tmp_path):
    publish([few], "t", tmp_path)
    assert (
        "5,231 functional classes are missing, and not at random unless"
        in (tmp_path / "t" / files.DATASHEET).read_text()
    )
    publish([few], "t", tmp_path, sample=few)
    assert (
        "5,231 functional classes are missing: those that are there were drawn by"
        in (tmp_path / "t" / files.DATASHEET).read_text()
    )


def test_croissant_describes_every_file_and_column(whole):
    described = json.loads((whole / files.CROISSANT).read_text())
    manifest = read_manifest(whole)
    sums = {part["@id"]: part["sha256"] for part in described["distribution"]}
    assert sums == {
        name: file.sha256 for name, file in manifest.files.items() if name != files.CROISSANT
    }
    sets = {
        part["name"]: [field["name"] for field in part["field"]] for part in described["recordSet"]
    }
    assert sets["trainings"] == list(schema.COLUMNS)
    assert sets["predictions"] == ["key", "arch_index", "seed", "valid", "test"]
    assert sets["architectures"] == list(pd.read_csv(whole / files.SUMMARY, nrows=0).columns)


@pytest.mark.slow
def test_croissant_is_valid_and_its_records_can_be_read(few, made):
    pytest.importorskip("mlcroissant")
    publish([few], "t", HERE, publisher=Publisher("A. Author", "a@example.org", "CC-BY-4.0"))
    program = (
        "import sys, mlcroissant\n"
        "dataset = mlcroissant.Dataset(sys.argv[1])\n"
        "for name in ('architectures', 'clips', 'trainings', 'epochs', 'predictions'):\n"
        "    print(name, sum(1 for _ in dataset.records(name)))\n"
    )
    path = str(HERE / "t" / files.CROISSANT)
    done = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr.lower()
    assert "WARNING" not in done.stderr
    counts = dict(line.split() for line in done.stdout.splitlines())
    table = pd.read_parquet(HERE / "t" / files.TABLE)
    assert int(counts["trainings"]) == len(table)
    assert int(counts["clips"]) == sum(made.counts.values())
    assert (int(counts["predictions"]), int(counts["epochs"])) == (6, 18)


def test_without_a_card_of_the_data_set_a_table_is_published_all_the_same(
    tmp_path, monkeypatch, made
):
    monkeypatch.chdir(tmp_path)
    arguments = replace(made.arguments, dataset="nobody-knows")
    own = {"dataset": arguments.dataset, "key": made.key(arguments, made.some[0], 777)}
    run = made.make_run("few", [made.training(made.some[0], 777, **own)], arguments)
    manifest = publish([run], "t", HERE)
    assert (manifest.dataset, manifest.trained) == ("nobody-knows", 1)
    sheet = (HERE / "t" / files.DATASHEET).read_text()
    assert "The clips are those of 'nobody-knows'. They were split" in sheet
    assert "Licence of the clips: not known here" in sheet


def test_small_tables_read_well(tmp_path, monkeypatch, made):
    monkeypatch.chdir(tmp_path)
    arguments = replace(made.arguments, dataset="synthetic")
    ignores_input = SPACE.functional_classes()["y=0"][0]
    rows = [
        made.training(made.some[0], 777, arguments, train_time_s=0.25),
        made.training(ignores_input, 777, arguments, engine="analytic", train_time_s=0.0),
    ]
    publish([made.make_run("few", rows, arguments)], "t", HERE)
    sheet = (HERE / "t" / files.DATASHEET).read_text()
    assert "recipe 'quick', seed 777." in sheet
    assert "1 trainings took 0.25 seconds in all" in sheet
    assert "1 rows of cells that ignore their input were filled in without training" in sheet
    assert re.search(r"\| table.parquet \| [\d.]+ kB \|", sheet)
    assert "an accuracy on it is no result about recognition" in sheet
    for broken in ("From .", " .", "..", "0.0 hours", "0.00 MB", "None"):
        assert broken not in sheet
