"""The trainings of a published table, read through its checks, as what searches are replayed on."""

from __future__ import annotations

import numpy as np

from nas_skeleton.published import files
from nas_skeleton.published.opening import reading
from nas_skeleton.published.table import PublishedTable
from nas_skeleton.results.table import SearchTable, table_of


def search_table_of(table: PublishedTable) -> SearchTable:
    """The seeds that every architecture of the space has.

    Raises:
        InputError: there is no such seed, no validation clips, or a file is damaged.
    """
    rows = table.to_pandas("trainings")
    own = rows[rows["source_index"].isna()]
    valid = table.curves("valid_top1")[own["arch_index"], np.searchsorted(table.seeds, own["seed"])]
    curves = {
        key: {
            epoch: accuracy
            for epoch, accuracy in zip(table.epochs, curve, strict=True)
            if not np.isnan(accuracy)
        }
        for key, curve in zip(own["key"], valid.tolist(), strict=True)
    }
    path = table.folder / files.TABLE
    with reading(path):  # no check has looked at names and keys
        return table_of(rows, lambda key: curves.get(key, {}), str(path))
