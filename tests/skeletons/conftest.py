"""A small made-up data set in the files of UTD-MHAD, in a working folder of its own."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import savemat

CARD = """
name = "tiny"
title = "Tiny"
description = "made up"
licence = "none"
citation = "none"
reader = "utdmhad"
layout = "utdmhad"
units = "metres"
frames_per_second = 30
classes = ["wave", "clap"]
subjects = [1, 2, 3]
steps = []
default_protocol = "thesis"
[raw]
files = ["Skeleton.zip", "Skeleton"]
get = "nowhere"
[expected]
clips = 11
missing = ["a2_s3_t2"]
[protocols.thesis]
train_subjects = [1]
valid_subjects = [2]
test_subjects = [3]
train_clips = 4
valid_clips = 4
test_clips = 3
[protocols.odd-even]
train_subjects = [1, 3]
valid_subjects = []
test_subjects = [2]
"""


def mat(variables: Mapping[str, object], **options: bool) -> bytes:
    """Content of a `.mat` file."""
    file = io.BytesIO()
    savemat(file, variables, **options)
    return file.getvalue()


@dataclass
class Tiny:
    """Two actions, three subjects, two trials, one file missing; frames between 5 and 15."""

    cwd: Path
    clips: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(0)
        for action in (2, 1):  # not in order, as in the official zip
            for subject in (1, 2, 3):
                for trial in (1, 2):
                    name = f"a{action}_s{subject}_t{trial}"
                    frames = int(rng.integers(5, 16))
                    if name != "a2_s3_t2":
                        self.clips[name] = rng.normal(size=(20, 3, frames)).astype(np.float32)
        for name, clip in self.clips.items():
            self.files[f"{name}_skeleton.mat"] = mat({"d_skel": clip}, do_compression=True)
        self.write_card(CARD)

    def write_card(self, text: str) -> None:
        (self.cwd / "datasets").mkdir(exist_ok=True)
        (self.cwd / "datasets" / "tiny.toml").write_text(text)

    def zip(self, path: Path | None = None, inside: str = "Skeleton/") -> Path:
        path = path or self.cwd / "datasets" / "tiny" / "Skeleton.zip"
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in self.files.items():
                archive.writestr(f"{inside}{name}", content)
        return path

    def folder(self, path: Path) -> Path:
        path.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            (path / name).write_bytes(content)
        return path


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    """The card `tiny` in an otherwise empty working folder; raw files are up to the test."""
    cwd = tmp_path / "working folder"
    cwd.mkdir()
    monkeypatch.chdir(cwd)
    monkeypatch.delenv("NAS_SKELETON_DATA", raising=False)
    return Tiny(cwd)
