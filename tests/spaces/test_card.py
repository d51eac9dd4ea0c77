import pytest
from pydantic import ValidationError

from nas_skeleton.spaces import load_space
from nas_skeleton.spaces.card import Recipe

# Tables are keyed by these: they change only when the shipped recipes do.
HASHES = {
    ("nb201", "quick"): "2584a9a95127",
    ("nb201", "standard"): "0b6c50dfef3d",
    ("nb201", "thesis"): "6491494439b0",
    ("nb201-image", "quick"): "4c56473b3d70",
    ("nb201-image", "standard"): "65d33d896601",
    ("nb201-image", "thesis"): "8202ddc47687",
}


@pytest.mark.parametrize(("space", "recipe"), HASHES)
def test_keys_added_to_recipes_since_the_first_tables_left_their_hashes_as_they_were(space, recipe):
    assert load_space(space).card.recipe_hash(recipe) == HASHES[space, recipe]


def with_precision(precision):
    card = load_space("nb201").card
    values = card.recipe("quick").model_dump() | {"precision": precision}
    return card.model_copy(update={"recipes": {"quick": Recipe.model_validate(values)}})


def test_precision_is_part_of_the_hash_unless_it_is_float32():
    hashes = {name: with_precision(name).recipe_hash() for name in ("float32", "tf32", "bfloat16")}
    assert hashes["float32"] == HASHES["nb201", "quick"]
    assert len(set(hashes.values())) == 3


def test_recipes_are_float32_where_the_card_does_not_say():
    assert load_space("nb201").card.recipe("thesis").precision == "float32"


def test_unknown_precision_is_refused():
    with pytest.raises(ValidationError, match="precision"):
        with_precision("float16")
