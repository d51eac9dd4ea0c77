"""Clips that the best cell gets wrong, to be looked at: from prepared data, where it is there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nas_skeleton.errors import InputError
from nas_skeleton.report.study import Study
from nas_skeleton.results.schema import HELD_OUT
from nas_skeleton.skeletons.showing import scene_of_clip, told
from nas_skeleton.skeletons.store import load_dataset


@dataclass(frozen=True)
class Animations:
    """Moving clips.

    Attributes:
        clips: by id what `animation.PLAYER` moves.
        wrong: how many clips the best cell gets wrong; all, if there are as many of `clips`.
        licence: of the data set they are from.
        missing: why there are none.
    """

    clips: dict[str, Any] = field(default_factory=dict)
    wrong: int = 0
    licence: str = ""
    missing: str = ""


def animations_of(study: Study, best: int | None, most: int) -> Animations:
    """Up to `most` clips that the architecture `best` gets wrong, validation clips first.

    Wrong is what most of its trainings take for another class. Data that is not prepared is not
    prepared now.
    """
    if best is None:
        return Animations(missing="nothing is ranked, so there is no best cell")
    name = study.asked["data set"]
    try:
        dataset = load_dataset(name, prepare_missing=False)
    except InputError:  # its text has folders of this machine: not for the page's readers
        return Animations(missing=f"data set {name!r} was not prepared where this page was written")
    wanted = list(_wrong(study, best))
    chosen = wanted[:most]
    labels = dict(zip(dataset.ids, dataset.labels.tolist(), strict=True))
    if any(labels.get(clip) != label for clip, label in chosen):
        return Animations(
            missing=f"prepared data set {dataset.name!r} has not the clips of this study"
        )
    clips = {clip: told(scene_of_clip(dataset, clip)) for clip, _ in chosen}
    return Animations(clips, len(wanted), " ".join(dataset.card.licence.split()))


def _wrong(study: Study, arch: int) -> Iterator[tuple[str, int]]:
    """Ids and labels of the clips that most trainings of an architecture get wrong."""
    own = (study.predicted["arch_index"] == arch).to_numpy()
    for split in HELD_OUT:
        if split not in study.predictions:
            continue
        clips = study.clips[split]
        misses = study.predictions[split][own] != np.array(clips.labels)
        for at in np.flatnonzero(misses.mean(axis=0) > 0.5):
            yield clips.ids[at], clips.labels[at]
