"""`train`: one network, every evaluated epoch printed; or only described."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from nas_skeleton.results.run import open_run, run_names
from nas_skeleton.skeletons.store import load_dataset
from nas_skeleton.spaces import load_any_space
from nas_skeleton.training.candidates import Problem, Unsupported
from nas_skeleton.training.engines import native
from nas_skeleton.training.task import build_task
from nas_skeleton.training.train import read_weights

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


def test_a_cell_that_ignores_its_input_has_the_row_that_search_gives_it(here):
    given = ("--engine", "reference")
    trained = here(*TRAIN, "--arch", "10", "--run", "trained", *given)
    assert trained.returncode == 0, trained.stderr
    assert "not trained: this cell ignores its input" in trained.stdout
    assert "there are no weights to keep" in trained.stdout
    here("search", *TRAIN[1:], "--archs", "10", "--run", "searched")
    kept = ["key", "engine", "status", "final_valid_top1", "final_test_top1", "best_epoch", "curve"]
    rows = [open_run(name).rows(blobs=True)[kept] for name in ("trained", "searched")]
    assert rows[0]["engine"].tolist() == ["analytic"]
    pd.testing.assert_frame_equal(*rows)
    assert not (open_run("trained").folder / "weights").exists()
    again = here(*TRAIN, "--arch", "10", "--run", "trained", *given)
    assert "already trained" not in again.stdout
    searched = here("search", *TRAIN[1:], "--archs", "10", "--run", "searched", *given)
    assert "not trained again" not in searched.stderr  # no engine's work


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


# --- reference models

MODEL = """
name = "small-models"
title = "reference models for tests"
models = ["stgcn", "stgcn++"]
default_recipe = "tiny"
[input]
encoding = "centred-first-frame"
[recipes.tiny]
frames = 4
epochs = 2
batch_size = 64
drop_last = true
learning_rate = 0.01
momentum = 0.9
nesterov = true
weight_decay = 5e-4
evaluate_every = 1
[recipes.dropout]
frames = 4
epochs = 1
batch_size = 64
drop_last = true
learning_rate = 0.01
momentum = 0.9
nesterov = true
weight_decay = 5e-4
evaluate_every = 1
dropout = 0.5
"""
SMALL = ("train", "--space", "small-models", "--dataset", "synthetic:wave+clap+squat")


@pytest.fixture
def small_models(workdir):
    (workdir / "search_spaces" / "small-models.toml").write_text(MODEL)


def accuracy_with(run, weights):
    """Top-1 on test clips of the run's model with these weights."""
    space = load_any_space(run.arguments.space)
    data = load_dataset(run.arguments.dataset)
    task = build_task(space.card, space.card.recipe(), data, run.arguments.protocol)
    network = Problem(space.card, space.card.recipe(), task).network(space.architecture(1))
    network.load_state_dict(weights, strict=False)
    ids = task.splits["test"]
    with torch.no_grad():
        scores = network.eval()(task.clips.evaluation(ids))
    return (scores.argmax(dim=1) == task.labels[ids]).double().mean().item()


def test_a_model_is_trained_like_a_cell_and_leaves_its_weights(here, small_models):
    done = here(*SMALL, "--model", "stgcn++", "--run", "mine")
    assert done.returncode == 0, done.stderr
    assert "with the weights of the last epoch" in done.stdout
    assert "with the weights that were best on validation (epoch" in done.stdout
    run = open_run("mine")
    row = run.rows().iloc[0]
    assert (row["arch_str"], row["engine"]) == ("stgcn++", "fast")
    assert pd.isna(row["fallback"])
    assert row["params"] > 1_000_000
    assert row["macs"] > 1_000_000
    for which, epoch in (("last", 2), ("best", row["best_epoch"])):
        weights, after = read_weights(run.weights_path(row["key"], which), row["key"])
        assert after == epoch
        assert sum(w.numel() for n, w in weights.items() if "running" not in n) == row["params"]
        assert accuracy_with(run, weights) == pytest.approx(
            row["final_test_top1" if which == "last" else "best_test_top1"]
        )
    assert here(*SMALL, "--model", "stgcn++", "--run", "mine").stdout.count("already trained") == 1


def test_without_validation_clips_there_is_no_best_epoch_to_print(here):
    done = here(*TRAIN, "--arch", "6111", "--protocol", "odd-even")
    assert done.returncode == 0, done.stderr
    assert "with the weights of the last epoch" in done.stdout
    assert "best on validation" not in done.stdout
    assert "valid" not in done.stdout.partition("last epoch")[2]


