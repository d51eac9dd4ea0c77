"""`python -m nas_skeleton`: which commands there are."""

from __future__ import annotations

COMMANDS = """\
nas_skeleton is a set of commands; each has --help.

  python -m nas_skeleton.search    train architectures and rank them, as a strategy asks for them
  python -m nas_skeleton.train     train or describe one architecture
  python -m nas_skeleton.runs      list, show and collect results
  python -m nas_skeleton.compare   networks side by side; search strategies side by side
  python -m nas_skeleton.supernet  rank cells by the weights of one shared network
  python -m nas_skeleton.proxies   score cells by zero-cost proxies, without training
  python -m nas_skeleton.data      list, prepare, check and show data sets
  python -m nas_skeleton.speed     compare the training engines on this machine"""

if __name__ == "__main__":
    print(COMMANDS)
