"""Rows of architectures that were not trained because another one computes the same function."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd

from nas_skeleton.errors import InputError
from nas_skeleton.results import schema
from nas_skeleton.results.run import DataFacts, Run
from nas_skeleton.spaces import Cost, SearchSpace, Space


def with_copies_of_run(rows: pd.DataFrame, run: Run, space: SearchSpace) -> pd.DataFrame:
    """Rows of a run, with copies for the functional classes where the run asks for them.

    Raises:
        InputError: the space's card is no longer the run's, and copies need their costs from it.
    """
    if not run.arguments.one_per_class:
        return rows
    if space.card.recipe_hash(run.arguments.recipe) != run.arguments.recipe_hash:
        raise InputError(
            f"search_spaces/{space.name}.toml changed since run {run.name!r}, so the costs of its "
            "copied rows are unknown: restore the card"
        )
    return with_copies(rows, space, run.data)


def with_copies(rows: pd.DataFrame, space: SearchSpace, data: DataFacts) -> pd.DataFrame:
    """`rows` with a copy of each finished row for every other member of its functional class.

    A copy says so: status "copied", `source_index` the architecture that was trained, a key of its
    own. Parameters and MACs are the member's own, for dead edges count there. A copied row is never
    an independent training. Where the only training of a class diverged, its copies are "diverged"
    too, with a `source_index`. Sorted by architecture and seed.
    """

    @cache
    def cost(member: int, recipe: str) -> Cost:
        assert isinstance(space, Space)  # only cells have others that compute the same function
        return space.cost(
            member,
            space.card.recipe(recipe),
            classes=len(data.classes),
            joints=data.joints,
            bodies=data.bodies,
            channels=data.channels,
        )

    done = rows[rows["status"].isin((schema.DONE, schema.DIVERGED))]
    done = done.sort_values("status", key=lambda status: status != schema.DONE, kind="stable")
    members = [space.functional_classes()[key] for key in done["functional_key"]]
    copies = done.loc[done.index.repeat([len(of_class) for of_class in members])]
    copies = copies.assign(
        source_index=copies["arch_index"].astype("Int64"),
        arch_index=np.fromiter((index for of_class in members for index in of_class), np.int64),
        status=copies["status"].replace(schema.DONE, schema.COPIED),
    ).drop_duplicates(["arch_index", "seed"])
    trained = pd.MultiIndex.from_frame(rows[["arch_index", "seed"]])
    copies = copies[~pd.MultiIndex.from_frame(copies[["arch_index", "seed"]]).isin(trained)]
    if copies.empty:
        return rows
    indices = copies["arch_index"].tolist()
    costs = [cost(*pair) for pair in zip(indices, copies["recipe"], strict=True)]
    names = {index: space.arch_string(index) for index in set(indices)}
    keys = {index: space.nb201_key(index) for index in set(indices)}
    copies = copies.assign(
        key=[f"{key}:{index}" for key, index in zip(copies["key"], indices, strict=True)],
        arch_str=[names[index] for index in indices],
        nb201_key=[keys[index] for index in indices],
        params=[found.params for found in costs],
        macs=[found.macs for found in costs],
    )
    both = pd.concat([rows, copies], ignore_index=True)
    return both.sort_values(["arch_index", "seed"], kind="stable", ignore_index=True)
