import re
import tomllib
from pathlib import Path

import pytest

from nas_skeleton.cards import Card, card_names, check_card, check_name, read_card
from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.card import DatasetCard
from nas_skeleton.skeletons.load import load_dataset_card
from nas_skeleton.skeletons.readers import READERS
from nas_skeleton.skeletons.steps import STEPS
from nas_skeleton.spaces import load_any_space, load_space

CHECKOUT = Path(__file__).resolve().parent.parent


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
    assert {"nb201", "nb201-image", "nb201-graph"} <= set(card_names("search_spaces"))
    (folder / "nb201.toml").write_text("number = 3")
    assert check_card(*read_card("search_spaces", "nb201"), Example).number == 3


CELLS = ["nb201", "nb201-image", "nb201-graph", "nb201-asgcn"]


@pytest.mark.parametrize("name", CELLS)
def test_shipped_spaces_load_with_their_recipes(name):
    card = load_space(name).card
    assert {"quick", "standard", "thesis"} <= set(card.recipes)
    assert card.default_recipe == "quick"


@pytest.mark.parametrize(("recipe", "epochs"), [("brief", 15), ("brief-large", 6)])
def test_what_is_compared_is_trained_alike(recipe, epochs):
    own = {"channels", "cells_per_stage", "dropout"}
    recipes = [
        load_any_space(name).card.recipe(recipe).model_dump(exclude=own)
        for name in ("nb201", "nb201-graph", "nb201-asgcn", "models", "models-asgcn")
    ]
    assert recipes[0]["epochs"] == epochs
    assert recipes[1:] == recipes[:1] * 4


@pytest.mark.parametrize("name", CELLS)
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
        check_card(*read_card("search_spaces", "bad"), Example)
    assert len(str(caught.value)) < 500


# ------------------------------------------------------------------------- datasets/README.md


def test_the_page_on_data_sets_names_all_cards_readers_and_steps() -> None:
    page = (CHECKOUT / "datasets" / "README.md").read_text("utf-8")
    cards = {path.stem for path in (CHECKOUT / "datasets").glob("*.toml")}
    assert cards == set(re.findall(r"\]\(([\w-]+)\.toml\)", page))
    tables = set(re.findall(r"^\| `([\w-]+)` \|", page, re.MULTILINE))
    assert tables == {*STEPS, *READERS} - {"synthetic"}


def test_the_card_in_the_page_on_data_sets_can_be_used() -> None:
    page = (CHECKOUT / "datasets" / "README.md").read_text("utf-8")
    [example] = re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    card = check_card(tomllib.loads(example), Path("example.toml"), DatasetCard)
    assert {protocol.kind for protocol in card.protocols.values()} == {"subjects", "cameras"}
    assert card.raw
    match = re.search(card.checked_options().name_pattern, "karate/subject3_cam1")
    assert match
    assert match.groupdict() == {"action": "karate", "subject": "3", "camera": "1"}


def test_a_card_like_another_says_only_what_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "datasets").mkdir()
    mine = tmp_path / "datasets" / "mine.toml"
    mine.write_text('like = "ntu60-hrnet"\nname = "mine"\nbodies = 1\n')
    card, other = load_dataset_card("mine"), load_dataset_card("ntu60-hrnet")
    assert (card.name, card.bodies, other.bodies) == ("mine", 1, 2)
    assert card.classes == other.classes == load_dataset_card("ntu60").classes
    assert card.axes == ("x", "y", "score")
    for like in ('"mine"', "3"):
        mine.write_text(f'like = {like}\nname = "mine"\n')
        with pytest.raises(InputError, match=r"mine\.toml: like: must be the name of another card"):
            load_dataset_card("mine")
