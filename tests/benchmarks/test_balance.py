"""The balance of shards: from measured seconds to what is said of them."""

import json
import os
import random
import signal
from dataclasses import asdict, replace

import pytest

from nas_skeleton.benchmarks.balance import (
    balance_of,
    fitted_prices,
    largest_over_mean,
    measure_balance,
)
from nas_skeleton.benchmarks.bench import Bench, Crew, Plan
from nas_skeleton.benchmarks.machine import machine
from nas_skeleton.benchmarks.report import balances_as_json, balances_as_text
from nas_skeleton.benchmarks.settings import Setting
from nas_skeleton.errors import InputError
from nas_skeleton.scheduling.effort import PRICES, Network
from nas_skeleton.spaces import load_space
from nas_skeleton.training.candidates import Unsupported

SPACE = load_space("nb201")
QUICK = Setting("quick", SPACE.card.recipe("quick"))
NETWORK = Network(SPACE, QUICK.recipe, 20)
FIRST = [cells[0] for cells in SPACE.functional_classes().values()]


def seconds_of(indices, seconds=lambda index: NETWORK.effort(SPACE.cell(index)) / 1e6):
    return {index: seconds(index) for index in indices}


def found_for(seconds, shards=100):
    return balance_of(SPACE, 20, QUICK, "native", shards, seconds, seed=1)


def test_the_largest_shard_over_the_mean():
    assert largest_over_mean([1.0, 2.0, 3.0], [0, 0, 1], 2) == 1
    assert largest_over_mean([1.0, 2.0, 6.0], [0, 0, 1], 3) == 2


def test_times_as_predicted_are_balanced_as_predicted():
    found = found_for(seconds_of(FIRST))
    assert (found.classes, found.of_classes) == (5234, 5234)
    assert found.predicted < 1.001
    assert found.actual < 1.01  # not 1: members of a class differ in pools and skips
    assert found.by_index > 1.05
    assert found.rank_correlation == pytest.approx(1)
    assert found.spread == pytest.approx(0, abs=1e-9)


def test_times_that_have_nothing_to_do_with_efforts_are_not_balanced():
    drawn = random.Random(3)
    found = found_for(seconds_of(FIRST, lambda _: drawn.expovariate(1.0)))
    assert found.predicted < 1.001
    assert found.actual > 1.1
    assert abs(found.rank_correlation) < 0.1


def test_a_sample_stands_for_the_rest():
    drawn = random.Random(3)
    timed = drawn.sample(FIRST, 200)

    def noisy(index):
        return NETWORK.effort(SPACE.cell(index)) * drawn.uniform(0.9, 1.1)

    seconds = seconds_of(timed, noisy)
    found = found_for(seconds)
    assert found.classes == 200
    assert 1.001 < found.actual < 1.05
    assert found_for(dict(reversed(seconds.items()))).actual == found.actual


@pytest.mark.parametrize("name", ["nb201", "nb201-graph"])
def test_prices_are_found_again_in_spite_of_a_few_disturbed_times(name):
    wanted = replace(PRICES, convolution=40.0, pool=20.0, skip=10.0, blind=0.5)
    if name == "nb201-graph":
        wanted = replace(wanted, links=8.0)
    network = Network(load_space(name), QUICK.recipe, 20)
    timed = random.Random(4).sample(FIRST, 500)
    blind = SPACE.index("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")
    seconds = seconds_of(
        [*timed, blind], lambda index: 3e-9 * network.effort(SPACE.cell(index), wanted)
    )
    for index in timed[::25]:
        seconds[index] *= 2
    assert asdict(fitted_prices(SPACE, network, seconds)) == pytest.approx(asdict(wanted), rel=0.05)


class MadeUpCrew:
    """Answers with efforts, in an order of its own."""

    def __init__(self, error=None):
        self.opened = []
        self.error = error

    def all(self, method, setting):
        assert method == "open"
        self.opened.append(setting)

    def each(self, method, items):
        assert method == "training_s"
        for engine, index in reversed(items):
            if self.error:
                raise self.error
            assert engine == "native"
            yield (engine, index), NETWORK.effort(SPACE.cell(index))


def measured(crew, classes, heard):
    return measure_balance(
        crew,
        SPACE,
        20,
        QUICK,
        "native",
        10,
        classes=classes,
        seed=7,
        watch=lambda *what: heard.append(what) or (lambda: heard.append("one more")),
    )


def test_as_many_classes_are_timed_as_asked_for():
    crew, heard = MadeUpCrew(), []
    found = measured(crew, 30, heard)
    assert crew.opened == [QUICK]
    assert heard == [("quick", 30), *["one more"] * 30]
    assert len(found.seconds) == found.classes == 30
    assert set(found.seconds) <= set(FIRST)
    made_on = machine("cpu", 2, 2)
    report = json.loads(json.dumps(balances_as_json(made_on, [found]), allow_nan=False))
    assert report["balances"][0]["recipe"]["channels"] == 16
    assert len(report["balances"][0]["seconds"]) == 30
    text = balances_as_text(made_on, [found])
    assert "10 shards" in text
    assert "30 of 5,234 functional classes" in text


def test_an_engine_that_cannot_is_said_in_one_line():
    with pytest.raises(InputError, match="native cannot train a cell: no such kernel"):
        measured(MadeUpCrew(Unsupported("no such kernel")), 30, [])
    with pytest.raises(InputError, match="at least 20"):
        measured(MadeUpCrew(), 19, [])


def test_ctrl_c_leaves_what_was_timed_by_then():
    class Interrupted(MadeUpCrew):
        def each(self, method, items):
            for count, answer in enumerate(super().each(method, items)):
                if count == self.after:
                    raise KeyboardInterrupt
                yield answer

    crew = Interrupted()
    crew.after = 25
    found = measured(crew, 100, [])
    assert found.interrupted
    assert found.classes == 25
    assert "(interrupted)" in balances_as_text(machine("cpu", 2, 2), [found])
    crew.after = 19
    with pytest.raises(KeyboardInterrupt):
        measured(crew, 100, [])


# --- the processes that time cells

PLAN = Plan(
    space="tiny",
    dataset="synthetic",
    protocol="thesis",
    cells=(),
    engines=("fast",),
    device="cpu",
    workers=2,
)


def tiny():
    return Setting("tiny", load_space("tiny").card.recipe())


def test_every_item_is_answered_by_whoever_is_free(workdir):
    items = [("fast", index) for index in (6111, 9930, 284, 11, 0)]
    with Crew(PLAN) as crew:
        crew.all("open", tiny())
        answers = dict(crew.each("training_s", items))
        assert sorted(answers) == sorted(items)
        assert all(0 < seconds < 60 for seconds in answers.values())
        assert list(crew.each("training_s", [])) == []
        for process in crew._processes:
            os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(InputError, match="measuring process died"):
            list(crew.each("training_s", items))


def test_a_training_is_all_its_steps_and_evaluations(workdir):
    bench = Bench(PLAN)
    bench.open(tiny())
    short = bench.training_s("fast", 6111)
    recipe = tiny().recipe.model_copy(update={"epochs": 300})
    bench.open(Setting("long", recipe))
    assert bench.training_s("fast", 6111) > 10 * short
