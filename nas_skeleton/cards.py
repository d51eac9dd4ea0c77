"""Cards: one TOML file per search space (`search_spaces/`) or data set (`datasets/`).

This module finds a card, reads it and checks it against a model, so that a typing error in it is
one clear line. What a card may say is defined by the rooms that use it (`spaces.card`,
`skeletons.card`). Cards in the working folder come before those shipped with the package.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from nas_skeleton.errors import InputError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

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


def read_card(kind: Kind, name: str) -> tuple[dict[str, Any], Path]:
    """What the card `name` says, not checked yet, and where it lies.

    Raises:
        InputError: no such card, or not TOML.
    """
    check_name(name, _NOUN[kind])
    for folder in card_folders(kind):
        path = folder / f"{name}.toml"
        if path.is_file():
            try:
                return tomllib.loads(path.read_text(encoding="utf-8")), path
            except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
                raise InputError(f"{path}: not a readable TOML card: {error}") from None
    raise InputError(
        f"unknown {_NOUN[kind]} {name!r}: known are {', '.join(card_names(kind))}; "
        f"a new one is a card {kind}/{name}.toml"
    )


def check_card(content: dict[str, Any], path: Path, model: type[CardT]) -> CardT:
    """The content of the card at `path` as a `model`.

    Raises:
        InputError: an unknown key, or a value of the wrong type or range.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        # A misspelled key is both unknown and missing: the first says more.
        first = min(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
        key = ".".join(str(part) for part in first["loc"])
        where = f"{path}: {key}" if key else str(path)
        raise InputError(f"{where}: {_said(first, model)}") from None


def _said(fault: ErrorDetails, model: type[Card]) -> str:
    """What is wrong with a key, for people who do not know how cards are checked."""
    context = fault.get("ctx", {})
    if fault["type"] == "extra_forbidden":
        known = model.model_fields if len(fault["loc"]) == 1 else ()
        close = difflib.get_close_matches(str(fault["loc"][-1]), known, 1)
        return "unknown key" + (f"; did you mean {close[0]!r}?" if close else "")
    if fault["type"] == "union_tag_invalid":
        return f"unknown name {context['tag']!r}: known are {context['expected_tags']}"
    if fault["type"] in ("model_attributes_type", "union_tag_not_found"):
        return "a table is expected, such as { name = ... }"
    return fault["msg"].removeprefix("Value error, ")
