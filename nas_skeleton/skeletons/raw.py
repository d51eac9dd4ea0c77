"""Where raw data is looked for, and what to say when it is nowhere."""

from __future__ import annotations

import os
from pathlib import Path

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.card import DatasetCard, Download

ENVIRONMENT = "NAS_SKELETON_DATA"
"""Environment variable with a folder of raw data sets, one folder per data set or all in one."""


def find_raw(card: DatasetCard, given: Path | None = None) -> Path:
    """The raw file or folder of a data set.

    Args:
        card: its card, which knows the file names.
        given: what the user named (`--raw`): the raw data itself, or the folder it lies in. Without
            it, `datasets/NAME/` in the working folder and `$NAS_SKELETON_DATA` are searched.

    Raises:
        InputError: nothing there; the message says where to get the data and where to put it.
    """
    if given is not None:
        if not given.exists():
            raise InputError(f"--raw {given}: no such file or folder")
        return _first_in(given, card) or given
    for folder in _folders(card):
        found = _first_in(folder, card)
        if found:
            return found
    raise InputError(_nowhere(card))


def download_of(card: DatasetCard) -> tuple[Download, Path]:
    """What may be downloaded for a data set, and the file to write it to.

    Raises:
        InputError: nothing: its licence asks people to get it themselves; the message says where.
    """
    if card.raw is None:
        raise InputError(f"data set {card.name!r} is generated; there is nothing to download")
    if card.raw.download is None:
        raise InputError(
            f"data set {card.name!r} cannot be downloaded by a program; get it from "
            f"{card.raw.get}, and put {' or '.join(card.raw.files)} into datasets/{card.name}/"
        )
    return card.raw.download, Path("datasets", card.name, card.raw.download.file)


def is_found(card: DatasetCard) -> bool:
    """Whether `find_raw` would find something where it looks on its own."""
    return any(_first_in(folder, card) for folder in _folders(card))


def _folders(card: DatasetCard) -> list[Path]:
    folders = [Path("datasets", card.name)]
    shared = os.environ.get(ENVIRONMENT)
    if shared:
        folders += [Path(shared, card.name), Path(shared)]
    return folders


def _first_in(folder: Path, card: DatasetCard) -> Path | None:
    names = card.raw.files if card.raw else ()
    return next((folder / name for name in names if (folder / name).exists()), None)


def _nowhere(card: DatasetCard) -> str:
    names = " or ".join(card.raw.files) if card.raw else "raw files"
    looked = ", ".join(f"{folder}{os.sep}" for folder in _folders(card))
    get = card.raw.get if card.raw else "the card does not say where"
    return (
        f"data set {card.name!r}: no raw data ({names}) in {looked}; get it from {get}, then put "
        f"it into datasets/{card.name}/ or a folder named by {ENVIRONMENT}, or point to it with "
        f"`python -m nas_skeleton.data prepare {card.name} --raw PATH`; "
        "without any download, --dataset synthetic works right now"
    )
