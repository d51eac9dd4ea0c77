// The page: what is chosen, and everything that follows when it changes.

const table = new Table(await part("table"));
const animations = JSON.parse(byId("animations").textContent);
const EVERY = facts.seeds.map((_, at) => at);
const ON_PAPER = 40; // rows of the table
const state = {
  places: facts.wholeSeeds.map(seed => facts.seeds.indexOf(seed)),
  sort: { key: "rank", down: false },
  text: "", edges: EDGES.map(() => -1), copies: false, brush: null,
  a: null, b: null, split: facts.counts.valid ? "valid" : "test", place: null,
};
const copies = table.isCopy.reduce((sum, own) => sum + own, 0);
const noiseName = () => state.places.length > 1 ? "s.d. over seeds" : "binomial s.e. of clips";

const number = (key, title, says, of, text = short) => ({
  key, title, says, of, fill: (cell, i) => { cell.textContent = text(of(i), i); },
});
const accuracy = split => ({
  key: split, title: `${split === "valid" ? "Validation" : "Test"} %`,
  says: split === "valid" ? "Top-1 on validation clips after the last epoch"
    : "Top-1 on test clips after the last epoch: shown, never used to rank",
  of: i => table[`${split}Mean`][i],
  noise: i => table[`${split}Noise`][i],
  fill: (cell, i) => {
    if (!cell.firstChild) cell.append(make("b"), make("small"));
    cell.firstChild.textContent = percent(table[`${split}Mean`][i]);
    cell.lastChild.textContent = ` ± ${percent(table[`${split}Noise`][i])}`;
  },
});
const columns = [
  number("rank", "Rank", "By validation accuracy; a copy has the rank of what it is a copy of",
    i => table.rank[i], (rank, i) => rank === rank ? `${table.isCopy[i] ? "= " : ""}${rank}` : "–"),
  number("arch", "Index", "In NAS-Bench-201's order", i => table.arch[i], arch => `#${arch}`),
  facts.names
    ? { key: "cell", title: "Name", says: "Of the architecture", of: i => facts.names[i],
      fill: (cell, i) => { cell.textContent = facts.names[i]; } }
    : { key: "cell", title: "Edges", says: "In the order of the architecture string; pale ones do nothing",
      of: i => nameOf(table, i),
      fill: (cell, i) => {
        if (!cell.firstChild) cell.append(make("span", { class: "strip", role: "img" }));
        fillStrip(cell.firstChild, table, i);
        cell.firstChild.setAttribute("aria-label", describe(table, i));
      } },
  ...(facts.counts.valid ? [accuracy("valid")] : []),
  accuracy("test"),
  number("macs", "MACs", "Multiply-accumulates of one clip", i => table.macs[i]),
  number("params", "Params", "Parameters of the whole network", i => table.params[i]),
  number("latency", "Latency (ms)", "For one clip, as measured", i => table.latency[i]),
  number("time", "Time (s)", "Of training, mean over trainings, evaluations included", i => table.time[i]),
  number("seeds", "Seeds", "Finished trainings, of those that count here", i => table.finished[i], String),
  number("same", "Copies", "Other architectures of the table that compute the same function",
    i => table.members.get(table.functional[i]).length - 1,
    (count, i) => table.isCopy[i] ? `of #${table.arch[table.source[i]]}` : String(count || "")),
];
const column = key => columns.find(own => own.key === key);
const axes = Object.fromEntries([
  ["valid", "validation top-1 (%)"], ["test", "test top-1 (%)"], ["macs", "MACs per clip"],
  ["params", "parameters"], ["latency", "latency (ms)"], ["time", "training (s)"],
].filter(([key]) => column(key)).map(([key, title]) => {
  const isShare = key === "valid" || key === "test", { of, noise } = column(key);
  const text = isShare ? (share, exact) => percent(share, exact ? 1 : 0)
    : (value, exact) => exact ? short(value) : shortest(value);
  return [key, { title, of, noise, text, scale: isShare ? 100 : 1 }];
}));

const grid = new Grid(columns, { choose: i => choose(i), compare: i => compare(i), sort: sortBy });
const scatter = new Scatter(table, axes, {
  choose: i => choose(i), compare: i => compare(i),
  brush: brush => { state.brush = brush; filter(); },
});

