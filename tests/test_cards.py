import pytest

from nas_skeleton.cards import Card, card_names, check_name, load_card
from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.card import load_dataset_card
from nas_skeleton.spaces import load_space


class Example(Card):
    """A card for these tests."""

    number: int


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with an empty search_spaces/."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "search_spaces").mkdir()
    return tmp_path / "search_spaces"


def test_cards_of_the_working_folder_come_before_those_shipped(folder):
    assert {"nb201", "nb201-image"} <= set(card_names("search_spaces"))
    (folder / "nb201.toml").write_text("number = 3")
    assert load_card("search_spaces", "nb201", Example).number == 3


@pytest.mark.parametrize("name", ["nb201", "nb201-image"])
def test_shipped_spaces_load_with_their_three_recipes(name):
    card = load_space(name).card
    assert set(card.recipes) == {"quick", "standard", "thesis"}
    assert card.default_recipe == "quick"


@pytest.mark.parametrize("name", ["nb201", "nb201-image"])
def test_thesis_recipe_is_that_of_the_thesis(name):
    recipe = load_space(name).card.recipe("thesis")
    assert (recipe.channels, recipe.cells_per_stage, recipe.epochs) == (16, 5, 200)
    assert (recipe.batch_size, recipe.learning_rate, recipe.weight_decay) == (32, 0.1, 5e-4)
    assert (recipe.momentum, recipe.nesterov, recipe.drop_last) == (0.9, True, False)


def test_recipe_hash_covers_values_and_not_names():
    card = load_space("nb201").card
    same = card.model_copy(update={"recipes": {"other": card.recipe("quick")}, "name": "mine"})
    assert same.recipe_hash("other") == card.recipe_hash("quick")
    assert card.recipe_hash("quick") != card.recipe_hash("standard")
    assert load_space("nb201-image").card.recipe_hash("quick") != card.recipe_hash("quick")


def test_shipped_data_sets_load():
    for name in card_names("datasets"):
        assert load_dataset_card(name).name == name


@pytest.mark.parametrize("name", ["../nb201", "a/b", "", ".", "..", "-x", "nb201\n", "a\0b"])
def test_names_that_leave_the_folder_are_refused(name):
    with pytest.raises(InputError, match="letters, digits"):
        check_name(name, "search space")


@pytest.mark.parametrize("content", [b"number = ", b"\xff\xfe", b"number = 1\nother = 2", b""])
def test_whatever_stands_in_a_card_is_one_line(folder, content):
    (folder / "bad.toml").write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.toml") as caught:
        load_card("search_spaces", "bad", Example)
    assert len(str(caught.value)) < 500
