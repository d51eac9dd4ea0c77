import os
import sqlite3

import numpy as np
import pandas as pd
import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.results import schema, store
from nas_skeleton.results.store import NewRows, ResultWriter, read_rows


def row(key="k", arch=1, seed=777, status=schema.DONE, **values):
    return {"key": key, "arch_index": arch, "seed": seed, "status": status, **values}


def test_what_is_written_is_read_back(tmp_path):
    writer = ResultWriter(tmp_path, "w")
    writer.append(
        row(final_valid_top1=1 / 3),
        '[{"epoch": 1}]',
        {"test": np.array([3, -1, 26], dtype=np.int16)},
    )
    rows = read_rows(tmp_path, blobs=True)
    assert rows.loc[0, "final_valid_top1"] == 1 / 3  # bit for bit
    assert rows.loc[0, "curve"] == '[{"epoch": 1}]'
    assert store.unpack_predictions(rows.loc[0, "test_predictions"]).tolist() == [3, -1, 26]
    assert store.unpack_predictions(rows.loc[0, "valid_predictions"]).tolist() == []
    assert list(read_rows(tmp_path).columns) == list(schema.COLUMNS)


def test_readers_see_the_union_of_all_workers(tmp_path):
    for arch in (5, 3, 9):
        ResultWriter(tmp_path, f"worker-{arch}").append(row(key=str(arch), arch=arch))
    assert read_rows(tmp_path)["arch_index"].tolist() == [3, 5, 9]
    assert len(list(tmp_path.glob("*.sqlite"))) == 3


def test_no_results_yet_is_an_empty_table(tmp_path):
    assert read_rows(tmp_path / "absent").empty
    assert list(read_rows(tmp_path).columns) == list(schema.COLUMNS)


@pytest.mark.parametrize("order", [0, 1])
def test_a_finished_row_is_kept_before_a_failed_one(tmp_path, order):
    statuses = [schema.DONE, schema.FAILED]
    for status in statuses[:: 1 if order else -1]:
        ResultWriter(tmp_path, status).append(row(status=status))
    assert read_rows(tmp_path)["status"].tolist() == [schema.DONE]


def test_damaged_file_is_named(tmp_path):
    ResultWriter(tmp_path, "w").append(row())
    (path,) = tmp_path.glob("*.sqlite")
    path.write_bytes(b"SQLite format 3\0" + b"garbage" * 1000)
    with pytest.raises(InputError, match=path.name):
        read_rows(tmp_path)


def test_file_of_another_version_is_named(tmp_path):
    ResultWriter(tmp_path, "w").append(row())
    (path,) = tmp_path.glob("*.sqlite")
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(InputError, match="schema 99"):
        read_rows(tmp_path)


def test_files_without_a_column_of_later_versions_are_read_beside_others(tmp_path, monkeypatch):
    older = {name: kind for name, kind in schema.COLUMNS.items() if name != "fallback"}
    with monkeypatch.context() as patch:
        patch.setattr(store, "COLUMNS", older)
        ResultWriter(tmp_path, "old").append(row(key="old", arch=1, engine="fast"))
    ResultWriter(tmp_path, "new").append(
        row(key="new", arch=2, engine="reference", fallback="fast: why")
    )
    rows = read_rows(tmp_path)
    assert list(rows.columns) == list(schema.COLUMNS)
    assert rows["engine"].tolist() == ["fast", "reference"]
    assert rows["fallback"].isna().tolist() == [True, False]
    assert rows["fallback"][1] == "fast: why"


def test_unwritable_folder_is_one_line(tmp_path):
    (tmp_path / "results").write_text("a file where the folder should be")
    with pytest.raises((InputError, OSError), match="results"):
        ResultWriter(tmp_path / "results", "w").append(row())


def test_some_rows_are_written_together_or_not_at_all(tmp_path):
    writer = ResultWriter(tmp_path, "w")
    good, bad = (row(key="1"), "[]", {}), ({**row(key="2"), "nonsense": 3}, "[]", {})
    with pytest.raises(InputError, match="nonsense"):
        writer.append_all([good, bad])
    assert read_rows(tmp_path).empty
    writer.append_all([good, (row(key="2"), "[]", {})])
    assert read_rows(tmp_path)["key"].tolist() == ["1", "2"]


def test_a_writer_that_is_opened_again_goes_on(tmp_path):
    for n in range(3):
        writer = ResultWriter(tmp_path, "w")
        writer.append(row(key=str(n), arch=n))
        writer.close()
    assert read_rows(tmp_path)["arch_index"].tolist() == [0, 1, 2]


def test_columns_and_rows_can_be_chosen(tmp_path):
    for n in range(4):
        ResultWriter(tmp_path, f"w{n}").append(row(key=str(n), arch=n, fingerprint=str(n % 2)))
    rows = read_rows(tmp_path, ["arch_index", store.FILE, store.ROW], only={"fingerprint": "1"})
    assert list(rows.columns) == ["arch_index", store.FILE, store.ROW]
    assert rows.values.tolist() == [[1, "w1.sqlite", 1], [3, "w3.sqlite", 1]]
    assert read_rows(tmp_path, ["seed"], only={"fingerprint": "2"}).empty