function sortBy(key) {
  const down = state.sort.key === key ? !state.sort.down : !["rank", "arch", "cell"].includes(key);
  state.sort = { key, down };
  filter();
}

function isWanted(i) {
  const words = state.text.toLowerCase().split(/\s+/).filter(Boolean);
  for (const word of words) {
    const index = String(table.arch[i]);
    const found = word.startsWith("#") ? `#${index}` === word
      : /^\d+$/.test(word) ? index.startsWith(word) : nameOf(table, i).toLowerCase().includes(word);
    if (!found) return false;
  }
  if (state.edges.some(edge => edge >= 0)) {
    const operations = operationsOf(table, i);
    if (state.edges.some((edge, at) => edge >= 0 && edge !== operations[at])) return false;
  }
  if (!state.brush) return true;
  const within = (axis, [low, high]) => axis.of(i) >= low && axis.of(i) <= high;
  return within(scatter.across, state.brush.x) && within(scatter.up, state.brush.y);
}

// After anything changed that decides which rows there are, and in which order.
function filter() {
  const drawn = Array.from(table.arch.keys()).filter(i => state.copies || !table.isCopy[i]);
  scatter.brush = state.brush;
  scatter.show(byId("across").value, byId("up").value, drawn);
  const order = drawn.filter(isWanted), visible = new Uint8Array(table.length);
  for (const i of order) visible[i] = 1;
  const { of } = column(state.sort.key), sign = state.sort.down ? -1 : 1;
  const values = new Map(order.map(i => [i, of(i)]));
  const place = i => table.rank[i] === table.rank[i] ? table.rank[i] : Infinity;
  order.sort((i, j) => {
    const [one, other] = [values.get(i), values.get(j)];
    if (one !== one || other !== other) return (one !== one) - (other !== other);
    const by = one < other ? -sign : one > other ? sign : 0;
    return by || (place(i) > place(j)) - (place(i) < place(j)) || table.isCopy[i] - table.isCopy[j]
      || table.arch[i] - table.arch[j];
  });
  grid.show(order, state.sort);
  scatter.mark(visible, state);
  const hidden = state.copies ? "" : copies ? `; ${many(copies, "copy").replace("copys", "copies")} hidden` : "";
  const byTest = state.sort.key === "test"
    ? " Sorted by test accuracy: to look at only. Who chooses by it has no test set any more." : "";
  byId("count").textContent = `${order.length.toLocaleString("en")} of ${many(drawn.length, "architecture")}`
    + ` shown${hidden}. ± is the ${noiseName()}.${byTest}`;
  byId("count").classList.toggle("warning", Boolean(byTest));
  showRanges();
}

function showRanges() {
  for (const [name, key, axis] of [["x", "x", scatter.across], ["y", "y", scatter.up]]) {
    byId(`${name}name`).textContent = axis.title;
    [0, 1].forEach(end => {
      const bound = state.brush?.[key][end], input = byId(`${name}${end}`);
      const scaled = Number.isFinite(bound) ? Number((bound * axis.scale).toPrecision(6)) : "";
      if (document.activeElement !== input) input.value = scaled;
    });
  }
}

function rangesTyped() {
  const bound = (id, axis, none) => byId(id).value === "" ? none : Number(byId(id).value) / axis.scale;
  const range = (name, axis) => [
    bound(`${name}0`, axis, -Infinity), bound(`${name}1`, axis, Infinity)];
  const brush = { x: range("x", scatter.across), y: range("y", scatter.up) };
  state.brush = [...brush.x, ...brush.y].some(Number.isFinite) ? brush : null;
  filter();
}

function choose(i) {
  state.a = i;
  if (state.b === i) state.b = null;
  chosen();
  if (matchMedia("(max-width: 1099px)").matches) byId("details").scrollIntoView({ block: "start" });
}

function compare(i) {
  if (state.a === null) return choose(i);
  state.b = i === state.a ? null : i;
  return chosen();
}

function chosen() {
  const { a, b } = state;
  grid.mark({ a, b });
  scatter.chosen = { a, b };
  scatter.drawOver();
  const names = [a, b].filter(i => i !== null).map(i => table.arch[i]);
  history.replaceState(null, "", names.length ? `#${names.join(",")}` : "#");
  return showDetails();
}

