"""`python -m nas_skeleton.proxies`: the command is `nas_skeleton.scoring`."""

from __future__ import annotations

from nas_skeleton import cli
from nas_skeleton.scoring import main

if __name__ == "__main__":
    cli.run(main)
