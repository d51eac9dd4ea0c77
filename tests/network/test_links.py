import torch

from nas_skeleton.network.links import split_links, with_links
from nas_skeleton.spaces.card import LINK_TYPES

N, C, T, V, M = 2, 3, 4, 5, 2


def batch():
    generator = torch.Generator().manual_seed(0)
    clips = torch.randn(N, C, T, V, M, generator=generator)
    return clips, torch.randn(N, LINK_TYPES, V, V, M, generator=generator)


def test_channel_j_v_at_joint_w_is_the_share_of_v_in_w_in_every_frame():
    clips, links = batch()
    joined = with_links(clips, links)
    assert joined.shape == (N, C + LINK_TYPES * V, T, V, M)
    for j in range(LINK_TYPES):
        for v in range(V):
            for w in range(V):
                expected = links[:, None, j, v, w].expand(N, T, M)
                assert torch.equal(joined[:, C + j * V + v, :, w], expected)


def test_splitting_undoes_joining():
    clips, links = batch()
    coordinates, found = split_links(with_links(clips, links), V)
    assert torch.equal(coordinates, clips)
    assert torch.equal(found, links)


def test_links_take_the_precision_of_the_clips():
    clips, links = batch()
    joined = with_links(clips.double(), links)
    assert joined.dtype == torch.float64
