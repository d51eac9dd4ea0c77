import numpy as np
import pytest

from nas_skeleton.network.graph import hop_distances, spatial_partition
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


@pytest.mark.parametrize("layout", [NTU, UTDMHAD])
@pytest.mark.parametrize("partition", ["spatial-stgcn", "spatial-distance"])
def test_subsets_share_out_the_column_normalised_adjacency(layout, partition):
    subsets = spatial_partition(layout, partition)
    assert np.allclose(subsets.sum(axis=(0, 1)), 1)
    assert (np.count_nonzero(subsets, axis=0) <= 1).all()


def test_last_subset_holds_neighbours_on_the_side_of_the_centre():
    subsets = spatial_partition(UTDMHAD, "spatial-distance")
    spine, hips = UTDMHAD.joints.index("spine"), UTDMHAD.joints.index("hip centre")
    assert subsets[2, spine, hips] > 0  # the spine is on the hips' way to the shoulders
    assert subsets[1, hips, spine] > 0


def test_largest_distance_on_the_ntu_tree_is_twelve():
    assert hop_distances(NTU).max() == 12
