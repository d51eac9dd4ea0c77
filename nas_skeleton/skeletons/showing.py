"""Clips to look at: a strip of skeletons on paper, or an animation.

Drawn is what the store holds, after cleaning. Left and right have their colours in every picture,
further people paler ones; somebody who is not there is not drawn, nor is a joint without a score.
Clips in space are seen from the front and from the side, because many actions go towards the
camera.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.animation import page
from nas_skeleton.skeletons.layouts import Layout

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    from nas_skeleton.skeletons.store import Dataset

STRIPS, ANIMATIONS = (".png", ".pdf", ".svg"), (".gif", ".html")

# Okabe and Ito's colours, which the colour-blind can tell apart.
COLOURS = {"left": "#0072B2", "right": "#D55E00", "middle": "#333333"}
_PALER = 0.55  # how much of a colour each further person loses
_MARGIN = 0.06  # around everybody, as a share of the picture
_HEIGHT, _WIDTH = 2.0, 16.0  # inches of a skeleton and of a strip, at most
_MOST_FRAMES = 600  # of an animation; of longer clips, every second or third frame and so on
_HUNDREDTHS = 2  # least that a frame of a GIF may last; players slow faster ones down

Colour = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Scene:
    """What there is to draw.

    Attributes:
        places: `(T, M, V, 2)` or `(T, M, V, 3)`: to the right, up, and away; NaN is not drawn.
        layout: joints and bones.
        frames_per_second: of the clip.
        title: what stands above it.
    """

    places: NDArray[np.float64]
    layout: Layout
    frames_per_second: float
    title: str

    @property
    def views(self) -> dict[str, tuple[int, int]]:
        """Which numbers of a place go to the right and up, in each picture."""
        front = {"front": (0, 1)}
        return front if self.places.shape[-1] == 2 else front | {"side": (2, 1)}

    @property
    def sides(self) -> list[str]:
        """Whether each joint is "left", "right" or "middle"; a bone has the side of its child."""
        side = dict.fromkeys(range(len(self.layout.joints)), "middle")
        for left, right in self.layout.left_right:
            side |= {left: "left", right: "right"}
        return list(side.values())

    def box(self) -> NDArray[np.float64]:
        """Least and greatest place of everything drawn, `(2, 2 or 3)`, with a margin."""
        drawn = self.places[np.isfinite(self.places).all(axis=-1)]
        if not len(drawn):
            drawn = np.zeros((1, self.places.shape[-1]))
        least, greatest = drawn.min(axis=0), drawn.max(axis=0)
        margin = _MARGIN * max((greatest - least).max(), 1e-6)
        return np.array([least - margin, greatest + margin])

    def time(self, frame: int) -> str:
        """When a frame is, for people."""
        return f"frame {frame}, {frame / self.frames_per_second:.2f} s"


def draw_clip(dataset: Dataset, clip_id: str, path: Path, *, frames: int = 8) -> str:
    """Draw one clip of a data set into a file, by the ending of its name.

    Args:
        dataset: where the clip is.
        clip_id: its id.
        path: a strip (.png, .pdf, .svg) or an animation (.gif, .html).
        frames: skeletons of a strip.

    Returns:
        A line that says what was drawn where.

    Raises:
        InputError: no such clip, another ending, or the file cannot be written.
    """
    check_ending(path)
    scene = scene_of_clip(dataset, clip_id)
    write(scene, path, frames=frames)
    length = len(scene.places)
    seconds = length / scene.frames_per_second
    return f"{path}: {scene.title}, {length} frames, {seconds:.2f} s"


def scene_of_clip(dataset: Dataset, clip_id: str) -> Scene:
    """What there is to draw of a clip of a data set, by its id.

    Raises:
        InputError: no such clip.
    """
    if clip_id not in dataset.ids:
        near = difflib.get_close_matches(clip_id, dataset.ids, n=3, cutoff=0.0)
        raise InputError(
            f"no clip {clip_id!r} in data set {dataset.name!r}; ids are like {', '.join(near)}"
        )
    index = dataset.ids.index(clip_id)
    card = dataset.card
    rotated = any(step.name == "rotate" for step in card.steps)
    return scene_of(
        dataset.clip(index),
        dataset.layout,
        dataset.axes,
        title=f"{card.name}  {clip_id}  {dataset.classes[int(dataset.labels[index])]}",
        frames_per_second=card.frames_per_second,
        up="z" if rotated and "z" in dataset.axes else "y",
    )


def scene_of(
    clip: NDArray[np.floating[Any]],
    layout: Layout,
    axes: tuple[str, ...],
    *,
    title: str,
    frames_per_second: float,
    up: str = "y",
) -> Scene:
    """What there is to draw of a clip `(C, T, V, M)`.

    Args:
        clip: its coordinates; a body that is all zero in a frame is not there.
        layout: of its joints.
        axes: names of C. Without "z" the poses were found in images, in which y goes down.
        title: what stands above it.
        frames_per_second: of the clip.
        up: "z" for clips that were turned so.
    """
    numbers = np.asarray(clip, np.float64)
    deep = "z" in axes
    shown = ("x", "y", "z") if deep else ("x", "y")
    places = np.stack([numbers[axes.index(axis)] for axis in shown], axis=-1)  # (T, V, M, …)
    there = (places != 0).any(axis=(1, 3), keepdims=True) & np.isfinite(places).all(
        axis=-1, keepdims=True
    )
    if "score" in axes:
        there &= (numbers[axes.index("score")] > 0)[..., np.newaxis]
    if not deep:
        places[..., 1] *= -1
    elif up == "z":
        places = places[..., [0, 2, 1]]
    places = np.where(there, places, np.nan).transpose(0, 2, 1, 3)
    return Scene(places, layout, frames_per_second, title)


def check_ending(path: Path) -> None:
    """Raise `InputError` if nothing can be drawn into a file of this name."""
    if path.suffix.lower() not in STRIPS + ANIMATIONS:
        raise InputError(
            f"{path}: draw into {', '.join(STRIPS)} for a strip of skeletons, or "
            f"{' or '.join(ANIMATIONS)} for an animation"
        )


def write(scene: Scene, path: Path, *, frames: int = 8) -> None:
    """Draw a scene into a file, by the ending of its name; `frames` is for strips.

    Raises:
        InputError: another ending, or the file cannot be written.
    """
    check_ending(path)
    ending = path.suffix.lower()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if ending in STRIPS:
            render_strip(scene, frames=frames).savefig(path, dpi=120)
        elif ending == ".gif":
            _write_gif(scene, path)
        else:
            path.write_text(page(told(scene)), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from None


def render_strip(scene: Scene, *, frames: int = 8) -> Figure:
    """Skeletons of frames at equal distances, first and last among them, side by side.

    All have one scale, and stand where they are in space: who walks, moves in the strip.
    """
    from matplotlib.figure import Figure

    count = len(scene.places)
    chosen = np.unique(np.linspace(0, count - 1, min(frames, count)).round().astype(int))
    box = scene.box()
    sizes = box[1] - box[0]
    step = max(sizes[right] for right, _ in scene.views.values())
    across = len(chosen) * step / sizes[1]  # of all skeletons, in heights of one
    height = max(min(_HEIGHT, _WIDTH / across), 0.3)
    figure = Figure(
        figsize=(max(across * height, 5.0) + 0.5, height * len(scene.views) + 1.2),
        layout="constrained",
    )
    figure.suptitle(scene.title, fontsize="medium")
    panels = figure.subplots(len(scene.views), 1, squeeze=False)[:, 0]
    for panel, (name, (right, upward)) in zip(panels, scene.views.items(), strict=True):
        middle = 0.5 * (box[0, right] + box[1, right])
        panel.set(xlim=(-0.5 * step, (len(chosen) - 0.5) * step), ylim=box[:, upward])
        _undress(panel, name if len(panels) > 1 else "")
        for place, frame in enumerate(chosen):
            shift = np.array([place * step - middle, 0.0])
            _Drawing(panel, scene).show(int(frame), (right, upward), shift)
    places = [place * step for place in range(len(chosen))]
    labels = [scene.time(int(frame)).replace(", ", "\n") for frame in chosen]
    panels[-1].set_xticks(places, labels, fontsize="small")
    _explain(figure, scene)
    return figure


def _write_gif(scene: Scene, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    box = scene.box()
    figure = Figure(figsize=(4.2 * len(scene.views), 4.6), dpi=80, layout="constrained")
    canvas: Any = FigureCanvasAgg(figure)
    label = figure.suptitle(f"{scene.title}\n{scene.time(0)}", fontsize="medium")
    panels = figure.subplots(1, len(scene.views), squeeze=False)[0]
    drawings = []
    for panel, (name, (right, upward)) in zip(panels, scene.views.items(), strict=True):
        panel.set(xlim=box[:, right], ylim=box[:, upward])
        _undress(panel, name if len(panels) > 1 else "")
        drawings.append((_Drawing(panel, scene), (right, upward)))
    _explain(figure, scene)
    chosen = _moments(len(scene.places), scene.frames_per_second)
    pictures: list[Image.Image] = []
    for frame in chosen:
        for drawing, view in drawings:
            drawing.show(frame, view, np.zeros(2))
        label.set_text(f"{scene.title}\n{scene.time(frame)}")
        canvas.draw()
        if not pictures:
            figure.set_layout_engine("none")  # measured once, or the picture would tremble
        picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
        pictures.append(picture.quantize(64, dither=Image.Dither.NONE))
    ends = np.array([*chosen[1:], len(scene.places)]) / scene.frames_per_second
    hundredths = np.diff(np.round(100 * ends).astype(int), prepend=0)
    pictures[0].save(
        path,
        format="GIF",
        save_all=True,
        append_images=pictures[1:],
        duration=[10 * max(int(lasts), 1) for lasts in hundredths],
        loop=0,
    )


def _moments(frames: int, frames_per_second: float) -> list[int]:
    """The frames of an animation: all, or as many as players and patience allow."""
    stride = max(
        -(-frames // _MOST_FRAMES), int(np.ceil(_HUNDREDTHS * frames_per_second / 100 - 1e-9)), 1
    )
    return list(range(0, frames, stride))


class _Drawing:
    """The bodies of one picture, drawn anew for every frame."""

    def __init__(self, panel: Axes, scene: Scene) -> None:
        from matplotlib.collections import LineCollection

        self._scene = scene
        self._lines: list[LineCollection] = []
        self._dots: list[Any] = []
        sides = scene.sides
        for body in range(scene.places.shape[1]):
            bones = [_shade(COLOURS[sides[child]], body) for child, _ in scene.layout.edges]
            joints = [_shade(COLOURS[side], body) for side in sides]
            above = 3 - 0.1 * body
            lines = LineCollection([], colors=bones, linewidths=2, capstyle="round", zorder=above)
            panel.add_collection(lines, autolim=False)
            self._lines.append(lines)
            nowhere = np.zeros(len(joints))
            self._dots.append(panel.scatter(nowhere, nowhere, s=7, c=joints, zorder=above))

    def show(self, frame: int, view: tuple[int, int], shift: NDArray[np.float64]) -> None:
        edges = np.array(self._scene.layout.edges, int).reshape(-1, 2)
        for body, (lines, dots) in enumerate(zip(self._lines, self._dots, strict=True)):
            joints = self._scene.places[frame, body][:, view] + shift
            lines.set_segments(list(joints[edges]))
            dots.set_offsets(joints)


def _undress(panel: Axes, name: str) -> None:
    panel.set_aspect("equal")
    panel.set_xticks([])
    panel.set_yticks([])
    panel.set_ylabel(name, fontsize="small")
    panel.spines[:].set_visible(False)
    panel.tick_params(length=0)


def _explain(figure: Figure, scene: Scene) -> None:
    """Say which colour is which side, and which body."""
    from matplotlib.lines import Line2D

    sides = [side for side in COLOURS if side in scene.sides] if scene.layout.left_right else []
    marks = [Line2D([], [], color=COLOURS[side], label=side) for side in sides]
    if np.isfinite(scene.places[:, 1:]).any():
        marks.append(Line2D([], [], color=_shade(COLOURS["middle"], 1), label="second person"))
    if marks:
        figure.legend(
            handles=marks, loc="outside lower center", ncols=4, fontsize="small", frameon=False
        )


def _shade(colour: str, body: int) -> Colour:
    """A side's colour for one of the bodies, the paler the later."""
    from matplotlib.colors import to_rgb

    left = (1 - _PALER) ** min(body, 2)
    red, green, blue = (1 - (1 - part) * left for part in to_rgb(colour))
    return red, green, blue


