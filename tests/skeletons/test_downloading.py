"""Downloads against a server on this machine that does all that servers do wrong."""

from __future__ import annotations

import errno
import hashlib
import io
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons import downloading
from nas_skeleton.skeletons.downloading import download

CONTENT = np.random.default_rng(0).bytes(1_000_000)
OTHER = np.random.default_rng(1).bytes(1_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server:
    """Serves `content`; what it does wrong is set by attributes.

    Attributes:
        content: what it has.
        tag: its ETag, if any.
        ranges: whether it can go on in the middle.
        cut_after: how many bytes it sends at most for each of the next requests; the rest whole.
        status: sent instead of an answer, one for each of the next requests.
        location: where it redirects to, if anywhere.
        length: whether it says how much it will send.
        asked: headers of all requests.
    """

    def __init__(self) -> None:
        self.content = CONTENT
        self.tag: str | None = '"one"'
        self.ranges = True
        self.cut_after: list[int] = []
        self.status: list[int] = []
        self.location = ""
        self.length = True
        self.extra: dict[str, str] = {}
        self.asked: list[dict[str, str]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(dict(self.headers))
                server.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/file.zip"

    def answer(self, to: BaseHTTPRequestHandler) -> None:
        if self.status or (self.location and to.path == "/file.zip"):
            code = self.status.pop(0) if self.status else 302
            to.send_response(code)
            if self.location:
                to.send_header("Location", self.location)
            to.send_header("Content-Length", "0")
            to.end_headers()
            return
        start = 0
        wanted, condition = to.headers.get("Range"), to.headers.get("If-Range")
        if wanted and self.ranges and condition in (None, self.tag):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            to.send_response(206)
            end = len(self.content)
            to.send_header("Content-Range", f"bytes {start}-{end - 1}/{end}")
        else:
            to.send_response(200)
        if self.tag:
            to.send_header("ETag", self.tag)
        if self.length:
            to.send_header("Content-Length", str(len(self.content) - start))
        for name, value in self.extra.items():
            to.send_header(name, value)
        to.end_headers()
        piece = self.content[start:]
        to.wfile.write(piece[: self.cut_after.pop(0)] if self.cut_after else piece)

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "*")
    server = Server()
    yield server
    server.close()


def fetch(server: Server, path: Path, **changes: Any) -> list[int]:
    """Download into `path`; what progress was told."""
    told: list[int] = []
    options = {"sha256": SHA256, "size": len(CONTENT), "pause": 0.0, **changes}
    download(server.url, path, progress=told.append, **options)
    return told


def left(folder: Path) -> set[str]:
    """The files in a folder; the lock stays for all time."""
    return {path.name for path in folder.iterdir()} - {".file.zip.lock"}


def test_a_file_arrives_whole_under_its_name_alone(server: Server, tmp_path: Path) -> None:
    told = fetch(server, tmp_path / "new" / "file.zip")
    assert (tmp_path / "new" / "file.zip").read_bytes() == CONTENT
    assert left(tmp_path / "new") == {"file.zip"}
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0, len(CONTENT))
    assert server.asked[0]["Accept-Encoding"] == "identity"


def test_what_is_there_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "file.zip"
    path.write_bytes(CONTENT)
    assert fetch(server, path, sha256=SHA256.upper()) == []
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(InputError, match="has 999999 bytes, not 1000000; move it away"):
        fetch(server, path)
    path.write_bytes(OTHER)
    with pytest.raises(InputError, match=f"has SHA-256 [0-9a-f]{{64}}, not {SHA256}; move it away"):
        fetch(server, path)
    assert path.read_bytes() == OTHER
    assert not server.asked


