import numpy as np
import pytest

from nas_skeleton.network.graph import (
    distance_partition,
    hop_distances,
    spatial_partition,
    uniform_partition,
)
from nas_skeleton.skeletons.layouts import NTU, UTDMHAD


@pytest.mark.parametrize(
    ("layout", "partition", "nonzeros"),
    [
        (NTU, "spatial-stgcn", [25, 40, 8]),  # measured on the published code
        (NTU, "spatial-distance", [25, 24, 24]),
        (UTDMHAD, "spatial-stgcn", [20, 31, 7]),
        (UTDMHAD, "spatial-distance", [20, 19, 19]),
    ],
)
def test_subsets_have_the_known_number_of_entries(layout, partition, nonzeros):
    assert np.count_nonzero(spatial_partition(layout, partition), axis=(1, 2)).tolist() == nonzeros


def test_four_hops_give_the_known_number_of_entries():
    subsets = spatial_partition(NTU, "spatial-stgcn", hops=4)  # AS-GCN's structural links
    nonzeros = [25, 28, 20, 34, 20, 30, 30, 40, 26]  # measured on the published code
    assert np.count_nonzero(subsets, axis=(1, 2)).tolist() == nonzeros


@pytest.mark.parametrize("layout", [NTU, UTDMHAD])
@pytest.mark.parametrize("partition", ["spatial-stgcn", "spatial-distance"])
@pytest.mark.parametrize("hops", [1, 2, 4])
def test_subsets_share_out_the_column_normalised_adjacency(layout, partition, hops):
    subsets = spatial_partition(layout, partition, hops)
    assert len(subsets) == 1 + 2 * hops
    assert np.array_equal(subsets.sum(axis=0) > 0, hop_distances(layout) <= hops)
    assert np.allclose(subsets.sum(axis=(0, 1)), 1)
    assert (np.count_nonzero(subsets, axis=0) <= 1).all()


@pytest.mark.parametrize("layout", [NTU, UTDMHAD])
@pytest.mark.parametrize("hops", [1, 2])
def test_uniform_and_distance_partition_equal_the_loop_over_pairs_of_joints(layout, hops):
    distances, joints = hop_distances(layout), len(layout.joints)
    expected = np.zeros((hops + 1, joints, joints))
    for w in range(joints):
        near = [v for v in range(joints) if distances[v, w] <= hops]
        for v in near:
            expected[int(distances[v, w]), v, w] = 1 / len(near)
    assert np.allclose(distance_partition(layout, hops), expected)
    assert np.allclose(uniform_partition(layout, hops), expected.sum(axis=0, keepdims=True))


def test_last_subset_holds_neighbours_on_the_side_of_the_centre():
    subsets = spatial_partition(UTDMHAD, "spatial-distance")
    spine, hips = UTDMHAD.joints.index("spine"), UTDMHAD.joints.index("hip centre")
    assert subsets[2, spine, hips] > 0  # the spine is on the hips' way to the shoulders
    assert subsets[1, hips, spine] > 0


@pytest.mark.parametrize("partition", ["spatial-stgcn", "spatial-distance"])
def test_subsets_of_two_hops_equal_the_loop_over_pairs_of_joints(partition):
    limit = 2 if partition == "spatial-stgcn" else None
    distances, to_centre = hop_distances(NTU), hop_distances(NTU, limit)[NTU.centre]
    expected = np.zeros((5, 25, 25))
    for w in range(25):
        near = [v for v in range(25) if distances[v, w] <= 2]
        for v in near:
            hop = int(distances[v, w])
            subset = 0 if hop == 0 else 2 * hop if to_centre[v] < to_centre[w] else 2 * hop - 1
            expected[subset, v, w] = 1 / len(near)
    assert np.allclose(spatial_partition(NTU, partition, hops=2), expected)


def test_largest_distance_on_the_ntu_tree_is_twelve():
    assert hop_distances(NTU).max() == 12
