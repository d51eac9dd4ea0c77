"""A search asks, counts and tells in an order that no worker can change."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_skeleton.spaces import load_space
from nas_skeleton.strategies import Random, Result, Search, Setting, Strategy, Trial

SPACE = load_space("nb201")


class Recorder(Strategy):
    """Proposes from a list, and writes down what happens in which order."""

    def __init__(self, trials):
        self.trials = list(trials)
        self.log = []

    def ask(self):
        trial = self.trials.pop(0) if self.trials else None
        if trial is not None:
            self.log.append(("ask", trial.arch_index))
        return trial

    def tell(self, trial, result):
        self.log.append(("tell", trial.arch_index, result.valid_top1))


def setting(trials=None, epochs=(1,), seeds=1):
    return Setting(SPACE, seed=0, epochs=epochs, seeds=seeds, trials=trials)


def run(search, draw=None):
    """Finish proposals in an order that `draw` chooses; all that were asked."""
    asked, under_way = [], []
    while True:
        while (found := search.next()) is not None:
            asked.append(found)
            under_way.append(found)
        if not under_way:
            return asked
        done = under_way.pop(draw.randrange(len(under_way)) if draw else 0)
        search.finish(done, Result(done.arch_index / 1000))


@given(seed=st.integers(0, 10**6), parallel=st.integers(1, 6))
def test_what_happens_does_not_depend_on_the_order_in_which_trainings_end(seed, parallel):
    logs = []
    for draw in (None, random.Random(seed), random.Random(seed + 1)):
        strategy = Recorder(Trial(i) for i in (5, 3, 5, 8, 1, 9, 3, 2))
        run(Search(strategy, setting(), parallel=parallel), draw)
        logs.append(strategy.log)
    assert logs[0] == logs[1] == logs[2]


def test_proposal_n_knows_all_results_but_those_of_the_last_proposals():
    strategy = Recorder(Trial(i) for i in range(4))
    run(Search(strategy, setting(), parallel=2))
    told = [("tell", i, i / 1000) for i in range(4)]
    asked = [("ask", i) for i in range(4)]
    assert strategy.log == [*asked[:2], told[0], asked[2], told[1], asked[3], told[2], told[3]]


def test_the_budget_is_counted_in_whole_trainings():
    trials = [
        Trial(1, epochs=3),
        Trial(1, epochs=9),
        Trial(2, seed=0),
        Trial(2),
        Trial(3),
        Trial(4),
    ]
    search = Search(Recorder(trials), setting(trials=3, epochs=(3, 9), seeds=2))
    asked = run(search)
    assert [round(found.cost, 6) for found in asked] == [
        round(3 / 9, 6),  # three of nine epochs, with both seeds
        round(6 / 9, 6),  # the rest of them
        0.5,  # one of two seeds
        0.5,  # the other one
        1,
    ]
    assert search.spent == pytest.approx(3)
    assert search.over


def test_what_was_asked_before_costs_nothing_and_is_told_nevertheless():
    strategy = Recorder([Trial(7), Trial(7), Trial(8)])
    search = Search(strategy, setting(trials=2))
    assert [found.cost for found in run(search)] == [1, 0, 1]
    assert [entry[:2] for entry in strategy.log].count(("tell", 7)) == 2


def test_fewer_epochs_of_a_longer_training_cost_nothing():
    search = Search(Recorder([Trial(7), Trial(7, epochs=1)]), setting(epochs=(1, 4)))
    assert [found.cost for found in run(search)] == [1, 0]


def test_a_strategy_that_proposes_nothing_new_any_more_has_converged():
    class Stubborn(Strategy):
        def ask(self):
            return Trial(6)

    search = Search(Stubborn(), setting(trials=50), parallel=3)
    asked = run(search)
    assert search.over
    assert search.spent == 1
    assert len(asked) == 1001


def test_architectures_of_one_class_may_stand_for_each_other():
    members = next(m for m in SPACE.functional_classes().values() if len(m) > 2)
    search = Search(
        Recorder(Trial(arch) for arch in members), setting(), stands_for=SPACE.representative
    )
    asked = run(search)
    assert {found.arch_index for found in asked} == {members[0]}
    assert [found.trial.arch_index for found in asked] == list(members)
    assert search.spent == 1


def test_a_strategy_that_waits_is_told_before_it_is_asked_again():
    class Rounds(Strategy):
        """Two trials, then nothing until both are told, twice."""

        def __init__(self):
            self.waiting, self.next = 0, 0

        def ask(self):
            if self.next == 4 or (self.next == 2 and self.waiting):
                return None
            self.waiting += 1
            self.next += 1
            return Trial(self.next)

        def tell(self, trial, result):
            self.waiting -= 1

    search = Search(Rounds(), setting(), parallel=8)
    assert [found.arch_index for found in run(search, random.Random(1))] == [1, 2, 3, 4]
    assert search.over


def test_random_search_ends_with_its_budget():
    asked = run(Search(Random(15625, seed=777), setting(trials=4), parallel=3))
    assert [found.arch_index for found in asked] == [9215, 11663, 8040, 10085]
