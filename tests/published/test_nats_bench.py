"""Scripts written for NATS-Bench run on published tables, and mean the same by the same names."""

import math
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nas_skeleton.adapters.nats_bench import create
from nas_skeleton.errors import InputError
from nas_skeleton.published.publish import publish
from nas_skeleton.published.rows import NotInTable

# The table of these tests has a second seed for some architectures only.
pytestmark = pytest.mark.filterwarnings("ignore:find_best:UserWarning")

SCRIPT = Path(__file__).parent / "nats_bench_script.py"
THEIRS, OURS = "from nats_bench import", "from nas_skeleton.adapters.nats_bench import"
# The example in the docstrings of NATS-Bench's `str2lists` and `str2matrix`.
EXAMPLE = "|nor_conv_1x1~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|"


@pytest.fixture(scope="session")
def api(whole):
    return create(str(whole), "tss", fast_mode=True, verbose=False)


@pytest.fixture(scope="session")
def index(made):
    """A trained architecture with both seeds."""
    return made.some[20]


def test_a_script_runs_unchanged_but_for_its_import(copied, tmp_path, rows, benchmark):
    text = SCRIPT.read_text()
    assert text.count(THEIRS) == 1
    (tmp_path / "search.py").write_text(text.replace(THEIRS, OURS))
    command = [sys.executable, "search.py", "--dataset", "utdmhad", "--api_path", "utdmhad"]
    runs = [
        subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        for _ in range(2)
    ]
    assert runs[0].returncode == 0, runs[0].stderr
    assert runs[0].stdout == runs[1].stdout  # the script seeds `random`, and all goes by that
    said = runs[0].stdout
    assert said.startswith("15625 architectures, the first is |avg_pool_3x3~0|+|nor_conv_1x1~0|")
    spent = re.findall(r": (\d+) architectures in ([\d.]+) seconds\nused_time ([\d.]+)", said)
    assert len(spent) == 2
    for count, seconds, used in spent:
        assert seconds == used
        assert float(seconds) >= 2000
        assert 100 < int(count) < 400  # 5 to 20 seconds each
    for line in re.findall(r"best (\d+) valid ([\d.]+) test ([\d.]+)\nflops ([\d.]+)", said):
        own = rows.loc[int(line[0])]
        assert float(line[1]) == pytest.approx(100 * own["final_valid_top1"].mean(), abs=1e-4)
        assert float(line[2]) == pytest.approx(100 * own["final_test_top1"].mean(), abs=1e-4)
        assert float(line[3]) == pytest.approx(own["macs"].iloc[0] / 1e6)


def test_units_are_percent_millions_and_seconds(api, rows, index):
    stored = rows.loc[(index, 777)]
    info = api.get_more_info(index, "utdmhad", hp="200", is_random=777)
    assert info["valid-accuracy"] == 100 * stored["final_valid_top1"]
    assert info["test-accuracy"] == 100 * stored["final_test_top1"]
    assert info["train-all-time"] == pytest.approx(stored["train_time_s"])
    assert info["train-per-time"] == pytest.approx(stored["train_time_s"] / 30)
    assert math.isnan(info["valid-loss"])
    cost = api.get_cost_info(index, "utdmhad")
    assert cost["params"] == stored["params"] / 1e6
    assert cost["flops"] == stored["macs"] / 1e6
    assert cost["latency"] == pytest.approx(rows.loc[index, "latency_ms"].mean() / 1e3)


def test_epochs_count_from_zero(api, benchmark, index):
    info = api.get_more_info(index, "utdmhad", iepoch=9, is_random=888)
    row = benchmark.query(index, seed=888, epoch=10)
    assert info["valid-accuracy"] == 100 * row.valid_top1
    assert info["train-loss"] == benchmark.curves("train_loss")[index, 1, 0]
    assert info["train-all-time"] == row.train_time_s
    with pytest.raises(NotInTable, match="no iepoch 10, from 0: it has 9, 19, 29"):
        api.get_more_info(index, "utdmhad", iepoch=10)


def test_random_is_one_seed_and_false_is_the_mean(api, benchmark, index):
    single = {100 * benchmark.query(index, seed=seed).valid_top1 for seed in (777, 888)}
    random.seed(3)
    found = {api.get_more_info(index, "utdmhad")["valid-accuracy"] for _ in range(30)}
    assert found == single
    mean = api.get_more_info(index, "utdmhad", is_random=False)["valid-accuracy"]
    assert mean == pytest.approx(sum(single) / 2)


def test_the_clock_goes_on_only_where_time_is_accounted(api, index):
    api.reset_time()
    *_, first, total = api.simulate_train_eval(index, "utdmhad")
    assert total == first == api.used_time > 0
    api.simulate_train_eval(index, "utdmhad", account_time=False)
    assert api.used_time == first
    *_, second, total = api.simulate_train_eval(api.arch(index), "utdmhad", iepoch=19)
    assert api.used_time == total == pytest.approx(first + second)


