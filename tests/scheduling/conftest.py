"""A real Slurm for the tests: daemons and pretend nodes on this one machine, loopback only."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

DAEMONS = ("munged", "slurmctld", "slurmd")
NODES, GPUS = 4, 2
START_S, STOP_S = 30.0, 15.0

# No cgroups, no accounting: what a container has. cred_expire lets a requeued job start within
# seconds; the scheduler's pace is that of a test. Time limits have a resolution of a minute.
SLURM_CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
MailProg=/bin/true
ReturnToService=2
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
GresTypes=gpu
SchedulerParameters=bf_interval=2,sched_min_interval=50000,sched_interval=2,batch_sched_delay=0
KillWait=5
MinJobAge=3600
MaxArraySize=1001
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class Cluster:
    """Slurm commands of the pretend cluster, and what a test asks about jobs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.nodes = [f"n{i}" for i in range(NODES)]
        self.environ = {
            **{name: value for name, value in os.environ.items() if name[:6] != "SLURM_"},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",  # jobs call `python`
            "SLURM_CONF": str(folder / "slurm.conf"),
            "OMP_NUM_THREADS": "1",
        }
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def __call__(self, *command: str, cwd: Path | None = None) -> str:
        """Standard output of a command, which must succeed."""
        done = subprocess.run(
            command, cwd=cwd, env=self.environ, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout.strip()

    def states(self, job: str = "") -> dict[str, str]:
        """The state of every job, or of every task of one job: {"12_3": "RUNNING"}."""
        asked = ("-j", job) if job else ()
        lines = self("squeue", "-h", "-r", "-t", "all", "-o", "%i %T", *asked).splitlines()
        return dict(line.split() for line in lines)

    def wait_until(self, condition: Callable[[], object], timeout: float = 180.0) -> None:
        """Wait until `condition()` holds; Slurm's own logs are shown if it never does."""
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"not within {timeout:.0f} s: {self.states()}\n{self.log()}")
            time.sleep(0.1)

    def wait_for_end(self, job: str, timeout: float = 300.0) -> dict[str, str]:
        """The final states of a job's tasks, when all have one."""
        active = {"PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD"}
        self.wait_until(lambda: not active & set(self.states(job).values()), timeout)
        return self.states(job)

    def log(self) -> str:
        """The last lines of the controller's log."""
        return "\n".join((self.folder / "slurmctld.log").read_text().splitlines()[-15:])

    def start(self) -> None:
        """Start all daemons and wait until every node takes jobs."""
        self._write_files()
        files = [
            f"--{what}-file={self.folder}/munge.{what}" for what in ("key", "pid", "seed", "log")
        ]
        socket_file = f"--socket={self.folder}/munge.sock"
        options = ["--foreground", "--force", "--num-threads=2", *files, socket_file]
        self._start("munged", ["munged", *options])
        self._start("slurmctld", ["slurmctld", "-D"])
        for node in self.nodes:
            self._start(node, ["slurmd", "-D", "-N", node])
        self._wait_for_nodes()

    def lose(self, node: str) -> None:
        """Cut a node off: Slurm gives it up, while the processes of its one job go on."""
        self._daemons[node].kill()
        self._daemons.pop(node).wait()
        for process in self.processes("slurmstepd"):
            os.kill(process, signal.SIGKILL)
        self("scontrol", "update", f"nodename={node}", "state=down", "reason=lost")

    def find(self, node: str) -> None:
        """Let a lost node come back, without what its processes were."""
        self._start(node, ["slurmd", "-D", "-N", node])
        self("scontrol", "update", f"nodename={node}", "state=resume")
        self._wait_for_nodes()

    def stop(self) -> None:
        """Cancel all jobs, end all daemons, kill what is left of jobs."""
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            self("scancel", "-u", "root")
            deadline = time.monotonic() + STOP_S
            while self("squeue", "-h") and time.monotonic() < deadline:
                time.sleep(0.1)
        daemons = list(reversed(self._daemons.values()))
        for daemon in daemons:
            daemon.terminate()
        for daemon in daemons:
            try:
                daemon.wait(STOP_S)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        self.kill_processes()

    def processes(self, name: str = "") -> list[int]:
        """Processes of this cluster with `name` in their command, zombies not counted."""
        mark = f"SLURM_CONF={self.environ['SLURM_CONF']}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # a zombie has no environment
                ours = mark in (folder / "environ").read_bytes().split(b"\0")
                if ours and name.encode() in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
        return found

    def kill_processes(self) -> None:
        """Kill what survived the end of the daemons, jobs of a node that was down, for example."""
        deadline = time.monotonic() + STOP_S
        while (left := self.processes()) and time.monotonic() < deadline:
            for process in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.1)
        assert not left

    def _write_files(self) -> None:
        folder = self.folder
        for name in ("state", "spool", "dev", *(f"spool/{node}" for node in self.nodes)):
            (folder / name).mkdir()
        key = folder / "munge.key"
        key.touch(mode=0o400)
        key.write_bytes(os.urandom(1024))
        for gpu in range(GPUS):  # clones of /dev/null
            os.mknod(folder / f"dev/gpu{gpu}", 0o666 | 0o020000, os.makedev(1, 3))
        host = socket.gethostname().partition(".")[0]
        ports = free_ports(NODES + 1)
        nodes = "".join(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=1 "
            f"RealMemory=4096 Gres=gpu:pretend:{GPUS} State=UNKNOWN\n"
            for node, port in zip(self.nodes, ports[1:], strict=True)
        )
        conf = SLURM_CONF.format(host=host, controller_port=ports[0], folder=folder)
        (folder / "slurm.conf").write_text(conf + nodes)
        (folder / "gres.conf").write_text(
            f"AutoDetect=off\nName=gpu Type=pretend File={folder}/dev/gpu[0-{GPUS - 1}]\n"
        )
        (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")

    def _start(self, name: str, command: list[str]) -> None:
        # Children of this process, which ends them and reaps them, and whose death ends them too.
        with (self.folder / f"{command[0]}.out").open("ab") as output:
            daemon = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *command],
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self._daemons[name] = daemon
        if name == "munged":
            deadline = time.monotonic() + START_S
            while not (self.folder / "munge.sock").exists():
                assert time.monotonic() < deadline, "munged does not start"
                time.sleep(0.02)

    def _wait_for_nodes(self) -> None:
        command = ["sinfo", "-h", "-N", "-t", "down,unknown,no_respond,drain", "-o", "%N %t"]
        deadline = time.monotonic() + START_S
        while True:  # the controller does not answer at once
            done = subprocess.run(command, env=self.environ, capture_output=True, text=True)
            if done.returncode == 0 and not done.stdout:
                return
            assert time.monotonic() < deadline, done.stdout + done.stderr + self.log()
            time.sleep(0.1)


def free_ports(count: int) -> list[int]:
    """Loopback ports nobody listens on at the moment."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A running Slurm, for all tests; skipped where it cannot be."""
    absent = [name for name in (*DAEMONS, "sbatch", "setpriv") if shutil.which(name) is None]
    if absent:
        pytest.skip(
            f"not installed: {', '.join(absent)} (apt install slurmctld slurmd slurm-client munge)"
        )
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("starting a Slurm of one's own needs root")
    started = Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        started.start()
        yield started
    finally:
        started.stop()
    assert not started.processes()


@pytest.fixture
def slurm(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """The running Slurm without any jobs; the commands of this process reach it too."""
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SLURM_CONF", cluster.environ["SLURM_CONF"])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    try:
        yield cluster
    finally:
        cluster("scancel", "-u", "root")
        cluster.wait_until(lambda: not cluster("squeue", "-h"), STOP_S)
