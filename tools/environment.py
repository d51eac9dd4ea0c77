"""The project's own Python environment: makes, repairs and reuses `.venv/`, writes the constraints.

Called by the Makefile before everything else, with any Python from 3.11 on and its standard library
only. It is not part of the package: a person who runs `pip install .` never meets it.

What it promises:
* When `.venv/` is up to date it returns at once: a stamp in it names what it was made from.
* Interrupted at any point, the same call continues. Two calls at once wait for each other.
* It never downloads CUDA packages on a machine without an NVIDIA GPU.
* It works where Debian and Ubuntu have left `ensurepip` out of Python (package python3-venv).
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import html
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import NoReturn
from urllib.parse import urljoin

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "set-up-complete"
PROJECT = ROOT / "pyproject.toml"
CONSTRAINTS = ROOT / "constraints.txt"

PYTORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"

# The pip fetched where Python comes without one; the checksum makes the download trustworthy.
PIP_WHEEL = "pip-26.3-py3-none-any.whl"
PIP_SHA256 = "f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13"

LOCK_HEADER = """\
# The versions tested together: everything `make test` installs, pinned.
# Written by `make lock` (tools/environment.py) from a fresh environment: the newest releases that
# pyproject.toml admits on Python 3.11, because newer Pythons can install what the oldest one can.
# The torch line is the exception: it is chosen by hand and kept by `make lock`. It has no local
# label (+cpu), so that it admits CPU and CUDA builds; what a CUDA build needs, it pins itself.
"""


def say(text: str) -> None:
    """Print one line of progress."""
    print(f"set-up: {text}", flush=True)


def fail(text: str) -> NoReturn:
    """End with one line on standard error."""
    print(f"set-up: {text}", file=sys.stderr)
    sys.exit(2)


def run(*command: str | Path, lock: int) -> None:
    """Run a command; it holds the lock as long as it lives, even where this process is killed."""
    subprocess.run(command, check=True, cwd=ROOT, pass_fds=(lock,))


def quiet(*command: str | Path) -> str | None:
    """Return what a command prints, or None where it fails or does not exist."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout


def has_nvidia_gpu() -> bool:
    """Tell whether this machine has an NVIDIA GPU with its driver."""
    # Not /proc/driver/nvidia: a container sees its host's there, without being able to use them.
    return Path("/dev/nvidia0").exists() or "GPU " in (quiet("nvidia-smi", "-L") or "")


def torch_build(wanted: str) -> str:
    """Turn `auto` into the build this machine needs: `cpu` or `cuda`."""
    return wanted if wanted != "auto" else "cuda" if has_nvidia_gpu() else "cpu"


def torch_pin() -> str:
    """Return the torch version that constraints.txt names."""
    found = re.search(r"^torch==([^\s+]+)", CONSTRAINTS.read_text(encoding="utf-8"), re.MULTILINE)
    if not found:
        fail(f"{CONSTRAINTS}: no line 'torch==VERSION'; take the file from the repository again")
    return found[1]


def up_to_date(build: str, wanted: str, exact: bool) -> bool:
    """Tell from the stamp alone whether `.venv/` is what this call would make."""
    try:
        made_from, made_build = STAMP.read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return False
    # A CUDA build also serves machines without a GPU (a cluster's login node, say).
    build_serves = made_build == build or (wanted == "auto" and made_build == "cuda")
    return made_from == fingerprint() and build_serves and right_python(exact)


