"""Clips of the synthetic set, through the same names and checks as UTD-MHAD's files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from nas_skeleton.skeletons import synthetic
from nas_skeleton.skeletons.card import DatasetCard
from nas_skeleton.skeletons.readers import RawClip, utdmhad

VERSION: int = synthetic.VERSION
NEEDS_RAW: bool = False

complete_ids = utdmhad.complete_ids


def read(raw: Path | None, card: DatasetCard) -> tuple[int, Iterator[RawClip]]:  # noqa: ARG001
    """Generate the clips; there are no files to read. The interface is that of all readers.

    The digest is the generator's version and not the numbers, so that the fingerprint does not hang
    on the last bit of a machine's sine.
    """
    clips = (
        utdmhad.to_clip(
            utdmhad.parse_name(f"{stem}.mat", card, "synthetic"),
            joints,
            source=stem,
            digest=f"generator {VERSION}",
        )
        for stem, joints in synthetic.generate()
    )
    return sum(1 for _ in synthetic.names()), clips
