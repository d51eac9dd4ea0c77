"""`Benchmark`: answers are the table's rows; what is left open or absent is an error."""

import dataclasses
import doctest
import math
import pickle
import shutil
import subprocess
import sys
from dataclasses import FrozenInstanceError

import numpy as np
import pandas as pd
import pytest

import nas_skeleton as ns
from nas_skeleton.errors import InputError
from nas_skeleton.published import benchmark as benchmark_module
from nas_skeleton.published import files
from nas_skeleton.published.benchmark import Benchmark
from nas_skeleton.published.publish import publish
from nas_skeleton.published.rows import NotInTable, Unspecified
from nas_skeleton.results import schema

MEASURES = [f"{s}_{m}" for s in ("train", "valid", "test") for m in schema.METRICS]


@pytest.fixture(scope="session")
def arch(made):
    """A trained architecture with both seeds."""
    return made.some[20]


@pytest.mark.parametrize("seed", [777, 888])
def test_a_row_is_that_of_the_table(benchmark, rows, made, seed):
    copies = [arch for arch, _ in rows.index[rows["status"] == schema.COPIED]]
    for arch in [*made.some[:30], *[copy for copy in copies if (copy, seed) in rows.index][:30]]:
        found, stored = benchmark.query(arch, seed=seed), rows.loc[(arch, seed)]
        assert (found.table, found.arch_index, found.seed) == ("utdmhad", arch, seed)
        assert found.arch_str == stored["arch_str"] == benchmark.space.arch_string(arch)
        assert found.functional_key == stored["functional_key"]
        assert (found.params, found.macs) == (stored["params"], stored["macs"])
        assert (found.status, found.epoch) == (stored["status"], 30)
        assert found.source_index == (
            None if pd.isna(stored["source_index"]) else stored["source_index"]
        )
        for name in ("train_time_s", "latency_ms", "peak_memory_mb"):
            assert getattr(found, name) == pytest.approx(stored[name], nan_ok=True, rel=1e-15)
        for name in MEASURES:
            assert getattr(found, name) == pytest.approx(
                stored[f"final_{name}"], nan_ok=True, rel=1e-15
            )


def test_all_notations_mean_the_same(benchmark, arch):
    space = benchmark.space
    row = benchmark.query(arch, seed=777)
    for notation in (
        np.int64(arch),
        space.arch_string(arch),
        space.matrix(arch),
        np.array(space.matrix(arch)),
        space.cell(arch),
        space.functional_key(arch),  # it is the lowest index of its class
    ):
        assert benchmark.query(notation, seed=777) == row


def test_seeds_of_any_library_are_plain_numbers_in_rows(benchmark, arch):
    seed = np.int64(777)
    assert type(benchmark.query(arch, seed=seed).seed) is int
    (only,) = benchmark.query(arch, aggregate="mean", seeds=[seed]).seeds
    assert type(only) is int


def test_rows_cannot_be_changed(benchmark, arch):
    with pytest.raises(FrozenInstanceError):
        benchmark.query(arch, seed=777).valid_top1 = 1.0


@pytest.mark.parametrize("epoch", [10, 20, 30, "last", "best"])
def test_epochs_are_those_of_the_curve(benchmark, rows, arch, epoch):
    curves = benchmark.to_pandas(level="epochs").set_index(["arch_index", "seed", "epoch"])
    stored = rows.loc[(arch, 777)]
    number = {"last": 30, "best": stored["best_epoch"]}.get(epoch, epoch)
    found = benchmark.query(arch, seed=777, epoch=epoch)
    assert found.epoch == number
    for name in MEASURES:
        assert getattr(found, name) == curves.loc[(arch, 777, number), name]
    assert found.train_time_s == pytest.approx(stored["train_time_s"] * number / 30)


def test_copies_have_the_curves_and_predictions_of_their_source(benchmark, rows):
    copy, seed = rows.index[rows["status"] == schema.COPIED][5]
    source = int(rows.loc[(copy, seed), "source_index"])
    own, theirs = (benchmark.query(of, seed=seed, epoch=10) for of in (copy, source))
    assert [getattr(own, name) for name in MEASURES] == [getattr(theirs, name) for name in MEASURES]
    predicted = (benchmark.predicted(of, "test", seed=seed) for of in (copy, source))
    assert np.array_equal(*predicted)


