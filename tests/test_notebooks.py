"""The notebooks in analysis/: they run, and show what is committed."""

import copy
import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

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
def test_a_notebook_runs_and_says_what_its_committed_outputs_say(path, tmp_path):
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient")
    shutil.copytree(CHECKOUT / "analysis", tmp_path / "analysis")
    committed = nbformat.read(path, as_version=4)
    again = copy.deepcopy(committed)
    here = {"metadata": {"path": tmp_path / "analysis"}}
    client.NotebookClient(again, timeout=300, resources=here).execute()  # clears outputs first
    assert printed(again) == printed(committed) != ""


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
