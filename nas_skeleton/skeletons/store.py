"""The prepared store: one float32 array on disk, memory mapped, with a JSON header beside it.

`prepare` reads raw files once, checks them and writes the store into `datasets/NAME/prepared/` of
the working folder; `load_dataset` opens it as a `Dataset`, and prepares it first where it is
missing or was made by another version of card or reader. How raw files become clips is in
`preparing`, how they are written in `writing`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.card import DatasetCard
from nas_skeleton.skeletons.header import ClipEntry, Fault, Header, fingerprint
from nas_skeleton.skeletons.layouts import Layout
from nas_skeleton.skeletons.load import load_dataset_card, whole_card
from nas_skeleton.skeletons.preparing import ReadSource, read_sources, without_repeated
from nas_skeleton.skeletons.protocols import split_clips
from nas_skeleton.skeletons.raw import find_raw
from nas_skeleton.skeletons.readers import get_reader
from nas_skeleton.skeletons.writing import (
    ARRAY,
    HEADER,
    alone,
    open_building,
    publish,
    raw_state,
    sources_of,
)

Progress = Callable[[int, int], None]
"""Called as `progress(clips done, clips in all)`."""
Announce = Callable[[str], None]
"""Called with a line for the user."""


class BadFiles(InputError):
    """Raw files that cannot be used; `faults` says which and why, the message the first of them."""

    def __init__(self, message: str, faults: Sequence[Fault]) -> None:
        super().__init__(message)
        self.faults = list(faults)


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """A prepared data set, opened for reading; coordinates stay on disk until they are used.

    Attributes:
        card: its card; `name` and `classes` are the card's.
        header: all that is known about the store; of a subset, the store of the whole.
        clips: what is known of each clip, in the order of the store, labels as in the card.
        layout: the skeleton its joints belong to.
        ids: clip ids, unique.
        labels: class of each clip, int64 `(N,)`, 0-based.
        subjects: person in each clip, int64 `(N,)`.
        lengths: frames of each clip, int64 `(N,)`.
        fingerprint: SHA-256 of everything that decides what the clips are, see `header`.
        folder: where the store lies.
    """

    card: DatasetCard
    header: Header
    clips: Sequence[ClipEntry]
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
        return tuple(clip.id for clip in self.clips)

    @property
    def fingerprint(self) -> str:
        """Hex SHA-256, the same on every machine."""
        if not self.card.subset_of:
            return self.header.fingerprint
        parts = "\0".join((self.header.fingerprint, *self.classes))
        return hashlib.sha256(parts.encode()).hexdigest()

    @property
    def channels(self) -> int:
        """C, numbers of a joint."""
        return self.header.channels

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of C, such as ("x", "y", "z")."""
        return tuple(self.header.channel_names)

    @property
    def bodies(self) -> int:
        """M, bodies in every clip."""
        return self.header.bodies

    def __len__(self) -> int:
        return len(self.clips)

    def clip(self, index: int) -> NDArray[np.float32]:
        """Clip `index` as a read-only view `(C, T, V, M)` of the memory map."""
        entry = self.clips[index]
        shape = (self.channels, entry.length, len(self.layout.joints), self.bodies)
        size = entry.length * self.header.numbers_per_frame
        return self._numbers[entry.offset : entry.offset + size].reshape(shape)

    def split(self, protocol: str | None = None) -> dict[str, NDArray[np.int64]]:
        """Clip indices of "train", "valid" and "test" under a protocol of the card.

        "valid" is empty where the protocol has no validation set. See `protocols.split_clips` for
        the `InputError`s.
        """
        return split_clips(self.card, protocol, self.clips)

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
    skip_bad: bool = False,
    workers: int = 1,
    announce: Announce = lambda _: None,
) -> Path:
    """Read the raw data of a data set and write its prepared store.

    Only a few clips are in memory at a time. What a killed process had read is not read again.

    Args:
        name: name of a card; of a subset, the store of the whole is prepared.
        raw: raw file or folder; by default it is looked for, see `raw.find_raw`.
        progress: told about every source that is read.
        renew: replace a store that is already there and up to date. Otherwise it is kept; another
            process may have finished the same work first.
        skip_bad: leave files out that cannot be used; the header says which and why.
        workers: processes that read at most, see `preparing.read_sources`.
        announce: told in one line what the user should know.

    Returns:
        The folder of the store.

    Raises:
        BadFiles: files that cannot be used, without `skip_bad`.
        InputError: no raw data, or no place to write to.
    """
    card = whole_card(load_dataset_card(name))
    found = _raw_of(card, raw)
    left_out = card.left_out_ids()
    opened = get_reader(card.reader).open_raw(found, card)
    sources = list(opened.sources)
    target = prepared_folder(card.name)
    try:
        with alone(target, announce) as locked:
            if not renew and _is_current(target, card):
                return target
            with open_building(target, card, sources, found, announce, locked=locked) as building:
                if progress and building.done:
                    progress(building.done, len(sources))
                left = sources[building.done :]
                for read in read_sources(card, found, opened, left, left_out, workers):
                    building.add(read)
                    if progress:
                        progress(building.done, len(sources))
                if building.faults and (not skip_bad or not building.clips):
                    raise _bad_files(card, found, building.faults)
                building.finish(found, sources)
                publish(building, target)
    except OSError as error:
        raise InputError(
            f"{error.filename2 or error.filename or target}: the prepared data cannot be written "
            f"({error.strerror or error}); free space or work in another folder"
        ) from None
    return target


