"""The files of raw data, whether they lie in a folder, in a zip or in several zips of a folder.

Readers say which endings they look for and get names and bytes. Archives and folders come from
anywhere: nothing is unpacked to the disk, nothing outside is read, no file is larger in memory than
the reader allows. A file that cannot be read is still among the names, so that it is reported and
not left out. Folders that this program made, hidden ones and those of macOS are no raw data.
"""

from __future__ import annotations

import io
import os
import re
import stat
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NoReturn

from nas_skeleton.errors import InputError

_Load = Callable[[], bytes]
_DRIVE = re.compile(r"[A-Za-z]:")
_STORE, _ARRAY, _INPUTS = "prepared", "clips.f32", "encoded"
"""A prepared store, the file that every one has, and the folder of network inputs beside it."""
_ENCRYPTED = 1  # bit in the flags of a member
_UNPACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Other methods of compression cannot be unpacked piece by piece, that is with bounded memory."""


class Files:
    """Files by name, read one by one.

    Attributes:
        names: sorted; with forward slashes, relative to the folder or the zip. A file in one of
            several zips has the zip's name in front. Unprintable characters are escaped.
    """

    names: tuple[str, ...]

    def __init__(self, found: Iterable[tuple[str, _Load]]) -> None:
        self._loads: dict[str, _Load] = {}
        for name, load in found:
            shown = printable(name)
            twice = partial(_refuse, "two files of this name; remove one of them")
            self._loads[shown] = twice if shown in self._loads else load
        self.names = tuple(sorted(self._loads))

    def read(self, name: str) -> bytes:
        """Content of a file.

        Raises:
            InputError: it cannot be read; the message is the reason, without the name.
        """
        return self._loads[name]()


def open_files(
    raw: Path, suffixes: tuple[str, ...], max_bytes: int, *, if_larger: str = ""
) -> Files:
    """Find the files that end with one of `suffixes`, in whatever case, without reading them.

    Files left by macOS (`._*`, `__MACOSX`), hidden folders and what this program has made are
    passed over.

    Args:
        raw: such a file, a zip, or a folder; folders may hold files and zips, at any depth.
        suffixes: ends of names, such as ".mat" or "_keypoints.json", in lower case.
        max_bytes: a larger file is refused when it is read.
        if_larger: what people can do about such a file.

    Raises:
        InputError: `raw` is not there, is unreadable, is no zip, or has no such file.
    """
    search = _Search(suffixes, _Limit(max_bytes, if_larger))
    try:
        if raw.is_dir():
            files = Files(search.in_folder(raw))
        elif search.wants(raw.name):
            files = Files([(raw.name, partial(_load_file, raw, search.limit))])
        else:
            files = Files(search.in_zip(raw))
    except OSError as error:
        raise InputError(
            f"{error.filename or raw}: cannot be read ({error.strerror or error})"
        ) from None
    except _NoZipError as error:
        raise InputError(f"{raw}: {error}") from None
    if not files.names:
        wanted = " or ".join(f"*{suffix}" for suffix in suffixes)
        raise InputError(f"{raw}: no {wanted} in it; is it the right file or folder?")
    return files


def open_archive(content: bytes, suffixes: tuple[str, ...], max_bytes: int) -> Files:
    """The files of a zip that is in memory, such as a `.npz`; see `open_files`.

    Raises:
        InputError: it is no zip; the message is the reason alone. It may be empty.
    """
    try:
        return Files(_Search(suffixes, _Limit(max_bytes)).in_zip(io.BytesIO(content)))
    except _NoZipError as error:
        raise InputError(str(error)) from None


def made_here(folder: Path) -> bool:
    """Whether a folder in the midst of raw data is none of it: made by this program, or hidden.

    Raw data may lie in `datasets/NAME/`, beside the store that is made of it.

    Raises:
        OSError: nobody may look into its parent.
    """
    if folder.name.startswith("."):
        return True
    return folder.name in (_STORE, _INPUTS) and (folder.parent / _STORE / _ARRAY).is_file()


def base_name(name: str) -> str:
    """The last part of a name: the file's own."""
    return name.rpartition("/")[2]


def printable(name: str) -> str:
    """The name on one line: what cannot be printed is escaped, other letters stay."""
    if name.isprintable():
        return name
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in name)


class _NoZipError(Exception):
    """What should be a zip is none, and why."""


@dataclass(frozen=True)
class _Limit:
    """How large a file may be, and what to do if it is larger."""

    bytes: int
    advice: str = ""

    def passed_by(self, size: int) -> str:
        """What to say of a larger file."""
        said = f"{size} bytes, more than the {self.bytes} such a file may have"
        return f"{said}; {self.advice}" if self.advice else said


