"""Optuna's samplers as strategies: proposals, trade-offs, repeats over seeds, and the export."""

import itertools
import random
import statistics

import numpy as np
import optuna
import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.spaces import load_any_space, load_space
from nas_skeleton.spaces.choices import choices, chosen, values_of
from nas_skeleton.strategies import Random, Result, Search, Setting, Trial, build_strategy
from nas_skeleton.strategies.optuna_search import WilcoxonSearch, export_study

SPACE = load_space("nb201")
MODELS = load_any_space("models")


def accuracy(asked, landscape, noise=0.0):
    """The mean over a trial's seeds, each with noise of its own."""
    draws = (np.random.default_rng([asked.arch_index, seed]).normal() for seed in asked.seeds)
    return float(landscape.full[asked.arch_index]) + noise * statistics.fmean(draws)


def run(name, answer, *, trials, seed=0, seeds=1, parallel=1, space=SPACE, draw=None):
    """The strategy after its search, and what it asked for."""
    setting = Setting(space, seed, seeds=seeds, trials=trials)
    strategy = build_strategy(name, setting)
    search = Search(strategy, setting, parallel=parallel)
    asked, under_way = [], []
    while True:
        while (found := search.next()) is not None:
            asked.append(found)
            under_way.append(found)
        if not under_way:
            return strategy, asked
        done = under_way.pop(draw.randrange(len(under_way)) if draw else 0)
        search.finish(done, answer(done))


def plain(trials):
    """All that a study knows of its trials, but for dates."""
    return [
        (t.number, t.state, t.values, t.params, t.user_attrs, t.intermediate_values) for t in trials
    ]


def trials_of(strategy):
    return strategy.study.get_trials(deepcopy=False)


@pytest.fixture(scope="module")
def macs(landscape):
    """Of every cell: more for each operation that the best cell has too, so that good is dear."""
    best = SPACE.cell(int(np.argmax(landscape.full))).operations
    return [
        sum(a == b for a, b in zip(SPACE.cell(index).operations, best, strict=True))
        for index in range(len(SPACE))
    ]


# --- choices


def test_choices_name_every_architecture_and_back():
    assert list(choices(SPACE)) == [
        "edge_0_1",
        "edge_0_2",
        "edge_1_2",
        "edge_0_3",
        "edge_1_3",
        "edge_2_3",
    ]
    for space in (SPACE, MODELS):
        for index in (*range(len(MODELS)), len(space) - 1):
            assert chosen(space, values_of(space, index)) == index
    assert values_of(SPACE, 6111)["edge_2_3"] in SPACE.arch_string(6111)
    assert values_of(MODELS, 0) == {"model": MODELS.arch_string(0)}


# --- proposals


def test_the_study_says_what_was_proposed_and_told(landscape):
    strategy, asked = run("tpe", lambda a: Result(accuracy(a, landscape)), trials=12)
    assert [t.user_attrs["arch_index"] for t in trials_of(strategy)] == [
        a.arch_index for a in asked
    ]
    for trial in trials_of(strategy):
        index = trial.user_attrs["arch_index"]
        assert trial.user_attrs["arch_str"] == SPACE.arch_string(index)
        assert trial.params == values_of(SPACE, index)
        assert trial.values == [float(landscape.full[index])]


@pytest.mark.parametrize("name", ["tpe", "tpe-wilcoxon", "nsga2", "optuna:BruteForceSampler"])
def test_a_continued_search_makes_the_identical_study(name, landscape, macs):
    stored = {}

    def train(asked):
        key = asked.arch_index, asked.seeds
        return stored.setdefault(
            key, Result(accuracy(asked, landscape, 0.1), macs[asked.arch_index], 1.0)
        )

    full, asked = run(name, train, trials=30, seeds=3, parallel=3, draw=random.Random(1))
    known = len(stored)
    again, asked_again = run(name, train, trials=30, seeds=3, parallel=3, draw=random.Random(2))
    assert plain(trials_of(again)) == plain(trials_of(full))
    assert asked_again == asked
    assert len(stored) == known


