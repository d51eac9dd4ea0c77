import pytest

from nas_skeleton.strategies.rungs import hyperband_brackets, rung_epochs


@pytest.mark.parametrize(
    ("available", "rungs"),
    [
        (range(1, 82), (1, 3, 9, 27, 81)),
        (range(1, 201), (3, 7, 22, 67, 200)),
        (range(1, 13), (1, 4, 12)),  # NATS-Bench
        ((10, 20, 30), (10, 30)),
        ((20, 40, 60, 80, 100), (40, 100)),  # 33 is nearer to 40 than to 20, as a ratio
        ((150, 200), (150, 200)),  # nothing better to be cheap with
        ((1, 200), (1, 200)),
        ((2, 3, 4, 200), (3, 4, 200)),  # 22.2 is nearest to 4, and 66.7 to 200
    ],
)
def test_rungs_are_the_epochs_nearest_to_thirds_of_the_whole_training(available, rungs):
    assert rung_epochs(tuple(available)) == rungs


def test_hyperbands_brackets_are_those_of_the_paper():
    # Li et al., JMLR 2018, Table 1: R = 81, eta = 3.
    assert hyperband_brackets((1, 3, 9, 27, 81), architectures=15625) == [
        ((81, 1), (27, 3), (9, 9), (3, 27), (1, 81)),
        ((27, 3), (9, 9), (3, 27), (1, 81)),
        ((9, 9), (3, 27), (1, 81)),
        ((6, 27), (2, 81)),
        ((5, 81),),
    ]


def test_no_bracket_has_more_trainings_than_there_are_architectures():
    assert hyperband_brackets((1, 3, 9), architectures=7) == [
        ((7, 1), (2, 3), (1, 9)),
        ((3, 3), (1, 9)),
        ((3, 9),),
    ]