def told(scene: Scene) -> dict[str, Any]:
    """A scene for the page that moves it: whole numbers up to 9999 in a cube around everybody."""
    box = scene.box()
    size = float((box[1] - box[0]).max())
    middle = 0.5 * (box[0] + box[1])
    whole = np.round((scene.places - middle) / size * 9998)
    count = len(scene.places)
    stride = -(-count // _MOST_FRAMES)
    there = np.isfinite(whole).all(axis=-1)
    frames = [
        [_joints_told(body, seen) for body, seen in zip(whole[frame], there[frame], strict=True)]
        for frame in range(0, count, stride)
    ]
    bodies = range(scene.places.shape[1])
    return {
        "title": scene.title,
        "frames": frames,
        "stride": stride,
        "framesPerSecond": scene.frames_per_second,
        "bones": [list(edge) for edge in scene.layout.edges],
        "joints": list(scene.layout.joints),
        "sides": scene.sides,
        "colours": {
            side: [_hex(_shade(colour, body)) for body in bodies]
            for side, colour in COLOURS.items()
        },
        "deep": scene.places.shape[-1] == 3,
    }


def _joints_told(body: NDArray[np.float64], there: NDArray[np.bool_]) -> list[Any] | None:
    """A body's joints, None for what is not there."""
    if not there.any():
        return None
    return [
        [int(number) for number in joint] if seen else None
        for joint, seen in zip(body, there, strict=True)
    ]


def _hex(colour: Colour) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in colour)
