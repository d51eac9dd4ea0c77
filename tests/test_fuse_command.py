"""`train fuse`: streams of one network joined, and what `train` and `search` keep for it."""

import csv
import json

import pytest

from nas_skeleton.results.run import open_run
from nas_skeleton.results.scores import read_scores
from nas_skeleton.scheduling import worker

TRAIN = ("train", "--space", "tiny", "--dataset", "synthetic", "--arch", "6111", "--engine", "fast")


@pytest.fixture
def streams(here, workdir):
    """Two finished runs: joints, and bones."""
    card = workdir / "search_spaces/tiny.toml"
    card.write_text(card.read_text().replace("batch_size = 64", "batch_size = 8"))
    for modality in ("joint", "bone"):
        done = here(*TRAIN, "--modality", modality, "--run", modality)
        assert done.returncode == 0, done.stderr
    return "joint", "bone"


def test_streams_are_trained_kept_and_fused(here, streams, workdir):
    joint, bone = (open_run(name) for name in streams)
    rows = [run.rows().iloc[0] for run in (joint, bone)]
    assert [row["modality"] for row in rows] == ["joint", "bone"]
    assert rows[0]["recipe_hash"] != rows[1]["recipe_hash"]
    assert rows[0]["final_valid_top1"] != rows[1]["final_valid_top1"]
    classes = len(joint.data.classes)
    shapes = {s: (len(joint.data.splits[s].ids), classes) for s in ("valid", "test")}
    assert read_scores(joint.scores_path(rows[0]["key"]), shapes).keys() == shapes.keys()

    wanted = ("--weights", "fit", "--csv", "out/table.csv", "--confusion")
    done = here("train", "fuse", *streams, *wanted, "out/classes.csv", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["weights"] == "fitted"
    assert [row["stream"] for row in found["rows"]] == ["joint", "bone", "fused"]
    for row, kept in zip(found["rows"], rows, strict=False):
        for name in ("valid_top1", "test_top1", "test_top5", "test_mean_class"):
            assert row[name] == pytest.approx(kept[f"final_{name}"], abs=0.005), name
    assert sum(row["weight"] for row in found["rows"][:2]) == pytest.approx(1)

    with (workdir / "out/table.csv").open() as file:
        written = list(csv.DictReader(file))
    assert [float(row["test_top1"]) for row in written] == [r["test_top1"] for r in found["rows"]]
    with (workdir / "out/classes.csv").open() as file:
        header, *lines = csv.reader(file)
    assert header[1:] == [line[0] for line in lines] == joint.data.classes
    counts = [[int(count) for count in line[1:]] for line in lines]
    hits = sum(counts[place][place] for place in range(classes))
    assert hits / sum(map(sum, counts)) == pytest.approx(found["rows"][-1]["test_top1"])

    shown = here("train", "fuse", *streams, "--weights", "2:1", "--confusion", "out/classes.png")
    assert "0.667" in shown.stdout
    assert (workdir / "out/classes.png").read_bytes().startswith(b"\x89PNG")


def test_a_row_is_not_written_before_its_scores_are_on_the_disk(here, monkeypatch):
    def full(path, _):
        raise OSError(28, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(worker, "write_scores", full)
        done = here(*TRAIN, "--run", "mine")
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert open_run("mine").rows().empty
    assert here(*TRAIN, "--run", "mine").returncode == 0
    [key] = open_run("mine").rows()["key"]
    assert open_run("mine").scores_path(key).is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fuse",), "RUN"),
        (("fuse", "nobody"), "no run 'nobody'"),
        (("fuse", "nobody", "--weights", "much"), "--weights 'much'"),
        (("fuse", "nobody", "--confusion", "a.bmp"), "unknown picture type"),
        (("--arch", "5", "fuse", "nobody"), "--arch is for a training"),
        ((), "Give one of --arch"),
    ],
)
def test_what_cannot_be_fused_is_one_line(here, arguments, message):
    done = here("train", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_search_keeps_scores_when_asked_and_names_the_run_after_the_modality(here):
    asked = ("search", "--space", "tiny", "--dataset", "synthetic", "--engine", "fast")
    asked += ("--modality", "joint+bone-motion", "--trials", "1", "--workers", "1")
    done = here(*asked, "--keep-scores")
    assert done.returncode == 0, done.stderr
    run = open_run("tiny_synthetic_thesis_tiny_random_777_joint-bone-motion")
    row = run.rows().iloc[0]
    assert (row["modality"], run.data.channels) == ("joint+bone-motion", 6)
    assert run.scores_path(row["key"]).is_file()
    assert "modality       joint+bone-motion" in here("runs", "show", run.name).stdout
    assert here("runs", "collect", run.name).returncode == 0

    described = here(*TRAIN, "--modality", "joint+bone-motion", "--describe", "--json")
    facts = json.loads(described.stdout)
    assert facts["input_shape"][1] == 6
    assert facts["params"] > json.loads(here(*TRAIN, "--describe", "--json").stdout)["params"]


def test_another_modality_is_another_run(here):
    here(*TRAIN, "--run", "mine")
    done = here(*TRAIN, "--run", "mine", "--modality", "bone")
    assert done.returncode == 2
    assert "belongs to modality '', not 'bone'" in done.stderr
