"""Readers: one module per raw format, each turning files from outside into clips.

A reader trusts nothing: whatever is wrong with a file is an `InputError` that says what. It does
not clean, resample or normalise; what it gives is what the file says. Labels, subjects, joints and
coordinates are held against the card in one place, for all readers (`preparing`).
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from nas_skeleton.errors import InputError

if TYPE_CHECKING:
    from nas_skeleton.cards import Card
    from nas_skeleton.skeletons.card import DatasetCard

READERS = (
    "arrays",
    "kinetics",
    "mads",
    "ntu",
    "nwucla",
    "openpose",
    "pyskl",
    "synthetic",
    "utdmhad",
)
"""Names a card may use for its reader; each is a module of this package."""


@dataclass(frozen=True, eq=False)
class RawClip:
    """One clip as its file has it.

    Attributes:
        id: unique in the data set, and the same wherever the files lie.
        label: class, 0-based.
        subject: number of the person, as in the card; of the video or group where the format knows
            no persons, see `group`.
        coordinates: `(C, T, V, M)`: axes, frames, joints, bodies; M as many as the file has. A body
            that is not there in a frame is all zero in it. NaN only where the file has it.
        digest: identifies the content of the file; part of the data set's fingerprint.
        axes: names of C; a confidence is the axis "score" and never depth.
        trial: repetition, where the format knows it.
        camera: view, where the format knows it.
        setup: recording set-up, where the format knows it.
        frames_per_second: where the format knows it.
        image_size: `(width, height)` in pixels, where poses were found in images and it is known.
        joints: names of the joints, where the file has them.
        group: name of the video or group that `subject` numbers, "" where that is a person; the
            number may depend on which other files there are, the name does not.
        lists: names of the published lists, such as "xsub_train", that the clip stands in.
    """

    id: str
    label: int
    subject: int
    coordinates: NDArray[np.float64]
    digest: str
    axes: tuple[str, ...] = ("x", "y", "z")
    trial: int | None = None
    camera: int | None = None
    setup: int | None = None
    frames_per_second: float | None = None
    image_size: tuple[int, int] | None = None
    joints: tuple[str, ...] | None = None
    group: str = ""
    lists: tuple[str, ...] = ()


class Raw(Protocol):
    """Raw data, opened; cheap to open again in another process.

    Attributes:
        sources: what is read one by one, as people call it: file or member names, unique, in the
            order that the store gets. Files whose names cannot be understood are among them.
    """

    @property
    def sources(self) -> Sequence[str]: ...

    def read(self, source: str) -> Sequence[RawClip]:
        """The clips of one source; most formats have one.

        Raises:
            InputError: it cannot be used; the message says why in one line, without its name.
        """
        ...


class Reader(Protocol):
    """What a reader module offers.

    Attributes:
        VERSION: part of the data set's fingerprint; raise it when the same files give other clips.
        NEEDS_RAW: False where clips are made up and there is nothing to look for.
        LAYOUTS: what the format's joints can be; empty where the card alone knows.
        PARALLEL: whether several processes may open and read the same raw data at once. False for
            formats that are one large file, which every process would have in memory.
        Options: what a card may say under `[reader_options]`.
    """

    VERSION: int
    NEEDS_RAW: bool
    LAYOUTS: tuple[str, ...]
    PARALLEL: bool

    @property
    def Options(self) -> type[Card]: ...  # noqa: N802 - a class

    def open_raw(self, raw: Path | None, card: DatasetCard) -> Raw:
        """Find out what there is to read, without reading it.

        Raises:
            InputError: nothing usable; the message names `raw` and says what was looked for.
        """
        ...

    def complete_ids(self, card: DatasetCard) -> Iterable[str]:
        """Ids of all clips that a recording without any loss would have; empty if unknown."""
        ...


def get_reader(name: str) -> Reader:
    """The reader called `name`; its module is loaded now and not before.

    Raises:
        InputError: there is none.
    """
    if name not in READERS:
        raise InputError(f"unknown reader {name!r}: known are {', '.join(READERS)}")
    return importlib.import_module(f"{__name__}.{name}")
