import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import torch

from nas_skeleton.errors import InputError
from nas_skeleton.spaces import load_any_space, load_space
from nas_skeleton.spaces.nni_names import nni_sample
from nas_skeleton.strategies import Result, Search, Setting, build_strategy

SPACE = load_space("nb201")
needs_nni = pytest.mark.skipif(
    importlib.util.find_spec("nni") is None, reason="NNI has no wheel for this machine"
)
NAMES = ["nni-evolution", "nni-rl", pytest.param("nni-tpe", marks=pytest.mark.slow)]


def threes(arch):
    """Made-up accuracy: the share of 3x3 convolutions."""
    return SPACE.cell(arch).operations.count(3) / 6


def proposals(name, count, accuracy=threes, seed=7, parallel=1):
    setting = Setting(SPACE, seed, trials=count)
    search = Search(build_strategy(name, setting), setting, parallel=parallel)
    archs = []
    while (asked := search.next()) is not None:
        archs.append(asked.arch_index)
        search.finish(asked, Result(accuracy(asked.arch_index)))
    assert search.over
    return archs


@needs_nni
@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_and_results_give_the_same_proposals(name):
    count = 4 if name == "nni-tpe" else 24
    first = proposals(name, count)
    np.random.seed(1)  # noqa: NPY002 - whatever others have drawn meanwhile
    torch.manual_seed(1)
    assert proposals(name, count, parallel=3) == first
    assert proposals(name, count, seed=8) != first


@needs_nni
@pytest.mark.parametrize("name", ["nni-evolution", "nni-rl"])
def test_what_it_is_told_changes_what_it_proposes(name):
    first = proposals(name, 45)
    other = proposals(name, 45, lambda arch: 1 - threes(arch))
    assert first[:5] == other[:5]
    assert first != other


@needs_nni
def test_evolution_climbs():
    archs = proposals("nni-evolution", 80)
    values = [threes(arch) for arch in archs]
    assert np.mean(values[-20:]) > np.mean(values[:10]) + 0.2


@needs_nni
def test_it_waits_for_the_result_of_its_proposal():
    strategy = build_strategy("nni-evolution", Setting(SPACE, 7))
    trial = strategy.ask()
    assert strategy.ask() is None
    strategy.tell(trial, Result(0.5))
    assert strategy.ask() is not None


@needs_nni
def test_global_generators_are_left_as_they_were():
    strategy = build_strategy("nni-rl", Setting(SPACE, 7))
    numpy_before = np.random.get_state()[1].tolist()  # noqa: NPY002
    torch_before = torch.get_rng_state()
    strategy.ask()
    assert np.random.get_state()[1].tolist() == numpy_before  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_before)


@needs_nni
def test_an_error_in_nnis_thread_reaches_whoever_asks(monkeypatch):
    from nas_skeleton.strategies import nni_exploration

    def broken(seed):
        raise ZeroDivisionError("in NNI")

    monkeypatch.setitem(nni_exploration.NNI_STRATEGIES, "nni-evolution", broken)
    with pytest.raises(ZeroDivisionError, match="in NNI"):
        build_strategy("nni-evolution", Setting(SPACE, 7)).ask()


@needs_nni
def test_the_model_space_has_the_labels_of_nnis_own_hub():
    from nas_skeleton.strategies.nni_exploration import nni_model_space

    ours = nni_model_space(SPACE, lambda index: index)
    from nni.nas.hub.pytorch import NasBench201

    theirs = NasBench201(stem_out_channels=2, num_modules_per_stack=1)
    options = {label: set(choice.values) for label, choice in ours.simplify().items()}
    assert options == {label: set(choice.values) for label, choice in theirs.simplify().items()}
    assert set(nni_sample(SPACE, 0)) == set(options)
    assert all(ours.freeze(nni_sample(SPACE, index)) == index for index in range(0, 15_625, 625))


@needs_nni
def test_ray_is_not_imported_on_the_way():
    program = (
        "import sys; from nas_skeleton.strategies.nni_exploration import import_nni; import_nni();"
        "assert 'tianshou' in sys.modules and 'ray' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_reference_models_are_no_space_of_nnis():
    with pytest.raises(InputError, match="edges of cells"):
        build_strategy("nni-evolution", Setting(load_any_space("models"), 7))


def test_without_nni_the_way_out_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "nni", None)
    with pytest.raises(InputError, match=r"pip install 'nas-skeleton\[nni\]'"):
        build_strategy("nni-evolution", Setting(SPACE, 7))


def test_without_tianshou_the_way_out_is_said(monkeypatch):
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "tianshou" else there(name)
    )
    with pytest.raises(InputError, match=r"pip install 'nas-skeleton\[nni-rl\]'"):
        build_strategy("nni-rl", Setting(SPACE, 7))
