"""Commands whose reader goes away: they end without a word, with the code of such an end."""

import subprocess
import sys

import pytest

from nas_skeleton.cli import CLOSED_PIPE


def into_closed_pipe(workdir, *arguments, **where):
    """The exit code of a command whose output nobody reads, and what it says elsewhere."""
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=workdir,
        stdout=subprocess.PIPE,
        stderr=where.get("stderr", subprocess.PIPE),
        text=True,
    )
    process.stdout.close()
    said = process.stderr.read() if process.stderr else ""
    if process.stderr:
        process.stderr.close()
    return process.wait(60), said


@pytest.mark.parametrize(
    "arguments",
    [
        ("nas_skeleton",),
        ("nas_skeleton.search", "--help"),
        ("nas_skeleton.runs", "list"),
        ("nas_skeleton.data", "list"),
        ("nas_skeleton.train", "--arch", "5", "--dataset", "synthetic", "--describe"),
    ],
    ids=" ".join,
)
def test_a_closed_pipe_is_an_end_without_a_word(workdir, arguments):
    assert into_closed_pipe(workdir, *arguments) == (CLOSED_PIPE, "")


def test_a_mistake_that_nobody_reads_leaves_no_traceback(workdir):
    arguments = ("nas_skeleton.runs", "show", "none")
    assert into_closed_pipe(workdir, *arguments)[0] == 2  # standard error is open
    assert into_closed_pipe(workdir, *arguments, stderr=subprocess.STDOUT)[0] == CLOSED_PIPE
