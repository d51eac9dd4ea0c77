"""Pictures of clips: what is drawn where, in which colour, and what is not drawn."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons import showing
from nas_skeleton.skeletons.layouts import get_layout
from nas_skeleton.skeletons.showing import Scene, render_strip, scene_of, write

NTU, COCO = get_layout("ntu"), get_layout("coco17")
XYZ, XYS = ("x", "y", "z"), ("x", "y", "score")


def clip(layout: Any = NTU, frames: int = 20, bodies: int = 2) -> NDArray[np.float64]:
    rng = np.random.default_rng(0)
    return rng.uniform(0.1, 2.0, (3, frames, len(layout.joints), bodies))


def scene(
    numbers: NDArray[np.float64] | None = None,
    axes: tuple[str, ...] = XYZ,
    frames_per_second: float = 10.0,
    **options: Any,
) -> Scene:
    layout = NTU if "z" in axes else COCO
    numbers = clip(layout) if numbers is None else numbers
    options = {"title": "a clip", **options}
    return scene_of(numbers, layout, axes, frames_per_second=frames_per_second, **options)


def lines_of(figure: Figure, panel: int = 0) -> list[NDArray[np.float64]]:
    """Segments `(bones, 2, 2)` of every body drawn in a panel."""
    return [
        np.array(lines.get_segments())
        for lines in figure.axes[panel].collections
        if isinstance(lines, LineCollection)
    ]


def test_up_is_up_in_space_and_in_images() -> None:
    numbers = clip()
    np.testing.assert_array_equal(scene(numbers).places, numbers.transpose(1, 3, 2, 0))
    turned = scene(numbers, up="z").places
    np.testing.assert_array_equal(turned[..., 1], numbers[2].transpose(0, 2, 1))
    flat = clip(COCO)
    places = scene(flat, XYS).places
    assert places.shape == (20, 2, 17, 2)
    np.testing.assert_array_equal(places[..., 0], flat[0].transpose(0, 2, 1))
    np.testing.assert_array_equal(places[..., 1], -flat[1].transpose(0, 2, 1))


def test_who_is_not_there_is_not_drawn() -> None:
    numbers = clip()
    numbers[:, 3, :, 1] = 0
    numbers[:, 5, 7, 0] = np.nan
    numbers[:, 6, 1, 0] = 0  # centred: a joint in the origin is there
    missing = np.isnan(scene(numbers).places)
    assert missing[3, 1].all()
    assert missing[5, 0, 7].all()
    assert missing.sum() == 3 * (25 + 1)


def test_a_joint_without_a_score_is_not_drawn() -> None:
    numbers = clip(COCO)
    numbers[2, 4, 9, 0] = 0
    missing = np.isnan(scene(numbers, XYS).places)
    assert missing[4, 0, 9].all()
    assert missing.sum() == 2


def test_a_strip_shows_frames_at_equal_distances_with_their_times() -> None:
    figure = render_strip(scene(), frames=4)
    labels = [label.get_text() for label in figure.axes[-1].get_xticklabels()]
    assert labels == ["frame 0\n0.00 s", "frame 6\n0.60 s", "frame 13\n1.30 s", "frame 19\n1.90 s"]
    assert [panel.get_ylabel() for panel in figure.axes] == ["front", "side"]
    assert len(render_strip(scene(clip(frames=3)), frames=8).axes[0].collections) == 3 * 2 * 2


def test_bones_join_the_joints_of_their_frame() -> None:
    numbers = clip()
    figure = render_strip(scene(numbers), frames=4)
    for panel, across in ((0, 0), (1, 2)):  # from the front x, from the side z
        drawn = lines_of(figure, panel)
        assert len(drawn) == 4 * 2
        for place, frame in enumerate((0, 6, 13, 19)):
            for body in range(2):
                segments = drawn[2 * place + body]
                shift = segments[0, 0, 0] - numbers[across, frame, NTU.edges[0][0], body]
                for segment, bone in zip(segments, NTU.edges, strict=True):
                    for end, joint in zip(segment, bone, strict=True):
                        x, y = numbers[[across, 1], frame, joint, body]
                        assert end == pytest.approx((x + shift, y))


def test_skeletons_keep_their_shape_and_share_a_scale() -> None:
    figure = render_strip(scene())
    for panel in figure.axes:
        assert panel.get_aspect() == 1
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    lowest, highest = figure.axes[0].get_ylim()
    numbers = scene().places[..., 1]
    assert lowest < numbers.min() < numbers.max() < highest


def test_left_and_right_have_colours_and_the_second_person_paler_ones() -> None:
    figure = render_strip(scene(), frames=1)
    first, second = (
        lines for lines in figure.axes[0].collections if isinstance(lines, LineCollection)
    )
    joints = [NTU.joints[child] for child, _ in NTU.edges]
    for colours, paler in ((first.get_colors(), False), (second.get_colors(), True)):
        for joint, colour in zip(joints, np.asarray(colours), strict=True):
            side = next((word for word in ("left", "right") if word in joint), "middle")
            full = np.array(to_rgb(showing.COLOURS[side]))
            assert np.allclose(colour[:3], full) != paler
            assert (colour[:3] >= full - 1e-9).all()


def test_the_legend_names_a_second_person_only_where_there_is_one() -> None:
    alone = clip()
    alone[..., 1] = 0
    for numbers, expected in ((clip(), True), (alone, False)):
        [legend] = render_strip(scene(numbers)).legends
        texts = [text.get_text() for text in legend.get_texts()]
        assert texts[:3] == ["left", "right", "middle"]
        assert ("second person" in texts) == expected


@pytest.mark.parametrize("ending", ["png", "pdf", "svg", "PNG"])
def test_a_strip_is_written(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "new folder" / f"strip.{ending}"
    write(scene(clip(COCO), XYS), path, frames=3)
    assert path.stat().st_size > 1000


@pytest.mark.parametrize("frames_per_second", [10.0, 30.0, 120.0])
def test_a_gif_lasts_as_long_as_its_clip(tmp_path: Path, frames_per_second: float) -> None:
    write(scene(frames_per_second=frames_per_second), tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as picture:
        lasts = []
        for frame in range(picture.n_frames):  # type: ignore[attr-defined]
            picture.seek(frame)
            lasts.append(picture.info["duration"])
    assert sum(lasts) == pytest.approx(1000 * 20 / frames_per_second, abs=10)
    assert min(lasts) >= 20  # hundredths are too fast for players
    assert len(lasts) == (7 if frames_per_second == 120 else 20)


def told(path: Path) -> Any:
    match = re.search(r"const clip = (.*);\n", path.read_text("utf-8"))
    assert match
    return json.loads(match[1])


def test_a_page_holds_the_whole_clip(tmp_path: Path) -> None:
    numbers = clip()
    numbers[:, 3, :, 1] = 0
    numbers[:, 4, 2, 0] = np.nan
    write(scene(numbers), tmp_path / "a.html")
    data = told(tmp_path / "a.html")
    assert data["frames"][3][1] is None
    assert data["frames"][4][0][2] is None
    assert data["bones"] == [list(edge) for edge in NTU.edges]
    assert (data["stride"], data["framesPerSecond"], len(data["frames"])) == (1, 10.0, 20)
    drawn = np.array(data["frames"][7]).transpose(2, 1, 0)
    # One scale and a shift from the clip's numbers to the page's.
    scale = np.ptp(drawn[0]) / np.ptp(numbers[0, 7])
    for axis in range(3):
        expected = (numbers[axis, 7] - numbers[axis, 7, 0, 0]) * scale
        np.testing.assert_allclose(drawn[axis] - drawn[axis, 0, 0], expected, atol=3)
    assert np.abs(drawn).max() < 5000


def test_a_page_loads_nothing_and_a_title_cannot_run(tmp_path: Path) -> None:
    title = "Grüße </script><img src=x onerror=alert(1)> %DATA%"
    write(scene(title=title), tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text("utf-8")
    assert told(tmp_path / "a.html")["title"] == title
    assert not re.search(r"https?://|src=\"|href=|<img|@import", text)
    assert text.count("</script>") == 1
    assert "default-src 'none'" in text
    assert "unsafe" not in text


def test_a_title_is_not_taken_for_a_place_to_fill(tmp_path: Path) -> None:
    title = "%DATA% %TITLE% %SCRIPT% %POLICY% \ud800"
    write(scene(title=title), tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text("utf-8")
    assert "<title>%DATA% %TITLE% %SCRIPT% %POLICY% \\ud800</title>" in text
    assert told(tmp_path / "a.html")["title"] == title
    assert text.count('"use strict"') == text.count("const clip") == 1


def test_long_clips_are_thinned_in_a_page(tmp_path: Path) -> None:
    write(scene(clip(COCO, frames=1300, bodies=1), XYS), tmp_path / "a.html")
    data = told(tmp_path / "a.html")
    assert (data["stride"], len(data["frames"]), data["deep"]) == (3, 434, False)


def test_nobody_at_all_is_drawn_as_nothing(tmp_path: Path) -> None:
    empty = scene(np.zeros((3, 4, 25, 1)))
    for name in ("a.png", "a.gif", "a.html"):
        write(empty, tmp_path / name)
    assert all(frame == [None] for frame in told(tmp_path / "a.html")["frames"])


def test_other_endings_and_unwritable_places_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"draw into \.png, \.pdf, \.svg for a strip"):
        write(scene(), tmp_path / "a.mp4")
    (tmp_path / "file").touch()
    for ending in (".png", ".gif", ".html"):
        with pytest.raises(InputError, match="cannot be written"):
            write(scene(clip(frames=1)), tmp_path / "file" / f"a{ending}")


def test_a_clip_of_a_data_set_is_drawn_by_its_id(workdir: Path) -> None:
    from nas_skeleton.skeletons.store import load_dataset

    dataset = load_dataset("synthetic")
    name = dataset.ids[5]
    said = showing.draw_clip(dataset, name, workdir / "out.html")
    assert said.startswith(f"{workdir / 'out.html'}: synthetic  {name}")
    data = told(workdir / "out.html")
    assert len(data["frames"]) == dataset.lengths[5]
    assert dataset.classes[int(dataset.labels[5])] in data["title"]
    with pytest.raises(InputError, match=r"no clip 'a1_s1_t99' in data set 'synthetic'; ids are"):
        showing.draw_clip(dataset, "a1_s1_t99", workdir / "out.png")
    with pytest.raises(InputError, match="draw into"):
        showing.draw_clip(dataset, name, workdir / "out")


CHROMIUM = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium"))), None)


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_browser_runs_no_script_but_the_pages_own(tmp_path: Path) -> None:
    write(scene(), tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text("utf-8")
    alien = "<script>document.title = 'alien'</script>"
    (tmp_path / "a.html").write_text(text.replace("<body>", f"<body>{alien}"), "utf-8")
    found = subprocess.run(
        [
            *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu"),
            *("--virtual-time-budget=500", f"--user-data-dir={tmp_path / 'profile'}"),
            *("--dump-dom", (tmp_path / "a.html").as_uri()),
        ],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout
    assert "<title>a clip</title>" in found
    assert re.search(r'id="frame"[^>]*max="19"', found)  # which the page's own script set


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_browser_shows_the_page(tmp_path: Path) -> None:
    write(scene(frames_per_second=30.0), tmp_path / "a.html")
    picture = tmp_path / "a.png"
    subprocess.run(
        [
            *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu"),
            *("--window-size=800,600", "--virtual-time-budget=1000"),
            *(f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={picture}"),
            (tmp_path / "a.html").as_uri(),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    pixels = np.asarray(Image.open(picture).convert("RGB")).reshape(-1, 3).astype(int)
    for colour in showing.COLOURS.values():
        wanted = np.array(to_rgb(colour)) * 255
        assert (abs(pixels - wanted).max(axis=1) < 3).sum() > 500
