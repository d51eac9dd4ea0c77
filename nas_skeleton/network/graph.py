"""Adjacency of a skeleton, split into subsets by the three partitions of ST-GCN.

Yan, Xiong, Lin: "Spatial Temporal Graph Convolutional Networks", AAAI 2018, section 3.3. All share
out the same matrix: the 0/1 matrix of joints at most `hops` bones apart, divided by its column
sums. Entry `[k, v, w]` weighs joint v's share in joint w.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nas_skeleton.skeletons.layouts import Layout

Partition = Literal["spatial-stgcn", "spatial-distance"]


def hop_distances(layout: Layout, limit: int | None = None) -> NDArray[np.float64]:
    """Number of bones between any two joints, `(V, V)`; infinite beyond `limit` hops."""
    joints = len(layout.joints)
    neighbours = np.eye(joints)
    for child, parent in layout.edges:
        neighbours[child, parent] = neighbours[parent, child] = 1
    distances = np.full((joints, joints), np.inf)
    reached = np.eye(joints)
    for hops in range(joints if limit is None else limit + 1):
        distances[(reached > 0) & np.isinf(distances)] = hops
        reached = reached @ neighbours
    return distances


def uniform_partition(layout: Layout, hops: int = 1) -> NDArray[np.float32]:
    """All joints at most `hops` bones apart as one subset, `(1, V, V)` ("uni-labeling")."""
    return _column_shares(hop_distances(layout, limit=hops) <= hops)[None].astype(np.float32)


def distance_partition(layout: Layout, hops: int = 1) -> NDArray[np.float32]:
    """A subset for every number of bones apart, `(1 + hops, V, V)`."""
    distances = hop_distances(layout, limit=hops)
    weights = _column_shares(distances <= hops)
    subsets = [weights * (distances == hop) for hop in range(hops + 1)]
    return np.stack(subsets).astype(np.float32)


def spatial_partition(layout: Layout, partition: Partition, hops: int = 1) -> NDArray[np.float32]:
    """Each number of bones apart split by side, `(1 + 2 * hops, V, V)`.

    Subset 0 holds w itself; then, for each number of hops, one subset holds the joints v further
    from the centre than w or as far, the next those closer: the order of the published code, so
    that its weights fit. More than one hop is used for AS-GCN's structural links (Li et al., CVPR
    2019).

    The two variants differ in the distance to the centre joint. "spatial-stgcn" limits it to
    `hops`, as the published code does: joints further away are all "equally far", which leaves few
    entries in the subsets of the closer (non-zeros for NTU's 25 joints and one hop: 25, 40, 8).
    "spatial-distance" uses true distances (25, 24, 24). Weights trained with one do not fit the
    other.
    """
    distances = hop_distances(layout, limit=hops)
    weights = _column_shares(distances <= hops)
    limit = hops if partition == "spatial-stgcn" else None
    to_centre = hop_distances(layout, limit)[layout.centre]
    closer = to_centre[:, None] < to_centre[None, :]
    masks = [distances == 0]
    for hop in range(1, hops + 1):
        masks += [(distances == hop) & ~closer, (distances == hop) & closer]
    return np.stack([weights * mask for mask in masks]).astype(np.float32)


def _column_shares(within: NDArray[np.bool_]) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = within / within.sum(axis=0, keepdims=True)
    return shares
