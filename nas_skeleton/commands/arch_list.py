"""`--archs`: which architectures a command is to work on, as a list, a file or a word."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from nas_skeleton.spaces import SearchSpace

LISTED = "INDEX,...|@FILE"


def listed_archs(space: SearchSpace, text: str) -> list[int]:
    """The indices that `text` lists, in its order, each once: `6111,1462`, or a file's, `@FILE`.

    In a file they stand on lines of their own or between commas, and `#` begins a comment. Their
    order is kept because a sample's means something: stopped early, its beginning is one too.

    Raises:
        click.UsageError: it is no such list, or the file cannot be read.
        InputError: the space has no such architecture.
    """
    if text.startswith("@"):
        parts = _parts_of_file(text)
    else:
        parts = [part.strip() for part in text.split(",")]
    strange = [part for part in parts if not (part.isascii() and part.isdecimal())]
    if strange or not parts:
        where = repr(text)
        if text.startswith("@"):
            where = f"{text}, {strange[0]!r}" if strange else f"{text}, which lists none"
        raise click.UsageError(
            f"--archs {where}: give indices: 6111,1462, or @FILE with one a line"
        )
    return list(dict.fromkeys(space.check_index(int(part)) for part in parts))


def _parts_of_file(text: str) -> list[str]:
    try:
        lines = Path(text[1:]).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"--archs {text}: {error}") from None
    return [part for line in lines for part in line.partition("#")[0].replace(",", " ").split()]
