"""Every proxy against a version written for clarity, in float64, on small networks."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

from nas_skeleton.network.build import candidate_network
from nas_skeleton.network.initialise import derive_seed, initialise
from nas_skeleton.proxies.correlations import epe_nas
from nas_skeleton.proxies.names import PROXIES
from nas_skeleton.proxies.probe import Probe
from nas_skeleton.proxies.score import FUNCTIONS, score_network
from nas_skeleton.skeletons.layouts import NTU
from nas_skeleton.spaces import load_space
from nas_skeleton.spaces.costs import Cost

CLASSES, CLIPS, FRAMES, BODIES = 3, 6, 8, 2
LABELS = torch.tensor([0, 0, 1, 1, 1, 2])
SEED = 5
DEEP = (
    "|nor_conv_3x3~0|+|nor_conv_1x1~0|nor_conv_3x3~1|"
    "+|skip_connect~0|avg_pool_3x3~1|nor_conv_1x1~2|"
)
SHALLOW = "|none~0|+|nor_conv_3x3~0|nor_conv_1x1~1|+|avg_pool_3x3~0|nor_conv_3x3~1|none~2|"  # dead
BLIND = "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|nor_conv_1x1~2|"  # ignores its input
CASES = [
    ("nb201-image", DEEP),
    ("nb201-image", BLIND),
    ("nb201", DEEP),
    ("nb201", SHALLOW),
    ("nb201-graph", DEEP),
    ("nb201-asgcn", DEEP),
]
SEEING = [case for case in CASES if case[1] != BLIND]
each_case = pytest.mark.parametrize(("name", "arch"), CASES, ids=str)
each_seeing = pytest.mark.parametrize(("name", "arch"), SEEING, ids=str)


class Case:
    """A small network with a batch, and the same network in its plainest form."""

    def __init__(self, name, arch, dtype=torch.float64):
        space = load_space(name)
        recipe = space.card.recipe("quick").model_copy(
            update={"channels": 3, "cells_per_stage": 1, "frames": FRAMES}
        )
        joints = len(NTU.joints)
        channels = space.card.channels(3, joints)

        def network(**form):
            made = candidate_network(
                space.card, recipe, space.cell(space.index(arch)),
                classes=CLASSES, layout=NTU, in_channels=channels, **form,
            )  # fmt: skip
            initialise(made, SEED)
            return made.to(dtype)

        self.network, self.plain = network(every_edge=True), network(plain=True)
        generator = torch.Generator().manual_seed(1)
        shape = (CLIPS, channels, FRAMES, joints, BODIES)
        self.clips = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
        self.cost = space.cost(
            space.index(arch), recipe,
            classes=CLASSES, joints=joints, bodies=BODIES, channels=channels,
        )  # fmt: skip

    def score(self, name):
        return FUNCTIONS[name](Probe(self.network, self.clips, LABELS, self.cost, SEED))

    def scores(self):
        return score_network(self.network, self.clips, LABELS, cost=self.cost, seed=SEED)

    def weights(self):
        return {
            f"{name}.weight": module.weight.detach().clone()
            for name, module in self.plain.named_modules()
            if isinstance(module, nn.Conv2d | nn.Linear)
        }

    def loss(self, weights):
        logits = functional_call(self.plain, weights, (self.clips,))
        return nn.functional.cross_entropy(logits, LABELS)

    def gradients(self, weights):
        leaves = {name: w.clone().requires_grad_(True) for name, w in weights.items()}
        self.loss(leaves).backward()
        return {n: torch.zeros_like(w) if w.grad is None else w.grad for n, w in leaves.items()}

    def jacobian(self):
        """Row n is the derivative of all logits together by clip n."""
        full = torch.autograd.functional.jacobian(self.plain, self.clips)
        return full.sum(dim=(0, 1)).reshape(CLIPS, -1).numpy()


def close(found, expected, tolerance=1e-9):
    assert found == pytest.approx(expected, rel=tolerance, abs=1e-12)


@each_case
def test_params_and_flops_are_those_of_the_table(name, arch):
    case = Case(name, arch)
    scores = case.scores()
    assert scores["params"] == case.cost.params
    assert scores["params"] == sum(p.numel() for p in case.plain.parameters())
    assert scores["flops"] == case.cost.macs


@each_case
def test_norms_and_saliencies_of_weights(name, arch):
    case = Case(name, arch)
    weights = case.weights()
    gradients = case.gradients(weights)
    norm = of_gradients = signed = absolute = 0.0
    for key, weight in weights.items():
        norm += math.sqrt((weight**2).sum())
        of_gradients += math.sqrt((gradients[key] ** 2).sum())
        signed += (weight * gradients[key]).sum().item()
    masks = {key: torch.ones_like(weight).requires_grad_(True) for key, weight in weights.items()}
    case.loss({key: mask * weights[key] for key, mask in masks.items()}).backward()
    for mask in masks.values():
        absolute += mask.grad.abs().sum().item()
    close(case.score("l2_norm"), norm)
    close(case.score("grad_norm"), of_gradients)
    close(case.score("plain"), signed, 1e-7)
    close(case.score("snip"), absolute)
    # `plain` is also how fast the loss changes as all weights grow together.
    step = 1e-6
    up, down = (
        case.loss({key: (1 + by) * weight for key, weight in weights.items()})
        for by in (step, -step)
    )
    assert case.score("plain") == pytest.approx(((up - down) / (2 * step)).item(), abs=1e-5)


@each_case
def test_grasp_is_a_finite_difference_of_gradients(name, arch):
    case = Case(name, arch)
    weights = case.weights()
    gradients = case.gradients(weights)
    step = 1e-7
    up, down = (
        case.gradients({key: w + by * gradients[key] for key, w in weights.items()})
        for by in (step, -step)
    )
    expected = sum(
        -(weight * (up[key] - down[key]) / (2 * step)).sum().item()
        for key, weight in weights.items()
    )
    assert case.score("grasp") == pytest.approx(expected, rel=1e-4, abs=1e-6)


@each_case
def test_fisher_is_the_gradient_by_a_mask_on_channels_of_clips(name, arch):
    case = Case(name, arch)
    masks = []

    def mask(layer, _, output):
        clips = torch.zeros(CLIPS, output.shape[1], dtype=torch.float64, requires_grad=True)
        masks.append((layer, clips))
        factor = 1 + clips.repeat_interleave(len(output) // CLIPS, dim=0)
        return output * factor.reshape(*factor.shape, *[1] * (output.ndim - 2))

    for module in case.network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(mask)
    nn.functional.cross_entropy(case.network(case.clips), LABELS).backward()
    layers = [m for m in case.network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(masks) == len(layers)
    expected = 0.0
    for layer, clips in masks:
        for channel in range(clips.shape[1]):
            saliency = 0.5 * sum(clips.grad[n, channel].item() ** 2 for n in range(CLIPS)) / CLIPS
            expected += saliency * layer.weight[channel].numel()
    close(Case(name, arch).score("fisher"), expected, 1e-8)


@each_case
def test_synflow_is_that_of_absolute_weights_with_idle_batch_norms(name, arch):
    case = Case(name, arch)
    network = idle(case.plain)
    network(torch.ones_like(case.clips[:1])).sum().backward()
    flow = 0.0
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and module.weight.grad is not None:
            flow += (module.weight * module.weight.grad).sum().item()
    close(case.score("synflow"), math.log(flow) if flow else 0.0)


def idle(network):
    """Parameters without signs, and batch norms that do nothing."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.zero_()
            module.running_var.fill_(1 - module.eps)
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
    for parameter in network.parameters():
        parameter.data.abs_()
    return network.eval()


