"""What a strategy promises whoever asks it. Names that are added are tested too."""

import random

import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.spaces import load_any_space, load_space
from nas_skeleton.strategies import STRATEGIES, Result, Setting, Trial, build_strategy, learns

SPACE = load_space("nb201")
EPOCHS = (1, 3, 9, 27)

every_strategy = pytest.mark.parametrize("name", STRATEGIES)


def trials(asked):
    return [found.trial for found in asked]


@every_strategy
def test_the_budget_is_respected_and_used(name, search, landscape):
    spent = sum(found.cost for found in search(name, landscape, trials=20))
    assert 20 - 1e-6 <= spent < 21


@every_strategy
def test_the_same_seed_proposes_the_same(name, search, landscape):
    assert trials(search(name, landscape, seed=5)) == trials(search(name, landscape, seed=5))


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name != "exhaustive"])
def test_another_seed_proposes_something_else(name, search, landscape):
    assert trials(search(name, landscape, seed=5)) != trials(search(name, landscape, seed=6))


@every_strategy
def test_results_in_any_order_lead_to_the_same_proposals(name, search, landscape, orders):
    runs = [trials(search(name, landscape, parallel=4, draw=draw)) for draw in orders]
    assert runs[0] == runs[1] == runs[2]


@every_strategy
def test_a_search_that_was_stopped_continues_from_stored_results(name, search, landscape):
    uninterrupted = trials(search(name, landscape, parallel=3))
    stored = {}

    def train(found):
        key = (found.arch_index, found.epochs, found.seeds)
        return stored.setdefault(key, landscape(found))

    stopped = search(name, train, parallel=3, draw=random.Random(3), proposals=15)
    assert trials(stopped) == uninterrupted[: len(stopped)]
    before = dict(stored)
    assert trials(search(name, train, parallel=3)) == uninterrupted
    assert before.items() <= stored.items()


@every_strategy
def test_proposals_depend_on_what_was_told_alone(name, search, landscape):
    first = search(name, landscape)
    known = {(found.arch_index, found.epochs) for found in first}

    def elsewhere_everything_is_perfect(found):
        perfect = Result(1.0, 1, 0.1)
        return landscape(found) if (found.arch_index, found.epochs) in known else perfect

    assert trials(search(name, elsewhere_everything_is_perfect)) == trials(first)


@every_strategy
def test_nothing_is_paid_for_twice(name, search, landscape):
    asked = search(name, landscape)
    longest = {}
    for found in asked:
        for seed in found.seeds:
            key = (found.arch_index, seed)
            longest[key] = max(longest.get(key, 0), found.epochs)
    seeds = len({seed for _, seed in longest})
    whole = EPOCHS[-1] * seeds
    assert sum(found.cost for found in asked) == pytest.approx(sum(longest.values()) / whole)


@every_strategy
def test_proposals_are_valid_and_plain(name, search, landscape, setting):
    for trial in trials(search(name, landscape, trials=30, parallel=2)):
        assert type(trial.arch_index) is int  # goes into JSON
        assert 0 <= trial.arch_index < len(SPACE)
        assert trial.epochs is None or (type(trial.epochs) is int and trial.epochs in EPOCHS)
        assert trial.seed in (None, *range(setting(name).seeds))


@every_strategy
def test_asked_before_it_is_told_anything_it_does_not_fail(name, setting):
    strategy = build_strategy(name, setting(name))
    asked = [strategy.ask() for _ in range(60)]
    assert isinstance(asked[0], Trial)
    assert all(trial is None or isinstance(trial, Trial) for trial in asked)


@every_strategy
def test_trainings_that_all_fail_do_not_stop_it(name, search):
    asked = search(name, lambda found: Result(0.0), parallel=2)
    assert sum(found.cost for found in asked) >= 20 - 1e-6


def built_or_why_not(name, setting):
    """The strategy and no message, or none and the message."""
    try:
        return build_strategy(name, setting), ""
    except InputError as error:
        return None, str(error)


@every_strategy
def test_it_searches_reference_models_or_says_why_not(name, setting):
    space = load_any_space("models")
    setting = setting(name, space=space, trials=3)
    strategy, message = built_or_why_not(name, setting)
    if strategy is None:
        assert message.startswith(f"--strategy {name} ")
        assert "--space" in message
        return
    for _ in range(40):
        trial = strategy.ask()
        if trial is None:
            break
        assert 0 <= trial.arch_index < len(space)
        strategy.tell(trial, Result(trial.arch_index / 10, 1000, 1.0))


@every_strategy
def test_it_works_with_whole_trainings_only_or_says_why_not(name, setting):
    strategy, message = built_or_why_not(name, setting(name, epochs=(30,), trials=3))
    if strategy is None:
        assert message.startswith(f"--strategy {name} ")
        assert "epoch 30" in message
    else:
        assert strategy.ask().epochs in (None, 30)


@pytest.mark.parametrize("name", ["random", "successive-halving", "hyperband", "asha"])
def test_strategies_that_know_no_edges_search_reference_models(name):
    strategy, _ = built_or_why_not(name, Setting(load_any_space("models"), 0, epochs=EPOCHS))
    assert strategy is not None


@pytest.mark.parametrize("name", ["successive-halving", "hyperband", "asha", "bohb"])
def test_strategies_that_stop_early_need_a_look_before_the_end(name):
    strategy, message = built_or_why_not(name, Setting(SPACE, 0, epochs=(30,)))
    assert strategy is None
    assert "--recipe" in message


@every_strategy
def test_whether_it_learns_is_known_by_its_name(name, setting):
    assert build_strategy(name, setting(name)).learns == learns(name)


def test_an_unknown_name_is_answered_with_the_known_ones(setting):
    with pytest.raises(InputError, match=r"unknown --strategy 'magic': known are random, "):
        build_strategy("magic", setting("magic"))
