"""What `runs collect` makes of a store: complete, each training once, or not at all."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.results import collect as collecting
from nas_skeleton.results import schema
from nas_skeleton.results.collect import collect
from nas_skeleton.results.copies import with_copies
from nas_skeleton.results.run import Arguments, Clips, DataFacts, plan_run
from nas_skeleton.results.store import ResultWriter
from nas_skeleton.spaces import load_space

SPACE = load_space("nb201")
RECIPE = SPACE.card.default_recipe
ARGUMENTS = Arguments(
    space="nb201",
    dataset="synthetic",
    protocol="thesis",
    recipe=RECIPE,
    strategy="exhaustive",
    seeds=[7],
    fingerprint="f",
    recipe_hash=SPACE.card.recipe_hash(RECIPE),
)
DATA = DataFacts(
    ["a", "b"], 20, 1, {"valid": Clips(["c1", "c2"], [0, 1]), "test": Clips(["c3"], [1])}
)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = plan_run("mine", ARGUMENTS, DATA)
    run.write()
    return run


def training(arch, seed=7, status=schema.DONE, **values):
    """A training that knows its own number in everything."""
    row = {
        "key": f"{arch}-{seed}",
        "arch_index": arch,
        "seed": seed,
        "status": status,
        "fingerprint": "f",
        "recipe_hash": ARGUMENTS.recipe_hash,
        "functional_key": SPACE.functional_key(arch),
        "recipe": RECIPE,
        "final_test_top1": arch / 3,
        **values,
    }
    if status != schema.DONE:
        return row, "[]", {}
    curve = [
        {"epoch": epoch, "train_loss": 1 / (arch + epoch), "valid_top1": epoch / 7}
        for epoch in range(1, arch % 3 + 2)
    ]
    classes = {"valid": np.array([arch, -1], np.int16), "test": np.array([arch + 1], np.int16)}
    return row, json.dumps(curve), classes


def store(run, worker, *trainings):
    ResultWriter(run.results_folder, worker).append_all(trainings)


def test_all_parts_of_every_training_come_together(run, monkeypatch):
    monkeypatch.setattr(collecting, "BATCH", 3)
    store(run, "a", *(training(arch) for arch in range(0, 10, 2)))
    store(run, "b", *(training(arch) for arch in range(1, 10, 2)))
    store(run, "b", training(10, status=schema.FAILED), training(11, status=schema.DIVERGED))
    steps = []
    merged = collect(run, SPACE, lambda count: lambda: steps.append(count))
    assert (merged.sources, merged.trainings) == (2, 12)
    assert (merged.copies, merged.repeated, merged.differing) == (0, 0, 0)
    assert steps == [4] * 4
    table, _, curves, predictions = merged.paths
    assert pd.read_parquet(table)["arch_index"].tolist() == list(range(12))
    for row in pq.read_table(predictions).to_pylist():
        arch = row["arch_index"]
        assert row["key"] == f"{arch}-7"
        assert (row["valid"], row["test"]) == ([arch, -1], [arch + 1])
    found = pd.read_parquet(curves)
    assert found.groupby("arch_index").size().tolist() == [arch % 3 + 1 for arch in range(10)]
    assert (found["train_loss"] == 1 / (found["arch_index"] + found["epoch"])).all()
    assert found["learning_rate"].isna().all()
    assert (found["key"] == found["arch_index"].astype(str) + "-7").all()


def test_an_empty_run_gives_empty_files(run):
    merged = collect(run, SPACE)
    assert [pq.read_metadata(path).num_rows for path in merged.paths if path.suffix != ".csv"] == [
        *(0, 0, 0)
    ]


def test_a_column_of_gaps_keeps_its_type(run):
    store(run, "a", training(1))
    table = pq.read_schema(collect(run, SPACE).paths[0])
    assert {str(table.field(name).type) for name in ("error", "fallback")} == {"string"}
    assert str(table.field("source_index").type) == "int64"
    assert str(table.field("final_valid_top1").type) == "double"


def test_a_split_without_clips_has_no_column(run):
    run.data = replace(DATA, splits={**DATA.splits, "valid": Clips([], [])})
    store(run, "a", training(1))
    names = pq.read_schema(collect(run, SPACE).paths[2]).names
    assert "test_top1" in names
    assert "valid_top1" not in names


def test_what_was_stored_more_than_once_is_counted_and_told_apart(run):
    store(run, "a", training(1), training(2), training(3, status=schema.FAILED))
    store(run, "b", training(1), training(2, final_test_top1=0.5), training(3))
    store(run, "c", training(4, fingerprint="other data"))
    merged = collect(run, SPACE)
    assert (merged.trainings, merged.repeated, merged.differing) == (3, 3, 1)
    table = pd.read_parquet(merged.paths[0])
    assert table["key"].tolist() == ["1-7", "2-7", "3-7"]
    assert set(table["status"]) == {schema.DONE}
    assert pq.read_metadata(merged.paths[3]).num_rows == 3


@pytest.mark.parametrize("lost", ["table", "curves", "predictions"])
def test_files_that_do_not_read_back_do_not_take_the_place_of_others(run, monkeypatch, lost):
    store(run, "a", training(1))
    before = {path.name: path.read_bytes() for path in collect(run, SPACE).paths}
    store(run, "b", training(2))
    read = pq.read_table

    def losing(path, **options):
        table = read(path, **options)
        return table.slice(1) if lost in str(path) else table

    monkeypatch.setattr(pq, "read_table", losing)
    with pytest.raises(InputError, match=rf"{lost}\.parquet.*written.*read back"):
        collect(run, SPACE)
    files = {path.name: path.read_bytes() for path in run.folder.iterdir() if path.is_file()}
    assert {name: files[name] for name in before} == before
    assert files.keys() - before.keys() == {"run.json", "data.json"}


def test_trainings_in_another_order_than_written_are_noticed(run, monkeypatch):
    store(run, "a", training(1), training(2))
    read = pq.read_table
    monkeypatch.setattr(pq, "read_table", lambda path, **how: read(path, **how).take([1, 0]))
    with pytest.raises(InputError, match="not those written"):
        collect(run, SPACE)


# --- copies


def test_every_other_member_of_a_class_gets_a_copy_for_each_seed():
    groups = [members for members in SPACE.functional_classes().values() if len(members) > 3][:4]
    rows = pd.DataFrame(
        [
            training(members[0], seed, status)[0]
            for members, status in zip(groups, ["done", "done", "failed", "done"], strict=True)
            for seed in (7, 8)
        ]
        + [training(groups[3][2], 7)[0]]  # a second one of its class is trained too
    )
    both = with_copies(rows, SPACE, DATA)
    expected = {
        (member, seed)
        for members in (groups[0], groups[1], groups[3])
        for member in members
        for seed in (7, 8)
    } | {(groups[2][0], seed) for seed in (7, 8)}
    assert len(both) == len(expected)
    assert set(zip(both["arch_index"], both["seed"], strict=True)) == expected
    assert both["key"].is_unique
    trained = set(zip(rows["arch_index"], rows["seed"], strict=True))
    recipe = SPACE.card.recipe(RECIPE)
    for row in both.to_dict("records"):
        arch, source = row["arch_index"], row["source_index"]
        if (arch, row["seed"]) in trained:
            assert row["status"] != schema.COPIED
            assert pd.isna(source)
            continue
        assert row["status"] == schema.COPIED
        assert row["key"] == f"{source}-{row['seed']}:{arch}"
        assert SPACE.functional_key(arch) == row["functional_key"] == SPACE.functional_key(source)
        assert row["final_test_top1"] == source / 3
        assert row["arch_str"] == SPACE.arch_string(arch)
        assert row["nb201_key"] == SPACE.nb201_key(arch)
        cost = SPACE.cost(arch, recipe, classes=2, joints=20)
        assert (row["params"], row["macs"]) == (cost.params, cost.macs)


def test_copies_are_in_the_table_only(run):
    run.arguments = replace(ARGUMENTS, one_per_class=True)
    (members,) = [found for found in SPACE.functional_classes().values() if len(found) == 4][:1]
    store(run, "a", training(members[0]))
    merged = collect(run, SPACE)
    assert (merged.trainings, merged.copies) == (1, 3)
    assert pd.read_parquet(merged.paths[0])["arch_index"].tolist() == list(members)
    assert pq.read_metadata(merged.paths[3]).num_rows == 1


def test_copies_need_the_card_they_were_made_with(run):
    run.arguments = replace(ARGUMENTS, one_per_class=True, recipe_hash="of another card")
    with pytest.raises(InputError, match=r"nb201\.toml changed.*restore the card"):
        collect(run, SPACE)