def test_synaptic_flow_is_the_same_through_every_cut():
    chain = "|skip_connect~0|+|none~0|nor_conv_3x3~1|+|none~0|none~1|nor_conv_1x1~2|"
    network = idle(Case("nb201-image", chain).plain)
    total = network(torch.ones(1, 3, FRAMES, 25, BODIES, dtype=torch.float64)).sum()
    total.backward()
    through = total - network.classifier.bias.sum()
    layers = [network.stem.conv, network.classifier]
    for block in (0, 2, 4):
        cell = network.blocks[block]
        layers += [cell.edge_1_2.conv, cell.edge_2_3.conv]
    for layer in layers:
        torch.testing.assert_close((layer.weight * layer.weight.grad).sum(), through)


@each_seeing
def test_jacov_is_that_of_an_explicit_eigendecomposition(name, arch):
    case = Case(name, arch)
    values, _ = np.linalg.eig(np.corrcoef(case.jacobian()))
    expected = -sum(math.log(v + 1e-5) + 1 / (v + 1e-5) for v in values.real)
    close(case.score("jacov"), expected, 1e-6)


@each_seeing
def test_epe_nas_sums_over_classes(name, arch):
    case = Case(name, arch)
    jacobian, expected = case.jacobian(), 0.0
    for label in range(CLASSES):
        rows = jacobian[LABELS.numpy() == label]
        expected += abs(
            sum(math.log(abs(np.corrcoef(a, b)[0, 1]) + 1e-5) for a in rows for b in rows)
        )
    close(case.score("epe_nas"), expected, 1e-7)


