"""`python -m nas_skeleton.data` as a user meets it: what it prints, and how it exits."""

from __future__ import annotations

import json
import os
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
    code, _, err = run(capsys, monkeypatch, "prepare", "utdmhad", "--raw", "raw")
    assert code == 2
    assert err.startswith("Error: raw/a2_s8_t1_skeleton.mat: ")
    assert err.count("\n") == 1
    (cwd / "wrong.zip").write_bytes(b"PK\x03\x04 not really")
    code, _, err = run(capsys, monkeypatch, "prepare", "utdmhad", "--raw", "wrong.zip")
    assert code == 2
    assert err.startswith("Error: wrong.zip: not a zip file")
    assert err.count("\n") == 1


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
