"""The cells of a space as a model space of NNI's, whose samples are networks of this program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nas_skeleton.strategies.nni_exploration import nni_model_space

if TYPE_CHECKING:
    from nas_skeleton.skeletons.store import Dataset
    from nas_skeleton.spaces import Space


def nni_network_space(
    space: Space, dataset: Dataset, *, recipe: str | None = None, seed: int
) -> Any:
    """An `nni.nas` model space; a sample is frozen to what `build_network` makes of its cell.

    Its labels and operations are those of `NasBench201` in NNI's hub (`spaces.nni_names`).

    Args:
        space: of cells.
        dataset: gives classes, layout and channels.
        recipe: None for the space's default.
        seed: of the initial weights.

    Raises:
        InputError: NNI is not installed, or there is no such recipe.
    """
    from nas_skeleton.network.build import build_network

    space.card.recipe(recipe)
    return nni_model_space(
        space, lambda index: build_network(space, index, dataset=dataset, recipe=recipe, seed=seed)
    )
