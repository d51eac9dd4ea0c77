import json
from dataclasses import replace

import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.results.run import Arguments, Clips, DataFacts, open_run, run_names, start_run

ARGUMENTS = Arguments("nb201", "utdmhad", "f", "thesis", "quick", "h", "random", [777], trials=4)
DATA = DataFacts(["a", "b"], 20, 1, {"valid": Clips(["c1"], [0]), "test": Clips(["c2"], [1])})


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_run_is_found_again_with_its_arguments_and_data():
    start_run("mine", ARGUMENTS, DATA)
    run = open_run("mine")
    assert (run.arguments, run.data) == (ARGUMENTS, DATA)
    assert run_names() == ["mine"]


def test_the_same_arguments_continue_and_more_trials_extend():
    start_run("mine", ARGUMENTS, DATA)
    assert start_run("mine", replace(ARGUMENTS, trials=9), DATA).arguments.trials == 9
    assert open_run("mine").arguments.trials == 9


@pytest.mark.parametrize(
    "change",
    [{"seeds": [888]}, {"recipe_hash": "x"}, {"fingerprint": "x"}, {"strategy": "exhaustive"}],
)
def test_other_arguments_are_refused_and_named(change):
    start_run("mine", ARGUMENTS, DATA)
    (field,) = change
    with pytest.raises(InputError, match=f"belongs to {field}.*--run"):
        start_run("mine", replace(ARGUMENTS, **change), DATA)
    assert open_run("mine").arguments == ARGUMENTS


@pytest.mark.parametrize("name", ["../escape", "a/b", "", ".hidden", "a b"])
def test_a_run_cannot_lie_outside_its_folder(name):
    with pytest.raises(InputError, match="letters, digits"):
        start_run(name, ARGUMENTS, DATA)
    with pytest.raises(InputError, match="letters, digits"):
        open_run(name)


def test_unknown_run_lists_the_known_ones():
    start_run("mine", ARGUMENTS, DATA)
    with pytest.raises(InputError, match=r"no run 'other'.*mine"):
        open_run("other")


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"format": 99}', '{"format": 1, "space": 3}'])
def test_damaged_run_file_is_one_line(folder, damage):
    start_run("mine", ARGUMENTS, DATA)
    (folder / "runs/mine/run.json").write_text(damage)
    with pytest.raises(InputError, match=r"run\.json"):
        open_run("mine")


def test_results_without_arguments_are_not_taken_over(folder):
    (folder / "runs/mine/results").mkdir(parents=True)
    with pytest.raises(InputError, match=r"no run\.json"):
        start_run("mine", ARGUMENTS, DATA)


def test_no_coordinates_are_kept_in_a_run(folder):
    start_run("mine", ARGUMENTS, DATA)
    assert set(json.loads((folder / "runs/mine/data.json").read_text())) == {
        "format",
        "classes",
        "joints",
        "bodies",
        "splits",
    }
