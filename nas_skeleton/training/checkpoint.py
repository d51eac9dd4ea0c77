"""Checkpoints: the state of an unfinished training, written so that a kill never leaves half of it.

A checkpoint holds tensors and plain values only and is read without unpickling anything else.
"""

from __future__ import annotations

import os
import pickle
import uuid
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

FORMAT = 2


def save(path: Path, key: str, state: dict[str, Any]) -> None:
    """Write `state` for the training `key`; whoever reads `path` sees the old file or the new one.

    Raises:
        OSError: the disk is full or read-only; an older checkpoint stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as file:
            try:
                torch.save({"format": FORMAT, "key": key, **state}, file)
            except RuntimeError as error:  # torch reports a failed write as RuntimeError
                if "write" in str(error).lower():
                    raise OSError(28, "No space left on device", str(path)) from None
                raise
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load(path: Path, key: str) -> dict[str, Any] | None:
    """The state saved for the training `key`, or None if there is none that can be used."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's remarks on files that are no checkpoints
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, zipfile.BadZipFile, pickle.PickleError):
        return None
    if not isinstance(state, dict) or state.get("format") != FORMAT or state.get("key") != key:
        return None
    return state
