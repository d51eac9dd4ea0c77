"""Searches on a table: what they see, what they cost, and that they are the same again."""

from dataclasses import replace

import numpy as np
import pytest

from nas_skeleton.analysis import replay as module
from nas_skeleton.analysis.replay import Terms, replay, replays
from nas_skeleton.errors import InputError
from nas_skeleton.results.table import load_table
from nas_skeleton.strategies import STRATEGIES, Strategy, Trial
from nas_skeleton.strategies.named import SEVERAL_SEEDS

FIELDS = ("spent", "seconds", "incumbent", "valid")


def same(first, second):
    return all(
        np.array_equal(getattr(first, name), getattr(second, name), equal_nan=True)
        for name in FIELDS
    )


class Untouchable:
    """In place of test accuracies: whoever looks at it fails."""

    def __getattribute__(self, name):
        raise AssertionError(f"somebody looked at test accuracies: {name}")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_strategy_sees_test_accuracies(table, strategy):
    terms = Terms(12)
    training_seed = None if strategy in SEVERAL_SEEDS else 0
    seen = replay(strategy, table, terms, seed=5, training_seed=training_seed)
    poisoned = replace(table, test=Untouchable())
    assert same(replay(strategy, poisoned, terms, seed=5, training_seed=training_seed), seen)


def test_replays_are_given_no_test_accuracies(table, monkeypatch):
    given = []
    monkeypatch.setattr(
        module, "replay", lambda _, table, __, **___: given.append(np.isnan(table.test).all())
    )
    replays(["random"], table, Terms(2), repeats=3, seed=0)
    assert given == [True] * 3


class Listed(Strategy):
    """Proposes what a test says."""

    trials: tuple[Trial, ...] = ()

    def __init__(self, _):
        self.left = list(self.trials)

    def ask(self):
        return self.left.pop(0) if self.left else None


@pytest.fixture
def listed(monkeypatch):
    def use(*trials):
        monkeypatch.setitem(STRATEGIES, "listed", Listed)
        monkeypatch.setattr(Listed, "trials", trials)
        return "listed"

    return use


def test_the_clock_is_the_sum_of_what_the_table_says(table, listed):
    trace = replay(listed(Trial(7), Trial(8), Trial(9)), table, Terms(3), seed=0, training_seed=1)
    assert trace.seconds == pytest.approx(np.cumsum(table.seconds[7:10, 1]))
    assert trace.spent.tolist() == [1, 2, 3]


def test_with_all_seeds_a_trial_takes_all_their_time_and_is_worth_their_mean(table, listed):
    trace = replay(listed(Trial(7)), table, Terms(1), seed=0)
    assert trace.seconds.tolist() == pytest.approx([table.seconds[7].sum()])
    assert trace.valid.tolist() == pytest.approx([table.valid[7, :, -1].mean()])


def test_what_was_trained_is_paid_once(table, listed):
    name = listed(Trial(7, epochs=3), Trial(7, epochs=9), Trial(7, epochs=3), Trial(7))
    trace = replay(name, table, Terms(5), seed=0, training_seed=0)
    assert trace.spent == pytest.approx([3 / 27, 9 / 27, 1])
    assert trace.seconds == pytest.approx(table.seconds[7, 0] * np.array([3 / 27, 9 / 27, 1]))
    assert trace.valid == pytest.approx(table.valid[7, 0, [1, 2, 3]])


