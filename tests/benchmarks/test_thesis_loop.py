"""The thesis-style loop sees the engines' inputs as 8-bit images, and all clips every epoch."""

import pytest
import torch

from nas_skeleton.benchmarks.thesis_loop import ClipImages, ThesisLoop, to_images
from nas_skeleton.skeletons.store import load_dataset
from nas_skeleton.spaces import load_space
from nas_skeleton.training.candidates import Problem, Unsupported
from nas_skeleton.training.task import build_task


@pytest.mark.parametrize("bodies", [1, 2])
def test_images_give_the_inputs_back_up_to_rounding(bodies):
    torch.manual_seed(1)
    inputs = torch.randn(4, 3, 6, 5, bodies) * torch.tensor([1.0, 5.0, 0.1]).view(3, 1, 1, 1)
    inputs[:, 2] = 0.25  # a coordinate that never changes
    images = to_images(inputs)
    assert images[0].shape == (4, 6, 5 * bodies, 3)
    clips = ClipImages(images, labels=[7, 8, 9, 10], ids=[2, 0], bodies=bodies)
    step = (inputs.amax(dim=(0, 2, 3, 4)) - inputs.amin(dim=(0, 2, 3, 4))) / 255
    for position, clip in enumerate([2, 0]):
        tensor, label = clips[position]
        assert label == 7 + clip
        error = (tensor - inputs[clip]).abs().amax(dim=(1, 2, 3))
        assert (error <= 0.51 * step + 1e-6).all()


def test_an_epoch_trains_on_training_clips_and_evaluates_all(workdir):
    space, data = load_space("tiny"), load_dataset("synthetic")
    recipe = space.card.recipe().model_copy(update={"batch_size": 100})
    task = build_task(space.card, recipe, data, "thesis")
    loop = ThesisLoop(Problem(space.card, recipe, task), [space.cell(6111)], seed=1)
    assert loop.train() == 4  # 323 clips, the last batch smaller
    assert loop.train(2) == 2
    assert loop.evaluate() == 861
    assert loop.evaluate(1) == 100


def test_clips_that_are_no_pictures_take_no_part(workdir):
    space, data = load_space("tiny", "joint+bone"), load_dataset("synthetic")
    recipe = space.card.recipe()
    task = build_task(space.card, recipe, data, "thesis")
    with pytest.raises(Unsupported, match="3 channels, these clips 6"):
        ThesisLoop(Problem(space.card, recipe, task), [space.cell(6111)], seed=1)
