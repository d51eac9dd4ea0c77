"""What a manifest says of the rows of its table: counted when it is written, and when checked."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pandas as pd

from nas_skeleton.published.files import Hardware
from nas_skeleton.results import schema

# Columns with one value, that of the manifest's field of the same name.
IDENTITY = ("space", "dataset", "fingerprint", "protocol", "recipe", "recipe_hash", "modality")


def facts_of(table: pd.DataFrame) -> dict[str, Any]:
    """Fields of `files.Manifest` that rows with copies, hosts numbered, decide."""
    status, is_own = table["status"], table["source_index"].isna()
    return {
        "trained_with": sorted(table["version"].dropna().unique()),
        "trained_until": max(table["finished_at"]),
        "seeds": sorted(table["seed"].unique().tolist()),
        "architectures": int(table["arch_index"].nunique()),
        "functions": int(table["functional_key"].nunique()),
        "trained": int((status == schema.DONE).sum()),
        "copied": int((status == schema.COPIED).sum()),
        "diverged": int(((status == schema.DIVERGED) & is_own).sum()),
        "hardware": _hardware(table),
    }


def _hardware(table: pd.DataFrame) -> list[Hardware]:
    done = table[table["status"] == schema.DONE]
    parts = ["device", "engine", "precision", "host"]
    counts = Counter(done[parts].fillna("unknown").itertuples(index=False, name=None))
    return [
        Hardware(device, engine, precision, host, count)
        for (device, engine, precision, host), count in sorted(counts.items())
    ]
