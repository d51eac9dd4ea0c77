import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nas_skeleton.network.aim import link_matrices
from nas_skeleton.network.graph import spatial_partition
from nas_skeleton.network.initialise import initialise
from nas_skeleton.network.links import with_links
from nas_skeleton.network.models.actional import ActionalBlock, ActionalGraphConvolution
from nas_skeleton.network.models.asgcn import ASGCN
from nas_skeleton.skeletons.layouts import COCO17, NTU, UTDMHAD

FUTURE = 3


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def network(in_channels=3, classes=4, layout=COCO17, dropout=0.0):
    built = ASGCN(in_channels, classes, layout, future=FUTURE, dropout=dropout)
    initialise(built, 1)
    return built


def clips_with_links(n=2, c=3, observed=8, layout=COCO17, m=2, dtype=torch.float32):
    v = len(layout.joints)
    clips = torch.randn(n, c, observed + FUTURE, v, m, generator=seeded(), dtype=dtype)
    types = torch.randint(0, 3, (n * m, v * (v - 1)), generator=seeded(1))
    links = link_matrices(types, v).view(n, m, 2, v, v).permute(0, 2, 3, 4, 1)
    return with_links(clips, links)


def norms(built):
    return [m for m in built.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]


def settled(built, clips):
    """The network in eval mode, its batch norms with the statistics of the clips.

    Running variances start at one and the true ones are far smaller: updates would take long.
    """
    for module in norms(built):
        module.reset_running_stats()
        module.momentum = None
    with torch.no_grad():
        built.predict(clips)
    return built.eval()


@pytest.fixture(scope="module")
def in_eval_mode():
    return settled(network().double(), clips_with_links(dtype=torch.float64))


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameter_counts_are_the_published_ones():
    built = ASGCN(3, 60, NTU)
    head = parameters(built.prediction)
    assert parameters(built) == 6_987_478
    assert head == 2_190_211
    assert parameters(built) - head == 4_797_267


def published_order(self, maps, links):
    """The graph convolution as it is published: projects every joint, then sums over joints."""
    n, _, t, v = maps.shape
    projected = self.project(maps).view(n, -1, self.out_channels, t, v)
    return torch.einsum("nkctv,nkvw->nctw", projected, self.links(links))


def giga_macs(run):
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() / 2e9


def test_published_cost_is_that_of_this_network_and_block_one_a_second_time(monkeypatch):
    built = ASGCN(3, 60, NTU).to("meta").eval()
    clips = torch.empty(1, 3 + 2 * 25, 290 + 10, 25, 2, device="meta")
    assert giga_macs(lambda: built.predict(clips)) == pytest.approx(30.986, abs=0.001)
    assert giga_macs(lambda: built(clips)) == pytest.approx(26.639, abs=0.001)

    monkeypatch.setattr(ActionalGraphConvolution, "forward", published_order)
    once = giga_macs(lambda: built.predict(clips))
    maps = torch.empty(2, 64, 290, 25, device="meta")
    links = torch.empty(2, 2, 25, 25, device="meta")
    duplicate = giga_macs(lambda: built.blocks[1](maps, links))
    assert once == pytest.approx(31.609, abs=0.001)
    assert duplicate == pytest.approx(1.443, abs=0.001)
    assert once + duplicate == pytest.approx(33.05, abs=0.01)


def test_graph_convolution_equals_the_loop_over_subsets_and_joints():
    structural = torch.from_numpy(spatial_partition(UTDMHAD, "spatial-stgcn", hops=4)).double()
    layer = ActionalGraphConvolution(3, 4, structural).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(generator=seeded())
    maps = torch.randn(2, 3, 5, 20, generator=seeded(1), dtype=torch.float64)
    links = torch.rand(2, 2, 20, 20, generator=seeded(2), dtype=torch.float64)
    projected = layer.project(maps).view(2, 11, 4, 5, 20)
    expected = torch.zeros(2, 4, 5, 20, dtype=torch.float64)
    for w in range(20):
        for v in range(20):
            for k in range(9):
                share = structural[k, v, w] * layer.importance[k, v, w]
                expected[..., w] += projected[:, k, ..., v] * share
            for j in range(2):
                share = 0.5 * links[:, j, v, w]
                expected[..., w] += projected[:, 9 + j, ..., v] * share.view(2, 1, 1)
    assert torch.allclose(layer(maps, links), expected, atol=1e-10)