def test_proposals_under_way_at_once_differ(landscape):
    strategy, _ = run("tpe", lambda a: Result(accuracy(a, landscape)), trials=40)
    assert len({strategy.ask() for _ in range(8)}) >= 6


def test_tpe_finds_better_cells_than_random_search(landscape):
    def best(name, seed):
        _, asked = run(name, lambda a: Result(accuracy(a, landscape)), trials=100, seed=seed)
        return max(float(landscape.full[a.arch_index]) for a in asked)

    by_chance = statistics.median(best("random", seed) for seed in range(5))
    assert min(best("tpe", seed) for seed in range(3)) > by_chance + 0.03


def test_models_are_searched_until_all_are_known():
    _, asked = run("tpe", lambda a: Result(a.arch_index / 10), trials=50, space=MODELS, parallel=2)
    assert len({a.arch_index for a in asked}) == len(MODELS)
    assert len(asked) < 200


def test_gp_follows_a_repeated_proposal_by_a_new_one():
    def proposals():
        _, asked = run("gp", lambda a: Result(float(a.arch_index == 3)), trials=13)
        return [a.arch_index for a in asked]

    indices = proposals()
    assert len(set(indices)) == 13
    repeated = [index in indices[:i] for i, index in enumerate(indices)]
    assert not any(a and b for a, b in itertools.pairwise(repeated))
    assert proposals() == indices


# --- trade-offs


def test_nsga2_trades_accuracy_for_macs(landscape, macs):
    strategy, asked = run(
        "nsga2",
        lambda a: Result(accuracy(a, landscape), macs[a.arch_index]),
        trials=250,
    )
    front = {tuple(t.values) for t in strategy.study.best_trials}
    every = {tuple(t.values) for t in trials_of(strategy)}
    for top1, cost in front:
        assert not any(
            other != (top1, cost) and other[0] >= top1 and other[1] <= cost for other in every
        )
    assert {cost for _, cost in front} >= {0, 1, 2, 3}
    # Whatever it costs: later cells are worth more than the first, random ones.
    worth = [landscape.full[a.arch_index] for a in asked if macs[a.arch_index] == 1]
    assert statistics.fmean(worth[-20:]) > statistics.fmean(worth[:20]) + 0.1


@pytest.mark.parametrize(("name", "missing"), [("nsga2", "macs"), ("nsga2-latency", "latency_ms")])
def test_a_cost_that_nobody_knows_is_said(name, missing):
    strategy = build_strategy(name, Setting(SPACE, 0))
    with pytest.raises(InputError, match=f"weighs accuracy against {missing}"):
        strategy.tell(strategy.ask(), Result(0.5))


@pytest.mark.parametrize("name", ["nsga2", "nsga2-latency"])
def test_a_training_that_failed_before_its_cost_was_known_is_passed_over(name):
    strategy = build_strategy(name, Setting(SPACE, 0))
    for result in (Result(0.0), Result(0.5, 7, 7.0), Result(0.0, 5, 5.0)):
        strategy.tell(strategy.ask(), result)
    assert [t.values for t in trials_of(strategy)] == [None, [0.5, 7.0], [0.0, 5.0]]


# --- repeats over seeds


def wilcoxon(landscape, seeds, trials=30):
    return run(
        "tpe-wilcoxon",
        lambda a: Result(accuracy(a, landscape, 0.05)),
        trials=trials,
        seeds=seeds,
        parallel=2,
    )


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_seeds_are_trained_one_after_the_other(landscape, seeds):
    strategy, asked = wilcoxon(landscape, seeds)
    told = {}
    for proposal in asked:
        assert proposal.trial.seed in range(seeds)
        told.setdefault(proposal.arch_index, []).append(proposal.trial.seed)
    assert all(found[0] == 0 for found in told.values())
    finished = [t for t in trials_of(strategy) if t.state == optuna.trial.TrialState.COMPLETE]
    for trial in finished:
        accuracies = trial.intermediate_values
        assert list(accuracies) == list(range(len(accuracies)))
        assert trial.value == pytest.approx(statistics.fmean(accuracies.values()))
        assert trial.user_attrs["pruned"] == (len(accuracies) < seeds)


