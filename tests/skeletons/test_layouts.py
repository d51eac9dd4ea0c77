"""Layouts are trees over named joints, and the shipped ones are the published ones."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.layouts import LAYOUTS, NTU, UTDMHAD, Layout, get_layout

# 1-based pairs of yysijie/st-gcn, net/utils/graph.py
NTU_PAIRS = (
    "1,2 2,21 3,21 4,3 5,21 6,5 7,6 8,7 9,21 10,9 11,10 12,11 13,1 14,13 15,14 16,15 17,1 18,17 "
    "19,18 20,19 22,23 23,8 24,25 25,12"
)
UTDMHAD_PAIRS = (
    "0,1 2,1 4,1 8,1 3,2 12,3 16,3 5,4 6,5 7,6 9,8 10,9 11,10 13,12 14,13 15,14 17,16 18,17 19,18"
)


def pairs(text: str, first: int) -> set[tuple[int, int]]:
    numbers = [pair.split(",") for pair in text.split()]
    return {(int(child) - first, int(parent) - first) for child, parent in numbers}


def test_utdmhad_has_the_published_bones() -> None:
    assert set(UTDMHAD.edges) == pairs(UTDMHAD_PAIRS, first=0)
    assert (len(UTDMHAD.joints), UTDMHAD.centre, UTDMHAD.centring_joint) == (20, 1, 2)
    assert UTDMHAD.root == 1


def test_ntu_has_the_published_bones() -> None:
    assert set(NTU.edges) == pairs(NTU_PAIRS, first=1)
    assert (len(NTU.joints), NTU.centre, NTU.centring_joint) == (25, 20, 1)
    assert NTU.root == 20


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_left_and_right_pair_all_joints_that_have_a_side(layout: Layout) -> None:
    for left, right in layout.left_right:
        assert layout.joints[left].startswith("left ")
        assert layout.joints[right] == layout.joints[left].replace("left", "right")
    sided = [joint for joint in layout.joints if joint.startswith(("left", "right"))]
    assert len(sided) == 2 * len(layout.left_right)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_mirroring_maps_bones_to_bones(layout: Layout) -> None:
    mirror = dict(layout.left_right) | {right: left for left, right in layout.left_right}
    mirrored = {
        (mirror.get(child, child), mirror.get(parent, parent)) for child, parent in layout.edges
    }
    assert mirrored == set(layout.edges)


CHAIN = Layout("chain", ("a", "b", "c"), ((1, 0), (2, 1)), 0, 1, ((1, 2),))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"edges": ((1, 0), (3, 1))}, "joint 3 does not exist"),
        ({"edges": ((1, 0), (2, -1))}, "joint -1 does not exist"),
        ({"centre": 3}, "joint 3 does not exist"),
        ({"centring_joint": -1}, "joint -1 does not exist"),
        ({"left_right": ((1, 3),)}, "joint 3 does not exist"),
        ({"edges": ((1, 0),)}, "exactly one parent"),
        ({"edges": ((1, 0), (1, 2))}, "exactly one parent"),
        ({"edges": ((1, 2), (2, 1))}, "circle"),
        ({"edges": ((1, 1), (2, 0))}, "circle"),
        ({"left_right": ((1, 1),)}, "twice"),
        ({"left_right": ((0, 1), (1, 2))}, "two left/right pairs"),
        ({"joints": ("a", "a", "c")}, "joint names"),
        ({"joints": ()}, "joint names"),
    ],
)
def test_a_layout_that_does_not_hold_together_is_refused(
    change: dict[str, tuple[object, ...] | int], message: str
) -> None:
    with pytest.raises(InputError, match=rf"layout 'chain': .*{message}"):
        replace(CHAIN, **change)  # type: ignore[arg-type]


def test_layouts_are_chosen_by_name() -> None:
    assert get_layout("ntu") is NTU
    with pytest.raises(
        InputError, match=r"unknown layout 'v25': known are body25, .*, ntu, nwucla, .*, utdmhad"
    ):
        get_layout("v25")
