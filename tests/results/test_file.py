"""One results file: what a reader sees while somebody writes it, and after somebody died."""

import contextlib
import errno
import shutil
import sqlite3
import struct

import numpy as np
import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.results import file, schema
from nas_skeleton.results.store import NewRows, ResultWriter, read_rows


def row(n, **values):
    return {"key": str(n), "arch_index": n, "seed": 777, "status": schema.DONE, **values}


def numbers(opened):
    return [arch for _, arch in opened.select(["arch_index"])]


@pytest.fixture
def writer(tmp_path):
    """The writer of a file with trainings 1 to 40."""
    writer = ResultWriter(tmp_path, "w")
    writer.append_all([(row(n), '[{"epoch": 1}]', {}) for n in range(1, 41)])
    yield writer
    writer.close()


@contextlib.contextmanager
def commit_under_way(path):
    """Somebody is in the middle of a commit to `path`: its pages are written, its journal too."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = TRUNCATE")
    connection.execute("PRAGMA cache_size = 1")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE trainings SET status = 'half', arch_index = -1")
    connection.execute("CREATE TABLE filler AS SELECT randomblob(100000)")  # spills the cache
    try:
        assert journal_of(path).stat().st_size > 0
        assert b"half" in path.read_bytes()
        yield connection
    finally:
        connection.close()


def journal_of(path):
    return path.with_name(f"{path.name}-journal")


def test_a_commit_that_comes_between_makes_the_reader_read_again(writer):
    asked = []

    def query(opened):
        asked.append(numbers(opened))
        if len(asked) == 1:
            writer.append(row(41))  # which no reader holds up
        return asked[-1]

    assert file.read(writer.path, query) == list(range(1, 42))
    assert len(asked) == 2


def test_of_a_commit_under_way_nothing_is_seen_and_nothing_is_touched(writer):
    new = NewRows(writer.path.parent, ["arch_index", "status"])
    with commit_under_way(writer.path) as connection:
        before = writer.path.read_bytes(), journal_of(writer.path).read_bytes()
        assert file.read(writer.path, numbers) == list(range(1, 41))
        rows = read_rows(writer.path.parent, blobs=True)
        assert set(rows["status"]) == {schema.DONE}
        assert set(rows["curve"]) == {'[{"epoch": 1}]'}
        assert {found["status"] for found in new.read()} == {schema.DONE}
        assert (writer.path.read_bytes(), journal_of(writer.path).read_bytes()) == before
        connection.execute("COMMIT")
    assert set(file.read(writer.path, numbers)) == {-1}


def test_a_commit_that_ends_while_somebody_reads_makes_the_reader_read_again(writer, monkeypatch):
    # All pages are written by then, the counter of commits among them: only the journal tells.
    journals, asked = [(1,)], []
    monkeypatch.setattr(file, "journal", lambda _: journals.pop() if journals else ())
    assert file.read(writer.path, lambda opened: asked.append(0) or numbers(opened))
    assert asked == [0]
    assert not journals


def test_a_commit_that_ends_without_a_further_change_of_the_file_is_not_missed(writer, monkeypatch):
    new = NewRows(writer.path.parent, ["arch_index"])
    with monkeypatch.context() as under_way:
        under_way.setattr(file, "journal", lambda _: (1,))
        assert len(new.read()) == 40
    asked = []
    read = file.read
    monkeypatch.setattr(file, "read", lambda *what: asked.append(0) or read(*what))
    assert new.read() == new.read() == []
    assert asked == [0]


def test_what_a_writer_left_that_died_in_a_commit_is_rolled_back_by_readers_and_by_itself(
    writer, tmp_path
):
    (tmp_path / "dead").mkdir()
    dead = tmp_path / "dead/w.sqlite"
    with commit_under_way(writer.path):
        shutil.copy(writer.path, dead)
        shutil.copy(journal_of(writer.path), journal_of(dead))
    before = dead.read_bytes()
    assert file.read(dead, numbers) == list(range(1, 41))
    assert dead.read_bytes() == before
    ResultWriter(dead.parent, "w").append(row(41))
    assert file.read(dead, numbers) == list(range(1, 42))
    assert journal_of(dead).stat().st_size == 0


def test_a_reader_that_finds_no_quiet_moment_shuts_the_writer_out(writer, monkeypatch):
    states = iter(range(10**6))
    monkeypatch.setattr(file, "state", lambda _: next(states))  # as if it committed all the time
    assert file.read(writer.path, numbers) == list(range(1, 41))


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0"[:7]])
def test_a_file_that_is_only_begun_holds_nothing(tmp_path, content):
    path = tmp_path / "w.sqlite"
    path.write_bytes(content)
    if content:
        with pytest.raises(InputError, match="damaged"):
            file.read(path, numbers)
        return
    assert file.read(path, numbers) is None
    assert read_rows(tmp_path).empty


def test_readers_need_no_permission_to_write(writer, tmp_path):
    writer.path.chmod(0o444)
    tmp_path.chmod(0o555)
    try:
        assert file.read(writer.path, numbers) == list(range(1, 41))
    finally:
        tmp_path.chmod(0o755)
    assert {path.name for path in tmp_path.iterdir()} == {"w.sqlite", "w.sqlite-journal"}


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS])
def test_without_locks_the_writer_goes_on(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, "no locks here")

    monkeypatch.setattr(file.fcntl, "lockf", refuse)
    opened = []
    connect = sqlite3.connect
    monkeypatch.setattr(
        sqlite3, "connect", lambda name, **how: opened.append(name) or connect(name, **how)
    )
    writer = ResultWriter(tmp_path, "w")
    writer.append(row(1))
    assert opened[0].endswith("&nolock=1")
    assert file.read(writer.path, numbers) == [1]


def test_a_writer_locks_against_other_programs(writer):
    other = sqlite3.connect(writer.path, timeout=0, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with contextlib.closing(file.open_for_writing(writer.path)) as connection:
        connection.execute("PRAGMA busy_timeout = 10")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            file.insert(connection, [(row(41), {})])
    other.close()


def test_a_commit_survives_a_power_loss_by_its_settings(writer):
    with contextlib.closing(file.open_for_writing(writer.path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("truncate",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


# --- files of the first version


def write_schema_1(path, *rows):
    columns = [f"{name} {kind}" for name, kind in schema.COLUMNS.items()]
    columns += ["curve TEXT", "valid_predictions BLOB", "test_predictions BLOB"]
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        if connection.execute("PRAGMA user_version").fetchone() == (0,):
            connection.execute(f"CREATE TABLE trainings ({', '.join(columns)}, PRIMARY KEY (key))")
            connection.execute("PRAGMA user_version = 1")
        for values in rows:
            connection.execute(
                f"INSERT OR REPLACE INTO trainings ({', '.join(values)}) "
                f"VALUES ({', '.join('?' * len(values))})",
                list(values.values()),
            )


def old_row(n, **values):
    predictions = {"test_predictions": np.array([n, -1], dtype="<i2").tobytes()}
    return {**row(n), "curve": f'[{{"epoch": {n}}}]', **predictions, **values}


def test_files_of_the_first_version_are_read_beside_others(tmp_path):
    write_schema_1(tmp_path / "old.sqlite", old_row(1), old_row(3))
    ResultWriter(tmp_path, "new").append(
        row(2), '[{"epoch": 2}]', {"test": np.array([2, -1], dtype=np.int16)}
    )
    rows = read_rows(tmp_path, blobs=True)
    assert rows["arch_index"].tolist() == [1, 2, 3]
    assert rows["curve"].tolist() == [f'[{{"epoch": {n}}}]' for n in (1, 2, 3)]
    expected = [np.array([n, -1], dtype="<i2").tobytes() for n in (1, 2, 3)]
    assert rows["test_predictions"].tolist() == expected
    assert rows["valid_predictions"].tolist() == [b"", b"", b""]


def test_a_replaced_row_is_new(tmp_path):
    new = NewRows(tmp_path, ["key", "status"])
    failed = schema.FAILED
    write_schema_1(tmp_path / "w.sqlite", old_row(1, status=failed), old_row(2, status=failed))
    assert len(new.read()) == 2
    write_schema_1(tmp_path / "w.sqlite", old_row(2))  # the last one, whose row id is free again
    assert new.read() == [{"key": "2", "status": schema.DONE}]
    write_schema_1(tmp_path / "w.sqlite", old_row(1), old_row(3))
    assert [found["key"] for found in new.read()] == ["1", "3"]


def test_a_file_of_the_first_version_is_not_continued(tmp_path):
    write_schema_1(tmp_path / "w.sqlite", old_row(1))
    with pytest.raises(InputError, match="schema 1 cannot be continued"):
        ResultWriter(tmp_path, "w").append(row(2))


def test_a_hostile_journal_removes_nothing(writer, tmp_path):
    """SQLite removes the file that a journal names as its super-journal, once it is rolled back."""
    precious = tmp_path / "precious.txt"
    precious.write_text("the only copy")
    hostile = tmp_path / "hostile.sqlite"
    name = str(precious).encode()
    end = struct.pack(">I", 2**30 // 4096 + 1) + name + struct.pack(">II", len(name), sum(name))
    end += bytes.fromhex("d9d505f920a163d7")
    with commit_under_way(writer.path):
        shutil.copy(writer.path, hostile)
        journal_of(hostile).write_bytes(journal_of(writer.path).read_bytes() + end)
    assert file.read(hostile, numbers) == list(range(1, 41))
    assert precious.read_text() == "the only copy"


def test_what_a_dead_writer_left_is_looked_at_once(writer, tmp_path, monkeypatch):
    rows = NewRows(tmp_path, ["arch_index"])
    with commit_under_way(writer.path) as connection:
        assert len(rows.read()) == 40
        with monkeypatch.context() as patch:
            patch.setattr(file, "read", pytest.fail)
            assert rows.read() == []
        connection.execute("UPDATE trainings SET arch_index = id")
        connection.execute("COMMIT")
    writer.append(row(41))
    assert [new["arch_index"] for new in rows.read()] == [41]
