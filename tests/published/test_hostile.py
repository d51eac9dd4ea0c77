"""Tables from anywhere and of other versions: an answer or one line, whatever is in their files."""

import json
import os
import shutil
import signal
import stat
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nas_skeleton.errors import InputError
from nas_skeleton.published import columns, files
from nas_skeleton.published.benchmark import Benchmark
from nas_skeleton.published.check import check_table
from nas_skeleton.published.croissant import version_of
from nas_skeleton.published.files import describe_file, read_manifest
from nas_skeleton.published.find import find_search_table
from nas_skeleton.published.finished import finished_of_table
from nas_skeleton.results import schema

PARQUET = (files.TABLE, files.CURVES, files.PREDICTIONS)
TEXTS = (files.CLIPS, files.SUMMARY, files.CARD, files.CROISSANT, files.MANIFEST)


@pytest.fixture
def copied(small, tmp_path):
    """A copy of the table that may be damaged."""
    return shutil.copytree(small, tmp_path / "utdmhad")


def sealed(folder, **stated):
    """Make manifest and metadata vouch for the files that are there, and state further fields."""
    manifest = json.loads((folder / files.MANIFEST).read_text())
    describe = {name: describe_file(folder / name) for name in manifest["files"]}
    manifest |= {"content": files.content_of(describe), **stated}
    with suppress(InputError, ValueError, TypeError, KeyError, RecursionError):  # it is damaged
        metadata = json.loads((folder / files.CROISSANT).read_text())
        now = replace(read_manifest(folder), content=manifest["content"])
        metadata["version"] = version_of(now)
        for part in metadata["distribution"]:
            part["sha256"] = describe[part["@id"]].sha256
        (folder / files.CROISSANT).write_text(json.dumps(metadata))
    describe[files.CROISSANT] = describe_file(folder / files.CROISSANT)
    manifest["files"] = {name: vars(file) for name, file in describe.items()}
    (folder / files.MANIFEST).write_text(json.dumps(manifest))


def changed(folder, change, name=files.TABLE, **stated):
    """Write a file of the table anew."""
    pq.write_table(change(pq.read_table(folder / name)), folder / name)
    sealed(folder, **stated)


def with_column(name, values):
    """What replaces a column, its type as it was."""

    def change(table):
        at = table.schema.get_field_index(name)
        own = values(table[name].to_pylist())
        return table.set_column(at, name, pa.array(own, table.schema.types[at]))

    return change


def first(value):
    return lambda values: [value, *values[1:]]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (with_column("arch_index", first(99_999)), "an arch_index that is no architecture"),
        (with_column("arch_index", first(-1)), "an arch_index that is no architecture"),
        (with_column("arch_index", first(None)), "a row without arch_index"),
        (with_column("seed", first(778)), "a seed that the manifest lacks"),
        (with_column("status", first(None)), "a status that is none of done, copied, diverged"),
        (with_column("epochs", first(None)), "a row without epochs"),
        (with_column("macs", first(None)), "a row without macs"),
        (with_column("train_time_s", first(-1.0)), "train_time_s that cannot be"),
        (with_column("version", first("0.1.0\nVerified: all good\x1b[31m")), "column version is"),
        (with_column("arch_str", first("|" * 20_000)), "column arch_str is too long"),
        (lambda table: table.drop_columns(["latency_ms"]), "other columns"),
        (lambda table: table.slice(0, 0), "no rows"),
        (lambda table: table.take(np.zeros(40_000, int)), "40,000 rows, where at most 31,250"),
        (lambda table: pa.table({**dict(zip(table.column_names, table.columns, strict=True)),
                                 "seed": table["seed"].cast(pa.string())}),
         "column seed is of string, not int64"),
        (with_column("source_index", lambda own: [None if s is None else 15_624 for s in own]),
         "a row is copied from one that is not there"),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_are_refused_when_the_table_is_loaded(copied, change, said):
    changed(copied, change)
    with pytest.raises(InputError, match=r"table\.parquet: ") as raised:
        Benchmark.load(copied)
    if said.startswith("column version"):
        assert "cannot be printed" in str(raised.value)
    else:
        assert said in str(raised.value)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("seeds", [888, 777], "seeds are not"),
        ("seeds", [], "seeds are not"),
        ("epochs", [], "epochs are not"),
        ("sample", [10**9], "sample is not of ascending indices from 0 to 15624"),
        ("recipe_values", {}, "recipe_values lack epochs"),
        ("clips", {"train": -1, "valid": 20, "test": 40}, "clips are not counts"),
        ("joints", 10**30, "joints is not a number from 1 to"),
        ("dataset", "../../etc/passwd", "use letters, digits"),
        ("hardware_note", "fast\x1b[31m", "signs that cannot be printed"),
        ("schema", 1.0, "schema: Input should be a valid integer"),
    ],
)
def test_what_no_table_can_state_is_refused_when_it_is_loaded(copied, field, value, said):
    sealed(copied, **{field: value})
    with pytest.raises(InputError, match=r"MANIFEST\.json: ") as raised:
        Benchmark.load(copied)
    assert said in str(raised.value)