def test_network_is_the_same_function_with_the_sum_over_joints_taken_last(
    in_eval_mode, monkeypatch
):
    clips = clips_with_links(dtype=torch.float64)
    scores, poses = in_eval_mode(clips), in_eval_mode.predict(clips)
    monkeypatch.setattr(ActionalGraphConvolution, "forward", published_order)
    assert torch.allclose(in_eval_mode(clips), scores, atol=1e-10)
    assert torch.allclose(in_eval_mode.predict(clips), poses, atol=1e-10)


def test_block_is_graph_and_time_convolution_and_residual():
    structural = torch.from_numpy(spatial_partition(UTDMHAD, "spatial-stgcn", hops=4))
    maps = torch.randn(2, 3, 7, 20, generator=seeded())
    links = torch.rand(2, 2, 20, 20, generator=seeded(1))
    block = ActionalBlock(3, 6, structural, stride=2).eval()
    convolved = block.temporal[2](torch.relu(block.graph(maps, links) / (1 + 1e-5) ** 0.5))
    shortcut = nn.functional.conv2d(
        maps[:, :, ::2], block.residual[0].weight, block.residual[0].bias
    )
    expected = torch.relu((convolved + shortcut) / (1 + 1e-5) ** 0.5)
    assert expected.shape == (2, 6, 4, 20)
    assert torch.allclose(block(maps, links), expected, atol=1e-6)
    assert isinstance(ActionalBlock(6, 6, structural).residual, nn.Identity)


def test_blocks_start_as_published():
    built = network()
    for name, module in built.named_modules():
        if isinstance(module, nn.Conv2d) and not name.startswith(
            ("prediction.graph", "prediction.temporal")
        ):
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.1)
            assert (module.bias == 0).all()
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.num_features > 40:
            assert module.weight.mean().item() == pytest.approx(1, abs=0.01)
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.4)
    bound = 330**-0.5  # transposed convolutions to 11 * 30 channels, left as PyTorch starts them
    last = ASGCN(3, 4, COCO17)
    initialise(last, 1)
    assert 0.99 * bound < last.prediction.graph.project.weight.abs().max() <= bound


def test_without_offsets_every_predicted_pose_is_the_last_observed_one():
    built = network()
    nn.init.zeros_(built.prediction.temporal[3].weight)
    nn.init.zeros_(built.prediction.temporal[3].bias)
    clips = clips_with_links()
    last = clips[:, :3, -FUTURE - 1]
    for t in range(FUTURE):
        assert torch.equal(built.predict(clips)[:, :, t], last)


def test_an_offset_is_added_to_its_coordinate_and_frame():
    built = network()
    offsets = torch.arange(1.0, 1 + 3 * FUTURE)
    nn.init.zeros_(built.prediction.temporal[3].weight)
    built.prediction.temporal[3].bias.data = offsets
    clips = clips_with_links()
    moved = built.predict(clips) - clips[:, :3, -FUTURE - 1].unsqueeze(2)
    expected = offsets.view(1, 3, FUTURE, 1, 1).expand_as(moved)
    assert torch.allclose(moved, expected, atol=1e-5)


def test_what_happens_later_changes_neither_scores_nor_predictions(in_eval_mode):
    clips = clips_with_links(dtype=torch.float64)
    later = clips.clone()
    later[:, :, -FUTURE:] = 7  # links too: they are read from the first frame
    assert torch.equal(in_eval_mode(later), in_eval_mode(clips))
    assert torch.equal(in_eval_mode.predict(later), in_eval_mode.predict(clips))
    later = clips.clone()
    later[:, :3, -FUTURE - 1] += 0.1
    assert not torch.allclose(in_eval_mode(later), in_eval_mode(clips))


def test_links_matter(in_eval_mode):
    clips = clips_with_links(dtype=torch.float64)
    unlinked = clips.clone()
    unlinked[:, 3:] = 0
    assert not torch.allclose(in_eval_mode(unlinked), in_eval_mode(clips))


