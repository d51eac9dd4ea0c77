"""Every block against sums over frames and joints written out in float64, with NumPy."""

import numpy as np
import pytest
import torch
from torch import nn

from nas_skeleton.network.graph import spatial_partition
from nas_skeleton.network.models.adjacency import adjacency, directed_subsets, disentangled_scales
from nas_skeleton.network.models.agcn import (
    AdaptiveGraphConvolution,
    Attention,
    GatedGraphConvolution,
)
from nas_skeleton.network.models.blocks import (
    DataNorm,
    MultiBranchTemporal,
    ResidualBlock,
    Shape,
    conv_norm,
    ten_blocks,
)
from nas_skeleton.network.models.ctrgcn import RefinedGraphConvolution
from nas_skeleton.network.models.msg3d import (
    MultiScaleGraphConvolution,
    ResidualTemporal,
    TwoPathBlock,
    WindowedGraphConvolution,
)
from nas_skeleton.network.models.stgcn import MaskedGraphConvolution
from nas_skeleton.network.models.stgcnpp import FreeGraphConvolution, MultiScaleTemporal
from nas_skeleton.skeletons.layouts import Layout

FORK = Layout(
    name="fork",
    joints=("hip", "neck", "head", "left hand", "right hand"),
    edges=((1, 0), (2, 1), (3, 1), (4, 1)),
    centre=1,
    centring_joint=0,
    left_right=((3, 4),),
)
SUBSETS = torch.from_numpy(directed_subsets(FORK))
V = len(FORK.joints)


def ready(module):
    """In float64, in eval mode, with random parameters and statistics."""
    generator = torch.Generator().manual_seed(3)
    module.double().eval()
    with torch.no_grad():
        for tensor in [*module.parameters(), *module.buffers()]:
            if tensor.is_floating_point() and tensor.shape != (3, V, V):
                values = torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
                tensor.copy_(values + 0.2 if tensor.dim() <= 1 else values - 0.5)
    return module


def maps(channels, frames=7, samples=2):
    generator = torch.Generator().manual_seed(5)
    shape = (samples, channels, frames, V)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def output(module, x):
    with torch.no_grad():
        return module(x).numpy()


def array(tensor):
    return tensor.detach().numpy()


