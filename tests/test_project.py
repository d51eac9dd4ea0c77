"""The project itself: what travels in its packages and its repository, and who may import whom."""

from __future__ import annotations

import ast
import email
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import nas_skeleton

CHECKOUT = Path(__file__).resolve().parent.parent
PACKAGE = CHECKOUT / "nas_skeleton"
VERSION = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
CARDS = {
    f"{kind}/{path.name}"
    for kind in ("search_spaces", "datasets")
    for path in (CHECKOUT / kind).glob("*.toml")
}

# --- the house: which rooms a room may import (the way of a search through them), and whether that
# may bring in torch, which takes seconds. Commands (the modules beside the rooms, and what
# `python -m ROOM` runs) may import all.
ROOMS: dict[str, tuple[set[str], bool]] = {
    "spaces": (set(), False),
    "skeletons": (set(), False),
    "network": ({"spaces", "skeletons"}, True),
    "training": ({"spaces", "skeletons", "network"}, True),
    "oneshot": ({"spaces", "skeletons", "network", "training"}, True),
    "strategies": ({"spaces"}, False),
    "proxies": ({"spaces", "skeletons", "network", "training"}, True),
    "results": ({"spaces", "skeletons", "training", "proxies"}, False),
    "scheduling": ({"spaces", "skeletons", "training", "strategies", "results", "proxies"}, True),
    "published": ({"spaces", "skeletons", "training", "results", "analysis"}, False),
    "adapters": (
        {
            *("spaces", "skeletons", "network", "training", "strategies", "results", "scheduling"),
            "published",
        },
        True,
    ),
    "analysis": ({"spaces", "results", "strategies"}, False),
    "benchmarks": (
        {"spaces", "skeletons", "network", "training", "results", "scheduling", "published"},
        True,
    ),
    "report": (
        {
            *("spaces", "skeletons", "training", "results", "published", "analysis"),
        },
        False,
    ),
    "commands": (
        {
            *("spaces", "skeletons", "training", "oneshot", "strategies", "results", "scheduling"),
            *("published", "analysis", "cli"),
        },
        True,
    ),
}
# What every room may use, and the further libraries that stay outside a room.
GROUND_FLOOR = {"cards", "cores", "errors", "processes"}
FOREIGN = {
    "spaces": {"numpy", "pandas", "scipy"},  # pure Python, ready at once
    # knows no files and no schedulers:
    "network": {"pandas", "pyarrow", "filelock", "psutil", "submitit", "ray"},
    "results": {"torch"},
    "published": {"torch"},
    "report": {"torch"},
    "analysis": {"torch"},
}

ROOMS_HERE = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
MODULES = sorted(PACKAGE.rglob("*.py"))
KERNELS = sorted([*PACKAGE.rglob("*.cpp"), *PACKAGE.rglob("*.h")])  # built where they run
PAGES = sorted(path for path in PACKAGE.glob("report/browser/*"))  # what a report is made of


