"""Clips on their way into a network: batches of equal length, the same for every engine.

Inputs lie in memory, in a memory map, or on a GPU; batches are always on the device to train on.
What is drawn at random comes from the seed of the batch, on the CPU, so that every device draws the
same.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from nas_skeleton.network.aim import link_matrices
from nas_skeleton.network.initialise import derive_seed
from nas_skeleton.network.links import with_links
from nas_skeleton.skeletons.inputs import RANDOM, encoded, ragged
from nas_skeleton.skeletons.layouts import Layout
from nas_skeleton.skeletons.modalities import modality
from nas_skeleton.skeletons.store import Dataset
from nas_skeleton.spaces.card import LINK_TYPES
from nas_skeleton.training.augmentation import Augmentation, augmentation_of

if TYPE_CHECKING:
    from nas_skeleton.spaces.card import Input
    from nas_skeleton.spaces.recipe import TrainingRecipe

HEADROOM = 0.5
"""Share of a GPU's free memory that inputs may take; networks need the rest."""

SMALLEST_CROP = 0.5
"""Training crops are a random share of the clip, at least this one, and at least T frames."""
CENTRAL_CROP = 0.95
"""The share in the middle of a clip that is tested where training crops."""
TEST_SEED = 255
"""Of the frames that are tested where they are drawn at random, as in PYSKL."""


After = Callable[[Tensor, Tensor, Tensor], Tensor]


class Clips(ABC):
    """The clips of a data set as network input.

    Attributes:
        shape: `(N, C, T, V, M)`: clips, channels, frames, joints, bodies.
        device: where batches are.
        dtype: of batches.
    """

    shape: tuple[int, int, int, int, int]
    device: torch.device
    dtype: torch.dtype

    def __len__(self) -> int:
        return self.shape[0]

    @abstractmethod
    def training(self, ids: Tensor, seed: int) -> Tensor:
        """A batch to train on, `(len(ids), C, T, V, M)`.

        Args:
            ids: int64 on any device.
            seed: of all that is drawn at random; equal seeds and ids give equal batches.
        """

    @abstractmethod
    def evaluation(self, ids: Tensor) -> Tensor:
        """A batch to evaluate on, `(len(ids), C, T, V, M)`; nothing in it is random."""

    @abstractmethod
    def to(self, device: torch.device, dtype: torch.dtype) -> Clips:
        """The same with batches of `dtype` on `device`."""


