"""What a name means to a command that takes a run or a published table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nas_skeleton.errors import InputError
from nas_skeleton.published.files import MANIFEST, TABLE, find_published, published_names
from nas_skeleton.results.run import Run, open_run, run_names, runs_folder

if TYPE_CHECKING:
    from nas_skeleton.results.table import SearchTable


def find_run_or_table(name: str) -> Run | Path:
    """The run of that name in the working folder, else the folder of the published table.

    Args:
        name: of a run or a table, or the path of a table's folder.

    Raises:
        InputError: neither is there, or the run is damaged; the message lists what there is.
    """
    if Path(name).name == name and (runs_folder() / name / "run.json").is_file():
        return open_run(name)
    try:
        return find_published(name)
    except InputError as error:
        known = ", ".join(run_names()) or "none yet"
        raise InputError(f"no run {name!r}: there are {known}; and {error}") from None


def find_search_table(source: str) -> SearchTable:
    """The finished trainings to search on: a published table, checked, else `load_table`.

    Args:
        source: name of a published table, unless a run of the working folder bears it; its folder,
            or the `table.parquet` in it; or what `load_table` takes.

    Raises:
        InputError: as `results.table.load_table` and `search_table.search_table_of`.
    """
    from nas_skeleton.published.search_table import search_table_of
    from nas_skeleton.published.table import PublishedTable
    from nas_skeleton.results.table import load_table

    folder = Path(source)
    if source in published_names() and source not in run_names():
        folder = find_published(source)
    elif folder.name == TABLE:
        folder = folder.parent
    if (folder / MANIFEST).is_file():
        return search_table_of(PublishedTable(folder))
    return load_table(source)
