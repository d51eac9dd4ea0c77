"""`python -m nas_skeleton.data` as a user meets it: what it prints, and how it exits."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from nas_skeleton import cli, data

CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.fixture
def cwd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with raw files of a cut-down UTD-MHAD: two trials of two actions."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NAS_SKELETON_DATA", raising=False)
    raw = tmp_path / "raw"
    raw.mkdir()
    rng = np.random.default_rng(0)
    for action in (1, 2):
        for subject in range(1, 9):
            clip = rng.normal(size=(20, 3, 41))
            savemat(raw / f"a{action}_s{subject}_t1_skeleton.mat", {"d_skel": clip})
    return tmp_path


def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of the command."""
    monkeypatch.setattr(sys, "argv", ["data", *arguments])
    with pytest.raises(SystemExit) as exit_:
        cli.run(data.main)
    captured = capsys.readouterr()
    assert isinstance(exit_.value.code, int)
    return exit_.value.code, captured.out, captured.err


def test_prepare_then_show_check_and_list(cwd, capsys, monkeypatch) -> None:
    code, out, err = run(capsys, monkeypatch, "prepare", "utdmhad", "--raw", "raw")
    assert code == 0
    assert "16 clips, fingerprint" in out
    assert err.startswith("16/16 clips of utdmhad")
    assert "has 16 clips here, 861 in full: its splits are not the published ones" in err
    assert (cwd / "datasets" / "utdmhad" / "prepared" / "clips.f32").is_file()

    code, out, err = run(capsys, monkeypatch, "show", "utdmhad")
    assert (code, err) == (0, "")
    assert "41 to 41, mean 41.0, at 30 per second" in out
    assert "thesis (default): train 6, valid 2, test 8" in out
    assert "odd-even: train 8, NO VALIDATION SET, test 8" in out
    assert "for research use" in out

    code, out, err = run(capsys, monkeypatch, "check", "utdmhad")
    assert code == 2
    assert "FAILED  clips                   16, expected 861" in out
    assert "ok      checksum" in out
    assert err.startswith("Error: data set 'utdmhad': failed checks: ")
    assert err.count("\n") == 1

    code, out, _ = run(capsys, monkeypatch, "list")
    rows = {line.split()[0]: line for line in out.splitlines()}
    assert code == 0
    assert rows["utdmhad"].split()[1:4] == ["not", "found", "yes"]
    assert rows["synthetic"].split()[1:4] == ["not", "needed", "no"]


def test_show_json_is_one_object_and_nothing_else(cwd, capsys, monkeypatch) -> None:
    (cwd / "datasets" / "utdmhad").mkdir(parents=True)
    (cwd / "raw").rename(cwd / "datasets" / "utdmhad" / "Skeleton")
    code, out, err = run(capsys, monkeypatch, "show", "utdmhad", "--json")
    assert code == 0
    assert err.startswith("preparing data set 'utdmhad', because it is not prepared yet")
    facts = json.loads(out)
    assert facts["clips"] == 16
    assert facts["clips_per_subject"] == {str(subject): 2 for subject in range(1, 9)}
    assert facts["frames"] == {"min": 41, "mean": 41.0, "max": 41}
    assert facts["protocols"]["odd-even"]["valid"] == 0
    assert facts["protocols"]["thesis"]["subjects"]["valid"] == [7]
    assert len(facts["fingerprint"]) == 64


def test_list_goes_on_past_an_unusable_card(cwd, capsys, monkeypatch) -> None:
    (cwd / "datasets").mkdir()
    (cwd / "datasets" / "mine.toml").write_text("name = 1\n")
    code, out, _ = run(capsys, monkeypatch, "list")
    assert code == 0
    assert "unusable card: " in out
    assert "synthetic" in out


