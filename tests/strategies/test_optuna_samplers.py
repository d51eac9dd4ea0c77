"""Samplers of Optuna by name, a user's own and those of OptunaHub among them."""

import sys
import types

import optuna
import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.spaces import load_space
from nas_skeleton.strategies import STRATEGIES, Result, Setting, build_strategy, learns
from nas_skeleton.strategies.named import OF_OPTUNA, SEVERAL_SEEDS, has_study

SETTING = Setting(load_space("nb201"), seed=3, seeds=2, trials=10)
MINE = """
from optuna.samplers import RandomSampler, TPESampler

class Seeded(RandomSampler):
    def __init__(self, seed):
        super().__init__(seed)

class Seedless(TPESampler):
    def __init__(self):
        super().__init__(seed=1)

class Demanding(RandomSampler):
    def __init__(self, temperature, seed=None):
        super().__init__(seed)

number = 5
"""


@pytest.fixture(autouse=True)
def mine(tmp_path, monkeypatch):
    """A module of the user's."""
    (tmp_path / "my_samplers.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_samplers", raising=False)


@pytest.fixture
def hub(monkeypatch):
    """OptunaHub without a network: a folder of packages."""
    import my_samplers

    one = types.ModuleType("optunahub_registry.package.samplers.one")
    one.Seeded, one.__all__ = my_samplers.Seeded, ["Seeded"]
    packages = {"samplers/one": one, "samplers/several": my_samplers}

    def load_module(package):
        if package not in packages:
            raise OSError("cannot reach\ngithub.com")
        return packages[package]

    monkeypatch.setitem(sys.modules, "optunahub", types.SimpleNamespace(load_module=load_module))


def first(name, setting=SETTING):
    strategy = build_strategy(name, setting)
    asked = []
    for _ in range(3):
        asked.append(strategy.ask())
        strategy.tell(asked[-1], Result(0.5))
    return asked


@pytest.mark.parametrize(
    "name",
    [
        "optuna:RandomSampler",
        "optuna:QMCSampler",
        "optuna:NSGAIIISampler",
        "optuna:TPESampler",
        "optuna:my_samplers:Seeded",
        "optuna:my_samplers:Seedless",
    ],
)
def test_any_class_is_a_strategy(name, capfd):
    assert learns(name)
    assert has_study(name)
    assert first(name) == first(name)
    assert capfd.readouterr() == ("", "")


def test_a_sampler_gets_the_seed_if_it_takes_one():
    other = Setting(SETTING.space, seed=4)
    assert first("optuna:my_samplers:Seeded") != first("optuna:my_samplers:Seeded", other)
    assert first("optuna:my_samplers:Seedless") == first("optuna:my_samplers:Seedless", other)


def test_large_seeds_are_seeds():
    assert first("tpe", Setting(SETTING.space, seed=2**63 - 1))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("optuna:Magic", "optuna.samplers has no 'Magic' that is a subclass of"),
        ("optuna:", "optuna.samplers has no ''"),
        ("optuna:my_samplers:number", "my_samplers has no 'number' that is"),
        ("optuna:no_module:Sampler", "cannot import 'no_module': No module named 'no_module'"),
        ("optuna::Sampler", "optuna.samplers has no 'Sampler'"),
        ("optuna:my_samplers:Demanding", "missing a required argument: 'temperature'"),
        ("optuna:GridSampler", "missing a required argument: 'search_space'"),
    ],
)
def test_what_is_no_sampler_is_answered_in_one_line(name, message):
    with pytest.raises(InputError, match=rf"^--strategy {name}: .*{message}") as raised:
        build_strategy(name, SETTING)
    assert "\n" not in str(raised.value)


def test_a_package_of_optunahub_is_a_strategy(hub):
    assert first("optunahub:samplers/one") == first("optuna:my_samplers:Seeded")
    assert first("optunahub:samplers/several:Seeded") == first("optuna:my_samplers:Seeded")


def test_several_samplers_of_a_package_are_named(hub):
    with pytest.raises(InputError, match=r"samplers, .*Seeded.*choose with .*several:CLASS"):
        build_strategy("optunahub:samplers/several", SETTING)


def test_a_package_that_cannot_be_loaded_is_said_in_one_line(hub):
    with pytest.raises(InputError, match=r"cannot load 'a/b' from .*: cannot reach github.com$"):
        build_strategy("optunahub:a/b", SETTING)


def test_without_optunahub_it_is_said_what_it_would_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "optunahub", None)
    with pytest.raises(InputError, match=r"downloads the sampler's code from GitHub and runs it"):
        build_strategy("optunahub:samplers/one", SETTING)


@pytest.mark.parametrize("name", [*sorted(OF_OPTUNA), "optuna:RandomSampler"])
def test_without_optuna_it_is_said_how_to_get_it(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match=rf"^--strategy {name} needs Optuna: pip install"):
        build_strategy(name, SETTING)


def test_the_sets_of_names_are_of_strategies():
    assert set(STRATEGIES) >= OF_OPTUNA | SEVERAL_SEEDS
    assert not has_study("random")


def test_searching_with_optuna_is_quiet(capfd):
    verbosity = optuna.logging.get_verbosity()
    first("tpe")
    assert optuna.logging.get_verbosity() == verbosity
    assert capfd.readouterr() == ("", "")
