"""`train`: one network, every evaluated epoch printed; or only described."""

import json

from nas_skeleton.results.run import open_run

ARCH = (
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
    "+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
)
TRAIN = ("train", "--space", "tiny", "--dataset", "synthetic")


def test_train_prints_every_evaluated_epoch_and_keeps_the_row(command):
    done = command(*TRAIN, "--arch", "6111")
    assert done.returncode == 0, done.stderr
    epochs = [line for line in done.stdout.splitlines() if line.startswith("epoch")]
    assert len(epochs) == 2
    assert "valid" in epochs[0]
    (name,) = [line.split("/")[-1] for line in done.stdout.splitlines() if "results:" in line]
    row = open_run(name).rows().iloc[0]
    assert (row["arch_index"], row["seed"]) == (6111, 777)
    assert command(*TRAIN, "--arch", "6111").stdout.count("already trained") == 1


def test_train_gives_what_search_gives(command):
    command("search", *TRAIN[1:], "--trials", "1", "--run", "searched")
    searched = open_run("searched").rows().iloc[0]
    command(*TRAIN, "--arch", searched["arch_str"], "--run", "trained")
    trained = open_run("trained").rows().iloc[0]
    assert trained["key"] == searched["key"]
    assert trained["final_test_top1"] == searched["final_test_top1"]


def test_describe_gives_the_costs_without_data_or_training(command, workdir):
    (workdir / "datasets").rename(workdir / "elsewhere")
    done = command(
        "train", "--space", "nb201-image", "--recipe", "thesis", "--arch", "1462",
        "--dataset", "utdmhad", "--describe", "--json",
    )  # fmt: skip
    described = json.loads(done.stdout)
    assert described["params"] == 1_532_651  # all 3x3, 27 classes
    assert described["input_shape"] == ["N", 3, 68, 20, 1]
    assert described["stage_shapes"] == [[16, 68, 20], [32, 34, 10], [64, 17, 5]]
    assert not (workdir / "runs").exists()


def test_describe_for_people_names_edges_and_roles(command):
    done = command(*TRAIN, "--arch", ARCH, "--describe")
    assert "arch_index       6111" in done.stdout
    assert "2->3 nor_conv_1x1 (live)" in done.stdout