class _Search:
    """What is looked for, and how large it may be."""

    def __init__(self, suffixes: tuple[str, ...], limit: _Limit) -> None:
        self.suffixes, self.limit = suffixes, limit

    def wants(self, name: str) -> bool:
        return name.lower().endswith(self.suffixes) and not name.startswith("._")

    def in_folder(self, folder: Path) -> Iterator[tuple[str, _Load]]:
        root = folder.resolve()
        waiting = [""]  # folders inside, with a slash at the end
        while waiting:
            inside = waiting.pop()
            with os.scandir(folder / inside) as entries:
                for entry in entries:
                    name, path = inside + entry.name, Path(entry.path)
                    is_folder = entry.is_dir(follow_symlinks=False)
                    leads_to_one = is_folder or (entry.is_symlink() and path.is_dir())
                    if leads_to_one and (entry.name == "__MACOSX" or made_here(path)):
                        continue
                    if is_folder:
                        waiting.append(f"{name}/")
                    else:
                        yield from self._entry(name, entry, root)

    def _entry(self, name: str, entry: os.DirEntry[str], root: Path) -> Iterator[tuple[str, _Load]]:
        path = Path(entry.path)
        wanted = self.wants(entry.name)
        zipped = entry.name.lower().endswith(".zip") and not entry.name.startswith("._")
        reason = _link_fault(path, root) if entry.is_symlink() else None
        if reason == _LINKED_FOLDER or (reason and (wanted or zipped)):
            yield name, partial(_refuse, reason)
        elif not (wanted or zipped):
            return
        elif not entry.is_file():
            yield name, partial(_refuse, "not a regular file")
        elif wanted:
            yield name, partial(_load_file, path, self.limit)
        else:
            try:
                yield from self.in_zip(path, prefix=f"{name}/")
            except _NoZipError as error:
                yield name, partial(_refuse, str(error))
            except OSError as error:
                yield name, partial(_refuse, f"cannot be read ({error.strerror or error})")

    def in_zip(self, path: Path | BinaryIO, prefix: str = "") -> Iterator[tuple[str, _Load]]:
        try:
            # Closed by the garbage collector, once the last member's loader is gone.
            archive = zipfile.ZipFile(path)
        except OSError:
            raise
        except Exception as error:  # zipfile raises more than BadZipFile on damaged directories
            raise _NoZipError(
                f"not a zip file, or a truncated one ({error}); download it again"
            ) from None
        for member in archive.infolist():
            name = member.filename
            if not self.wants(base_name(name)) or _passed_over(name):  # folders end with a slash
                continue
            reason = self._unusable(member)
            yield (
                prefix + name,
                partial(_refuse, reason)
                if reason
                else partial(_load_member, archive, member, self.limit),
            )

    def _unusable(self, member: zipfile.ZipInfo) -> str | None:
        name = member.filename.replace("\\", "/")
        if name.startswith("/") or _DRIVE.match(name) or ".." in PurePosixPath(name).parts:
            return "its path leaves the archive; such a zip is not to be trusted"
        if stat.S_ISLNK(member.external_attr >> 16):
            return "a link, which is not followed; pack the file itself"
        if member.flag_bits & _ENCRYPTED:
            return "encrypted; unpack the zip with its password and use the folder"
        if member.compress_type not in _UNPACKED:
            return "compressed by a rare method; unpack the zip and use the folder"
        if member.file_size > self.limit.bytes:
            return self.limit.passed_by(member.file_size)
        return None


def _passed_over(name: str) -> bool:
    """Whether a member of a zip lies in a folder of macOS or a hidden one."""
    folders = name.split("/")[:-1]
    return any(
        folder == "__MACOSX" or (folder[:1] == "." and folder not in (".", ".."))
        for folder in folders
    )


_LINKED_FOLDER = "a linked folder, which is not followed; put a copy here"


def _link_fault(path: Path, root: Path) -> str | None:
    """Why a link in the folder `root` is not followed, if so."""
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):  # the latter for links that run in a circle
        return "a link that leads nowhere"
    if target.is_dir():
        return _LINKED_FOLDER
    if not target.is_relative_to(root):
        return "a link that leaves the folder; put a copy here"
    return None


def _refuse(reason: str) -> NoReturn:
    raise InputError(reason)


def _load_file(path: Path, limit: _Limit) -> bytes:
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            content = b"" if size > limit.bytes else stream.read(limit.bytes + 1)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror or error})") from None
    if max(size, len(content)) > limit.bytes:
        raise InputError(limit.passed_by(max(size, len(content))))
    return content


def _load_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, limit: _Limit) -> bytes:
    try:
        with archive.open(member) as stream:
            content = stream.read(limit.bytes + 1)  # its size in the directory may be a lie
    except Exception as error:  # bad CRC, truncation, unknown flags, ...
        why = printable(str(error)) or type(error).__name__
        raise InputError(f"cannot be unpacked ({why}); download the zip again") from None
    if len(content) > limit.bytes:
        raise InputError(limit.passed_by(len(content)))
    return content
