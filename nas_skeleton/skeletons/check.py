"""Is a prepared store what its card says it should be, to the last byte?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.readers import get_reader
from nas_skeleton.skeletons.store import Dataset


@dataclass(frozen=True)
class Finding:
    """Result of one check; `detail` says what was found, and what was expected if that differs."""

    check: str
    ok: bool
    detail: str


def check_dataset(dataset: Dataset) -> Iterator[Finding]:
    """Compare a store with its header and its card; reads every coordinate once.

    What the card does not state (`expected`, clip counts of protocols) is reported and not judged.
    """
    yield _checksum(dataset)
    yield _count(dataset)
    yield _missing(dataset)
    yield _classes(dataset)
    yield _subjects(dataset)
    yield _coordinates(dataset)
    yield _frames(dataset)
    for name in dataset.card.protocols:
        yield _protocol(dataset, name)


def _checksum(dataset: Dataset) -> Finding:
    found, wanted = dataset.content_sha256(), dataset.header.content_sha256
    if found == wanted:
        return Finding("checksum", True, f"sha256 {found[:16]}…")
    return Finding("checksum", False, f"sha256 {found[:16]}…, written as {wanted[:16]}…")


def _count(dataset: Dataset) -> Finding:
    wanted = dataset.card.expected.clips
    if wanted is None or wanted == len(dataset):
        return Finding("clips", True, f"{len(dataset)}")
    return Finding("clips", False, f"{len(dataset)}, expected {wanted}")


def _missing(dataset: Dataset) -> Finding:
    complete = get_reader(dataset.card.reader).complete_ids(dataset.card)
    present = set(dataset.ids)
    absent = [clip for clip in complete if clip not in present]
    known = dataset.card.expected.missing
    if known is None:
        return Finding("missing", True, f"{len(absent)}; the card does not say which are to be")
    lost = [clip for clip in absent if clip not in known]
    surplus = [clip for clip in known if clip in present]
    if lost:
        return Finding("missing", False, f"{len(lost)} clips are not there: {_some(lost)}")
    if surplus:
        return Finding("missing", False, f"known as missing, but there: {_some(surplus)}")
    return Finding("missing", True, f"only those known to be: {', '.join(known) or 'none'}")


def _classes(dataset: Dataset) -> Finding:
    names = dataset.classes
    per_class = np.bincount(dataset.labels, minlength=len(names))
    empty = [names[label] for label in np.flatnonzero(per_class == 0)]
    if empty:
        return Finding("classes", False, f"{len(names)}, without any clip: {_some(empty)}")
    return Finding(
        "classes", True, f"{len(names)} with {per_class.min()} to {per_class.max()} clips each"
    )


def _subjects(dataset: Dataset) -> Finding:
    found, wanted = sorted(set(dataset.subjects.tolist())), sorted(dataset.card.subjects)
    if found == wanted:
        return Finding("subjects", True, f"{len(found)}")
    return Finding("subjects", False, f"{found}, the card has {wanted}")


def _coordinates(dataset: Dataset) -> Finding:
    bad = [
        clip for index, clip in enumerate(dataset.ids) if not np.isfinite(dataset.clip(index)).all()
    ]
    header = dataset.header
    shape = f"({header.channels}, T, {header.joints}, {header.bodies})"
    if bad:
        return Finding("coordinates", False, f"NaN or infinite in {_some(bad)}")
    if header.joints != len(dataset.layout.joints):
        return Finding("coordinates", False, f"{shape} does not fit layout {dataset.layout.name}")
    return Finding("coordinates", True, f"all finite, {shape} in {header.units}")


def _frames(dataset: Dataset) -> Finding:
    expected = dataset.card.expected
    shortest, longest = int(dataset.lengths.min()), int(dataset.lengths.max())
    found = f"{shortest} to {longest}, mean {dataset.lengths.mean():.1f}"
    least = shortest if expected.min_frames is None else expected.min_frames
    most = longest if expected.max_frames is None else expected.max_frames
    if shortest < least or longest > most:
        return Finding("frames", False, f"{found}, expected {least} to {most}")
    return Finding("frames", True, found)


def _protocol(dataset: Dataset, name: str) -> Finding:
    check = f"protocol {name}"
    try:
        split = {part: len(clips) for part, clips in dataset.split(name).items()}
    except InputError as error:
        return Finding(check, False, str(error))
    found = ", ".join(f"{part} {count}" for part, count in split.items())
    wanted = dataset.card.protocols[name].expected_clips()
    if any(count is not None and count != split[part] for part, count in wanted.items()):
        expected = ", ".join(f"{part} {count}" for part, count in wanted.items())
        return Finding(check, False, f"{found}; expected {expected}")
    return Finding(check, True, found)


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
