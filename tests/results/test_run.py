import json
from dataclasses import replace

import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.results.run import Arguments, Clips, DataFacts, open_run, plan_run, run_names

ARGUMENTS = Arguments(
    space="nb201",
    dataset="utdmhad",
    protocol="thesis",
    recipe="quick",
    strategy="random",
    seeds=[777],
    fingerprint="f",
    recipe_hash="h",
    trials=4,
)
DATA = DataFacts(["a", "b"], 20, 1, {"valid": Clips(["c1"], [0]), "test": Clips(["c2"], [1])})


def start_run(name, arguments, data):
    """Plan a run and write it down."""
    run = plan_run(name, arguments, data)
    run.write()
    return run


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_run_is_found_again_with_its_arguments_and_data():
    start_run("mine", ARGUMENTS, DATA)
    run = open_run("mine")
    assert (run.arguments, run.data) == (ARGUMENTS, DATA)
    assert run_names() == ["mine"]


def test_a_planned_run_leaves_no_trace_before_it_is_written(folder):
    plan_run("mine", ARGUMENTS, DATA)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({"trials": 9}, {"trials": 9}),
        ({"trials": 2}, {"trials": 4}),
        ({"trials": None}, {"trials": None}),
        ({"seeds": [777, 888]}, {"seeds": [777, 888]}),
    ],
)
def test_trials_and_seeds_may_grow_and_never_shrink(change, kept):
    start_run("mine", ARGUMENTS, DATA)
    asked = start_run("mine", replace(ARGUMENTS, **change), DATA)
    assert asked.arguments == replace(ARGUMENTS, **change)
    assert open_run("mine").arguments == replace(ARGUMENTS, **kept)
    start_run("mine", ARGUMENTS, DATA)
    assert open_run("mine").arguments == replace(ARGUMENTS, **kept)


@pytest.mark.parametrize(
    "change",
    [
        {"seeds": [888]},
        {"recipe_hash": "x"},
        {"fingerprint": "x"},
        {"strategy": "exhaustive"},
    ],
)
def test_other_arguments_are_refused_and_named(change):
    start_run("mine", ARGUMENTS, DATA)
    (field,) = change
    with pytest.raises(InputError, match=f"belongs to {field}.*--run"):
        start_run("mine", replace(ARGUMENTS, **change), DATA)
    assert open_run("mine").arguments == ARGUMENTS


def test_a_run_that_still_names_an_engine_is_opened_and_continued(folder):
    start_run("mine", ARGUMENTS, DATA)
    path = folder / "runs/mine/run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "engine": "fast"}))
    assert open_run("mine").arguments == ARGUMENTS
    start_run("mine", replace(ARGUMENTS, trials=9), DATA)
    assert open_run("mine").arguments.trials == 9


@pytest.mark.parametrize(
    ("asked", "kept"), [([3, 5], [3, 5]), ([1, 3, 5], [1, 3, 5]), ([3], [3, 5]), ([5, 3], [3, 5])]
)
def test_a_list_of_architectures_may_grow_and_never_shrinks(asked, kept):
    first = replace(ARGUMENTS, archs=[3, 5], trials=None)
    start_run("mine", first, DATA)
    assert start_run("mine", replace(first, archs=asked), DATA).arguments.archs == asked
    assert open_run("mine").arguments.archs == kept


@pytest.mark.parametrize("asked", [[3, 6], [1], None])
def test_another_list_of_architectures_is_refused(asked):
    first = replace(ARGUMENTS, archs=[3, 5], trials=None)
    start_run("mine", first, DATA)
    with pytest.raises(InputError, match=r"belongs to archs \[3, 5\], not .*runs publish RUN RUN"):
        start_run("mine", replace(first, archs=asked), DATA)


@pytest.mark.parametrize("name", ["published", "Published"])
def test_the_folder_of_published_tables_is_no_run(name, folder):
    with pytest.raises(InputError, match="runs/published/ is the folder of published tables"):
        start_run(name, ARGUMENTS, DATA)
    assert list(folder.iterdir()) == []


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


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "{",
        "[]",
        '{"format": 99}',
        '{"format": 1, "space": 3}',
        '{"format": 1, "trials": "many"}',
    ],
)
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
        "channels",
    }
