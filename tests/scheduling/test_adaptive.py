"""Searches that decide by results: on real trainings, stopped, continued, with any workers."""

import json
import random

import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.results import schema
from nas_skeleton.results.run import open_run
from nas_skeleton.results.store import ResultWriter
from nas_skeleton.scheduling.adaptive import missing_pairs, search_of
from nas_skeleton.scheduling.means import choose_means
from nas_skeleton.scheduling.outcome import Outcome
from nas_skeleton.scheduling.signals import Signals, StoppedEarly
from nas_skeleton.scheduling.start import start_campaign
from nas_skeleton.skeletons.store import load_dataset
from nas_skeleton.spaces import load_space
from nas_skeleton.strategies import STRATEGIES, Strategy, Trial


class Climber(Strategy):
    """Proposes what an accuracy it heard leads it to."""

    def __init__(self, setting):
        self.drawn = random.Random(setting.seed)
        self.size = len(setting.space)
        self.heard = []

    def ask(self):
        step = round(1000 * self.heard[-1][1]) if self.heard else 0
        return Trial((self.drawn.randrange(self.size) + step) % self.size)

    def tell(self, trial, result):
        self.heard.append((trial, result.valid_top1, result.macs))


class Halver(Climber):
    """Three architectures for one epoch, the best of them to the end; then again."""

    looks = (1,)

    def __init__(self, setting):
        super().__init__(setting)
        self.asked = 0

    def ask(self):
        number = self.asked % 4
        if number == 3:
            if len(self.heard) < self.asked:
                return None
            best = max(self.heard[-3:], key=lambda heard: heard[1])[0]
            self.asked += 1
            return Trial(best.arch_index)
        self.asked += 1
        return Trial(self.drawn.randrange(self.size), epochs=1)


@pytest.fixture(autouse=True)
def known(monkeypatch):
    monkeypatch.setitem(STRATEGIES, "climber", Climber)
    monkeypatch.setitem(STRATEGIES, "halver", Halver)


def campaign(strategy="climber", *, workers="1", name="mine", **options):
    arguments = {"seeds": [777], "trials": 3, "parallel": 2, "protocol": "thesis", **options}
    return start_campaign(
        load_space("tiny"),
        load_dataset("synthetic"),
        choose_means("cpu", workers, "fast"),
        strategy=strategy,
        name=name,
        **arguments,
    )


def pursue(campaign, signals=None):
    outcomes = []
    campaign.pursue(signals or Signals(), outcomes.append)
    return outcomes


def trained(name="mine"):
    rows = open_run(name).rows(["arch_index", "seed", "status", "final_valid_top1"])
    return sorted(rows.fillna(-1).itertuples(index=False, name=None))


def test_a_search_is_the_same_with_any_number_of_workers(workdir):
    one, two = campaign(name="one", trials=4), campaign(name="two", trials=4, workers="2")
    pursue(one)
    pursue(two)
    assert trained("one") == trained("two")
    assert len(trained("one")) == 4
    heard = [[told[1:] for told in each.adaptive.strategy.heard] for each in (one, two)]
    assert heard[0] == heard[1]
    assert all(macs > 0 for _, macs in heard[0])


def test_a_stopped_search_goes_the_same_way_and_trains_nothing_twice(workdir):
    pursue(campaign(name="whole"))
    stopped = campaign(name="stopped")
    outcomes = []
    signals = Signals()

    def stop_after_the_first(outcome):
        outcomes.append(outcome)
        signals.received = True

    with pytest.raises(StoppedEarly):
        stopped.pursue(signals, stop_after_the_first)
    again = pursue(campaign(name="stopped"))
    assert len(outcomes) + len(again) == 3
    assert not {o.job.key for o in outcomes} & {o.job.key for o in again}
    assert trained("stopped") == trained("whole")
    assert pursue(campaign(name="stopped")) == []


