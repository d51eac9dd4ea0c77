"""What a published table costs its user: measured on a small one. Never how much."""

import json

import pytest

from nas_skeleton.benchmarks import queries, store
from nas_skeleton.benchmarks.machine import Machine
from nas_skeleton.benchmarks.query_process import QueryCost
from nas_skeleton.benchmarks.report import queries_as_text
from nas_skeleton.published.publish import publish
from nas_skeleton.results.run import runs_folder


@pytest.mark.slow
def test_a_table_is_loaded_and_asked_in_every_way(here, monkeypatch):
    monkeypatch.setattr(store, "KINDS", 50)
    monkeypatch.setattr(queries, "TIMES", 1)
    run = store.make_run(40, lambda _what, _count: lambda: None)
    publish([run], "small", runs_folder() / "published")
    done = here("speed", "--queries", "small", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["table"] == "small"
    assert found["rows"] > 40
    assert min(found["per_second"].values()) > 0
    assert len(found["per_second"]) == 4
    assert 0 < found["memory_mb"] <= found["all_memory_mb"]
    text = queries_as_text(Machine(**found.pop("machine")), QueryCost(**found))
    assert "by index and seed" in text


def test_an_unknown_table_is_one_line(here):
    done = here("speed", "--queries", "nobody")
    assert done.returncode == 2
    assert "no published table 'nobody'" in done.stderr