def fingerprint() -> str:
    """Hash everything that decides what is installed, the checkout's place included."""
    parts = [str(ROOT).encode(), *(p.read_bytes() for p in (PROJECT, CONSTRAINTS, Path(__file__)))]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def right_python(exact: bool) -> bool:
    """Tell whether `.venv/` has a Python that still exists, and with `exact` this one's version."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    library = VENV / "lib" / f"python{version}"
    return (VENV / "bin" / "python").exists() and (library.is_dir() or not exact)


def make_venv(venv: Path, lock: int) -> Path:
    """Make an environment without pip and return its Python."""
    # pip comes in its own step, so that one path serves Pythons with and without ensurepip.
    run(sys.executable, "-m", "venv", "--clear", "--without-pip", venv, lock=lock)
    return venv / "bin" / "python"


def forget_half_installed(python: Path) -> None:
    """Remove the records of packages whose installation was interrupted, so that pip repeats it."""
    # pip believes in a package as soon as its .dist-info folder is there, complete or not;
    # INSTALLER is written after the package's last file.
    site = python.parent.parent / "lib"
    for record in site.glob("python3*/site-packages/*.dist-info"):
        if not (record / "INSTALLER").is_file():
            shutil.rmtree(record)


def ensure_pip(python: Path, lock: int) -> None:
    """Give the environment a pip: Python's own, or else the pinned one from the package index."""
    if any(python.parent.parent.glob("lib/python3*/site-packages/pip-*.dist-info")):
        return
    if quiet(python, "-m", "ensurepip", "--default-pip") is not None:
        return
    say("this Python comes without pip (Debian and Ubuntu keep it in the package python3-venv);")
    say(f"fetching {PIP_WHEEL} from the package index instead")
    with tempfile.TemporaryDirectory() as folder:
        wheel = Path(folder) / PIP_WHEEL
        wheel.write_bytes(fetch_pip())
        run(python, wheel / "pip", "install", "--quiet", "--no-index", wheel, lock=lock)


def fetch_pip() -> bytes:
    """Download the pinned pip with the standard library and check its SHA-256."""
    index = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/") + "/pip/"
    context = ssl.create_default_context(cafile=os.environ.get("PIP_CERT"))
    try:
        with urllib.request.urlopen(index, timeout=60, context=context) as page:
            links = re.findall(r'href="([^"]+)"', page.read().decode("utf-8"))
        link = next((link for link in links if f"/{PIP_WHEEL}" in link), None)
        if link is None:
            fail(f"{index} does not offer {PIP_WHEEL}; install python3-venv and try again")
        address = urljoin(index, html.unescape(link))
        with urllib.request.urlopen(address, timeout=60, context=context) as file:
            content: bytes = file.read()
    except (OSError, ValueError) as error:
        fail(f"{index}: {error}; install python3-venv (and ca-certificates) and try again")
    if hashlib.sha256(content).hexdigest() != PIP_SHA256:
        fail(f"{address}: not the pinned {PIP_WHEEL} (SHA-256 differs); nothing was installed")
    return content


def pip_command(python: Path, *arguments: str | Path) -> list[str | Path]:
    """Return a pip command line: talkative on a terminal, silent but for errors in a log."""
    volume = [] if sys.stdout.isatty() else ["--quiet", "--quiet"]
    options = ["--no-input", "--disable-pip-version-check", *volume]
    return [python, "-m", "pip", "install", *options, *arguments]


def install_torch(python: Path, build: str, lock: int) -> None:
    """Install the pinned torch first and by itself; what it needs comes with everything else."""
    pin = torch_pin()
    # Any build of the right version is kept, but for a CPU build where there is a GPU to use.
    question = "import torch; print(torch.__version__, torch.version.cuda or torch.version.hip)"
    version, accelerator = (quiet(python, "-c", question) or "none None").split()
    if version.split("+")[0] == pin:
        if build == "cpu" or accelerator != "None":
            return
        say(f"replacing torch {version} by a build for this machine's GPU")
        run(python, "-m", "pip", "uninstall", "--quiet", "--yes", "torch", lock=lock)
    if sys.platform != "linux" or build == "cuda":
        say(f"installing torch {pin}" + (" for NVIDIA GPUs (some GB)" if build == "cuda" else ""))
        run(*pip_command(python, "--no-deps", f"torch=={pin}"), lock=lock)
        return
    # The label +cpu is what no CUDA build has. PyPI does not carry it, but the index or folder that
    # this machine's pip is set up with may; PyTorch's own index does.
    say(f"installing torch {pin} for CPUs (about 200 MB)")
    command = pip_command(python, "--no-deps", f"torch=={pin}+cpu")
    # (Errors of the first try are not shown: the second says what is wrong.)
    tried = subprocess.run(command, cwd=ROOT, pass_fds=(lock,), stderr=subprocess.DEVNULL)
    if tried.returncode != 0:
        command += ["--extra-index-url", PYTORCH_CPU_INDEX]
        tried = subprocess.run(command, cwd=ROOT, pass_fds=(lock,))
    if tried.returncode != 0:
        fail(f"neither pip's own index nor {PYTORCH_CPU_INDEX} gave torch {pin}+cpu (see above)")


