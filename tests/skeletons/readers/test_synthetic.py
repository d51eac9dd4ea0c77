"""The synthetic set through the interface of readers."""

from __future__ import annotations

import numpy as np

from nas_skeleton.skeletons import synthetic as generator
from nas_skeleton.skeletons.load import load_dataset_card
from nas_skeleton.skeletons.readers import synthetic


def test_any_clip_can_be_read_alone_and_is_the_generators() -> None:
    raw = synthetic.open_raw(None, load_dataset_card("synthetic"))
    assert list(raw.sources) == list(generator.names())
    (clip,) = raw.read("a27_s8_t3_skeleton")
    assert (clip.id, clip.label, clip.subject, clip.trial) == ("a27_s8_t3", 26, 8, 3)
    assert clip.digest == f"generator {generator.VERSION}"
    wanted = generator.clip(27, 8, 3).transpose(1, 2, 0)
    np.testing.assert_array_equal(clip.coordinates[..., 0], wanted)
