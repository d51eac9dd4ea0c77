"""Adjacency of a skeleton, split into subsets by the spatial partition of ST-GCN.

Yan, Xiong, Lin: "Spatial Temporal Graph Convolutional Networks", AAAI 2018, section 3.3. With one
hop there are three subsets: the joint itself, the neighbours on the outer side of it (or as far
from the centre joint as it), and the neighbours on the inner side. Every further hop adds two, as
in the structural links of AS-GCN (Li et al., CVPR 2019).
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


def spatial_partition(layout: Layout, partition: Partition, hops: int = 1) -> NDArray[np.float32]:
    """Adjacency subsets `(1 + 2 * hops, V, V)`; entry `[k, v, w]` weighs joint v's share in w.

    The sum over the subsets is the 0/1 matrix of joints at most `hops` bones apart, divided by its
    column sums. Subset 0 holds w itself; then, for each number of hops, one subset holds the joints
    v further from the centre than w or as far, the next those closer: the order of the published
    code, so that its weights fit.

    The two variants differ in the distance to the centre joint. "spatial-stgcn" limits it to
    `hops`, as the published code does: joints further away are all "equally far", which leaves few
    entries in the subsets of the closer (non-zeros for NTU's 25 joints and one hop: 25, 40, 8).
    "spatial-distance" uses true distances (25, 24, 24). Weights trained with one do not fit the
    other.
    """
    distances = hop_distances(layout, limit=hops)
    within = distances <= hops
    weights = within / within.sum(axis=0, keepdims=True)
    limit = hops if partition == "spatial-stgcn" else None
    to_centre = hop_distances(layout, limit)[layout.centre]
    closer = to_centre[:, None] < to_centre[None, :]
    masks = [distances == 0]
    for hop in range(1, hops + 1):
        masks += [(distances == hop) & ~closer, (distances == hop) & closer]
    return np.stack([weights * mask for mask in masks]).astype(np.float32)
