import numpy as np
import pytest

from nas_skeleton.network.graph import hop_distances
from nas_skeleton.network.models.adjacency import adjacency, directed_subsets, disentangled_scales
from nas_skeleton.skeletons.layouts import COCO17, NTU, UTDMHAD


@pytest.mark.parametrize("layout", [NTU, UTDMHAD, COCO17])
def test_columns_of_directed_subsets_sum_to_one_or_zero(layout):
    itself, inward, outward = directed_subsets(layout)
    assert np.array_equal(itself, np.eye(len(layout.joints)))
    assert set(inward.sum(axis=0)) == {0, 1}
    assert np.isin(outward.sum(axis=0).round(6), (0, 1)).all()
    assert np.count_nonzero(inward) == np.count_nonzero(outward) == len(layout.edges)


def test_inward_bones_lead_from_parent_to_child_and_outward_ones_back():
    _, inward, outward = directed_subsets(UTDMHAD)
    hand, wrist = UTDMHAD.joints.index("left hand"), UTDMHAD.joints.index("left wrist")
    assert (inward[wrist, hand], outward[hand, wrist]) == (1, 1)
    assert (inward[hand, wrist], outward[wrist, hand]) == (0, 0)
    shoulders = UTDMHAD.joints.index("shoulder centre")  # four children share the column
    assert np.unique(outward[:, shoulders]).tolist() == [0, 0.25]


@pytest.mark.parametrize("layout", [NTU, UTDMHAD])
def test_scale_k_joins_joints_exactly_k_bones_apart(layout):
    scales = disentangled_scales(adjacency(layout), 13)
    distances = hop_distances(layout)
    identity = np.eye(len(layout.joints))
    assert np.array_equal(scales[0], identity)
    for k, scale in enumerate(scales):
        assert np.array_equal(scale > 0, (distances == k) | (identity > 0))
        assert np.array_equal(scale, scale.T)


def test_scales_are_normalised_symmetrically():
    for scale in disentangled_scales(adjacency(NTU), 13):
        degrees = np.count_nonzero(scale, axis=1)
        for v, w in np.argwhere(scale):
            assert scale[v, w] == pytest.approx((degrees[v] * degrees[w]) ** -0.5)


def test_scales_beyond_the_longest_path_are_the_identity():
    longest = int(hop_distances(NTU).max())
    assert longest == 12
    scales = disentangled_scales(adjacency(NTU), longest + 3)
    assert not np.array_equal(scales[longest], np.eye(25))
    assert np.array_equal(scales[longest + 1], np.eye(25))
    assert np.array_equal(scales[longest + 2], np.eye(25))


def test_in_a_window_a_joint_is_one_step_from_itself_and_its_neighbours_in_all_frames():
    nodes = np.tile(adjacency(UTDMHAD) + np.eye(20), (3, 3))
    one = disentangled_scales(nodes, 2)[1] > 0
    near = hop_distances(UTDMHAD) <= 1
    for first in range(3):
        for second in range(3):
            block = one[first * 20 : first * 20 + 20, second * 20 : second * 20 + 20]
            assert np.array_equal(block, near)
