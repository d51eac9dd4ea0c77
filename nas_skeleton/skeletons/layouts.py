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

NWUCLA = Layout(
    name="nwucla",
    joints=(
        "hip centre",
        "spine",
        "shoulder centre",
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
    ),
    edges=(
        *((0, 1), (1, 2), (3, 2)),
        *((4, 2), (5, 4), (6, 5), (7, 6)),
        *((8, 2), (9, 8), (10, 9), (11, 10)),
        *((12, 0), (13, 12), (14, 13), (15, 14)),
        *((16, 0), (17, 16), (18, 17), (19, 18)),
    ),
    centre=2,
    centring_joint=1,
    left_right=((4, 8), (5, 9), (6, 10), (7, 11), (12, 16), (13, 17), (14, 18), (15, 19)),
)
"""Kinect v1, 20 joints in the order of Microsoft's SDK, as in NW-UCLA; not that of UTD-MHAD."""

COCO17 = Layout(
    name="coco17",
    joints=(
        "nose",
        "left eye",
        "right eye",
        "left ear",
        "right ear",
        "left shoulder",
        "right shoulder",
        "left elbow",
        "right elbow",
        "left wrist",
        "right wrist",
        "left hip",
        "right hip",
        "left knee",
        "right knee",
        "left ankle",
        "right ankle",
    ),
    edges=(
        *((1, 0), (2, 0), (3, 1), (4, 2), (5, 0), (6, 0)),
        *((7, 5), (9, 7), (8, 6), (10, 8)),
        *((11, 5), (13, 11), (15, 13), (12, 6), (14, 12), (16, 14)),
    ),
    centre=0,
    centring_joint=0,
    left_right=((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)),
)
"""The 17 key points of COCO, as found by HRNet; the bones are those of PYSKL's published code."""

OPENPOSE18 = Layout(
    name="openpose18",
    joints=(
        "nose",
        "neck",
        "right shoulder",
        "right elbow",
        "right wrist",
        "left shoulder",
        "left elbow",
        "left wrist",
        "right hip",
        "right knee",
        "right ankle",
        "left hip",
        "left knee",
        "left ankle",
        "right eye",
        "left eye",
        "right ear",
        "left ear",
    ),
    edges=(
        *((4, 3), (3, 2), (7, 6), (6, 5), (13, 12), (12, 11), (10, 9), (9, 8), (11, 5), (8, 2)),
        *((5, 1), (2, 1), (0, 1), (15, 0), (14, 0), (17, 15), (16, 14)),
    ),
    centre=1,
    centring_joint=1,
    left_right=((5, 2), (6, 3), (7, 4), (11, 8), (12, 9), (13, 10), (15, 14), (17, 16)),
)
"""OpenPose's COCO model, 18 joints, as in Kinetics-skeleton; the bones are those of ST-GCN."""

BODY25 = Layout(
    name="body25",
    joints=(
        "nose",
        "neck",
        "right shoulder",
        "right elbow",
        "right wrist",
        "left shoulder",
        "left elbow",
        "left wrist",
        "middle hip",
        "right hip",
        "right knee",
        "right ankle",
        "left hip",
        "left knee",
        "left ankle",
        "right eye",
        "left eye",
        "right ear",
        "left ear",
        "left big toe",
        "left small toe",
        "left heel",
        "right big toe",
        "right small toe",
        "right heel",
    ),
    edges=(
        *((0, 1), (2, 1), (3, 2), (4, 3), (5, 1), (6, 5), (7, 6), (8, 1)),
        *((9, 8), (10, 9), (11, 10), (22, 11), (23, 22), (24, 11)),
        *((12, 8), (13, 12), (14, 13), (19, 14), (20, 19), (21, 14)),
        *((15, 0), (16, 0), (17, 15), (18, 16)),
    ),
    centre=1,
    centring_joint=1,
    left_right=(
        *((5, 2), (6, 3), (7, 4), (12, 9), (13, 10), (14, 11)),
        *((16, 15), (18, 17), (19, 22), (20, 23), (21, 24)),
    ),
)
"""OpenPose's BODY_25. It has as many joints as `NTU`, and other ones."""

LAYOUTS = {layout.name: layout for layout in (UTDMHAD, NTU, NWUCLA, COCO17, OPENPOSE18, BODY25)}


def get_layout(name: str) -> Layout:
    """The layout called `name`.

    Raises:
        InputError: there is none.
    """
    if name not in LAYOUTS:
        raise InputError(f"unknown layout {name!r}: known are {', '.join(sorted(LAYOUTS))}")
    return LAYOUTS[name]
