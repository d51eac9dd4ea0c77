import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.spaces import CellSpace
from nas_skeleton.spaces.nni_names import index_of_sample, nni_sample, nni_search_space


def test_a_cell_has_the_labels_and_operations_of_nnis_hub():
    # Index 9: |avg_pool_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|nor_conv_3x3~2|
    assert nni_sample(CellSpace(), 9) == {
        "cell/0_1": "avg_pool_3x3",
        "cell/0_2": "none",
        "cell/1_2": "none",
        "cell/0_3": "skip_connect",
        "cell/1_3": "none",
        "cell/2_3": "conv_3x3",
    }


def test_all_cells_survive_the_way_to_nni_and_back():
    space = CellSpace()
    assert [index_of_sample(space, nni_sample(space, i)) for i in range(15_625)] == list(
        range(15_625)
    )


def test_the_order_of_a_samples_labels_is_of_no_importance():
    space = CellSpace()
    sample = nni_sample(space, 123)
    assert index_of_sample(space, dict(reversed(sample.items()))) == 123


@pytest.mark.parametrize("change", [{"cell/0_1": "max_pool_3x3"}, {"cell/0_1": None}])
def test_what_is_no_cell_is_said(change):
    with pytest.raises(InputError, match="no cell of NNI's NasBench201"):
        index_of_sample(CellSpace(), nni_sample(CellSpace(), 0) | change)


def test_the_search_space_has_every_sample_and_no_other():
    space = nni_search_space()
    samples = [nni_sample(CellSpace(), index) for index in range(15_625)]
    for label, choice in space.items():
        assert choice["_type"] == "choice"
        assert {sample[label] for sample in samples} == set(choice["_value"])
    assert all(set(sample) == set(space) for sample in samples)