class FixedClips(Clips):
    """One array; training and evaluation see the same."""

    def __init__(
        self,
        inputs: Tensor,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        n, c, t, v, m = inputs.shape
        self.shape = (n, c, t, v, m)
        self.inputs = inputs
        self.device = device or inputs.device
        self.dtype = dtype or inputs.dtype

    def training(self, ids: Tensor, seed: int) -> Tensor:  # noqa: ARG002
        return self.evaluation(ids)

    def evaluation(self, ids: Tensor) -> Tensor:
        return moved(self.inputs[ids.to(self.inputs.device)], self.device, self.dtype)

    def to(self, device: torch.device, dtype: torch.dtype) -> FixedClips:
        if fits(device, self.inputs.numel() * dtype.itemsize, already=self.inputs.device):
            return FixedClips(self.inputs.to(device, dtype), device, dtype)
        return FixedClips(self.inputs, device, dtype)


class RaggedClips(Clips):
    """Clips of their own lengths; every batch gets other frames of them.

    Args:
        frames: `(frames in all, C, V, M)`, the clips one after the other.
        known: bool `(frames in all, modalities, V, M)`, where there is each of the modalities that
            lie one after the other along C.
        starts: int64 `(N,)`, the first frame of each clip.
        lengths: int64 `(N,)`.
        count: T, frames that are sampled of a clip.
        sampling: "uniform" or "crop-resize", see `sampled_places`.
        after: what is made of sampled frames of joints, of where there is a joint in them, and of
            where one does not lead to the next; None where `frames` has all channels.
        channels: C after that.
        device: where batches are.
        dtype: of batches.
    """

    def __init__(
        self,
        frames: Tensor,
        known: Tensor,
        starts: Tensor,
        lengths: Tensor,
        count: int,
        sampling: str,
        after: After | None = None,
        channels: int | None = None,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        _, c, v, m = frames.shape
        self.shape = (len(starts), channels or c, count, v, m)
        self.frames, self.known = frames, known
        self.starts, self.lengths = starts.to(frames.device), lengths.to(frames.device)
        self.sampling, self.after = sampling, after
        self.device = device or frames.device
        self.dtype = dtype or frames.dtype

    def training(self, ids: Tensor, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(derive_seed(seed, "frames"))
        shape = (len(ids), self.shape[2] + 1)
        return self._clips(ids, torch.rand(shape, generator=generator, dtype=torch.float64), True)

    def evaluation(self, ids: Tensor) -> Tensor:
        # A generator per clip: what is tested of it does not depend on its company.
        drawn = torch.empty(len(ids), self.shape[2] + 1, dtype=torch.float64)
        if self.sampling == "uniform":
            for row, place in zip(drawn, ids.tolist(), strict=True):
                generator = torch.Generator().manual_seed(derive_seed(TEST_SEED, place))
                row.uniform_(generator=generator)
        return self._clips(ids, drawn, False)

    def to(self, device: torch.device, dtype: torch.dtype) -> RaggedClips:
        frames, known = self.frames, self.known
        size = frames.numel() * dtype.itemsize + known.numel()
        if fits(device, size, already=frames.device):
            frames, known = frames.to(device, dtype), known.to(device)
        return RaggedClips(
            frames,
            known,
            self.starts,
            self.lengths,
            self.shape[2],
            self.sampling,
            self.after,
            self.shape[1],
            device,
            dtype,
        )

    def _clips(self, ids: Tensor, drawn: Tensor, training: bool) -> Tensor:
        where = self.frames.device
        ids = ids.to(where)
        lengths, first = self.lengths[ids], self.starts[ids, None]
        places = sampled_places(lengths, drawn.to(where), self.sampling, training=training)
        last = lengths[:, None] - 1
        before = torch.minimum(places.long(), last)
        x, there = self.frames[first + before], self.known[first + before]
        if self.sampling == "crop-resize":  # places between frames
            after = first + torch.minimum(before + 1, last)
            share = (places - before).to(x.dtype)[:, :, None, None, None]
            x, there = _blended(x, self.frames[after], there, self.known[after], share)
        x = x.transpose(1, 2)
        if self.after:
            x = self.after(x, there[:, :, 0], torch.diff(places, append=places[:, -1:]) < 0)
        return moved(x.contiguous(), self.device, self.dtype)


class LinkedClips(Clips):
    """Other clips with A-links behind their coordinates (`network.links`), always the same ones.

    Rotated or scaled clips have the links of the clip as it was.

    Args:
        clips: the coordinates.
        types: of the links between all pairs of joints, uint8 `(N, M, V * (V - 1))`, as from
            `network.aim.edge_types`.
    """

    def __init__(self, clips: Clips, types: Tensor) -> None:
        n, c, t, v, m = clips.shape
        self.clips = clips
        self.types = types
        self.shape = (n, c + LINK_TYPES * v, t, v, m)
        self.device = clips.device
        self.dtype = clips.dtype

    def training(self, ids: Tensor, seed: int) -> Tensor:
        return self._linked(self.clips.training(ids, seed), ids)

    def evaluation(self, ids: Tensor) -> Tensor:
        return self._linked(self.clips.evaluation(ids), ids)

    def to(self, device: torch.device, dtype: torch.dtype) -> LinkedClips:
        types = self.types
        if fits(device, types.numel(), already=types.device):
            types = types.to(device)
        return LinkedClips(self.clips.to(device, dtype), types)

    def _linked(self, batch: Tensor, ids: Tensor) -> Tensor:
        types = self.types[ids.to(self.types.device)].to(self.device)
        joints = batch.shape[3]
        links = link_matrices(types.flatten(0, 1), joints)
        of_clips = links.view(*types.shape[:2], *links.shape[1:]).permute(0, 2, 3, 4, 1)
        return with_links(batch, of_clips.to(self.dtype))


class AugmentedClips(Clips):
    """Other clips, changed anew every time they are trained on; evaluation sees them unchanged."""

    def __init__(self, clips: Clips, augmentation: Augmentation) -> None:
        self.clips = clips
        self.augmentation = augmentation
        self.shape = clips.shape
        self.device = clips.device
        self.dtype = clips.dtype

    def training(self, ids: Tensor, seed: int) -> Tensor:
        return self.augmentation(self.clips.training(ids, seed), derive_seed(seed, "augmentation"))

    def evaluation(self, ids: Tensor) -> Tensor:
        return self.clips.evaluation(ids)

    def to(self, device: torch.device, dtype: torch.dtype) -> AugmentedClips:
        return AugmentedClips(self.clips.to(device, dtype), self.augmentation)


def sampled_places(lengths: Tensor, drawn: Tensor, sampling: str, *, training: bool) -> Tensor:
    """Which frames of clips are taken, `(clips, T)`, float64, in time from 0.

    * "uniform", after PYSKL: one frame from each of T equal parts of the clip, always whole frames.
      Of a clip with fewer than two frames per part, as many as are too many are left out at random,
      no two in a row; one with fewer than T frames is repeated, from any frame on in training and
      from its first otherwise.
    * "crop-resize", after CTR-GCN: a crop of a random share of at least `SMALLEST_CROP`, but of no
      fewer than T frames where the clip has as many, and all of it where it has not; anywhere in
      the clip. Tested is the crop of `CENTRAL_CROP` in the middle, however short. Published are 64
      frames as the least, which is T there, and a resize that begins and ends about half a step
      inside the crop: here its first and last frame are always taken, with equal steps between.

    Args:
        lengths: int64 `(clips,)`.
        drawn: float64 `(clips, T + 1)`, evenly in 0..1, on the same device.
        sampling: one of the two.
        training: whether crops, and where repetition starts, are drawn.
    """
    count = drawn.shape[1] - 1
    length = lengths[:, None]
    if sampling == "crop-resize":
        if training:
            share = drawn[:, :1] * (1 - SMALLEST_CROP) + SMALLEST_CROP
            size = torch.minimum((length * share).long().clamp(min=count), length)
            start = (drawn[:, 1:2] * (length - size + 1)).long()
        else:
            start = (length.double() * ((1 - CENTRAL_CROP) / 2)).long()
            size = length - 2 * start
        steps = torch.linspace(0, 1, count, dtype=torch.float64).to(drawn.device)
        return start + steps * (size - 1)
    step = torch.arange(count, device=drawn.device)
    start = (drawn[:, :1] * length).long() if training else torch.zeros_like(length)
    repeated = (start + step) % length
    left_out = drawn.argsort(dim=1).argsort(dim=1) < length - count
    thinned = step + left_out.cumsum(dim=1)[:, :count]
    edges = torch.arange(count + 1, device=drawn.device) * length // count
    parted = edges[:, :-1] + (drawn[:, :count] * edges.diff(dim=1)).long()
    whole = torch.where(length < 2 * count, thinned, parted)
    return torch.where(length < count, repeated, whole).double()


def _blended(
    x: Tensor, y: Tensor, there: Tensor, also: Tensor, share: Tensor
) -> tuple[Tensor, Tensor]:
    """`x` and `y` `(B, T, C, V, M)` by `share` of y; where one of them has nothing, the nearer one.

    `there` and `also`, `(B, T, modalities, V, M)`, say where they have something; so does what is
    returned second.
    """
    near = share < 0.5
    both = (there & also).repeat_interleave(x.shape[2] // there.shape[2], dim=2)
    blended = torch.where(both, x * (1 - share) + y * share, torch.where(near, x, y))
    return blended, torch.where(near, there, also)


def build_clips(
    dataset: Dataset,
    card: Input,
    recipe: TrainingRecipe,
    protocol: str,
    announce: Callable[[str], None] | None = None,
    *,
    verify: bool = False,
) -> Clips:
    """The clips of a data set as a space card's input and a recipe ask for, on the CPU.

    Args:
        dataset: a prepared data set.
        card: the input of a space card.
        recipe: how many frames, and how training clips are changed.
        protocol: whose training clips the statistics of images come from.
        announce: told, in one line, where inputs cannot be kept on the disk.
        verify: whether kept inputs are compared with their checksum however large they are.

    Raises:
        InputError: unknown protocol, or an input or augmentation that the data cannot have.
    """
    clips: Clips
    if card.sampling in RANDOM:
        clips = _ragged_clips(dataset, card, recipe, announce, verify)
    else:
        inputs = encoded(
            dataset,
            card.encoding,
            recipe.frames,
            protocol,
            modalities=card.modalities,
            motion=card.motion,
            sampling=card.sampling,
            future=card.future,
            announce=announce,
            verify=verify,
        )
        clips = FixedClips(_tensor(inputs))
    augmentation = augmentation_of(recipe, dataset.layout, dataset.axes)
    if not augmentation:
        return clips
    augmentation.check(card.modalities)
    return AugmentedClips(clips, augmentation)


def _ragged_clips(
    dataset: Dataset,
    card: Input,
    recipe: TrainingRecipe,
    announce: Callable[[str], None] | None,
    verify: bool,
) -> RaggedClips:
    late = card.motion == "after-sampling" and any("motion" in name for name in card.modalities)
    names = ("joint",) if late else card.modalities
    flat = ragged(dataset, card.encoding, names, announce, verify=verify)
    after = _Modalities(card.modalities, dataset.layout, dataset.axes) if late else None
    return RaggedClips(
        _tensor(flat.frames),
        _tensor(flat.known).view(torch.bool),
        torch.from_numpy(flat.starts),
        torch.from_numpy(flat.lengths),
        recipe.frames,
        card.sampling,
        after,
        dataset.channels * len(card.modalities),
    )


def _tensor(array: NDArray[Any]) -> Tensor:
    """The same memory as a tensor; nobody writes to it."""
    with warnings.catch_warnings():  # PyTorch warns of memory that cannot be written
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(array)


class _Modalities:
    """Modalities of sampled frames, one after the other along C."""

    def __init__(self, names: tuple[str, ...], layout: Layout, axes: tuple[str, ...]) -> None:
        self.names, self.layout, self.axes = names, layout, axes

    def __call__(self, x: Tensor, found: Tensor, ends: Tensor) -> Tensor:
        return torch.cat(
            [modality(x, found, name, self.layout, self.axes, ends) for name in self.names], dim=1
        )


def fits(
    device: torch.device,
    size: int,
    *,
    already: torch.device | None = None,
    free: Callable[[torch.device], int] | None = None,
) -> bool:
    """Whether `size` bytes of inputs belong on `device`: on a GPU only with room left.

    Args:
        device: where batches are wanted.
        size: bytes.
        already: where they lie; what is on the device stays there.
        free: tells the free bytes of a GPU; by default the driver does.
    """
    if device.type == "cpu" or device == already:
        return True
    return size <= HEADROOM * (free or _free_bytes)(device)


def moved(batch: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """A batch on its device; from the host to a GPU through pinned memory."""
    if batch.device.type == "cpu" and device.type == "cuda":
        return batch.to(dtype).pin_memory().to(device, non_blocking=True)
    return batch.to(device, dtype)


def _free_bytes(device: torch.device) -> int:
    return int(torch.cuda.mem_get_info(device)[0])