def test_workers_train_side_by_side(table, listed):
    seconds = table.seconds[:, 0]
    order = np.argsort(seconds)
    long, short, middle = order[-1], order[0], order[len(order) // 2]
    name = listed(Trial(int(long)), Trial(int(short)), Trial(int(middle)))
    trace = replay(name, table, Terms(3, parallel=3, workers=2), seed=0, training_seed=0)
    ends = sorted([seconds[long], seconds[short], seconds[short] + seconds[middle]])
    assert trace.seconds == pytest.approx(ends)


def test_a_training_goes_on_when_the_worker_before_is_done_with_it(table, listed):
    name = listed(Trial(7, epochs=9), Trial(7))
    trace = replay(name, table, Terms(3, parallel=2, workers=2), seed=0, training_seed=0)
    assert trace.seconds[-1] == pytest.approx(table.seconds[7, 0])


def test_more_workers_than_proposals_are_refused(table):
    with pytest.raises(InputError, match="3 simulated workers and 2 parallel proposals"):
        replay("random", table, Terms(3, parallel=2, workers=3), seed=0)


def test_the_incumbent_is_the_best_of_those_that_were_trained_furthest(table, listed):
    name = listed(Trial(1, epochs=1), Trial(2, epochs=1), Trial(3), Trial(4), Trial(5, epochs=9))
    trace = replay(name, table, Terms(9), seed=0, training_seed=0)
    valid = table.valid[:, 0]
    first = 1 if valid[1, 0] >= valid[2, 0] else 2
    last = 3 if valid[3, -1] >= valid[4, -1] else 4
    assert trace.incumbent.tolist() == [1, first, 3, last, last]


def test_a_mean_over_more_seeds_counts_for_more_than_one_lucky_seed(table, listed):
    name = listed(Trial(1, seed=0), Trial(2, seed=0), Trial(2, seed=1))
    trace = replay(name, table, Terms(9), seed=0)
    assert trace.incumbent[-1] == 2
    assert trace.valid[-1] == pytest.approx(table.valid[2, :, -1].mean())


def test_repeats_are_the_same_with_any_number_of_processes(table):
    options = {"repeats": 12, "seed": 3}
    one = replays(["random", "asha"], table, Terms(5), **options)
    two = replays(["random", "asha"], table, Terms(5), **options, processes=2)
    for name in one:
        assert all(same(*pair) for pair in zip(one[name], two[name], strict=True))
        assert len({trace.incumbent[-1] for trace in one[name]}) > 1


def test_repeats_take_turns_with_the_tables_seeds(table):
    traces = replays(["random"], table, Terms(1), repeats=4, seed=3)["random"]
    for repeat, trace in enumerate(traces):
        assert trace.valid[0] == table.valid[trace.incumbent[0], repeat % 2, -1]


def test_a_mistake_is_found_before_anything_is_replayed(table):
    with pytest.raises(InputError, match="unknown --strategy 'bogus'"):
        replays(["random", "bogus"], table, Terms(1), repeats=10**9, seed=0)


def test_without_times_there_is_no_clock(table):
    timeless = replace(table, seconds=np.full_like(table.seconds, np.nan))
    trace = replay("bananas", timeless, Terms(5, 3, 3), seed=0)
    assert np.isnan(trace.seconds).all()
    assert len(trace.spent) == 5


@pytest.fixture(scope="module")
def cifar(shared_data):
    return load_table(str(shared_data / "nb201" / "nats_bench_cifar.csv"))


# Dong and Yang, ICLR 2020, table 5, CIFAR-10 test accuracy in 20,000 simulated seconds, which are
# some 100 to 200 trainings: random search 93.70 +- .36, regularised evolution 93.92 +- .30.
PUBLISHED = {"random": (93.70, 0.36), "regularized-evolution-nats": (93.92, 0.30)}


@pytest.mark.parametrize("strategy", PUBLISHED)
@pytest.mark.parametrize(("trials", "noise"), [(100, 0.0), (200, 0.005)])
def test_searches_on_nats_bench_end_where_the_published_ones_do(cifar, strategy, trials, noise):
    # Searches there see validation accuracies after 12 epochs; the table has test accuracies only.
    # So once without any noise, and once with as much as two trainings differ by.
    drawn = np.random.default_rng(0).normal(scale=noise, size=cifar.valid.shape)
    seen = replace(cifar, valid=np.clip(cifar.valid + drawn, 0, 1))
    traces = replays([strategy], seen, Terms(trials), repeats=40, seed=1)[strategy]
    found = 100 * cifar.mean_test[[trace.incumbent[-1] for trace in traces]]
    mean, deviation = PUBLISHED[strategy]
    assert abs(found.mean() - mean) < deviation
    assert 0.5 * deviation < found.std() < 1.5 * deviation
    assert found.max() <= 94.38  # the published optimum is 94.37


def test_evolution_finds_more_than_random_search_on_nats_bench(cifar):
    both = replays(list(PUBLISHED), cifar, Terms(100), repeats=40, seed=1)
    random, evolution = (
        cifar.mean_test[[trace.incumbent[-1] for trace in both[name]]] for name in PUBLISHED
    )
    assert np.median(evolution) > np.median(random) + 0.002