def test_find_best_is_the_highest_mean_of_those_with_all_seeds(api, rows):
    for on_set, column in (("valid", "final_valid_top1"), ("ori-test", "final_test_top1")):
        by_arch = rows.groupby("arch_index")
        means = by_arch[column].mean()[by_arch[column].count() == 2]
        assert api.find_best("utdmhad", on_set)[1] == pytest.approx(100 * means.max())
        within = means[by_arch["macs"].first()[means.index] <= 10e6]
        index, accuracy = api.find_best("utdmhad", on_set, 10)
        assert accuracy == pytest.approx(100 * within.max())
        assert within[index] == pytest.approx(within.max())


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({}, {}),
        ({"flop_max": 12}, {"max_macs": 12e6}),
        ({"FLOP_max": 12}, {"max_macs": 12e6}),
        ({"param_max": 0.2, "enforce_all": True}, {"max_params": 2e5}),
        ({"flop_max": 12, "Param_max": 0.25}, {"max_macs": 12e6, "max_params": 2.5e5}),
    ],
)
def test_find_best_agrees_with_the_benchmark_on_validation(api, benchmark, theirs, ours):
    index, accuracy = api.find_best("utdmhad", "x-valid", **theirs)
    best = benchmark.best(aggregate="mean", **ours).row
    assert (index, accuracy) == (best.arch_index, pytest.approx(100 * best.valid_top1))
    info = api.get_more_info(index, "utdmhad", is_random=False)
    assert accuracy == pytest.approx(info["valid-accuracy"])


def test_chosen_seeds_are_the_only_ones_that_answer(whole, rows, made):
    one = create(str(whole), verbose=False, seeds=[777])
    arch = made.some[20]
    stored = rows.loc[(arch, 777)]
    for is_random in (True, False, 777):
        info = one.get_more_info(arch, "utdmhad", is_random=is_random)
        assert info["test-accuracy"] == pytest.approx(100 * stored["final_test_top1"])
    assert one.get_cost_info(arch, "utdmhad")["T-train@total"] == stored["train_time_s"]
    assert one.query_meta_info_by_index(arch).get_dataset_seeds("utdmhad") == [777]
    found, accuracy = one.find_best("utdmhad", "valid")
    of_seed = rows.xs(777, level="seed")["final_valid_top1"]
    assert accuracy == pytest.approx(100 * of_seed.max())
    assert of_seed[found] == of_seed.max()
    assert len(create(str(whole), verbose=False, seeds=[888]).evaluated_indexes) < len(of_seed)
    with pytest.raises(NotInTable, match="no seed 5: it has 777, 888"):
        create(str(whole), verbose=False, seeds=[777, 5])
    lacking = next(arch for arch in of_seed.index if (arch, 888) not in rows.index)
    with pytest.raises(NotInTable, match=f"no row for architecture {lacking} with seed 888"):
        create(str(whole), seeds=[888]).get_cost_info(lacking, "utdmhad")


def test_find_best_warns_of_those_that_do_not_compete_and_of_limits_in_units(whole, api):
    with pytest.warns(UserWarning, match=r"of 15,625 architectures .* and only these compete"):
        api.find_best("utdmhad", "valid")
    one = create(str(whole), verbose=False, seeds=[777])
    with pytest.warns(UserWarning, match="limits are in millions, .* 2e\\+09 limits nothing"):
        one.find_best("utdmhad", "valid", flop_max=2e9)


def test_nothing_within_the_limits_is_said(api):
    with pytest.raises(NotInTable, match="'utdmhad' has no architecture that finished with all"):
        api.find_best("utdmhad", "valid", flop_max=1)


def test_what_was_evaluated_is_told_apart_from_the_space(few, made):
    publish([few], "small", Path("published"))
    api = create("published/small", verbose=False)
    assert len(api) == len(api.meta_archs) == len(list(api)) == 15_625
    members = [api.benchmark.space.functional_classes()[key] for key in _keys(api, made.some[:3])]
    assert api.evaluated_indexes == {arch for of in members for arch in of}
    assert sorted(api.arch2infos_dict) == sorted(api.evaluated_indexes)
    assert sum(api.statistics("small", 12).values()) == len(api.evaluated_indexes)
    missing = next(arch for arch in range(15_625) if arch not in api.evaluated_indexes)
    for ask in (
        lambda: api.get_more_info(missing, "small"),
        lambda: api.query_by_index(missing),
        lambda: api.arch2infos_dict[missing],
    ):
        with pytest.raises(NotInTable, match=f"row for architecture {missing}"):
            ask()


def _keys(api, archs):
    return [api.benchmark.space.functional_key(arch) for arch in archs]


