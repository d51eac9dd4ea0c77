"""The trainings of a published table that `runs verify` may do again."""

import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.published import files
from nas_skeleton.published.finished import finished_of_table
from nas_skeleton.results.finished import drawn, faults_of


@pytest.fixture
def finished(small):
    return finished_of_table(small)


def test_copied_and_diverged_rows_are_not_among_them(finished, made):
    assert (finished.title, len(finished.rows)) == ("table 'utdmhad'", 13)
    assert set(finished.rows["status"]) == {"done"}
    assert made.lost not in set(finished.rows[["arch_index", "seed"]].itertuples(index=False))
    assert len(drawn(finished, 1000, seed=0)) == 13


def test_what_they_were_trained_with_is_that_of_the_run(finished, made):
    for field in ("space", "dataset", "protocol", "recipe", "fingerprint", "recipe_hash", "seeds"):
        assert getattr(finished.arguments, field) == getattr(made.arguments, field)
    assert finished.space.card.recipe_hash("quick") == made.arguments.recipe_hash
    assert {split: len(own) for split, own in finished.labels.items()} == {"valid": 20, "test": 40}


def test_their_curves_and_predictions_are_those_that_were_published(finished, made):
    some = finished.rows.iloc[[5, 1]]
    kept = finished.read(some)
    for row, own in zip(some.to_dict("records"), kept, strict=True):
        _, _, predictions = made.training(row["arch_index"], row["seed"])
        assert sorted(own.curve) == [10, 20, 30]
        assert own.curve[30]["test_top1"] == row["final_test_top1"]
        for split, classes in predictions.items():
            assert own.predictions[split].tolist() == classes.tolist()
    assert faults_of(some, iter(kept), finished.labels) == []


def test_the_card_that_lies_there_is_used_and_not_ones_own(small, tmp_path, monkeypatch):
    own = tmp_path / "search_spaces" / "nb201.toml"
    own.parent.mkdir()
    own.write_text((small / files.CARD).read_text().replace("0.1", "0.2"))
    monkeypatch.chdir(tmp_path)
    assert finished_of_table(small).space.card.recipe("quick").learning_rate != 0.2


def test_a_table_that_is_not_sound_is_refused(copied):
    with (copied / files.CURVES).open("ab") as file:
        file.write(b"x")
    with pytest.raises(InputError, match="bytes, the manifest says"):
        finished_of_table(copied)