@pytest.mark.parametrize("length", [True, False])
def test_an_interrupted_download_goes_on_where_it_stopped(
    server: Server, tmp_path: Path, length: bool
) -> None:
    server.length = length
    server.cut_after = [600_000, 300_000]
    told = fetch(server, tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT
    assert left(tmp_path) == {"file.zip"}
    starts = [int(asked.get("Range", "=0-")[:-1].split("=")[1]) for asked in server.asked]
    assert len(starts) == 3
    assert 0 == starts[0] < starts[1] < starts[2] < len(CONTENT)
    assert server.asked[1]["If-Range"] == '"one"'
    assert told == sorted(told)


def test_a_later_call_goes_on_where_an_earlier_one_gave_up(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "file.zip"
    server.cut_after = [600_000, *[0] * downloading.ATTEMPTS]
    with pytest.raises(InputError, match=r"[0-9]+ of 1000000 bytes are there, run it again") as got:
        fetch(server, path)
    assert server.url in str(got.value)
    assert left(tmp_path) == {"file.zip.part", "file.zip.part.etag"}
    there = (tmp_path / "file.zip.part").stat().st_size
    assert 0 < there <= 600_000
    server.cut_after.clear()
    told = fetch(server, path)
    assert told[0] == there
    assert path.read_bytes() == CONTENT
    assert left(tmp_path) == {"file.zip"}


def test_a_server_that_cannot_go_on_sends_it_again(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    server.cut_after = [600_000]
    told = fetch(server, tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT
    assert told.count(0) == 2


@pytest.mark.parametrize("tag", ['"two"', None, 'W/"two"'])
def test_pieces_of_two_files_are_never_joined(
    server: Server, tmp_path: Path, tag: str | None
) -> None:
    (tmp_path / "file.zip.part").write_bytes(OTHER[:500_000])
    if tag == '"two"':
        (tmp_path / "file.zip.part.etag").write_text('"one"')
    server.tag = tag
    fetch(server, tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


def test_a_wrong_checksum_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.content = OTHER
    with pytest.raises(InputError, match=f"what arrived has SHA-256 .*, not {SHA256}") as error:
        fetch(server, tmp_path / "file.zip")
    assert server.url in str(error.value)
    assert left(tmp_path) == set()
    assert len(server.asked) == 1


def test_a_file_that_is_too_long_or_short_is_refused(server: Server, tmp_path: Path) -> None:
    for size in (999_999, 1_000_001):
        with pytest.raises(InputError, match=f"has 1000000 bytes now, not {size}"):
            fetch(server, tmp_path / "file.zip", size=size)
        assert left(tmp_path) == set()
    server.length = False
    with pytest.raises(InputError, match="sends more than the 999999 bytes"):
        fetch(server, tmp_path / "file.zip", size=999_999)
    assert left(tmp_path) == set()
    with pytest.raises(InputError, match=r"of 1000001 bytes are there, run it again"):
        fetch(server, tmp_path / "file.zip", size=1_000_001)
    assert "file.zip" not in left(tmp_path)
    assert len(server.asked) < 10


def test_a_part_that_is_longer_than_the_file_is_begun_anew(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.zip.part").write_bytes(CONTENT + b"x")
    fetch(server, tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


def test_a_part_that_is_complete_is_checked_and_not_fetched(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.zip.part").write_bytes(CONTENT)
    fetch(server, tmp_path / "file.zip")
    assert not server.asked
    assert left(tmp_path) == {"file.zip"}


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (404, "there is no such file .404 Not Found.; get the file by hand"),
        (410, "there is no such file any more"),
        (403, "the server refuses .403 Forbidden."),
        (401, "the server refuses"),
    ],
)
def test_a_refusal_is_one_line_at_once(
    server: Server, tmp_path: Path, code: int, reason: str
) -> None:
    server.status = [code]
    with pytest.raises(InputError, match=reason) as error:
        fetch(server, tmp_path / "file.zip")
    assert str(error.value).startswith(server.url)
    assert len(server.asked) == 1


@pytest.mark.parametrize("codes", [[503], [500, 502, 429, 504], [416]])
def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path, codes: list[int]) -> None:
    server.status = list(codes)
    fetch(server, tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


@pytest.mark.parametrize("code", [503, 416])
def test_a_server_that_stays_busy_is_given_up(server: Server, tmp_path: Path, code: int) -> None:
    server.status = [code] * 20
    with pytest.raises(InputError, match=f"{code}.*0 of 1000000 bytes are there, run it again"):
        fetch(server, tmp_path / "file.zip")
    assert len(server.asked) == downloading.ATTEMPTS


def test_pauses_grow(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    server.status = [503] * 20
    with pytest.raises(InputError):
        fetch(server, tmp_path / "file.zip", pause=2.0)
    assert pauses == [2, 4, 8, 16]


def test_nobody_there_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/file.zip"
    with pytest.raises(InputError, match=r"the connection failed \(.*refused") as error:
        download(url, tmp_path / "file.zip", sha256=SHA256, size=1, pause=0.0)
    assert "\n" not in str(error.value)


def test_a_silent_server_is_one_line(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloading, "_SILENCE_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/file.zip"
        with pytest.raises(InputError, match="the server does not answer"):
            download(url, tmp_path / "file.zip", sha256=SHA256, size=1, pause=0.0)


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://example.org/file.zip", "leads to http://example.org/file.zip, which is not https"),
        ("ftp://127.0.0.1/file.zip", "which is not https"),
        ("file:///etc/passwd", "which is not https"),
        ("https://", "which is not https"),
        ("https://[bad", "leads to what is no address"),
        ("/file.zip", "from one address to the next without end"),
    ],
)
def test_a_redirect_to_an_unsafe_place_is_refused(
    server: Server, tmp_path: Path, location: str, reason: str
) -> None:
    server.location = location
    with pytest.raises(InputError, match=reason):
        fetch(server, tmp_path / "file.zip")
    assert left(tmp_path) == set()


def test_a_redirect_on_the_same_machine_is_followed(server: Server, tmp_path: Path) -> None:
    server.location = "/moved.zip"
    fetch(server, tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "url",
    ["http://example.org/a.zip", "ftp://example.org/a.zip", "a.zip", "http:///a", "file:///a"],
)
def test_only_https_is_asked(tmp_path: Path, url: str) -> None:
    with pytest.raises(InputError, match="not https; get the file by hand"):
        download(url, tmp_path / "a.zip", sha256=SHA256, size=1)


def test_an_answer_that_was_compressed_on_the_way_is_refused(
    server: Server, tmp_path: Path
) -> None:
    server.extra = {"Content-Encoding": "gzip"}
    with pytest.raises(InputError, match="sent compressed"):
        fetch(server, tmp_path / "file.zip")


def test_a_full_disk_is_said_before_it_is_full(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = shutil.disk_usage(tmp_path)._replace(free=999_999)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    with pytest.raises(InputError, match="999999 bytes free, 1000000 are needed"):
        fetch(server, tmp_path / "file.zip")
    assert not server.asked


def test_a_disk_that_fills_is_one_line_and_what_came_is_kept(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_open = Path.open

    class Full(io.FileIO):
        def write(self, piece: Any) -> int:
            if self.tell() + len(piece) > 500_000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(piece)

    def opened(path: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if path.suffix == ".part" and mode != "rb":
            return Full(path, "w" if mode == "wb" else mode.replace("b", ""))
        return real_open(path, mode, *arguments, **options)

    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(InputError, match=r"No space left on device.; free space and run it again"):
        fetch(server, tmp_path / "file.zip")
    monkeypatch.undo()
    assert (tmp_path / "file.zip.part").stat().st_size > 0
    fetch(server, tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


def test_an_unwritable_place_is_one_line(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        fetch(server, tmp_path / "file" / "deep" / "file.zip")


def test_two_processes_do_not_write_one_file(server: Server, tmp_path: Path) -> None:
    with (
        FileLock(tmp_path / ".file.zip.lock"),
        pytest.raises(InputError, match="another process is downloading it"),
    ):
        fetch(server, tmp_path / "file.zip")
    assert not server.asked


def test_the_lock_is_one_and_the_same_for_all_processes(server: Server, tmp_path: Path) -> None:
    fetch(server, tmp_path / "file.zip")
    first = (tmp_path / ".file.zip.lock").stat().st_ino
    with FileLock(tmp_path / ".file.zip.lock"):  # another process that was waiting
        (tmp_path / "file.zip").unlink()
        with pytest.raises(InputError, match="another process"):
            fetch(server, tmp_path / "file.zip")
    fetch(server, tmp_path / "file.zip")
    assert (tmp_path / ".file.zip.lock").stat().st_ino == first


def test_an_interruption_by_the_user_keeps_what_came(server: Server, tmp_path: Path) -> None:
    def stop(done: int) -> None:
        if done > 500_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(server.url, tmp_path / "file.zip", sha256=SHA256, size=len(CONTENT), progress=stop)
    there = (tmp_path / "file.zip.part").stat().st_size
    assert there > 500_000
    assert fetch(server, tmp_path / "file.zip")[0] == there