const dialog = byId("player");
let moving = null;
const play = {
  has: id => Object.hasOwn(animations, id),
  show: id => {
    const clip = structuredClone(animations[id]);
    if (matchMedia("(prefers-color-scheme: dark)").matches) { // its own colours are for white paper
      Object.assign(clip.colours, {
        left: ["#56B4E9", "#3F7CA0"], right: ["#F28E5B", "#A8623E"], middle: ["#DDDDDD", "#888888"],
      });
      for (const side of Object.keys(clip.colours)) {
        while (clip.colours[side].length < clip.frames[0].length) clip.colours[side].push(clip.colours[side][1]);
      }
    }
    byId("cliptitle").textContent = clip.title;
    dialog.showModal();
    moving?.stop();
    moving = player(clip, name => byId(`part-${name}`));
  },
};
dialog.onclose = () => { moving?.stop(); moving = null; };
byId("close").onclick = () => dialog.close();
dialog.onkeydown = event => {
  if (event.target.matches("input, select, button")) return;
  if (event.key === " ") { moving.toggle(); event.preventDefault(); }
  if (event.key === "ArrowLeft") moving.step(-1);
  if (event.key === "ArrowRight") moving.step(1);
};

function link(i) {
  return make("button", { type: "button", class: "link", onclick: () => choose(i) }, `#${table.arch[i]}`);
}

function compareControls() {
  const input = make("input", { type: "text", inputmode: "numeric", size: "7", placeholder: "index",
    "aria-label": "Index of the cell to compare with" });
  const form = make("form", { class: "bar", onsubmit: event => {
    event.preventDefault();
    const found = table.place.get(Number(input.value.replace("#", "")));
    input.setCustomValidity(found === undefined ? "There is no such architecture in this table." : "");
    if (found === undefined) input.reportValidity();
    else compare(found);
  } }, make("span", {}, "Compare with"), input, make("button", {}, "Compare"));
  input.oninput = () => input.setCustomValidity("");
  if (table.best !== null && table.best !== undefined && table.best !== state.a) {
    form.append(make("button", { type: "button", onclick: () => compare(table.best) }, "the best"));
  }
  return form;
}

let latest = 0;
async function showDetails() {
  const turn = ++latest, panel = byId("details");
  const pairs = [["a", state.a], ["b", state.b]].filter(([, i]) => i !== null);
  if (!pairs.length) {
    panel.replaceChildren(make("p", { class: "hint" }, "Choose an architecture in the table or the plot."));
    return;
  }
  const curves = await part("curves");
  if (turn !== latest) return;
  const off = make("button", { type: "button", class: "off", title: "Compare no more",
    "aria-label": "Compare no more", onclick: () => { state.b = null; chosen(); } }, "×");
  const cards = pairs.map(([which, i]) =>
    cellCard(table, i, which, state.places, link, which === "b" ? [off] : []));
  const clips = make("div", { class: "clipwise" });
  panel.replaceChildren(
    make("div", { class: pairs.length > 1 ? "cards two" : "cards" }, ...cards),
    facts.names ? "" : legend(),
    make("h3", {}, "Learning curves"), curvePicture(table, curves, pairs), curveKey(table, pairs),
    curveNumbers(table, curves, pairs),
    compareControls(), clips,
  );
  await showClips(clips, turn);
}

async function showClips(place, turn) {
  const predictions = await part("predictions");
  if (turn !== latest) return;
  const splits = ["valid", "test"].filter(split => predictions[split]);
  const select = make("select", { onchange: () => { state.split = select.value; showClips(place, latest); } },
    ...splits.map(split => make("option", { value: split, selected: split === state.split }, NAMES[split])));
  const title = state.b === null ? "Clips that it gets wrong" : "Clip by clip";
  const content = state.b === null
    ? mistakes(table, predictions, state.a, state.split, play)
    : differences(table, predictions, state.a, state.b, state.split, state.place, play, own => {
      state.place = own;
      showClips(place, latest);
    });
  const moves = Object.keys(animations).length;
  const about = moves
    ? `▶ shows one of ${moves} of the ${facts.wrong} clips that the best cell, #${facts.best}, gets wrong.`
    : facts.notAnimated ? `No moving skeletons: ${facts.notAnimated}` : "";
  place.replaceChildren(make("div", { class: "bar" }, make("h3", {}, title),
    make("label", {}, "clips of ", select)), ...content, make("p", { class: "hint" }, about));
}

