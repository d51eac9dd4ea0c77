"""An NNI experiment on this machine whose trials are packs of a run's trainings.

NNI schedules and shows; what is trained, and where it is kept, is the run's as always. NNI's
manager is a web server without a password: whoever reaches it can start programs. It has no option
for the address it listens on, so a few lines that Node loads first make it listen on the loopback
address only, which is proved, and close connections of other accounts, where the system says whose
they are (Linux). Its address has a random prefix unless its pages are asked for; that is no secret,
for it stands on the manager's command line.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import secrets
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

import nas_skeleton
from nas_skeleton.adapters.nni_trial import Order
from nas_skeleton.errors import InputError
from nas_skeleton.scheduling.presence import began
from nas_skeleton.scheduling.signals import Signals
from nas_skeleton.scheduling.worker import Assignment
from nas_skeleton.strategies.nni_exploration import import_nni
from nas_skeleton.training.job import Job

LOOK_S = 0.5
STOP_S = 60.0  # what NNI may take to stop its trials and itself
MOST_TRIALS = 40_000  # NNI's manager crashes about there (its issue 5624)
LOOPBACK = "127.0.0.1"

CONNECTIONS = Path("/proc/net/tcp")  # of this machine, with the account that each belongs to

# Node's `listen(port, ...)` without a host listens on every address. The account of a connection is
# that of its other end, which is one of this machine's: proc(5), /proc/net/tcp.
_ONLY_OURS = f"""\
const fs = require('fs');
const ends = {{
    '{CONNECTIONS}': '0100007F',
    '{CONNECTIONS}6': '0000000000000000FFFF00000100007F',
}};
function accountOf(port) {{
    const digits = port.toString(16).toUpperCase().padStart(4, '0');
    for (const [file, address] of Object.entries(ends)) {{
        if (!fs.existsSync(file))
            continue;
        for (const line of fs.readFileSync(file, 'utf8').split('\\n')) {{
            const fields = line.trim().split(/\\s+/);
            if (fields[1] === `${{address}}:${{digits}}`)
                return Number(fields[7]);
        }}
    }}
    return undefined;
}}
const server = require('net').Server.prototype;
const listen = server.listen;
server.listen = function (port, ...rest) {{
    if (typeof port !== 'number' || typeof rest[0] === 'string')
        return listen.call(this, port, ...rest);
    if (fs.existsSync('{CONNECTIONS}'))
        this.prependListener('connection', (socket) => {{
            if (accountOf(socket.remotePort) !== process.getuid())
                socket.destroy();
        }});
    return listen.call(this, {{ port, host: '{LOOPBACK}' }}, ...rest);
}};
"""


class PackExperiment:
    """An experiment, from `with` to its end: then nothing of it runs any more.

    Args:
        folder: where NNI keeps its files, trials' logs among them; made if it is not there.
        assignment: what the trials have in common.
        packs: what each of them trains.
        concurrency: how many trials run together.
        port: where NNI's manager listens; None for any free port.
        web_ui: whether its pages are at the plain address.
        at_once: whether there is no time to wait for its end.

    Raises:
        InputError: NNI is not installed, the port is taken, there are too many packs, or the
            manager does not start or listens on more than the loopback address.
    """

    def __init__(
        self,
        folder: Path,
        assignment: Assignment,
        packs: Sequence[Sequence[Job]],
        *,
        concurrency: int,
        port: int | None = None,
        web_ui: bool = False,
        at_once: Callable[[], bool] = lambda: False,
    ) -> None:
        if len(packs) > MOST_TRIALS:
            raise InputError(
                f"{len(packs)} packs: NNI does not survive more than about {MOST_TRIALS} trials; "
                "make --pack larger"
            )
        self._folder = folder.resolve()
        self._home = Path.home()  # NNI is given another one, trials are not
        self._assignment = assignment
        self._packs = packs
        self._concurrency = concurrency
        self._at_once = at_once
        self.port = _free_port(port)
        self._prefix = None if web_ui else secrets.token_hex(16)
        self._experiment: Any = None

    @property
    def address(self) -> str:
        """Where its pages are."""
        return "/".join(filter(None, (f"http://{LOOPBACK}:{self.port}", self._prefix)))

    def __enter__(self) -> PackExperiment:
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            with self._surroundings():
                import_nni()
                from nni.experiment import RunMode  # makes a folder in the home it finds

                self._experiment = self._configured()
                self._experiment.url_prefix = self._prefix
                # "Detach": its words go to log files. To stop it is this object's business anyway.
                self._experiment.start(self.port, run_mode=RunMode.Detach)
            self._prove_loopback()
        except (RuntimeError, OSError, psutil.Error) as error:
            self._stop()
            raise InputError(
                f"NNI's manager did not start ({' '.join(str(error).split())}): see the logs in "
                f"{self._folder}"
            ) from None
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def wait(self, signals: Signals, look: Callable[[], None]) -> None:
        """Return when all trials have ended.

        Args:
            signals: ask to stop.
            look: called now and then meanwhile.

        Raises:
            StoppedEarly: on a signal.
            InputError: NNI's manager ended by itself, or found an error.
        """
        while True:
            signals.check()
            look()
            status = self._status()
            if status in ("DONE", "NO_MORE_TRIAL_DONE", "STOPPED"):
                return
            if status in ("", "ERROR"):
                raise InputError(
                    f"NNI's manager {'failed' if status else 'ended'}: see the logs in "
                    f"{self._folder}; finished trainings are stored, run the same command again"
                )
            time.sleep(LOOK_S)

    def _status(self) -> str:
        """What the manager says of the experiment; empty if it is gone."""
        try:
            return str(self._experiment.get_status())
        except OSError:  # as `requests` says it
            return "UNKNOWN" if self._experiment._proc.poll() is None else ""

    def _configured(self) -> Any:
        from nni.experiment import Experiment
        from nni.experiment.config import CustomAlgorithmConfig

        at = began(os.getpid())
        assert at is not None
        packs, order = self._folder / "packs.json", self._folder / "order.json"
        pairs = [[(job.arch_index, job.seed) for job in pack] for pack in self._packs]
        packs.write_text(json.dumps(pairs), encoding="utf-8")
        Order(asdict(self._assignment), os.getpid(), at).write(order)
        experiment = Experiment("local")
        config = experiment.config
        config.experiment_name = self._assignment.run
        config.experiment_working_directory = str(self._folder)
        config.trial_code_directory = str(Path.cwd())
        config.trial_command = shlex.join(
            [
                "env",
                "-u",
                "NODE_OPTIONS",
                f"HOME={self._home}",
                sys.executable,
                "-m",
                "nas_skeleton.adapters.nni_trial",
                str(order),
            ]
        )
        config.search_space = {}
        config.trial_concurrency = self._concurrency
        config.max_trial_number = len(self._packs)
        config.tuner = CustomAlgorithmConfig(
            class_name="nas_skeleton.adapters.nni_tuner.PackTuner",
            code_directory=str(Path(nas_skeleton.__file__).parents[1]),
            class_args={
                "packs": str(packs),
                "command": os.getpid(),
                "command_began": at,
                "port": self.port,
                "prefix": self._prefix,
            },
        )
        return experiment

    @contextlib.contextmanager
    def _surroundings(self) -> Iterator[None]:
        """The environment NNI's manager starts in: files in our folder, connections of ours."""
        program = self._folder / "only_ours.js"
        program.write_text(_ONLY_OURS, encoding="utf-8")
        own = os.environ.get("NODE_OPTIONS", "")
        changed = {
            "HOME": str(self._folder),
            "NODE_OPTIONS": f"{own} --require {json.dumps(str(program))}".strip(),
        }
        before = {name: os.environ.get(name) for name in changed}
        os.environ.update(changed)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value

    def _prove_loopback(self) -> None:
        for interface in psutil.net_if_addrs().values():
            for address in interface:
                if address.family not in (socket.AF_INET, socket.AF_INET6):
                    continue
                if ipaddress.ip_address(address.address.partition("%")[0]).is_loopback:
                    continue
                with contextlib.suppress(OSError):
                    socket.create_connection((address.address, self.port), 1.0).close()
                    raise InputError(
                        f"NNI's manager listens on {address.address} too, without a password: "
                        "stopped it"
                    )

    def _stop(self) -> None:
        """End the experiment.

        If its manager does not end as it is asked to, or there is no time for it, its trials and
        its tuner do so by themselves soon after this command.
        """
        experiment, self._experiment = self._experiment, None
        process = experiment and experiment._proc
        if process is None:
            return
        process.terminate()  # it ends its trials, which save their checkpoints
        end = time.monotonic() + STOP_S
        while process.poll() is None and time.monotonic() < end and not self._at_once():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(LOOK_S)
        process.kill()  # nothing where it has ended
        process.wait()
        experiment._proc = None
        experiment.stop()  # NNI's own books: nothing runs any more


def _free_port(wanted: int | None) -> int:
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, wanted or 0))
        except OSError as error:
            raise InputError(f"--port {wanted}: {error.strerror}; choose another") from None
        return int(probe.getsockname()[1])
