from itertools import product
from typing import get_args

import pytest
from pydantic import ValidationError

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons import inputs
from nas_skeleton.skeletons import modalities as of_skeletons
from nas_skeleton.skeletons.inputs import ENCODINGS, MOTIONS, SAMPLINGS
from nas_skeleton.skeletons.layouts import UTDMHAD
from nas_skeleton.spaces import load_space
from nas_skeleton.spaces.card import (
    MODALITIES,
    Input,
    ModelsCard,
    SpaceCard,
    load_space_card,
)
from nas_skeleton.spaces.recipe import Recipe

# Tables are keyed by these: they change only when the shipped recipes do.
HASHES = {
    ("nb201", "quick"): "2584a9a95127",
    ("nb201", "standard"): "0b6c50dfef3d",
    ("nb201", "thesis"): "6491494439b0",
    ("nb201-image", "quick"): "4c56473b3d70",
    ("nb201-image", "standard"): "65d33d896601",
    ("nb201-image", "thesis"): "8202ddc47687",
    ("nb201-graph", "quick"): "628e7544d514",
    ("nb201-graph", "standard"): "1c9a3d6708d5",
    ("nb201-graph", "thesis"): "c8e0a64f6896",
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


# --- operations


def test_the_space_on_the_graph_has_the_cells_and_keys_of_the_other_and_trains_otherwise():
    grid, graph = load_space("nb201"), load_space("nb201-graph")
    assert (grid.card.operations, graph.card.operations) == ("grid", "graph")
    for index in (0, 1462, 6111, 15624):
        assert grid.arch_string(index) == graph.arch_string(index)
        assert grid.functional_key(index) == graph.functional_key(index)
        assert grid.nb201_key(index) == graph.nb201_key(index)
    assert grid.card.recipes == graph.card.recipes
    assert grid.card.stem == graph.card.stem
    on_pixels = graph.card.model_copy(update={"operations": "grid"})
    assert on_pixels.recipe_hash() not in (graph.card.recipe_hash(), grid.card.recipe_hash())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"macro": {"reduction": "both"}}, "reduction 'time'"),
        ({"input": {"encoding": "image"}}, "not images"),
    ],
)
def test_operations_on_a_graph_need_one_that_keeps_its_joints(change, says):
    content = load_space("nb201-graph").card.model_dump()
    with pytest.raises(ValidationError, match=says):
        SpaceCard.model_validate(content | change)


# --- modalities, sampling, augmentation


def hash_with(part, **values):
    card = load_space("nb201").card
    if part == "input":
        chosen = Input.model_validate(card.input.model_dump() | values)
        return card.model_copy(update={"input": chosen}).recipe_hash()
    chosen = Recipe.model_validate(card.recipe().model_dump() | values)
    return card.model_copy(update={"recipes": {"quick": chosen}}).recipe_hash()


def test_every_key_of_the_input_and_of_augmentation_is_part_of_the_hash_unless_it_is_the_default():
    unchanged = [
        hash_with("input", modalities=["joint"], motion="before-sampling", sampling="linear"),
        hash_with("recipe", mirror=0.0, rotation=0.0, scaling=0.0),
    ]
    assert set(unchanged) == {HASHES["nb201", "quick"]}
    changed = [
        hash_with("input", modalities=["bone"]),
        hash_with("input", modalities=["joint", "bone"]),
        hash_with("input", modalities=["bone", "joint"]),
        hash_with("input", motion="after-sampling"),
        hash_with("input", sampling="uniform"),
        hash_with("recipe", mirror=0.5),
        hash_with("recipe", rotation=0.3),
        hash_with("recipe", scaling=0.2),
    ]
    assert len({*changed, *unchanged}) == len(changed) + 1


def test_a_space_with_other_modalities_is_another_one_to_the_hash_and_the_same_to_the_card():
    card = load_space("nb201").card
    bone = load_space("nb201", "bone").card
    assert bone.recipe_hash() == hash_with("input", modalities=["bone"])
    assert bone.model_dump(exclude={"input"}) == card.model_dump(exclude={"input"})
    assert load_space("nb201", "joint").card == load_space("nb201").card == card
    assert load_space("nb201", "joint+bone-motion").card.input.modalities == (
        "joint",
        "bone-motion",
    )


@pytest.mark.parametrize(
    ("modality", "message"),
    [
        ("bones", "unknown modality 'bones': known are joint, bone,"),
        ("joint+", "unknown modality ''"),
        ("bone+bone", "twice"),
    ],
)
def test_a_modality_that_is_none_is_refused_in_one_line(modality, message):
    with pytest.raises(InputError, match=message) as caught:
        load_space("nb201", modality)
    assert "\n" not in str(caught.value)


def names(key):
    """What a card may say of a key of its input."""
    return get_args(Input.model_fields[key].annotation)


def test_cards_know_the_inputs_that_skeletons_have_under_the_same_names():
    assert MODALITIES == of_skeletons.MODALITIES
    assert sorted(names("encoding")) == sorted(ENCODINGS)
    assert sorted(names("motion")) == sorted(MOTIONS)
    assert sorted(names("sampling")) == sorted(SAMPLINGS)


