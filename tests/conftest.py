"""Fixtures shared by all tests: the real research data, a working folder, a tiny search space."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from nas_skeleton.results.run import Run

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


@pytest.fixture
def made_run(workdir: Path) -> Callable[..., Run]:
    """`made_run("name", cells, seeds=[1, 2])` writes a run nobody trained, in `workdir`.

    Cells differ in how well they do and, by `noise`, seeds do. Trainings in `lacking` are not
    there, those in `diverged` diverged. Clips are named after the protocol.
    """
    import numpy as np

    from nas_skeleton.results.run import Arguments, Clips, DataFacts, Run
    from nas_skeleton.results.store import ResultWriter, Training
    from nas_skeleton.spaces import load_space

    def make(
        name: str,
        cells: Sequence[int],
        *,
        seeds: list[int],
        protocol: str = "thesis",
        recipe: str = "tiny",
        recipe_hash: str = "hash",
        clips: int = 50,
        valid_clips: int = 20,
        noise: float = 0.05,
        seconds: float = 1.0,
        lacking: Sequence[tuple[int, int]] = (),
        diverged: Sequence[tuple[int, int]] = (),
    ) -> Run:
        space, rng = load_space("tiny"), np.random.default_rng(len(name))
        splits = {
            split: Clips([f"{protocol} {split} {i}" for i in range(n)], [i % 3 for i in range(n)])
            for split, n in (("train", 1), ("valid", valid_clips), ("test", clips))
        }
        arguments = Arguments(
            *("tiny", "synthetic", protocol, recipe, "random", seeds, "fingerprint", recipe_hash),
            trials=len(cells),
        )
        run = Run(Path("runs") / name, arguments, DataFacts(["a", "b", "c"], 20, 1, splits))
        run.write()
        trainings = list[Training]()
        for place, arch in enumerate(cells):
            for seed in seeds:
                if (arch, seed) in lacking:
                    continue
                chance = 0.3 + 0.6 * place / len(cells) + noise * rng.normal()
                right = {
                    split: rng.random(len(splits[split].ids)) < chance
                    for split in ("valid", "test")
                }
                row = {
                    "key": f"{name} {arch} {seed}",
                    "arch_index": arch,
                    "arch_str": space.arch_string(arch),
                    "functional_key": space.functional_key(arch),
                    "seed": seed,
                    "macs": 1000,
                    "epochs": 3,
                    "fingerprint": "fingerprint",
                    "recipe_hash": recipe_hash,
                    "status": "diverged" if (arch, seed) in diverged else "done",
                    "train_time_s": seconds * (1 + rng.random()),
                    **{
                        f"final_{split}_top1": float(hits.mean()) if hits.size else None
                        for split, hits in right.items()
                    },
                }
                predictions = {
                    split: (np.array(splits[split].labels, dtype=np.int16) + ~hits) % 3
                    for split, hits in right.items()
                }
                trainings.append((row, '[{"epoch": 1}, {"epoch": 3}]', predictions))
        writer = ResultWriter(run.results_folder, "made-up")
        writer.append_all(trainings)
        writer.close()
        return run

    return make
