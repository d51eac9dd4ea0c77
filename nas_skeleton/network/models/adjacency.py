"""Adjacency of a skeleton as the models after ST-GCN use it: directed subsets, k-hop scales.

ST-GCN's own spatial partition is in `network.graph`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nas_skeleton.network.graph import hop_distances
from nas_skeleton.skeletons.layouts import Layout


def directed_subsets(layout: Layout) -> NDArray[np.float32]:
    """Three subsets `(3, V, V)`: each joint itself, inward bones, outward bones.

    Of 2s-AGCN (Shi et al., CVPR 2019), and used by CTR-GCN and PYSKL. Entry `[1, parent, child]`
    and entry `[2, child, parent]` belong to a bone; columns are divided by their sums, which are
    then one, or zero where a joint has no parent or no child.
    """
    joints = len(layout.joints)
    inward = np.zeros((joints, joints))
    for child, parent in layout.edges:
        inward[parent, child] = 1
    outward = inward.T
    # A joint has at most one parent: the columns of `inward` sum to one or zero as they are.
    shared = outward / np.maximum(outward.sum(axis=0, keepdims=True), 1)
    return np.stack([np.eye(joints), inward, shared]).astype(np.float32)


def adjacency(layout: Layout) -> NDArray[np.float64]:
    """1 where a bone joins two joints, `(V, V)`, without self loops."""
    neighbours: NDArray[np.float64] = np.where(hop_distances(layout, limit=1) == 1, 1.0, 0.0)
    return neighbours


def disentangled_scales(neighbours: NDArray[np.float64], scales: int) -> NDArray[np.float32]:
    """MS-G3D's adjacencies of scale 0 to `scales - 1`, `(scales, V, V)` (Liu et al., CVPR 2020).

    Scale k joins every node to those exactly k steps away and to itself, normalised symmetrically
    (`D^-1/2 A D^-1/2`). Scale 0, and any scale beyond the graph's diameter, is the identity.

    Args:
        neighbours: 0/1 adjacency `(V, V)`, symmetric, with or without self loops.
        scales: how many.
    """
    identity = np.eye(len(neighbours))
    step = np.minimum(neighbours + identity, 1)
    within = identity  # pairs at most k steps apart
    found = [identity]
    for _ in range(1, scales):
        further = np.minimum(within @ step, 1)
        exactly = further - within + identity
        degrees = exactly.sum(axis=1)
        found.append(exactly / np.sqrt(np.outer(degrees, degrees)))
        within = further
    return np.stack(found).astype(np.float32)
