"""Arrays that are computed once, kept on the disk and shared."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nas_skeleton.skeletons import keeping
from nas_skeleton.skeletons.keeping import Part, kept

VALUES = np.arange(24, dtype=np.float32).reshape(4, 6)
FLAGS = VALUES[:, :2] % 3 == 0
PARTS = [Part("f32", np.dtype("<f4"), (4, 6)), Part("u8", np.dtype("u1"), (4, 2))]


class Blocks:
    """Row by row; counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        self.asked += 1
        for row, flags in zip(VALUES, FLAGS, strict=True):
            yield row, flags.astype(np.uint8)


def check(arrays: list[np.ndarray]) -> None:
    np.testing.assert_array_equal(arrays[0], VALUES)
    np.testing.assert_array_equal(arrays[1], FLAGS)
    assert [array.dtype for array in arrays] == [np.float32, np.uint8]


def test_what_was_computed_is_used_again(tmp_path: Path) -> None:
    blocks = Blocks()
    check(kept(tmp_path / "new", "key", PARTS, blocks))
    check(kept(tmp_path / "new", "key", PARTS, blocks))
    assert blocks.asked == 1
    assert sorted(path.name for path in (tmp_path / "new").glob("key.*")) == [
        "key.f32",
        "key.f32.sha256",
        "key.u8",
        "key.u8.sha256",
    ]
    check(kept(tmp_path / "new", "other", PARTS, blocks))
    assert blocks.asked == 2


@pytest.mark.parametrize("name", ["key.f32", "key.u8", "key.f32.sha256"])
def test_what_was_damaged_is_computed_again(tmp_path: Path, name: str) -> None:
    blocks = Blocks()
    kept(tmp_path, "key", PARTS, blocks)
    content = bytearray((tmp_path / name).read_bytes())
    content[5] ^= 1
    (tmp_path / name).write_bytes(content)
    check(kept(tmp_path, "key", PARTS, blocks))
    check(kept(tmp_path, "key", PARTS, blocks))
    assert blocks.asked == 2


def test_what_is_large_is_compared_by_who_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "VERIFIED_BYTES", VALUES.nbytes - 1)
    blocks = Blocks()
    kept(tmp_path, "key", PARTS, blocks)
    content = bytearray((tmp_path / "key.f32").read_bytes())
    content[5] ^= 1
    (tmp_path / "key.f32").write_bytes(content)
    assert kept(tmp_path, "key", PARTS, blocks)[0][0, 1] != VALUES[0, 1]
    assert blocks.asked == 1
    check(kept(tmp_path, "key", PARTS, blocks, verify=True))
    check(kept(tmp_path, "key", PARTS, blocks))
    assert blocks.asked == 2
    (tmp_path / "key.f32.sha256").unlink()  # not finished, for all one knows
    check(kept(tmp_path, "key", PARTS, blocks))
    assert blocks.asked == 3


def test_what_is_written_to_the_array_does_not_reach_the_disk(tmp_path: Path) -> None:
    kept(tmp_path, "key", PARTS, Blocks())[0][:] = 5
    check(kept(tmp_path, "key", PARTS, Blocks()))


def test_more_than_the_system_promises_is_read_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memmap = np.memmap

    def strict(path: Path, mode: str, **options: object) -> np.memmap:
        if mode == "c":
            raise OSError(12, "Cannot allocate memory")
        return memmap(path, mode=mode, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(np, "memmap", strict)
    arrays = kept(tmp_path, "key", PARTS, Blocks())
    check(arrays)
    assert not arrays[0].flags.writeable


@pytest.mark.parametrize("damage", ["shorter", "gone"])
def test_a_file_that_is_not_whole_is_made_again(tmp_path: Path, damage: str) -> None:
    kept(tmp_path, "key", PARTS, Blocks())
    if damage == "gone":
        (tmp_path / "key.u8").unlink()
    else:
        os.truncate(tmp_path / "key.f32", 40)
    blocks = Blocks()
    check(kept(tmp_path, "key", PARTS, blocks))
    assert blocks.asked == 1


def test_who_fails_in_the_middle_leaves_nothing_behind(tmp_path: Path) -> None:
    def failing() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        yield VALUES[0], FLAGS[0]
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        kept(tmp_path, "key", PARTS, failing)
    assert [path.name for path in tmp_path.iterdir() if path.name != ".lock"] == []
    check(kept(tmp_path, "key", PARTS, Blocks()))


def test_what_cannot_be_read_is_not_blamed_on_what_is_written(tmp_path: Path) -> None:
    def failing() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        yield VALUES[0], FLAGS[0]
        raise OSError(5, "Input/output error", "the store")

    said: list[str] = []
    with pytest.raises(OSError, match="the store"):
        kept(tmp_path, "key", PARTS, failing, said.append)
    assert not said
    assert [path.name for path in tmp_path.iterdir() if path.name != ".lock"] == []


def test_what_killed_processes_left_goes_after_a_day(tmp_path: Path) -> None:
    for name, hours in (("old", 25), ("new", 1)):
        (tmp_path / f".unfinished-{name}").mkdir()
        then = time.time() - hours * 3600
        os.utime(tmp_path / f".unfinished-{name}", (then, then))
    kept(tmp_path, "key", PARTS, Blocks())
    assert [path.name for path in tmp_path.glob(".unfinished-*")] == [".unfinished-new"]


def test_a_folder_that_cannot_be_written_is_said_and_does_without(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said: list[str] = []
    check(kept(tmp_path / "file" / "encoded", "key", PARTS, Blocks(), said.append))
    assert len(said) == 1
    assert said[0].startswith("network inputs stay in memory, 0 MB in every process: ")
    assert str(tmp_path / "file" / "encoded") in said[0]
    check(kept(tmp_path / "file" / "encoded", "key", PARTS, Blocks()))


def test_a_full_disk_is_said_and_does_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    said: list[str] = []
    check(kept(tmp_path, "key", PARTS, Blocks(), said.append))
    assert said[0].endswith("(No space left on device)")
    assert not list(tmp_path.glob(".unfinished-*"))


def test_those_who_come_meanwhile_wait_instead_of_computing(tmp_path: Path) -> None:
    blocks = Blocks()

    def slow() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        time.sleep(0.2)
        yield from blocks()

    results: list[list[np.ndarray]] = []
    threads = [
        threading.Thread(target=lambda: results.append(kept(tmp_path, "key", PARTS, slow)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert blocks.asked == 1
    for arrays in results:
        check(arrays)
