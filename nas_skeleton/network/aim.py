"""The A-link inference module of AS-GCN: which joints of a moving body act on which others.

Li et al.: "Actional-Structural Graph Convolutional Networks for Skeleton-based Action Recognition",
CVPR 2019, after the neural relational inference of Kipf et al., ICML 2018. An encoder sees how a
body moves and gives every directed pair of joints, an edge, a type; a decoder has to foretell each
next pose from messages along those edges. Types that help it are links. The module is trained by
itself; afterwards `edge_types` and `link_matrices` make of its logits what a classifier reads.

Poses are `(B, C, T, V)`, one body a sample. Edge `w * (V - 1) + i` leads to joint w from the i-th
of the other joints, in their order. Type 0 is "no link"; `network.links.LINK_TYPES` others follow.

Nothing here draws from PyTorch's global generator: what is random takes a generator, of the device
the poses are on, and without one there is no dropout and every edge has its likeliest type. In eval
mode there is no dropout either way.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor, nn

from nas_skeleton.network.initialise import constant, drawn, normal
from nas_skeleton.spaces.card import LINK_TYPES

EDGE_TYPES = 1 + LINK_TYPES
PRIOR = (0.95, 0.025, 0.025)  # most joints do not act on each other
VARIANCE = 5e-4  # of a foretold coordinate
TEMPERATURE = 0.5  # of the Gumbel-softmax
DROPOUT = 0.5
LINK_SHARE = 0.1  # sum of each column of a link matrix


class AIM(nn.Module):
    """Encoder and decoder together, as they are trained.

    Args:
        joints: V.
        in_channels: C.
        frames: T.
        hidden: width of all layers.
        prior: expected share of each type of edge.
    """

    def __init__(
        self,
        joints: int,
        in_channels: int = 3,
        frames: int = 50,
        hidden: int = 128,
        prior: tuple[float, ...] = PRIOR,
    ) -> None:
        super().__init__()
        self.prior = prior
        self.encoder = Encoder(joints, in_channels * frames, hidden)
        self.decoder = Decoder(in_channels, hidden)

    def forward(self, poses: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Edge logits `(B, E, EDGE_TYPES)`, and foretold frames 2 to T, `(B, C, T - 1, V)`."""
        logits = self.encoder(poses, generator)
        return logits, self.decoder(poses, edge_indicators(logits, generator), generator)

    def loss(self, poses: Tensor, generator: Generator | None = None) -> Tensor:
        """What training minimises: the negative evidence lower bound, per body and joint."""
        logits, foretold = self(poses, generator)
        divergence = type_divergence(logits, poses.shape[-1], self.prior)
        return pose_error(foretold, poses[:, :, 1:]) + divergence


class Encoder(nn.Module):
    """Poses `(B, C, T, V)`, C * T = `features`, to edge logits `(B, V * (V - 1), EDGE_TYPES)`."""

    others: Tensor

    def __init__(self, joints: int, features: int, hidden: int) -> None:
        super().__init__()
        self.register_buffer("others", other_joints(joints), persistent=False)
        self.mlp1 = Perceptron(features, hidden)
        self.mlp2 = Perceptron(2 * hidden, hidden)
        self.mlp3 = Perceptron(hidden, hidden)
        self.mlp4 = Perceptron(3 * hidden, hidden)
        self.fc_out = xavier(hidden, EDGE_TYPES)

    def forward(self, poses: Tensor, generator: Generator | None = None) -> Tensor:
        generator = generator if self.training else None
        joints = self.mlp1(poses.permute(0, 3, 2, 1).flatten(2), generator)  # frame by frame
        edges = self.mlp2(self._pair(joints), generator)
        incoming = edges.mean(dim=2) * (edges.shape[2] / edges.shape[1])  # a sum divided by V
        joints = self.mlp3(incoming, generator)
        edges = self.mlp4(torch.cat((self._pair(joints), edges), dim=-1), generator)
        return self.fc_out(edges).flatten(1, 2)  # type: ignore[no-any-return]

    def _pair(self, joints: Tensor) -> Tensor:
        """`(B, V, F)` to `(B, V, V - 1, 2F)`: each joint beside each of the others."""
        senders = joints[:, self.others]
        return torch.cat((joints.unsqueeze(2).expand_as(senders), senders), dim=-1)


