"""Actional links riding along with a clip, as channels behind its coordinates.

AS-GCN's links between joints (Li et al., CVPR 2019) belong to one body of one clip.
Whatever loads, moves and trains a batch here passes one tensor, so the links travel inside it:
channel `C + j * V + v` at joint w holds `A_j[v, w]`, joint v's share in joint w by links of type j,
the same in every frame. `network.aim` infers the links; nothing here computes any.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nas_skeleton.spaces.card import LINK_TYPES


def with_links(clips: Tensor, links: Tensor) -> Tensor:
    """Append links to clips.

    Args:
        clips: coordinates, `(N, C, T, V, M)`.
        links: `(N, LINK_TYPES, V, V, M)`; entry `[n, j, v, w, m]` weighs v's share in w.

    Returns:
        `(N, C + LINK_TYPES * V, T, V, M)`.
    """
    n, _, t, v, m = clips.shape
    channels = links.reshape(n, LINK_TYPES * v, 1, v, m).expand(-1, -1, t, -1, -1)
    return torch.cat((clips, channels.to(clips)), dim=1)


def split_links(clips: Tensor, joints: int) -> tuple[Tensor, Tensor]:
    """Undo `with_links`: coordinates `(N, C, T, V, M)`, links `(N, LINK_TYPES, V, V, M)`.

    The links are those of the first frame.
    """
    channels = clips.shape[1] - LINK_TYPES * joints
    n, _, _, v, m = clips.shape
    links = clips[:, channels:, 0].reshape(n, LINK_TYPES, joints, v, m)
    return clips[:, :channels], links
