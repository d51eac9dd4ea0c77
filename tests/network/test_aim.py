import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from nas_skeleton.network.aim import (
    AIM,
    EDGE_TYPES,
    PRIOR,
    edge_indicators,
    edge_matrices,
    edge_types,
    link_matrices,
    pose_error,
    type_divergence,
)
from nas_skeleton.network.initialise import initialise
from nas_skeleton.spaces.costs import aim_encoder_cost

B, C, T, V, HIDDEN = 3, 2, 4, 5, 8
EDGES = [(v, w) for w in range(V) for v in range(V) if v != w]  # in the order of the module


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def small_aim(seed=1):
    aim = AIM(V, C, T, HIDDEN).double()
    initialise(aim, seed)
    return aim


def poses(bodies=B):
    return torch.randn(bodies, C, T, V, generator=seeded(), dtype=torch.float64)


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameter_counts_are_the_published_ones():
    aim = AIM(25)
    assert parameters(aim.encoder) == 185_475
    assert parameters(aim.decoder) == 232_323
    assert parameters(aim) == 417_798
    assert parameters(AIM(25, hidden=256)) == 1_622_022


def perceptron(mlp, rows):
    """Textbook version on a list of feature vectors."""
    out = torch.stack([mlp.fc2(torch.nn.functional.elu(mlp.fc1(row))) for row in rows])
    out = torch.nn.functional.elu(out)
    deviation = (out.var(dim=0, unbiased=False) + mlp.norm.eps).sqrt()
    return (out - out.mean(dim=0)) / deviation * mlp.norm.weight + mlp.norm.bias


def test_encoder_equals_the_loop_over_joints_and_edges():
    encoder, clips = small_aim().encoder, poses()
    rows = [(b, v) for b in range(B) for v in range(V)]
    joints = perceptron(
        encoder.mlp1, [torch.cat([clips[b, :, t, v] for t in range(T)]) for b, v in rows]
    )
    pairs = [(b * V + w, b * V + v) for b in range(B) for v, w in EDGES]
    skipped = perceptron(encoder.mlp2, [torch.cat((joints[w], joints[v])) for w, v in pairs])
    incoming = [
        sum(skipped[e] for e, (into, _) in enumerate(pairs) if into == joint) / V
        for joint in range(B * V)
    ]
    joints = perceptron(encoder.mlp3, incoming)
    edges = perceptron(
        encoder.mlp4,
        [torch.cat((joints[w], joints[v], skipped[e])) for e, (w, v) in enumerate(pairs)],
    )
    expected = encoder.fc_out(edges).view(B, len(EDGES), EDGE_TYPES)
    assert torch.allclose(encoder(clips), expected, atol=1e-12)


def test_decoder_step_equals_the_loop_over_pairs_of_joints():
    decoder = small_aim().decoder
    pose = torch.randn(B, V, C, generator=seeded(1), dtype=torch.float64)
    hidden = torch.randn(B, V, HIDDEN, generator=seeded(2), dtype=torch.float64)
    shares = torch.rand(B, len(EDGES), 2, generator=seeded(3), dtype=torch.float64)
    next_pose, next_hidden = decoder.step(pose, edge_matrices(shares, V), hidden)
    for b in range(B):
        for w in range(V):
            message = torch.zeros(HIDDEN, dtype=torch.float64)
            for e, (v, into) in enumerate(EDGES):
                for j in range(2) if into == w else ():
                    pair = torch.cat((hidden[b, w], hidden[b, v]))
                    sent = torch.tanh(decoder.message1[1 + j](pair))
                    message += torch.tanh(decoder.message2[1 + j](sent)) * shares[b, e, j] / 2
            message /= C
            x, h = pose[b, w], hidden[b, w]
            r = torch.sigmoid(decoder.input_r(x) + decoder.hidden_r(message))
            i = torch.sigmoid(decoder.input_i(x) + decoder.hidden_i(message))
            n = torch.tanh(decoder.input_n(x) + r * decoder.hidden_n(message))
            h = (1 - i) * n + i * h
            out = decoder.out3(torch.relu(decoder.out2(torch.relu(decoder.out1(h)))))
            assert torch.allclose(next_hidden[b, w], h, atol=1e-12)
            assert torch.allclose(next_pose[b, w], x + out, atol=1e-12)


