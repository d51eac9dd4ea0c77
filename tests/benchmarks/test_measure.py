"""Rounds become medians and ratios; who cannot take part is listed with the reason."""

import json
import os
import signal

import pytest
import torch

from nas_skeleton.benchmarks import contenders, measure
from nas_skeleton.benchmarks.bench import Bench, Crew, Plan
from nas_skeleton.benchmarks.bookkeeping import Bookkeeping
from nas_skeleton.benchmarks.machine import machine
from nas_skeleton.benchmarks.report import Report, as_json, as_text
from nas_skeleton.benchmarks.roofline import Peaks, mean_demand
from nas_skeleton.benchmarks.settings import NAMED, Setting, choose_settings
from nas_skeleton.errors import InputError
from nas_skeleton.spaces import load_space
from nas_skeleton.training.candidates import Unsupported


def plan(**changes):
    values = {
        "space": "tiny",
        "dataset": "synthetic",
        "protocol": "thesis",
        "cells": (6111, 9930),
        "engines": ("reference", "fast", "cuda-graph"),
        "device": "cpu",
        "workers": 2,
    }
    return Plan(**{**values, **changes})


@pytest.fixture
def linked(workdir):
    """A small space whose clips have A-links."""
    text = (workdir / "search_spaces" / "tiny.toml").read_text()
    text = text.replace('name = "tiny"', 'name = "linked"').replace('"stgcn"', '"asgcn"\nhops = 2')
    text += "\n[aim]\nframes = 6\nhidden = 4\nepochs = 1\nbatch_size = 128\n"
    (workdir / "search_spaces" / "linked.toml").write_text(text)
    return load_space("linked")


def tiny():
    return Setting("tiny", load_space("tiny").card.recipe())


class MadeUpCrew:
    """Answers like a crew of two whose machine slows down to half in the second round."""

    def __init__(self):
        self.steps = {"reference": 10.0, "fast": 30.0, "thesis-loop": 8.0}
        self.calls = []

    def first(self, method, *arguments):
        return self.answer(method, *arguments)

    def all(self, method, *arguments):
        return [self.answer(method, *arguments)] * 2

    def answer(self, method, name=None, *rest):
        if method == "prepare" and name == "cuda-graph":
            return "no GPU here"
        if method == "peaks":
            return Peaks(1e9, 1e9)
        if method in ("steps_in", "side_by_side"):
            return 1
        if method in ("train", "evaluate"):
            self.calls.append((method, name))
            slow = 0.5 if self.calls.count(("train", "reference")) in (3, 4) else 1.0
            return slow * self.steps[name] * (1 if method == "train" else 100)
        return None


def test_ratios_are_medians_over_alternating_rounds(workdir):
    crew, watched = MadeUpCrew(), []
    found = measure.measure(
        crew, plan(), tiny(), 0.0, lambda *what: watched.append(what) or (lambda: None)
    )
    assert watched == [("tiny", 3)]
    trained = [name for method, name in crew.calls if method == "train"]
    assert trained == ["reference", "fast", "thesis-loop"] * 6  # one process, then all
    fast = found.speeds["fast"]
    assert fast.per_core.median == pytest.approx(3.0)
    assert fast.workers_ratio.median == pytest.approx(6.0)
    assert fast.ms_per_step == pytest.approx(1e3 / 30)
    assert fast.roofline_share == pytest.approx(found.floor_ms / fast.ms_per_step)
    # 323 clips in batches of 64, 861 evaluated: every second epoch, by the thesis in each
    epoch = 323 / 64 / 60 + 861 / 2 / 6000
    thesis = 323 / 64 / 16 + 861 / 1600
    assert fast.s_per_epoch == pytest.approx(epoch)
    assert fast.over_thesis.median == pytest.approx(thesis / epoch)
    assert found.unsupported == {"cuda-graph": "no GPU here"}
    assert "cuda-graph" not in found.speeds


def test_the_floor_is_that_of_networks_that_see_the_links(linked):
    found = measure.measure(
        MadeUpCrew(), plan(space="linked"), tiny(), 0.0, lambda *_: lambda: None
    )
    sizes = {"classes": 27, "joints": 20, "bodies": 1, "channels": 3 + 2 * 20}
    assert found.demand == mean_demand(linked, tiny().recipe, [6111, 9930], **sizes)
    assert found.floor_ms > 0


def test_a_bench_measures_networks_that_see_the_links(linked):
    bench = Bench(plan(space="linked"))
    bench.open(tiny())
    for name in ("reference", "fast"):
        assert bench.prepare(name) is None
        assert bench.train(name, 1, False) > 0
        assert bench.evaluate(name, False) > 0
    assert "A-links" in bench.prepare("packed")


def test_the_report_explains_every_column_and_lists_who_is_missing(workdir):
    found = measure.measure(MadeUpCrew(), plan(), tiny(), 0.0, lambda *_: lambda: None)
    bookkeeping = Bookkeeping(24, 2, "fast", 2.0, 0.01, 2.5, 0.5, 0.005, 0.02)
    cells = [(6111, "|skip_connect~0|"), (9930, "|none~0|")]
    made_on = machine("cpu", 2, 2)
    report = Report(made_on, "tiny", "synthetic", "thesis", 777, cells, [found], bookkeeping)
    text = as_text(report)
    assert made_on.cpu in text
    assert "cuda-graph cannot take part: no GPU here" in text
    for column in ("together", "ms/step", "per core", "roofline", "2 workers", "s/epoch", "thesis"):
        assert f"{column}:" in text
    [fast] = [line for line in text.splitlines() if line.startswith("fast")]
    assert "3.00 x" in fast
    assert "6.00 x" in fast
    assert "2.00 % of a run of 200" in text
    json.dumps(as_json(report), allow_nan=False)


@pytest.mark.parametrize("error", [Unsupported("too\nlarge"), torch.OutOfMemoryError("too large")])
def test_a_bench_says_why_an_engine_cannot_take_part(workdir, monkeypatch, error):
    def refuse(*_):
        raise error

    bench = Bench(plan())
    bench.open(tiny())
    monkeypatch.setattr(contenders, "candidates_of", refuse)
    assert bench.prepare("fast") == "too large"


@pytest.mark.parametrize("name", ["reference", "packed", "thesis-loop"])
def test_a_bench_measures_positive_rates(workdir, name):
    bench = Bench(plan())
    bench.open(tiny())
    assert bench.prepare(name) is None
    assert bench.steps_in(name, 0.0) == 1
    assert bench.train(name, 1, False) > 0
    assert bench.evaluate(name, False) > 0
    assert bench.side_by_side(name) == (2 if name == "packed" else 1)


def test_a_dead_process_is_said_in_one_line(workdir):
    with Crew(plan()) as crew:
        crew.all("open", tiny())
        os.kill(crew._processes[1].pid, signal.SIGKILL)
        with pytest.raises(InputError, match="measuring process died"):
            crew.all("open", tiny())


def test_named_settings_are_the_default_and_recipes_can_be_added():
    card = load_space("nb201").card
    assert [setting.name for setting in choose_settings(card)] == list(NAMED)
    table, quick = choose_settings(card, ["table"], ["quick"])
    assert (table.recipe.channels, table.recipe.batch_size) == (8, 32)
    assert table.recipe.weight_decay == card.recipe().weight_decay
    assert quick.recipe == card.recipe("quick")
    with pytest.raises(InputError, match="unknown recipe"):
        choose_settings(card, [], ["nope"])
