"""Hand-designed reference models: the networks people use today, to be trained like a candidate.

Written anew from the papers and the published code's numbers; parameter counts are the published
ones. Each family is a module of its own, imported when it is asked for. How a model is trained is
not decided here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas_skeleton.errors import InputError
from nas_skeleton.spaces.models import MODEL_NAMES

if TYPE_CHECKING:
    from nas_skeleton.network.classifier import Classifier
    from nas_skeleton.skeletons.layouts import Layout

WITH_DROPOUT = ("stgcn", "asgcn", "stgcn++")


def build_model(
    name: str,
    *,
    in_channels: int,
    classes: int,
    layout: Layout,
    bodies: int,
    future: int = 0,
    dropout: float = 0.0,
) -> Classifier:
    """A reference model for clips `(N, C, T, V, M)`, still without particular weights.

    Draw them with `network.initialise.initialise`. Any number of frames T from 1 on will do.
    "asgcn" sees `(N, C + 2 * V, T + future, V, M)`: links behind the coordinates, and the frames
    that it is to predict.

    Args:
        name: one of `spaces.models.MODEL_NAMES`.
        in_channels: C, numbers per joint, of all modalities together.
        classes: outputs.
        layout: the V joints and their bones.
        bodies: M.
        future: of "asgcn", how many frames it predicts, at least one.
        dropout: probability in `[0, 1)` to drop a feature at the end of a block's temporal
            convolution; "stgcn" and "stgcn++" have none in the first block. `network.dropout` says
            how it is drawn and seeded.

    Raises:
        InputError: an unknown model, a dropout that is no probability or that the model lacks, or
            an "asgcn" that predicts no frame.
    """
    if name not in MODEL_NAMES:
        raise InputError(f"unknown model {name!r}: known are {', '.join(MODEL_NAMES)}")
    if not 0 <= dropout < 1:
        raise InputError(f"dropout is {dropout}, must be at least 0 and below 1")
    if dropout and name not in WITH_DROPOUT:
        raise InputError(f"model {name!r} has no dropout: leave it at 0")
    if name == "stgcn":
        from nas_skeleton.network.models.stgcn import stgcn

        return stgcn(in_channels, classes, layout, dropout)
    if name == "asgcn":
        from nas_skeleton.network.models.asgcn import ASGCN

        return ASGCN(in_channels, classes, layout, future=future, dropout=dropout)
    if name == "stgcn++":
        from nas_skeleton.network.models.stgcnpp import stgcnpp

        return stgcnpp(in_channels, classes, layout, dropout)
    if name == "ctrgcn":
        from nas_skeleton.network.models.ctrgcn import ctrgcn

        return ctrgcn(in_channels, classes, layout, bodies)
    if name == "msg3d":
        from nas_skeleton.network.models.msg3d import msg3d

        return msg3d(in_channels, classes, layout, bodies)
    from nas_skeleton.network.models.agcn import aagcn, agcn

    build = agcn if name == "agcn" else aagcn
    return build(in_channels, classes, layout, bodies)
