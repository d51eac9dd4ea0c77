"""Tables for searches: from a run, from collected files, from NATS-Bench, or a clear refusal."""

import json

import numpy as np
import pandas as pd
import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.results import schema
from nas_skeleton.results.collect import collect
from nas_skeleton.results.run import Arguments, Clips, DataFacts, plan_run
from nas_skeleton.results.store import ResultWriter
from nas_skeleton.results.table import load_table
from nas_skeleton.spaces import load_any_space

SPACE = load_any_space("models")  # six architectures: a whole table by hand
SEEDS = [777, 888]
CLIPS = {name: Clips([f"{name}0"], [0]) for name in ("train", "valid", "test")}
ARGUMENTS = Arguments(
    space="models",
    dataset="synthetic",
    protocol="thesis",
    recipe="quick",
    strategy="exhaustive",
    seeds=SEEDS,
    fingerprint="f",
    recipe_hash=SPACE.card.recipe_hash("quick"),
)


def row(arch, seed, **columns):
    values = {
        "key": f"{arch}-{seed}",
        "space": "models",
        "arch_index": arch,
        "arch_str": SPACE.arch_string(arch),
        "nb201_key": SPACE.nb201_key(arch),
        "functional_key": SPACE.functional_key(arch),
        "dataset": "synthetic",
        "fingerprint": "f",
        "protocol": "thesis",
        "recipe": "quick",
        "recipe_hash": ARGUMENTS.recipe_hash,
        "modality": "joint",
        "seed": seed,
        "status": schema.DONE,
        "epochs": 30,
        "params": 1000 + arch,
        "macs": 10_000 + arch,
        "train_time_s": 10.0 + arch + seed / 1000,
        "latency_ms": 1.0 + arch,
        "final_valid_top1": valid(arch, seed, 30),
        "final_test_top1": 0.4 + arch / 100 + seed / 10_000,
        "finished_at": "2026-01-01T00:00:00+00:00",
    }
    return values | columns


def valid(arch, seed, epoch):
    return 0.3 + arch / 100 + seed / 10_000 + epoch / 1000


def curve(arch, seed, epochs=(10, 20, 30)):
    records = [
        {"epoch": e, "learning_rate": 0.1, "train_loss": 1.0, "valid_top1": valid(arch, seed, e)}
        for e in epochs
    ]
    return json.dumps(records)


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """`stored(rows)` is a run with these trainings, (columns, curve) each; None: all of them."""
    monkeypatch.chdir(tmp_path)

    def store(rows=None):
        if rows is None:
            rows = [(row(a, s), curve(a, s)) for a in range(len(SPACE)) for s in SEEDS]
        run = plan_run("mine", ARGUMENTS, DataFacts(["a"], 20, 1, CLIPS))
        run.write()
        writer = ResultWriter(run.results_folder, "w")
        writer.append_all((columns, text, {}) for columns, text in rows)
        writer.close()
        return run

    return store


def check(table):
    assert table.space.name == "models"
    assert table.seeds == (777, 888)
    assert table.epochs == (10, 20, 30)
    assert table.valid.shape == (6, 2, 3)
    assert table.valid[4, 1, 2] == valid(4, 888, 30)
    assert table.valid[2, 0, 0] == valid(2, 777, 10)
    assert table.test[3, 1] == pytest.approx(0.4 + 0.03 + 0.0888)
    assert table.mean_test[3] == pytest.approx(0.43 + 0.08325)
    assert table.seconds[5, 0] == pytest.approx(15.777)
    assert table.macs.tolist() == [10_000 + arch for arch in range(6)]
    assert table.latency_ms[1] == 2.0
    assert table.has_seconds
    for said in ("synthetic", "protocol thesis", "recipe quick", "seeds 777, 888", "last epoch"):
        assert said in table.title


def test_a_run_is_a_table(stored):
    stored()
    check(load_table("mine"))


@pytest.mark.parametrize("name", ["runs/mine", "runs/mine/table.parquet"])
def test_collected_files_are_the_same_table(stored, name):
    collect(stored(), SPACE)
    check(load_table(name))


def test_a_diverged_training_counts_as_zero_and_is_said(stored):
    lost = row(2, 888, status=schema.DIVERGED, final_valid_top1=None, final_test_top1=None)
    lost |= {"train_time_s": None, "latency_ms": None}
    rows = [(row(a, s), curve(a, s)) for a in range(6) for s in SEEDS if (a, s) != (2, 888)]
    stored([*rows, (lost, "[]")])
    table = load_table("mine")
    assert table.valid[2, 1].tolist() == [0, 0, 0]
    assert table.test[2, 1] == 0
    assert table.has_seconds
    assert "1 trainings diverged" in table.remarks[0]


