"""Cards: one TOML file per search space (`search_spaces/`) or data set (`datasets/`).

This module finds a card, reads it and checks it against a model, so that a typing error in it is
one clear line. What a card may say is defined by the rooms that use it (`spaces.card`,
`skeletons.card`). Cards in the working folder come before those shipped with the package.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from nas_skeleton.errors import InputError

Kind = Literal["search_spaces", "datasets"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
LONGEST_NAME = 200  # file systems allow 255 bytes, and suffixes follow
_NOUN = {"search_spaces": "search space", "datasets": "data set"}


class Card(BaseModel):
    """Base of every card model: unknown keys and wrong types are errors, values are read-only."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


CardT = TypeVar("CardT", bound=Card)


def check_name(name: str, what: str) -> str:
    """Return `name` if it is safe as a file or folder name, else raise `InputError`."""
    if not _NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise InputError(
            f"{what} {name[:100]!r}: use letters, digits, '-', '_' and '.' only, starting with a "
            f"letter or digit, at most {LONGEST_NAME} in all"
        )
    return name


def card_folders(kind: Kind) -> list[Path]:
    """Folders searched for cards, the user's working folder first."""
    package = Path(__file__).resolve().parent
    shipped = package / "cards" / kind  # in a wheel
    if not shipped.is_dir():
        shipped = package.parent / kind  # in a checkout
    return [Path.cwd() / kind, shipped]


def card_names(kind: Kind) -> list[str]:
    """Names of all cards that can be loaded, sorted."""
    return sorted({path.stem for folder in card_folders(kind) for path in folder.glob("*.toml")})


def load_card(kind: Kind, name: str, model: type[CardT]) -> CardT:
    """Read and check the card `name`.

    Raises:
        InputError: no such card, not TOML, an unknown key, or a value of the wrong type or range.
    """
    check_name(name, _NOUN[kind])
    for folder in card_folders(kind):
        path = folder / f"{name}.toml"
        if path.is_file():
            return _read(path, model)
    raise InputError(
        f"unknown {_NOUN[kind]} {name!r}: known are {', '.join(card_names(kind))}; "
        f"a new one is a card {kind}/{name}.toml"
    )


def _read(path: Path, model: type[CardT]) -> CardT:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: not a readable TOML card: {error}") from None
    try:
        return model.model_validate(content)
    except ValidationError as error:
        # A misspelled key is both unknown and missing: the first says more.
        first = min(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
        key = ".".join(str(part) for part in first["loc"])
        what = "unknown key" if first["type"] == "extra_forbidden" else first["msg"]
        raise InputError(f"{path}: {key}: {what}") from None
