"""`train --describe`: what a network is, from the cards alone; the data need not be there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas_skeleton.spaces import SearchSpace, Space
    from nas_skeleton.spaces.recipe import Recipe


def description(
    space: SearchSpace, index: int, dataset: str, recipe_name: str | None
) -> dict[str, Any]:
    """Parameters, MACs of a clip, shapes, and of a cell its edges.

    Where A-links ride along: what it takes to infer them comes on top, as `link_params`,
    `link_macs`.

    Raises:
        InputError: an unknown data set or recipe.
    """
    from nas_skeleton.skeletons.load import load_dataset_card
    from nas_skeleton.spaces import Space

    data = load_dataset_card(dataset)
    recipe = space.card.recipe(recipe_name)
    joints = len(data.skeleton.joints)
    bodies = space.card.input.bodies(data.bodies)
    channels = space.card.channels(len(data.axes), joints)
    frames = recipe.frames + space.card.input.future
    if isinstance(space, Space):
        facts = _of_cell(space, index, space.card.recipe(recipe_name), joints)
        cost = space.cost(
            index,
            space.card.recipe(recipe_name),
            classes=len(data.classes),
            joints=joints,
            bodies=bodies,
            channels=channels,
        )
    else:
        from nas_skeleton.training.costs import model_cost

        facts = {"model": space.arch_string(index)}
        cost = model_cost(
            space.card,
            recipe_name or space.card.default_recipe,
            space.architecture(index),
            classes=len(data.classes),
            layout=data.skeleton,
            bodies=bodies,
            channels=channels,
        )
    links = space.link_cost(axes=len(data.axes), joints=joints, bodies=bodies)
    shapes = {"stage_shapes": facts.pop("stage_shapes")} if "stage_shapes" in facts else {}
    return {
        **facts,
        "params": cost.params,
        "macs": cost.macs,
        **({"link_params": links.params, "link_macs": links.macs} if space.card.aim else {}),
        "input_shape": ["N", channels, frames, joints, bodies],
        **shapes,
        "classes": len(data.classes),
    }


def _of_cell(space: Space, index: int, recipe: Recipe, joints: int) -> dict[str, Any]:
    from nas_skeleton.spaces.costs import reduced_size
    from nas_skeleton.spaces.liveness import roles

    shapes = []
    size = (recipe.frames, joints)
    for stage in range(3):
        if stage:
            size = reduced_size(*size, space.card.macro.reduction)
        shapes.append([recipe.channels * 2**stage, *size])
    cell = space.cell(index)
    return {
        "arch_index": index,
        "arch_str": space.arch_string(index),
        "functional_key": space.functional_key(index),
        "edges": [
            f"{source}->{target} {name} ({role.value})"
            for (source, target, name), role in zip(cell.named_edges(), roles(cell), strict=True)
        ],
        "stage_shapes": shapes,
    }
