"""The page that moves a skeleton: one HTML file that loads nothing and works without a network."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping

from nas_skeleton.skeletons.readers.files import printable


def page(told: Mapping[str, object]) -> str:
    """The page for what `showing` tells about a clip: frames, bones, sides and colours.

    Browsers run the page's own script and no other, whatever is in the clip's title.
    """
    script = _SCRIPT.replace("%DATA%", script_json(told))
    sources = f"script-src {source_hash(script)}; style-src {source_hash(_STYLE)}"
    parts = {
        "POLICY": f"default-src 'none'; {sources}",
        "TITLE": html.escape(printable(str(told["title"]))),
        "STYLE": _STYLE,
        "SCRIPT": script,
    }
    # In one go: what is put in may hold such marks itself.
    return re.sub("%([A-Z]+)%", lambda mark: parts[mark[1]], _PAGE)


def script_json(value: object) -> str:
    """A value as JSON that stands in a page: nothing in it can end the script."""
    data = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    for letter in "<>&":
        data = data.replace(letter, f"\\u{ord(letter):04x}")
    return data


def source_hash(inline: str) -> str:
    """What a policy calls the content of a script or style by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()}'"


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="%POLICY%">
<title>%TITLE%</title>
<style>%STYLE%</style>
</head>
<body>
<h1>%TITLE%</h1>
<p id="hint"></p>
<canvas id="picture" role="img" aria-label="%TITLE%"></canvas>
<div id="controls">
<button type="button" id="play">Pause</button>
<input type="range" id="frame" min="0" value="0" aria-label="frame">
<output id="time"></output>
<label>speed <select id="speed"><option value="0.25">1/4</option><option value="0.5">1/2</option>
<option value="1" selected>1</option><option value="2">2</option></select></label>
</div>
<script>%SCRIPT%</script>
</body>
</html>
"""

_STYLE = """
body { font: 15px system-ui, sans-serif; margin: 0; color: #222; background: #fff;
  display: flex; flex-direction: column; height: 100vh; height: 100dvh; }
h1 { font-size: 16px; margin: 12px 16px 4px; overflow-wrap: anywhere; }
p { margin: 0 16px 6px; color: #555; font-size: 13px; }
canvas { flex: 1; min-height: 0; width: 100%; touch-action: none; }
canvas.deep { cursor: grab; }
#controls { display: flex; gap: 12px; align-items: center; padding: 8px 16px 14px;
  flex-wrap: wrap; }
input[type=range] { flex: 1; min-width: 120px; }
output { min-width: 11em; font-variant-numeric: tabular-nums; }
button, select { font: inherit; }
b { font-weight: 600; }
"""

# What moves a clip: `player(clip, part)`, where `part(name)` is the element called "picture",
# "play", "frame", "time", "speed" or "hint". What it returns steps, toggles and stops.
PLAYER = """
"use strict";
function player(clip, part) {
  const canvas = part("picture"), pen = canvas.getContext("2d");
  const slider = part("frame"), play = part("play"), speed = part("speed");
  const last = clip.frames.length - 1, pace = clip.framesPerSecond / clip.stride;
  let at = 0, turn = 0, tilt = 0, before = null, held = null, next = 0;
  let playing = !matchMedia("(prefers-reduced-motion: reduce)").matches;
  slider.max = last;
  canvas.classList.toggle("deep", clip.deep);
  part("hint").replaceChildren();
  for (const side of ["left", "right"]) if (clip.sides.includes(side)) {
    const word = document.createElement("b");
    word.style.color = clip.colours[side][0];
    word.textContent = side;
    part("hint").append(word, " ");
  }
  part("hint").append(clip.deep ? "\\u2014 drag to turn, double-click for the front" : "");

  function seen(joint) {
    if (!clip.deep) return joint;
    const [x, y, z] = joint;
    const side = x * Math.cos(turn) - z * Math.sin(turn);
    const away = z * Math.cos(turn) + x * Math.sin(turn);
    return [side, y * Math.cos(tilt) + away * Math.sin(tilt)];
  }

  function draw() {
    const dots = devicePixelRatio || 1, wide = canvas.clientWidth, high = canvas.clientHeight;
    if (canvas.width !== Math.round(wide * dots) || canvas.height !== Math.round(high * dots)) {
      canvas.width = Math.round(wide * dots);
      canvas.height = Math.round(high * dots);
    }
    const scale = Math.min(wide, high) / 10000;
    pen.setTransform(dots, 0, 0, dots, 0, 0);
    pen.clearRect(0, 0, wide, high);
    pen.translate(wide / 2, high / 2);
    pen.lineWidth = Math.max(2, Math.min(wide, high) / 130);
    pen.lineCap = "round";
    const bodies = clip.frames[Math.floor(at)];
    for (let body = bodies.length - 1; body >= 0; body--) {
      if (!bodies[body]) continue;
      const points = bodies[body].map(joint => joint && seen(joint));
      for (const [child, parent] of clip.bones) {
        if (!points[child] || !points[parent]) continue;
        pen.strokeStyle = clip.colours[clip.sides[child]][body];
        pen.beginPath();
        pen.moveTo(points[child][0] * scale, -points[child][1] * scale);
        pen.lineTo(points[parent][0] * scale, -points[parent][1] * scale);
        pen.stroke();
      }
      points.forEach((point, joint) => {
        if (!point) return;
        pen.fillStyle = clip.colours[clip.sides[joint]][body];
        pen.beginPath();
        pen.arc(point[0] * scale, -point[1] * scale, pen.lineWidth * 0.9, 0, 7);
        pen.fill();
      });
    }
    const frame = Math.floor(at) * clip.stride;
    slider.value = Math.floor(at);
    part("time").textContent =
      `frame ${frame}, ${(frame / clip.framesPerSecond).toFixed(2)} s`;
    play.textContent = playing ? "Pause" : "Play";
  }

  function move(now) {
    if (playing && before !== null) {
      at += (now - before) / 1000 * pace * Number(speed.value);
      if (at >= last + 1) at = 0;
    }
    before = now;
    draw();
    next = requestAnimationFrame(move);
  }

  function toggle() {
    playing = !playing;
  }

  function step(by) {
    playing = false;
    at = Math.min(last, Math.max(0, Math.floor(at) + by));
  }

  play.onclick = toggle;
  slider.oninput = () => { playing = false; at = Number(slider.value); };
  canvas.onpointerdown = event => {
    held = [event.clientX, event.clientY];
    canvas.setPointerCapture(event.pointerId);
  };
  canvas.onpointerup = canvas.onpointercancel = () => { held = null; };
  canvas.onpointermove = event => {
    if (!held) return;
    turn += (event.clientX - held[0]) / 150;
    tilt = Math.max(-1.5, Math.min(1.5, tilt + (event.clientY - held[1]) / 150));
    held = [event.clientX, event.clientY];
  };
  canvas.ondblclick = () => { turn = tilt = 0; };
  next = requestAnimationFrame(move);
  return { step, toggle, stop: () => cancelAnimationFrame(next) };
}
"""

_SCRIPT = (
    PLAYER
    + """
const clip = %DATA%;
const moved = player(clip, name => document.getElementById(name));
document.onkeydown = event => {
  if (event.target.matches && event.target.matches("input, select, button")) return;
  if (event.key === " ") { moved.toggle(); event.preventDefault(); }
  if (event.key === "ArrowLeft") moved.step(-1);
  if (event.key === "ArrowRight") moved.step(1);
};
"""
)
