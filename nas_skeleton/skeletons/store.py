"""The prepared store: one float32 array on disk, memory mapped, with a JSON header beside it.

`prepare` reads raw files once, checks them and writes the store into `datasets/NAME/prepared/` of
the working folder; `load_dataset` opens it as a `Dataset`, and prepares it first where it is
missing or was made by another version of card or reader. How it is written is in `writing`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.card import DatasetCard, load_dataset_card
from nas_skeleton.skeletons.header import Header, fingerprint
from nas_skeleton.skeletons.layouts import Layout, get_layout
from nas_skeleton.skeletons.protocols import split_clips
from nas_skeleton.skeletons.raw import find_raw
from nas_skeleton.skeletons.readers import RawClip, get_reader
from nas_skeleton.skeletons.writing import ARRAY, HEADER, publish, unfinished_folder, write_store

Progress = Callable[[int, int], None]
"""Called as `progress(clips done, clips in all)`."""
Announce = Callable[[str], None]
"""Called with a line for the user."""


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """A prepared data set, opened for reading; coordinates stay on disk until they are used.

    Attributes:
        card: its card; `name` and `classes` are the card's.
        layout: the skeleton its joints belong to.
        ids: clip ids, unique.
        labels: class of each clip, int64 `(N,)`, 0-based.
        subjects: person in each clip, int64 `(N,)`.
        lengths: frames of each clip, int64 `(N,)`.
        fingerprint: SHA-256 of everything that decides what the clips are, see `header`.
        header: all that is known about the store.
        folder: where the store lies.
    """

    card: DatasetCard
    header: Header
    folder: Path
    layout: Layout
    labels: NDArray[np.int64]
    subjects: NDArray[np.int64]
    lengths: NDArray[np.int64]
    _numbers: NDArray[np.float32]

    def __repr__(self) -> str:
        return (
            f"Dataset({self.name!r}, {len(self)} clips, {len(self.classes)} classes, "
            f"{len(self.layout.joints)} joints)"
        )

    @property
    def name(self) -> str:
        """Name of the card."""
        return self.card.name

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; a label is an index into them."""
        return self.card.classes

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Clip ids in the order of the store."""
        return tuple(clip.id for clip in self.header.clips)

    @property
    def fingerprint(self) -> str:
        """Hex SHA-256, the same on every machine."""
        return self.header.fingerprint

    @property
    def channels(self) -> int:
        """C, coordinates of a joint."""
        return self.header.channels

    @property
    def bodies(self) -> int:
        """M, bodies in every clip."""
        return self.header.bodies

    def __len__(self) -> int:
        return len(self.header.clips)

    def clip(self, index: int) -> NDArray[np.float32]:
        """Clip `index` as a read-only view `(C, T, V, M)` of the memory map."""
        entry = self.header.clips[index]
        shape = (self.channels, entry.length, len(self.layout.joints), self.bodies)
        size = entry.length * self.header.numbers_per_frame
        return self._numbers[entry.offset : entry.offset + size].reshape(shape)

    def split(self, protocol: str | None = None) -> dict[str, NDArray[np.int64]]:
        """Clip indices of "train", "valid" and "test" under a protocol of the card.

        "valid" is empty where the protocol has no validation set. See `protocols.split_clips` for
        the `InputError`s.
        """
        return split_clips(self.card, protocol, subjects=self.subjects, labels=self.labels)

    def content_sha256(self) -> str:
        """SHA-256, in hex, of the coordinates as they are on the disk now."""
        with (self.folder / ARRAY).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def verify(self) -> None:
        """Read all coordinates once and compare them with what was written.

        Raises:
            InputError: they changed since.
        """
        if self.content_sha256() != self.header.content_sha256:
            raise InputError(
                f"{self.folder / ARRAY}: changed since it was prepared; run "
                f"`python -m nas_skeleton.data prepare {self.name}`"
            )

    def split_fingerprint(self, protocol: str | None = None) -> str:
        """SHA-256, in hex, of coordinates and labels, and of who is in which part of a protocol.

        Whoever changes the subjects of a protocol in the card gets another one; the protocol's name
        and note do not count.
        """
        digest = hashlib.sha256(f"{self.fingerprint}:{self.header.content_sha256}".encode())
        digest.update(self.labels.tobytes())
        for part, clips in sorted(self.split(protocol).items()):
            digest.update(f"{part}:{','.join(map(str, clips))};".encode())
        return digest.hexdigest()


def prepared_folder(name: str) -> Path:
    """Where the prepared store of data set `name` belongs: in the working folder."""
    return Path.cwd() / "datasets" / name / "prepared"


def prepare(
    name: str,
    raw: str | Path | None = None,
    progress: Progress | None = None,
    *,
    renew: bool = True,
) -> Path:
    """Read the raw data of a data set and write its prepared store.

    Args:
        name: name of a card.
        raw: raw file or folder; by default it is looked for, see `raw.find_raw`.
        progress: told about every clip.
        renew: replace a store that is already there and up to date. Otherwise it is kept; another
            process may have finished the same work first.

    Returns:
        The folder of the store.

    Raises:
        InputError: no raw data, raw data that cannot be used, or no place to write to.
    """
    card = load_dataset_card(name)
    found = _raw_of(card, raw)
    count, clips = get_reader(card.reader).read(found, card)
    target = prepared_folder(name)
    try:
        with unfinished_folder(target) as folder:
            header = write_store(folder, card, _counted(clips, count, progress), found)
            publish(folder, target, keep=None if renew else header.fingerprint)
    except OSError as error:
        raise InputError(
            f"{error.filename2 or error.filename or target}: the prepared data cannot be written "
            f"({error.strerror or error}); free space or work in another folder"
        ) from None
    return target


def load_dataset(
    name: str,
    prepare_missing: bool = True,
    *,
    progress: Progress | None = None,
    announce: Announce | None = None,
) -> Dataset:
    """Open a prepared data set.

    Args:
        name: name of a card.
        prepare_missing: prepare the store where there is none yet, or one that was made by another
            version of the card or reader.
        progress: told about every clip while preparing.
        announce: told, in one line, that a store is being prepared and why.

    Raises:
        InputError: no such data set, a damaged store, or a missing one that cannot be prepared.
    """
    card = load_dataset_card(name)
    folder = prepared_folder(name)
    way_out = f"run `python -m nas_skeleton.data prepare {name}`"
    header = _read_header(folder, way_out)
    reason = _outdated(header, card)
    if reason:
        if not prepare_missing:
            raise InputError(f"{folder}: {reason}; {way_out}")
        # Where the data came from the last time: the renewed store is to hold the same.
        last = header.raw if header and header.reader.name == card.reader else None
        raw = _raw_of(card, last if last and Path(last).exists() else None)
        if announce:
            announce(f"preparing data set {name!r}, because {reason}: {folder}")
        prepare(name, raw, progress, renew=False)
        header = _read_header(folder, way_out)
    if header is None:  # somebody removed it at this very moment
        raise InputError(f"{folder}: the prepared store vanished; {way_out}")
    return _open(card, folder, header, way_out)


def _raw_of(card: DatasetCard, given: str | Path | None) -> Path | None:
    if get_reader(card.reader).NEEDS_RAW:
        return find_raw(card, None if given is None else Path(given))
    if given is not None:
        raise InputError(
            f"--raw {given}: data set {card.name!r} is generated; leave the option out"
        )
    return None


def state(card: DatasetCard) -> str:
    """Whether a data set is prepared: "yes", "no", "outdated" or "damaged"."""
    try:
        header = _read_header(prepared_folder(card.name), way_out="")
        if header is None:
            return "no"
        if _outdated(header, card):
            return "outdated"
        _open(card, prepared_folder(card.name), header, way_out="")
    except InputError:
        return "damaged"
    return "yes"


def _open(card: DatasetCard, folder: Path, header: Header, way_out: str) -> Dataset:
    path = folder / ARRAY
    try:
        size = path.stat().st_size
        if size != header.numbers * 4:
            raise InputError(
                f"{path}: {size} bytes instead of {header.numbers * 4}, it is damaged; {way_out}"
            )
        numbers = np.memmap(path, dtype="<f4", mode="r")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); {way_out}") from None
    clips = header.clips
    layout = get_layout(card.layout)
    if (header.joints, header.bodies) != (len(layout.joints), card.bodies):
        raise InputError(
            f"{folder / HEADER}: {header.joints} joints and {header.bodies} bodies do not fit the "
            f"card; {way_out}"
        )
    return Dataset(
        card,
        header,
        folder,
        layout,
        labels=np.array([clip.label for clip in clips], dtype=np.int64),
        subjects=np.array([clip.subject for clip in clips], dtype=np.int64),
        lengths=np.array([clip.length for clip in clips], dtype=np.int64),
        _numbers=np.asarray(numbers),
    )


def _read_header(folder: Path, way_out: str) -> Header | None:
    """The header of the store in `folder`, None if there is no store."""
    path = folder / HEADER
    try:
        return Header.read(path)
    except FileNotFoundError:
        if not folder.exists():
            return None
        raise InputError(f"{path}: missing, the store is damaged; {way_out}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); {way_out}") from None
    except ValueError as error:
        raise InputError(
            f"{path}: damaged or written by another version ({error}); {way_out}"
        ) from None


def _outdated(header: Header | None, card: DatasetCard) -> str | None:
    """Why the store cannot be used as it is, if so."""
    if header is None:
        return "it is not prepared yet"
    wanted = fingerprint(card, [(clip.id, clip.digest) for clip in header.clips])
    if header.dataset != card.name or header.fingerprint != wanted:
        return "its store was made by another version of its card, reader or cleaning steps"
    return None


def _counted(clips: Iterator[RawClip], count: int, progress: Progress | None) -> Iterator[RawClip]:
    for done, clip in enumerate(clips, start=1):
        yield clip
        if progress:
            progress(done, count)
