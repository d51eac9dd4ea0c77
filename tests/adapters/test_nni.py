import contextlib
import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import psutil
import pytest
import torch

import nas_skeleton as ns
from nas_skeleton.adapters.nni_space import nni_network_space
from nas_skeleton.adapters.nni_trial import result_of
from nas_skeleton.results.run import open_run
from nas_skeleton.spaces.nni_names import nni_sample

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("nni") is None, reason="NNI has no wheel for this machine"
)
PLAN = ("--space", "tiny", "--dataset", "synthetic", "--seed", "777", "--trials", "5")
NNI = (*PLAN, "--pack", "2", "--workers", "2", "--run", "packs")


def test_samples_of_the_model_space_are_our_networks(workdir):
    space, data = ns.load_space("tiny"), ns.load_dataset("synthetic")
    model_space = nni_network_space(space, data, seed=3)
    frozen = model_space.freeze(nni_sample(space, 6111))
    ours = ns.build_network("tiny", 6111, dataset=data, seed=3)
    assert type(frozen) is type(ours)
    clips = torch.rand(2, 3, 8, 20, 1)
    assert torch.equal(frozen.eval()(clips), ours.eval()(clips))


def test_nni_hears_the_best_and_the_mean_of_a_pack():
    assert result_of([0.5, 0.0, 0.7]) == {"default": 0.7, "mean": pytest.approx(0.4)}


@pytest.fixture
def begin(workdir, monkeypatch):
    """Begins the command and gives it to a test; what it started is gone after the test anyway."""
    (workdir / "home").mkdir()
    monkeypatch.setenv("HOME", str(workdir / "home"))
    begun = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", "nas_skeleton.nni", *NNI, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        begun.append(process)
        return process

    yield start
    for process in begun:
        process.kill()
    for process in belonging(workdir):
        with contextlib.suppress(psutil.Error):
            process.kill()
    for process in begun:
        process.communicate()  # ends when none of them holds the pipe


