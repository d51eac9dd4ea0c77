"""Clips of the synthetic set, under the same names as UTD-MHAD's files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nas_skeleton.cards import Card
from nas_skeleton.skeletons import synthetic
from nas_skeleton.skeletons.readers import RawClip, utdmhad

if TYPE_CHECKING:
    from nas_skeleton.skeletons.card import DatasetCard

VERSION: int = synthetic.VERSION
NEEDS_RAW: bool = False
LAYOUTS: tuple[str, ...] = utdmhad.LAYOUTS
PARALLEL: bool = True

complete_ids = utdmhad.complete_ids


class Options(Card):
    """There is nothing to choose."""


@dataclass(frozen=True)
class Generated:
    """The clips of the generator, made when they are read."""

    sources: Sequence[str]

    def read(self, source: str) -> Sequence[RawClip]:
        """Generate one clip.

        The digest is the generator's version and not the numbers, so that the fingerprint does not
        hang on the last bit of a machine's sine.
        """
        name = utdmhad.parse_name(f"{source}.mat")
        joints = synthetic.clip(name.action, name.subject, name.trial)
        return [utdmhad.to_clip(name, joints, f"generator {VERSION}")]


def open_raw(raw: Path | None, card: DatasetCard) -> Generated:  # noqa: ARG001
    """There are no files to look for; the interface is that of all readers."""
    return Generated(list(synthetic.names()))