@pytest.mark.parametrize("command", ["show", "check", "prepare"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nope",), "unknown data set 'nope': known are"),
        (("../raw",), "data set '../raw': use letters"),
        (("utdmhad",), "data set 'utdmhad': no raw data"),
        ((), "Missing argument 'NAME'"),
        (("utdmhad", "--wat"), "No such option"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    cwd, capsys, monkeypatch, command: str, arguments: tuple[str, ...], message: str
) -> None:
    code, out, err = run(capsys, monkeypatch, command, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("Error: ")
    assert message in err
    assert err.count("\n") == 1


def test_a_bad_file_is_one_line_that_names_it(cwd, capsys, monkeypatch) -> None:
    (cwd / "raw" / "a2_s8_t1_skeleton.mat").write_bytes(b"junk")
    code, out, err = run(capsys, monkeypatch, "prepare", "utdmhad", "--raw", "raw")
    assert code == 2
    assert re.search(r"^a2_s8_t1_skeleton\.mat +not a \.mat file", out, re.MULTILINE)
    progress, error = err.splitlines()
    assert progress.startswith("16/16 clips")
    assert error.startswith("Error: raw: a2_s8_t1_skeleton.mat: not a .mat file")
    (cwd / "wrong.zip").write_bytes(b"PK\x03\x04 not really")
    code, _, err = run(capsys, monkeypatch, "prepare", "utdmhad", "--raw", "wrong.zip")
    assert code == 2
    assert err.startswith("Error: wrong.zip: not a zip file")
    assert err.count("\n") == 1


def test_bad_files_are_tabled_and_left_out_on_the_users_word(cwd, capsys, monkeypatch) -> None:
    (cwd / "raw" / "a2_s8_t1_skeleton.mat").write_bytes(b"junk")
    (cwd / "raw" / "a1_s1_t1_skeleton.mat").write_bytes(b"")
    for command in (["check"], ["prepare"], ["prepare", "--workers", "2"]):
        code, out, _ = run(capsys, monkeypatch, *command, "utdmhad", "--raw", "raw")
        assert code == 2
        table = out.splitlines()
        assert table[0].split() == ["file", "what", "is", "wrong"]
        assert [row.split()[0] for row in table[2:4]] == [
            "a1_s1_t1_skeleton.mat",
            "a2_s8_t1_skeleton.mat",
        ]
    code, out, _ = run(capsys, monkeypatch, "check", "utdmhad", "--raw", "raw")
    assert "16 read, 14 clips can be used, 2 cannot" in out
    code, out, err = run(capsys, monkeypatch, "prepare", "utdmhad", "--raw", "raw", "--skip-bad")
    assert code == 0
    assert "left out: 2" in err
    assert "14 clips" in out
    out = run(capsys, monkeypatch, "show", "utdmhad")[1]
    assert "left out     2 that could not be used" in out
    out = run(capsys, monkeypatch, "check", "utdmhad")[1]
    assert "left out                2 on your word (--skip-bad): a1_s1_t1_skeleton.mat" in out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_preparing_which_goes_on_later(
    cwd, capsys, monkeypatch, request, number
) -> None:
    from nas_skeleton.commands import progress

    advance = progress.Progress.advance
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    request.addfinalizer(lambda: [signal.signal(*each) for each in before.items()])

    def stopping(self, *arguments, **options) -> None:
        advance(self, *arguments, **options)
        if self.done == 5:
            os.kill(os.getpid(), number)

    with monkeypatch.context() as patched:
        patched.setattr(progress.Progress, "advance", stopping)
        code, _, err = run(capsys, monkeypatch, "prepare", "utdmhad", "--raw", "raw")
    assert code == 75
    assert err.endswith("what was read is kept; run the same command again to go on\n")
    code, out, err = run(capsys, monkeypatch, "prepare", "utdmhad", "--raw", "raw")
    assert code == 0
    assert "going on with data set 'utdmhad' where it was stopped: 5 of 16" in err
    assert "16 clips" in out


def test_many_bad_files_go_into_a_file(cwd, capsys, monkeypatch) -> None:
    monkeypatch.setattr(data, "MANY_FAULTS", 3)
    for path in sorted((cwd / "raw").iterdir())[:5]:
        path.write_bytes(b"")
    _, out, _ = run(capsys, monkeypatch, "check", "utdmhad", "--raw", "raw")
    lines = out.splitlines()
    assert len(lines) == 2 + 3 + 2
    assert lines[5] == "... and 2 more; all are listed in datasets/utdmhad/bad-files.csv"
    listed = (cwd / "datasets" / "utdmhad" / "bad-files.csv").read_text().splitlines()
    assert len(listed) == 1 + 5
    assert listed[5].startswith("a1_s5_t1_skeleton.mat,")


def test_repeated_clips_are_told_by_check_as_by_prepare(cwd, capsys, monkeypatch) -> None:
    (cwd / "raw" / "copy").mkdir()
    name = "a1_s1_t1_skeleton.mat"
    (cwd / "raw" / "copy" / name).write_bytes((cwd / "raw" / name).read_bytes())
    for command in ("check", "prepare"):
        code, out, _ = run(capsys, monkeypatch, command, "utdmhad", "--raw", "raw")
        assert code == 2
        assert f"clip a1_s1_t1 is also in {name}; remove one of them, or give it another" in out


def test_a_clip_is_drawn(cwd, capsys, monkeypatch) -> None:
    run(capsys, monkeypatch, "prepare", "utdmhad", "--raw", "raw")
    code, _, err = run(capsys, monkeypatch, "show", "utdmhad", "--clip", "a1_s1_t1")
    assert (code, err) == (0, "")
    assert (cwd / "a1_s1_t1.png").read_bytes().startswith(b"\x89PNG")
    code, _, _ = run(capsys, monkeypatch, "show", "utdmhad", "--clip", "a1_s1_t1", "-o", "walk.gif")
    assert (cwd / "walk.gif").read_bytes().startswith(b"GIF8")
    for wrong, message in (
        (["--clip", "a9_s9_t9"], "no clip 'a9_s9_t9'"),
        (["--clip", "a1_s1_t1", "-o", "walk.exe"], "walk.exe"),
        (["-o", "walk.gif"], "-o goes with --clip"),
        (["--clip", "a1_s1_t1", "--json"], "--json does not go with --clip"),
    ):
        code, out, err = run(capsys, monkeypatch, "show", "utdmhad", *wrong)
        assert (code, out) == (2, "")
        assert message in err
        assert err.count("\n") == 1


def test_what_may_not_be_downloaded_comes_with_instructions(cwd, capsys, monkeypatch) -> None:
    code, out, err = run(capsys, monkeypatch, "download", "ntu60")
    assert (code, out) == (2, "")
    assert "cannot be downloaded by a program; get it from https://rose1.ntu.edu.sg" in err
    assert "into datasets/ntu60/" in err
    assert "nothing to download" in run(capsys, monkeypatch, "download", "synthetic")[2]


def test_a_subset_is_shown_with_its_own_classes(cwd, capsys, monkeypatch) -> None:
    run(capsys, monkeypatch, "prepare", "utdmhad", "--raw", "raw")
    out = run(capsys, monkeypatch, "show", "utdmhad:swipe_left+swipe_right")[1]
    assert "classes      2: swipe_left, swipe_right" in out
    code, _, err = run(capsys, monkeypatch, "show", "utdmhad:swipe_left+dance")
    assert code == 2
    assert "no class 'dance'" in err


def test_a_damaged_store_is_one_line_with_the_way_out(cwd, capsys, monkeypatch) -> None:
    run(capsys, monkeypatch, "prepare", "utdmhad", "--raw", "raw")
    (cwd / "datasets" / "utdmhad" / "prepared" / "header.json").write_text("{")
    for command in ("show", "check"):
        code, _, err = run(capsys, monkeypatch, command, "utdmhad")
        assert code == 2
        assert "run `python -m nas_skeleton.data prepare utdmhad`" in err
        assert err.count("\n") == 1
    assert run(capsys, monkeypatch, "prepare", "utdmhad", "--raw", "raw")[0] == 0
    assert run(capsys, monkeypatch, "show", "utdmhad")[0] == 0


def test_help_loads_nothing_heavy() -> None:
    """`--help` has to answer in half a second, and these take longer."""
    program = (
        "import runpy, sys\n"
        "sys.argv = ['data', '--help']\n"
        "try: runpy.run_module('nas_skeleton.data', run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'numpy', 'scipy', 'pydantic', 'torch', 'PIL', 'pandas'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "prepare" in done.stdout
