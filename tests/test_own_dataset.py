"""The guide "your own data set in ten minutes", followed to the letter."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

GUIDE = Path(__file__).resolve().parents[1] / "docs" / "own-dataset.md"
PLACES = {"toml": "datasets/gestures.toml", "python": "clips.py"}


def steps() -> list[tuple[str, str]]:
    """The blocks of the guide in their order: language and text."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def test_the_guide_works_line_by_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NAS_SKELETON_DATA", raising=False)
    assert [language for language, _ in steps()] == ["python", "toml", "sh"]
    output = ""
    for language, text in steps():
        if language in PLACES:
            place = Path(PLACES[language])
            place.parent.mkdir(exist_ok=True)
            place.write_text(text, "utf-8")
            commands = ["python clips.py"] if language == "python" else []
        else:
            commands = text.splitlines()
        for command in commands:
            program, *arguments = command.split()
            assert program == "python"
            done = subprocess.run(
                [sys.executable, *arguments], capture_output=True, text=True, timeout=300
            )
            assert done.returncode == 0, command + done.stderr
            output += done.stdout
    assert "data set 'gestures' is as its card says" in output
    assert "clips        240, 7 joints (gestures), x, y, score in" in output
    assert "train 144, valid 24, test 72" in output
    assert (tmp_path / "wave_1_1.png").read_bytes().startswith(b"\x89PNG")
    assert "<html" in (tmp_path / "bow.html").read_text("utf-8")
    assert re.search(r"^ *1 +", output, re.MULTILINE)  # a leaderboard
    [run] = (tmp_path / "runs").iterdir()
    assert "gestures" in run.name
