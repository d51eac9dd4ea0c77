"""Architectures that a user lists: on the command line or in a file, and wrong lists."""

from pathlib import Path

import click
import pytest

from nas_skeleton.commands.arch_list import listed_archs
from nas_skeleton.errors import InputError
from nas_skeleton.results.run import open_run, run_names
from nas_skeleton.spaces import load_space

ARGUMENTS = ("search", "--space", "tiny", "--dataset", "synthetic")


def test_a_list_is_read_in_its_order_from_the_line_and_from_a_file(tmp_path):
    space = load_space("nb201")
    assert listed_archs(space, "6111, 1462,6111") == [6111, 1462]
    (tmp_path / "list.txt").write_text("6111\n1462\n\n15624\n")
    assert listed_archs(space, f"@{tmp_path}/list.txt") == [6111, 1462, 15624]


@pytest.mark.parametrize(
    "text", ["", "1,,2", "1;2", "-1", "٣", "|none~0|", "@empty", "@words", "@notes"]
)
def test_what_is_no_list_is_said(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    Path("empty").touch()
    Path("words").write_text("1\nbest\n")
    Path("notes").write_text("# 1, 2\n")
    with pytest.raises(click.UsageError, match="give indices: 6111,1462, or @FILE"):
        listed_archs(load_space("nb201"), text)


def test_a_missing_file_and_a_missing_architecture_are_said(tmp_path):
    with pytest.raises(click.UsageError, match="No such file"):
        listed_archs(load_space("nb201"), f"@{tmp_path}/none")
    with pytest.raises(InputError, match="no architecture 15625"):
        listed_archs(load_space("nb201"), "15625")


def test_a_file_may_have_comments_commas_and_blank_lines(tmp_path):
    (tmp_path / "list.txt").write_text("# the best\n6111, 1462,\n\n  15624 # and the last\n0,1\n")
    found = listed_archs(load_space("nb201"), f"@{tmp_path}/list.txt")
    assert found == [6111, 1462, 15624, 0, 1]


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


def test_a_longer_list_extends_the_run_that_is_named(here):
    named = (*ARGUMENTS, "--run", "mine", "--workers", "1", "--archs")
    assert here(*named, "1462,10").returncode == 0
    longer = here(*named, "5,10,1462")
    assert longer.returncode == 0, longer.stderr
    assert "3 architectures (as listed) x 1 seed = 3 trainings, 2 done, 1 to do" in longer.stdout
    shorter = here(*named, "10")
    assert "1 done, 0 to do" in shorter.stdout
    assert open_run("mine").arguments.archs == [5, 10, 1462]
    other = here(*named, ",".join(map(str, range(100))))
    assert other.returncode == 2
    assert "belongs to archs [5, 10, 1462], not [0, 1, 2, " in other.stderr
    assert "100 in all] (a list may only grow; `runs publish RUN RUN` makes" in other.stderr


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