def test_promoted_trainings_go_on_from_their_checkpoints_to_the_same_result(workdir):
    halving = campaign("halver", trials=2, workers="2")
    pursue(halving)
    rows = open_run("mine").rows(blobs=True)
    done, paused = (rows[rows["status"] == status] for status in (schema.DONE, schema.PAUSED))
    assert len(done)
    assert len(paused) >= 2 * len(done)
    epochs = load_space("tiny").card.recipe("tiny").epochs
    assert set(paused["epochs"]) == {1}
    assert set(done["epochs"]) == {epochs}
    assert all(open_run("mine").checkpoint_path(key).exists() for key in paused["key"])
    assert not any(open_run("mine").checkpoint_path(key).exists() for key in done["key"])

    whole = start_campaign(
        load_space("tiny"),
        load_dataset("synthetic"),
        choose_means("cpu", "1", "fast"),
        archs=done["arch_index"].tolist(),
        seeds=[777],
        protocol="thesis",
        name="whole",
    )
    whole.execute(whole.remaining(), Signals(), lambda _: None)
    expected = open_run("whole").rows(blobs=True)
    for column in ("key", "final_valid_top1", "final_test_top1", "valid_predictions"):
        assert done[column].tolist() == expected[column].tolist()
    last = [json.loads(curve)[-1] for curve in done["curve"]]
    assert last == [json.loads(curve)[-1] for curve in expected["curve"]]
    assert all(1 in [e["epoch"] for e in json.loads(curve)] for curve in done["curve"])


def missing_of(name):
    run, space = open_run(name), load_space("tiny")
    return missing_pairs(run, space, search_of(run, space), set())


def test_a_halving_that_is_made_again_asks_for_nothing(workdir):
    pursue(campaign("halver", trials=2))
    again = campaign("halver", trials=2)
    assert again.remaining() == []
    assert again.forecast_search().seconds == []  # nor is anything measured
    assert pursue(again) == []
    assert missing_of("mine") == []


def test_a_larger_budget_goes_on(workdir):
    pursue(campaign(trials=2))
    pursue(campaign(trials=4))
    assert len(trained()) == 4
    pursue(campaign(trials=4, name="at-once"))
    assert trained() == trained("at-once")


def test_what_is_left_of_a_search_is_what_it_asks_for_by_now(workdir):
    begun = campaign(parallel=3)
    begun.write()
    left = missing_of("mine")
    assert left == [(job.arch_index, job.seed) for job in begun.remaining()]
    assert len(left) == 3


def test_further_seeds_are_another_search(workdir):
    pursue(campaign(trials=1))
    with pytest.raises(InputError, match=r"run 'mine'.*seeds \[777\], not \[777, 888\]"):
        campaign(seeds=[777, 888])
    assert campaign(seeds=[777, 888], name=None).run.name.endswith("climber_777-888")


def test_accuracies_of_several_seeds_are_told_as_their_mean(workdir):
    two = campaign(seeds=[777, 888], trials=1)
    pursue(two)
    [(_, valid, _)] = two.adaptive.strategy.heard
    rows = open_run("mine").rows(["final_valid_top1"])
    assert valid == pytest.approx(rows["final_valid_top1"].mean())


def test_a_training_that_failed_is_told_as_worthless_and_tried_again_next_time(workdir):
    begun = campaign(trials=1)
    job = begun.remaining()[0]
    assert begun.adaptive.next() == [job]
    begun.adaptive.hear(Outcome(job, schema.FAILED, error="x"))
    assert begun.adaptive.missing() == []
    assert [told[1] for told in begun.adaptive.strategy.heard] == [0.0]
    assert campaign(trials=1).remaining() == [job]


def test_a_protocol_without_validation_clips_is_refused(workdir):
    with pytest.raises(InputError, match="decides by validation clips"):
        campaign(protocol="odd-even")
    assert not (workdir / "runs").exists()


def test_what_was_seen_before_a_training_diverged_stays_as_it_was_told(workdir):
    halving = campaign("halver", trials=1, parallel=1)
    pursue(halving)
    heard = [told[1] for told in halving.adaptive.strategy.heard]
    run = open_run("mine")
    rows = run.rows(every=True, blobs=True)
    paused = rows[rows["status"] == schema.PAUSED].iloc[0]
    lost = json.loads(paused[list(schema.COLUMNS)].dropna().to_json())
    lost["status"] = schema.DIVERGED
    ResultWriter(run.results_folder, "later").append(lost)
    again = campaign("halver", trials=1, parallel=1).adaptive
    while again.next() is None and not again.exhausted():
        pass
    assert [told[1] for told in again.strategy.heard][:3] == heard[:3]
    assert min(heard[:3]) > 0
