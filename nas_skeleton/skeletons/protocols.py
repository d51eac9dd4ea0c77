"""Protocols: which clips are for training, which for choosing, which for the final test.

A protocol of this module goes by subjects, so that nobody is both learnt from and tested on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.card import DatasetCard


def split_clips(
    card: DatasetCard,
    protocol: str | None,
    *,
    subjects: NDArray[np.int64],
    labels: NDArray[np.int64],
) -> dict[str, NDArray[np.int64]]:
    """Indices of the clips in "train", "valid" and "test", each sorted; "valid" may be empty.

    Args:
        card: card of the data set.
        protocol: name of one of its protocols, None for the default.
        subjects: subject of every clip, `(N,)`.
        labels: class of every clip, `(N,)`, 0-based.

    Raises:
        InputError: an unknown protocol, a clip whose subject is in no part or whose label has no
            class, or a part with subjects but without a single clip.
    """
    protocol = protocol or card.default_protocol
    parts = card.protocol(protocol).parts()
    where = f"data set {card.name!r}, protocol {protocol!r}"
    lost = np.setdiff1d(subjects, [subject for part in parts.values() for subject in part])
    if lost.size:
        raise InputError(
            f"{where}: subject {lost[0]} is in no part; add it to the protocol in "
            f"datasets/{card.name}.toml"
        )
    nameless = labels[(labels < 0) | (labels >= len(card.classes))]
    if nameless.size:
        raise InputError(
            f"{where}: label {nameless[0]} is not among the {len(card.classes)} classes of the card"
        )
    split = {part: np.flatnonzero(np.isin(subjects, listed)) for part, listed in parts.items()}
    for part, listed in parts.items():
        if listed and not split[part].size:
            raise InputError(f"{where}: the data has no clip of the {part} subjects {list(listed)}")
    return split