def test_bad_architectures_get_no_third_seed(landscape):
    strategy, asked = wilcoxon(landscape, 3)
    pruned = [t for t in trials_of(strategy) if t.user_attrs.get("pruned")]
    assert len(pruned) > len(trials_of(strategy)) / 3
    assert all(len(t.intermediate_values) == 2 for t in pruned)
    assert len({a.arch_index for a in asked}) > 33  # 30 with all seeds
    assert len(strategy.study.best_trial.intermediate_values) == 3


def test_with_two_seeds_there_is_nothing_to_save(landscape):
    strategy, _ = wilcoxon(landscape, 2)
    assert not any(t.user_attrs.get("pruned") for t in trials_of(strategy))


def test_two_worse_seeds_are_enough_and_one_is_not():
    strategy = build_strategy("tpe-wilcoxon", Setting(SPACE, 0, seeds=3))
    assert isinstance(strategy, WilcoxonSearch)
    for accuracies in ((0.8, 0.8, 0.8), (0.7, 0.7), (0.7, 0.9, 0.7)):
        for seed, value in enumerate(accuracies):
            trial = strategy.ask()
            assert trial.seed == seed
            strategy.tell(trial, Result(value))
    assert strategy.ask().seed == 0


def test_one_seed_is_not_enough_for_repeats():
    with pytest.raises(InputError, match=r"there is one seed: give several, such as --seeds"):
        build_strategy("tpe-wilcoxon", Setting(SPACE, 0))


# --- export


@pytest.mark.parametrize("name", ["tpe-wilcoxon", "nsga2"])
def test_an_exported_study_is_read_by_optuna(name, landscape, macs, tmp_path):
    strategy, _ = run(
        name,
        lambda a: Result(accuracy(a, landscape, 0.05), macs[a.arch_index]),
        trials=15,
        seeds=3,
    )
    path = tmp_path / "my study.db"
    for _ in range(2):  # a second export replaces the first
        assert export_study(strategy, path, "a run") == len(trials_of(strategy))
    export_study(strategy, path, "another run")
    storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
    assert optuna.get_all_study_names(storage) == ["a run", "another run"]
    study = optuna.load_study(study_name="a run", storage=storage)
    assert plain(study.trials) == plain(trials_of(strategy))
    assert study.directions == strategy.study.directions
    assert study.metric_names == strategy.study.metric_names
    assert study.user_attrs == {"space": "nb201"}
    storage.engine.dispose()


def test_only_a_study_is_exported(tmp_path):
    with pytest.raises(InputError, match="no study of Optuna"):
        export_study(Random(5, seed=0), tmp_path / "study.db", "run")


def test_a_file_that_is_no_database_is_left_alone(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("my notes, " * 100)
    with pytest.raises(InputError, match=r"cannot write a study to .*notes.txt: .*database"):
        export_study(build_strategy("tpe", Setting(SPACE, 0)), path, "run")
    assert path.read_text() == "my notes, " * 100
    with pytest.raises(InputError, match=r"cannot write a study to .*missing"):
        export_study(build_strategy("tpe", Setting(SPACE, 0)), tmp_path / "missing" / "a.db", "run")


def test_a_trial_is_told_in_the_order_of_proposals():
    strategy = build_strategy("optuna:RandomSampler", Setting(SPACE, 0))
    first, second = strategy.ask(), strategy.ask()
    assert isinstance(first, Trial)
    strategy.tell(first, Result(0.25))
    strategy.tell(second, Result(0.5))
    assert [t.value for t in trials_of(strategy)] == [0.25, 0.5]
