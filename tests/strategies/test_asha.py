from nas_skeleton.strategies import Result
from nas_skeleton.strategies.asha import Asha


def run(strategy, values):
    """One worker: each proposal is told at once, its value being the next of its epochs'."""
    given = {epochs: iter(row) for epochs, row in values.items()}
    trials = []
    try:
        while True:
            trial = strategy.ask()
            strategy.tell(trial, Result(next(given[trial.epochs])))
            trials.append(trial)
    except StopIteration:
        return trials


def test_promotes_whoever_is_among_the_best_third_of_what_was_told():
    strategy = Asha((1, 3, 9), 15625, seed=0)
    trials = run(
        strategy,
        {
            1: [0.2, 0.5, 0.1, 0.6, 0.3, 0.4, 0.7, 0.0, 0.55],
            3: [0.5, 0.6, 0.4, 0.3],
            9: [0.9],
        },
    )
    new = [trial.arch_index for trial in trials if trial.epochs == 1]
    assert [(trial.arch_index, trial.epochs) for trial in trials] == [
        (new[0], 1),
        (new[1], 1),
        (new[2], 1),
        (new[1], 3),  # the best of three
        (new[3], 1),
        (new[3], 3),  # the best of four
        (new[4], 1),
        (new[5], 1),  # the best two of six were promoted before
        (new[6], 1),
        (new[6], 3),  # the best of seven
        (new[3], 9),  # the best of the three on the second rung, and the highest rung comes first
        (new[7], 1),
        (new[8], 1),
        (new[8], 3),  # the third of nine
    ]


def test_a_place_among_the_best_is_not_kept_by_who_was_promoted_too_early():
    strategy = Asha((1, 3), 15625, seed=1)
    first = [strategy.ask() for _ in range(6)]
    for trial, value in zip(first[:3], [0.2, 0.5, 0.1], strict=True):
        strategy.tell(trial, Result(value))
    assert strategy.ask().arch_index == first[1].arch_index
    for trial, value in zip(first[3:], [0.6, 0.7, 0.8], strict=True):
        strategy.tell(trial, Result(value))
    # Of six the best two are a third; 0.5 is none of them any more.
    assert [(t.arch_index, t.epochs) for t in (strategy.ask() for _ in range(2))] == [
        (first[5].arch_index, 3),
        (first[4].arch_index, 3),
    ]
    assert strategy.ask().epochs == 1


def test_the_highest_rung_is_promoted_from_first():
    strategy = Asha((1, 3, 9), 15625, seed=4)
    first = [strategy.ask() for _ in range(12)]
    for trial in first[:9]:
        strategy.tell(trial, Result(0.5))
    for trial in [strategy.ask() for _ in range(3)]:
        strategy.tell(trial, Result(0.5))
    for trial in first[9:]:
        strategy.tell(trial, Result(0.9))
    # Now one of three on the second rung may go up, and three of the best four on the lowest.
    assert [strategy.ask().epochs for _ in range(5)] == [9, 3, 3, 3, 1]


def test_never_waits():
    strategy = Asha((1, 3), 15625, seed=2)
    trials = [strategy.ask() for _ in range(50)]
    assert {trial.epochs for trial in trials} == {1}
    assert len({trial.arch_index for trial in trials}) == 50


def test_ends_when_nothing_is_left_to_promote():
    strategy = Asha((1, 3), 7, seed=3)
    trials = []
    while (trial := strategy.ask()) is not None:
        trials.append(trial)
        strategy.tell(trial, Result(trial.arch_index / 7))
    assert sorted(t.arch_index for t in trials if t.epochs == 1) == list(range(7))
    assert {t.arch_index for t in trials if t.epochs == 3} >= {5, 6}
