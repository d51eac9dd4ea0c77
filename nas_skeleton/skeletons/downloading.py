"""One file from the web, whole and as it should be, or not at all.

What arrives goes into `NAME.part`; only a file of the right size and checksum gets its name. After
an interruption, in this call or a later one, the download goes on where it stopped, if the server
can do that and its file is still the same.
"""

from __future__ import annotations

import errno
import hashlib
import ipaddress
import os
import re
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.readers.files import printable

if TYPE_CHECKING:
    import requests

ATTEMPTS = 5
"""How often in a row nothing may arrive before it is given up."""
PAUSE_S = 1.0
"""Before the second attempt; it doubles with each further one."""

_CONNECT_S, _SILENCE_S = 15.0, 60.0
_LONGEST_PAUSE_S = 60.0
_PIECE = 256 * 1024
_REDIRECTS = 10
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_BUSY = {408, 425, 429, 500, 502, 503, 504}

Progress = Callable[[int], None]
"""Called with the number of bytes that are there."""


class _Interrupted(Exception):
    """Another attempt may help; the text says what happened."""

    def __init__(self, what: str, wait: float = 0.0) -> None:
        super().__init__(what)
        self.wait = wait


def download(
    url: str,
    path: Path,
    *,
    sha256: str,
    size: int,
    progress: Progress = lambda _: None,
    pause: float = PAUSE_S,
) -> None:
    """Fetch a file; if it is there already and right, nothing is fetched.

    Args:
        url: where from, by https; http is for servers on this machine.
        path: where to; folders are made.
        sha256: what its checksum must be, in hex.
        size: what its size must be, in bytes.
        progress: told as bytes arrive.
        pause: seconds before the second attempt.

    Raises:
        InputError: the server cannot be reached or refuses, what it sends is not the file, or it
            cannot be written. What arrived is kept for the next call unless it is wrong.
    """
    wanted = _Wanted(url, path, sha256.lower(), size)
    if path.exists():
        wanted.check(path, advice="move it away to download it again")
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path):
            _Download(wanted, progress, pause).run()
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = "free space and run it again" if full else "check that folder"
        raise InputError(
            f"{error.filename or path}: cannot be written ({error.strerror or error}); {advice}"
        ) from None


@dataclass(frozen=True)
class _Wanted:
    """The file as it should be."""

    url: str
    path: Path
    sha256: str
    size: int

    def check(self, path: Path, advice: str) -> None:
        """Raise `InputError` if `path` is not the file."""
        fault = self.fault(path)
        if fault:
            raise InputError(f"{path}: {fault}; {advice}")

    def fault(self, path: Path) -> str | None:
        """What is wrong with `path`, if anything."""
        found = path.stat().st_size
        if found != self.size:
            return f"has {found} bytes, not {self.size}"
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return None if digest == self.sha256 else f"has SHA-256 {digest}, not {self.sha256}"