def test_deep_nesting_is_one_line(copied):
    (copied / files.MANIFEST).write_text("[" * 100_000)
    with pytest.raises(InputError, match="no manifest of a published table"):
        Benchmark.load(copied)


@pytest.fixture
def soon():
    """Whoever waits for a pipe, or reads a device, is interrupted."""
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("reads for ever"))
    signal.alarm(10)
    yield
    signal.alarm(0)


@pytest.mark.parametrize("name", [*files.DATA, files.CROISSANT, files.DATASHEET, files.MANIFEST])
@pytest.mark.parametrize("kind", ["link to a device", "link to a file", "pipe", "device"])
def test_what_is_no_regular_file_is_refused_before_it_is_opened(copied, soon, name, kind):
    path = copied / name
    beside = path.rename(copied.parent / name)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        try:
            os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
        except PermissionError:
            pytest.skip("only root makes devices")
    else:
        path.symlink_to("/dev/zero" if kind == "link to a device" else beside)
    with pytest.raises(InputError, match=f"{name}: a link, pipe, device or folder, and no file"):
        check_table(copied)


@pytest.mark.parametrize("name", [files.CARD, files.CROISSANT, files.MANIFEST])
def test_what_is_read_as_a_whole_is_not_large(copied, name):
    with (copied / name).open("ab") as file:
        file.truncate(files.LARGEST + 1)
    manifest = json.loads((copied / files.MANIFEST).read_bytes().rstrip(b"\0"))
    if name != files.MANIFEST:
        manifest["files"][name] = vars(describe_file(copied / name))
        (copied / files.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=f"{name}: 1,048,577 bytes, where at most 1,048,576 can"):
        check_table(copied)


def test_the_folder_of_a_table_may_be_a_link(copied):
    link = copied.parent / "link"
    link.symlink_to(copied)
    assert check_table(link).name == "utdmhad"


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("engine", None, "a finished row without engine"),
        ("engine", "magic", "engine 'magic' is none of analytic, reference"),
        ("engine", "analytic", "'analytic' of a cell that does not ignore its input"),
        ("finished_at", None, "a row without finished_at"),
    ],
)
def test_what_verify_relies_on_is_checked(copied, column, value, said):
    changed(copied, with_column(column, lambda own: [value] * len(own)))
    with pytest.raises(InputError, match=r"table\.parquet: ") as raised:
        check_table(copied)
    assert said in str(raised.value)


@pytest.mark.parametrize("text", ["[]", "{}", '{"distribution": ["x"]}', "{", "[" * 100_000])
def test_metadata_that_is_none_is_one_line(copied, text):
    (copied / files.CROISSANT).write_text(text)
    sealed(copied)
    with pytest.raises(InputError, match=r"croissant\.json: cannot be read"):
        check_table(copied)


# --- small files of large columns


@pytest.mark.parametrize(
    ("name", "column"),
    [(files.TABLE, "version"), (files.CURVES, "key"), (files.PREDICTIONS, "key")],
)
def test_a_long_text_in_a_small_file_is_refused_before_it_is_read(copied, name, column):
    changed(copied, with_column(column, first("x" * 20_000_000)), name)
    assert (copied / name).stat().st_size < 2_000_000
    with pytest.raises(InputError, match=f"{name}: column {column} takes 20,[0-9,]+ bytes, where"):
        check_table(copied)