def imported(module: Path) -> set[str]:
    """Full names of everything a module imports, wherever in it the statement stands."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def own_part(name: str) -> str | None:
    """The room or module of this package that an import reaches, if it is one."""
    first, _, rest = name.partition(".")
    part = rest.partition(".")[0]
    is_part = (PACKAGE / part).is_dir() or (PACKAGE / f"{part}.py").is_file()
    return part if first == "nas_skeleton" and part and is_part else None


def test_every_room_is_in_the_plan_of_the_house() -> None:
    assert set(ROOMS_HERE) <= set(ROOMS)


@pytest.mark.parametrize("room", ROOMS_HERE)
def test_rooms_import_in_one_direction(room: str) -> None:
    may = ROOMS[room][0] | GROUND_FLOOR | {room}
    wrong = [
        f"{module.relative_to(CHECKOUT)} imports {name}"
        for module in sorted((PACKAGE / room).rglob("*.py"))
        if module.stem != "__main__"
        for name in sorted(imported(module))
        if (own_part(name) or room) not in may or name.split(".")[0] in FOREIGN.get(room, set())
    ]
    assert not wrong


@pytest.mark.parametrize("part", sorted(GROUND_FLOOR | {"cli"}))
def test_the_ground_floor_imports_no_room(part: str) -> None:
    reached = {own_part(name) for name in imported(PACKAGE / f"{part}.py")} - {None}
    assert reached <= {"errors"}


@pytest.mark.parametrize("room", [room for room in ROOMS_HERE if not ROOMS[room][1]])
def test_importing_the_room_does_not_load_torch(room: str) -> None:
    modules = [
        ".".join(path.relative_to(CHECKOUT).with_suffix("").parts)
        for path in (PACKAGE / room).rglob("*.py")
        if path.stem != "__main__"
    ]
    program = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "sys.exit('torch' in sys.modules and 'torch was loaded')"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_every_module_says_what_it_is_for(module: Path) -> None:
    assert ast.get_docstring(ast.parse(module.read_text("utf-8")))


# --- what the packages carry


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist, built offline from a copy in which data lies about."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("pyproject.toml", "README.md", "LICENSE", "constraints.txt", "Makefile"):
        shutil.copy(CHECKOUT / name, copy)
    shutil.copytree(PACKAGE, copy / "nas_skeleton", ignore=shutil.ignore_patterns("__pycache__"))
    for card in CARDS:
        (copy / card).parent.mkdir(exist_ok=True)
        shutil.copy(CHECKOUT / card, copy / card)
    # No .gitignore in the copy: what keeps these out must not depend on it.
    for data in ("datasets/utdmhad/a1_s1_t1_skeleton.mat", "datasets/big.npy", "runs/one/log.txt"):
        (copy / data).parent.mkdir(parents=True, exist_ok=True)
        (copy / data).write_text("somebody's data")
    built = tmp_path_factory.mktemp("built")
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(built)]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return built


def test_the_wheel_carries_code_and_cards_and_nothing_else(packages: Path) -> None:
    (wheel,) = packages.glob("*.whl")
    files = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    code = {str(path.relative_to(CHECKOUT)) for path in (*MODULES, *KERNELS, *PAGES)}
    cards = {f"nas_skeleton/cards/{card}" for card in CARDS}
    assert files == code | cards | {"nas_skeleton/py.typed"}


def test_the_wheel_has_the_projects_version_and_licence(packages: Path) -> None:
    (wheel,) = packages.glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        (name,) = (name for name in content.namelist() if name.endswith("/METADATA"))
        metadata = email.message_from_bytes(content.read(name))
    assert metadata["Version"] == VERSION
    assert metadata["License-Expression"] == "Apache-2.0"
    assert nas_skeleton.__version__ == VERSION
    assert f"\nversion: {VERSION}\n" in (CHECKOUT / "CITATION.cff").read_text("utf-8")


def test_an_installed_program_finds_the_cards_from_any_folder(
    packages: Path, tmp_path: Path
) -> None:
    (wheel,) = packages.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from nas_skeleton import cards\n"
        "assert cards.__file__.startswith(sys.argv[1]), cards.__file__\n"
        "print(*(f'{kind}/{name}.toml' for kind in ('search_spaces', 'datasets')"
        " for name in cards.card_names(kind)))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "site")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == CARDS


def test_the_sdist_carries_no_data_and_no_runs(packages: Path) -> None:
    (sdist,) = packages.glob("*.tar.gz")
    with tarfile.open(sdist) as content:
        names = {name.partition("/")[2] for name in content.getnames()}
    assert names >= CARDS | {"pyproject.toml", "LICENSE", "constraints.txt", "Makefile"}
    assert names >= {str(path.relative_to(CHECKOUT)) for path in (*MODULES, *KERNELS, *PAGES)}
    assert {n for n in names if n.startswith(("datasets/", "search_spaces/"))} == CARDS
    assert not {name for name in names if name.startswith("runs/")}


# --- what the repository carries

LARGEST = 2 * 2**20  # bytes
PUBLISHED = 60 * 10**6  # bytes, all published tables together
DATA = {".mat", ".npy", ".npz", ".zip", ".7z", ".rar", ".gz", ".skeleton", ".h5", ".avi", ".mp4"}
UNSAFE = {".pkl", ".pickle", ".pt", ".pth", ".ckpt"}


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    # A file deleted but not yet committed is still listed.
    return [CHECKOUT / n for n in done.stdout.split("\0") if n and (CHECKOUT / n).is_file()]


def test_the_repository_holds_no_data_files(tracked: list[Path]) -> None:
    assert not [path for path in tracked if path.suffix.lower() in DATA | UNSAFE]


def test_the_repository_holds_no_large_files(tracked: list[Path]) -> None:
    tables = CHECKOUT / "runs" / "published"
    others = [path for path in tracked if tables not in path.parents]
    assert not [path for path in others if path.stat().st_size > LARGEST]
    assert sum(path.stat().st_size for path in {*tracked} - {*others}) <= PUBLISHED
