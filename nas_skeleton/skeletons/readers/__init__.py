"""Readers: one module per raw format, each turning files from outside into checked clips.

A reader trusts nothing: whatever is wrong with a file is an `InputError` that names it. It does not
clean, resample or normalise; what it yields is what the file says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from nas_skeleton.errors import InputError

if TYPE_CHECKING:
    from nas_skeleton.skeletons.card import DatasetCard

READERS = ("synthetic", "utdmhad")
"""Names a card may use for its reader."""


@dataclass(frozen=True)
class RawClip:
    """One clip as its file has it.

    Attributes:
        id: unique in the data set, and the same wherever the files lie.
        label: class, 0-based.
        subject: number of the person, as in the card.
        coordinates: finite, `(C, T, V, M)`: coordinates, frames, joints, bodies.
        source: file or member the clip comes from, for people.
        digest: identifies the content of that file; part of the data set's fingerprint.
        trial: repetition, where the format knows it.
        camera: view, where the format knows it.
        setup: recording set-up, where the format knows it.
    """

    id: str
    label: int
    subject: int
    coordinates: NDArray[np.float64]
    source: str
    digest: str
    trial: int | None = None
    camera: int | None = None
    setup: int | None = None


class Reader(Protocol):
    """What a reader module offers.

    Attributes:
        VERSION: part of the data set's fingerprint; raise it when the same files give other clips.
        NEEDS_RAW: False where clips are made up and there is nothing to look for.
    """

    VERSION: int
    NEEDS_RAW: bool

    def read(self, raw: Path | None, card: DatasetCard) -> tuple[int, Iterator[RawClip]]:
        """The number of clips in `raw`, and the clips one by one in an order of their own.

        Raises:
            InputError: at once or while reading; a file that cannot be used.
        """
        ...

    def complete_ids(self, card: DatasetCard) -> Iterable[str]:
        """Ids of all clips that a recording without any loss would have."""
        ...


def get_reader(name: str) -> Reader:
    """The reader called `name`; its module is loaded now and not before.

    Raises:
        InputError: there is none.
    """
    if name == "utdmhad":
        from nas_skeleton.skeletons.readers import utdmhad

        return utdmhad
    if name == "synthetic":
        from nas_skeleton.skeletons.readers import synthetic

        return synthetic
    raise InputError(f"unknown reader {name!r}: known are {', '.join(READERS)}")
