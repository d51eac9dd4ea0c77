from nas_skeleton.strategies import Result
from nas_skeleton.strategies.hyperband import Hyperband
from nas_skeleton.strategies.rungs import hyperband_brackets

BRACKET = ((9, 1), (3, 3), (1, 9))


def ask(strategy, count):
    return [strategy.ask() for _ in range(count)]


def tell(strategy, trials, values):
    for trial, value in zip(trials, values, strict=True):
        strategy.tell(trial, Result(value))


def test_the_best_of_a_rung_are_trained_on_in_the_next():
    strategy = Hyperband([BRACKET], 15625, seed=0)
    lowest = ask(strategy, 9)
    assert [trial.epochs for trial in lowest] == [1] * 9
    assert len({trial.arch_index for trial in lowest}) == 9
    tell(strategy, lowest, [0.1, 0.7, 0.2, 0.9, 0.3, 0.0, 0.8, 0.4, 0.5])
    middle = ask(strategy, 3)
    assert [(trial.arch_index, trial.epochs) for trial in middle] == [
        (lowest[index].arch_index, 3) for index in (3, 6, 1)
    ]
    # What was good on the rung before does not count.
    tell(strategy, middle, [0.2, 0.1, 0.3])
    (last,) = ask(strategy, 1)
    assert (last.arch_index, last.epochs) == (lowest[1].arch_index, 9)
    tell(strategy, [last], [0.9])
    assert [trial.epochs for trial in ask(strategy, 9)] == [1] * 9


def test_of_equals_the_first_proposed_goes_on():
    strategy = Hyperband([BRACKET], 15625, seed=1)
    lowest = ask(strategy, 9)
    tell(strategy, lowest, [0.5] * 9)
    assert [t.arch_index for t in ask(strategy, 3)] == [t.arch_index for t in lowest[:3]]


def test_nobody_is_promoted_before_the_rung_is_complete():
    strategy = Hyperband([BRACKET], 15625, seed=2)
    lowest = ask(strategy, 9)
    tell(strategy, lowest[:8], [0.5] * 8)
    (other,) = ask(strategy, 1)  # of the next bracket, begun meanwhile
    assert other.epochs == 1
    tell(strategy, lowest[8:], [0.9])
    promoted = ask(strategy, 3)
    assert [trial.epochs for trial in promoted] == [3] * 3
    assert promoted[0].arch_index == lowest[8].arch_index
    # Results are told to the bracket that asked for them.
    tell(strategy, [other, *promoted], [0.1, 0.2, 0.3, 0.1])
    (last,) = ask(strategy, 1)
    assert (last.arch_index, last.epochs) == (promoted[1].arch_index, 9)
    assert [trial.epochs for trial in ask(strategy, 8)] == [1] * 8


def test_hyperband_goes_through_its_brackets_again_and_again():
    strategy = Hyperband(hyperband_brackets((1, 3, 9), 15625), 15625, seed=3)
    epochs = []
    for _ in range(2 * (13 + 4 + 3)):
        trial = strategy.ask()
        epochs.append(trial.epochs)
        strategy.tell(trial, Result(trial.arch_index / 15625))
    one_round = [1] * 9 + [3] * 3 + [9] + [3] * 3 + [9] + [9] * 3
    assert epochs == 2 * one_round


def test_a_bracket_may_hold_the_whole_space():
    strategy = Hyperband(hyperband_brackets((1, 3, 9), 7), 7, seed=4)
    assert sorted(trial.arch_index for trial in ask(strategy, 7)) == list(range(7))
