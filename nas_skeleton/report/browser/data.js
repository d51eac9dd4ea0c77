// What the page is about: facts, arrays, and for each architecture what follows from them.

const facts = JSON.parse(document.getElementById("facts").textContent);
const KINDS = {
  i4: Int32Array, u2: Uint16Array, u1: Uint8Array, f4: Float32Array, f8: Float64Array,
};
const MISSING = -1, DIVERGED = -2; // instead of a training
const NAMES = { valid: "validation", test: "test", train: "training" };
const byId = id => document.getElementById(id);

// An element with attributes and children; texts stay texts, whatever is in them.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element[name] = value;
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null) element.setAttribute(name, value);
  }
  element.append(...children.filter(child => child !== null && child !== undefined));
  return element;
}

// The arrays of a part of the page, by name.
async function unpacked(part) {
  const holder = byId(`data-${part}`);
  const coded = atob(holder.textContent), bytes = new Uint8Array(coded.length);
  for (let i = 0; i < coded.length; i++) bytes[i] = coded.charCodeAt(i);
  holder.remove();
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const buffer = await new Response(stream).arrayBuffer();
  return Object.fromEntries(facts.sections[part].map(
    ([name, kind, start, length]) => [name, new KINDS[kind](buffer, start, length)],
  ));
}

const loaded = {};
// The same once, when it is asked for: curves and predictions are large.
const part = name => loaded[name] ??= unpacked(name);

// Wilson's half interval at z = 1: a standard error that is not zero at 100 %.
function clipError(share, clips) {
  return Math.sqrt(share * (1 - share) / clips + 1 / (4 * clips * clips)) / (1 + 1 / clips);
}

function meanAndDeviation(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return [mean, values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : NaN];
}

const percent = (share, digits = 1) => Number.isNaN(share) ? "–" : (100 * share).toFixed(digits);

function short(number) {
  if (Number.isNaN(number)) return "–";
  for (const [unit, name] of [[1e9, " G"], [1e6, " M"], [1e3, " k"]]) {
    if (number >= unit) return `${(number / unit).toPrecision(3)}${name}`;
  }
  return number >= 100 ? String(Math.round(number)) : number.toPrecision(3);
}

// The same without zeros at the end, for axes.
const shortest = number => short(number).replace(/(\.\d*?)0+(?=$| )/, "$1").replace(/\.(?=$| )/, "");

const many = (count, what) => `${count.toLocaleString("en")} ${what}${count === 1 ? "" : "s"}`;

// The table's arrays, and per architecture what depends on which seeds are meant.
class Table {
  constructor(arrays) {
    Object.assign(this, arrays);
    this.length = this.arch.length;
    this.place = new Map(Array.from(this.arch, (arch, i) => [arch, i]));
    this.members = new Map(); // of functional classes
    this.functional.forEach((number, i) => {
      if (!this.members.has(number)) this.members.set(number, []);
      this.members.get(number).push(i);
    });
    this.isCopy = new Uint8Array(this.length);
    this.source = new Int32Array(this.length);
    for (let i = 0; i < this.length; i++) {
      const trained = this.trainings(i).filter(({ training }) => training >= 0);
      const own = trained.some(({ training }) => this.owner[training] === i);
      this.isCopy[i] = Number(trained.length > 0 && !own);
      this.source[i] = own || !trained.length ? i : this.owner[trained[0].training];
    }
  }

  // By seed, all that an architecture has: a number of a training, or DIVERGED.
  trainings(i, places = facts.seeds.map((_, at) => at)) {
    const count = facts.seeds.length;
    return places
      .map(at => ({ seed: facts.seeds[at], training: this.training[i * count + at] }))
      .filter(({ training }) => training !== MISSING);
  }

  // Share of clips that a training has right.
  share(split, training) {
    const hits = this[split][training];
    return hits < 0 ? NaN : hits / facts.counts[split];
  }

  // Means over seeds, and ranks by validation as `runs show` has them: who has fewer seeds comes
  // last, ties go to fewer MACs, then to the lower index; test accuracy decides nothing. Copies
  // have the rank of what they are copies of.
  choose(places) {
    for (const name of ["validMean", "testMean", "validNoise", "testNoise"]) {
      this[name] = new Float64Array(this.length).fill(NaN);
    }
    this.finished = new Int32Array(this.length);
    for (let i = 0; i < this.length; i++) {
      const done = this.trainings(i, places).filter(({ training }) => training >= 0);
      this.finished[i] = done.length;
      for (const split of ["valid", "test"]) {
        if (!done.length || !facts.counts[split]) continue;
        const hits = done.reduce((sum, { training }) => sum + this[split][training], 0);
        const shares = done.map(({ training }) => this.share(split, training));
        const mean = hits / done.length / facts.counts[split];
        this[`${split}Mean`][i] = mean;
        this[`${split}Noise`][i] = places.length > 1
          ? meanAndDeviation(shares)[1] : clipError(mean, facts.counts[split]);
      }
    }
    this.rank = new Float64Array(this.length).fill(NaN);
    if (!facts.counts.valid) return;
    const order = Array.from(this.arch.keys()).filter(i => !this.isCopy[i] && this.finished[i]);
    order.sort((i, j) => this.finished[j] - this.finished[i] || this.validMean[j] - this.validMean[i]
      || this.macs[i] - this.macs[j] || this.arch[i] - this.arch[j]);
    order.forEach((i, at) => { this.rank[i] = at + 1; });
    for (let i = 0; i < this.length; i++) if (this.isCopy[i]) this.rank[i] = this.rank[this.source[i]];
    this.best = order.length ? order[0] : null;
    this.ranked = order.length;
  }
}
