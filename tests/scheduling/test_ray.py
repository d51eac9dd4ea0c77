"""Searches on a real Ray: workers, nodes and commands that die, and who can see a new cluster.

Whatever happens, every training is stored once, and the table is that of a local search.
"""

import collections
import contextlib
import importlib.util
import ipaddress
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.results.run import open_run
from nas_skeleton.results.store import NewRows
from nas_skeleton.scheduling import ray_cluster
from nas_skeleton.scheduling.means import Means, choose_engine
from nas_skeleton.scheduling.ray_pool import RayExecutor
from nas_skeleton.scheduling.signals import Signals
from nas_skeleton.scheduling.start import start_campaign
from nas_skeleton.scheduling.worker import Assignment
from nas_skeleton.skeletons.store import load_dataset
from nas_skeleton.spaces import load_space

slow = pytest.mark.slow
installed = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None,
    reason="Ray is not installed: pip install 'nas-skeleton[ray]'",
)
MEASURED_ANEW = ["train_time_s", "latency_ms", "peak_memory_mb", "host", "finished_at"]
EPOCHS = 25
SEARCH = ("--space", "tiny", "--dataset", "synthetic", "--trials", "5", "--run", "mine")
SEARCH += ("--device", "cpu", "--checkpoint-every", "1")
# A `sitecustomize` for actors: every epoch takes a while, on any machine, and no processor.
SLOWLY = """
import sys, time
from importlib.machinery import PathFinder

class SlowPresence:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != "nas_skeleton.scheduling.presence":
            return None
        spec = PathFinder.find_spec(name, path, target)
        execute = spec.loader.exec_module

        def execute_and_slow_down(module):
            execute(module)
            say = module.Beat.say
            def slow(beat, **changes):
                time.sleep(0.12 * (changes.get("epoch", 0) > 0))
                say(beat, **changes)
                beat._beat()  # so that the test knows
            module.Beat.say = slow

        spec.loader.exec_module = execute_and_slow_down
        return spec

if any("default_worker" in part for part in sys.orig_argv):
    sys.meta_path.insert(0, SlowPresence)
"""


# --- what is asked of a search


