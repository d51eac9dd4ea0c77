"""Fixtures shared by all tests: the real research data, a working folder, a tiny search space."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent

# One cell per stage, 4 channels, 8 frames, 3 epochs: a training takes a fraction of a second.
TINY = """
name = "tiny"
title = "a space for tests"
cell = "nb201"
default_recipe = "tiny"
[input]
encoding = "centred-first-frame"
[stem]
kind = "stgcn"
blocks = 1
data_norm = "coordinates"
partition = "spatial-distance"
temporal_kernel = 3
[macro]
reduction = "both"
[recipes.tiny]
channels = 4
cells_per_stage = 1
frames = 8
epochs = 3
batch_size = 64
drop_last = false
learning_rate = 0.05
momentum = 0.9
nesterov = true
weight_decay = 5e-4
evaluate_every = 2
"""

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with the real data sets; tests that need it are skipped where it is absent."""
    folder = CHECKOUT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real research data not found in {folder}")
    return folder


@pytest.fixture(scope="session")
def prepared_synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prepared store of the synthetic set, made once."""
    from nas_skeleton.skeletons.store import prepare

    folder = tmp_path_factory.mktemp("prepared")
    before = Path.cwd()
    os.chdir(folder)
    try:
        return prepare("synthetic")
    finally:
        os.chdir(before)


@pytest.fixture
def workdir(tmp_path: Path, prepared_synthetic: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder with the card `tiny` and the synthetic set already prepared."""
    furnish(tmp_path, prepared_synthetic)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NAS_SKELETON_DATA", raising=False)
    return tmp_path


def furnish(folder: Path, prepared_synthetic: Path) -> None:
    """Make `folder` a working folder with the card `tiny` and the synthetic set."""
    shutil.copytree(prepared_synthetic, folder / "datasets" / "synthetic" / "prepared")
    (folder / "search_spaces").mkdir()
    (folder / "search_spaces" / "tiny.toml").write_text(TINY)


@pytest.fixture(scope="session")
def furnished(
    tmp_path_factory: pytest.TempPathFactory, prepared_synthetic: Path
) -> Callable[[str], Path]:
    """`furnished("name")` makes a working folder that a test does not share with others."""

    def make(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        furnish(folder, prepared_synthetic)
        return folder

    return make


def run_command(
    folder: Path, module: str, *arguments: str, **options: object
) -> subprocess.CompletedProcess[str]:
    """`python -m nas_skeleton.MODULE` in `folder`."""
    return subprocess.run(
        [sys.executable, "-m", f"nas_skeleton.{module}", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        **options,  # type: ignore[call-overload]
    )


@pytest.fixture
def command(workdir: Path) -> Command:
    """`command("search", "--trials", "2")` runs `python -m nas_skeleton.search` in `workdir`."""

    def run(module: str, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
        return run_command(workdir, module, *arguments, **options)

    return run


@pytest.fixture
def here(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """What `command` does, but in this process: no seconds until torch is imported."""
    from nas_skeleton import cli

    def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", [module, *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.run(importlib.import_module(f"nas_skeleton.{module}").main)
        output = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return subprocess.CompletedProcess(arguments, ended.value.code, output.out, output.err)

    return run


@pytest.fixture(scope="session")
def searched(
    tmp_path_factory: pytest.TempPathFactory, prepared_synthetic: Path
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A folder `runs/` with one finished search of six trainings, and what the search printed."""
    folder = tmp_path_factory.mktemp("searched")
    furnish(folder, prepared_synthetic)
    asked = ("--space", "tiny", "--dataset", "synthetic", "--seed", "777", "--trials", "6")
    return folder / "runs", run_command(folder, "search", *asked)
