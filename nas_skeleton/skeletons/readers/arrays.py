"""Anybody's clips as arrays: `.npz` of NumPy or `.mat` of MATLAB, in a folder, a zip or alone.

A file holds one clip (it has `label`) or many (it has `labels`). T frames, V joints, C axes, M
bodies; for several bodies a body that is not there in a frame is all zero.

| one clip | many clips | what |
|---|---|---|
| `coordinates` (T, V, C) or (M, T, V, C) | (N, T, V, C) or (N, M, T, V, C) | real numbers |
| `label` | `labels` (N,) | class: its number from 0, or its name in the card |
| `subject` | `subjects` (N,) | number of the person |
| | `lengths` (N,) | frames of each clip, where they differ; the rest of T is not looked at |
| `id` | `ids` (N,) | unique; else the file's own name, with `_0`, `_1`, … for many clips |
| `trial`, `camera`, `setup` | `trials`, `cameras`, `setups` (N,) | numbers, if known |
| `frames_per_second` | one for all, or (N,) | if known |
| `image_size` | one for all, or (N, 2) | width and height in pixels, if poses are from images |
| `lists` (L,) | (N,) or (N, L) | names of published lists that the clip stands in; "" for none |
| `joints` (V,) | `joints` (V,) | names, which are then held against the card's |
| `axes` (C,) | `axes` (C,) | such as x, y, score; else they are the card's |

Only `coordinates`, the label and the subject must be there. Any other key is an error, for it may
be a misspelled one. In MATLAB text is a char array, several texts are a cell (of N texts where one
stands for each clip; a cell of N x L is not read).

Folders are no part of a clip's name, as they differ between a zip and its content: files of one
name in several folders need an `id`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas_skeleton.cards import Card
from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.readers import RawClip
from nas_skeleton.skeletons.readers.files import Files, base_name, open_files
from nas_skeleton.skeletons.readers.matfile import Unread, read_variables
from nas_skeleton.skeletons.readers.npzfile import read_arrays

if TYPE_CHECKING:
    from nas_skeleton.skeletons.card import DatasetCard

VERSION: int = 1
NEEDS_RAW: bool = True
LAYOUTS: tuple[str, ...] = ()
PARALLEL: bool = True

MAX_BYTES = 2**29
"""Largest file that is read, also after inflation; more clips are several files."""

_ONE = {
    "label": "labels",
    "subject": "subjects",
    "id": "ids",
    "trial": "trials",
    "camera": "cameras",
    "setup": "setups",
}
"""Keys of a file with one clip, and what they are called in a file with many."""
_BOTH = ("coordinates", "frames_per_second", "image_size", "lists", "joints", "axes")
_NEEDED = ("coordinates", "label", "subject")

Variables = dict[str, NDArray[Any]]
"""Numbers or text by key."""


class Options(Card):
    """There is nothing to choose."""


@dataclass(frozen=True)
class ArrayFiles:
    """The clips of `.npz` and `.mat` files, ordered by name."""

    files: Files
    card: DatasetCard

    @property
    def sources(self) -> Sequence[str]:
        return self.files.names

    def read(self, source: str) -> Sequence[RawClip]:
        """The clips of one file; the message of an `InputError` is the reason alone."""
        content = self.files.read(source)
        if not content:
            raise InputError("the file is empty")
        name = PurePosixPath(base_name(source))
        variables = _matlab(content) if name.suffix.lower() == ".mat" else _numpy(content)
        digest = f"sha256 {hashlib.sha256(content).hexdigest()}"
        return to_clips(variables, self.card, name.stem, digest)


def open_raw(raw: Path | None, card: DatasetCard) -> ArrayFiles:
    """Find the files.

    Raises:
        InputError: nothing usable there.
    """
    if raw is None:
        raise InputError(f"data set {card.name!r}: its reader needs raw files")
    return ArrayFiles(open_files(raw, (".npz", ".mat"), MAX_BYTES), card)


def complete_ids(card: DatasetCard) -> Iterable[str]:  # noqa: ARG001
    """Not known."""
    return ()


def to_clips(variables: Variables, card: DatasetCard, stem: str, digest: str) -> list[RawClip]:
    """The clips that the variables of a file describe; see the table above.

    Args:
        variables: as they stand in the file.
        card: knows the classes and, where the file does not say, the axes.
        stem: the file's name, from which ids are made where it has none.
        digest: of the file.

    Raises:
        InputError: a key is missing, unknown or not what it should be.
    """
    many = "labels" in variables
    _check_keys(variables, many)
    _check_coordinates(variables["coordinates"], many)
    clips = _Clips(variables, card) if many else _Clips(_as_many(variables), card, _ONE)
    ids = clips.ids([f"{stem}_{index}" for index in range(clips.count)] if many else [stem])
    labels, subjects = clips.labels(), clips.whole("subjects")
    trials, cameras, setups = (clips.places(key) for key in ("trials", "cameras", "setups"))
    rates, sizes, lists = clips.rates(), clips.image_sizes(), clips.lists()
    axes, joints = clips.axes(), clips.joints()
    return [
        RawClip(
            id=ids[index],
            label=labels[index],
            subject=subjects[index],
            coordinates=clips.coordinates(index, length),
            digest=digest,
            axes=axes,
            trial=trials[index],
            camera=cameras[index],
            setup=setups[index],
            frames_per_second=rates[index],
            image_size=sizes[index],
            joints=joints,
            lists=lists[index],
        )
        for index, length in enumerate(clips.lengths())
    ]


def _check_keys(variables: Variables, many: bool) -> None:
    there = ", ".join(sorted(variables))[:200] or "nothing"
    names = {one: many_ if many else one for one, many_ in _ONE.items()}
    for key in _NEEDED:
        if names.get(key, key) not in variables:
            hint = "" if many or key != "label" else " (one clip), nor 'labels' (many)"
            raise InputError(f"no {names.get(key, key)!r}{hint} in it, there is: {there}")
    known = {*names.values(), *_BOTH, *(["lengths"] if many else [])}
    strangers = sorted(set(variables) - known)
    if strangers:
        what = "many clips" if many else "one clip"
        raise InputError(
            f"unknown key {strangers[0]!r}; a file with {what} may have {', '.join(sorted(known))}"
        )


def _check_coordinates(array: NDArray[Any], many: bool) -> None:
    axes = 4 if many else 3
    if array.dtype.kind not in "iuf" or array.ndim not in (axes, axes + 1) or 0 in array.shape:
        wanted = "(N, T, V, C) or (N, M, T, V, C)" if many else "(T, V, C) or (M, T, V, C)"
        raise InputError(
            f"coordinates: {_described(array)} of shape {array.shape}, not numbers {wanted}"
        )
    numbers = array.size // (len(array) if many else 1)
    if 8 * numbers > 2 * MAX_BYTES:  # small ones grow when they become float64
        raise InputError(f"coordinates: {numbers} numbers in a clip; cut it into shorter ones")


def _as_many(variables: Variables) -> Variables:
    """The variables of a file with one clip as those of a file with many."""
    renamed = {_ONE.get(key, key): value for key, value in variables.items()}
    renamed["coordinates"] = renamed["coordinates"][np.newaxis]
    if "lists" in renamed:
        renamed["lists"] = renamed["lists"].reshape(1, -1)
    return renamed


class _Clips:
    """The variables of a file with many clips, checked as they are asked for.

    `called` says what keys are called in the file, where that differs.
    """

    def __init__(
        self, variables: Variables, card: DatasetCard, called: Mapping[str, str] | None = None
    ) -> None:
        self.variables, self.card = variables, card
        self.called = {many: one for one, many in (called or {}).items()}
        array = variables["coordinates"]
        self.array = array if array.ndim == 5 else array[:, np.newaxis]
        self.count = len(array)

    def coordinates(self, index: int, length: int) -> NDArray[np.float64]:
        """`(C, T, V, M)` of a clip."""
        with np.errstate(invalid="ignore"):  # a signalling NaN is a NaN
            clip = self.array[index, :, :length].astype(np.float64)
        return clip.transpose(3, 1, 2, 0)

    def ids(self, default: list[str]) -> list[str]:
        if "ids" not in self.variables:
            return default
        ids = self._texts("ids")
        if "" in ids:
            raise self._fault("ids", f"that of clip {ids.index('')} is empty")
        return ids

    def labels(self) -> list[int]:
        if self.variables["labels"].dtype.kind != "U":
            return self.whole("labels")
        classes = {name: label for label, name in enumerate(self.card.classes)}
        for name in self._texts("labels"):
            if name not in classes:
                raise InputError(f"label {name!r} is not among the classes of {self.card.name}")
        return [classes[name] for name in self._texts("labels")]

    def whole(self, key: str) -> list[int]:
        """Whole numbers, one for each clip."""
        numbers = self._numbers(key)
        if (numbers != np.floor(numbers)).any() or (np.abs(numbers) >= 2**31).any():
            raise self._fault(key, "not whole numbers")
        return [int(number) for number in numbers]

    def places(self, key: str) -> Sequence[int | None]:
        return self.whole(key) if key in self.variables else [None] * self.count

    def lengths(self) -> list[int]:
        longest = self.array.shape[2]
        if "lengths" not in self.variables:
            return [longest] * self.count
        lengths = self.whole("lengths")
        for index, length in enumerate(lengths):
            if not 1 <= length <= longest:
                raise InputError(f"lengths: that of clip {index} is {length}, not 1 to {longest}")
        return lengths

    def rates(self) -> Sequence[float | None]:
        if "frames_per_second" not in self.variables:
            return [None] * self.count
        rates = self._numbers("frames_per_second", one_for_all=True)
        if (rates <= 0).any():
            raise InputError("frames_per_second: not above 0")
        return [float(rate) for rate in rates]

    def image_sizes(self) -> Sequence[tuple[int, int] | None]:
        sizes = self.variables.get("image_size")
        if sizes is None:
            return [None] * self.count
        wanted = ((2,), (1, 2), (2, 1), (self.count, 2))  # MATLAB's vectors have two axes
        if sizes.dtype.kind not in "iuf" or sizes.shape not in wanted:
            each = "" if self.called else f" or {(self.count, 2)}"
            raise InputError(
                f"image_size: {_described(sizes)} of shape {sizes.shape}, not (2,){each}"
            )
        if not ((sizes >= 1) & (sizes < 2**31)).all() or (sizes != np.floor(sizes)).any():
            raise InputError("image_size: not pixels")
        pairs = np.broadcast_to(sizes.reshape(-1, 2), (self.count, 2))
        return [(int(width), int(height)) for width, height in pairs]

    def lists(self) -> list[tuple[str, ...]]:
        if "lists" not in self.variables or not self.variables["lists"].size:
            return [()] * self.count
        names = self.variables["lists"]
        for_each = names.ndim == 2 and len(names) == self.count
        if names.dtype.kind != "U" or not (for_each or _is_vector(names, self.count)):
            raise InputError(
                f"lists: {_described(names)} of shape {names.shape}, not text for each clip, "
                f"{(self.count,)} or ({self.count}, L)"
            )
        rows = names.reshape(self.count, -1).tolist()
        return [tuple(name for name in row if name) for row in rows]

    def joints(self) -> tuple[str, ...] | None:
        if "joints" not in self.variables:
            return None
        return tuple(self._texts("joints", self.array.shape[3]))

    def axes(self) -> tuple[str, ...]:
        count = self.array.shape[4]
        if "axes" in self.variables:
            return tuple(self._texts("axes", count))
        if len(self.card.axes) != count:
            raise InputError(
                f"{count} numbers a joint, but the card's axes are {', '.join(self.card.axes)}; "
                "say in 'axes' what they are"
            )
        return self.card.axes

    def _fault(self, key: str, what: str) -> InputError:
        return InputError(f"{self.called.get(key, key)}: {what}")

    def _numbers(self, key: str, one_for_all: bool = False) -> NDArray[np.float64]:
        array = self.variables[key]
        if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
            raise self._fault(key, f"{_described(array)}, not finite numbers")
        if one_for_all and array.size == 1:
            return np.full(self.count, float(array.reshape(-1)[0]))
        if not _is_vector(array, self.count):
            raise self._fault(key, f"{_counted(array)} for {self.count} clips")
        return array.reshape(-1).astype(np.float64)

    def _texts(self, key: str, count: int | None = None) -> list[str]:
        array, count = self.variables[key], self.count if count is None else count
        if array.dtype.kind != "U" or not _is_vector(array, count):
            found = f"{_described(array)} of shape {array.shape}"
            raise self._fault(key, f"{found}, not {count} texts")
        return [str(text) for text in array.reshape(-1)]


def _is_vector(array: NDArray[Any], count: int) -> bool:
    """Whether it is so many in a row; MATLAB's rows and columns have a second axis of length 1."""
    return array.size == count == max(array.shape, default=1)


