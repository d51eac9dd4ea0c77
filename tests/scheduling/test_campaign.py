"""What a campaign trains with, and which results a run may hold."""

import pytest
import torch

from nas_skeleton import search, train
from nas_skeleton.errors import InputError
from nas_skeleton.results import schema
from nas_skeleton.scheduling.means import Means, choose_means
from nas_skeleton.scheduling.signals import Signals
from nas_skeleton.scheduling.start import start_campaign
from nas_skeleton.skeletons.store import load_dataset
from nas_skeleton.spaces import load_space
from nas_skeleton.training.engines import ENGINES, SIDE_BY_SIDE, native


@pytest.fixture
def machine(monkeypatch):
    """`machine(gpu=..., why_not=...)` pretends to have two GPUs, and that native cannot run."""

    def pretend(*, gpu, why_not=""):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2 if gpu else 0)
        monkeypatch.setattr(native, "available", lambda: why_not)

    return pretend


@pytest.mark.parametrize("command", [search, train])
def test_commands_offer_auto_and_every_engine(command):
    (option,) = [option for option in command.main.params if option.name == "engine"]
    assert set(option.type.choices) == {"auto", *ENGINES}
    assert option.default == "auto"


def test_auto_is_native_on_a_cpu_and_cuda_graph_on_a_gpu(machine):
    machine(gpu=False)
    assert choose_means("auto", "2") == Means(2, "cpu", "native", 1, 20.0)
    machine(gpu=True)
    assert choose_means("auto", "auto").engine == "cuda-graph"
    assert choose_means("auto", "auto").workers == 2
    assert choose_means("cpu", "1").engine == "native"


def test_auto_without_native_is_fast_and_says_why(machine):
    machine(gpu=False, why_not="no C++ compiler")
    means = choose_means("auto", "1")
    assert means.engine == "fast"
    assert "no C++ compiler" in means.remark
    assert choose_means("auto", "1", "reference").remark == ""


@pytest.mark.parametrize(
    ("gpu", "device", "engine", "message"),
    [
        (False, "auto", "cuda-graph", "--engine cuda-graph needs a GPU"),
        (True, "cpu", "cuda-graph", "--engine cuda-graph needs a GPU"),
        (True, "auto", "native", "--engine native.*--device cpu"),
        (False, "auto", "native", "--engine native cannot run here: no compiler"),
    ],
)
def test_an_engine_that_cannot_run_is_one_line(machine, gpu, device, engine, message):
    machine(gpu=gpu, why_not="no compiler")
    with pytest.raises(InputError, match=message):
        choose_means(device, "1", engine)


@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_a_worker_advances_as_many_candidates_as_the_engine_wants(machine, engine):
    machine(gpu=engine == "cuda-graph")
    assert choose_means("auto", "1", engine).side_by_side == SIDE_BY_SIDE.get(engine, 1)


def test_rows_say_which_engine_trained_them_and_a_run_may_hold_several(workdir):
    space, data = load_space("tiny"), load_dataset("synthetic")
    for trials, engine in enumerate(("fast", "reference"), start=1):
        means = choose_means("cpu", "1", engine)
        campaign = start_campaign(space, data, means, seeds=[777], trials=trials, name="mine")
        (job,) = campaign.remaining()
        campaign.execute_here(job, Signals(), lambda _: None)
    rows = campaign.run.rows().set_index("key")
    assert [rows.at[job.key, "engine"] for job in campaign.jobs] == ["fast", "reference"]
    assert set(rows["status"]) == {schema.DONE}
