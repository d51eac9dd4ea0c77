"""`python -m nas_skeleton`: which commands there are."""

from __future__ import annotations

import click

from nas_skeleton import cli

COMMANDS = """\
nas_skeleton is a set of commands; each has --help.

  python -m nas_skeleton.search    train architectures and rank them, as a strategy asks for them
  python -m nas_skeleton.train     train or describe one architecture
  python -m nas_skeleton.runs      list, show and collect results
  python -m nas_skeleton.compare   networks side by side; search strategies side by side
  python -m nas_skeleton.supernet  rank cells by the weights of one shared network
  python -m nas_skeleton.proxies   score cells by zero-cost proxies, without training
  python -m nas_skeleton.nni       train as `search` does, as the trials of an NNI experiment
  python -m nas_skeleton.data      list, prepare, check and show data sets
  python -m nas_skeleton.speed     compare the training engines on this machine"""


@click.command(
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
def main() -> None:
    """Say which commands there are, whatever is asked."""
    click.echo(COMMANDS)


if __name__ == "__main__":
    cli.run(main)