function seedChoices() {
  const list = places => places.map(at => facts.seeds[at]).join(", ");
  const whole = facts.wholeSeeds.map(seed => facts.seeds.indexOf(seed));
  const choices = [[whole, whole.length > 1 ? `mean of ${list(whole)}` : list(whole)]];
  if (whole.length < EVERY.length) choices.push([EVERY, `mean of all there are (${list(EVERY)})`]);
  if (EVERY.length > 1) {
    for (const at of EVERY) if (String([at]) !== String(whole)) choices.push([[at], list([at])]);
  }
  return choices;
}

function begin() {
  byId("name").replaceChildren(facts.name, " ", make("small", {}, facts.kind));
  const asked = Object.entries(facts.asked).map(([name, value]) => `${name} ${value}`).join(" · ");
  const lost = facts.diverged ? `, ${facts.diverged} diverged` : "";
  byId("summary").textContent = `${table.length.toLocaleString("en")} of ${facts.size.toLocaleString("en")} `
    + `architectures of space ${facts.space}, ${many(facts.trained, "training")}${lost}`
    + `${copies ? `, ${copies.toLocaleString("en")} architectures are copies of others` : ""} · ${asked} · `
    + `${["train", "valid", "test"].map(split => `${facts.counts[split]} ${NAMES[split]}`).join(", ")} clips`;
  const apart = facts.near > 1 ? `At least ${facts.near.toLocaleString("en")} of these cannot be told apart `
    + "from the best. " : "";
  byId("noise").firstElementChild.textContent = `${apart}How far to trust the numbers`;
  byId("notes").append(...facts.notes.map(note => make("li", {}, note)));
  byId("noise").open = matchMedia("(min-height: 1000px)").matches;

  const axisNames = Object.keys(axes);
  const option = key => make("option", { value: key }, axes[key].title);
  byId("up").append(...axisNames.filter(key => key === "valid" || key === "test").map(option));
  byId("across").append(...axisNames.map(option));
  byId("across").value = "macs";
  for (const id of ["up", "across"]) byId(id).onchange = () => { state.brush = null; filter(); };
  for (const id of ["x0", "x1", "y0", "y1"]) byId(id).oninput = rangesTyped;

  const choices = seedChoices();
  byId("seeds").append(...choices.map(([, text], at) => make("option", { value: at }, text)));
  byId("seeds").onchange = () => {
    [state.places] = choices[byId("seeds").value];
    state.brush = null;
    table.choose(state.places);
    filter();
    showDetails();
  };
  byId("copieslabel").hidden = !copies;
  byId("copies").onchange = () => { state.copies = byId("copies").checked; filter(); };
  byId("text").oninput = () => { state.text = byId("text").value; filter(); };
  byId("edgefilter").hidden = Boolean(facts.names);
  byId("edges").append(...EDGES.map(([source, target], at) => {
    const end = node => ["in", "1", "2", "out"][node];
    const select = make("select", { onchange: () => { state.edges[at] = Number(select.value); filter(); } },
      make("option", { value: "-1" }, "any"), ...SHORT.map((name, k) => make("option", { value: k }, name)));
    return make("label", {}, `${end(source)}→${end(target)} `, select);
  }));
  byId("reset").onclick = () => {
    Object.assign(state, { text: "", edges: EDGES.map(() => -1), brush: null,
      sort: { key: "rank", down: false } });
    byId("text").value = "";
    for (const select of byId("edges").querySelectorAll("select")) select.value = "-1";
    filter();
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => scatter.draw());
  addEventListener("keydown", event => {
    if (event.key === "Escape" && state.brush && !dialog.open) { state.brush = null; filter(); }
  });
  addEventListener("beforeprint", () => { grid.draw(Math.min(ON_PAPER, grid.order.length)); scatter.draw(); });
  addEventListener("afterprint", () => grid.draw());

  document.querySelector("main").hidden = false;
  table.choose(state.places);
  const [first, second] = location.hash.slice(1).split(",").map(name => table.place.get(Number(name)));
  state.a = location.hash.length > 1 && first !== undefined ? first : table.best ?? 0;
  state.b = second !== undefined && second !== state.a ? second : null;
  grid.chosen = scatter.chosen = { a: state.a, b: state.b };
  filter();
  return chosen();
}

await begin();
performance.mark("ready");
document.documentElement.dataset.ready = "yes";