class Recordings:
    """What is asked of a data set before it is encoded."""

    name, axes, channels, bodies = "made up", ("x", "y", "z"), 3, 2
    layout = UTDMHAD

    def __len__(self):
        return 7


def test_cards_refuse_the_inputs_that_skeletons_refuse_and_count_their_channels_alike():
    choices = [("joint",), ("bone",), ("joint", "bone-motion"), ("bone", "bone"), ("speed",), ()]
    for encoding, chosen, sampling in product(ENCODINGS, choices, SAMPLINGS):
        way = inputs._Way(encoding, 8, chosen, "before-sampling", sampling)
        values = {"encoding": encoding, "modalities": chosen, "sampling": sampling}
        try:
            way.check(Recordings())
        except InputError:
            with pytest.raises(ValidationError):
                Input.model_validate(values)
            continue
        card = Input.model_validate(values)
        _, channels, _, _, bodies = way.shape(Recordings())
        assert (card.channels(3), card.bodies(2)) == (channels, bodies)


def test_channels_of_the_input_follow_from_axes_and_modalities():
    assert load_space("nb201").card.input.channels(2) == 2
    assert load_space("nb201", "joint+bone").card.input.channels(3) == 6
    assert load_space("nb201-image").card.input.channels(3) == 3


@pytest.mark.parametrize(
    "values", [{"modalities": ["bone"]}, {"motion": "after-sampling"}, {"sampling": "uniform"}]
)
def test_an_image_has_no_other_input_than_itself(values):
    with pytest.raises(ValidationError, match="image"):
        Input.model_validate({"encoding": "image", **values})
    with pytest.raises(InputError, match="no other modality"):
        load_space("nb201-image", "bone")


def test_an_image_is_not_augmented():
    content = load_space("nb201-image").card.model_dump()
    content["recipes"]["quick"]["mirror"] = 0.5
    with pytest.raises(ValidationError, match="not mirrored"):
        SpaceCard.model_validate(content)


LINKED = {
    "name": "linked",
    "title": "t",
    "cell": "nb201",
    "default_recipe": "r",
    "input": {"encoding": "centred-first-frame"},
    "stem": {
        "kind": "asgcn",
        "blocks": 1,
        "data_norm": "joints",
        "partition": "spatial-stgcn",
        "temporal_kernel": 3,
    },
    "aim": {},
    "macro": {"reduction": "both"},
    "recipes": {"r": load_space_card("nb201").recipe("quick").model_dump()},
}
MODELS = {
    "name": "m",
    "title": "t",
    "models": ["stgcn"],
    "default_recipe": "r",
    "input": {"encoding": "centred-first-frame"},
    "recipes": {"r": load_space_card("models").recipe("quick").model_dump()},
}


def test_links_are_channels_behind_the_coordinates():
    card = SpaceCard.model_validate(LINKED)
    assert card.channels(3, 20) == 3 + 2 * 20
    assert load_space_card("nb201").channels(3, 20) == 3


def test_how_links_are_inferred_is_part_of_the_hash():
    other = SpaceCard.model_validate({**LINKED, "aim": {"seed": 1}})
    assert other.recipe_hash() != SpaceCard.model_validate(LINKED).recipe_hash()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"aim": None}, "go together"),
        ({"stem": load_space_card("nb201").stem.model_dump()}, "go together"),
        ({"input": {"encoding": "centred-first-frame", "future": 3}}, "do not predict"),
        ({"input": {"encoding": "centred-first-frame", "sampling": "uniform"}}, "whole clip"),
        ({"aim": {"batch_size": 1}}, "greater than or equal to 2"),
        ({"recipes": {"r": {**LINKED["recipes"]["r"], "mirror": 0.5}}}, "A-links are not mirrored"),
    ],
)
def test_a_card_with_links_holds_together(change, message):
    with pytest.raises(ValidationError, match=message):
        SpaceCard.model_validate({**LINKED, **change})


FUTURE = {"encoding": "centred-first-frame", "future": 10}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"models": []}, "at least 1"),
        ({"models": ["stgcn", "stgcn"]}, "twice"),
        ({"models": ["resnet"]}, "stgcn"),
        ({"models": ["asgcn"]}, r"needs a table \[aim\]"),
        ({"models": ["asgcn"], "aim": {}}, "input.future"),
        ({"aim": {}}, "no other does"),
        ({"input": FUTURE}, "no other does"),
        ({"models": ["asgcn", "stgcn"]}, "card of its own"),
        ({"input": {**FUTURE, "sampling": "uniform"}}, "go with sampling 'linear'"),
    ],
)
def test_a_card_of_models_holds_together(change, message):
    with pytest.raises(ValidationError, match=message):
        ModelsCard.model_validate({**MODELS, **change})


def test_an_index_cannot_come_to_mean_another_model():
    first, second = (
        ModelsCard.model_validate({**MODELS, "models": models})
        for models in (["stgcn", "agcn"], ["agcn", "stgcn"])
    )
    assert first.recipe_hash() != second.recipe_hash()
