"""Architectures that a user lists: on the command line or in a file, and wrong lists."""

from pathlib import Path

import click
import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.listing import listed_archs
from nas_skeleton.results.run import open_run, run_names
from nas_skeleton.spaces import load_space

ARGUMENTS = ("search", "--space", "tiny", "--dataset", "synthetic")


def test_a_list_is_read_from_the_line_and_from_a_file(tmp_path):
    space = load_space("nb201")
    assert listed_archs(space, "1462, 6111,1462") == [1462, 6111]
    (tmp_path / "list.txt").write_text("6111\n1462\n\n15624\n")
    assert listed_archs(space, f"@{tmp_path}/list.txt") == [1462, 6111, 15624]


@pytest.mark.parametrize("text", ["", "1,,2", "1;2", "-1", "٣", "|none~0|", "@empty", "@words"])
def test_what_is_no_list_is_said(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    Path("empty").touch()
    Path("words").write_text("1\nbest\n")
    with pytest.raises(click.UsageError, match="give indices: 6111,1462, or @FILE"):
        listed_archs(load_space("nb201"), text)


def test_a_missing_file_and_a_missing_architecture_are_said(tmp_path):
    with pytest.raises(click.UsageError, match="No such file"):
        listed_archs(load_space("nb201"), f"@{tmp_path}/none")
    with pytest.raises(InputError, match="no architecture 15625"):
        listed_archs(load_space("nb201"), "15625")


def test_a_search_trains_the_list_and_continues_it(here):
    done = here(*ARGUMENTS, "--archs", "6111,10,1462", "--seeds", "777,888")
    assert done.returncode == 0, done.stderr
    assert "3 architectures (as listed) x 2 seeds = 6 trainings, 0 done, 6 to do" in done.stdout
    [name] = run_names()
    rows = open_run(name).rows(["arch_index", "seed"])
    assert set(map(tuple, rows.to_numpy().tolist())) == {
        (arch, seed) for arch in (6111, 10, 1462) for seed in (777, 888)
    }
    again = here(*ARGUMENTS, "--archs", "10,1462,6111", "--seeds", "777,888")
    assert "6 done, 0 to do" in again.stdout


def test_a_long_list_has_a_short_name(here):
    archs = ",".join(map(str, range(200)))
    done = here(*ARGUMENTS, "--archs", archs, "--dry-run")
    assert "tiny_synthetic_thesis_tiny_list-of-200-" in done.stdout
    assert here(*ARGUMENTS, "--archs", "", "--dry-run").returncode == 2  # an unset variable
    other = here(*ARGUMENTS, "--archs", archs + ",200", "--dry-run")
    assert "list-of-201-" in other.stdout


@pytest.mark.parametrize("option", [("--strategy", "exhaustive"), ("--trials", "3")])
def test_a_list_leaves_nothing_to_choose(here, option):
    done = here(*ARGUMENTS, "--archs", "1,2", *option)
    assert done.returncode == 2
    assert done.stderr == f"Error: --archs and {option[0]}: give one of them\n"
