"""Preparing at size: raw files that the real reader takes, and a command that survives kill -9."""

from nas_skeleton.benchmarks import preparation
from nas_skeleton.benchmarks.machine import Machine
from nas_skeleton.benchmarks.report import preparation_as_json, preparation_as_text
from nas_skeleton.skeletons.store import read_raw


def watch(*_):
    return lambda: None


def test_made_up_files_are_clips_that_the_card_accepts(tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, "KINDS", 5)
    monkeypatch.setattr(preparation, "TWO_BODIES", 0.5)
    monkeypatch.setattr(preparation, "GHOST", 0.5)
    size = preparation.write_raw(tmp_path / "raw", 12, watch())
    files = sorted((tmp_path / "raw").iterdir())
    assert (len(files), sum(path.stat().st_size for path in files)) == (12, size)
    assert len({path.stat().st_ino for path in files}) == 5
    reads = list(read_raw("ntu60", tmp_path / "raw"))
    assert [read.faults for read in reads] == [[]] * 12
    assert {read.clips[0].numbers.shape[2:] for read in reads} == {(25, 2)}
    assert {bool(read.clips[0].numbers[..., 1].any()) for read in reads} == {True, False}


def test_the_command_is_measured_killed_and_continued(tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, "KINDS", 10)
    monkeypatch.chdir(tmp_path)
    found = preparation.measure_preparation(60, 1, watch)
    assert (found.clips, found.resumed) == (60, True)
    assert found.cpu_s > 0
    assert 20 < found.peak_mb < 2000
    assert list(tmp_path.iterdir()) == []
    machine = Machine(
        cpu="a CPU", cores=2, system="Linux", gpu=None, torch="2", workers=1, nas_skeleton="1"
    )
    assert "killed twice and continued: the same bytes" in preparation_as_text(machine, found)
    projected = preparation_as_json(machine, found)["projected_s"]
    assert projected["ntu60"] == 56_578 * found.seconds / 60
