// The scatter plot: every architecture a point; what is brushed filters the table.

const MARGIN = { left: 58, right: 14, top: 12, bottom: 42 };
const NEAR = 14; // pixels between a pointer and the point that is meant

// Numbers at round distances that cover a range, about as many as wanted and at least three.
function ticks(low, high, wanted) {
  const rough = (high - low) / Math.max(3, wanted) || 1, power = 10 ** Math.floor(Math.log10(rough));
  const fit = factor => Math.floor(high / (factor * power)) - Math.ceil(low / (factor * power)) >= 2;
  const step = ([1, 2, 5, 10].find(factor => factor * power >= rough && fit(factor))
    || [5, 2, 1].find(fit) || 0.5) * power;
  const found = [];
  for (let at = Math.ceil(low / step); at * step <= high + step * 1e-9; at++) found.push(at * step);
  return found;
}

class Scatter {
  // axes: {name: {title, of(i), text(number)}}; on: choose, compare, brush.
  constructor(table, axes, on) {
    this.table = table;
    this.axes = axes;
    this.on = on;
    this.brush = null; // {x: [low, high], y: [low, high]} in the axes' numbers
    this.visible = new Uint8Array(table.length);
    this.chosen = { a: null, b: null };
    this.points = byId("points");
    this.overlay = byId("overlay");
    this.tip = byId("tip");
    this.from = null;
    new ResizeObserver(() => this.draw()).observe(byId("canvases"));
    this.overlay.onpointerdown = event => this.press(event);
    this.overlay.onpointermove = event => this.move(event);
    this.overlay.onpointerup = event => this.release(event);
    this.overlay.onpointercancel = () => { this.from = null; this.drawOver(); };
    this.overlay.onpointerleave = () => { this.tip.hidden = true; };
  }

  // Which axes, and which of the points are drawn at all.
  show(across, up, drawn) {
    [this.across, this.up, this.drawn] = [this.axes[across], this.axes[up], drawn];
    this.range = [this.across, this.up].map(axis => {
      let [low, high] = [Infinity, -Infinity];
      for (const i of drawn) {
        const value = axis.of(i);
        if (value < low) low = value;
        if (value > high) high = value;
      }
      if (low > high) [low, high] = [0, 1];
      const spare = 0.04 * (high - low || Math.abs(high) || 1);
      return [low - spare, high + spare];
    });
    this.draw();
  }

  mark(visible, chosen) {
    [this.visible, this.chosen] = [visible, chosen];
    this.draw();
  }

  colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  }

  x(value) {
    const [low, high] = this.range[0];
    return MARGIN.left + (value - low) / (high - low) * (this.wide - MARGIN.left - MARGIN.right);
  }

  y(value) {
    const [low, high] = this.range[1];
    return this.high - MARGIN.bottom
      - (value - low) / (high - low) * (this.high - MARGIN.top - MARGIN.bottom);
  }

  back([x, y]) {
    const [[left, right], [low, high]] = this.range;
    return [
      left + (x - MARGIN.left) / (this.wide - MARGIN.left - MARGIN.right) * (right - left),
      low + (this.high - MARGIN.bottom - y) / (this.high - MARGIN.top - MARGIN.bottom) * (high - low),
    ];
  }

  pen(canvas) {
    const dots = devicePixelRatio || 1, pen = canvas.getContext("2d");
    const [wide, high] = [Math.round(this.wide * dots), Math.round(this.high * dots)];
    if (canvas.width !== wide || canvas.height !== high) {
      [canvas.width, canvas.height] = [wide, high];
    }
    pen.setTransform(dots, 0, 0, dots, 0, 0);
    pen.clearRect(0, 0, this.wide, this.high);
    pen.font = "12px system-ui, sans-serif";
    return pen;
  }

  // A dot drawn once: copying it is much faster than drawing it anew for each point.
  dot(radius, colour, alpha) {
    const dots = devicePixelRatio || 1, side = Math.ceil((2 * radius + 2) * dots);
    const canvas = make("canvas", { width: side, height: side }), pen = canvas.getContext("2d");
    pen.scale(dots, dots);
    [pen.globalAlpha, pen.fillStyle] = [alpha, colour];
    pen.beginPath();
    pen.arc(radius + 1, radius + 1, radius, 0, 7);
    pen.fill();
    return { canvas, side: side / dots };
  }

  draw() {
    if (!this.across) return;
    this.wide = byId("canvases").clientWidth;
    this.high = byId("canvases").clientHeight;
    if (!this.wide || !this.high) return;
    const pen = this.pen(this.points);
    this.drawAxes(pen);
    const few = this.drawn.length < 500;
    const pale = this.dot(few ? 3 : 2.2, this.colour("faint"), few ? 0.9 : 0.6);
    const full = this.dot(few ? 4 : 2.8, this.colour("point"), few ? 0.7 : 0.35);
    for (const dot of [pale, full]) {
      for (const i of this.drawn) {
        if (Boolean(this.visible[i]) !== (dot === full)) continue;
        const x = this.x(this.across.of(i)), y = this.y(this.up.of(i));
        if (x === x && y === y) {
          pen.drawImage(dot.canvas, x - dot.side / 2, y - dot.side / 2, dot.side, dot.side);
        }
      }
    }
    this.drawOver();
  }

  drawAxes(pen) {
    const bottom = this.high - MARGIN.bottom;
    pen.lineWidth = 1;
    pen.strokeStyle = this.colour("line");
    pen.fillStyle = this.colour("soft");
    pen.textAlign = "center";
    for (const value of ticks(...this.range[0], Math.max(2, this.wide / 80))) {
      const x = Math.round(this.x(value)) + 0.5;
      pen.beginPath();
      pen.moveTo(x, MARGIN.top);
      pen.lineTo(x, bottom);
      pen.stroke();
      pen.fillText(this.across.text(value), x, bottom + 16);
    }
    pen.textAlign = "right";
    for (const value of ticks(...this.range[1], Math.max(2, this.high / 55))) {
      const y = Math.round(this.y(value)) + 0.5;
      pen.beginPath();
      pen.moveTo(MARGIN.left, y);
      pen.lineTo(this.wide - MARGIN.right, y);
      pen.stroke();
      pen.fillText(this.up.text(value), MARGIN.left - 6, y + 4);
    }
    pen.fillStyle = this.colour("ink");
    pen.textAlign = "center";
    pen.fillText(this.across.title, (MARGIN.left + this.wide - MARGIN.right) / 2, this.high - 8);
    pen.save();
    pen.translate(13, (MARGIN.top + bottom) / 2);
    pen.rotate(-Math.PI / 2);
    pen.fillText(this.up.title, 0, 0);
    pen.restore();
  }

  // What moves: the brush, the chosen cells with their noise.
  drawOver() {
    if (!this.wide || !this.across) return;
    const pen = this.pen(this.overlay);
    if (this.brush) {
      const [x0, x1] = this.brush.x.map(value => this.x(value));
      const [y1, y0] = this.brush.y.map(value => this.y(value));
      [pen.fillStyle, pen.strokeStyle] = [this.colour("brush"), this.colour("a")];
      pen.lineWidth = 1;
      pen.fillRect(x0, y0, x1 - x0, y1 - y0);
      pen.strokeRect(x0, y0, x1 - x0, y1 - y0);
    }
    for (const which of ["b", "a"]) {
      const i = this.chosen[which];
      if (i === null) continue;
      const x = this.x(this.across.of(i)), y = this.y(this.up.of(i));
      if (x !== x || y !== y) continue;
      pen.strokeStyle = pen.fillStyle = this.colour(which);
      pen.lineWidth = 2;
      for (const [axis, isUp] of [[this.up, true], [this.across, false]]) {
        const noise = axis.noise ? axis.noise(i) : NaN, value = axis.of(i);
        if (!(noise > 0)) continue;
        pen.beginPath();
        pen.moveTo(isUp ? x : this.x(value - noise), isUp ? this.y(value - noise) : y);
        pen.lineTo(isUp ? x : this.x(value + noise), isUp ? this.y(value + noise) : y);
        pen.stroke();
      }
      pen.beginPath();
      pen.arc(x, y, 6, 0, 7);
      pen.fill();
      [pen.strokeStyle, pen.lineWidth] = [this.colour("paper"), 1.5];
      pen.stroke();
      const text = `${which.toUpperCase()} #${this.table.arch[i]}`, right = x > this.wide - 110;
      pen.font = "bold 12px system-ui, sans-serif";
      pen.textAlign = right ? "right" : "left";
      [pen.strokeStyle, pen.lineWidth, pen.lineJoin] = [this.colour("paper"), 4, "round"];
      const above = which === "a" ? y > MARGIN.top + 14 : y > this.high - MARGIN.bottom - 22;
      const place = [x + (right ? -11 : 11), y + (above ? -9 : 18)];
      pen.strokeText(text, ...place);
      pen.fillText(text, ...place);
    }
  }

  near([x, y]) {
    let [found, least] = [null, NEAR * NEAR];
    for (const i of this.drawn) {
      if (!this.visible[i]) continue;
      const away = (this.x(this.across.of(i)) - x) ** 2 + (this.y(this.up.of(i)) - y) ** 2;
      if (away < least) [found, least] = [i, away];
    }
    return found;
  }

  place(event) {
    const box = this.overlay.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  press(event) {
    if (event.button) return;
    this.from = this.place(event);
    this.before = this.brush;
    this.tip.hidden = true;
    this.overlay.setPointerCapture(event.pointerId);
  }

  move(event) {
    const at = this.place(event);
    if (this.from) {
      if (Math.hypot(at[0] - this.from[0], at[1] - this.from[1]) < 5) return;
      const [one, other] = [this.back(this.from), this.back(at)];
      const sorted = k => [Math.min(one[k], other[k]), Math.max(one[k], other[k])];
      this.brush = { x: sorted(0), y: sorted(1) };
      this.drawOver();
      return;
    }
    const i = this.near(at);
    this.tip.hidden = i === null;
    this.overlay.style.cursor = i === null ? "crosshair" : "pointer";
    if (i === null) return;
    const text = axis => `${axis.title.replace(/ \(.*/, "")} ${axis.text(axis.of(i), true)}`;
    this.tip.textContent = `#${this.table.arch[i]}  ${text(this.up)}  ${text(this.across)}`;
    const left = Math.min(at[0] + 14, this.wide - this.tip.offsetWidth - 4);
    this.tip.style.left = `${Math.max(0, left)}px`;
    this.tip.style.top = `${at[1] > 50 ? at[1] - 34 : at[1] + 18}px`;
  }

  release(event) {
    if (!this.from) return;
    const at = this.place(event), from = this.from;
    this.from = null;
    if (Math.hypot(at[0] - from[0], at[1] - from[1]) >= 5) {
      this.on.brush(this.brush);
      return;
    }
    const i = this.near(at);
    if (i !== null) (event.shiftKey ? this.on.compare : this.on.choose)(i);
    else if (this.brush) this.on.brush(null);
  }
}