def test_dropout_comes_from_the_training_itself(here, small_models):
    asked = (*SMALL, "--model", "stgcn", "--recipe", "dropout")
    for run in ("first", "second"):
        assert here(*asked, "--run", run).returncode == 0
    first, second = (open_run(run).rows().iloc[0] for run in ("first", "second"))
    assert first["final_test_top1"] == second["final_test_top1"]
    curves = [open_run(run).rows(blobs=True).iloc[0]["curve"] for run in ("first", "second")]
    assert curves[0] == curves[1]


def test_streams_are_trained_and_fused_in_one_command(here, small_models, workdir):
    done = here(*SMALL, "--model", "stgcn++", "--streams", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("with the weights of the last epoch") == 2
    assert "fused" in done.stdout
    joint, bone = run_names()
    assert bone == f"{joint}_bone"
    assert f"train fuse {joint} {bone} --weights 1:1" in done.stdout
    assert open_run(bone).rows()["modality"].tolist() == ["bone"]
    again = here(*SMALL, "--model", "stgcn++", "--streams", "2")
    assert again.stdout.count("already trained") == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "Give one of --arch (a cell) and --model"),
        (("--arch", "1", "--model", "stgcn"), "Give one of --arch (a cell) and --model"),
        (("--model", "resnet"), "unknown model 'resnet': known are"),
        (("--model", "stgcn", "--engine", "native"), "--engine native trains cells"),
        (("--model", "stgcn", "--streams", "2", "--modality", "bone"), "leave out --modality"),
        (("--model", "agcn", "--recipe", "stgcn"), "no dropout"),
        (("--model", "aim", "--space", "nb201"), "lacks a table [aim]"),
        (("--model", "stgcn", "--space", "nb201"), "has cells, no models"),
        (("--model", "aim", "--describe"), "--describe does not go with --model aim"),
        (("--model", "aim", "--seed", "5"), "--seed does not go with --model aim"),
        (("--space", "nb201-image", "--arch", "1", "--streams", "2"), "no other modality"),
    ],
)
def test_what_does_not_go_together_is_one_line(here, workdir, options, message):
    done = here("train", "--dataset", "synthetic", *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("model", "params"), [("stgcn", 3_098_832), ("stgcn++", 1_403_144), ("asgcn", 6_987_478)]
)
def test_describe_counts_models_without_data(here, workdir, model, params):
    done = here("train", "--model", model, "--dataset", "ntu60", "--describe", "--json")
    described = json.loads(done.stdout)
    assert described["params"] == params
    assert described["classes"] == 60
    assert described["macs"] > 1e8
    assert ("link_macs" in described) == (model == "asgcn")


ASGCN = MODEL.replace('["stgcn", "stgcn++"]', '["asgcn"]').replace("small-models", "small-asgcn")
ASGCN = ASGCN.replace(
    "[recipes.tiny]",
    "future = 3\n[aim]\nframes = 5\nhidden = 4\nepochs = 2\nbatch_size = 32\n[recipes.tiny]",
)


def test_as_gcn_predicts_poses_from_links_that_are_inferred_once(here, workdir):
    (workdir / "search_spaces" / "small-asgcn.toml").write_text(ASGCN)
    asked = ("--space", "small-asgcn", "--dataset", "synthetic:wave+clap+squat")
    done = here("train", "--model", "aim", *asked)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("pre-training AIM") == 1
    assert "AIM epoch 2 of 2: loss" in done.stderr
    assert "kept in" in done.stdout
    assert "already there" in here("train", "--model", "aim", *asked).stdout
    done = here("train", "--model", "asgcn", *asked, "--run", "mine")
    assert done.returncode == 0, done.stderr
    assert "pre-training" not in done.stderr

    done = here("train", "predict", "mine", "-o", "poses.npz", "--json")
    facts = json.loads(done.stdout)
    poses = np.load(workdir / "poses.npz")
    clips = facts["clips"]
    assert facts["frames"] == 3
    assert poses["predicted"].shape == poses["true"].shape == (clips, 3, 3, 20, 1)
    assert poses["last"].shape == (clips, 3, 20, 1)
    assert poses["ids"].shape == (clips,)
    error = np.sqrt(((poses["predicted"] - poses["true"]) ** 2).sum(axis=1)).mean()
    assert facts["mean_joint_error"] == pytest.approx(error, rel=1e-4)
    best = here("train", "predict", "mine", "--weights", "best", "--split", "valid")
    assert "clips, the last 3 frames of each, weights of epoch" in best.stdout
    assert (workdir / "mine-poses.npz").is_file()


def test_only_as_gcn_predicts_poses(here, small_models):
    here(*SMALL, "--model", "stgcn++", "--run", "mine")
    done = here("train", "predict", "mine")
    assert done.returncode == 2
    assert "stgcn++ predicts no poses" in done.stderr
