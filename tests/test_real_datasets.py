"""The real NTU and NW-UCLA files: from raw files to a leaderboard, by cards alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas_skeleton.results.run import open_run
from nas_skeleton.skeletons.store import load_dataset


@pytest.mark.parametrize(
    ("name", "raw", "protocol", "split"),
    [
        ("ntu60", "ntu", "xsub", [2, 1, 2]),
        ("ntu60", "ntu", "xview", [1, 1, 3]),
        ("ntu120", "ntu", "xsub", [2, 1, 2]),
        ("nwucla", "nwucla/all_sqe.zip", "xview", [829, 191, 464]),
    ],
)
def test_real_files_train_through_search(
    here: Any, shared_data: Path, name: str, raw: str, protocol: str, split: list[int]
) -> None:
    done = here("data", "prepare", name, "--raw", str(shared_data / raw))
    assert done.returncode == 0, done.stderr
    dataset = load_dataset(name)
    dataset.verify()
    assert [len(part) for part in dataset.split(protocol).values()] == split
    arguments = ["--space", "tiny", "--dataset", name, "--protocol", protocol]
    done = here("search", *arguments, "--trials", "2", "--workers", "1", "--run", "real")
    assert done.returncode == 0, done.stderr
    rows = open_run("real").rows()
    assert rows["status"].tolist() == ["done", "done"]
    assert rows["final_test_top1"].between(0, 1).all()
    if name == "nwucla":
        assert rows["final_valid_top1"].max() > 0.25  # chance is 0.1


def test_ntu_clips_have_two_bodies_only_where_there_are_two(here: Any, shared_data: Path) -> None:
    assert here("data", "prepare", "ntu60", "--raw", str(shared_data / "ntu")).returncode == 0
    dataset = load_dataset("ntu60")
    bodies = {
        clip: int(dataset.clip(index).any(axis=(0, 1, 2)).sum())
        for index, clip in enumerate(dataset.ids)
    }
    assert bodies == {
        "S001C001P001R001A011": 1,
        "S001C003P008R002A058": 2,  # handshaking
        "S002C001P003R001A003": 1,
        "S003C001P015R001A034": 1,
        "S004C002P003R001A017": 1,
    }
    assert dataset.lengths.min() >= 70
    for index in range(len(dataset)):  # metres before a camera
        depth = dataset.clip(index)[2, ..., 0]
        assert 1 < np.median(depth) < 5


def test_every_real_nwucla_clip_is_as_its_card_says(here: Any, shared_data: Path) -> None:
    raw = str(shared_data / "nwucla")
    assert here("data", "prepare", "nwucla", "--raw", raw).returncode == 0
    done = here("data", "check", "nwucla")
    assert done.returncode == 0, done.stdout
    assert "1 to 201, mean 39.4" in done.stdout
