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
    yield _left_out(dataset)
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
    if dataset.card.subset_of:
        return Finding("missing", True, f"check the whole, {dataset.card.subset_of}")
    complete = list(get_reader(dataset.card.reader).complete_ids(dataset.card))
    present = set(dataset.ids)
    absent = [clip for clip in complete if clip not in present]
    known = dataset.card.expected.missing
    if not complete:
        return Finding("missing", True, "the format does not tell which clips there should be")
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
    found = sorted(set(dataset.subjects.tolist()))
    wanted = found if dataset.card.subjects is None else sorted(dataset.card.subjects)
    if dataset.card.subset_of and set(found) <= set(wanted):  # not everybody does everything
        return Finding("subjects", True, f"{len(found)} of {len(wanted)}")
    if found == wanted:
        return Finding("subjects", True, f"{len(found)}")
    return Finding("subjects", False, f"{found}, the card has {wanted}")


def _coordinates(dataset: Dataset) -> Finding:
    header = dataset.header
    bad = []
    least, most = np.full(header.channels, np.inf), np.full(header.channels, -np.inf)
    for index, clip in enumerate(dataset.ids):
        values = dataset.clip(index)
        if not np.isfinite(values).all():
            bad.append(clip)
        least = np.fmin(least, values.min(axis=(1, 2, 3)))
        most = np.fmax(most, values.max(axis=(1, 2, 3)))
    shape = f"({header.channels}, T, {header.joints}, {header.bodies})"
    if bad:
        return Finding("coordinates", False, f"NaN or infinite in {_some(bad)}")
    if header.joints != len(dataset.layout.joints):
        return Finding("coordinates", False, f"{shape} does not fit layout {dataset.layout.name}")
    ranges = ", ".join(
        f"{axis} {low:.3g} to {high:.3g}"
        for axis, low, high in zip(dataset.axes, least, most, strict=True)
    )
    return Finding("coordinates", True, f"all finite, {shape}: {ranges} ({header.units})")


def _frames(dataset: Dataset) -> Finding:
    expected = dataset.card.expected
    shortest, longest = int(dataset.lengths.min()), int(dataset.lengths.max())
    found = f"{shortest} to {longest}, mean {dataset.lengths.mean():.1f}"
    least = shortest if expected.min_frames is None else expected.min_frames
    most = longest if expected.max_frames is None else expected.max_frames
    if shortest < least or longest > most:
        return Finding("frames", False, f"{found}, expected {least} to {most}")
    return Finding("frames", True, found)


def _left_out(dataset: Dataset) -> Finding:
    left_out = dataset.header.left_out
    if not left_out:
        return Finding("left out", True, "nothing")
    first = f"{left_out[0].source}: {left_out[0].reason}"
    more = f" and {len(left_out) - 1} more" if len(left_out) > 1 else ""
    return Finding("left out", True, f"{len(left_out)} on your word (--skip-bad): {first}{more}")


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