def test_epochs_are_those_that_every_training_was_looked_at_after(stored):
    looks = {0: (1, 10, 20, 30)}
    stored([(row(a, s), curve(a, s, looks.get(a, (10, 20, 30)))) for a in range(6) for s in SEEDS])
    assert load_table("mine").epochs == (10, 20, 30)


def test_failed_and_paused_trainings_are_none(stored):
    rows = [(row(a, s), curve(a, s)) for a in range(6) for s in SEEDS if a]
    paused = (row(0, 777, status=schema.PAUSED, epochs=10, final_valid_top1=None), curve(0, 777))
    stored([*rows, paused, (row(0, 888, status=schema.FAILED, final_valid_top1=None), "[]")])
    with pytest.raises(InputError, match=r"mine: .*1 of 6 are not trained with all 2 seeds"):
        load_table("mine")


def test_a_seed_that_not_every_architecture_has_is_left_out(stored):
    stored([(row(a, s), curve(a, s)) for a in range(6) for s in SEEDS if (a, s) != (3, 888)])
    table = load_table("mine")
    assert table.seeds == (777,)
    assert table.valid.shape == (6, 1, 3)
    assert table.valid[3, 0, 2] == valid(3, 777, 30)
    assert table.remarks == ("left out: seeds 888, which not every architecture is trained with",)


def test_what_has_no_validation_clips_is_refused(stored):
    stored([(row(a, s, final_valid_top1=None), "[]") for a in range(6) for s in SEEDS])
    with pytest.raises(InputError, match="protocol 'thesis' has no validation clips"):
        load_table("mine")


def test_what_has_no_test_accuracies_is_refused(stored):
    rows = [(row(a, s), curve(a, s)) for a in range(6) for s in SEEDS if (a, s) != (3, 888)]
    stored([*rows, (row(3, 888, final_test_top1=None), curve(3, 888))])
    with pytest.raises(InputError, match="not all trainings have a test accuracy"):
        load_table("mine")


def test_a_search_is_not_told_test_accuracies(stored):
    stored()
    table = load_table("mine").without_test()
    assert np.isnan(table.test).all()
    assert not np.isnan(table.valid).any()


def test_two_kinds_of_trainings_in_one_file_are_refused(stored):
    collect(stored(), SPACE)
    path = "runs/mine/table.parquet"
    table = pd.read_parquet(path)
    table.loc[3, "protocol"] = "odd-even"
    table.to_parquet(path)
    with pytest.raises(InputError, match="several kinds \\(protocol: thesis, odd-even\\)"):
        load_table(path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "no table 'nowhere': give a run"),
        ("nowhere.csv", "no such file"),
        ("nowhere.csv:CIFAR7", "known are CIFAR10, CIFAR100"),
        ("nowhere.parquet", "no such file; `runs collect` writes it"),
        ("text.csv", "no table of trainings"),
        ("text.parquet", "no table of trainings"),
        ("few.csv", "needs every cell once"),
        ("wrong.csv", "not NATS-Bench's table"),
    ],
)
def test_what_is_no_table_is_one_line(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.csv").write_text("some text\n")
    (tmp_path / "text.parquet").write_text("some text\n")
    head = "CIFAR10TestAccuracy200Epochs,ArchitectureString\n"
    cell = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
    (tmp_path / "few.csv").write_text(f"{head}90,{cell}\n")
    (tmp_path / "wrong.csv").write_text(f"{head}90,no cell\n")
    with pytest.raises(InputError, match=message) as raised:
        load_table(name)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "best"), [("", 94.37), (":CIFAR100", 73.51), (":ImageNet16-120", 47.31)]
)
def test_nats_benchs_table_has_its_published_optima(shared_data, name, best):
    table = load_table(f"{shared_data / 'nb201' / 'nats_bench_cifar.csv'}{name}")
    assert len(table) == 15_625
    assert 100 * table.mean_test.max() == pytest.approx(best, abs=0.006)
    assert not table.has_seconds
    assert any("test accuracies only" in remark for remark in table.remarks)


def test_rows_need_not_be_in_the_order_of_indices(shared_data, tmp_path):
    path = shared_data / "nb201" / "nats_bench_cifar.csv"
    pd.read_csv(path).iloc[::-1].to_csv(tmp_path / "backwards.csv", index=False)
    expected, found = load_table(str(path)), load_table(str(tmp_path / "backwards.csv"))
    assert np.array_equal(found.test, expected.test)