def test_decoder_foretells_every_frame_from_the_true_one_before():
    aim, clips = small_aim(), poses()
    logits, foretold = aim(clips)
    links = edge_matrices(edge_indicators(logits)[..., 1:], V)
    hidden = torch.zeros(B, V, HIDDEN, dtype=torch.float64)
    for t in range(T - 1):
        pose, hidden = aim.decoder.step(clips[:, :, t].transpose(1, 2), links, hidden)
        assert torch.allclose(foretold[:, :, t], pose.transpose(1, 2), atol=1e-12)


def test_without_links_no_joint_hears_of_another():
    decoder, clips = small_aim().decoder, poses()
    alone = torch.zeros(B, len(EDGES), EDGE_TYPES, dtype=torch.float64)
    alone[..., 0] = 1
    moved = clips.clone()
    moved[..., 0] += 1
    before, after = decoder(clips, alone), decoder(moved, alone)
    assert torch.equal(before[..., 1:], after[..., 1:])
    assert not torch.allclose(before[..., 0] + 1, after[..., 0])


def test_edges_lie_in_matrices_from_sender_to_receiver():
    edges = torch.arange(1.0, 1 + B * len(EDGES) * 2).view(B, len(EDGES), 2)
    matrices = edge_matrices(edges, V)
    for e, (v, w) in enumerate(EDGES):
        assert torch.equal(matrices[:, :, v, w], edges[:, e])
    assert (matrices.diagonal(dim1=2, dim2=3) == 0).all()


def test_relabelled_joints_have_the_same_links_relabelled():
    aim, clips = small_aim(), poses()
    order = torch.tensor([3, 0, 4, 2, 1])
    logits, foretold = aim(clips)
    of_relabelled, foretold_relabelled = aim(clips[..., order])
    expected = edge_matrices(logits, V)[:, :, order][..., order]
    assert torch.allclose(edge_matrices(of_relabelled, V), expected, atol=1e-12)
    assert torch.allclose(foretold_relabelled, foretold[..., order], atol=1e-12)


def test_link_matrices_equal_the_loop_over_edges():
    types = torch.randint(0, EDGE_TYPES, (B, len(EDGES)), generator=seeded()).to(torch.uint8)
    expected = torch.eye(V).repeat(B, 2, 1, 1)
    for b in range(B):
        for e, (v, w) in enumerate(EDGES):
            if types[b, e] > 0:
                expected[b, int(types[b, e]) - 1, v, w] = 1
        for j in range(2):
            for w in range(V):
                expected[b, j, :, w] *= 0.1 / expected[b, j, :, w].sum()
    assert torch.allclose(link_matrices(types, V), expected)


def test_columns_of_link_matrices_sum_to_a_tenth():
    types = torch.randint(0, EDGE_TYPES, (B, 600), generator=seeded()).to(torch.uint8)
    links = link_matrices(types, 25)
    assert links.shape == (B, 2, 25, 25)
    assert torch.allclose(links.sum(dim=2), torch.tensor(0.1))


def test_types_are_the_likeliest_ones():
    aim = small_aim().eval()
    logits = aim.encoder(poses())
    types = edge_types(logits)
    assert (types.dtype, types.shape) == (torch.uint8, (B, len(EDGES)))
    assert torch.equal(types.long(), logits.argmax(dim=-1))


def test_in_eval_mode_a_body_has_the_same_links_alone_as_in_company_and_every_time():
    aim, clips = small_aim(), poses()
    aim.loss(clips, seeded()).backward()  # batch norm has seen something
    aim.eval()
    together = aim.encoder(clips, seeded())
    assert torch.equal(together, aim.encoder(clips))
    assert torch.allclose(aim.encoder(clips[:1]), together[:1], atol=1e-12)


def test_samples_are_one_hot_and_follow_their_generator():
    logits = torch.randn(B, 600, EDGE_TYPES, generator=seeded())
    sample = edge_indicators(logits, seeded(5))
    assert set(sample.unique().tolist()) == {0, 1}
    assert (sample.sum(dim=-1) == 1).all()
    assert torch.equal(sample, edge_indicators(logits, seeded(5)))
    assert not torch.equal(sample, edge_indicators(logits, seeded(6)))


