"""The reference models as wholes: published sizes, and what any clip, layout or device must do."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from nas_skeleton.errors import InputError
from nas_skeleton.network.counting import network_cost
from nas_skeleton.network.dropout import Dropout
from nas_skeleton.network.initialise import initialise
from nas_skeleton.network.models import build_model
from nas_skeleton.network.models.stgcn import stgcn
from nas_skeleton.skeletons.layouts import COCO17, NTU, NWUCLA, OPENPOSE18, UTDMHAD

MODELS = ("stgcn", "agcn", "aagcn", "msg3d", "ctrgcn", "stgcn++")
GIGA = 1e9


def built(name, layout=UTDMHAD, *, classes=5, bodies=1, in_channels=3, dropout=0.0, seed=1):
    network = build_model(
        name,
        in_channels=in_channels,
        classes=classes,
        layout=layout,
        bodies=bodies,
        dropout=dropout,
    )
    initialise(network, seed)
    return network


def clips(*shape, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=dtype)


def shaken(network):
    """All parameters and statistics away from where they start, which for some is zero."""
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for tensor in [*network.parameters(), *network.buffers()]:
            if tensor.is_floating_point():
                noise = torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
                tensor += 0.1 * noise.to(tensor.dtype)
    return network


def agree(scores, expected, within=1e-9):
    return ((scores - expected).abs().max() <= within * expected.abs().max()).item()


@pytest.mark.parametrize(
    ("name", "layout", "classes", "params"),
    [
        ("stgcn", NTU, 60, 3_098_832),
        ("stgcn", NTU, 27, 3_090_351),
        ("stgcn", UTDMHAD, 27, 3_083_571),
        # Published with four decimals of a million; the digits behind are those of this code.
        ("agcn", NTU, 60, 3_469_510),
        ("aagcn", NTU, 60, 3_781_668),
        ("msg3d", NTU, 60, 3_194_595),
        ("ctrgcn", NTU, 60, 1_446_672),
        ("stgcn++", NTU, 60, 1_403_144),
    ],
)
def test_parameters_are_as_many_as_published(name, layout, classes, params):
    network = built(name, layout, classes=classes, bodies=2)
    assert sum(parameter.numel() for parameter in network.parameters()) == params


@pytest.mark.parametrize(
    ("name", "frames", "gigamacs"),
    [
        ("stgcn", 300, 17.09),
        ("stgcn", 100, 5.70),
        ("stgcn", 64, 3.65),
        ("agcn", 300, 19.41),
        ("aagcn", 300, 19.41),
        ("aagcn", 100, 6.47),
        ("msg3d", 64, 6.99),
        ("msg3d", 100, 10.92),
        ("msg3d", 300, 32.77),
        ("ctrgcn", 64, 1.94),
        ("ctrgcn", 100, 2.97),
        ("ctrgcn", 300, 8.71),
        ("stgcn++", 64, 1.87),
        ("stgcn++", 100, 2.925),
        ("stgcn++", 300, 8.78),
    ],
)
def test_multiply_accumulates_are_as_many_as_published(name, frames, gigamacs):
    network = built(name, NTU, classes=60, bodies=2)
    macs = network_cost(network, (3, frames, 25, 2)).macs
    assert macs / GIGA == pytest.approx(gigamacs, rel=0.01)


def test_stgcn_for_kinetics_has_the_published_size():
    cost = network_cost(built("stgcn", OPENPOSE18, classes=400, bodies=2), (3, 150, 18, 2))
    assert cost.params / 1e6 == pytest.approx(3.177, abs=5e-4)
    assert cost.macs / GIGA == pytest.approx(6.106, rel=0.01)


@pytest.mark.parametrize(
    ("partition", "params", "gigamacs"), [("uniform", 2.649, 13.93), ("distance", 2.874, 15.51)]
)
def test_stgcn_with_another_partition_has_the_published_size(partition, params, gigamacs):
    cost = network_cost(stgcn(3, 60, NTU, 0.0, partition), (3, 300, 25, 2))
    assert cost.params / 1e6 == pytest.approx(params, abs=5e-4)
    assert cost.macs / GIGA == pytest.approx(gigamacs, abs=0.005)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("layout", "in_channels", "bodies", "frames"),
    [(COCO17, 2, 1, 1), (OPENPOSE18, 6, 2, 5), (NWUCLA, 12, 1, 8), (NTU, 3, 3, 2)],
)
def test_any_layout_channels_bodies_and_frames_and_a_single_clip(
    name, layout, in_channels, bodies, frames
):
    network = built(name, layout, classes=7, bodies=bodies, in_channels=in_channels).eval()
    scores = network(clips(1, in_channels, frames, len(layout.joints), bodies))
    assert scores.shape == (1, 7)
    assert scores.isfinite().all()


@pytest.mark.parametrize("name", MODELS)
def test_in_evaluation_a_clip_does_not_depend_on_its_company(name):
    network = shaken(built(name, bodies=2)).double().eval()
    batch = clips(3, 3, 6, 20, 2, dtype=torch.float64)
    alone = torch.cat([network(clip[None]) for clip in batch])
    assert agree(network(batch), alone)


@pytest.mark.parametrize("name", MODELS)
def test_memory_format_changes_nothing(name):
    network = shaken(built(name)).double().eval()
    batch = clips(2, 3, 6, 20, 1, dtype=torch.float64)
    expected = network(batch)
    scores = network.to(memory_format=torch.channels_last)(batch)
    assert agree(scores, expected)


@pytest.mark.parametrize("name", MODELS)
def test_single_precision_is_close_to_double(name):
    network = built(name).eval()
    batch = clips(2, 3, 6, 20, 1)
    single = network(batch)
    assert single.dtype == torch.float32
    assert agree(single, network.double()(batch.double()), within=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("name", MODELS)
def test_a_gpu_gives_the_same_scores(name):
    if not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU")
    network = shaken(built(name, bodies=2)).double().eval()
    batch = clips(2, 3, 6, 20, 2, dtype=torch.float64)
    expected = network(batch)
    assert agree(network.cuda()(batch.cuda()).cpu(), expected)


@pytest.mark.parametrize("name", ["stgcn", "stgcn++"])
def test_with_one_data_norm_for_all_bodies_their_order_does_not_matter(name):
    network = shaken(built(name, bodies=2)).double().eval()
    batch = clips(2, 3, 6, 20, 2, dtype=torch.float64)
    assert agree(network(batch.flip(-1)), network(batch))


@pytest.mark.parametrize("name", ["agcn", "aagcn", "msg3d", "ctrgcn"])
def test_with_a_data_norm_per_body_their_places_can_be_told_apart(name):
    network = shaken(built(name, bodies=2)).double().eval()
    batch = clips(2, 3, 6, 20, 2, dtype=torch.float64)
    assert not agree(network(batch.flip(-1)), network(batch), within=1e-4)


@pytest.mark.parametrize("name", ["stgcn", "agcn", "msg3d", "ctrgcn", "stgcn++"])
def test_joints_in_another_order_are_the_same_skeleton(name):
    # Not AAGCN: its attention is a convolution over joints in the layout's order.
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0)).tolist()
    place = {old: new for new, old in enumerate(order)}
    layout = replace(
        UTDMHAD,
        joints=tuple(UTDMHAD.joints[old] for old in order),
        edges=tuple((place[child], place[parent]) for child, parent in UTDMHAD.edges),
        centre=place[UTDMHAD.centre],
        centring_joint=place[UTDMHAD.centring_joint],
        left_right=(),
    )
    networks = [built(name, each).double().eval() for each in (UTDMHAD, layout)]
    for network in networks:
        for module in network.modules():
            # What is drawn joint by joint does not move with the joints.
            if isinstance(getattr(module, "learned", None), nn.Parameter) and name == "msg3d":
                nn.init.zeros_(module.learned)
            elif isinstance(module, nn.BatchNorm1d):
                nn.init.ones_(module.weight)
    batch = clips(2, 3, 6, 20, 1, dtype=torch.float64)
    scores, moved = networks[0](batch), networks[1](batch[:, :, :, order])
    assert agree(scores, moved)


@pytest.mark.parametrize("name", MODELS)
def test_weights_depend_on_the_seed_and_on_nothing_else(name):
    first = built(name, seed=1).state_dict()
    torch.rand(3)  # the global generator has no say
    again, other = built(name, seed=1).state_dict(), built(name, seed=2).state_dict()
    for key, value in first.items():
        assert torch.equal(value, again[key]), key
    assert not all(torch.equal(value, other[key]) for key, value in first.items())


@pytest.mark.parametrize("name", MODELS)
def test_gradients_reach_every_parameter(name):
    network = shaken(built(name, bodies=2)).double()
    network.loss(clips(3, 3, 6, 20, 2, dtype=torch.float64), torch.tensor([0, 1, 2])).backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.any(), key


@pytest.mark.parametrize("name", MODELS)
def test_eight_clips_are_learnt_by_heart_and_known_again_in_evaluation(name):
    network = built(name)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = 1.0  # evaluate with the statistics of the last step
    batch, labels = clips(8, 3, 8, 20, 1), torch.arange(8) % 5
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(15):
        network.train()
        optimiser.zero_grad()
        network.loss(batch, labels).backward()
        optimiser.step()
        network.eval()
        if torch.equal(network(batch).argmax(dim=1), labels):
            return
    pytest.fail("not learnt")


def initial(network, key):
    return network.get_parameter(key).detach()


def test_initial_weights_follow_the_published_distributions():
    network = built("stgcn", classes=60)
    assert initial(network, "blocks.8.temporal.2.weight").std() == pytest.approx(0.02, rel=0.02)
    assert not initial(network, "blocks.8.temporal.2.bias").any()
    assert initial(network, "blocks.8.temporal.0.weight").mean() == pytest.approx(1, abs=0.01)
    assert initial(network, "blocks.8.temporal.0.weight").std() == pytest.approx(0.02, rel=0.2)

    for name in ("agcn", "aagcn"):
        network = built(name, classes=60)
        graph = "blocks.9.spatial." + ("0." if name == "aagcn" else "")
        project = initial(network, graph + "project.1.weight")
        assert project.std() == pytest.approx((2 / (256 * 256 * 3)) ** 0.5, rel=0.02)
        theta = initial(network, graph + "theta.1.weight")
        assert theta.std() == pytest.approx((2 / 64) ** 0.5, rel=0.02)
        temporal = initial(network, "blocks.9.temporal.0.weight")
        assert temporal.std() == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.02)
        assert (initial(network, graph + "norm.weight") == 1e-6).all()
        assert (initial(network, "blocks.4.shortcut.1.weight") == 1).all()
        scores = initial(network, "classifier.weight")
        assert scores.std() == pytest.approx((2 / 60) ** 0.5, rel=0.02)
    for closed in ("frames.weight", "excite.weight", "excite.bias", "joints.bias"):
        assert not initial(network, "blocks.9.spatial.1." + closed).any()
    assert initial(network, "blocks.9.spatial.1.squeeze.weight").std() > 0

    ctrgcn = built("ctrgcn", classes=60)
    assert (initial(ctrgcn, "blocks.9.spatial.norm.weight") == 1e-6).all()
    assert not initial(ctrgcn, "blocks.9.spatial.gate").any()
    branch_norm = initial(ctrgcn, "blocks.9.temporal.branches.0.1.weight")
    assert branch_norm.std() == pytest.approx(0.02, rel=0.4)

    learned = initial(built("msg3d"), "blocks.0.frames.0.learned")
    assert 0.9e-6 < learned.abs().max() <= 1e-6

    stgcnpp = built("stgcn++", classes=60)
    assert initial(stgcnpp, "classifier.weight").std() == pytest.approx(0.01, rel=0.02)
    assert not initial(stgcnpp, "classifier.bias").any()


@pytest.mark.parametrize("name", ["stgcn", "stgcn++"])
def test_dropout_is_in_all_blocks_but_the_first(name):
    network = built(name, dropout=0.5)
    rates = [m.probability for m in network.modules() if isinstance(m, Dropout)]
    assert rates == [0.0] + [0.5] * 9


@pytest.mark.parametrize("name", ["agcn", "aagcn", "msg3d", "ctrgcn"])
def test_dropout_is_refused_where_the_paper_has_none(name):
    with pytest.raises(InputError, match=f"model '{name}' has no dropout"):
        built(name, dropout=0.5)


@pytest.mark.parametrize("dropout", [-0.1, 1.0, float("nan")])
def test_dropout_is_a_probability(dropout):
    with pytest.raises(InputError, match="dropout is"):
        built("stgcn", dropout=dropout)


@pytest.mark.parametrize("future", [0, -1])
def test_a_model_that_predicts_needs_a_frame_to_predict(future):
    with pytest.raises(InputError, match="predicts at least one frame"):
        build_model("asgcn", in_channels=3, classes=5, layout=UTDMHAD, bodies=1, future=future)


def test_an_unknown_model_is_answered_with_those_there_are():
    with pytest.raises(InputError, match=r"unknown model 'stgcn2': known are stgcn, .*stgcn\+\+"):
        built("stgcn2")
