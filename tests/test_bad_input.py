"""Whatever a user gets wrong is one clear line and exit code 2; nothing is lost."""

import os
import subprocess
import sys

import pytest
import torch

from nas_skeleton.cards import card_folders
from nas_skeleton.results.run import open_run
from nas_skeleton.scheduling.means import choose_means
from nas_skeleton.scheduling.signals import Signals
from nas_skeleton.scheduling.start import start_campaign
from nas_skeleton.skeletons.store import load_dataset
from nas_skeleton.spaces import load_space

SEARCH = ("search", "--space", "tiny", "--dataset", "synthetic", "--trials", "2")
NAME = "tiny_synthetic_thesis_tiny_random_777"


@pytest.fixture
def run(workdir):
    """The run that `SEARCH` makes, finished."""
    campaign = start_campaign(
        load_space("tiny"),
        load_dataset("synthetic"),
        choose_means("auto", "1"),
        seeds=[777],
        trials=2,
    )
    assert campaign.run.name == NAME
    for job in campaign.jobs:
        campaign.execute_here(job, Signals(), lambda _: None)
    return campaign.run


def refused(done, *parts):
    """Assert that a finished command said all `parts` in one line and exited with 2."""
    assert done.returncode == 2, (done.stdout, done.stderr)
    lines = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, done.stderr
    for part in parts:
        assert part in lines[0]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("search", "--space", "nope"), ("unknown search space 'nope'", "nb201")),
        (("search", "--dataset", "nope"), ("unknown data set 'nope'", "utdmhad")),
        (("search", "--space", "../../etc/passwd"), ("letters, digits",)),
        ((*SEARCH, "--recipe", "nope"), ("unknown recipe 'nope'", "tiny")),
        ((*SEARCH, "--protocol", "nope"), ("unknown protocol 'nope'", "odd-even")),
        ((*SEARCH, "--strategy", "nope"), ("nope", "random")),
        ((*SEARCH, "--seeds", "1,x"), ("--seeds", "777,888,999")),
        ((*SEARCH, "--seeds", "1,01"), ("--seeds",)),
        ((*SEARCH, "--seeds", "99999999999999999999"), ("--seeds",)),
        ((*SEARCH, "--seed", "9223372036854775808"), ("--seed",)),
        ((*SEARCH, "--run", "a" * 300), ("at most 200",)),
        ((*SEARCH, "--seed", "1", "--seeds", "2"), ("--seed and --seeds",)),
        ((*SEARCH, "--seed", "-1"), ("--seed",)),
        ((*SEARCH, "--trials", "0"), ("--trials",)),
        ((*SEARCH, "--workers", "many"), ("--workers 'many'", "auto")),
        ((*SEARCH, "--workers", "0"), ("--workers '0'",)),
        ((*SEARCH, "--one-per-class"), ("--strategy exhaustive",)),
        ((*SEARCH, "--run", "../outside"), ("letters, digits",)),
        ((*SEARCH, "--frobnicate"), ("--frobnicate",)),
        (("search", "--dataset", "utdmhad"), ("utdmhad", "--dataset synthetic")),
        (("train", "--arch", "15625", "--dataset", "synthetic"), ("15625", "0 to 15624")),
        (("train", "--arch", "-1", "--dataset", "synthetic"), ("-1", "0 to 15624")),
        (("train", "--arch", "|conv~0|", "--dataset", "synthetic"), ("|conv~0|",)),
        (("train", "--arch", "6111", "--dataset", "synthetic", "--json"), ("--describe",)),
        (("runs", "show", "nope"), ("no run 'nope'",)),
        (("runs", "collect", "../../etc"), ("letters, digits",)),
        (("runs", "frobnicate"), ("frobnicate",)),
        (("data", "show", "nope"), ("unknown data set 'nope'",)),
        (("data", "prepare", "utdmhad", "--raw", "absent.zip"), ("absent.zip",)),
    ],
)
def test_bad_arguments_are_one_line(here, arguments, parts):
    refused(here(*arguments), *parts)


