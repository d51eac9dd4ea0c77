"""The compiled kernels: found in the user's cache, or built there by the system's C++ compiler.

Nothing but the C++ standard library is needed. A build is named after sources, compiler, flags and
processor, so that nodes of a cluster with a common home each find their own.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import stat
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Literal

import filelock
import platformdirs

from nas_skeleton.training.candidates import Unsupported

Scalar = Literal["float", "double"]

SOURCES = Path(__file__).parent
COMPILERS = ("c++", "g++", "clang++")
VERSION_S, BUILD_S = 30, 300  # longest times for a compiler to name itself and to build


@cache
def library(scalar: Scalar) -> ctypes.CDLL:
    """The kernels for one precision, built at the first call on a machine (a few seconds).

    Raises:
        Unsupported: there is no C++ compiler, or it failed, or the cache cannot be used.
    """
    command = [*_compiler(), *_flags(), f"-DSCALAR={scalar}", str(SOURCES / "program.cpp")]
    try:
        folder = Path(platformdirs.user_cache_dir("nas_skeleton")) / "native"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _check_owner(folder)
        path = folder / f"{_fingerprint(command)}.so"
        if not _is_whole(path):
            with filelock.FileLock(path.with_suffix(".lock")):
                if not _is_whole(path):  # nobody else built it meanwhile
                    _build(command, path)
        _check_owner(path)
        return ctypes.CDLL(str(path))
    except subprocess.TimeoutExpired as error:
        raise Unsupported(f"{command[0]} took more than {error.timeout:.0f} s") from None
    except OSError as error:
        raise Unsupported(f"the compiled kernels cannot be kept or loaded: {error}") from None


def _is_whole(path: Path) -> bool:
    """Whether a build is there as it was written; a damaged one would end the process."""
    digest = path.with_suffix(".sha256")
    if not (path.is_file() and digest.is_file()):
        return False
    return digest.read_text() == hashlib.sha256(path.read_bytes()).hexdigest()


def _check_owner(path: Path) -> None:
    """Code is loaded only from what nobody else can write.

    Raises:
        Unsupported: somebody else can.
    """
    status = path.stat()
    if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise Unsupported(
            f"{path} can be written by others, so no code is loaded from it: remove it, or set "
            "XDG_CACHE_HOME to a folder of your own"
        )


def available() -> str:
    """Empty if the kernels can be built and loaded here, otherwise the reason why not."""
    try:
        library("float")
    except Unsupported as error:
        return str(error)
    return ""


def _compiler() -> list[str]:
    wanted = shlex.split(os.environ.get("CXX", ""))
    for words in [wanted] if wanted else [[name] for name in COMPILERS]:
        found = shutil.which(words[0])
        if found:
            return [found, *words[1:]]
    raise Unsupported(
        f"no C++ compiler {wanted[0]!r} ($CXX)" if wanted else "no C++ compiler (install g++)"
    )


def _flags() -> list[str]:
    native = "-mcpu=native" if platform.machine() in ("aarch64", "arm64") else "-march=native"
    return [
        "-std=c++17",
        "-O3",
        native,
        "-ffp-contract=fast",  # multiply and add in one instruction; nothing is reordered
        "-fno-math-errno",
        "-shared",
        "-fPIC",
        "-Wall",
        "-Wextra",
        "-Wno-ignored-attributes",
    ]


def _fingerprint(command: list[str]) -> str:
    version = subprocess.run(
        [command[0], "--version"], capture_output=True, check=False, timeout=VERSION_S
    )
    digest = hashlib.sha256(version.stdout)
    for part in (*command, platform.machine(), _processor()):
        digest.update(part.encode() + b"\0")
    for source in sorted(SOURCES.glob("*.h")) + sorted(SOURCES.glob("*.cpp")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:24]


def _processor() -> str:
    """What the processor calls itself and the instructions it knows."""
    information = Path("/proc/cpuinfo")
    if not information.exists():
        return platform.processor()
    lines = information.read_text(errors="replace").splitlines()
    named = ("model name", "flags", "Features", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(named)}))


def _build(command: list[str], path: Path) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    os.close(handle)
    try:
        done = subprocess.run(
            [*command, "-o", temporary],
            capture_output=True,
            text=True,
            timeout=BUILD_S,
            check=False,
        )
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            first = next((line for line in lines if "error" in line), lines[0])
            raise Unsupported(f"{command[0]} cannot build the kernels: {first}")
        digest = hashlib.sha256(Path(temporary).read_bytes()).hexdigest()
        Path(temporary).chmod(0o700)
        Path(temporary).replace(path)
        path.with_suffix(".sha256").write_text(digest)  # last: only now the build is whole
    finally:
        Path(temporary).unlink(missing_ok=True)