def test_a_text_that_is_in_every_row_is_refused_before_it_is_written_out(whole, tmp_path):
    copied = shutil.copytree(whole, tmp_path / "utdmhad")
    changed(copied, with_column("host", lambda own: ["x" * 9_999] * len(own)))
    with pytest.raises(InputError, match="the texts in column host are too long together"):
        Benchmark.load(copied)


def test_a_list_that_is_longer_than_its_type_says_is_refused_before_it_is_read(copied):
    path = copied / files.PREDICTIONS
    stored, table = pq.read_metadata(path).metadata, pq.read_table(path)
    records = table.to_pylist()
    records[0]["test"] = [0] * 10_000_000
    kinds = [(name, pa.list_(pa.int8())) for name in ("valid", "test")]
    table = pa.Table.from_pylist(records, pa.schema([*list(table.schema)[:3], *kinds]))
    with pq.ParquetWriter(path, table.schema, store_schema=False) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(stored)
    assert path.stat().st_size < 10_000
    sealed(copied)
    with pytest.raises(InputError, match="column test has more than 520 values"):
        check_table(copied)


def test_a_file_whose_groups_have_other_rows_is_refused(copied):
    path = copied / files.PREDICTIONS
    rows = pq.read_metadata(path).num_rows
    content = path.read_bytes()
    stated = b"\x16" + bytes([2 * rows]) + b"\x19"  # number of rows, then a list: of groups
    assert content.count(stated) == 1
    path.write_bytes(content.replace(stated, b"\x16" + bytes([2 * rows - 2]) + b"\x19"))
    sealed(copied)
    with pytest.raises(InputError, match="groups have not 12 rows"):
        check_table(copied)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("space", None, "cannot be read"),
        ("space", "../../etc/passwd", "use letters, digits"),
        ("key", "x:1", "not all trainings have a validation accuracy"),
    ],
)
def test_a_search_on_rows_that_cannot_be_is_refused(whole, tmp_path, column, value, said):
    copied = shutil.copytree(whole, tmp_path / "utdmhad")
    changed(copied, with_column(column, lambda own: [value] * len(own)))
    with pytest.raises(InputError, match=said):
        find_search_table(str(copied))


def test_columns_that_are_not_known_are_not_read(copied):
    for name in PARQUET:
        changed(copied, lambda t: t.append_column("notes", pa.array(["x" * 10_000] * len(t))), name)
    table = Benchmark.load(copied)
    assert "notes" not in table.to_pandas("trainings")
    assert "notes" not in table.to_pandas("epochs")
    trainings = finished_of_table(copied)
    (kept,) = trainings.read(trainings.rows.head(1))
    assert "notes" not in kept.curve[30]


# --- other versions


def test_columns_of_another_schema_are_refused_and_who_reads_them_is_told(copied):
    sealed(copied, results_schema=99, published_with="7.0.0")
    with pytest.raises(InputError, match=r"results_schema 99, .* reads 2: .* '7\.0\.0', or a"):
        Benchmark.load(copied)


def test_a_table_older_than_a_column_and_a_field_still_loads(copied, monkeypatch):
    later = pa.schema([*columns.arrow.TABLE, pa.field("energy_j", pa.float64())])
    monkeypatch.setattr(columns.arrow, "TABLE", later)
    monkeypatch.setitem(schema.COLUMNS, "energy_j", "REAL")
    manifest = json.loads((copied / files.MANIFEST).read_text())
    del manifest["sample"]
    (copied / files.MANIFEST).write_text(json.dumps(manifest))
    table = Benchmark.load(copied)
    assert np.isnan(table.array("energy_j")).all()
    assert table.manifest().sample == []
    assert check_table(copied) == table.manifest()


def test_a_table_newer_by_a_column_and_a_field_still_loads(copied):
    changed(copied, lambda t: t.append_column("energy_j", pa.nulls(len(t), pa.float64())), zzz=1)
    assert Benchmark.load(copied).query(0, seed=777).arch_index == 0
    assert check_table(copied).name == "utdmhad"


def test_a_table_that_is_being_published_is_not_offered(small, tmp_path, monkeypatch):
    shutil.copytree(small, tmp_path / "runs" / "published" / ".half.1.tmp")
    monkeypatch.chdir(tmp_path)
    assert ".half.1.tmp" not in files.published_names()


# --- answers


