import signal
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.results import schema, store
from nas_skeleton.results.store import ResultWriter, read_rows


def row(key="k", arch=1, seed=777, status=schema.DONE, **values):
    return {"key": key, "arch_index": arch, "seed": seed, "status": status, **values}


def test_what_is_written_is_read_back(tmp_path):
    writer = ResultWriter(tmp_path)
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
        ResultWriter(tmp_path).append(row(key=str(arch), arch=arch))
    assert read_rows(tmp_path)["arch_index"].tolist() == [3, 5, 9]
    assert len(list(tmp_path.glob("*.sqlite"))) == 3


def test_no_results_yet_is_an_empty_table(tmp_path):
    assert read_rows(tmp_path / "absent").empty
    assert list(read_rows(tmp_path).columns) == list(schema.COLUMNS)


@pytest.mark.parametrize("order", [0, 1])
def test_a_finished_row_is_kept_before_a_failed_one(tmp_path, order):
    statuses = [schema.DONE, schema.FAILED]
    for status in statuses[:: 1 if order else -1]:
        ResultWriter(tmp_path).append(row(status=status))
    assert read_rows(tmp_path)["status"].tolist() == [schema.DONE]


def test_damaged_file_is_named(tmp_path):
    ResultWriter(tmp_path).append(row())
    (path,) = tmp_path.glob("*.sqlite")
    path.write_bytes(b"SQLite format 3\0" + b"garbage" * 1000)
    with pytest.raises(InputError, match=path.name):
        read_rows(tmp_path)


def test_file_of_another_version_is_named(tmp_path):
    ResultWriter(tmp_path).append(row())
    (path,) = tmp_path.glob("*.sqlite")
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(InputError, match="schema 99"):
        read_rows(tmp_path)


def test_files_without_a_column_of_later_versions_are_read_beside_others(tmp_path, monkeypatch):
    older = {name: kind for name, kind in schema.COLUMNS.items() if name != "fallback"}
    with monkeypatch.context() as patch:
        patch.setattr(store, "COLUMNS", older)
        ResultWriter(tmp_path).append(row(key="old", arch=1, engine="fast"))
    ResultWriter(tmp_path).append(row(key="new", arch=2, engine="reference", fallback="fast: why"))
    rows = read_rows(tmp_path)
    assert list(rows.columns) == list(schema.COLUMNS)
    assert rows["engine"].tolist() == ["fast", "reference"]
    assert rows["fallback"].isna().tolist() == [True, False]
    assert rows["fallback"][1] == "fast: why"


def test_unwritable_folder_is_one_line(tmp_path):
    (tmp_path / "results").write_text("a file where the folder should be")
    with pytest.raises((InputError, OSError), match="results"):
        ResultWriter(tmp_path / "results").append(row())


APPEND_FOREVER = """
import sys
from pathlib import Path
from nas_skeleton.results.store import ResultWriter
writer = ResultWriter(Path(sys.argv[1]))
n = 0
while True:
    n += 1
    writer.append({"key": str(n), "arch_index": n, "seed": n, "status": "done"}, "x" * 50_000)
    print(n, flush=True)
"""


def test_kill_while_writing_loses_nothing_that_was_reported_and_leaves_no_half_row(tmp_path):
    for _ in range(4):
        folder = tmp_path / str(_)
        with subprocess.Popen(
            [sys.executable, "-c", APPEND_FOREVER, str(folder)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for _line in range(5 + 3 * _):
                reported = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
            reported = max([reported, *map(int, process.stdout.read().split())])
        rows = read_rows(folder, blobs=True)
        assert set(range(1, reported + 1)) <= set(rows["arch_index"])
        assert (rows["curve"].str.len() == 50_000).all()
