"""The folder of a supernet: whose it is, and the table in it."""

import dataclasses

import pandas as pd
import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.results.one_shot import (
    COLUMNS,
    SupernetArguments,
    SupernetFolder,
    ranking_table,
)
from nas_skeleton.results.run import open_run, run_names

ARGUMENTS = SupernetArguments(
    "nb201", "utdmhad", "thesis", "quick", "spos", 30, 777, "clips", "card", "bone+joint"
)
CELLS = {
    7: {"arch_str": "a", "functional_key": "A", "params": 5, "macs": 40},
    3: {"arch_str": "b", "functional_key": "B", "params": 4, "macs": 30},
    9: {"arch_str": "c", "functional_key": "C", "params": 4, "macs": 30},
    1: {"arch_str": "d", "functional_key": "D", "params": 1, "macs": 10},
}
INHERITED = {7: 0.5, 9: 0.5, 3: 0.5, 1: 0.25}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return SupernetFolder("one", ARGUMENTS)


def test_every_argument_makes_another_training():
    names = [field.name for field in dataclasses.fields(SupernetArguments)]
    keys = {ARGUMENTS.key}
    for name in names:
        value = getattr(ARGUMENTS, name)
        other = value + 1 if isinstance(value, int) else f"{value}x"
        keys.add(dataclasses.replace(ARGUMENTS, **{name: other}).key)
    assert len(keys) == len(names) + 1


def test_the_folder_of_published_tables_is_no_supernet():
    with pytest.raises(InputError, match="the folder of published tables"):
        SupernetFolder("published", ARGUMENTS)


def test_a_folder_is_named_after_the_arguments():
    assert ARGUMENTS.default_name == "nb201_utdmhad_thesis_quick_spos-30_777_bone-joint"


def test_ties_go_to_fewer_macs_then_to_the_lower_index():
    table = ranking_table(ARGUMENTS, CELLS, INHERITED, derived=None)
    assert list(table.columns) == list(COLUMNS)
    assert table["arch_index"].tolist() == [3, 9, 7, 1]
    assert table["selected"].tolist() == [True, False, False, False]
    assert table["modality"].unique().tolist() == ["bone+joint"]


def test_a_method_that_comes_to_a_cell_selects_it():
    table = ranking_table(ARGUMENTS, CELLS, INHERITED, derived=7)
    assert table["selected"].tolist() == [False, False, True, False]


def test_a_ranking_reads_back(folder):
    assert folder.ranking() == {}
    folder.claim()
    table = ranking_table(ARGUMENTS, CELLS, INHERITED, None)
    folder.write_ranking(table)
    assert folder.ranking() == INHERITED
    pd.testing.assert_frame_equal(pd.read_csv(folder.folder / "ranking.csv"), table)
    assert sorted(path.name for path in folder.folder.iterdir()) == [
        "ranking.csv",
        "ranking.parquet",
        "supernet.json",
    ]


def test_a_folder_belongs_to_one_set_of_arguments(folder):
    folder.claim()
    SupernetFolder("one", ARGUMENTS)
    with pytest.raises(InputError, match=r"belongs to epochs 30, not 31: choose another name"):
        SupernetFolder("one", dataclasses.replace(ARGUMENTS, epochs=31))
    (folder.folder / "supernet.json").write_text("{")
    with pytest.raises(InputError, match=r"supernet.json: damaged"):
        SupernetFolder("one", ARGUMENTS)


def test_a_folder_with_trainings_is_no_place_for_a_supernet(folder):
    folder.folder.mkdir(parents=True)
    (folder.folder / "run.json").write_text("{}")
    with pytest.raises(InputError, match="holds trainings"):
        SupernetFolder("one", ARGUMENTS)


def test_a_damaged_ranking_is_said(folder):
    folder.claim()
    (folder.folder / "ranking.parquet").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"ranking.parquet: damaged .*remove it"):
        folder.ranking()


def test_it_is_no_run(folder):
    folder.claim()
    assert run_names() == []
    with pytest.raises(InputError, match="is a supernet, no table of trainings"):
        open_run("one")
