"""Runs somebody made up, in which predictions, curves and accuracies agree, and tables of them."""

import json
import os
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from nas_skeleton.published.benchmark import Benchmark
from nas_skeleton.published.publish import publish
from nas_skeleton.results import schema
from nas_skeleton.results.run import Arguments, Clips, DataFacts, plan_run
from nas_skeleton.results.store import ResultWriter
from nas_skeleton.scheduling.plan import job_of
from nas_skeleton.spaces import load_space

SPACE = load_space("nb201")
RECIPE = SPACE.card.recipe("quick")
EPOCHS = (10, 20, 30)
CLASSES = 4
COUNTS = {"train": 12, "valid": 20, "test": 40}
_LABELS = {split: [i % CLASSES for i in range(count)] for split, count in COUNTS.items()}
DATA = DataFacts(
    [f"class {n}" for n in range(CLASSES)],
    20,
    1,
    {
        split: Clips([f"{split}{i:03}" for i in range(len(labels))], labels)
        for split, labels in _LABELS.items()
    },
)
ARGUMENTS = Arguments(
    space="nb201",
    dataset="utdmhad",
    protocol="thesis",
    recipe="quick",
    strategy="exhaustive",
    seeds=[777, 888],
    fingerprint="f" * 64,
    recipe_hash=SPACE.card.recipe_hash("quick"),
)
REPRESENTATIVES = [members[0] for members in SPACE.functional_classes().values()]
LOST = (REPRESENTATIVES[7], 777)  # diverged
SOME = REPRESENTATIVES[:300]  # are trained with a second seed too


def training(arch, seed, arguments=ARGUMENTS, **columns):
    """A made-up training: its numbers are drawn from architecture and seed."""
    rng = np.random.default_rng([arch, seed])
    cost = SPACE.cost(arch, RECIPE, classes=CLASSES, joints=20)
    row = {
        "key": job_of(arguments, arch, seed).key,
        "space": "nb201",
        "arch_index": arch,
        "arch_str": SPACE.arch_string(arch),
        "nb201_key": SPACE.nb201_key(arch),
        "functional_key": SPACE.functional_key(arch),
        "dataset": arguments.dataset,
        "fingerprint": arguments.fingerprint,
        "protocol": arguments.protocol,
        "recipe": "quick",
        "recipe_hash": arguments.recipe_hash,
        "modality": "joint",
        "seed": seed,
        "engine": "native",
        "precision": "float32",
        "epochs": EPOCHS[-1],
        "params": cost.params,
        "macs": cost.macs,
        "host": f"machine-{arch % 2}",
        "version": "0.1.0",
        "finished_at": "2026-01-01T00:00:00+00:00",
    }
    if (arch, seed) == LOST:
        return row | {"status": schema.DIVERGED, "error": "loss is nan"} | columns, "[]", {}
    hits = {s: [int(rng.integers(0, count + 1)) for _ in EPOCHS] for s, count in COUNTS.items()}
    curve = [
        {
            "epoch": epoch,
            "learning_rate": 0.1 / epoch,
            "train_loss": float(rng.uniform(0, 3)),
            **{
                f"{split}_{metric}": hits[split][at] / count
                for split, count in COUNTS.items()
                for metric in schema.METRICS
            },
        }
        for at, epoch in enumerate(EPOCHS)
    ]
    predictions = {}
    for split in ("valid", "test"):
        labels = np.array(_LABELS[split])
        right = rng.permutation(len(labels)) < hits[split][-1]
        predictions[split] = np.where(right, labels, (labels + 1) % CLASSES).astype(np.int16)
        of_classes = [right[labels == label].mean() for label in range(CLASSES)]
        curve[-1][f"{split}_mean_class"] = float(np.mean(of_classes))
    best = max(range(len(EPOCHS)), key=lambda at: hits["valid"][at])
    names = [f"{split}_{metric}" for split in COUNTS for metric in schema.METRICS]
    row |= {
        "status": schema.DONE,
        "device": "cpu",
        "train_time_s": float(rng.uniform(5, 20)),
        "latency_ms": float(rng.uniform(1, 5)),
        "peak_memory_mb": 300.0,
        "best_epoch": EPOCHS[best],
        **{f"final_{name}": curve[-1][name] for name in names},
        **{f"best_{name}": curve[best][name] for name in names},
    }
    return row | columns, json.dumps(curve), predictions


def make_run(name, trainings, arguments=ARGUMENTS):
    """A run of these trainings in the working folder."""
    run = plan_run(name, arguments, DATA)
    run.write()
    writer = ResultWriter(run.results_folder, f"{name}-worker")
    writer.append_all(trainings)
    writer.close()
    return run


@pytest.fixture(scope="session")
def made():
    """What tests need of this module, which they cannot import."""
    return SimpleNamespace(
        arguments=ARGUMENTS,
        key=lambda arguments, arch, seed: job_of(arguments, arch, seed).key,
        counts=COUNTS,
        lost=LOST,
        make_run=make_run,
        some=SOME,
        training=training,
    )


def table_of(folder, archs, some):
    """A table of these architectures with seed 777, `some` also with 888, made in `folder`."""
    before = os.getcwd()  # noqa: PTH109
    os.chdir(folder)
    try:
        pairs = [(arch, 777) for arch in archs] + [(arch, 888) for arch in some]
        run = make_run("mine", [training(*pair) for pair in pairs])
        publish([run], "utdmhad", folder / "runs" / "published")
    finally:
        os.chdir(before)
    return folder / "runs" / "published" / "utdmhad"


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """The folder of a table with a row for every architecture; one seed is not complete."""
    return table_of(tmp_path_factory.mktemp("whole"), REPRESENTATIVES, SOME)


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """The folder of a table of ten functional classes, one of which diverged with seed 777."""
    return table_of(tmp_path_factory.mktemp("small"), REPRESENTATIVES[:10], SOME[:4])


@pytest.fixture(scope="session")
def benchmark(whole):
    return Benchmark.load(whole)


@pytest.fixture(scope="session")
def rows(benchmark):
    """The rows of the same table, as pandas reads them: what answers are compared with."""
    return benchmark.to_pandas().set_index(["arch_index", "seed"])


@pytest.fixture
def copied(whole, tmp_path):
    """A copy of the table that may be damaged."""
    return shutil.copytree(whole, tmp_path / "runs" / "published" / "utdmhad")


@pytest.fixture
def few(tmp_path, monkeypatch):
    """An empty working folder, and a run in it of six trainings."""
    monkeypatch.chdir(tmp_path)
    return make_run("few", [training(arch, seed) for arch in SOME[:3] for seed in (777, 888)])
