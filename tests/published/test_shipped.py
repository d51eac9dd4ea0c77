"""The tables in the repository are sound, and answer what the README asks them."""

from pathlib import Path

import pytest

from nas_skeleton.analysis.reliability import worth
from nas_skeleton.published.benchmark import Benchmark
from nas_skeleton.published.check import check_table
from nas_skeleton.published.files import MANIFEST
from nas_skeleton.published.noise import observations_of

CHECKOUT = Path(__file__).resolve().parent.parent.parent
TABLES = sorted(path.parent for path in (CHECKOUT / "runs" / "published").glob(f"*/{MANIFEST}"))


@pytest.mark.parametrize("folder", TABLES, ids=[folder.name for folder in TABLES])
def test_a_table_is_sound(folder):
    assert check_table(folder).name == folder.name


def test_the_readmes_questions_are_answered():
    table = Benchmark.load(CHECKOUT / "runs" / "published" / "utdmhad")
    assert table.query(6111, seed=777).valid_top1 > 0.5
    best = table.best(seed=777, max_macs=2e6)
    assert best.row.macs <= 2e6
    facts = table.manifest()
    assert facts.functions == len(table.space.functional_classes())
    assert facts.architectures == len(table)
    readme = " ".join((CHECKOUT / "README.md").read_text("utf-8").split())
    assert f"the {facts.functions:,} functionally different ones are trained" in readme
    assert f"(so far {len(facts.sample):,} of it)" in readme


def test_the_readmes_noise_is_that_of_the_table():
    table = Benchmark.load(CHECKOUT / "runs" / "published" / "utdmhad").table()
    found = worth(observations_of(table))
    readme = (CHECKOUT / "README.md").read_text("utf-8")
    valid, test = (found.signals[split] for split in ("valid", "test"))
    assert f"from {found.cells:,} functions with three seeds" in readme
    assert (
        f"| standard deviation over seeds, points | {100 * valid.seed_sd:.1f} "
        f"| {100 * test.seed_sd:.1f} |"
    ) in readme
    means = f"{valid.mean_of_seeds:.2f} | {test.mean_of_seeds:.2f}"
    assert f"| the same of a mean of three seeds | {means} |" in readme