def relu(x):
    return np.maximum(x, 0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def norm(x, module):
    mean, variance, weight, bias = (
        array(value)[:, None, None]
        for value in (module.running_mean, module.running_var, module.weight, module.bias)
    )
    return (x - mean) / np.sqrt(variance + 1e-5) * weight + bias


def conv(x, module):
    """A convolution along the frames, tap by tap."""
    weight, (kernel, _), (stride, _) = array(module.weight), module.kernel_size, module.stride
    dilation = module.dilation[0]
    n, _, frames, v = x.shape
    out = np.zeros((n, len(weight), -(-frames // stride), v))
    for at in range(out.shape[2]):
        for tap in range(kernel):
            frame = at * stride + (tap - kernel // 2) * dilation
            if 0 <= frame < frames:
                out[:, :, at] += np.einsum("oc,ncv->nov", weight[:, :, tap, 0], x[:, :, frame])
    return out + array(module.bias)[:, None, None]


def pool(x, stride):
    """The largest of three neighbouring frames."""
    frames = x.shape[2]
    return np.stack(
        [x[:, :, max(at - 1, 0) : at + 2].max(axis=2) for at in range(0, frames, stride)], axis=2
    )


def chain(x, modules, stride=1):
    """What a Sequential does, by the functions above."""
    for module in modules:
        if isinstance(module, nn.Sequential):
            x = chain(x, module, stride)
        elif isinstance(module, nn.Conv2d):
            x = conv(x, module)
        elif isinstance(module, nn.BatchNorm2d):
            x = norm(x, module)
        elif isinstance(module, nn.ReLU):
            x = relu(x)
        elif isinstance(module, nn.MaxPool2d):
            x = pool(x, stride)
        else:
            assert isinstance(module, nn.Identity)
    return x


def projected(x, module, subsets, graph):
    """Project for each subset, then sum over the joints: ST-GCN's order."""
    per_subset = conv(x, module).reshape(len(x), subsets, -1, x.shape[2], V)
    out = 0
    for k in range(subsets):
        for v in range(V):
            out = out + per_subset[:, k, :, :, v, None] * graph[k, v]
    return out


def test_the_ten_blocks_are_those_of_the_paper():
    shapes = ten_blocks(3)
    assert [shape.out_channels for shape in shapes] == [64] * 4 + [128] * 3 + [256] * 3
    assert [shape.stride for shape in shapes] == [1, 1, 1, 1, 2, 1, 1, 2, 1, 1]
    assert [shape.first for shape in shapes] == [True] + [False] * 9
    assert [s.in_channels for s in shapes[1:]] == [s.out_channels for s in shapes[:-1]]


@pytest.mark.parametrize("bodies", [1, 2])
def test_data_norm_normalises_each_coordinate_of_each_joint(bodies):
    clips = torch.randn(4, 3, 6, V, 2, dtype=torch.float64) * 7 + 2
    out = output(DataNorm(3, V, bodies).double().train(), clips).reshape(4, 2, 3, 6, V)
    axes = (0, 1, 3) if bodies == 1 else (0, 3)  # together, or each place of a body by itself
    x = clips.permute(0, 4, 1, 2, 3).numpy()
    expected = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5)
    assert np.allclose(out, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("shape", "short"),
    [
        (Shape(4, 6, 1, first=True), lambda x, block: 0),
        (Shape(6, 6, 1, first=False), lambda x, block: x),
        (Shape(4, 6, 2, first=False), lambda x, block: chain(x, block.shortcut)),
    ],
)
def test_a_residual_block_adds_what_its_place_says(shape, short):
    spatial = nn.Conv2d(shape.in_channels, 6, 1)
    block = ready(ResidualBlock(spatial, conv_norm(6, 6, 9, shape.stride), shape))
    x = maps(shape.in_channels)
    expected = relu(chain(conv(x.numpy(), spatial), block.temporal) + short(x.numpy(), block))
    assert np.allclose(output(block, x), expected, rtol=0, atol=1e-12)


def test_stgcn_masks_the_graph_and_sums_over_subsets_and_joints():
    subsets = torch.from_numpy(spatial_partition(FORK, "spatial-stgcn"))
    module = ready(MaskedGraphConvolution(3, 4, subsets))
    with torch.no_grad():
        module.importance.uniform_(generator=torch.Generator().manual_seed(0))
    x = maps(3)
    graph = subsets.double().numpy() * array(module.importance)
    expected = projected(x.numpy(), module.project, 3, graph)
    assert np.allclose(output(module, x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("channels", [4, 6])
def test_stgcnpp_graph_convolution(channels):
    module = ready(FreeGraphConvolution(channels, 6, SUBSETS))
    assert torch.equal(module.graph, SUBSETS.double())
    with torch.no_grad():
        module.graph += torch.rand(3, V, V, generator=torch.Generator().manual_seed(0))
    x = maps(channels)
    summed = projected(x.numpy(), module.project, 3, array(module.graph))
    residual = x.numpy() if channels == 6 else chain(x.numpy(), module.shortcut)
    expected = relu(norm(summed, module.norm) + residual)
    assert np.allclose(output(module, x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("stride", [1, 2])
def test_stgcnpp_temporal_convolution(stride):
    module = ready(MultiScaleTemporal(16, stride))
    x = maps(16)
    convolutions = [branch[-1] for branch in module.branches[:4]]
    assert [c.out_channels for c in convolutions] == [6, 2, 2, 2]
    assert [c.dilation[0] for c in convolutions] == [1, 2, 3, 4]
    branches = [chain(x.numpy(), branch, stride) for branch in module.branches[:5]]
    branches.append(conv(x.numpy(), module.branches[5]))
    expected = chain(np.concatenate(branches, axis=1), module.mix)
    assert np.allclose(output(module, x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("kernel", "dilations"), [(5, (1, 2)), (3, (1, 2, 3, 4))])
def test_branches_of_ctrgcn_and_msg3d(kernel, dilations, stride):
    module = ready(MultiBranchTemporal(4, 12, kernel, dilations, stride))
    x = maps(4)
    branches = [chain(x.numpy(), branch, stride) for branch in module.branches]
    assert len(branches) == len(dilations) + 2
    for branch, dilation in zip(module.branches, dilations, strict=False):
        assert branch[-1][0].kernel_size == (kernel, 1)
        assert branch[-1][0].dilation == (dilation, 1)
    expected = np.concatenate(branches, axis=1)
    assert np.allclose(output(module, x), expected, rtol=0, atol=1e-12)


def softmax(x):
    """Over the joints that give."""
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def graph_convolution_of_clip(x, module, graph_of):
    out = 0
    frames = x.shape[2]
    for k in range(3):
        theta, phi = conv(x, module.theta[k]), conv(x, module.phi[k])
        similar = np.einsum("nctv,nctw->nvw", theta, phi) / (theta.shape[1] * frames)
        gathered = np.einsum("nctv,nvw->nctw", x, graph_of(k, similar))
        out = out + conv(gathered, module.project[k])
    residual = chain(x, module.shortcut) if isinstance(module.shortcut, nn.Sequential) else x
    return relu(norm(out, module.norm) + residual)


@pytest.mark.parametrize("channels", [3, 8])
def test_agcn_adds_skeleton_learned_graph_and_softmax_of_similarities(channels):
    module = ready(AdaptiveGraphConvolution(channels, 8, SUBSETS))
    assert torch.equal(module.learned, torch.full((3, V, V), 1e-6).double())
    with torch.no_grad():
        module.learned.uniform_(generator=torch.Generator().manual_seed(0))
    x = maps(channels)
    fixed = SUBSETS.double().numpy() + array(module.learned)
    expected = graph_convolution_of_clip(x.numpy(), module, lambda k, s: fixed[k] + softmax(s))
    assert np.allclose(output(module, x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("channels", [3, 8])
def test_aagcn_gates_tanh_of_similarities(channels):
    module = GatedGraphConvolution(channels, 8, SUBSETS)
    assert module.gate.item() == 0
    assert torch.equal(module.learned, SUBSETS)
    ready(module)
    x, gate = maps(channels), module.gate.item()
    assert gate != 0
    learned = array(module.learned)
    expected = graph_convolution_of_clip(
        x.numpy(), module, lambda k, s: learned[k] + gate * np.tanh(s)
    )
    assert np.allclose(output(module, x), expected, rtol=0, atol=1e-12)


def along(x, module):
    """A one-dimensional convolution to one channel, `(N, C, L)` to `(N, L)`."""
    weight, half = array(module.weight)[0], module.kernel_size[0] // 2
    padded = np.pad(x, ((0, 0), (0, 0), (half, half)))
    windows = np.stack([padded[:, :, i : i + 2 * half + 1] for i in range(x.shape[2])], axis=1)
    return np.einsum("nlck,ck->nl", windows, weight) + module.bias.item()


def test_aagcn_attends_to_joints_then_frames_then_channels():
    module = ready(Attention(8, V))
    x = maps(8)
    y = x.numpy()
    y = y + y * sigmoid(along(y.mean(2), module.joints))[:, None, None, :]
    y = y + y * sigmoid(along(y.mean(3), module.frames))[:, None, :, None]
    squeezed = relu(y.mean((2, 3)) @ array(module.squeeze.weight).T + array(module.squeeze.bias))
    excited = squeezed @ array(module.excite.weight).T + array(module.excite.bias)
    y = y + y * sigmoid(excited)[:, :, None, None]
    assert np.allclose(output(module, x), y, rtol=0, atol=1e-12)


@pytest.mark.parametrize("joints", [17, 18, 20, 25])
def test_attention_to_joints_keeps_odd_kernels(joints):
    kernel = Attention(4, joints).joints.kernel_size[0]
    assert kernel == (joints if joints % 2 else joints - 1)


@pytest.mark.parametrize("channels", [3, 8])
def test_ctrgcn_refines_the_graph_of_every_channel(channels):
    module = RefinedGraphConvolution(channels, 8, SUBSETS)
    assert module.gate.item() == 0
    ready(module)
    x = maps(channels)
    summed = np.zeros((2, 8, 7, V))
    for k, inner in enumerate(module.subsets):
        ours, theirs = conv(x.numpy(), inner.ours), conv(x.numpy(), inner.theirs)
        values = conv(x.numpy(), inner.project)
        for u in range(V):
            for v in range(V):
                difference = np.tanh(ours[..., u].mean(2) - theirs[..., v].mean(2))
                refinement = conv(difference[..., None, None], inner.widen)[..., 0, 0]
                weight = module.graph[k, u, v].item() + module.gate.item() * refinement
                summed[..., u] += weight[:, :, None] * values[..., v]
    residual = x.numpy() if channels == 8 else chain(x.numpy(), module.shortcut)
    expected = relu(norm(summed, module.norm) + residual)
    assert np.allclose(output(module, x), expected, rtol=0, atol=1e-12)


def test_msg3d_lays_the_scales_side_by_side():
    scales = torch.from_numpy(disentangled_scales(adjacency(FORK), 4))
    module = ready(MultiScaleGraphConvolution(3, 8, scales))
    x = maps(3)
    graph = array(module.scales) + array(module.learned)
    gathered = [np.einsum("nctv,vw->nctw", x.numpy(), scale) for scale in graph]
    expected = chain(np.concatenate(gathered, axis=1), module.mix)
    assert np.allclose(output(module, x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("window", [3, 5])
def test_msg3d_convolves_windows_of_frames_as_one_graph(window, stride):
    module = ready(WindowedGraphConvolution(3, 4, 6, adjacency(FORK), window, stride))
    x = maps(3)
    frames, half = x.shape[2], window // 2
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (half, half), (0, 0)))
    weight = array(module.collapse.weight)[..., 0]  # (out, inner, window)
    out = []
    for start in range(0, frames, stride):
        nodes = padded[:, :, start : start + window].reshape(2, 3, 1, window * V)
        mixed = output(module.graph, torch.from_numpy(nodes))[:, :, 0].reshape(2, 4, window, V)
        out.append(np.einsum("ncwv,ocw->nov", mixed, weight))
    collapsed = np.stack(out, axis=2) + array(module.collapse.bias)[:, None, None]
    assert np.allclose(output(module, x), norm(collapsed, module.norm), rtol=0, atol=1e-12)


@pytest.mark.parametrize("first", [True, False])
def test_msg3d_adds_both_paths(first):
    block = ready(TwoPathBlock(6, 12, adjacency(FORK), first=first))
    x = maps(6)

    def temporal(y, module):
        assert isinstance(module, ResidualTemporal)
        short = y if isinstance(module.shortcut, nn.Identity) else chain(y, module.shortcut)
        stride = module.branches.branches[-1][0].stride[0]
        branches = [chain(y, branch, stride) for branch in module.branches.branches]
        return np.concatenate(branches, axis=1) + short

    graph, raise_channels, _, keep_channels = block.frames
    path = temporal(relu(temporal(output(graph, x), raise_channels)), keep_channels)
    windows = sum(output(window, x) for window in block.windows)
    expected = relu(temporal(relu(path + windows), block.temporal))
    assert expected.shape[2] == (7 if first else 4)
    assert np.allclose(output(block, x), expected, rtol=0, atol=1e-11)
