"""Skeleton layouts: which joints a clip has, which bones join them, what is left and right.

A layout belongs to the data and is chosen by name in a data set's card. The number of joints never
decides it: NTU's Kinect v2 skeleton and OpenPose's BODY_25 both have 25 and mean different ones.
What a network makes of the graph (adjacency, partitions) is not decided here.
"""

from __future__ import annotations

from dataclasses import dataclass

from nas_skeleton.errors import InputError

Pair = tuple[int, int]


@dataclass(frozen=True)
class Layout:
    """The joints of a skeleton and the tree of bones between them; all indices are 0-based.

    Attributes:
        name: what cards call it.
        joints: names in the order of the data's joint axis.
        edges: bones as (child, parent); the child is the end further from the root.
        centre: centre joint of the graph, from which ST-GCN's spatial partition measures.
        centring_joint: joint that is put into the origin when clips are centred.
        left_right: pairs of mirrored joints as (left, right).

    Raises:
        InputError: an index out of range, bones that are no tree, or a joint in two pairs.
    """

    name: str
    joints: tuple[str, ...]
    edges: tuple[Pair, ...]
    centre: int
    centring_joint: int
    left_right: tuple[Pair, ...]

    def __post_init__(self) -> None:
        fault = self._fault()
        if fault:
            raise InputError(f"layout {self.name!r}: {fault}")

    @property
    def root(self) -> int:
        """The one joint without a parent."""
        children = {child for child, _ in self.edges}
        return next(joint for joint in range(len(self.joints)) if joint not in children)

    def _fault(self) -> str | None:
        count = len(self.joints)
        if not count or len(set(self.joints)) != count:
            return "joint names must be there and differ"
        pairs = (*self.edges, *self.left_right)
        used = {self.centre, self.centring_joint, *(joint for pair in pairs for joint in pair)}
        outside = sorted(joint for joint in used if not 0 <= joint < count)
        if outside:
            return f"joint {outside[0]} does not exist, there are {count}"
        parents = dict(self.edges)
        if len(self.edges) != count - 1 or len(parents) != count - 1:
            return f"every joint but one needs exactly one parent, {len(self.edges)} bones given"
        for joint in parents:
            above, steps = joint, 0
            while above in parents and steps < count:
                above, steps = parents[above], steps + 1
            if above in parents:
                return f"the bones above joint {joint} run in a circle"
        paired = [joint for pair in self.left_right for joint in pair]
        if len(set(paired)) != len(paired):
            return "a joint stands in two left/right pairs or twice in one"
        return None


UTDMHAD = Layout(
    name="utdmhad",
    joints=(
        "head",
        "shoulder centre",
        "spine",
        "hip centre",
        "left shoulder",
        "left elbow",
        "left wrist",
        "left hand",
        "right shoulder",
        "right elbow",
        "right wrist",
        "right hand",
        "left hip",
        "left knee",
        "left ankle",
        "left foot",
        "right hip",
        "right knee",
        "right ankle",
        "right foot",
    ),
    edges=(
        *((0, 1), (2, 1), (3, 2)),
        *((4, 1), (5, 4), (6, 5), (7, 6)),
        *((8, 1), (9, 8), (10, 9), (11, 10)),
        *((12, 3), (13, 12), (14, 13), (15, 14)),
        *((16, 3), (17, 16), (18, 17), (19, 18)),
    ),
    centre=1,
    centring_joint=2,
    left_right=((4, 8), (5, 9), (6, 10), (7, 11), (12, 16), (13, 17), (14, 18), (15, 19)),
)
"""Kinect v1, 20 joints, in the order of UTD-MHAD's files."""

NTU = Layout(
    name="ntu",
    joints=(
        "spine base",
        "spine middle",
        "neck",
        "head",
        "left shoulder",
        "left elbow",
        "left wrist",
        "left hand",
        "right shoulder",
        "right elbow",
        "right wrist",
        "right hand",
        "left hip",
        "left knee",
        "left ankle",
        "left foot",
        "right hip",
        "right knee",
        "right ankle",
        "right foot",
        "spine at shoulders",
        "left hand tip",
        "left thumb",
        "right hand tip",
        "right thumb",
    ),
    edges=(
        *((0, 1), (1, 20), (2, 20), (3, 2)),
        *((4, 20), (5, 4), (6, 5), (7, 6), (21, 22), (22, 7)),
        *((8, 20), (9, 8), (10, 9), (11, 10), (23, 24), (24, 11)),
        *((12, 0), (13, 12), (14, 13), (15, 14)),
        *((16, 0), (17, 16), (18, 17), (19, 18)),
    ),
    centre=20,
    centring_joint=1,
    left_right=(
        *((4, 8), (5, 9), (6, 10), (7, 11), (21, 23), (22, 24)),
        *((12, 16), (13, 17), (14, 18), (15, 19)),
    ),
)
"""Kinect v2, 25 joints, as in NTU RGB+D; the bones are those of ST-GCN's published code."""

LAYOUTS = {layout.name: layout for layout in (UTDMHAD, NTU)}


def get_layout(name: str) -> Layout:
    """The layout called `name`.

    Raises:
        InputError: there is none.
    """
    if name not in LAYOUTS:
        raise InputError(f"unknown layout {name!r}: known are {', '.join(sorted(LAYOUTS))}")
    return LAYOUTS[name]
