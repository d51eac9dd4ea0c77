"""Protocols: which clips are for training, which for choosing, which for the final test.

Clips to choose with come from the training side and from persons (or videos) who are in no clip
that is trained on. Test clips never decide anything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.card import DatasetCard, Protocol
from nas_skeleton.skeletons.header import ClipEntry


def split_clips(
    card: DatasetCard, protocol: str | None, clips: Sequence[ClipEntry]
) -> dict[str, NDArray[np.int64]]:
    """Indices of the clips in "train", "valid" and "test", each sorted; "valid" may be empty.

    Clips that a protocol by lists does not list are in no part, as published.

    Args:
        card: card of the data set.
        protocol: name of one of its protocols, None for the default.
        clips: the clips, with labels as in the card.

    Raises:
        InputError: an unknown protocol, a clip that no part of it speaks of or whose label has no
            class, or a part that should have clips and has none.
    """
    name = protocol or card.default_protocol
    rule = card.protocol(name)
    where = f"data set {card.name!r}, protocol {name!r}"
    for clip in clips:
        if not 0 <= clip.label < len(card.classes):
            raise InputError(
                f"{where}: label {clip.label} is not among the {len(card.classes)} classes of the "
                "card"
            )
    sides = _sides(rule, clips, where, card)
    valid = _held_out(rule, clips, sides)
    sides[valid] = "valid"
    split = {part: np.flatnonzero(sides == part) for part in ("train", "valid", "test")}
    for part, indices in split.items():
        if not indices.size and _wanted(rule, part):
            listed = list(rule.parts()[part])
            what = f"{part} {rule.kind} {listed}" if listed else f"{part} part"
            none = rule.kind == "lists" and not any(clip.lists for clip in clips)
            why = "; its files name no lists at all: use another protocol" if none else ""
            raise InputError(f"{where}: the data has no clip of the {what}{why}")
    return split


def _sides(
    rule: Protocol, clips: Sequence[ClipEntry], where: str, card: DatasetCard
) -> NDArray[np.str_]:
    """The part of every clip by the protocol's own keys; "" for none."""
    parts = rule.parts()
    part_of = {value: part for part, listed in parts.items() for value in listed}
    sides = np.full(len(clips), "", dtype="<U5")
    if rule.kind == "lists":
        for index, clip in enumerate(clips):
            found = {part_of[name] for name in clip.lists if name in part_of}
            if len(found) > 1:
                raise InputError(f"{where}: clip {clip.id!r} is in lists of more than one part")
            sides[index] = next(iter(found), "")
        return sides
    field = rule.kind[:-1]  # subject, camera, setup
    for index, clip in enumerate(clips):
        value = getattr(clip, field)
        if value not in part_of:
            what = (
                f"{field} {value}" if value is not None else f"a clip without {field}, {clip.id},"
            )
            raise InputError(
                f"{where}: {what} is in no part; add it to the protocol in "
                f"datasets/{card.name.partition(':')[0]}.toml"
            )
        sides[index] = part_of[value]
    return sides


def _held_out(
    rule: Protocol, clips: Sequence[ClipEntry], sides: NDArray[np.str_]
) -> NDArray[np.bool_]:
    """Which training clips are for choosing."""
    training = sides == "train"
    if rule.kind != "subjects" and rule.valid_subjects:
        chosen = set(rule.valid_subjects)
    elif rule.valid_share:
        share = rule.valid_share
        held_out = np.array([_drawn(clip, share) for clip in clips], dtype=bool)
        held_out &= training
        return held_out
    else:
        return np.zeros(len(clips), dtype=bool)
    held_out = np.array([clip.subject in chosen for clip in clips], dtype=bool)
    held_out &= training
    return held_out


def _drawn(clip: ClipEntry, share: float) -> bool:
    """Whether a clip's subject or group is held out; it depends on nobody else and on no order."""
    who = clip.group or str(clip.subject)
    digest = hashlib.sha256(f"held out: {who}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def _wanted(rule: Protocol, part: str) -> bool:
    if part == "valid":
        return bool(rule.valid_subjects or rule.valid_lists or rule.valid_share)
    return True
