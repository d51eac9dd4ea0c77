import itertools

import pytest

from nas_skeleton.strategies import Exhaustive, Random, Result, Trial

FIRST = [9215, 11663, 8040, 10085]


def ask_all(strategy):
    return [trial.arch_index for trial in iter(strategy.ask, None)]


def test_random_proposes_every_architecture_once():
    assert sorted(ask_all(Random(500, seed=1))) == list(range(500))


def test_random_depends_on_its_seed_alone():
    assert ask_all(Random(500, seed=1)) == ask_all(Random(500, seed=1))
    assert ask_all(Random(500, seed=1)) != ask_all(Random(500, seed=2))


def test_random_first_proposals_are_fixed_for_ever():
    strategy = Random(15625, seed=777)
    trials = itertools.islice(iter(strategy.ask, None), 4)
    assert [trial.arch_index for trial in trials] == FIRST


def test_first_proposals_are_uniform_over_seeds():
    firsts = [Random(5, seed).ask().arch_index for seed in range(2000)]
    counts = [firsts.count(arch) for arch in range(5)]
    assert min(counts) > 330  # 400 expected, s.d. 18


def test_exhaustive_keeps_the_given_order():
    assert ask_all(Exhaustive([4, 2, 9])) == [4, 2, 9]


@pytest.mark.parametrize("strategy", [Random(3, seed=0), Exhaustive([1])])
def test_an_exhausted_strategy_stays_so_and_hears_results(strategy):
    ask_all(strategy)
    strategy.tell(Trial(1), Result(0.5))
    assert strategy.ask() is None
