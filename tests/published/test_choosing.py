"""What a table lets choose: the best, fronts, simulated and replayed searches; by validation."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nas_skeleton.analysis.replay import Terms, replay
from nas_skeleton.errors import InputError
from nas_skeleton.published import files
from nas_skeleton.published.benchmark import Benchmark
from nas_skeleton.published.find import find_search_table
from nas_skeleton.published.publish import publish
from nas_skeleton.published.ranking import leader
from nas_skeleton.published.rows import NotInTable
from nas_skeleton.results.table import load_table

HERE = Path("published")


@pytest.mark.parametrize(
    "limits", [{}, {"max_macs": 2e7}, {"max_params": 4e5}, {"max_latency_ms": 2}]
)
@pytest.mark.parametrize("which", [{"seed": 777}, {"aggregate": "mean"}])
@pytest.mark.parametrize("epoch", ["last", 10])
def test_the_best_is_that_by_validation_within_limits(benchmark, which, limits, epoch):
    frame = benchmark.to_pandas()
    curves = benchmark.curves("valid_top1")[:, :, 0]
    if epoch == 10:
        at = frame["seed"].map({777: 0, 888: 1})
        frame["final_valid_top1"] = curves[frame["arch_index"], at]
    if "seed" in which:
        frame = frame[frame["seed"] == which["seed"]].set_index("arch_index")
    else:
        by = frame.groupby("arch_index")
        whole = by["final_valid_top1"].count() == 2
        columns = ["final_valid_top1", "macs", "params", "latency_ms"]
        frame = by[columns].mean()[whole]
    for name, limit in limits.items():
        frame = frame[frame[name.removeprefix("max_")] <= limit]
    order = frame.reset_index().sort_values(
        ["final_valid_top1", "macs", "arch_index"], ascending=[False, True, True]
    )
    found = benchmark.best(**which, **limits, epoch=epoch)
    assert found.row == benchmark.query(order["arch_index"].iloc[0], **which, epoch=epoch)
    assert found.row.valid_top1 == pytest.approx(order["final_valid_top1"].iloc[0])


@pytest.mark.parametrize(
    ("which", "seeds"),
    [
        ({"seed": 777}, [777]),
        ({"seed": 888}, [888]),
        ({"aggregate": "mean"}, [777, 888]),
        ({"aggregate": "median", "seeds": (777,)}, [777]),
        ({"aggregate": "mean", "seeds": [888, 777]}, [777, 888]),
    ],
)
def test_how_many_competed_and_how_many_lacked_a_seed_is_told(benchmark, rows, which, seeds):
    valid = rows["final_valid_top1"].unstack("seed")[seeds]
    complete = valid.dropna()
    macs = rows["macs"].groupby("arch_index").first()[complete.index]
    found = benchmark.best(**which, max_macs=1e7)
    assert found.competed == (macs <= 1e7).sum()
    assert found.over_limits == (macs > 1e7).sum()
    assert found.lacking_seeds == len(valid) - len(complete)
    keys = rows["functional_key"].groupby("arch_index").first()
    assert found.functions == keys[macs.index[macs <= 1e7]].nunique()
    front = benchmark.pareto("macs", **which)
    counts = (front.competed, front.functions, front.lacking_seeds, front.unmeasured)
    assert counts == (
        len(complete),
        keys[complete.index].nunique(),
        len(valid) - len(complete),
        0,
    )


def test_where_none_has_all_seeds_it_is_told_how_many_have_each(few, made):
    lonely = made.make_run("lonely", [made.training(made.some[0], 777)])
    other = made.make_run("other", [made.training(made.some[-1], 888)])
    publish([lonely, other], "disjoint", HERE)
    table = Benchmark.load(HERE / "disjoint")
    n777, n888 = (len(table.archs(seed=seed)) for seed in (777, 888))
    with pytest.raises(
        NotInTable, match=f"choose some, for there are 777 of {n777}, 888 of {n888}"
    ):
        table.best(aggregate="mean")
    assert table.best(aggregate="mean", seeds=(888,)).row.arch_index in table.archs(seed=888)


@pytest.mark.parametrize("cost", ["macs", "params", "latency_ms"])
def test_nothing_beats_the_front_in_both(benchmark, cost):
    front = benchmark.pareto(cost, seed=777).rows
    costs, valid = benchmark.array(cost)[:, 0], benchmark.array("final_valid_top1")[:, 0]
    assert [getattr(row, cost) for row in front] == sorted({getattr(row, cost) for row in front})
    for arch in range(0, 15_625, 7):
        at_most = [row.valid_top1 for row in front if getattr(row, cost) <= costs[arch]]
        assert np.isnan(valid[arch]) or max(at_most) >= valid[arch]
    for row in front:
        better = (costs <= getattr(row, cost)) & (valid > row.valid_top1)
        assert not better.any()


def test_the_clock_is_the_sum_of_stored_times(benchmark, rows, made):
    simulation = benchmark.simulate(seed=777)
    spent = 0.0
    for arch in made.some[10:20]:
        answer = simulation.train(arch, epoch=20)
        stored = rows.loc[(arch, 777)]
        spent += stored["train_time_s"] * 20 / 30
        assert answer.clock_s == simulation.clock_s == pytest.approx(spent)
        assert answer.valid_top1 == benchmark.query(arch, seed=777, epoch=20).valid_top1
        assert not [name for name in answer.__slots__ if "test" in name]
    lost = simulation.train(made.lost[0])
    assert lost.valid_top1 == 0
    trained = rows.xs(777, level="seed").query("status == 'done' and engine != 'analytic'")
    assert lost.cost_s == trained["train_time_s"].median()  # copies took nothing
    assert lost.cost_s != rows.xs(777, level="seed")["train_time_s"].median()
    best = simulation.train(made.some[10], epoch="best")
    assert best.valid_top1 == rows.loc[(made.some[10], 777), "best_valid_top1"]
    assert best.cost_s == rows.loc[(made.some[10], 777), "train_time_s"]  # it is known at the end
    simulation.reset()
    assert simulation.clock_s == 0


def test_strategies_replay_on_the_seeds_that_are_complete(benchmark):
    table = benchmark.search_table()
    assert table.seeds == (777,)
    assert any("seeds 888" in remark for remark in table.remarks)
    assert any(remark.startswith("1 trainings diverged") for remark in table.remarks)
    trace = replay("regularized-evolution", table, Terms(trials=30), seed=1)
    best = benchmark.query(int(trace.incumbent[-1]), seed=777)
    assert best.valid_top1 == trace.valid[-1]


def test_a_protocol_without_validation_clips_lets_nothing_choose(copied):
    table = Benchmark.load(copied)
    table.manifest().clips["valid"] = 0
    for ask in (table.best, partial(table.pareto, "macs"), table.simulate):
        with pytest.raises(InputError, match="no validation clips, and nothing else may choose"):
            ask(seed=777)


def test_the_best_says_how_many_functions_are_as_good(benchmark, rows):
    best = benchmark.best(seed=777)
    of_seed = rows.xs(777, level="seed")
    equal = of_seed[of_seed["final_valid_top1"] == best.row.valid_top1]
    assert best.tied == equal["functional_key"].nunique() > 1


def test_an_epoch_after_which_only_others_were_evaluated_is_said(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    row, curve, predictions = made.training(made.some[0], 777)
    fewer = json.dumps([point for point in json.loads(curve) if point["epoch"] != 10])
    others = made.training(made.some[1], 777)
    publish([made.make_run("rungs", [(row, fewer, predictions), others])], "t", tmp_path)
    table = Benchmark.load(tmp_path / "t")
    assert table.query(made.some[1], seed=777, epoch=10).epoch == 10
    for ask in (partial(table.query, seed=777), table.simulate(seed=777).train):
        with pytest.raises(NotInTable, match="with seed 777 was not evaluated after epoch 10"):
            ask(made.some[0], epoch=10)
    assert len(table.pareto("macs", seed=777, epoch=10).rows) == 1


def test_means_over_three_seeds_that_are_equal_but_for_rounding_are_equal():
    thirds = np.array([0.7 + 0.1 + 0.3, 0.3 + 0.1 + 0.7, 0.5]) / 3
    assert thirds[0] != thirds[1]
    for order in ([0, 1, 2], [1, 0, 2]):
        assert leader(thirds[order], np.array([2.0, 1.0, 3.0]), np.full(3, True)) == 1
        assert leader(thirds[order], np.array([1.0, 1.0, 3.0]), np.full(3, True)) == 0


def test_a_table_is_searched_on_by_its_name(copied, monkeypatch):
    monkeypatch.chdir(copied.parent.parent.parent)
    found = find_search_table("utdmhad")
    assert len(found) == 15_625
    plain = load_table(str(copied))
    for name, value in vars(plain).items():
        if name != "space":
            np.testing.assert_array_equal(vars(found)[name], value)
    with pytest.raises(InputError, match="no table 'elsewhere'"):
        find_search_table("elsewhere")


@pytest.mark.parametrize("name", [files.TABLE, files.CURVES])
def test_a_table_that_was_tampered_with_is_not_searched_on(copied, monkeypatch, name):
    monkeypatch.chdir(copied.parent.parent.parent)
    benchmark = Benchmark.load(copied)
    frame = pd.read_parquet(copied / name)
    frame[[column for column in frame if column.endswith("valid_top1")]] = 1.0
    frame.to_parquet(copied / name)
    for source in ("utdmhad", copied, copied / files.TABLE, "runs/published/utdmhad/"):
        with pytest.raises(InputError, match=rf"{name}: .* the manifest says"):
            find_search_table(str(source))
    if name == files.CURVES:  # the table is in memory
        with pytest.raises(InputError, match=rf"{name}: .* the manifest says"):
            benchmark.search_table()
