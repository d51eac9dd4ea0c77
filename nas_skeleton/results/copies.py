"""Rows of architectures that were not trained because another one computes the same function."""

from __future__ import annotations

import pandas as pd

from nas_skeleton.errors import InputError
from nas_skeleton.results import schema
from nas_skeleton.results.run import DataFacts, Run
from nas_skeleton.spaces import Space


def table_rows(run: Run, space: Space, *, blobs: bool = False) -> pd.DataFrame:
    """All rows of a run, with copies for the functional classes where the run asks for them.

    Raises:
        InputError: the space's card is no longer the run's, and copies need their costs from it.
    """
    rows = run.rows(blobs=blobs)
    if not run.arguments.one_per_class:
        return rows
    if space.card.recipe_hash(run.arguments.recipe) != run.arguments.recipe_hash:
        raise InputError(
            f"search_spaces/{space.name}.toml changed since run {run.name!r}, so the costs of its "
            "copied rows are unknown: restore the card"
        )
    return with_copies(rows, space, run.data)


def with_copies(rows: pd.DataFrame, space: Space, data: DataFacts) -> pd.DataFrame:
    """`rows` with a copy of each finished row for every other member of its functional class.

    A copy says so: status "copied", `source_index` the architecture that was trained, a key of its
    own. Parameters and MACs are the member's own, for dead edges count there. A copied row is never
    an independent training.
    """
    trained = set(zip(rows["arch_index"], rows["seed"], strict=True))
    members_of = space.functional_classes()
    copies = []
    for row in rows[rows["status"] == schema.DONE].to_dict("records"):
        recipe = space.card.recipe(row["recipe"])
        for member in members_of[row["functional_key"]]:
            if (member, row["seed"]) in trained:
                continue
            cost = space.cost(
                member,
                recipe,
                classes=len(data.classes),
                joints=data.joints,
                bodies=data.bodies,
            )
            copies.append(
                {
                    **row,
                    "key": f"{row['key']}:{member}",
                    "arch_index": member,
                    "arch_str": space.arch_string(member),
                    "nb201_key": space.nb201_key(member),
                    "status": schema.COPIED,
                    "source_index": row["arch_index"],
                    "params": cost.params,
                    "macs": cost.macs,
                }
            )
    if not copies:
        return rows
    both = pd.concat([rows, pd.DataFrame(copies)], ignore_index=True)
    return both.sort_values(["arch_index", "seed"], kind="stable").reset_index(drop=True)
