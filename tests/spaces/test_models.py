"""Reference models as a space: what a search, a table and the command line see of them."""

import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.spaces import Model, ModelSpace, Space, find_model, load_any_space, load_space
from nas_skeleton.spaces.models import MODEL_NAMES


def test_the_cards_have_every_model_once():
    names = [*load_any_space("models").card.models, *load_any_space("models-asgcn").card.models]
    assert sorted(names) == sorted(MODEL_NAMES)


def test_indices_of_published_tables_stay():
    models = load_any_space("models").card.models
    assert models[:6] == ("stgcn", "agcn", "aagcn", "msg3d", "ctrgcn", "stgcn++")


def test_a_model_is_found_by_index_and_by_name():
    space = load_any_space("models")
    assert isinstance(space, ModelSpace)
    assert len(space) == 6
    assert space.architecture(5) == Model("stgcn++")
    assert space.resolve("stgcn++") == space.resolve("5") == space.index("stgcn++") == 5
    assert space.nb201_key(5) == space.functional_key(5) == str(space.architecture(5)) == "stgcn++"
    assert space.functional_classes()["agcn"] == (1,)


@pytest.mark.parametrize("arch", ["resnet", "6", "-1", ""])
def test_what_is_no_model_of_the_space_is_refused(arch):
    with pytest.raises(InputError):
        load_any_space("models").resolve(arch)


def test_a_model_is_looked_up_in_all_cards():
    space, index = find_model("asgcn", "bone")
    assert (space.name, index, space.card.input.modalities) == ("models-asgcn", 0, ("bone",))
    with pytest.raises(InputError, match=r"unknown model 'resnet': known are .*stgcn\+\+"):
        find_model("resnet")


def test_cells_and_models_are_not_mistaken_for_each_other():
    assert isinstance(load_any_space("nb201"), Space)
    assert load_any_space("nb201").architecture(6111) == load_space("nb201").cell(6111)
    with pytest.raises(InputError, match="has reference models, no cells"):
        load_space("models")