def belonging(folder):
    """Processes of an experiment in `folder`, in whatever state of orphanhood."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = " ".join(process.info["cmdline"] or [])
        if str(folder / "runs") in words and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def wait_for(condition, seconds=100.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.1)
    raise AssertionError("it did not happen")


def a_trial(folder):
    """The process of a trial that has begun to train."""
    trials = [p for p in belonging(folder) if "nas_skeleton.adapters.nni_trial" in p.cmdline()]
    return trials if trials and list(folder.glob("runs/packs/claims/[!.]*")) else None


def port_of(folder):
    """Where the manager of the experiment in `folder` listens."""
    for process in belonging(folder):
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            if "--port" in words:
                return int(words[words.index("--port") + 1])
    return None


def reached(address, port):
    try:
        socket.create_connection((address, port), 2.0).close()
    except OSError:
        return False
    return True


def answered_to(account, port):
    """Whether a request of an account is answered, whatever with."""
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    answer = b""
    with contextlib.suppress(OSError):
        os.setuid(account)
        with socket.create_connection(("127.0.0.1", port), 5.0) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            answer = connection.recv(1)
    os._exit(not answer)


@pytest.mark.slow
def test_an_experiment_trains_the_run_in_packs_and_leaves_nothing_behind(begin, workdir, here):
    process = begin()
    port = wait_for(lambda: port_of(workdir))
    shown = here("runs", "show", "packs").stdout  # before the first trial
    assert f"-{process.pid}-" in shown
    assert "ago, has NNI start workers\n" in shown
    wait_for(lambda: reached("127.0.0.1", port) or process.poll() is not None)
    own = {
        address.address
        for interface in psutil.net_if_addrs().values()
        for address in interface
        if address.family == socket.AF_INET and not address.address.startswith("127.")
    }
    assert not any(reached(address, port) for address in own)
    if os.geteuid() == 0:
        assert answered_to(0, port)
        assert not answered_to(65534, port)  # nobody's
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    assert "5 architectures (random) x 1 seed = 5 trainings, 0 done, 5 to do" in output
    for told in ("Space      tiny: ", "Data       synthetic, ", "Recipe     tiny (", "Time   "):
        assert f"\n{told}" in f"\n{output}"
    assert "\nNNI        3 trials of up to 2 trainings, 2 at a time; " in output
    assert re.search(r"5/5 trainings, .*; best single training so far: #\d+, valid \d", output)
    assert "PASSWORD" not in output
    rows = open_run("packs").rows(["status", "key"])
    assert rows["status"].tolist() == ["done"] * 5
    assert rows["key"].is_unique
    assert not belonging(workdir)
    assert not reached("127.0.0.1", port)
    assert not (workdir / "home" / "nni-experiments").exists()
    assert not list(workdir.glob("runs/packs/nni/*/.cache/nas_skeleton"))  # trials are at home
    trials = "runs/packs/nni/*/[!_]*/environments/*/trials/*"
    assert len(list(workdir.glob(trials))) == 3  # packs of 2, 2 and 1

    # It is the run of the search with the same plan, and neither trains again.
    searched = here("search", *PLAN, "--run", "packs", "--dry-run")
    assert "5 done, 0 to do" in searched.stdout
    again = begin()
    output, _ = again.communicate(timeout=60)
    assert again.returncode == 0, output
    assert "5 trainings, 5 done, 0 to do" in output
    assert "\nNNI " not in output
    assert len(list(workdir.glob(trials))) == 3


@pytest.mark.slow
def test_ctrl_c_stops_nni_and_the_same_command_goes_on(begin, workdir):
    process = begin("--web-ui")
    wait_for(lambda: a_trial(workdir))
    port = port_of(workdir)
    os.killpg(process.pid, signal.SIGINT)  # a terminal signals all that is in the foreground
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 75, output
    assert f"WARNING: NNI's pages are at http://127.0.0.1:{port}" in output
    assert "WITHOUT A PASSWORD" in output
    assert not belonging(workdir)
    assert not reached("127.0.0.1", port)
    output, _ = begin().communicate(timeout=200)
    rows = open_run("packs").rows(["status", "key"])
    assert rows["status"].tolist() == ["done"] * 5, output
    assert rows["key"].is_unique


@pytest.mark.slow
def test_nothing_outlives_a_command_that_was_killed(begin, workdir):
    process = begin()
    wait_for(lambda: a_trial(workdir))
    os.kill(process.pid, signal.SIGKILL)
    wait_for(lambda: not belonging(workdir), seconds=60)


@pytest.mark.slow
def test_a_manager_that_dies_is_told_and_nothing_is_left(begin, workdir):
    process = begin()
    wait_for(lambda: a_trial(workdir))
    manager = next(p for p in belonging(workdir) if "--port" in p.cmdline())
    manager.kill()
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 2, output
    assert "NNI's manager ended" in output
    wait_for(lambda: not belonging(workdir), seconds=60)


def test_a_port_that_is_taken_is_said(workdir, here):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = here("nni", *NNI, "--port", str(taken.getsockname()[1]))
    assert done.returncode == 2
    assert "choose another" in done.stderr


def test_more_packs_than_nni_survives_are_refused(workdir):
    from nas_skeleton.adapters.nni_experiment import MOST_TRIALS, PackExperiment
    from nas_skeleton.errors import InputError

    with pytest.raises(InputError, match="make --pack larger"):
        PackExperiment(workdir, None, [[]] * (MOST_TRIALS + 1), concurrency=1)


def test_a_second_ctrl_c_does_not_wait_for_a_manager_that_does_not_end(workdir):
    from nas_skeleton.adapters.nni_experiment import PackExperiment

    deaf = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(99)"
    )
    process = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE)
    process.stdout.readline()
    asked = []
    experiment = PackExperiment(
        workdir, None, [[]], concurrency=1, at_once=lambda: asked.append(1) or len(asked) > 1
    )
    experiment._experiment = SimpleNamespace(_proc=process, stop=lambda: None)
    with process.stdout:
        experiment.__exit__()
    assert process.returncode == -signal.SIGKILL


def test_a_trial_without_nni_says_the_way_out(workdir, here, monkeypatch):
    monkeypatch.setitem(sys.modules, "nni", None)
    done = here("nni", *NNI)
    assert done.returncode == 2
    assert "pip install 'nas-skeleton[nni]'" in done.stderr


def test_an_order_survives_its_file(tmp_path):
    from nas_skeleton.adapters.nni_trial import Order

    order = Order({"run": "packs", "looks": []}, 12, 3.5)
    order.write(tmp_path / "order.json")
    assert Order.read(tmp_path / "order.json") == order
    assert json.loads((tmp_path / "order.json").read_text())["command"] == 12
