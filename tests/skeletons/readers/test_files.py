"""Files from folders and zips: all of them found, none of them trusted."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.readers.files import Files, made_here, open_archive, open_files

MOST = 1000
CLIPS = {"b.dat": b"two", "a.dat": b"one", "deep/er/c.DAT": b"three"}
WHOLE = {"a.dat": b"one", "b.dat": b"two", "deep/er/c.DAT": b"three"}


def zipped(path: Path, members: dict[str, bytes], **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def find(raw: Path, most: int = MOST) -> Files:
    return open_files(raw, (".dat",), most)


def content_of(files: Files) -> dict[str, bytes | str]:
    """What is in every file, or why it cannot be read."""
    content: dict[str, bytes | str] = {}
    for name in files.names:
        try:
            content[name] = files.read(name)
        except InputError as error:
            content[name] = str(error)
    assert not any("\n" in reason for reason in content.values() if isinstance(reason, str))
    return content


def test_a_folder_and_a_zip_give_the_same_files_in_the_same_order(tmp_path: Path) -> None:
    for raw in (zipped(tmp_path / "x.zip", CLIPS), folder(tmp_path / "raw", CLIPS)):
        files = find(raw)
        assert files.names == tuple(sorted(WHOLE))
        assert content_of(files) == WHOLE


def test_one_file_is_enough(tmp_path: Path) -> None:
    folder(tmp_path, CLIPS)
    assert content_of(find(tmp_path / "a.dat")) == {"a.dat": b"one"}


def test_a_folder_may_hold_several_zips_and_loose_files(tmp_path: Path) -> None:
    zipped(tmp_path / "s001_to_s017.zip", {"ntu/a.dat": b"one"})
    zipped(tmp_path / "more" / "s018_to_s032.ZIP", {"a.dat": b"two"})
    folder(tmp_path, {"more/a.dat": b"three", "notes.txt": b""})
    assert content_of(find(tmp_path)) == {
        "more/a.dat": b"three",
        "more/s018_to_s032.ZIP/a.dat": b"two",
        "s001_to_s017.zip/ntu/a.dat": b"one",
    }


def test_what_macos_leaves_is_passed_over(tmp_path: Path) -> None:
    junk = {"._a.dat": b"", "__MACOSX/a.dat": b"", "x/__MACOSX/._a.dat": b"", "._x.zip": b""}
    for raw in (zipped(tmp_path / "x.zip", CLIPS | junk), folder(tmp_path / "raw", CLIPS | junk)):
        assert content_of(find(raw)) == WHOLE


def test_what_this_program_made_beside_raw_data_is_none(tmp_path: Path) -> None:
    made = {
        "prepared/clips.f32": b"",
        "prepared/a.dat": b"store",
        "encoded/0f.a.dat": b"inputs",
        ".preparing/a.dat": b"unfinished",
        "deep/.ipynb_checkpoints/c.dat": b"copy",
    }
    raw = folder(tmp_path / "raw", CLIPS | made)
    assert content_of(find(raw)) == WHOLE
    (raw / "prepared").rename(tmp_path / "large disk")
    (raw / "prepared").symlink_to(tmp_path / "large disk")
    assert content_of(find(raw)) == WHOLE
    assert made_here(raw / "prepared")
    assert made_here(raw / "encoded")
    assert not made_here(raw / "deep")


def test_folders_that_are_only_called_so_are_raw_data(tmp_path: Path) -> None:
    files = {"prepared/a.dat": b"one", "encoded/b.dat": b"two", "x.y/c.dat": b"three"}
    for raw in (zipped(tmp_path / "x.zip", files), folder(tmp_path / "raw", files)):
        assert content_of(find(raw)) == files


def test_hidden_folders_of_a_zip_are_passed_over_as_those_of_a_folder_are(tmp_path: Path) -> None:
    hidden = {".git/a.dat": b"", "x/.cache/deep/a.dat": b""}
    assert content_of(find(zipped(tmp_path / "x.zip", CLIPS | hidden))) == WHOLE
    assert content_of(find(zipped(tmp_path / "y.zip", {"./a.dat": b"one"}))) == {"./a.dat": b"one"}


def test_names_in_any_script_work_and_unprintable_ones_are_escaped(tmp_path: Path) -> None:
    members = {"körper/人.dat": b"one", "a\nb.dat": b"two", "\u202eright.dat": b"three"}
    shown = {"körper/人.dat": b"one", "a\\nb.dat": b"two", "\\u202eright.dat": b"three"}
    for raw in (zipped(tmp_path / "x.zip", members), folder(tmp_path / "raw", members)):
        assert content_of(find(raw)) == shown


def test_a_name_that_is_no_unicode_is_escaped(tmp_path: Path) -> None:
    place = os.fsencode(folder(tmp_path / "raw", {"a.dat": b""}).resolve()) + b"/\xff.dat"
    with open(place, "wb") as file:  # noqa: PTH123 - a path of bytes
        file.write(b"one")
    assert content_of(find(tmp_path / "raw"))["\\udcff.dat"] == b"one"


@pytest.mark.parametrize(
    "name", ["../a.dat", "x/../../a.dat", "/etc/a.dat", "C:/a.dat", "C:\\a.dat", "..\\a.dat"]
)
def test_a_member_that_leaves_the_archive_is_reported_and_not_read(
    tmp_path: Path, name: str
) -> None:
    found = content_of(find(zipped(tmp_path / "x.zip", {name: b"evil", "good.dat": b"good"})))
    assert found.pop("good.dat") == b"good"
    assert [str(reason)[:26] for reason in found.values()] == ["its path leaves the archiv"]


def test_links_out_of_the_folder_are_reported_and_not_followed(tmp_path: Path) -> None:
    raw = folder(tmp_path / "raw", {"a.dat": b"one"})
    folder(tmp_path / "outside", {"secret.dat": b"secret"})
    zipped(tmp_path / "outside.zip", {"secret.dat": b"secret"})
    (raw / "inside.dat").symlink_to(raw / "a.dat")
    (raw / "out.dat").symlink_to(tmp_path / "outside" / "secret.dat")
    (raw / "out.zip").symlink_to(tmp_path / "outside.zip")
    (raw / "linked").symlink_to(tmp_path / "outside")
    (raw / "gone.dat").symlink_to(raw / "nowhere")
    (raw / "round.dat").symlink_to(raw / "round.dat")
    found = content_of(find(raw))
    assert (found.pop("a.dat"), found.pop("inside.dat")) == (b"one", b"one")
    assert "leaves the folder" in str(found.pop("out.dat"))
    assert "leaves the folder" in str(found.pop("out.zip"))
    assert "linked folder" in str(found.pop("linked"))
    assert "leads nowhere" in str(found.pop("gone.dat"))
    assert "leads nowhere" in str(found.pop("round.dat"))
    assert not found


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    folder(tmp_path / "raw", CLIPS)
    (tmp_path / "link").symlink_to(tmp_path / "raw")
    assert content_of(find(tmp_path / "link")) == WHOLE


def test_a_link_in_a_zip_is_not_followed(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.dat")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert "a link" in str(content_of(find(tmp_path / "x.zip"))["link.dat"])


def test_a_pipe_in_place_of_a_file_is_reported(tmp_path: Path) -> None:
    os.mkfifo(folder(tmp_path / "raw", CLIPS) / "pipe.dat")
    assert content_of(find(tmp_path / "raw")) == WHOLE | {"pipe.dat": "not a regular file"}


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_reported(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for content in (b"one", b"two"):
            archive.writestr("a.dat", content)
    assert "two files of this name" in str(content_of(find(tmp_path / "x.zip"))["a.dat"])


def test_a_file_above_the_limit_is_refused(tmp_path: Path) -> None:
    bomb = {"a.dat": bytes(MOST + 1), "b.dat": bytes(MOST)}
    for raw in (zipped(tmp_path / "x.zip", bomb), folder(tmp_path / "raw", bomb)):
        assert content_of(find(raw)) == {
            "a.dat": "1001 bytes, more than the 1000 such a file may have",
            "b.dat": bytes(MOST),
        }


def test_a_reader_may_know_what_to_do_about_a_large_file(tmp_path: Path) -> None:
    bomb = zipped(tmp_path / "x.zip", {"a.dat": bytes(MOST + 1)})
    found = open_files(bomb, (".dat",), MOST, if_larger="cut it")
    assert str(content_of(found)["a.dat"]).endswith("such a file may have; cut it")


def test_a_member_larger_than_it_says_is_refused(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "x.zip", {"a.dat": bytes(100_000)})
    honest = struct.pack("<L", 100_000)
    content = archive.read_bytes()
    assert content.count(honest) == 2
    archive.write_bytes(content.replace(honest, struct.pack("<L", 900)))
    assert isinstance(content_of(find(archive))["a.dat"], str)


def test_a_member_without_a_name_is_passed_over(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "x.zip", WHOLE | {"x.dat": b"", "folder.dat/": b""})
    archive.write_bytes(archive.read_bytes().replace(b"x.dat", b"\0.dat"))
    assert content_of(find(archive)) == WHOLE


def test_an_encrypted_member_is_reported(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "x.zip", WHOLE)
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the flag in the directory
    archive.write_bytes(content)
    found = content_of(find(archive))
    assert str(found["a.dat"]).startswith("encrypted; unpack the zip")
    assert found["b.dat"] == b"two"


def test_a_member_that_would_unpack_without_limit_is_reported(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("a.dat", b"one")
    assert "rare method" in str(content_of(find(tmp_path / "x.zip"))["a.dat"])


def test_a_flipped_bit_in_a_member_is_reported_for_it_alone(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "x.zip", WHOLE | {"b.dat": bytes(range(200))})
    content = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as opened:
        member = opened.getinfo("b.dat")
    content[member.header_offset + 30 + len(member.filename) + member.compress_size // 2] ^= 1
    archive.write_bytes(content)
    found = content_of(find(archive))
    assert str(found.pop("b.dat")).startswith("cannot be unpacked (")
    assert found == {"a.dat": b"one", "deep/er/c.DAT": b"three"}


def test_a_damaged_zip_among_others_is_reported_in_its_place(tmp_path: Path) -> None:
    folder(tmp_path, {"bad.zip": b"PK\x03\x04", "a.dat": b"one"})
    found = content_of(find(tmp_path))
    assert found["a.dat"] == b"one"
    assert "download it again" in str(found["bad.zip"])


@pytest.mark.parametrize("keep", [0, 1, 100, -30, -1])
def test_a_truncated_zip_is_one_line(tmp_path: Path, keep: int) -> None:
    archive = zipped(tmp_path / "x.zip", WHOLE)
    archive.write_bytes(archive.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"x\.zip: not a zip file, or a truncated one") as error:
        find(archive)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("files", [{}, {"a.txt": b""}, {"dat": b""}])
def test_nothing_to_read_is_one_line_that_says_what_was_looked_for(
    tmp_path: Path, files: dict[str, bytes]
) -> None:
    (tmp_path / "raw").mkdir()
    for raw in (folder(tmp_path / "raw", files), zipped(tmp_path / "x.zip", files)):
        with pytest.raises(InputError, match=r"(raw|x\.zip): no \*\.dat in it"):
            find(raw)


def test_what_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere: cannot be read \(No such file"):
        find(tmp_path / "nowhere")


def test_a_zip_in_memory_is_read_alike(tmp_path: Path) -> None:
    content = zipped(tmp_path / "x.zip", CLIPS).read_bytes()
    assert content_of(open_archive(content, (".dat",), MOST)) == WHOLE
    with pytest.raises(InputError, match=r"^not a zip file"):
        open_archive(content[:-1], (".dat",), MOST)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_no_damage_to_a_zip_gives_anything_but_bytes_or_one_line(tmp_path: Path, data: Any) -> None:
    content = bytearray(zipped(tmp_path / "whole.zip", WHOLE).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    damaged = tmp_path / "damaged.zip"
    damaged.write_bytes(content[: data.draw(st.just(len(content)) | st.integers(0, len(content)))])
    try:
        found = content_of(find(damaged))
    except InputError as error:
        fault = str(error)
    else:
        fault = "damaged.zip"
        # what is read at all is right: every member has a checksum
        read = {content for content in found.values() if isinstance(content, bytes)}
        assert read <= set(WHOLE.values())
    assert "damaged.zip" in fault
    assert "\n" not in fault