def test_all_rows_of_a_training_can_be_had(tmp_path):
    for name in ("a", "b"):
        ResultWriter(tmp_path, name).append(row(key="same"))
    assert len(read_rows(tmp_path)) == 1
    every = read_rows(tmp_path, every=True)
    assert len(every) == 2
    assert len(store.one_per_key(every)) == 1


def test_a_row_that_failed_late_does_not_hide_a_finished_one_of_its_own_worker(tmp_path):
    writer = ResultWriter(tmp_path, "w")
    writer.append(row())
    writer.append(row(status=schema.FAILED))
    assert read_rows(tmp_path)["status"].tolist() == [schema.DONE]


@pytest.mark.parametrize("page", [1, 2, 7, 100])
def test_pages_and_batches_make_no_difference(tmp_path, monkeypatch, page):
    for name in ("a", "b", "c"):
        writer = ResultWriter(tmp_path, name)
        for n in range(5):
            arch = 10 * n + ord(name)
            writer.append(row(key=name + str(n), arch=arch), f'[{{"epoch": {arch}}}]')
    expected = read_rows(tmp_path, blobs=True)
    monkeypatch.setattr(store, "_PAGE", page)
    pd.testing.assert_frame_equal(read_rows(tmp_path, blobs=True), expected)
    located = read_rows(tmp_path, ["arch_index", store.FILE, store.ROW])
    batches = list(store.read_details(tmp_path, located, batch=page))
    assert max(len(rows) for rows, _ in batches) <= page
    curves = [curve for _, details in batches for curve, *_ in details]
    assert curves == [f'[{{"epoch": {arch}}}]' for arch in located["arch_index"]]


def test_details_of_a_row_that_is_gone_are_missed(tmp_path):
    ResultWriter(tmp_path, "w").append(row())
    located = read_rows(tmp_path, ["key", store.FILE, store.ROW])
    (tmp_path / "w.sqlite").unlink()
    with pytest.raises(InputError, match=r"w\.sqlite: training 1 is gone"):
        list(store.read_details(tmp_path, located))


def test_damaged_details_are_named(tmp_path):
    ResultWriter(tmp_path, "w").append(row(), '[{"epoch": 1}]')
    with sqlite3.connect(tmp_path / "w.sqlite") as connection:
        connection.execute("UPDATE details SET curve = x'0102'")
    connection.close()
    assert len(read_rows(tmp_path)) == 1
    with pytest.raises(InputError, match=r"w\.sqlite: damaged"):
        read_rows(tmp_path, blobs=True)


# --- rows as they come


def test_new_rows_are_told_once_whatever_file_they_come_in(tmp_path):
    folder = tmp_path / "results"
    new = NewRows(folder, ["key", "final_valid_top1"])
    assert new.read() == []  # not even a folder
    first, second = ResultWriter(folder, "a"), ResultWriter(folder, "b")
    first.append(row(key="1", final_valid_top1=0.5))
    assert new.read() == [{"key": "1", "final_valid_top1": 0.5}]
    assert new.read() == []
    second.append(row(key="2"))
    first.append(row(key="3"))
    assert [found["key"] for found in new.read()] == ["3", "2"]
    second.append(row(key="2", status=schema.FAILED))  # again
    assert [found["key"] for found in new.read()] == ["2"]
    (folder / "empty.sqlite").touch()
    (folder / "a.sqlite").unlink()
    assert new.read() == []


def test_rows_committed_within_one_tick_of_the_clock_are_told(tmp_path):
    writer, new = ResultWriter(tmp_path, "w"), NewRows(tmp_path, ["key"])
    writer.append(row(key="1"))
    times = writer.path.stat().st_atime_ns, writer.path.stat().st_mtime_ns
    size = writer.path.stat().st_size
    assert len(new.read()) == 1
    writer.append(row(key="2"))
    os.utime(writer.path, ns=times)
    assert writer.path.stat().st_size == size
    assert len(new.read()) == 1


def test_files_that_did_not_change_are_not_asked_again(tmp_path, monkeypatch):
    for n in range(3):
        ResultWriter(tmp_path, f"w{n}").append(row(key=str(n)))
    new = NewRows(tmp_path, ["key"])
    assert len(new.read()) == 3
    monkeypatch.setattr(store.file, "read", lambda *_: pytest.fail("asked again"))
    assert new.read() == []


def test_another_file_of_the_same_name_is_read_from_its_beginning(tmp_path):
    new = NewRows(tmp_path, ["key"])
    for key in ("1", "2"):
        ResultWriter(tmp_path / f"of {key}", "w").append(row(key=key))
    for key in ("1", "2"):
        (tmp_path / f"of {key}/w.sqlite").replace(tmp_path / "w.sqlite")
        assert new.read() == [{"key": key}]


def test_new_rows_name_a_damaged_file(tmp_path):
    (tmp_path / "bad.sqlite").write_bytes(b"SQLite format 3\0" + b"garbage" * 1000)
    with pytest.raises(InputError, match=r"bad\.sqlite"):
        NewRows(tmp_path, ["key"]).read()
