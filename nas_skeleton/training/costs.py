"""What a reference model costs: counted on the network itself, for nobody wrote it down on paper.

Cells are counted by `spaces.costs`, which needs no torch.
"""

from __future__ import annotations

from nas_skeleton.network.build import network_of
from nas_skeleton.network.counting import network_cost
from nas_skeleton.skeletons.layouts import Layout
from nas_skeleton.spaces import Architecture, Cost
from nas_skeleton.spaces.card import AnyCard


def model_cost(
    card: AnyCard,
    recipe: str,
    arch: Architecture,
    *,
    classes: int,
    layout: Layout,
    bodies: int,
    channels: int,
) -> Cost:
    """Parameters and MACs of one clip (`network.counting`).

    `channels` is C of the clips as the network sees them, `TrainedCard.channels`.
    """
    chosen = card.recipe(recipe)
    network = network_of(
        card,
        chosen,
        arch,
        classes=classes,
        layout=layout,
        in_channels=channels,
        bodies=bodies,
    )
    frames = chosen.frames + card.input.future
    return network_cost(network, (channels, frames, len(layout.joints), bodies))
