"""Network inputs: a whole data set as one array of clips of equal length.

Every encoding is named, so that a table can say what its networks saw. This is where clips get
their common number of frames; what a network does with the array is not decided here.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.store import Dataset

Encoding = Literal["centred-per-frame", "centred-first-frame", "image"]
ENCODINGS: tuple[str, ...] = get_args(Encoding)


def encode(
    dataset: Dataset, encoding: str, frames: int, protocol: str | None = None
) -> NDArray[np.float32]:
    """All clips of a data set as network input.

    * "centred-per-frame": coordinates relative to the centring joint of the first body in the same
      frame, which takes the way through the room out of the clip.
    * "centred-first-frame": relative to where that joint is in the first frame, which keeps it.
    * "image": the representation of the NASThesis repository, see `image_pixels`, standardised with
      the channel statistics of the protocol's training and validation subjects.

    The centred encodings keep the data's unit, leave a body that is all zero in a frame at zero
    (there is nobody), and resample linearly in time.

    Args:
        dataset: a prepared data set.
        encoding: one of `ENCODINGS`.
        frames: length T that all clips get.
        protocol: whose training subjects the image statistics come from, None for the default; the
            other encodings learn nothing from the data and do not look at it.

    Returns:
        Float32 `(N, C, T, V, M)` in the order of the store; M is 1 for "image".

    Raises:
        InputError: an unknown encoding or protocol, fewer than 2 frames, or "image" for clips that
            do not have three coordinates.
    """
    if encoding not in ENCODINGS:
        raise InputError(f"unknown encoding {encoding!r}: known are {', '.join(ENCODINGS)}")
    _check_frames(frames)
    if encoding == "image":
        return _standardised_images(dataset, frames, protocol)
    joints = len(dataset.layout.joints)
    shape = (len(dataset), dataset.channels, frames, joints, dataset.bodies)
    inputs = np.empty(shape, dtype=np.float32)
    for index in range(len(dataset)):
        clip = dataset.clip(index)
        first_frame = encoding == "centred-first-frame"
        centred = _centred(clip, dataset.layout.centring_joint, first_frame=first_frame)
        inputs[index] = _resampled(centred, frames)
    return inputs


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
    if dataset.channels != 3:
        raise InputError(
            f"encoding 'image' needs x, y and z, data set {dataset.name!r} has {dataset.channels} "
            "coordinates per joint; choose another encoding"
        )
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

    Over all pixels of all clips of the training and validation subjects together, as the thesis
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
) -> NDArray[np.float32]:
    pixels = image_pixels(dataset, frames)
    mean, deviation = _statistics(pixels, dataset, protocol)
    deviation[deviation == 0] = 1  # a colour that never changes stays at 0
    # A pixel is one of 256 values: look results up instead of computing them millions of times.
    table = ((np.arange(256)[:, None] - mean) / deviation).astype(np.float32)
    inputs = np.empty((len(pixels), 3, frames, pixels.shape[1], 1), dtype=np.float32)
    for colour in range(3):
        inputs[:, colour, :, :, 0] = table[pixels[..., colour], colour].transpose(0, 2, 1)
    return inputs


def _centred(clip: NDArray[np.float32], joint: int, *, first_frame: bool) -> NDArray[np.float32]:
    """The clip `(C, T, V, M)` relative to a joint of its first body."""
    origin = clip[:, :, joint : joint + 1, :1]
    if first_frame:
        origin = origin[:, :1]
    somebody = clip.any(axis=(0, 2), keepdims=True)
    centred: NDArray[np.float32] = np.where(somebody, clip - origin, np.float32(0))
    return centred


def _resampled(clip: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
    """Linear interpolation in time; the first and last frame stay the first and last."""
    times = np.linspace(0, clip.shape[1] - 1, frames)
    before = np.minimum(times.astype(np.intp), max(clip.shape[1] - 2, 0))
    after = np.minimum(before + 1, clip.shape[1] - 1)
    share = (times - before).astype(np.float32)[None, :, None, None]
    resampled: NDArray[np.float32] = clip[:, before] * (1 - share) + clip[:, after] * share
    return resampled


def _check_frames(frames: int) -> None:
    if frames < 2:
        raise InputError(f"{frames} frames: a clip needs at least 2")