def test_a_command_ends_as_its_parts_say(command):
    refused(command("search", "--space", "nope"), "unknown search space 'nope'", "nb201")


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("epochs = 3", "epochs = 3\nepoch = 4", ("tiny.toml", "recipes.tiny.epoch", "unknown key")),
        ("epochs = 3", "epoch = 3", ("tiny.toml", "recipes.tiny.epoch:", "unknown key")),
        ("epochs = 3", 'epochs = "3"', ("tiny.toml", "recipes.tiny.epochs", "integer")),
        ("epochs = 3", "epochs = 0", ("tiny.toml", "recipes.tiny.epochs", "greater than 0")),
        ("epochs = 3", "", ("tiny.toml", "recipes.tiny.epochs", "required")),
        ("epochs = 3", "epochs = ", ("tiny.toml", "TOML")),
        ('kind = "stgcn"', 'kind = "gat"', ("tiny.toml", "stem", "gat")),
        ("temporal_kernel = 3", "temporal_kernel = 4", ("tiny.toml", "odd")),
        ('reduction = "both"', 'reduction = "joints"', ("tiny.toml", "macro.reduction")),
        ('default_recipe = "tiny"', 'default_recipe = "x"', ("tiny.toml", "default_recipe")),
        ('name = "tiny"', 'name = "other"', ("tiny.toml", "name")),
    ],
)
def test_mistakes_in_a_card_name_file_and_key(here, workdir, old, new, parts):
    card = workdir / "search_spaces/tiny.toml"
    assert old in card.read_text()
    card.write_text(card.read_text().replace(old, new, 1))
    refused(here(*SEARCH), *parts)


def test_run_folder_of_other_arguments_is_left_alone(here, run):
    before = run.rows()
    refused(here(*SEARCH, "--run", NAME, "--seed", "5"), NAME, "seeds", "--run")
    refused(here(*SEARCH, "--run", NAME, "--protocol", "odd-even"), "protocol")
    assert run.rows().equals(before)


def test_changed_card_does_not_mix_into_an_older_run(here, run, workdir):
    card = workdir / "search_spaces/tiny.toml"
    card.write_text(card.read_text().replace("epochs = 3", "epochs = 4"))
    refused(here(*SEARCH), "recipe_hash", "--run")


def test_changed_protocol_does_not_mix_into_an_older_run(here, run, workdir):
    text = (card_folders("datasets")[1] / "synthetic.toml").read_text()
    assert "valid_subjects = [7]" in text
    changed = text.replace("train_subjects = [1, 3, 5]", "train_subjects = [1, 3]", 1)
    changed = changed.replace("valid_subjects = [7]", "valid_subjects = [5, 7]", 1)
    (workdir / "datasets/synthetic.toml").write_text(changed)
    refused(here(*SEARCH), "fingerprint", "--run")


def test_coordinates_that_changed_on_the_disk_are_noticed(here, workdir):
    (array,) = (workdir / "datasets/synthetic/prepared").glob("*.f32")
    with array.open("r+b") as file:
        file.write(bytes(1000))
    refused(here(*SEARCH), array.name, "data prepare synthetic")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--device", "cuda"), ("--device cuda", "--device cpu")),
        (("--engine", "cuda-graph"), ("--engine cuda-graph needs a GPU", "auto")),
    ],
)
@pytest.mark.parametrize(
    "asked", [SEARCH, ("train", "--arch", "1", "--space", "tiny", "--dataset", "synthetic")]
)
def test_a_gpu_that_is_not_there_is_one_line(here, asked, arguments, parts):
    refused(here(*asked, *arguments), *parts)
    assert not os.path.lexists("runs")


def test_a_precision_that_needs_a_gpu_is_refused_on_a_cpu(here, workdir):
    card = workdir / "search_spaces/tiny.toml"
    card.write_text(card.read_text() + 'precision = "tf32"\n')
    refused(here(*SEARCH, "--device", "cpu"), "recipe 'tiny'", "'tf32'", "needs a GPU")


def test_damaged_results_are_named_and_left_alone(here, run):
    path = next(run.results_folder.glob("*.sqlite"))
    path.write_bytes(path.read_bytes()[:5000])
    refused(here("runs", "show", NAME), path.name)
    refused(here(*SEARCH), path.name)


def test_folder_that_cannot_be_written_is_one_line(here, workdir):
    (workdir / "runs").write_text("a file where the folder should be")
    refused(here(*SEARCH), "runs")


@pytest.fixture
def small_disk(workdir):
    """A file system of 100 KB at runs/."""
    folder = workdir / "runs"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(folder)]
    try:
        mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_full_disk_loses_nothing_that_was_stored(command, small_disk):
    done = command(*SEARCH, "--trials", "40", "--workers", "1")
    refused(done, "runs", "run the same command again")
    stored = open_run(NAME).rows()
    assert 0 < len(stored) < 40
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    assert command(*SEARCH, "--trials", "40").returncode == 0
    after = open_run(NAME).rows()
    assert len(after) == 40
    assert after[after["key"].isin(stored["key"])].reset_index(drop=True).equals(stored)


def test_read_only_disk_is_one_line(here, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    refused(here(*SEARCH), "runs")


@pytest.mark.parametrize("module", ["search", "train", "runs", "data"])
def test_help_answers_without_loading_torch(module):
    code = (
        f"import sys, nas_skeleton.{module} as m\n"
        "try: m.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'pandas', 'numpy', 'scipy', 'matplotlib', 'pydantic'}\n"
        "print('LOADED', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Usage:" in done.stdout
    assert done.stdout.splitlines()[-1] == "LOADED []"
