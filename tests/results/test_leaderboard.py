import pandas as pd
import pytest

from nas_skeleton.results import schema
from nas_skeleton.results.leaderboard import build_leaderboard, format_leaderboard


def rows(*entries):
    """Rows from (arch, seed, valid, test, macs) or with a status behind."""
    return pd.DataFrame(
        [
            {
                **dict.fromkeys(schema.COLUMNS),
                "arch_index": arch,
                "arch_str": f"cell {arch}",
                "seed": seed,
                "final_valid_top1": valid,
                "final_test_top1": test,
                "macs": macs,
                "params": 1000,
                "train_time_s": 2.0,
                "engine": "native",
                "status": status[0] if status else schema.DONE,
            }
            for arch, seed, valid, test, macs, *status in entries
        ]
    )


def board(*entries, valid_clips=100, test_clips=400):
    return build_leaderboard(rows(*entries), valid_clips=valid_clips, test_clips=test_clips)


def test_ranks_by_mean_validation_accuracy_whatever_test_says():
    table = board(
        (1, 7, 0.5, 0.9, 1), (1, 8, 0.6, 0.9, 1), (2, 7, 0.7, 0.1, 1), (2, 8, 0.6, 0.1, 1)
    )
    assert table.table["arch_index"].tolist() == [2, 1]
    assert table.table["valid"].tolist() == pytest.approx([0.65, 0.55])
    assert table.table["test_sd"].tolist() == [0, 0]
    assert table.table["valid_sd"].tolist() == pytest.approx([0.0707, 0.0707], abs=1e-4)


def test_ties_go_to_fewer_macs_never_to_test_accuracy():
    table = board((1, 7, 0.5, 0.9, 5), (2, 7, 0.5, 0.1, 4)).table
    assert table["arch_index"].tolist() == [2, 1]


def test_means_that_differ_only_by_rounding_are_ties():
    assert (0.3 + 0.2 + 0.1) / 3 != (0.2 + 0.2 + 0.2) / 3
    accuracies = {1: (0.3, 0.2, 0.1), 2: (0.2, 0.2, 0.2)}
    for macs in ({1: 4, 2: 5}, {1: 5, 2: 4}):
        entries = [
            (arch, seed, valid, 0.5, macs[arch])
            for arch, own in accuracies.items()
            for seed, valid in enumerate(own)
        ]
        assert board(*entries).table["arch_index"][0] == min(macs, key=macs.get)


def test_without_validation_set_nothing_is_ranked():
    unranked = board((2, 7, None, 0.1, 1), (1, 7, None, 0.0, 1), valid_clips=0)
    assert unranked.ranked_by is None
    assert unranked.table["arch_index"].tolist() == [1, 2]
    text = format_leaderboard(unranked)
    assert "not ranked" in text
    assert "no validation set" in text


def test_unfinished_trainings_do_not_count():
    table = board((1, 7, 0.5, 0.5, 1), (2, 7, None, None, 1, schema.FAILED)).table
    assert table["arch_index"].tolist() == [1]


def test_text_names_split_seeds_and_noise():
    text = format_leaderboard(board((1, 7, 0.5, 0.5, 1), (2, 7, 0.52, 0.5, 1)))
    assert "validation top-1 (100 clips), 1 seed" in text
    assert "52.0 ± 5.0" in text  # close to sqrt(.52 * .48 / 100)
    assert "by how much is unknown with one" in text
    assert "At least 2 of 2 architectures cannot be told apart" in text


def test_with_several_seeds_the_spread_is_theirs():
    text = format_leaderboard(board((1, 7, 0.5, 0.5, 1), (1, 8, 0.6, 0.5, 1), (1, 9, 0.7, 0.5, 1)))
    assert "3 seeds" in text
    assert "60.0 ± 10.0" in text
    assert "standard deviation over seeds" in text


def test_no_finished_training_is_said():
    assert "No finished training" in format_leaderboard(board((1, 7, 0.5, 0.5, 1, schema.FAILED)))


def test_a_seed_that_diverged_does_not_help_its_architecture():
    lucky = [(1, 7, 0.99, 0.5, 1), (1, 8, None, None, 1, schema.DIVERGED)]
    steady = [(2, 7, 0.6, 0.5, 1), (2, 8, 0.7, 0.5, 1)]
    unequal = board(*lucky, *steady)
    assert unequal.table["arch_index"].tolist() == [2, 1]
    text = format_leaderboard(unequal)
    assert "99.0 ± n/a" in text
    assert "fewer finished seeds" in text


def test_perfect_accuracy_is_not_without_noise():
    assert board((1, 7, 1.0, 0.5, 1)).noise("valid")[0] == pytest.approx(0.005, abs=0.001)


def test_copies_are_not_ranked():
    table = board((1, 7, 0.5, 0.5, 1), (2, 7, 0.5, 0.5, 1, schema.COPIED)).table
    assert table["arch_index"].tolist() == [1]


def test_clearly_worse_architectures_are_told_apart():
    # Two standard errors of a difference at 0.9 and 100 clips: 2 * sqrt(2) * 0.03 = 0.085.
    near = board((1, 7, 0.9, 0.5, 1), (2, 7, 0.83, 0.5, 1), (3, 7, 0.7, 0.5, 1))
    assert near.near_best() == 2


def test_a_table_of_several_engines_says_so():
    table = rows((1, 7, 0.5, 0.5, 1), (2, 7, 0.4, 0.5, 1))
    alone = build_leaderboard(table, valid_clips=100, test_clips=400)
    assert alone.engines == {"native": 2}
    assert "engines" not in format_leaderboard(alone)
    table.loc[0, "engine"] = "fast+native"
    both = build_leaderboard(table, valid_clips=100, test_clips=400)
    assert "fast+native 1" in format_leaderboard(both)
    assert "native 1" in format_leaderboard(both)