@pytest.mark.parametrize("how", ["mean", "median"])
def test_aggregates_are_over_the_seeds_there_are(benchmark, rows, made, how):
    for arch in (made.some[20], made.some[21]):
        found, stored = benchmark.query(arch, aggregate=how), rows.loc[arch]
        assert (found.seeds, found.diverged_seeds) == ((777, 888), ())
        for name in MEASURES:
            assert getattr(found, name) == pytest.approx(getattr(stored[f"final_{name}"], how)())
        assert found.valid_top1_sd == pytest.approx(stored["final_valid_top1"].std())
        assert found.test_top1_sd == pytest.approx(stored["final_test_top1"].std())
        assert found.train_time_s == pytest.approx(getattr(stored["train_time_s"], how)())
    (single, *_) = [a for a in range(15_625) if benchmark.seeds(a) == (777,)]
    found = benchmark.query(single, aggregate=how)
    assert found.seeds == (777,)
    assert math.isnan(found.valid_top1_sd)


def test_a_diverged_training_has_no_accuracy_and_is_in_no_mean(benchmark, made):
    arch, seed = made.lost
    assert benchmark.query(arch, seed=seed).status == schema.DIVERGED
    assert math.isnan(benchmark.query(arch, seed=seed).valid_top1)
    found = benchmark.query(arch, aggregate="mean")
    assert (found.seeds, found.diverged_seeds) == ((888,), (seed,))
    assert found.valid_top1 == benchmark.query(arch, seed=888).valid_top1


def test_which_training_is_meant_must_be_said(benchmark, arch):
    for ask in (benchmark.query, lambda _: benchmark.best(), lambda _: benchmark.pareto("macs")):
        with pytest.raises(Unspecified, match=r"give seed=777\|888 or aggregate=mean\|median"):
            ask(arch)
    with pytest.raises(Unspecified, match=r"seed=777 is one training.*'mean' is over several"):
        benchmark.query(arch, seed=777, aggregate="mean")
    for which in ({}, {"seed": 777}):
        with pytest.raises(Unspecified, match=r"seeds= is for an aggregate: .*mean\|median"):
            benchmark.query(arch, seeds=(777,), **which)
    with pytest.raises(ValueError, match=r"give seed=777\|888"):
        benchmark.simulate()


def test_what_is_not_there_is_an_error_that_lists_what_is(benchmark, arch):
    (single, *_) = [a for a in range(15_625) if benchmark.seeds(a) == (777,)]
    for ask, message in (
        (lambda: benchmark.query(arch, seed=1), "no seed 1: it has 777, 888"),
        (lambda: benchmark.query(single, seed=888), f"{single} with seed 888: it has seeds 777"),
        (lambda: benchmark.query(arch, seed=777, epoch=7), "no epoch 7: .* after 10, 20, 30"),
        (lambda: benchmark.query(arch, aggregate="max"), "no aggregate 'max': .* mean, median"),
        (lambda: benchmark.query(arch, "ntu60", seed=777), "no table 'ntu60'.*utdmhad"),
        (lambda: benchmark.query(arch, ["utdmhad"], seed=777), r"no table \['utdmhad'\]"),
        (lambda: benchmark.array("accuracy"), "there are arch_index, seed,"),
        (lambda: benchmark.curves("accuracy"), "learning_rate, train_loss"),
        (lambda: benchmark.predicted(arch, "train", seed=777), "'train' clips: .* valid, test"),
        (lambda: benchmark.best(seed=777, max_macs=5), r"within the limits: macs from 3\.385e\+06"),
        (lambda: benchmark.to_pandas(level="clip"), "there are trainings, epochs"),
    ):
        with pytest.raises(NotInTable, match=message) as raised:
            ask()
        assert isinstance(raised.value, InputError)
        assert isinstance(raised.value, KeyError)
        assert not str(raised.value).startswith(("'", '"'))
    for wrong, message in ((15_625, "0 to 15624"), ("|x|", "malformed"), ([[0]], "4 rows of 4")):
        with pytest.raises(NotInTable, match=message):
            benchmark.query(wrong, seed=777)