def install_project(python: Path, constraints: Path, lock: int) -> None:
    """Install this checkout, editable, with everything `make search` and `make test` need."""
    say("installing everything else")
    # What builds the project comes first, pinned; without build isolation nothing unpinned is used.
    build_tools = pip_command(python, "-c", constraints, "hatchling", "editables")
    project = pip_command(python, "-c", constraints, "--no-build-isolation", "-e", f"{ROOT}[dev]")
    run(*build_tools, lock=lock)
    run(*project, lock=lock)


def set_up(wanted: str, exact: bool, lock: int) -> None:
    """Make or repair `.venv/` and stamp it."""
    build = torch_build(wanted)
    if up_to_date(build, wanted, exact):
        return
    STAMP.unlink(missing_ok=True)
    python = VENV / "bin" / "python"
    healthy = right_python(exact) and (VENV / "pyvenv.cfg").is_file()
    if not healthy or quiet(python, "-c", "import sys; assert sys.version_info >= (3, 11)") is None:
        say(f"making {VENV} with Python {sys.version.split()[0]}")
        make_venv(VENV, lock)
    forget_half_installed(python)
    ensure_pip(python, lock)
    install_torch(python, build, lock)
    install_project(python, CONSTRAINTS, lock)
    check = (python, "-m", "pip", "check", "--disable-pip-version-check")
    if subprocess.run(check, cwd=ROOT, pass_fds=(lock,)).returncode != 0:
        fail("what an earlier set-up left does not fit (see above): make clean, then this again")
    STAMP.write_text(f"{fingerprint()} {build}\n", encoding="utf-8")
    say("complete")


def write_constraints(lock: int) -> None:
    """Resolve everything anew in a throw-away environment and write constraints.txt."""
    if sys.version_info[:2] != (3, 11):
        fail("constraints are made on the oldest supported Python: make lock PYTHON=python3.11")
    pin = torch_pin()
    with tempfile.TemporaryDirectory() as folder:
        python = make_venv(Path(folder) / "venv", lock)
        ensure_pip(python, lock)
        only_torch = Path(folder) / "torch.txt"
        only_torch.write_text(f"torch=={pin}\n", encoding="utf-8")
        run(*pip_command(python, "-U", "setuptools"), lock=lock)
        install_torch(python, "cpu", lock)
        install_project(python, only_torch, lock)
        run(python, "-m", "pip", "check", lock=lock)
        frozen = quiet(
            python, "-m", "pip", "freeze", "--all", "--exclude", "pip", "--exclude-editable"
        )
    if not frozen:
        fail("pip freeze gave nothing; constraints.txt is unchanged")
    pins = re.sub(r"^(torch==[^\s+]+)\+.*$", r"\1", frozen, flags=re.MULTILINE)
    CONSTRAINTS.write_text(LOCK_HEADER + pins, encoding="utf-8")
    say(f"wrote {CONSTRAINTS}")


def main() -> None:
    """Parse, take the lock, do it."""
    parser = argparse.ArgumentParser(
        description="Make or repair .venv/ (see the top of this file)."
    )
    parser.add_argument("--torch", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--exact", action="store_true", help="insist on this Python's version")
    parser.add_argument("--lock", action="store_true", help="write constraints.txt anew instead")
    arguments = parser.parse_args()
    # Any file that stays where it is can carry the lock. For writing, because NFS asks for that.
    with CONSTRAINTS.open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another set-up is running in this checkout; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        try:
            if arguments.lock:
                write_constraints(file.fileno())
            else:
                set_up(arguments.torch, arguments.exact, file.fileno())
        except KeyboardInterrupt:
            print("\nset-up: interrupted; the same command continues", file=sys.stderr)
            sys.exit(130)
        except subprocess.CalledProcessError:
            fail("failed (the lines above say why); the same command tries again")


if __name__ == "__main__":
    main()