class Search:
    """A search under way, on Ray."""

    def __init__(self, folder, *options):
        self.folder = folder
        self.errors = folder / "errors"
        command = [sys.executable, "-m", "nas_skeleton.search", *SEARCH, "--executor", "ray"]
        with self.errors.open("w") as errors, (folder / "output").open("w") as output:
            self.process = subprocess.Popen(
                [*command, *options],
                cwd=folder,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def at_work(self):
        """The processes of workers in the middle of a training."""
        found = []
        for path in (self.folder / "runs/mine/workers").glob("*.json"):
            with contextlib.suppress(OSError, psutil.Error):
                presence = json.loads(path.read_text())
                if presence["jobs"] and 2 <= presence["epoch"] < EPOCHS - 5:
                    process = psutil.Process(presence["pid"])
                    if process.status() != psutil.STATUS_ZOMBIE:
                        found.append(process)
        return found

    def wait_for_workers(self, count):
        """Those processes, when there are so many."""
        deadline = time.monotonic() + 90
        while len(found := self.at_work()) < count:
            assert self.process.poll() is None, self.errors.read_text()
            assert time.monotonic() < deadline, self.errors.read_text()
            time.sleep(0.05)
        return found

    def end(self, timeout=90):
        return self.process.wait(timeout)


def table(folder):
    with contextlib.chdir(folder):
        return open_run("mine").rows(blobs=True).drop(columns=MEASURED_ANEW)


def assert_complete(folder, undisturbed):
    """Every training is stored once, with the very result of a local search."""
    rows = NewRows(folder / "runs/mine/results", ["key"]).read()
    assert set(collections.Counter(row["key"] for row in rows).values()) == {1}
    pd.testing.assert_frame_equal(table(folder), undisturbed)
    assert list((folder / "runs/mine/checkpoints").glob("*.pt")) == []


@pytest.fixture
def folder(workdir):
    card = workdir / "search_spaces/tiny.toml"
    card.write_text(card.read_text().replace("epochs = 3", f"epochs = {EPOCHS}"))
    return workdir


@pytest.fixture(scope="module")
def slowly(tmp_path_factory):
    """A folder for PYTHONPATH that makes actors slow."""
    path = tmp_path_factory.mktemp("slowly")
    (path / "sitecustomize.py").write_text(SLOWLY)
    return str(path)


@pytest.fixture
def here(folder):
    """The campaign of the same search by local workers."""
    means = Means(1, "cpu", choose_engine("auto", "cpu")[0], 1, checkpoint_every_s=1.0)
    space, data = load_space("tiny"), load_dataset("synthetic")
    return start_campaign(space, data, means, seeds=[777], trials=5, name="mine")


@pytest.fixture
def undisturbed(here, request):
    """Its table, made once."""
    if not hasattr(request.config, "of_local_workers"):
        here.execute(here.jobs, Signals(), lambda _: None)
        request.config.of_local_workers = table(Path())
        shutil.rmtree("runs")
    return request.config.of_local_workers


# --- a new cluster


@slow
@installed
def test_a_new_cluster_is_private_survives_a_killed_worker_and_leaves_nothing(
    folder, undisturbed, slowly, monkeypatch
):
    home = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))  # short: sockets lie below it
    monkeypatch.setenv("PYTHONPATH", slowly)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("TMPDIR", str(home))
    try:
        with Search(folder, "--workers", "2") as search:
            workers = search.wait_for_workers(2)
            processes = psutil.Process(search.process.pid).children(recursive=True)
            assert set(workers) < set(processes)
            listening = [
                connection.laddr.ip
                for process in [psutil.Process(search.process.pid), *processes]
                for connection in process.net_connections(kind="inet")
                if connection.status == psutil.CONN_LISTEN
            ]
            assert len(listening) >= 4  # the head, the node, the workers
            assert all(is_loopback(address) for address in listening), listening

            workers[0].kill()
            assert search.end() == 0
        progress = r"\d/5 trainings, .* gone, .*|a worker died at #\d+ seed 777: .*"
        assert all(re.fullmatch(progress, line) for line in search.errors.read_text().splitlines())
        assert_complete(folder, undisturbed)
        assert len(list((folder / "runs/mine/logs").iterdir())) <= 1  # of the killed one
        assert psutil.wait_procs(processes, timeout=5)[1] == []
        assert not list(home.glob("ray*"))
        assert not (home / ".ray").exists()
    finally:
        shutil.rmtree(home)


# A `sitecustomize`: the first worker that trains takes all memory it can get.
GREEDY = """
import os, sys, time
if any("default_worker" in part for part in sys.orig_argv):
    from nas_skeleton.training import train
    candidates_of = train.candidates_of
    def greedy(*arguments):
        if not os.path.exists('greedy'):
            open('greedy', 'w').close()
            taken = []
            while True:
                taken.append(b'x' * 2**26)
                time.sleep(0.02)
        return candidates_of(*arguments)
    train.candidates_of = greedy
"""


@slow
@installed
def test_a_worker_that_ray_kills_because_memory_is_short_makes_it_go_on_with_fewer(
    folder, undisturbed, monkeypatch
):
    memory = psutil.virtual_memory()
    if memory.available < 6 * 2**30:
        pytest.skip("needs 6 GiB of free memory, to take 2 of them")
    (folder / "sitecustomize.py").write_text(GREEDY)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    limit = (memory.total - memory.available + 2 * 2**30) / memory.total
    monkeypatch.setenv("RAY_memory_usage_threshold", f"{limit:.4f}")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "100")
    with Search(folder, "--workers", "2") as search:
        assert search.end() == 0
    assert (folder / "greedy").exists()
    assert "a worker was killed because memory was short" in search.errors.read_text()
    assert_complete(folder, undisturbed)


def is_loopback(text):
    address = ipaddress.ip_address(text)
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


# --- an existing cluster


