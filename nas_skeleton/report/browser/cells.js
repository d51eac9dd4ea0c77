// Cells: their operations, drawn as a graph and as six squares.

// As in `spaces.cell`; classes are those of the style sheet.
const OPERATIONS = ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"];
const SHORT = ["none", "skip", "1×1", "3×3", "pool"];
const EDGES = [[0, 1], [0, 2], [1, 2], [0, 3], [1, 3], [2, 3]];
const DEAD = 0, BIAS = 1;
// Node 2 inside the triangle of the others: so no two of the straight edges cross.
const NODES = [[28, 142], [170, 18], [170, 92], [312, 142]];
const SVG = "http://www.w3.org/2000/svg";

const digit = (number, base, at) => Math.floor(number / base ** at) % base;
const operationsOf = (table, i) => EDGES.map((_, at) => digit(table.operations[i], 5, at));
const rolesOf = (table, i) => EDGES.map((_, at) => digit(table.roles[i], 3, at));

// The architecture string; of other spaces the name.
function nameOf(table, i) {
  if (facts.names) return facts.names[i];
  const [a, b, c, d, e, f] = operationsOf(table, i).map(operation => OPERATIONS[operation]);
  return `|${a}~0|+|${b}~0|${c}~1|+|${d}~0|${e}~1|${f}~2|`;
}

// What the edges do, for those who hear it.
function describe(table, i) {
  const roles = rolesOf(table, i);
  const said = operationsOf(table, i).map((operation, at) => {
    const what = roles[at] === DEAD ? "nothing" : roles[at] === BIAS ? "constant" : SHORT[operation];
    return `${EDGES[at].join(" to ")}: ${what}`;
  });
  return said.join(", ");
}

function drawn(tag, attributes, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

// A cell from input to output. Edges that do nothing are pale; a dotted one is a convolution of a
// zero map, which only adds a trainable constant.
function cellPicture(table, i) {
  const picture = drawn("svg", {
    viewBox: "0 0 340 162", class: "cell", role: "img",
    "aria-label": `Cell ${table.arch[i]}: ${describe(table, i)}`,
  });
  const operations = operationsOf(table, i), roles = rolesOf(table, i);
  const edges = EDGES.map((_, at) => at);
  edges.sort((first, second) => roles[first] - roles[second]); // pale ones below
  for (const at of edges) {
    const [[x0, y0], [x1, y1]] = EDGES[at].map(node => NODES[node]);
    const length = Math.hypot(x1 - x0, y1 - y0), [dx, dy] = [(x1 - x0) / length, (y1 - y0) / length];
    const kind = roles[at] === DEAD ? "dead" : roles[at] === BIAS ? "bias" : OPERATIONS[operations[at]];
    const group = drawn("g", { class: `edge ${kind}` });
    const [tipX, tipY] = [x1 - 16 * dx, y1 - 16 * dy];
    group.append(drawn("line", {
      x1: x0 + 14 * dx, y1: y0 + 14 * dy, x2: tipX - 6 * dx, y2: tipY - 6 * dy,
    }));
    const [wide, long] = [4, 9];
    const corners = [[0, 0], [-long, wide], [-long, -wide]].map(
      ([along, across]) => `${tipX + along * dx - across * dy},${tipY + along * dy + across * dx}`,
    );
    group.append(drawn("polygon", { points: corners.join(" ") }));
    const isNone = OPERATIONS[operations[at]] === "none";
    if (!isNone) {
      const text = roles[at] === BIAS ? "constant" : SHORT[operations[at]];
      const wide = 7 * text.length + 6, [x, y] = [(x0 + x1) / 2, (y0 + y1) / 2];
      group.append(drawn("rect", { x: x - wide / 2, y: y - 8, width: wide, height: 16 }));
      group.append(drawn("text", { x, y: y + 4 }, text));
    }
    picture.append(group);
  }
  NODES.forEach(([x, y], node) => {
    picture.append(drawn("circle", { cx: x, cy: y, r: 13 }));
    picture.append(drawn("text", { x, y: y + 4, class: "node" }, ["in", "1", "2", "out"][node]));
  });
  return picture;
}

// The six edges as squares, in the order of the architecture string; pale is dead.
function fillStrip(strip, table, i) {
  const operations = operationsOf(table, i), roles = rolesOf(table, i);
  while (strip.children.length < EDGES.length) strip.append(document.createElement("i"));
  for (let at = 0; at < EDGES.length; at++) {
    const dead = roles[at] === DEAD ? " dead" : roles[at] === BIAS ? " bias" : "";
    strip.children[at].className = `${OPERATIONS[operations[at]]}${dead}`;
  }
}

function legend() {
  const items = OPERATIONS.map((name, at) => make("span", {}, make("i", { class: name }), SHORT[at]));
  return make("p", { class: "legend strip" }, ...items, make("span", {}, "pale: does nothing; dotted: adds a constant"));
}
