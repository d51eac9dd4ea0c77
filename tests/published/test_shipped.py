"""The tables in the repository are sound, and answer what the README asks them."""

import re
from pathlib import Path

import pytest

from nas_skeleton.published.benchmark import Benchmark
from nas_skeleton.published.check import check_table
from nas_skeleton.published.files import MANIFEST

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
    readme = (CHECKOUT / "README.md").read_text("utf-8")
    assert f"So far it has {table.manifest().functions:,} of the 5,234" in readme
    assert re.search(rf"stand for {table.manifest().architectures:,} of all 15,625", readme)
