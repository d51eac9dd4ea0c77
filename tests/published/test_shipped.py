"""The tables in the repository are sound, and answer what the README asks them."""

import math
import re
from pathlib import Path

import pytest

from nas_skeleton.analysis.reliability import spread_within_classes, worth
from nas_skeleton.published.benchmark import Benchmark
from nas_skeleton.published.check import check_table
from nas_skeleton.published.files import DATASHEET, MANIFEST
from nas_skeleton.published.noise import describe_noise, observations_of
from nas_skeleton.published.table import PublishedTable

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
    assert f"a sample of {len(facts.sample):,}" in readme


def noise_lines(table):
    """What the README says of the table's noise, line by line."""
    found = worth(observations_of(table))
    spread = {
        split: spread_within_classes(values, every.classes)
        for every in [observations_of(table, seeds=(777,), sampled=False, mates=True)]
        for split, values in every.accuracy.items()
    }
    valid, test = (found.signals[split] for split in ("valid", "test"))

    def line(name, of):
        return f"| {name} | {of(valid)} | {of(test)} |"

    def interval(estimate):
        return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"

    def alone(of):
        return f"{100 * math.sqrt(of.seed_sd**2 - of.shared_sd**2):.1f}"

    members, classes = spread["test"].members, spread["test"].classes
    return [
        line("one clip, points", lambda of: f"{100 / of.clips:.2f}"),
        line("binomial standard error, points", lambda of: f"{100 * of.clip_error:.1f}"),
        line("standard deviation over seeds, points", lambda of: f"{100 * of.seed_sd:.1f}"),
        line("of what moves all clips alike", lambda of: f"{100 * of.shared_sd:.1f}"),
        line("of which clips a seed happens to get right (squares add up)", alone),
        f"| among members of one functional class, same seed, points ({members} in {classes}) "
        f"| {100 * spread['valid'].sd:.1f} | {100 * spread['test'].sd:.1f} |",
        line(
            "share of one training's variance that belongs to the cell (ICC)",
            lambda of: interval(of.single),
        ),
        line("the same of a mean of three seeds", lambda of: f"{of.mean_of_seeds:.2f}"),
        line("ICC among the better half of the cells", lambda of: interval(of.better_half)),
        line("Kendall's tau-b of two seeds", lambda of: interval(of.between_seeds)),
    ]


def test_the_readmes_noise_is_that_of_the_table():
    table = Benchmark.load(CHECKOUT / "runs" / "published" / "utdmhad").table()
    readme = (CHECKOUT / "README.md").read_text("utf-8")
    assert f"from {len(observations_of(table)):,} functions with three seeds" in readme
    lines = noise_lines(table)
    at = readme.index(lines[0])
    assert readme[at:].splitlines()[: len(lines)] == lines
    both = worth(observations_of(table)).valid_test
    agreed = f"agree with tau-b {both.value:.2f} [{both.low:.2f}, {both.high:.2f}]"
    assert agreed in readme
    sheet = (table.folder / DATASHEET).read_text("utf-8")
    networks, cells = re.findall(r"(\d+) are worse and (\d+) better on test clips", sheet)
    words = " ".join(readme.split())
    assert "{} are worse and {} better as trained networks".format(*networks) in words
    assert "other seeds, {} are worse and {} better (chosen".format(*cells) in words


def test_the_datasheets_noise_is_that_of_the_table():
    for folder in TABLES:
        text = "\n\n".join(describe_noise(PublishedTable(folder)))
        assert text in (folder / DATASHEET).read_text("utf-8")


def test_all_tables_together_are_small_enough_for_a_repository():
    assert sum(path.stat().st_size for folder in TABLES for path in folder.iterdir()) < 60e6
