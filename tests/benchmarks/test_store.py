"""The store at its size: made-up runs that are like real ones, and commands that are measured."""

import json

import pytest

from nas_skeleton.benchmarks import store
from nas_skeleton.benchmarks.machine import Machine
from nas_skeleton.benchmarks.report import store_as_text
from nas_skeleton.errors import InputError
from nas_skeleton.results import schema
from nas_skeleton.results.collect import collect
from nas_skeleton.results.leaderboard import run_leaderboard
from nas_skeleton.results.run import open_run
from nas_skeleton.spaces import load_space


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Made-up runs are made quickly, and one command is measured once."""
    for name, value in {"KINDS": 20, "FILES": 4, "TIMES": 1, "COMMANDS": (("list",),)}.items():
        monkeypatch.setattr(store, name, value)
    monkeypatch.chdir(tmp_path)


def watch(*_):
    return lambda: None


def test_a_made_up_run_is_complete_and_differs_from_cell_to_cell(small):
    store.make_run(300, watch, name="mine")
    run, space = open_run("mine"), load_space("nb201")
    rows = run.rows(blobs=True)
    assert len(rows) == 300
    done = rows[rows["status"] == schema.DONE]
    assert 290 <= len(done) <= 300
    assert len(list(run.results_folder.glob("*.sqlite"))) == store.FILES
    assert (rows["arch_str"] == [space.arch_string(arch) for arch in rows["arch_index"]]).all()
    for row in done.to_dict("records"):
        last = json.loads(row["curve"])[-1]
        assert last["valid_top1"] == row["final_valid_top1"]
    assert done["final_valid_top1"].nunique() > 10
    board = run_leaderboard(run)
    assert board.ranked_by == "validation"
    assert 1 < board.near_best() < len(board.table)
    assert collect(run, space).trainings == 300


def test_a_run_larger_than_the_space_has_several_seeds(small, monkeypatch):
    monkeypatch.setattr(store, "load_space", lambda name: Half(load_space(name)))
    rows = store.make_run(25, watch, name="mine").rows(["arch_index", "seed"])
    assert rows["seed"].nunique() == 3
    assert rows.groupby("arch_index").size().tolist() == [3] * 8 + [1]


class Half:
    """A space of ten cells."""

    def __init__(self, space):
        self.space = space

    def __len__(self):
        return 10

    def __getattr__(self, name):
        return getattr(self.space, name)


def test_speed_prints_what_the_commands_take(small, here, tmp_path):
    found = json.loads(here("speed", "--store", "40", "--json").stdout)
    assert (found["trainings"], found["files"], found["clips"]) == (40, 4, 861)
    assert 2000 < found["row_bytes"] < 20_000
    [cost] = found["commands"]
    assert cost["command"] == "runs list"
    assert cost["cpu_s"] > 0
    assert 0 < cost["seconds"] < 60
    assert 20 < cost["peak_mb"] < 1000
    assert {path.name for path in tmp_path.iterdir()} == {"datasets", "search_spaces"}
    made_on = Machine(**found.pop("machine"))
    costs = store.StoreCost(**{**found, "commands": [store.CommandCost(**cost)]})
    text = store_as_text(made_on, costs)
    assert "made-up run of 40 trainings" in text
    assert text.splitlines()[-1].split()[:2] == ["runs", "list"]


def test_a_command_that_fails_is_said(small, monkeypatch):
    monkeypatch.setattr(store, "COMMANDS", (("show", "no-such-run"),))
    with pytest.raises(InputError, match=r"runs show no-such-run exits 2.*no run 'no-s"):
        store.measure_store(4, watch)
