"""Scores beside trainings: sharing within functional classes, rank correlations, `runs collect`."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from nas_skeleton.analysis.agreement import rank_correlations
from nas_skeleton.errors import InputError
from nas_skeleton.proxies.names import PROXIES
from nas_skeleton.results import schema
from nas_skeleton.results.proxies import (
    COLUMNS,
    Identity,
    open_proxy_run,
    plan_proxy_run,
    scored_and_trained,
    with_scores,
)
from nas_skeleton.results.run import open_run, run_names
from nas_skeleton.scheduling.means import choose_means
from nas_skeleton.scheduling.signals import Signals
from nas_skeleton.scheduling.start import start_campaign
from nas_skeleton.skeletons.layouts import NTU
from nas_skeleton.skeletons.store import load_dataset
from nas_skeleton.spaces import load_space

IDENTITY = Identity("tiny", "synthetic", "f", "thesis", "tiny", "h", "", 777, 8)


def keep(name, identity, scores):
    """A folder of scores; each proxy of a cell has the score of the cell plus its place."""
    run = plan_proxy_run(name, identity)
    for arch, score in scores.items():
        run.append(arch, {proxy: score + at for at, proxy in enumerate(PROXIES)}, 0.5)
    run.close()
    return run


def test_the_folder_of_published_tables_keeps_no_scores(workdir):
    with pytest.raises(InputError, match="the folder of published tables"):
        plan_proxy_run("published", IDENTITY)


def test_scores_come_back_as_they_were_kept(workdir):
    keep("mine", IDENTITY, {5: 1.0, 2: math.nan, 7: -3.25})
    scores = open_proxy_run("mine").scores()
    assert scores["arch_index"].tolist() == [2, 5, 7]
    np.testing.assert_equal(scores["proxy_params"].tolist(), [math.nan, 1.0, -3.25])
    assert scores["seconds"].tolist() == [0.5] * 3
    assert open_proxy_run("mine").identity == IDENTITY


def test_a_cell_is_kept_once(workdir):
    keep("mine", IDENTITY, {5: 1.0})
    keep("mine", IDENTITY, {5: 2.0})
    assert open_proxy_run("mine").scores()["proxy_params"].tolist() == [1.0]


def test_other_arguments_need_another_name(workdir):
    keep("mine", IDENTITY, {5: 1.0})
    other = Identity("tiny", "synthetic", "f", "thesis", "tiny", "h", "", 778, 8)
    with pytest.raises(InputError, match="belong to seed 777, not 778"):
        plan_proxy_run("mine", other)


def test_unknown_scores_are_said_with_those_there_are(workdir):
    keep("mine", IDENTITY, {5: 1.0})
    with pytest.raises(InputError, match="there are: mine"):
        open_proxy_run("yours")


def test_a_class_shares_its_scores_but_not_its_costs(workdir):
    space = load_space("tiny")
    members = max(space.functional_classes().values(), key=len)
    first, second, third = members[:3]
    run = keep("mine", IDENTITY, {first: 10.0, third: 20.0})
    alone = next(arch for arch in range(100) if arch not in members)
    table = pd.DataFrame(
        {"arch_index": [second, third, alone], "params": [7, 8, 9], "macs": [70, 80, 90]}
    )
    scored = with_scores(table, run, space)
    assert list(scored) == ["arch_index", "params", "macs", *COLUMNS]
    np.testing.assert_equal(scored["proxy_params"].tolist(), [7.0, 8.0, math.nan])
    np.testing.assert_equal(scored["proxy_flops"].tolist(), [70.0, 80.0, math.nan])
    np.testing.assert_equal(scored["proxy_zen"].tolist(), [22.0, 32.0, math.nan])


class Trained:
    """A run with accuracies, of which the last cell failed."""

    name = "trained"

    def __init__(self, accuracies):
        self.accuracies = accuracies

    def rows(self, columns):
        return pd.DataFrame(
            {"arch_index": list(self.accuracies), "final_valid_top1": self.accuracies.values()}
        )


def test_rank_correlations_are_those_of_scipys_definitions(workdir):
    space = load_space("tiny")
    cells = [6111, 1462, 0, 9000]
    run = keep("mine", IDENTITY, dict(zip(cells, [1.0, 2.0, 3.0, math.nan], strict=True)))
    trained = Trained(dict(zip(cells, [0.1, 0.3, 0.2, 0.4], strict=True)))
    data = SimpleNamespace(layout=NTU, classes=("a", "b"), bodies=1, channels=3)
    both = scored_and_trained(run, trained, space, data)
    columns = (f"proxy_{name}" for name in PROXIES)
    found = {
        name: rank_correlations(both, column, "final_valid_top1")
        for name, column in zip(PROXIES, columns, strict=True)
    }
    assert found["zen"].cells == 3  # one has no score
    assert found["zen"].spearman == pytest.approx(0.5)  # ranks 1 2 3 and 1 3 2
    assert found["zen"].kendall == pytest.approx(1 / 3)
    assert found["params"].cells == 4


def test_a_run_without_validation_accuracies_cannot_be_compared(workdir):
    run = keep("mine", IDENTITY, {5: 1.0})
    with pytest.raises(InputError, match="no finished training with a validation accuracy"):
        scored_and_trained(run, Trained({5: math.nan}), load_space("tiny"), None)


@pytest.fixture
def collected(workdir):
    """A finished run of two trainings."""
    campaign = start_campaign(
        load_space("tiny"), load_dataset("synthetic"), choose_means("cpu", "1"),
        seeds=[777], archs=[5, 6111], name="trained",
    )  # fmt: skip
    for job in campaign.jobs:
        campaign.execute_here(job, Signals(), lambda _: None)
    return campaign.run.arguments


def test_collect_adds_the_scores_to_the_table(here, workdir, collected):
    its = collected
    identity = Identity(
        its.space, its.dataset, its.fingerprint, its.protocol, its.recipe, its.recipe_hash,
        "", 777, 8,
    )  # fmt: skip
    keep("mine", identity, {5: 1.0})
    assert here("runs", "collect", "trained", "--proxies", "mine").returncode == 0
    table = pq.read_table("runs/trained/table.parquet")
    assert table.column_names == [*schema.COLUMNS, *COLUMNS]
    rows = table.to_pandas().set_index("arch_index")
    assert rows["proxy_zen"][5] == 13.0
    assert rows["proxy_params"][5] == rows["params"][5]
    assert np.isnan(rows["proxy_params"][6111])
    assert list(pd.read_csv("runs/trained/table.csv"))[-1] == "proxy_zen"
    assert here("runs", "collect", "trained").returncode == 0
    assert pq.read_table("runs/trained/table.parquet").column_names == [*schema.COLUMNS]
    assert run_names() == ["trained"]
    assert open_run("trained").name == "trained"


def test_scores_of_other_networks_are_not_collected(here, workdir, collected):
    keep("mine", IDENTITY, {5: 1.0})
    done = here("runs", "collect", "trained", "--proxies", "mine")
    assert done.returncode == 2
    assert "proxies 'mine' belong to fingerprint 'f', run 'trained' to" in done.stderr