def test_scores_do_not_depend_on_the_order_of_bodies_or_the_company_of_a_clip(in_eval_mode):
    clips = clips_with_links(dtype=torch.float64)
    scores, poses = in_eval_mode(clips), in_eval_mode.predict(clips)
    assert torch.allclose(in_eval_mode(clips.flip(4)), scores, atol=1e-12)
    assert torch.allclose(in_eval_mode.predict(clips.flip(4)).flip(4), poses, atol=1e-12)
    assert torch.allclose(in_eval_mode(clips[1:]), scores[1:], atol=1e-12)
    assert torch.allclose(in_eval_mode.predict(clips[1:]), poses[1:], atol=1e-12)


def test_loss_is_entropy_and_a_hundredth_of_the_first_bodys_error(in_eval_mode):
    clips, labels = clips_with_links(dtype=torch.float64), torch.tensor([2, 0])
    missed = in_eval_mode.predict(clips)[..., 0] - clips[:, :3, -FUTURE:, :, 0]
    entropy = nn.functional.cross_entropy(in_eval_mode(clips), labels)
    expected = entropy + 0.01 * missed.square().mean()
    assert torch.allclose(in_eval_mode.loss(clips, labels), expected)


def test_loss_evaluates_every_layer_once():
    built = network()
    built.loss(clips_with_links(), torch.tensor([0, 1]))
    assert len(norms(built)) > 30
    assert {int(norm.num_batches_tracked) for norm in norms(built)} == {1}


def test_every_parameter_learns_but_the_published_idle_ones():
    built = network()
    built.loss(clips_with_links(), torch.tensor([0, 1])).backward()
    gradients = {name: p.grad for name, p in built.named_parameters()}
    assert gradients.pop("prediction.idle_importance") is None
    for name, gradient in gradients.items():
        assert gradient is not None, name
        assert gradient.isfinite().all(), name
        assert (gradient != 0).any() or name.endswith("bias"), name


def test_head_sees_five_frames_of_290_and_leaves_them_as_they_are():
    built = ASGCN(3, 60, NTU).to("meta").eval()
    seen = []
    built.prediction.pool.register_forward_hook(lambda *call: seen.append(call[1][0].shape[2]))
    built.predict(torch.empty(1, 3 + 2 * 25, 290 + 10, 25, 1, device="meta"))
    assert seen == [5]
    maps = torch.randn(2, 4, 5, 3, generator=seeded())
    assert torch.equal(built.prediction.pool(maps), maps)


@pytest.mark.parametrize("observed", [2, 21])
@pytest.mark.parametrize(
    ("layout", "channels", "bodies"), [(COCO17, 2, 1), (UTDMHAD, 3, 1), (NTU, 6, 2)]
)
def test_any_skeleton_and_length_will_do_and_one_clip(layout, channels, bodies, observed):
    built = network(channels, 4, layout).train()
    clips = clips_with_links(1, channels, observed, layout, bodies)
    built.loss(clips, torch.tensor([0])).backward()
    assert built(clips).shape == (1, 4)
    predicted = built.predict(clips)
    assert predicted.shape == (1, channels, FUTURE, len(layout.joints), bodies)


def test_channels_last_is_the_same_function(in_eval_mode):
    clips = clips_with_links(dtype=torch.float64)
    scores, poses = in_eval_mode(clips), in_eval_mode.predict(clips)
    in_eval_mode.to(memory_format=torch.channels_last)
    assert torch.allclose(in_eval_mode(clips), scores, atol=1e-12)
    assert torch.allclose(in_eval_mode.predict(clips), poses, atol=1e-12)


def test_dropout_acts_in_training_only():
    built, clips = network(dropout=0.5), clips_with_links()
    assert not torch.equal(built(clips), built(clips))
    built.eval()
    assert torch.equal(built(clips), built(clips))


def test_eight_clips_are_learnt_by_heart():
    built = network(classes=8)
    clips, labels = clips_with_links(8, m=1), torch.arange(8)
    optimizer = torch.optim.SGD(built.parameters(), lr=0.05, momentum=0.9)
    for _ in range(6):
        optimizer.zero_grad()
        built.loss(clips, labels).backward()
        optimizer.step()
    with torch.no_grad():
        assert torch.equal(settled(built, clips)(clips).argmax(dim=1), labels)
