import pytest

from nas_skeleton.spaces import load_space
from nas_skeleton.strategies import Result
from nas_skeleton.strategies.local import LocalSearch

SPACE = load_space("nb201")


def ask(strategy, count, value=lambda arch: 0.0):
    """Ask one at a time, and tell each at once."""
    archs = []
    for _ in range(count):
        trial = strategy.ask()
        strategy.tell(trial, Result(value(trial.arch_index)))
        archs.append(trial.arch_index)
    return archs


def test_explores_all_neighbours_of_the_best_of_ten_random_cells():
    strategy = LocalSearch(0)
    ten = ask(strategy, 10, lambda arch: arch / 15625)
    best = max(ten)
    assert sorted(ask(strategy, 24)) == sorted(SPACE.neighbours(best))


def test_goes_on_from_the_best_neighbour_when_all_are_known():
    strategy = LocalSearch(1)
    best = max(ask(strategy, 10, lambda arch: arch / 10**6))
    around = ask(strategy, 24, lambda arch: 0.5 + arch / 10**6)
    assert sorted(around) == sorted(SPACE.neighbours(best))
    assert sorted(ask(strategy, 24)) == sorted(SPACE.neighbours(max(around)))


def test_restarts_from_one_random_cell_at_a_top():
    strategy = LocalSearch(2)
    first, *_ = ask(strategy, 10 + 24, lambda arch: 0.9)  # no neighbour is better than the first
    (start,) = ask(strategy, 1, lambda arch: 0.1)  # worse, but the climb is a new one
    assert start not in SPACE.neighbours(first)
    assert sorted(ask(strategy, 24)) == sorted(SPACE.neighbours(start))


@pytest.mark.parametrize("better", [False, True])
def test_does_not_wait_for_the_last_neighbours(better):
    strategy = LocalSearch(3)
    best = max(ask(strategy, 10, lambda arch: arch / 10**6))
    last_but_two = ask(strategy, 22)
    assert set(last_but_two) < set(SPACE.neighbours(best))
    pending = [strategy.ask() for _ in range(2)]
    start = strategy.ask()  # nothing left to ask of this neighbourhood
    assert {*last_but_two, *(trial.arch_index for trial in pending)} == set(SPACE.neighbours(best))
    for trial in pending:
        strategy.tell(trial, Result(0.7 if better and trial is pending[1] else 0.0))
    strategy.tell(start, Result(0.5))
    following = sorted(ask(strategy, 24))
    winner = pending[1] if better else start
    assert following == sorted(SPACE.neighbours(winner.arch_index))