def read_raw(
    name: str,
    raw: str | Path | None = None,
    progress: Progress | None = None,
    *,
    workers: int = 1,
) -> Iterator[ReadSource]:
    """Read the raw data of a data set and tell what each source gives; nothing is written.

    Takes the arguments of `prepare`.

    Raises:
        InputError: no raw data.
    """
    card = whole_card(load_dataset_card(name))
    found = _raw_of(card, raw)
    left_out = card.left_out_ids()
    opened = get_reader(card.reader).open_raw(found, card)
    sources = list(opened.sources)
    found_in: dict[str, str] = {}
    for done, read in enumerate(read_sources(card, found, opened, sources, left_out, workers), 1):
        yield without_repeated(read, found_in)
        if progress:
            progress(done, len(sources))


def _bad_files(card: DatasetCard, raw: Path | None, faults: Sequence[Fault]) -> BadFiles:
    first = f"{raw or card.name}: {faults[0].source}: {faults[0].reason}"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return BadFiles(
        f"{first}{more}; mend or remove the file, or leave out what cannot be used with "
        f"`python -m nas_skeleton.data prepare {card.name} --skip-bad`",
        faults,
    )


def _is_current(target: Path, card: DatasetCard) -> bool:
    try:
        header = Header.read(target / HEADER)
    except (OSError, ValueError):
        return False
    return _outdated(header, card) is None


def load_dataset(
    name: str,
    prepare_missing: bool = True,
    *,
    progress: Progress | None = None,
    announce: Announce | None = None,
    workers: int = 1,
) -> Dataset:
    """Open a prepared data set.

    Args:
        name: name of a card, or `NAME:CLASS+CLASS` for some classes of one.
        prepare_missing: prepare the store where there is none yet, or one that was made by another
            version of the card or reader.
        progress: told about every clip while preparing.
        announce: told, in one line, that a store is being prepared and why.
        workers: processes that read raw files at most, see `preparing.read_sources`.

    Raises:
        InputError: no such data set, a damaged store, or a missing one that cannot be prepared.
    """
    card = load_dataset_card(name)
    whole = whole_card(card)
    folder = prepared_folder(whole.name)
    way_out = f"run `python -m nas_skeleton.data prepare {whole.name}`"
    header = _read_header(folder, way_out)
    reason = _outdated(header, whole)
    if reason:
        if not prepare_missing:
            raise InputError(f"{folder}: {reason}; {way_out}")
        # Where the data came from the last time: the renewed store is to hold the same.
        last = header.raw if header and header.reader.name == whole.reader else None
        raw = _raw_of(whole, last if last and Path(last).exists() else None)
        if announce:
            announce(f"preparing data set {whole.name!r}, because {reason}: {folder}")
        prepare(
            whole.name,
            raw,
            progress,
            renew=False,
            announce=announce or (lambda _: None),
            workers=workers,
        )
        header = _read_header(folder, way_out)
    if header is None:  # somebody removed it at this very moment
        raise InputError(f"{folder}: the prepared store vanished; {way_out}")
    return _open(card, whole, folder, header, way_out)


def _raw_of(card: DatasetCard, given: str | Path | None) -> Path | None:
    if get_reader(card.reader).NEEDS_RAW:
        return find_raw(card, None if given is None else Path(given))
    if given is not None:
        raise InputError(
            f"--raw {given}: data set {card.name!r} is generated; leave the option out"
        )
    return None


def state(card: DatasetCard) -> str:
    """Whether a data set is prepared: "yes", "no", "outdated" or "damaged".

    A subset is as prepared as the whole.
    """
    try:
        whole = whole_card(card)
        folder = prepared_folder(whole.name)
        header = _read_header(folder, way_out="")
        if header is None:
            return "no"
        if _outdated(header, whole):
            return "outdated"
        _open(whole, whole, folder, header, way_out="")
    except InputError:
        return "damaged"
    return "yes"


def _open(
    card: DatasetCard, whole: DatasetCard, folder: Path, header: Header, way_out: str
) -> Dataset:
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
    layout = card.skeleton
    if (header.joints, header.bodies, header.channel_names) != (
        len(layout.joints),
        card.bodies,
        list(card.axes),
    ):
        raise InputError(
            f"{folder / HEADER}: {header.joints} joints, {header.bodies} bodies and axes "
            f"{', '.join(header.channel_names)} do not fit the card; {way_out}"
        )
    clips = _clips_of(card, whole, header.clips)
    return Dataset(
        card,
        header,
        clips,
        folder,
        layout,
        labels=np.array([clip.label for clip in clips], dtype=np.int64),
        subjects=np.array([clip.subject for clip in clips], dtype=np.int64),
        lengths=np.array([clip.length for clip in clips], dtype=np.int64),
        _numbers=np.asarray(numbers),
    )


def _clips_of(
    card: DatasetCard, whole: DatasetCard, clips: Sequence[ClipEntry]
) -> Sequence[ClipEntry]:
    """The clips of the card's classes, with labels counted in them."""
    if not card.subset_of:
        return clips
    label_of = {whole.classes.index(name): label for label, name in enumerate(card.classes)}
    chosen = [
        clip.model_copy(update={"label": label_of[clip.label]})
        for clip in clips
        if clip.label in label_of
    ]
    if not chosen:
        raise InputError(f"data set {card.name!r}: the data has no clip of these classes")
    return chosen


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
    raw = Path(header.raw) if header.raw else None
    if raw and header.raw_state and raw.exists():
        state = raw_state(raw, sources_of(header.clips, header.left_out))
        return f"its raw files in {raw} changed since" if state != header.raw_state else None
    return None