def test_the_front_has_its_rows_in_turn_and_the_best_says_where_numbers_are(small):
    table = Benchmark.load(small)
    front, best = table.pareto("macs", seed=777), table.best(seed=777)
    assert list(front) == list(front.rows)
    assert (len(front), front[0], front[-1]) == (len(front.rows), front.rows[0], front.rows[-1])
    assert best.arch_index == best.row.arch_index
    with pytest.raises(AttributeError, match=r"no 'valid_top1': its row has, \.row\.valid_top1"):
        _ = best.valid_top1


# --- whatever is in the files


@st.composite
def damages(draw):
    """A file, and what changes it: bytes, a column, a field."""
    kind = draw(st.sampled_from(["bytes", "column", "rows", "field"]))
    if kind == "bytes":
        name = draw(st.sampled_from((*PARQUET, *TEXTS)))
        share, cut = draw(st.floats(0, 1)), draw(st.integers(0, 40))
        new = draw(st.binary(max_size=20))

        def change(folder):
            content = (folder / name).read_bytes()
            at = int(share * len(content))
            (folder / name).write_bytes(content[:at] + new + content[at + cut :])

    elif kind == "field":
        field = draw(st.sampled_from(list(files.Manifest.__dataclass_fields__)))
        value = draw(
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
                lambda own: (
                    st.lists(own, max_size=3)
                    | st.dictionaries(st.text(max_size=5), own, max_size=3)
                ),
                max_leaves=5,
            )
        )

        def change(folder):
            manifest = json.loads((folder / files.MANIFEST).read_text())
            (folder / files.MANIFEST).write_text(json.dumps(manifest | {field: value}))

    else:
        name = draw(st.sampled_from(PARQUET))
        place, row = draw(st.integers(0, 10**6)), draw(st.integers(0, 10**6))
        values = {
            pa.string(): st.none() | st.text(max_size=8),
            pa.int64(): st.none() | st.integers(-(2**63), 2**63 - 1),
            pa.float64(): st.none() | st.floats(),
        }
        by_kind = {own: draw(value) for own, value in values.items()}
        types = draw(st.sampled_from([*values, None]))

        def change(folder):
            table = pq.read_table(folder / name)
            at = place % table.num_columns
            own = table.schema.types[at]
            if kind == "rows":
                table = table.take([row % len(table), *range(place % len(table))])
            elif types is None or types == own or own not in by_kind:
                items = table.column(at).to_pylist()
                items[row % len(items)] = by_kind.get(own)
                table = table.set_column(at, table.column_names[at], pa.array(items, own))
            else:
                items = pa.array([by_kind[types]] * len(table), types)
                table = table.set_column(at, table.column_names[at], items)
            pq.write_table(table, folder / name)

    return change


@pytest.mark.slow
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(change=damages())
def test_whatever_is_in_the_files_there_is_an_answer_or_one_line(small, tmp_path, change):
    folder = tmp_path / "table"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(small, folder)
    change(folder)
    with suppress(ValueError, TypeError, AttributeError, KeyError):  # the manifest is damaged
        sealed(folder)

    def ask(table):
        row = table.best(seed=table.seeds()[0]).row
        assert 0 <= row.valid_top1 <= 1
        assert row.train_time_s != row.train_time_s or 0 <= row.train_time_s < float("inf")
        table.query(row.arch_index, aggregate="mean", epoch=table.epochs()[0])
        assert len(table.pareto("macs", seed=table.seeds()[0])) > 0

    def lazily(table):
        for split in ("valid", "test"):
            clips = table.clips(split)
            arch = table.archs(seed=table.seeds()[-1])[-1]
            predicted = table.predicted(int(arch), split, seed=table.seeds()[-1])
            assert predicted.shape == clips.labels.shape
            assert 0 <= predicted.min() <= predicted.max() < len(clips.classes)
        curves = table.curves("valid_top1")
        assert not ((curves < 0) | (curves > 1)).any()

    def frames(table):
        for level in ("trainings", "epochs", "architectures", "clips"):
            table.to_pandas(level)

    for attempt in (
        lambda: ask(Benchmark.load(folder)),
        lambda: lazily(Benchmark.load(folder)),
        lambda: frames(Benchmark.load(folder)),
        lambda: check_table(folder),
    ):
        try:
            attempt()
        except InputError as error:
            assert str(error).isprintable()  # noqa: PT017
