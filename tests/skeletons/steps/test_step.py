"""Steps as cards have them."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.steps import STEPS, AnyStep, Step
from nas_skeleton.skeletons.steps.geometry import Rotate

STEP: TypeAdapter[Step] = TypeAdapter(AnyStep)
VERSIONS = {"scale-image": 2}  # of those that came to give other clips since they were first used
NEEDED = {"choose-bodies": {"count": 1}, "same-rate": {"frames_per_second": 30.0}}


@pytest.mark.parametrize("name", sorted(STEPS))
def test_a_card_names_a_step(name: str) -> None:
    step = STEP.validate_python({"name": name, **NEEDED.get(name, {})})
    assert type(step) is STEPS[name]
    assert step.name == name
    assert step.version == VERSIONS.get(name, 1)


def test_there_are_as_many_steps_as_the_documentation_says() -> None:
    assert sorted(STEPS) == [
        "centre",
        "centre-unit-square",
        "choose-bodies",
        "denoise",
        "drop-empty-frames",
        "fill-gaps",
        "main-body-first",
        "rotate",
        "same-rate",
        "scale-image",
        "second-body",
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "polish"},
        {"name": "centre", "joints": "spine"},
        {"name": "centre", "when": "never"},
        {"name": "denoise", "shortest": 0},
        {"name": "choose-bodies"},
        {"name": "same-rate", "frames_per_second": 0},
        {"name": "rotate", "spine": ["hip centre"]},
    ],
)
def test_what_is_no_step_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        STEP.validate_python(wrong)


def test_lists_of_a_card_become_pairs() -> None:
    step = STEP.validate_python({"name": "rotate", "spine": ["hip centre", "spine"]})
    assert isinstance(step, Rotate)
    assert step.spine == ("hip centre", "spine")


@pytest.mark.parametrize(
    ("options", "layout", "axes", "words"),
    [
        ({"name": "centre", "joint": "tail"}, "ntu", "xyz", "no joint 'tail': spine base"),
        ({"name": "rotate"}, "utdmhad", "xy", "axis 'z'"),
        ({"name": "rotate"}, "coco17", "xyz", r"layout 'coco17' .* say spine = \[joint, joint\]"),
        ({"name": "rotate", "spine": ["a", "b"]}, "ntu", "xyz", "no joint 'a'"),
        ({"name": "denoise"}, "ntu", "xz", "axis 'y'"),
        ({"name": "choose-bodies", "count": 1, "by": "score"}, "ntu", "xyz", "axis 'score'"),
        ({"name": "scale-image", "width": 3}, "ntu", "xy", "both width and height"),
        ({"name": "centre-unit-square"}, "ntu", "yz", "axis 'x'"),
    ],
)
def test_a_step_says_what_it_cannot_do_with_a_layout(
    options: dict[str, object], layout: str, axes: str, words: str
) -> None:
    from re import search

    from nas_skeleton.skeletons.layouts import get_layout

    fault = STEP.validate_python(options).fault(get_layout(layout), tuple(axes))
    assert fault is not None
    assert search(words, fault)


@pytest.mark.parametrize("name", sorted(set(STEPS) - {"scale-image"}))
def test_no_step_fails_for_the_kinect_layouts_by_default(name: str) -> None:
    from nas_skeleton.skeletons.layouts import get_layout

    step = STEP.validate_python({"name": name, **NEEDED.get(name, {})})
    for layout in ("ntu", "utdmhad", "nwucla"):
        assert step.fault(get_layout(layout), ("x", "y", "z")) is None


@pytest.mark.parametrize("name", sorted(STEPS))
@pytest.mark.parametrize("bodies", [1, 2, 4])
def test_steps_leave_their_input_alone_and_keep_the_joints(make, name: str, bodies: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 14, 20, bodies))
    x[:, 5:7] = 0
    poses = make(x.copy(), image_size=(640, 480))
    cleaned = STEP.validate_python({"name": name, **NEEDED.get(name, {})}).apply(poses)
    np.testing.assert_array_equal(poses.coordinates, x)
    channels, _, joints, _ = cleaned.coordinates.shape
    assert (channels, joints) == (3, 20)
    assert cleaned.coordinates.dtype == np.float64
    assert cleaned.layout is poses.layout


SILENT = {"choose-bodies", "centre-unit-square", "fill-gaps", "same-rate", "scale-image"}


@pytest.mark.parametrize("bodies", [0, 1, 2])
@pytest.mark.parametrize("name", sorted(STEPS))
def test_steps_that_need_somebody_say_so_where_nobody_is(make, name: str, bodies: int) -> None:
    poses = make(np.zeros((3, 6, 20, bodies)), image_size=(640, 480))
    step = STEP.validate_python({"name": name, **NEEDED.get(name, {})})
    if name in SILENT:
        assert not step.apply(poses).coordinates.any()
    else:
        with pytest.raises(InputError, match=r"^nobody is in it$"):
            step.apply(poses)
