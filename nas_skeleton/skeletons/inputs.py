"""Network inputs: a whole data set as clips of equal length, or of their own for random sampling.

Every encoding is named, so that a table can say what its networks saw. This is where clips get
their origin, their modalities and their common number of frames; what a network does with the array
is not decided here. Inputs are computed once, one clip at a time, and kept as memory maps beside
the prepared store, so that all processes share them and none has them all in memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.keeping import Part, kept
from nas_skeleton.skeletons.modalities import check_modalities, found, known, modality
from nas_skeleton.skeletons.poses import SPATIAL
from nas_skeleton.skeletons.steps.step import last_known
from nas_skeleton.skeletons.store import Dataset
from nas_skeleton.skeletons.writing import ENCODED

Encoding = Literal["centred-per-frame", "centred-first-frame", "image"]
ENCODINGS: tuple[str, ...] = get_args(Encoding)
Motion = Literal["before-sampling", "after-sampling"]
MOTIONS: tuple[str, ...] = get_args(Motion)
Sampling = Literal["linear", "pad-zero", "pad-repeat", "uniform", "crop-resize"]
SAMPLINGS: tuple[str, ...] = get_args(Sampling)
RANDOM: tuple[str, ...] = ("uniform", "crop-resize")
"""Samplings that are drawn anew for every batch (`training.clips`)."""

VERSION = 1
"""Of what inputs are. Raise it, and `spaces.card.MEANING` with it, when the same clips come to be
other inputs than before: this one renews the kept files, that one parts the results."""

Found = NDArray[np.bool_]
Values = NDArray[np.float32]


def encode(
    dataset: Dataset,
    encoding: str,
    frames: int,
    protocol: str | None = None,
    *,
    modalities: Sequence[str] = ("joint",),
    motion: str = "before-sampling",
    sampling: str = "linear",
    future: int = 0,
) -> Values:
    """All clips of a data set as network input, in memory.

    * "centred-per-frame": coordinates relative to the centring joint of the first body in the same
      frame, which takes the way through the room out of the clip.
    * "centred-first-frame": relative to where that joint is in the first frame in which it was
      found, which keeps it.
    * "image": the representation of the NASThesis repository, see `image_pixels`, standardised with
      the channel statistics of the protocol's training and validation clips.

    The centred encodings keep the data's unit; bodies that are not there, and joints that were not
    found, are zero, whatever place a detector gave them.

    `sampling` gives clips their common length: "linear" interpolates in time from the first frame
    to the last, and takes the nearer frame where one of two is without the joint, or whatever the
    modality is made of; "pad-zero" puts
    nobody behind the clip's end, "pad-repeat" the clip again from its beginning, and both cut off
    what is longer. `future` frames at the end of a clip are kept out of that: they follow as they
    were recorded. Of a clip that is shorter still the first frame stays before them, and the last
    one is repeated.

    Args:
        dataset: a prepared data set.
        encoding: one of `ENCODINGS`.
        frames: length T that all clips get.
        protocol: whose training clips the image statistics come from, None for the default; the
            other encodings learn nothing from the data and do not look at it.
        modalities: of `modalities.MODALITIES`; several lie one after the other along C.
        motion: whether motion is from one recorded frame to the next ("before-sampling") or from
            one sampled frame to the next ("after-sampling").
        sampling: one of `SAMPLINGS` that is not drawn at random.
        future: frames that follow the T others, with sampling "linear" only.

    Returns:
        Float32 `(N, C, T + future, V, M)` in the order of the store; M is 1 for "image".

    Raises:
        InputError: an unknown encoding, modality, motion, sampling or protocol, fewer than 2
            frames, or "image" for clips that are not x, y and z, or with other than plain joints.
    """
    way = _Way(encoding, frames, tuple(modalities), motion, sampling, future)
    way.check(dataset)
    inputs = np.empty(way.shape(dataset), dtype=np.float32)
    for index, clip in enumerate(_clips(dataset, way, protocol)):
        inputs[index] = clip
    return inputs


def encoded(
    dataset: Dataset,
    encoding: str,
    frames: int,
    protocol: str | None = None,
    *,
    modalities: Sequence[str] = ("joint",),
    motion: str = "before-sampling",
    sampling: str = "linear",
    future: int = 0,
    announce: Callable[[str], None] | None = None,
    verify: bool = False,
) -> Values:
    """What `encode` gives, as a memory map that later calls and other processes use again.

    It is private to the process: what is written to the array does not reach the disk. Where the
    folder cannot be written the array is made in memory, and `announce` is told so in one line.
    `verify` compares kept inputs with their checksum however large they are, see `keeping.kept`.
    """
    way = _Way(encoding, frames, tuple(modalities), motion, sampling, future)
    way.check(dataset)
    part = Part("f32", np.dtype("<f4"), way.shape(dataset))
    [inputs] = kept(
        dataset.folder.parent / ENCODED,
        way.key(dataset, protocol),
        [part],
        lambda: ((clip,) for clip in _clips(dataset, way, protocol)),
        announce,
        verify=verify,
    )
    return inputs


@dataclass(frozen=True, eq=False)
class Ragged:
    """Clips of their own lengths, one after the other, from which any frames can be sampled.

    Attributes:
        frames: float32 `(frames in all, C, V, M)`, centred, with their modalities.
        known: uint8 `(frames in all, modalities, V, M)`, 1 where there is one, see
            `modalities.known`.
        starts: int64 `(N,)`, the first frame of each clip.
        lengths: int64 `(N,)`.
    """

    frames: Values
    known: NDArray[np.uint8]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]


def ragged(
    dataset: Dataset,
    encoding: str,
    modalities: Sequence[str] = ("joint",),
    announce: Callable[[str], None] | None = None,
    *,
    verify: bool = False,
) -> Ragged:
    """All clips of a data set, centred and with their modalities, in their own lengths.

    A memory map as in `encoded`. Motion is from one recorded frame to the next.

    Raises:
        InputError: an unknown encoding or modality, or "image", which has no frames of its own.
    """
    way = _Way(encoding, 2, tuple(modalities), "before-sampling", "uniform")
    way.check(dataset)
    lengths = dataset.lengths
    total = int(lengths.sum())
    _, channels, _, joints, bodies = way.shape(dataset)

    def clips() -> Iterator[tuple[Values, NDArray[np.uint8]]]:
        for index in range(len(dataset)):
            x, there = _centred_clip(dataset, index, encoding)
            parts = list(_modalities(x, there, way, dataset))
            frames = _joined([values for values, _ in parts]).transpose(1, 0, 2, 3)
            masks = np.stack([mask for _, mask in parts], axis=1)
            yield np.ascontiguousarray(frames), masks.astype(np.uint8)

    frames, masks = kept(
        dataset.folder.parent / ENCODED,
        way.key(dataset, None),
        [
            Part("frames.f32", np.dtype("<f4"), (total, channels, joints, bodies)),
            Part("known.u8", np.dtype("u1"), (total, len(way.modalities), joints, bodies)),
        ],
        clips,
        announce,
        verify=verify,
    )
    return Ragged(frames, masks, np.cumsum(lengths) - lengths, lengths)


@dataclass(frozen=True)
class _Way:
    """How clips become inputs."""

    encoding: str
    frames: int
    modalities: tuple[str, ...]
    motion: str
    sampling: str
    future: int = 0

    def check(self, dataset: Dataset) -> None:
        for what, value, allowed in (
            ("encoding", self.encoding, ENCODINGS),
            ("motion", self.motion, MOTIONS),
            ("sampling", self.sampling, SAMPLINGS),
        ):
            if value not in allowed:
                raise InputError(f"unknown {what} {value!r}: known are {', '.join(allowed)}")
        if self.future and (self.sampling != "linear" or self.encoding == "image"):
            raise InputError("future frames need sampling 'linear' and another encoding than image")
        _check_frames(self.frames)
        check_modalities(self.modalities)
        if self.encoding == "image":
            if (self.modalities, self.sampling) != (("joint",), "linear"):
                raise InputError(
                    "encoding 'image' has no modalities and no sampling but its own; choose "
                    "another encoding"
                )
            _check_axes_of_images(dataset)

    def shape(self, dataset: Dataset) -> tuple[int, int, int, int, int]:
        """`(N, C, T, V, M)`."""
        joints = len(dataset.layout.joints)
        if self.encoding == "image":
            return len(dataset), 3, self.frames, joints, 1
        channels = dataset.channels * len(self.modalities)
        return len(dataset), channels, self.frames + self.future, joints, dataset.bodies

    def key(self, dataset: Dataset, protocol: str | None) -> str:
        """The store's content, 8 hex digits, and the SHA-256 of all that decides the inputs."""
        seen = dataset.split_fingerprint(protocol) if self.encoding == "image" else ""
        own = asdict(self)
        if not self.future:
            del own["future"]  # came later than the first kept files
        parts = {
            **own,
            "version": VERSION,
            "store": [dataset.fingerprint, dataset.header.content_sha256],
            "clips": hashlib.sha256("\0".join(dataset.ids).encode()).hexdigest(),
            "layout": asdict(dataset.layout),
            "axes": dataset.axes,
            "statistics": seen,
        }
        text = json.dumps(parts, sort_keys=True)
        content = dataset.header.content_sha256[:8]
        return f"{content}-{hashlib.sha256(text.encode()).hexdigest()}"