class Perceptron(nn.Module):
    """Linear, ELU, dropout, linear, ELU, then batch norm over all joints or edges of the batch."""

    def __init__(self, in_features: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = xavier(in_features, hidden)
        self.fc2 = xavier(hidden, hidden)
        self.norm = nn.BatchNorm1d(hidden)

    def forward(self, features: Tensor, generator: Generator | None) -> Tensor:
        """`(..., F)` to `(..., hidden)`."""
        out = dropout(nn.functional.elu(self.fc1(features)), generator)
        out = nn.functional.elu(self.fc2(out))
        return self.norm(out.flatten(0, -2)).view(out.shape)  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """Foretells each next pose from the one before, links, and a hidden state of every joint."""

    def __init__(self, in_channels: int, hidden: int) -> None:
        super().__init__()
        # Type 0 sends no messages. Its layers are idle, but in the published parameter count.
        self.message1 = nn.ModuleList(nn.Linear(2 * hidden, hidden) for _ in range(EDGE_TYPES))
        self.message2 = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(EDGE_TYPES))
        self.hidden_r = nn.Linear(hidden, hidden, bias=False)
        self.hidden_i = nn.Linear(hidden, hidden, bias=False)
        self.hidden_n = nn.Linear(hidden, hidden, bias=False)
        self.input_r = nn.Linear(in_channels, hidden)
        self.input_i = nn.Linear(in_channels, hidden)
        self.input_n = nn.Linear(in_channels, hidden)
        self.out1 = nn.Linear(hidden, hidden)
        self.out2 = nn.Linear(hidden, hidden)
        self.out3 = nn.Linear(hidden, in_channels)

    def forward(
        self, poses: Tensor, indicators: Tensor, generator: Generator | None = None
    ) -> Tensor:
        """Frames 2 to T, each foretold from the true frame before it.

        Args:
            poses: `(B, C, T, V)`.
            indicators: what share of each type an edge has, `(B, V * (V - 1), EDGE_TYPES)`.
            generator: of the dropout.

        Returns:
            `(B, C, T - 1, V)`.
        """
        generator = generator if self.training else None
        frames = poses.permute(2, 0, 3, 1)  # (T, B, V, C)
        links = edge_matrices(indicators[..., 1:], poses.shape[-1])
        hidden = poses.new_zeros(*frames.shape[1:3], self.out1.in_features)
        foretold = []
        for pose in frames[:-1]:
            following, hidden = self.step(pose, links, hidden, generator)
            foretold.append(following)
        return torch.stack(foretold).permute(1, 3, 0, 2)

    def step(
        self, pose: Tensor, links: Tensor, hidden: Tensor, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """The next pose and hidden state.

        Args:
            pose: `(B, V, C)`.
            links: `(B, LINK_TYPES, V, V)`; entry `[b, j, v, w]` lets through messages from v to w.
            hidden: `(B, V, hidden)`.
            generator: of the dropout.
        """
        messages = self._messages(links, hidden, generator) / pose.shape[-1]
        r = torch.sigmoid(self.input_r(pose) + self.hidden_r(messages))
        i = torch.sigmoid(self.input_i(pose) + self.hidden_i(messages))
        n = torch.tanh(self.input_n(pose) + r * self.hidden_n(messages))
        hidden = (1 - i) * n + i * hidden
        out = dropout(torch.relu(self.out1(hidden)), generator)
        out = dropout(torch.relu(self.out2(out)), generator)
        return pose + self.out3(out), hidden

    def _messages(self, links: Tensor, hidden: Tensor, generator: Generator | None) -> Tensor:
        """What reaches each joint, `(B, V, hidden)`: a mean over link types, a sum over senders.

        The first layer sees receiver and sender side by side. Its two halves are taken of joints
        and added for pairs, v to itself too, where no link is: the same function, less work.
        """
        received = torch.zeros_like(hidden)
        for j in range(LINK_TYPES):
            first, second = self.message1[1 + j], self.message2[1 + j]
            assert isinstance(first, nn.Linear)
            of_receiver, of_sender = first.weight.chunk(2, dim=1)
            by_receiver = nn.functional.linear(hidden, of_receiver, first.bias)
            by_sender = nn.functional.linear(hidden, of_sender)
            pairs = torch.tanh(by_sender.unsqueeze(2) + by_receiver.unsqueeze(1))  # (B, V, W, H)
            pairs = torch.tanh(second(dropout(pairs, generator)))
            received = received + (pairs * links[:, j].unsqueeze(-1)).sum(dim=1)
        return received / LINK_TYPES


def edge_indicators(logits: Tensor, generator: Generator | None = None) -> Tensor:
    """One-hot types of edges `(B, E, EDGE_TYPES)`, with the gradient of the softmax.

    With a generator types are drawn by the Gumbel-softmax (Jang et al., ICLR 2017), without one
    they are the likeliest.
    """
    if generator is not None:
        noise = -torch.empty_like(logits).exponential_(generator=generator).log()
        logits = logits + noise
    soft = torch.softmax(logits / TEMPERATURE, dim=-1)
    hard = nn.functional.one_hot(soft.argmax(dim=-1), EDGE_TYPES).to(soft)
    return hard + (soft - soft.detach())


def pose_error(foretold: Tensor, poses: Tensor) -> Tensor:
    """Negative Gaussian log-likelihood but for a constant, per body and joint; `(B, C, T, V)`."""
    bodies, joints = poses.shape[0], poses.shape[-1]
    return (foretold - poses).square().sum() / (2 * VARIANCE * bodies * joints)


def type_divergence(logits: Tensor, joints: int, prior: tuple[float, ...] = PRIOR) -> Tensor:
    """Kullback-Leibler divergence of the edges' types from `prior`, per body and joint."""
    log_shares = torch.log_softmax(logits, dim=-1)
    log_prior = logits.new_tensor(prior).log()
    return (log_shares.exp() * (log_shares - log_prior)).sum() / (joints * len(logits))


def edge_types(logits: Tensor) -> Tensor:
    """The likeliest type of each edge, uint8 `(B, V * (V - 1))`, without chance."""
    return logits.argmax(dim=-1).to(torch.uint8)


def link_matrices(types: Tensor, joints: int) -> Tensor:
    """A classifier's actional links `(B, LINK_TYPES, V, V)`, float32, of `edge_types`.

    Entry `[b, j, v, w]` weighs joint v's share in joint w, as in `network.graph`. Each joint acts
    on itself besides; the columns are normalised and sum to `LINK_SHARE`.
    """
    indicators = nn.functional.one_hot(types.long(), EDGE_TYPES)[..., 1:].float()
    links = edge_matrices(indicators, joints) + torch.eye(joints, device=types.device)
    return links / links.sum(dim=2, keepdim=True) * LINK_SHARE


def edge_matrices(edges: Tensor, joints: int) -> Tensor:
    """`(B, V * (V - 1), K)` to `(B, K, V, V)`, entry `[b, k, v, w]` of the edge from v to w."""
    bodies, _, kinds = edges.shape
    into = edges.transpose(1, 2).reshape(bodies, kinds, joints, joints - 1)
    others = other_joints(joints, edges.device).expand_as(into)
    matrices = edges.new_zeros(bodies, kinds, joints, joints).scatter(-1, others, into)
    return matrices.transpose(2, 3)


def other_joints(joints: int, device: torch.device | None = None) -> Tensor:
    """`(V, V - 1)`: in row w all joints but w, in order."""
    i = torch.arange(joints - 1, device=device)
    return i + (i >= torch.arange(joints, device=device).unsqueeze(1))


def dropout(features: Tensor, generator: Generator | None) -> Tensor:
    """Drop features at random and scale up the rest, so that means stay; none without generator."""
    if generator is None:
        return features
    shape, kind, device = features.shape, features.dtype, features.device
    chances = torch.rand(shape, generator=generator, dtype=kind, device=device)
    return torch.where(chances < DROPOUT, 0.0, features / (1 - DROPOUT))


def xavier(in_features: int, out_features: int) -> nn.Linear:
    """A linear layer with initial weights by Glorot and Bengio (AISTATS 2010), bias 0.1."""
    deviation = math.sqrt(2 / (in_features + out_features))
    return drawn(nn.Linear(in_features, out_features), weight=normal(deviation), bias=constant(0.1))