def test_query_by_index_gives_trainings_by_seed(api, rows, index):
    trainings = api.query_by_index(index, "utdmhad", "200")
    assert list(trainings) == [777, 888]
    one, stored = trainings[888], rows.loc[(index, 888)]
    assert one.get_eval("x-valid")["accuracy"] == 100 * stored["final_valid_top1"]
    assert one.get_train(9)["iepoch"] == 9
    assert one.get_latency() == pytest.approx(stored["latency_ms"] / 1e3)
    assert (one.params, one.flop) == (stored["params"] / 1e6, stored["macs"] / 1e6)
    assert one.get_total_epoch() == 30
    of_all = api.query_by_index(index)
    assert of_all.get_dataset_seeds("utdmhad") == [777, 888]
    mean = of_all.get_metrics("utdmhad", "ori-test")["accuracy"]
    assert mean == pytest.approx(100 * rows.loc[index, "final_test_top1"].mean())


def test_architectures_have_the_notations_of_nats_bench(api):
    assert api.str2lists(EXAMPLE) == [
        (("nor_conv_1x1", 0),),
        (("none", 0), ("none", 1)),
        (("none", 0), ("none", 1), ("skip_connect", 2)),
    ]
    expected = np.array([[0, 0, 0, 0], [2, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]])
    assert np.array_equal(api.str2matrix(EXAMPLE), expected)
    assert api.arch(api.query_index_by_arch(EXAMPLE)) == EXAMPLE
    assert api.query_index_by_arch("no architecture") == -1
    assert len(api) == 15_625
    assert api.query_index_by_arch(np.int64(7)) == 7
    assert api.query_index_by_arch(None) == -1
    with pytest.raises(ValueError, match="0 to 15624"):
        api.query_index_by_arch(15_625)


def test_what_scripts_take_from_the_inside_is_there(api, rows, index):
    """Names that NATS-Bench does not document and public code uses all the same."""
    api._prepare_info(index)
    info = api.arch2infos_dict[index]["200"]
    one, stored = info.all_results[("utdmhad", 888)], rows.loc[(index, 888)]
    assert info.dataset_seed == {"utdmhad": [777, 888]}
    assert info.get_compute_costs("utdmhad") == api.get_cost_info(index, "utdmhad")
    assert info.get_total_epoch() == one.epochs == api.full_train_epochs == 30
    assert info.arch_idx_str() == f"{index:06d}"
    assert one.train_acc1es[29] == 100 * stored["final_train_top1"]
    assert one.eval_acc1es["ori-test@29"] == 100 * stored["final_test_top1"]
    assert list(one.train_losses) == [9, 19, 29]
    assert one.get_eval_set() == ["x-valid", "ori-test"]
    assert one.get_times()["T-train@total"] == stored["train_time_s"]
    config = one.get_config(api.str2lists)
    assert config["genotype"] == api.str2lists(api[index])
    assert api.archstr2index[api[index]] == index
    assert len({api.get_unique_str(arch) for arch in range(0, 15_625, 5)}) < 3_125
    assert api.get_unique_str(api[index]) == api.benchmark.space.nb201_key(index)
    assert "test: 40 clips" in api.get_more_info(index, "utdmhad")["comment"]
    api.arch2infos_dict.clear()
    api.clear_params(index, "200")
    api.reload(index=index)
    assert api.query_by_index(index, "utdmhad", hp=200)[777].get_latency() > 0


def test_weights_are_refused_with_a_reason(api, index):
    training = api.query_by_index(index, "utdmhad")[777]
    for ask in (
        lambda: api.get_net_param(index, "utdmhad", None),
        lambda: api.query_by_index(index).get_net_param("utdmhad", 777),
        lambda: training.get_net_param(),
    ):
        with pytest.raises(InputError, match=r"'utdmhad' holds no weights: .*train --arch \d+`"):
            ask()


def test_a_diverged_training_has_no_accuracy_and_took_no_time(api, made):
    arch, seed = made.lost
    info = api.get_more_info(arch, "utdmhad", is_random=seed)
    assert (info["valid-accuracy"], info["train-all-time"]) == (0, 0)


def test_the_rest_of_the_names_is_there(api, capsys, index):
    api.show(index)
    assert f"arch-index={index}" in capsys.readouterr().out
    assert api.get_net_config(index, "utdmhad") == {
        "name": "infer.tiny",
        "C": 16,
        "N": 5,
        "arch_str": api[index],
        "num_classes": 4,
    }
    counts = api.statistics("utdmhad", 200)
    assert sum(counts.values()) == 15_625
    assert set(counts) == {1, 2}
    random.seed(5)
    assert api.random() == random.Random(5).randint(0, 15_624)
    assert repr(api) == "NATStopology(utdmhad: 15625 of 15625 architectures)"


def test_what_tables_do_not_have_is_said(api, whole, index):
    with pytest.raises(NotInTable, match="no table 'cifar10' is loaded: there are utdmhad"):
        api.get_more_info(index, "cifar10")
    with pytest.raises(NotInTable, match="no hp '90': there are 12, 200, 30"):
        api.get_more_info(index, "utdmhad", hp="90")
    with pytest.raises(InputError, match="'sss': published tables have 'tss' only"):
        create(str(whole), "sss")