def _clips(dataset: Dataset, way: _Way, protocol: str | None) -> Iterator[Values]:
    """Network inputs `(C, T, V, M)`, one by one."""
    if way.sampling in RANDOM:
        raise InputError(f"sampling {way.sampling!r} is drawn anew for every batch, see `ragged`")
    if way.encoding == "image":
        yield from _standardised_images(dataset, way.frames, protocol)
        return
    for index in range(len(dataset)):
        x, there = _centred_clip(dataset, index, way.encoding)
        places = _places(x.shape[1], way.frames, way.sampling, way.future)
        if way.motion == "before-sampling":
            parts = _modalities(x, there, way, dataset)
            yield _joined([_sampled(values, mask, places)[0] for values, mask in parts])
        else:
            ends = np.diff(places, append=-1) < 0
            parts = _modalities(*_sampled(x, there, places), way, dataset, ends)
            yield _joined([values for values, _ in parts])


def _modalities(
    x: Values, there: Found, way: _Way, dataset: Dataset, ends: Found | None = None
) -> Iterator[tuple[Values, Found]]:
    """Each modality of a clip `(C, T, V, M)`, and where there is one."""
    layout, axes = dataset.layout, dataset.axes
    for name in way.modalities:
        yield modality(x, there, name, layout, axes, ends), known(there, name, layout, ends)


