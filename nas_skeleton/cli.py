"""What commands share: how errors become one line and an exit code, `--json` output, some options.

Exit codes: 0 complete; 1 complete, but some trainings failed; 2 wrong arguments or bad input;
75 stopped early on a signal, everything saved, run the same command again. Who closes the pipe that
a command writes to (`… | head`) ends it without a word: 141, as shells say of programs that end by
SIGPIPE. The signal itself stays off, or a worker that dies could end its command.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from nas_skeleton.errors import InputError, StoppedEarly

COMPLETE, SOME_FAILED, BAD_INPUT, STOPPED, CLOSED_PIPE = 0, 1, 2, 75, 128 + 13

LARGEST_SEED = 2**63 - 1  # what the store's integers hold

space_option = click.option(
    "--space", default="nb201", show_default=True, help="Card in search_spaces/."
)

dataset_option = click.option(
    "--dataset",
    default="utdmhad",
    show_default=True,
    help="Card in datasets/; NAME:CLASS+CLASS for some of its classes.",
)

recipe_option = click.option(
    "--recipe", help="Recipe in the space's card.  [default: the card's default_recipe]"
)

protocol_option = click.option(
    "--protocol", help="Protocol in the data set's card.  [default: its default_protocol]"
)

seed_option = click.option(
    "--seed", type=click.IntRange(0, LARGEST_SEED), help="One seed; short for --seeds SEED."
)

run_option = click.option(
    "--run", "run_name", help="Name under runs/.  [default: named after the arguments]"
)

top_option = click.option(
    "--top", type=click.IntRange(1), default=10, show_default=True, help="Rows to print."
)

device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="What to train on.",
)

modality_option = click.option(
    "--modality",
    default="",
    metavar="NAME[+NAME...]",
    help="What the networks see of a clip: joint, bone, joint-motion, bone-motion, or several, one "
    "behind the other.  [default: as the space's card says]",
)

_DISK_ERRORS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EIO,
    errno.ESTALE,  # a network file system lost the file
    errno.EACCES,
    errno.EPERM,
    errno.ENOTDIR,
    errno.ENAMETOOLONG,
}


def run(command: click.Command) -> NoReturn:
    """Run a click command as `python -m nas_skeleton.<module>` and exit with the codes above.

    A command returns its exit code (None means 0). Only mistakes of the user and the machine become
    one line; any other exception keeps its traceback, because it is a bug.
    """
    try:
        code = _code_of(command)
    except BrokenPipeError:  # nobody reads what went wrong either
        code = CLOSED_PIPE
    if code == CLOSED_PIPE:  # what is not written yet must not be tried again at the end
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(nowhere, stream)
    sys.exit(code)


def _code_of(command: click.Command) -> int:
    """The exit code of a command that has run, after its mistake is said, if there was one."""
    try:
        code = command.main(standalone_mode=False)
    except SystemExit:  # of all errors click makes only a closed pipe an exit
        return CLOSED_PIPE
    except click.exceptions.Abort:
        return _said("interrupted", STOPPED)
    except click.ClickException as error:
        return _said(error.format_message(), BAD_INPUT)
    except StoppedEarly as error:
        return _said(str(error), STOPPED)
    except InputError as error:
        return _said(str(error), BAD_INPUT)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("nas_skeleton"):
            raise
        return _said(
            f"{error.name} is not installed in {sys.executable}: use .venv/bin/python, which "
            "`make search` sets up, or run `pip install .`",
            BAD_INPUT,
        )
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        culprit = error.filename or f"the disk of {Path.cwd()}"
        remedy = "see that the disk works, can be written and has room, or choose another folder"
        return _said(f"{culprit}: {error.strerror}; {remedy}", BAD_INPUT)
    return code if isinstance(code, int) else COMPLETE


def parse_seeds(seed: int | None, seeds: str | None) -> list[int]:
    """The list of seeds from `--seed` or `--seeds`.

    Raises:
        click.UsageError: both are given, or `--seeds` is no list of different whole numbers.
    """
    if seed is not None and seeds is not None:
        raise click.UsageError("--seed and --seeds: give one of them")
    if seeds is None:
        return [777 if seed is None else seed]
    parts = [part.strip() for part in seeds.split(",")]
    numbers = [int(part) for part in parts if part.isascii() and part.isdecimal()]
    if len(set(numbers)) < len(parts) or max(numbers) > LARGEST_SEED:
        raise click.UsageError(f"--seeds {seeds!r}: give different whole numbers: 777,888,999")
    return numbers


def print_json(value: Any) -> None:
    """Print one JSON object on standard output."""
    click.echo(json.dumps(value, indent=2, allow_nan=False))


def _said(message: str, code: int) -> int:
    click.echo(f"Error: {' '.join(message.split())}", err=True)
    return code
