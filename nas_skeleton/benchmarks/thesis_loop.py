"""The loop of the predecessor, for comparison: what a user saves by not writing it again.

Written after NASThesis (Koblenz, 2022) and the training code of NAS-Bench-201 that it used:

* clips are 8-bit images; a torch `Dataset` turns one after the other into a normalised float tensor
  in Python, a `DataLoader` collects them into batches;
* the network is the plain one: every edge computed, a ReLU for each convolution;
* loss and accuracies are fetched with `.item()` after every step;
* train, valid and test clips are evaluated after every epoch.

So that the loop is compared and not the network, the images are the very inputs that the engines
see, rounded to 256 values per coordinate; stem, sizes, optimiser, number of clips and precision of
the arithmetic are the same too. (The thesis itself had NAS-Bench-201's stem on 20 x 68 images:
`--space nb201-image --recipe thesis` of the command `speed` is that.)
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from nas_skeleton.network.initialise import initialise
from nas_skeleton.spaces.cell import Cell
from nas_skeleton.training.candidates import Problem, Unsupported
from nas_skeleton.training.engines.precision import Arithmetic

COLOURS = 3


def to_images(inputs: Tensor) -> tuple[NDArray[np.uint8], Tensor, Tensor]:
    """Network inputs as images, and the normalisation that gives the inputs back.

    Args:
        inputs: `(N, C, T, V, M)`, floats.

    Returns:
        Images `(N, T, V * M, C)`, and `mean` and `deviation`, both `(C,)`: up to rounding, the
        inputs are `(image / 255 - mean) / deviation`.
    """
    n, c, t, v, m = inputs.shape
    values = inputs.float().cpu()
    low, high = values.amin(dim=(0, 2, 3, 4)), values.amax(dim=(0, 2, 3, 4))
    span = torch.where(high > low, high - low, torch.ones_like(low))
    scaled = (values - low.view(-1, 1, 1, 1)) / span.view(-1, 1, 1, 1) * 255
    pixels = scaled.round().to(torch.uint8).permute(0, 2, 3, 4, 1).reshape(n, t, v * m, c)
    return pixels.numpy(), -low / span, 1 / span


class ClipImages(Dataset[tuple[Tensor, int]]):
    """The clips `ids` of a problem's task, decoded one at a time as torchvision does it."""

    def __init__(
        self,
        images: tuple[NDArray[np.uint8], Tensor, Tensor],
        labels: Sequence[int],
        ids: Sequence[int],
        bodies: int,
    ) -> None:
        self.pixels, mean, deviation = images
        self.mean, self.deviation = mean[:, None, None], deviation[:, None, None]
        self.labels = labels
        self.ids = ids
        self.bodies = bodies

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        clip = self.ids[index]
        picture = Image.fromarray(self.pixels[clip])
        tensor = torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous().float().div(255)
        tensor = tensor.sub_(self.mean).div_(self.deviation)
        c, t, width = tensor.shape
        return tensor.view(c, t, width // self.bodies, self.bodies), self.labels[clip]


class ThesisLoop:
    """Trains candidates one after the other as the thesis did.

    Raises:
        Unsupported: the recipe's precision is not to be had on this device, or clips have not as
            many channels as a picture.

    Args:
        problem: card, recipe and task; the task's device is trained on.
        cells: the candidates.
        seed: of weights and of the order of clips.
        loader_workers: processes of each `DataLoader`; 0 loads in this process.
    """

    def __init__(
        self, problem: Problem, cells: Sequence[Cell], seed: int, loader_workers: int = 0
    ) -> None:
        task, recipe = problem.task, problem.recipe
        if task.channels != COLOURS:
            raise Unsupported(f"pictures have {COLOURS} channels, these clips {task.channels}")
        self.device, self.dtype = task.device, task.dtype
        every = torch.arange(len(task.clips))
        images = to_images(torch.cat([clips.cpu() for clips in task.evaluation_batches(every)]))
        labels = task.labels.tolist()
        self._loaders = {
            split: DataLoader(
                ClipImages(images, labels, ids.tolist(), task.clips.shape[-1]),
                batch_size=recipe.batch_size,
                shuffle=split == "train",
                drop_last=split == "train" and recipe.drop_last and len(ids) >= recipe.batch_size,
                num_workers=loader_workers,
                pin_memory=self.device.type == "cuda",
                generator=torch.Generator().manual_seed(seed),
            )
            for split, ids in task.splits.items()
        }
        self._arithmetic = Arithmetic(problem)
        self._networks = [problem.network(cell, plain=True) for cell in cells]
        self._optimizers = []
        for network in self._networks:
            initialise(network, seed)
            self._optimizers.append(
                torch.optim.SGD(
                    network.parameters(),
                    lr=0.0,  # costs the same, and a bad recipe does not diverge here
                    momentum=recipe.momentum,
                    nesterov=recipe.nesterov,
                    weight_decay=recipe.weight_decay,
                )
            )

    def train(self, steps: int | None = None) -> int:
        """Train every candidate for `steps` batches, at most an epoch (None: the epoch).

        Returns:
            The steps that one candidate made.
        """
        done = 0
        for network, optimizer in zip(self._networks, self._optimizers, strict=True):
            network.train()
            with self._arithmetic.flags():
                done = self._pass(network, self._loaders["train"], steps, optimizer)
        return done

    @torch.no_grad()
    def evaluate(self, batches: int | None = None) -> int:
        """Evaluate every candidate on `batches` batches of all splits (None: on all clips).

        Returns:
            The clips that one candidate was evaluated on.
        """
        clips = 0
        for network in self._networks:
            network.eval()
            everything = itertools.chain.from_iterable(self._loaders.values())
            with self._arithmetic.flags():
                clips = self._pass(network, everything, batches, None)
        return clips

    def _pass(
        self,
        network: nn.Module,
        loader: Iterable[tuple[Tensor, Tensor]],
        batches: int | None,
        optimizer: torch.optim.SGD | None,
    ) -> int:
        """Go through batches; returns how many steps were made, or clips were evaluated."""
        loss_sum = top1_sum = top5_sum = 0.0
        steps = clips = 0
        for inputs, labels in itertools.islice(self._moved(loader), batches):
            if optimizer:
                optimizer.zero_grad()
            with self._arithmetic.forward():
                scores = network(inputs)
                loss = nn.functional.cross_entropy(scores, labels)
            if optimizer:
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            best = scores.detach().topk(min(5, scores.shape[1]), dim=1).indices
            hits = best == labels[:, None]
            loss_sum += loss.item() * len(labels)
            top1_sum += hits[:, 0].float().sum().item()
            top5_sum += hits.float().sum().item()
            steps, clips = steps + 1, clips + len(labels)
        return steps if optimizer else clips

    def _moved(self, loader: Iterable[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
        for inputs, labels in loader:
            yield (
                inputs.to(self.device, self.dtype, non_blocking=True),
                labels.to(self.device, non_blocking=True),
            )