def _joined(modalities: Sequence[Values]) -> Values:
    """One after the other along C."""
    return modalities[0] if len(modalities) == 1 else np.concatenate(modalities)


def image_pixels(dataset: Dataset, frames: int) -> NDArray[np.uint8]:
    """Clips as pictures: joints downwards, frames to the right, x, y, z as red, green, blue.

    As in the thesis "Neural Architecture Search for Skeleton-based Human Action Recognition"
    (Koblenz 2022, repository cbrozmann/NASThesis): the first body only; the least value of the
    whole clip, over x, y and z together, becomes 0 and the greatest 255, cut off to whole numbers;
    then Pillow's bilinear resize of the time axis.

    Returns:
        `(N, V, frames, 3)`.

    Raises:
        InputError: fewer than 2 frames, or clips that do not have three coordinates.
    """
    from PIL import Image

    _check_frames(frames)
    _check_axes_of_images(dataset)
    joints = len(dataset.layout.joints)
    pixels = np.empty((len(dataset), joints, frames, 3), dtype=np.uint8)
    for index in range(len(dataset)):
        # float64, as the thesis computed: float32 would move some values across a whole number
        values = dataset.clip(index)[..., 0].transpose(2, 1, 0).astype(np.float64)
        values -= values.min()
        greatest = values.max()
        if greatest > 0:
            values /= greatest
        picture = Image.fromarray((values * 255).astype(np.uint8))
        pixels[index] = np.asarray(picture.resize((frames, joints), Image.Resampling.BILINEAR))
    return pixels


