"""`speed`: engines side by side, for people and as JSON."""

import json

import pytest

from nas_skeleton import speed
from nas_skeleton.benchmarks.balance import balance_of
from nas_skeleton.benchmarks.settings import NAMED, Setting
from nas_skeleton.spaces import load_space

SPEED = ("speed", "--space", "tiny", "--dataset", "synthetic", "--recipe", "tiny", "--cells", "2")
QUICK = ("--seconds", "0", "--device", "cpu")


def test_json_has_every_engine_with_its_ratios_or_the_reason(command):
    done = command(
        *SPEED, *QUICK, "--engine", "fast", "--engine", "cuda-graph", "--workers", "2", "--json"
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert set(report) == {
        *("machine", "space", "dataset", "protocol", "seed", "cells", "settings", "bookkeeping")
    }
    assert report["machine"]["workers"] == 2
    assert report["machine"]["cpu"]
    assert len(report["cells"]) == 2
    [setting] = report["settings"]
    assert setting["recipe"]["channels"] == 4
    assert setting["rounds"] >= 3
    assert setting["floor_ms"] > 0
    assert list(setting["speeds"]) == ["reference", "fast", "thesis-loop"]
    for speed_of in setting["speeds"].values():
        assert speed_of["ms_per_step"] > 0
        assert speed_of["s_per_epoch"] > 0
        for ratio in ("per_core", "workers_ratio", "over_thesis"):
            values = speed_of[ratio]
            assert 0 < values["low"] <= values["median"] <= values["high"]
    assert setting["speeds"]["reference"]["per_core"]["median"] == 1
    assert setting["speeds"]["thesis-loop"]["over_thesis"]["median"] == 1
    assert "GPU" in setting["unsupported"]["cuda-graph"]
    assert "Measuring tiny" in done.stderr
    assert "3/3 rounds of tiny" in done.stderr


def test_balance_as_json_has_the_time_of_every_class_timed(here):
    some = ("--workers", "1", "--engine", "fast", "--classes", "20")
    done = here(*SPEED, *QUICK, *some, "--balance", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["machine"]["workers"] == 1
    [found] = report["balances"]
    assert (found["setting"], found["engine"], found["shards"]) == ("tiny", "fast", 100)
    assert found["classes"] == len(found["seconds"]) == 20
    assert min(found["predicted"], found["actual"], found["by_index"]) >= 1
    assert "20/20 classes under tiny" in done.stderr


def test_links_are_inferred_before_efforts_of_networks_that_see_them_are_compared(workdir, command):
    text = (workdir / "search_spaces" / "tiny.toml").read_text()
    text = text.replace('name = "tiny"', 'name = "linked"').replace('"stgcn"', '"asgcn"\nhops = 2')
    text += "\n[aim]\nframes = 6\nhidden = 4\nepochs = 1\nbatch_size = 128\n"
    (workdir / "search_spaces" / "linked.toml").write_text(text)
    some = ("--workers", "1", "--engine", "fast", "--classes", "20", "--balance", "--json")
    done = command(*SPEED, *QUICK, *some, "--space", "linked")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("pre-training AIM for A-links")
    [found] = json.loads(done.stdout)["balances"]
    seconds = {int(index): taken for index, taken in found["seconds"].items()}
    setting = Setting("tiny", load_space("linked").card.recipe())
    wanted = balance_of(
        load_space("linked"), 20, setting, "fast", 100, seconds, seed=777, channels=3 + 2 * 20
    )
    assert found["spread"] == pytest.approx(wanted.spread)


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        (("--balance", "0"), "--balance"),
        (("--balance", "--classes", "19"), "--classes"),
        (("--no-op", "1"), "--no-op"),
        (("--setting", "nope"), "nope"),
        (("--engine", "nope"), "nope"),
        (("--recipe", "nope"), "unknown recipe 'nope'"),
        (("--cells", "0"), "--cells"),
        (("--protocol", "nope"), "unknown protocol 'nope'"),
    ],
)
def test_bad_arguments_are_one_line(command, arguments, culprit):
    done = command(*SPEED, *arguments)
    assert done.returncode == 2
    assert culprit in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_choices_are_what_there_is():
    assert tuple(NAMED) == speed.SETTINGS