def test_an_aggregate_can_be_over_some_of_the_seeds(benchmark, arch):
    both = benchmark.query(arch, aggregate="mean")
    assert benchmark.query(arch, aggregate="mean", seeds=[777, 888]) == both
    one, row = (
        benchmark.query(arch, aggregate="mean", seeds=(888,)),
        benchmark.query(arch, seed=888),
    )
    assert (one.seeds, one.valid_top1, one.train_time_s) == (
        (888,),
        row.valid_top1,
        row.train_time_s,
    )
    (single, *_) = [a for a in range(15_625) if benchmark.seeds(a) == (777,)]
    with pytest.raises(NotInTable, match=f"no row for architecture {single} with seed 888"):
        benchmark.query(single, aggregate="mean", seeds=(777, 888))
    for wrong in ((), (777, 777), 777, "777"):
        with pytest.raises(Unspecified, match=r"different ones of 777, 888, such as seeds="):
            benchmark.query(arch, aggregate="mean", seeds=wrong)


def test_what_is_given_wrongly_is_named(benchmark, arch):
    key = "|nor_conv_3x3"
    for ask, message in (
        (lambda: Benchmark("utdmhad"), r"opened by Benchmark\.load\('utdmhad'\)"),
        (
            lambda: benchmark.query("6111", seed=777),
            "'6111': an index is given without quotes: 6111",
        ),
        (lambda: benchmark.query("resnet", seed=777), "'resnet': a text is an architecture string"),
        (lambda: benchmark.query(key, seed=777), "malformed architecture string"),
        (lambda: benchmark.query(arch, seed="777"), "no seed '777': it has 777, 888; .*quotes"),
        (lambda: benchmark.query(arch, seed=[777]), r"no seed \[777\]: .*one number"),
        (lambda: benchmark.query(arch, 777), "no table 777 is loaded: .*given as seed="),
        (lambda: benchmark.best(seed=777, max_macs="20M"), "max_macs='20M': a limit is a number"),
        (lambda: benchmark.best(seed=777, max_params=-1), "max_params=-1: a limit is .* from 0"),
        (lambda: benchmark.best(seed=777, max_latency_ms=math.nan), "max_latency_ms=nan: a limit"),
        (
            lambda: benchmark.pareto("flops", seed=777),
            "'flops': there are macs, params, latency_ms",
        ),
        (lambda: benchmark.array("valid_top1"), "is final_valid_top1, or best_valid_top1; there"),
    ):
        with pytest.raises(InputError, match=message):
            ask()


def test_attributes_of_rows_are_the_documented_columns(benchmark, rows, arch):
    stored = rows.reset_index().set_index(["arch_index", "seed"], drop=False).loc[(arch, 777)]
    for epoch, prefix, number in (("last", "final_", "epochs"), ("best", "best_", "best_epoch")):
        row = benchmark.query(arch, seed=777, epoch=epoch)
        for field in dataclasses.fields(row):
            column = {"epoch": number}.get(
                field.name, prefix + field.name if field.name in MEASURES else field.name
            )
            if column == "table" or (epoch == "best" and column == "train_time_s"):
                continue
            own = stored[column]
            assert getattr(row, field.name) == (None if pd.isna(own) else own), column
    assert "table" not in rows.columns


def test_neighbours_differ_in_one_operation(benchmark, arch):
    found = benchmark.neighbours(benchmark.space.arch_string(arch))
    own = benchmark.space.cell(arch).operations
    differing = [
        sum(a != b for a, b in zip(own, benchmark.space.cell(n).operations, strict=True))
        for n in found
    ]
    assert differing == [1] * 24