def image_channel_statistics(
    dataset: Dataset, frames: int, protocol: str | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of the three colours, in 0..255, each `(3,)`.

    Over all pixels of all clips of the training and validation clips together, as the thesis
    has it; test clips are never looked at.

    Raises:
        InputError: as `image_pixels`, or an unknown protocol.
    """
    return _statistics(image_pixels(dataset, frames), dataset, protocol)


def _statistics(
    pixels: NDArray[np.uint8], dataset: Dataset, protocol: str | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    split = dataset.split(protocol)
    seen = pixels[np.sort(np.concatenate([split["train"], split["valid"]]))].reshape(-1, 3)
    return seen.mean(axis=0, dtype=np.float64), seen.std(axis=0, dtype=np.float64)


def _standardised_images(
    dataset: Dataset, frames: int, protocol: str | None
) -> Iterator[NDArray[np.float32]]:
    pixels = image_pixels(dataset, frames)
    mean, deviation = _statistics(pixels, dataset, protocol)
    deviation[deviation == 0] = 1  # a colour that never changes stays at 0
    # A pixel is one of 256 values: look results up instead of computing them millions of times.
    table = ((np.arange(256)[:, None] - mean) / deviation).astype(np.float32)
    for picture in pixels:  # (V, frames, 3)
        colours = [table[picture[..., colour], colour].T for colour in range(3)]
        yield np.stack(colours)[..., None]


def _centred_clip(dataset: Dataset, index: int, encoding: str) -> tuple[Values, Found]:
    """A clip `(C, T, V, M)` relative to a joint of its first body, and where it has joints.

    Where that joint was never found the middle of those that were takes its place.
    """
    x = dataset.clip(index)
    axes = dataset.axes
    there: Found = found(x, axes)
    bodies = there.any(axis=(0, 1))
    if not bodies.any():
        return np.zeros_like(x), there
    body = int(bodies.argmax())  # the first one, unless it is never there
    joint = dataset.layout.centring_joint
    seen, origin = there[:, joint, body], x[:, :, joint, body]
    if not seen.any():
        seen = np.asarray(there[:, :, body].any(axis=1))
        counts = np.maximum(there[:, :, body].sum(axis=1), 1).astype(np.float32)
        origin = (x[..., body] * there[:, :, body]).sum(axis=2) / counts
    if encoding == "centred-first-frame":
        frames = np.full(len(seen), seen.argmax())
    else:
        frames = last_known(seen)
    centred: Values = np.where(there, x - origin[:, frames][:, :, None, None], np.float32(0))
    for channel, axis in enumerate(axes):
        if axis not in SPATIAL:
            centred[channel] = x[channel]
    return centred, there


def _places(length: int, frames: int, sampling: str, future: int = 0) -> NDArray[np.float64]:
    """Which frames of a clip are taken, `(frames + future,)`; -1 is nobody."""
    if sampling == "linear":
        last = max(length - 1 - future, 0)
        following = np.minimum(last + 1 + np.arange(future), length - 1)
        return np.concatenate([np.linspace(0, last, frames), following])
    places = np.arange(frames, dtype=np.float64)
    if sampling == "pad-repeat":
        return places % length
    return np.where(places < length, places, -1)


def _sampled(x: Values, there: Found, places: NDArray[np.float64]) -> tuple[Values, Found]:
    """A clip `(C, T, V, M)` and where it has joints, at fractional places in time."""
    if (places < 0).any():
        kept_frames = places[places >= 0].astype(np.intp)
        padded = np.zeros((x.shape[0], len(places), *x.shape[2:]), dtype=np.float32)
        padded[:, : len(kept_frames)] = x[:, kept_frames]
        nobody = np.zeros((len(places), *there.shape[1:]), dtype=np.bool_)
        nobody[: len(kept_frames)] = there[kept_frames]
        return padded, nobody
    last = x.shape[1] - 1
    before = np.minimum(places.astype(np.intp), max(last - 1, 0))
    after = np.minimum(before + 1, last)
    share = (places - before).astype(np.float32)[:, None, None]
    blended: Values = x[:, before] * (1 - share) + x[:, after] * share
    both = there[before] & there[after]
    if both.all():
        return blended, both
    nearer = np.where(share[:, 0, 0] < 0.5, before, after)
    return np.where(both, blended, x[:, nearer]), there[nearer]


def _check_frames(frames: int) -> None:
    if frames < 2:
        raise InputError(f"{frames} frames: a clip needs at least 2")


def _check_axes_of_images(dataset: Dataset) -> None:
    axes = dataset.axes
    if dataset.channels != 3 or axes != ("x", "y", "z"):
        has = f"{dataset.channels} coordinates per joint"
        if dataset.channels == len(axes):
            has = f"the axes {', '.join(axes)}"
        raise InputError(
            f"encoding 'image' needs x, y and z, data set {dataset.name!r} has {has}; choose "
            "another encoding"
        )