def _counted(array: NDArray[Any]) -> str:
    numbers = "1 number" if array.size == 1 else f"{array.size} numbers"
    return numbers if array.ndim < 2 else f"{numbers} of shape {array.shape}"


def _described(array: NDArray[Any]) -> str:
    return {"U": "text", "b": "truth values"}.get(array.dtype.kind, "numbers")


def _numpy(content: bytes) -> Variables:
    return read_arrays(content, MAX_BYTES)


def _matlab(content: bytes) -> Variables:
    try:
        found = read_variables(content, MAX_BYTES)
    except ValueError as error:
        raise InputError(str(error)) from None
    variables: Variables = {}
    for key, value in found.items():
        if not key or key.startswith("__"):  # MATLAB's own
            continue
        texts = [value] if isinstance(value, str) else value
        if isinstance(value, np.ndarray):
            variables[key] = value
        elif isinstance(texts, list) and all(isinstance(text, str) for text in texts):
            variables[key] = np.array(texts, dtype=np.str_)
            if not all(str(text).isprintable() for text in texts):
                raise InputError(f"{key}: text with characters that cannot be printed")
        else:
            kind = value.kind if isinstance(value, Unread) else type(value).__name__
            what = {"dict": "a struct", "list": "a cell of other things than text"}.get(kind, kind)
            raise InputError(f"{key} is {what}; wanted are numbers, text, or a cell of texts")
    return variables