def test_arrays_are_the_rows(benchmark, rows):
    valid, curves = benchmark.array("final_valid_top1"), benchmark.curves("train_loss")
    assert (valid.shape, curves.shape) == ((15_625, 2), (15_625, 2, 3))
    wide = rows["final_valid_top1"].unstack("seed").reindex(range(15_625))
    assert np.array_equal(valid, wide.to_numpy(), equal_nan=True)
    lines = benchmark.to_pandas(level="epochs")
    for line in lines.sample(50, random_state=1).to_dict("records"):
        at = (line["arch_index"], (777, 888).index(line["seed"]), (10, 20, 30).index(line["epoch"]))
        assert curves[at] == line["train_loss"]


def test_predictions_compare_two_cells_without_the_data_set(benchmark, made):
    clips = benchmark.clips("test")
    assert len(clips.ids) == made.counts["test"]
    right = []
    for arch in made.some[10:12]:
        hits = benchmark.predicted(arch, "test", seed=888) == clips.labels
        assert hits.mean() == pytest.approx(benchmark.query(arch, seed=888).test_top1)
        right.append(hits)
    first_only, second_only = (right[0] & ~right[1]).sum(), (right[1] & ~right[0]).sum()
    difference = right[0].sum() - right[1].sum()
    assert first_only - second_only == difference  # what McNemar's test is about


def test_frames_are_those_that_pandas_reads(benchmark, whole):
    for level, name in (("trainings", files.TABLE), ("epochs", files.CURVES)):
        pd.testing.assert_frame_equal(benchmark.to_pandas(level), pd.read_parquet(whole / name))


def test_of_several_tables_one_must_be_named(benchmark, few, whole, made):
    publish([few], "small", whole.parent / "others")
    both = Benchmark.load(whole, whole.parent / "others" / "small")
    arch = made.some[0]
    assert both.datasets == ["utdmhad", "small"]
    with pytest.raises(Unspecified, match=r"dataset=utdmhad\|small"):
        both.query(arch, seed=777)
    assert both.query(arch, "small", seed=777).table == "small"
    assert both.query(arch, "utdmhad", seed=777).table == "utdmhad"
    shutil.rmtree(whole.parent / "others")


def test_two_tables_of_one_name_are_not_told_apart_and_refused(small, copied):
    with pytest.raises(InputError, match="two tables are called 'utdmhad'") as raised:
        Benchmark.load(small, copied)
    assert f"{small} and {copied}: " in str(raised.value)


def test_tables_are_found_by_name_in_the_working_folder(copied, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert ns.Benchmark.load("utdmhad").manifest().name == "utdmhad"
    assert ns.Benchmark.load("runs/published/utdmhad").manifest().name == "utdmhad"
    with pytest.raises(InputError, match=r"no published table 'ntu': there are .*utdmhad"):
        ns.Benchmark.load("ntu")
    with pytest.raises(InputError, match=r"which table\? there are .*utdmhad"):
        ns.Benchmark.load()


def test_the_example_in_the_docstring_runs(copied, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
    done = doctest.testmod(benchmark_module, optionflags=flags)
    assert done.attempted >= 6
    assert done.failed == 0


def test_loading_brings_in_neither_torch_nor_pandas(whole):
    program = (
        "import sys, nas_skeleton as ns\n"
        "table = ns.Benchmark.load(sys.argv[1])\n"
        "table.query(0, seed=777, epoch=10); table.predicted(0, 'test', seed=777)\n"
        "sys.exit(' '.join({'torch', 'pandas', 'scipy'} & sys.modules.keys()))"
    )
    command = [sys.executable, "-c", program, str(whole)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


def test_another_process_has_the_same_tables(benchmark, arch):
    benchmark.query("y=2x", seed=777)  # whatever was asked before
    benchmark.to_pandas("epochs")
    there = pickle.loads(pickle.dumps(benchmark))
    assert repr(there) == repr(benchmark)
    assert there.query(arch, seed=777) == benchmark.query(arch, seed=777)


@pytest.mark.parametrize("wrong", [5, None, ["utdmhad"]])
def test_what_is_no_name_is_said(wrong):
    with pytest.raises(InputError, match="is neither a name nor a path: there are"):
        Benchmark.load(wrong)


def test_files_are_those_that_are_documented(whole):
    assert {path.name for path in whole.iterdir()} == {
        *(files.MANIFEST, files.DATASHEET, files.CROISSANT),
        *files.DATA,
    }
