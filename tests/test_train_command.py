"""`train`: one network, every evaluated epoch printed; or only described."""

import json
import shutil

import pytest

from nas_skeleton.results.run import open_run, run_names
from nas_skeleton.training.candidates import Unsupported
from nas_skeleton.training.engines import native

ARCH = (
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
    "+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
)
TRAIN = ("train", "--space", "tiny", "--dataset", "synthetic")


def test_train_prints_every_evaluated_epoch_and_keeps_the_row(command, here):
    done = command(*TRAIN, "--arch", "6111")
    assert done.returncode == 0, done.stderr
    epochs = [line for line in done.stdout.splitlines() if line.startswith("epoch")]
    assert len(epochs) == 2
    assert "valid" in epochs[0]
    (name,) = [line.split("/")[-1] for line in done.stdout.splitlines() if "results:" in line]
    row = open_run(name).rows().iloc[0]
    assert (row["arch_index"], row["seed"]) == (6111, 777)
    again = here(*TRAIN, "--arch", "6111", "--engine", "reference")
    assert again.stdout.count("already trained") == 1


def test_train_gives_what_search_gives(here, workdir, searched):
    runs, _ = searched
    shutil.copytree(runs, workdir / "runs")
    (name,) = run_names()
    found = open_run(name).rows().iloc[0]
    here(*TRAIN, "--arch", found["arch_str"], "--run", "trained")
    trained = open_run("trained").rows().iloc[0]
    assert trained["key"] == found["key"]
    assert trained["final_test_top1"] == found["final_test_top1"]


@pytest.mark.parametrize("engine", ["reference", "fast", "packed"])
def test_the_row_says_which_engine_trained_it(here, engine):
    assert here(*TRAIN, "--arch", "6111", "--run", "mine", "--engine", engine).returncode == 0
    assert open_run("mine").rows().loc[0, "engine"] == engine
    other = "fast" if engine == "reference" else "reference"
    again = here(*TRAIN, "--arch", "6111", "--run", "mine", "--engine", other)
    assert f"not trained again with {other}: 1 by {engine}" in again.stderr
    assert f"engines        {engine} (1)" in here("runs", "show", "mine").stdout


def test_falling_back_is_said_and_stands_in_the_row(here, monkeypatch):
    def cannot(*_):
        raise Unsupported("no kernel for this")

    monkeypatch.setattr(native, "available", lambda: "")
    monkeypatch.setattr(native, "Native", cannot)
    done = here(*TRAIN, "--arch", "6111", "--run", "mine", "--engine", "native")
    assert done.returncode == 0
    assert "fell back from native: no kernel for this" in done.stderr
    row = open_run("mine").rows().iloc[0]
    assert (row["engine"], row["fallback"]) == ("fast", "native: no kernel for this")


def test_describe_gives_the_costs_without_data_or_training(here, workdir):
    (workdir / "datasets").rename(workdir / "elsewhere")
    done = here(
        "train", "--space", "nb201-image", "--recipe", "thesis", "--arch", "1462",
        "--dataset", "utdmhad", "--describe", "--json",
    )  # fmt: skip
    described = json.loads(done.stdout)
    assert described["params"] == 1_532_651  # all 3x3, 27 classes
    assert described["input_shape"] == ["N", 3, 68, 20, 1]
    assert described["stage_shapes"] == [[16, 68, 20], [32, 34, 10], [64, 17, 5]]
    assert not (workdir / "runs").exists()


def test_describe_for_people_names_edges_and_roles(here):
    done = here(*TRAIN, "--arch", ARCH, "--describe")
    assert "arch_index       6111" in done.stdout
    assert "2->3 nor_conv_1x1 (live)" in done.stdout
