"""The notebooks in analysis/: they run, and show what is committed."""

import copy
import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

import nas_skeleton as ns
from nas_skeleton.analysis.agreement import kendall
from nas_skeleton.analysis.classes import trained_classes
from nas_skeleton.analysis.ranks import load_cifar
from nas_skeleton.analysis.swaps import (
    added_operations,
    second_shortcuts,
    single_shortcuts,
    swap_effects,
    swaps,
)
from nas_skeleton.results.intraclass import reliability_of

CHECKOUT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((CHECKOUT / "analysis").glob("*.ipynb"))


def printed(notebook):
    """What its cells printed, and their last values as text; no figures.

    A cell's prints come in one output or in several, as the clock has it: they are joined.
    """
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(
        output["text"] if "text" in output else output["data"]["text/plain"] + "\n"
        for output in outputs
        if "image/png" not in output.get("data", {})
    )


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_a_notebook_runs_and_says_what_its_committed_outputs_say(
    path, tmp_path, monkeypatch, request
):
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient")
    if "NAS_SKELETON_DATA" in path.read_text():
        monkeypatch.setenv("NAS_SKELETON_DATA", str(request.getfixturevalue("shared_data")))
    shutil.copytree(CHECKOUT / "analysis", tmp_path / "analysis")
    committed = nbformat.read(path, as_version=4)
    again = copy.deepcopy(committed)
    here = {"metadata": {"path": tmp_path / "analysis"}}
    client.NotebookClient(again, timeout=300, resources=here).execute()  # clears outputs first
    assert printed(again) == printed(committed) != ""


@pytest.mark.slow
def test_the_comparison_with_images_is_left_out_where_there_are_none(tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient")
    shutil.copytree(CHECKOUT / "analysis", tmp_path / "analysis")
    monkeypatch.setenv("NAS_SKELETON_DATA", str(tmp_path))
    notebook = nbformat.read(tmp_path / "analysis" / "05_datasets_and_stems.ipynb", as_version=4)
    here = {"metadata": {"path": tmp_path / "analysis"}}
    client.NotebookClient(notebook, timeout=300, resources=here).execute()
    assert "names no folder with nb201/nats_bench_cifar.csv: left out" in printed(notebook)


@pytest.fixture(scope="module")
def study():
    trainings = ns.Benchmark.load(CHECKOUT / "runs/published/utdmhad").to_pandas("trainings")
    return trained_classes(trainings, seeds=[777])


def test_what_the_readme_says_of_good_cells_is_in_the_table(study):
    pairs = swaps(study.cells, ["skip_paths", "conv_depth", "paths", "depth"])
    second, more = second_shortcuts(pairs), added_operations(pairs)
    for accuracy in (study.valid, study.test):
        by_depth = swap_effects(single_shortcuts(pairs), accuracy, ["conv_depth_before"])
        none, one, two, three = by_depth["effect"]
        assert none < -5
        assert -1.5 < one < 1.5
        assert 6.5 < two < 9.5
        assert 14.5 < three < 17.5
        assert -32.6 < swap_effects(second, accuracy)["effect"].iloc[0] < -28.5
        effects = swap_effects(more, accuracy, ["after", "how"]).set_index(["after", "how"])
        for operation in ("nor_conv_3x3", "avg_pool_3x3"):
            assert 3.5 < effects.loc[(operation, "beside"), "effect"] < 4.6
            assert -1.5 < effects.loc[(operation, "in sequence"), "effect"] < 0.5
        assert 0.5 < effects.loc[("nor_conv_1x1", "beside"), "effect"] < 1.5
        assert -4.5 < effects.loc[("nor_conv_1x1", "in sequence"), "effect"] < -2.5


def test_what_the_readme_says_of_images_is_so(study, shared_data):
    images = load_cifar(shared_data / "nb201" / "nats_bench_cifar.csv")
    of_class = images.groupby(ns.load_space("nb201").functional_key).mean().loc[study.test.index]
    assert 0.1 < kendall(of_class["cifar10"].to_numpy(), study.test[777].to_numpy()) < 0.2
    table = ns.Benchmark.load(CHECKOUT / "runs/published/utdmhad-image")
    drawn = table.manifest().sample
    tested = trained_classes(table.to_pandas("trainings"), seeds=[777], archs=drawn).test[777]
    assert 0.45 < kendall(of_class["cifar10"][tested.index].to_numpy(), tested.to_numpy()) < 0.55


def test_the_verdicts_in_the_readme_are_those_of_the_notebook():
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(CHECKOUT / "analysis" / "08_the_thesis.ipynb", as_version=4)
    lines = printed(notebook).splitlines()
    starts = [at for at, line in enumerate(lines) if line.startswith("| #")]
    readme = (CHECKOUT / "README.md").read_text()
    for start, numbers in (
        (starts[0], ["1a", "1b", *"23456", "ne"]),
        (starts[2], ["1a", "1b", *"246", "ne"]),
    ):
        table = lines[start : start + 2 + len(numbers)]
        assert [line[2:4].strip() for line in table[2:]] == numbers
        assert "\n".join(table) in readme


def test_the_reliabilities_of_the_study_follow_from_its_trainings():
    with (CHECKOUT / "analysis" / "fidelity" / "trainings.csv").open() as file:
        trainings = list(csv.DictReader(file))
    with (CHECKOUT / "analysis" / "fidelity" / "recipes.csv").open() as file:
        recipes = list(csv.DictReader(file))
    assert len(recipes) > 10
    for recipe in recipes:
        own = [row for row in trainings if row["recipe"] == recipe["recipe"]]
        seeds = int(recipe["seeds"])
        for split in ("valid", "test"):
            values = np.array([float(row[f"{split}_top1"]) for row in own]).reshape(-1, seeds)
            found = reliability_of(values)
            assert found.single == pytest.approx(float(recipe[f"{split}_icc"]))
            assert values.mean() == pytest.approx(float(recipe[f"{split}_mean"]))


def test_the_example_of_their_readme_runs(tmp_path, monkeypatch, capsys):
    text = (CHECKOUT / "analysis" / "README.md").read_text()
    code = text.split("```python\n")[1].split("```")[0]
    (tmp_path / "runs").symlink_to(CHECKOUT / "runs")
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    assert "conv_depth_before" in capsys.readouterr().out
    assert (tmp_path / "shortcuts.pdf").read_bytes().startswith(b"%PDF")