def test_epe_nas_compares_pairs_of_classes_where_there_are_many():
    class Many:
        classes = 101
        labels = LABELS
        jacobian = torch.randn(
            CLIPS, 40, generator=torch.Generator().manual_seed(3), dtype=torch.float64
        )

    sums = []
    for label in range(3):
        rows = Many.jacobian[label == LABELS].numpy()
        logs = [math.log(abs(np.corrcoef(a, b)[0, 1]) + 1e-5) for a in rows for b in rows]
        sums.append(sum(logs) / len(rows))
    expected = sum(abs(a - b) for a in sums for b in sums) / 3
    close(epe_nas(Many), expected)


@each_case
def test_nwot_compares_every_relu_input_of_the_plain_network(name, arch, monkeypatch):
    case = Case(name, arch)
    seen = []
    original = torch.relu

    def relu(maps, inplace=False):
        seen.append(maps.detach().reshape(CLIPS, -1).numpy() > 0)
        return original(maps)

    monkeypatch.setattr(torch, "relu", relu)
    monkeypatch.setattr(nn.functional, "relu", relu)
    case.plain(case.clips)
    monkeypatch.undo()
    above = np.concatenate(seen, axis=1)
    agreement = np.array([[(one == other).sum() for other in above] for one in above])
    probe = Probe(case.network, case.clips, LABELS, case.cost, SEED)
    np.testing.assert_array_equal(probe.agreement.numpy(), agreement)
    close(FUNCTIONS["nwot"](probe), np.linalg.slogdet(agreement.astype(float))[1])


def test_each_edge_counts_its_own_relu():
    full = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
    full += "+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"
    case = Case("nb201-image", full)
    probe = Probe(case.network, case.clips, LABELS, case.cost, SEED)
    big, middle, small = (3 * 8 * 25, 6 * 4 * 13, 12 * 2 * 7)
    relus = 6 * (big + middle + small) + (big + middle) + (middle + small) + small
    assert probe.agreement.diagonal().tolist() == [relus * BODIES] * CLIPS


@each_seeing
def test_zen_is_how_far_noise_reaches_plus_the_scales_of_batch_norms(name, arch):
    case = Case(name, arch)
    network = case.plain

    def gaussian(shape, kind):
        generator = torch.Generator().manual_seed(derive_seed(SEED, kind))
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    for key, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.weight.data = gaussian(module.weight.shape, key)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    variances = {}

    def watch(module, inputs):
        own = variances.setdefault(module, [torch.ones(module.num_features, dtype=torch.float64)])
        own.append(0.9 * own[-1] + 0.1 * inputs[0].var(dim=(0, 2, 3), unbiased=True))

    last = []
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(watch)
    network.norm.register_forward_hook(lambda _, __, output: last.append(output.clamp(min=0)))
    clips, noise = (gaussian(case.clips.shape, kind) for kind in ("clips", "noise"))
    with torch.no_grad():
        network(clips)
        network(clips + 0.01 * noise)
    distance = (last[0] - last[1]).abs().sum().item() / CLIPS
    scales = sum(math.log(math.sqrt(own[-1].mean())) for own in variances.values())
    close(case.score("zen"), math.log(distance) + scales, 1e-7)


def test_a_network_that_ignores_its_input_has_no_gradient_and_no_correlations():
    scores = Case("nb201", "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|").scores()
    assert [scores[name] for name in ("grad_norm", "snip", "plain", "grasp", "synflow")] == [0] * 5
    assert [n for n, score in scores.items() if math.isnan(score)] == ["jacov", "epe_nas", "zen"]


@each_case
def test_both_precisions_agree(name, arch):
    double, single = Case(name, arch).scores(), Case(name, arch, torch.float32).scores()
    assert list(double) == list(PROXIES)
    for proxy, score in double.items():
        assert single[proxy] == pytest.approx(score, rel=2e-2, abs=1e-3, nan_ok=True), proxy


@pytest.mark.parametrize("training", [True, False])
def test_scoring_leaves_the_network_as_it_was(training):
    network = Case("nb201", DEEP).network.train(training)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    clips = torch.randn(CLIPS, 3, FRAMES, 25, BODIES, dtype=torch.float64)
    score_network(network, clips, LABELS, cost=Cost(1, 1), seed=1)
    assert all(module.training == training for module in network.modules())
    assert all(parameter.grad is None for parameter in network.parameters())
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not clips.requires_grad