class _Download:
    """Brings `NAME.part` to its full length, attempt by attempt."""

    def __init__(self, wanted: _Wanted, progress: Progress, pause: float) -> None:
        import requests

        self._wanted, self._progress, self._pause = wanted, progress, pause
        self._part = wanted.path.with_name(f"{wanted.path.name}.part")
        self._tag = wanted.path.with_name(f"{wanted.path.name}.part.etag")
        self._session = requests.Session()
        # Compressed on the way, bytes could not be counted.
        self._session.headers["Accept-Encoding"] = "identity"
        self._joined = False  # of pieces that may come from different files

    def run(self) -> None:
        self._make_room()
        with self._session:
            self._fetch_all()
        fault = self._wanted.fault(self._part)
        if fault and self._joined:  # the file on the server changed between two pieces
            self._forget()
            self._joined = False
            with self._session:
                self._fetch_all()
            fault = self._wanted.fault(self._part)
        if fault:
            self._forget()
            raise InputError(
                f"{self._wanted.url}: what arrived {fault}; nothing was kept, run it again, and if "
                "that does not help, get the file from elsewhere"
            )
        with self._part.open("rb") as file:
            os.fsync(file.fileno())
        self._part.replace(self._wanted.path)
        self._tag.unlink(missing_ok=True)

    def _have(self) -> int:
        return self._part.stat().st_size if self._part.exists() else 0

    def _forget(self) -> None:
        self._part.unlink(missing_ok=True)
        self._tag.unlink(missing_ok=True)

    def _make_room(self) -> None:
        if self._have() > self._wanted.size:
            self._forget()
        missing = self._wanted.size - self._have()
        free = shutil.disk_usage(self._wanted.path.parent).free
        if free < missing:
            raise InputError(
                f"{self._wanted.path.parent}: {free} bytes free, {missing} are needed; free space"
            )

    def _fetch_all(self) -> None:
        failures, most = 0, self._have()
        while (before := self._have()) < self._wanted.size:
            self._joined = self._joined or before > 0
            try:
                self._fetch()
                continue
            except _Interrupted as error:
                failures = failures + 1 if self._have() <= most else 1
                most = max(most, self._have())
                if failures >= ATTEMPTS:
                    raise InputError(
                        f"{self._wanted.url}: {error}; {self._have()} of {self._wanted.size} bytes "
                        "are there, run it again to go on"
                    ) from None
                wait = max(self._pause * 2 ** (failures - 1), error.wait)
            time.sleep(min(wait, _LONGEST_PAUSE_S))

    def _fetch(self) -> None:
        """Ask for what is missing and write what comes."""
        import requests
        import urllib3

        try:
            with self._ask() as answer:
                start = self._start_of(answer)
                self._remember(answer)
                self._write(answer, start)
        except requests.exceptions.SSLError as error:
            raise InputError(
                f"{self._wanted.url}: the server cannot prove who it is ({_short(error)}); check "
                "the date of this computer and its certificates, or get the file by hand"
            ) from None
        except requests.exceptions.Timeout:
            raise _Interrupted("the server does not answer") from None
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
            raise _Interrupted(f"the connection failed ({_short(error)})") from None

    def _ask(self) -> requests.Response:
        headers = {}
        have = self._have()
        if have:
            headers["Range"] = f"bytes={have}-"
            with suppress(FileNotFoundError):
                headers["If-Range"] = self._tag.read_text("ascii")
        url = self._wanted.url
        for _ in range(_REDIRECTS):
            self._check_address(url)
            try:
                answer = self._session.get(
                    url,
                    headers=headers,
                    stream=True,
                    allow_redirects=False,
                    timeout=(_CONNECT_S, _SILENCE_S),
                )
                if not answer.is_redirect:
                    return answer
                answer.close()
                url = urljoin(url, answer.headers["Location"])
            except ValueError as error:
                raise InputError(
                    f"{self._wanted.url}: leads to what is no address ({_short(error)}); get the "
                    "file by hand"
                ) from None
        raise InputError(f"{self._wanted.url}: leads from one address to the next without end")

    def _check_address(self, url: str) -> None:
        """Refuse what could be read or changed on the way."""
        if _is_https(url) or (_is_here(url) and _is_here(self._wanted.url)):
            return
        where = "" if url == self._wanted.url else f"leads to {printable(url)}, which is "
        raise InputError(f"{self._wanted.url}: {where}not https; get the file by hand")

    def _start_of(self, answer: requests.Response) -> int:
        """From which byte on an answer goes.

        Raises:
            InputError: the server refuses.
            _Interrupted: it may think better of it, or what is there is of no use to go on from.
        """
        code = answer.status_code
        if answer.headers.get("Content-Encoding", "identity") != "identity":
            raise InputError(f"{self._wanted.url}: sent compressed, though asked not to")
        if code == 200:
            length = answer.headers.get("Content-Length", str(self._wanted.size))
            if length != str(self._wanted.size):
                raise InputError(
                    f"{self._wanted.url}: has {length} bytes now, not {self._wanted.size}; get the "
                    "file by hand"
                )
            return 0
        if code == 206:
            match = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
            start = int(match[1]) if match else -1
            if match and start == self._have() and match[3] in ("*", str(self._wanted.size)):
                return start
        if code in (206, 416):  # what is there does not fit what the server has
            self._forget()
            raise _Interrupted(f"the server cannot go on from there (status {code})")
        said = printable(f"{code} {answer.reason or ''}".strip())
        if code in _BUSY:
            wait = answer.headers.get("Retry-After", "")
            raise _Interrupted(
                f"the server is busy ({said})", float(wait) if wait.isdecimal() else 0.0
            )
        known = {404: "there is no such file", 410: "there is no such file any more"}
        refused = known.get(code, "the server refuses")
        raise InputError(f"{self._wanted.url}: {refused} ({said}); get the file by hand")

    def _remember(self, answer: requests.Response) -> None:
        """Keep the name of this state of the file, by which the server knows it again."""
        tag = answer.headers.get("ETag", "")
        if tag.startswith('"') and tag.isascii() and tag.isprintable():
            self._tag.write_text(tag, "ascii")
        else:
            self._tag.unlink(missing_ok=True)

    def _write(self, answer: requests.Response, start: int) -> None:
        done = start
        with self._part.open("r+b" if start else "wb") as file:
            file.seek(start)
            self._progress(done)
            for piece in answer.raw.stream(_PIECE, decode_content=False):
                done += len(piece)
                if done > self._wanted.size:
                    break
                file.write(piece)
                self._progress(done)
        if done > self._wanted.size:
            self._forget()
            raise InputError(
                f"{self._wanted.url}: sends more than the {self._wanted.size} bytes of the file; "
                "get it from elsewhere"
            )
        if done < self._wanted.size:
            raise _Interrupted("the connection ended too early")


class _alone:  # noqa: N801 - used like a function
    """Keep two processes from writing the same file.

    The hidden file of the lock stays: whoever removed it could take it from under another process,
    and a third one would make a lock of its own.
    """

    def __init__(self, path: Path) -> None:
        from filelock import FileLock

        self._path = path
        self._lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=0)

    def __enter__(self) -> None:
        from filelock import Timeout

        try:
            self._lock.acquire()
        except Timeout:
            raise InputError(
                f"{self._path}: another process is downloading it; wait for it to end"
            ) from None
        except NotImplementedError:  # some cluster file systems cannot; then take your chance
            pass

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _is_https(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:  # no address at all
        return False
    return parts.scheme == "https" and bool(parts.hostname)


def _is_here(url: str) -> bool:
    """Whether an address is plain http on this machine itself."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    if parts.scheme != "http" or not parts.hostname:
        return False
    try:
        return ipaddress.ip_address(parts.hostname).is_loopback
    except ValueError:
        return parts.hostname == "localhost"


def _short(error: Exception) -> str:
    """The innermost reason that an error of the network has, in one line."""
    while error.__context__ and isinstance(error.__context__, Exception):
        error = error.__context__
    text = printable(" ".join(str(error).split())[:160])
    return text or type(error).__name__