@pytest.fixture(scope="module")
def cluster(slowly):
    """A cluster of one node with one core; commands find it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        for name in (*ray_cluster.QUIET, *ray_cluster.PRIVATE, "RAY_AUTH_TOKEN"):
            patch.setenv(name, "")  # so that they are taken back
        patch.setenv("PYTHONPATH", slowly)
        patch.setenv("OMP_NUM_THREADS", "1")
        ray_cluster.import_ray()
        from ray.cluster_utils import Cluster

        fast = {"period": 300, "initial_delay": 300, "timeout": 1000}
        checks = {f"health_check_{name}_ms": value for name, value in fast.items()}
        head = {
            "num_cpus": 1,
            "object_store_memory": ray_cluster.OBJECT_STORE,
            "include_dashboard": False,
            "_system_config": {**checks, "health_check_failure_threshold": 3},
        }
        started = Cluster(initialize_head=True, head_node_args=head)
        try:
            patch.setenv("RAY_ADDRESS", started.address)
            yield started
        finally:
            started.shutdown()


def add_node(cluster, **resources):
    return cluster.add_node(object_store_memory=ray_cluster.OBJECT_STORE, **resources)


@slow
@installed
def test_a_lost_node_loses_no_training(folder, undisturbed, cluster):
    node = add_node(cluster, num_cpus=1)
    raylet = node.all_processes["raylet"][0].process.pid
    with Search(folder) as search:
        workers = search.wait_for_workers(2)
        [lost] = [worker for worker in workers if worker.ppid() == raylet]
        cluster.remove_node(node, allow_graceful=False)
        assert psutil.wait_procs([lost], timeout=15)[1] == []  # it goes by itself
        assert search.end() == 0
    assert "on 2 cpu workers" in (folder / "output").read_text()  # --workers auto
    assert_complete(folder, undisturbed)


@slow
@installed
def test_a_stop_saves_and_local_workers_go_on(folder, undisturbed, cluster, here):
    with Search(folder) as search:
        [worker] = search.wait_for_workers(1)
        os.killpg(search.process.pid, signal.SIGINT)
        assert search.end() == 75
    assert psutil.wait_procs([worker], timeout=5)[1] == []
    assert len(list((folder / "runs/mine/checkpoints").glob("*.pt"))) == 1
    here.execute(here.remaining(), Signals(), lambda _: None)
    assert_complete(folder, undisturbed)


@slow
@installed
def test_actors_end_with_a_command_that_is_killed(folder, cluster, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(folder))
    with Search(folder) as search:
        workers = search.wait_for_workers(1)
        search.process.kill()
        assert psutil.wait_procs(workers, timeout=20)[1] == []


@slow
@installed
def test_each_actor_gets_its_share_of_the_gpus(folder, here, cluster):
    here.write()
    node = add_node(cluster, num_cpus=0, num_gpus=2)
    pretending = Assignment(here.run.name, "fast", 1, "cuda", 20.0)
    executor = RayExecutor(pretending, here.run, 4, lambda _: None)
    try:
        deadline = time.monotonic() + 60
        while executor.free() < 4:
            assert list(executor.wait(0.2)) == []
            assert time.monotonic() < deadline
        ray = ray_cluster.import_ray()
        told = ray.get([actor.handle.__ray_call__.remote(resources) for actor in executor._actors])
        assert [share for share, _, _ in told] == [0.5] * 4
        assert sorted(gpus for _, gpus, _ in told) == ["0", "0", "1", "1"]
        assert {place for _, _, place in told} == {(str(folder), "1")}
    finally:
        executor.close(at_once=False)
        cluster.remove_node(node)


def resources(_):
    import ray

    share = ray.get_runtime_context().get_assigned_resources()["GPU"]
    here = str(Path.cwd()), os.environ["OMP_NUM_THREADS"]
    return share, os.environ["CUDA_VISIBLE_DEVICES"], here


# --- no cluster


def test_a_missing_ray_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install 'nas-skeleton\[ray\]'"):
        ray_cluster.means_for_ray(Means(1, "cpu", "fast", 1, 20.0), "auto")


@slow
@installed
def test_a_cluster_out_of_reach_is_named_at_once(folder, command, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    done = command("search", *SEARCH, "--executor", "ray")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "Error: --executor ray, RAY_ADDRESS=127.0.0.1:1: [Errno 111] Connection refused"
    ]