def test_types_are_drawn_as_often_as_the_softmax_says():
    logits = torch.tensor([0.5, -1.0, 0.2])
    drawn = edge_indicators(logits.expand(1, 20_000, 3), seeded()).mean(dim=(0, 1))
    assert torch.allclose(drawn, torch.softmax(logits, dim=0), atol=0.015)


def test_gradient_of_a_sample_is_that_of_the_tempered_softmax():
    logits = torch.randn(1, 4, EDGE_TYPES, generator=seeded(), dtype=torch.float64)
    weights = torch.randn(logits.shape, generator=seeded(1), dtype=torch.float64)
    hard, soft = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    (edge_indicators(hard) * weights).sum().backward()
    (torch.softmax(soft / 0.5, dim=-1) * weights).sum().backward()
    assert torch.allclose(hard.grad, soft.grad)


def test_loss_is_the_sum_over_coordinates_and_edges_per_body_and_joint():
    clips, foretold = poses(), poses() + 0.1
    expected = 0.1**2 * C * T / (2 * 5e-4)
    assert pose_error(foretold, clips).item() == pytest.approx(expected)

    logits = torch.zeros(B, len(EDGES), EDGE_TYPES, dtype=torch.float64)
    per_edge = sum(math.log(1 / 3 / share) / 3 for share in (0.95, 0.025, 0.025))
    divergence = type_divergence(logits, V).item()
    assert divergence == pytest.approx(per_edge * len(EDGES) / V)
    as_expected = torch.tensor(PRIOR, dtype=torch.float64).log().expand_as(logits)
    assert type_divergence(as_expected, V).item() == pytest.approx(0, abs=1e-12)


def test_loss_measures_against_the_prior_of_the_module():
    clips = poses()
    aim = AIM(V, C, T, HIDDEN, prior=(0.5, 0.25, 0.25)).double()
    initialise(aim, 1)
    logits, foretold = aim(clips)
    expected = pose_error(foretold, clips[:, :, 1:]) + type_divergence(logits, V, (0.5, 0.25, 0.25))
    assert torch.allclose(aim.loss(clips), expected)
    assert not torch.allclose(aim.loss(clips), small_aim().loss(clips))


def test_training_draws_from_its_generator_only():
    aim, clips = small_aim(), poses()
    state = torch.random.get_rng_state()
    losses = [aim.loss(clips, seeded(seed)).item() for seed in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]
    assert torch.equal(torch.random.get_rng_state(), state)


def test_every_layer_but_those_of_no_link_learns():
    aim = small_aim()
    aim.loss(poses(), seeded()).backward()
    idle = {name for name, p in aim.named_parameters() if p.grad is None}
    assert idle == {f"decoder.message{i}.0.{kind}" for i in (1, 2) for kind in ("weight", "bias")}


def test_one_body_is_enough():
    aim = small_aim()
    aim.loss(poses(1), seeded()).backward()
    assert all(p.grad.isfinite().all() for p in aim.parameters() if p.grad is not None)


def test_training_learns_to_foretell():
    # Joint 1 always goes to where joint 0 is.
    leader = torch.randn(16, C, T + 1, 1, generator=seeded(), dtype=torch.float64)
    clips = torch.cat((leader[:, :, 1:], leader[:, :, :-1]), dim=3)
    aim = AIM(2, C, T, 32).double()
    initialise(aim, 0)
    optimizer, generator = torch.optim.Adam(aim.parameters(), lr=3e-3), seeded()
    before = aim.eval().loss(clips).item()
    aim.train()
    for _ in range(150):
        optimizer.zero_grad()
        aim.loss(clips, generator).backward()
        optimizer.step()
    assert aim.eval().loss(clips).item() < 0.7 * before


@pytest.mark.parametrize(("joints", "frames", "bodies"), [(20, 16, 1), (25, 50, 2)])
def test_what_links_cost_on_paper_is_what_the_encoder_costs(joints, frames, bodies):
    encoder = AIM(joints, 3, frames, 128).encoder
    cost = aim_encoder_cost(128, 3 * frames, joints)
    assert cost.params == sum(parameter.numel() for parameter in encoder.parameters())
    with FlopCounterMode(display=False) as counter:
        encoder.eval()(torch.zeros(bodies, 3, frames, joints))
    assert counter.get_total_flops() == 2 * bodies * cost.macs
