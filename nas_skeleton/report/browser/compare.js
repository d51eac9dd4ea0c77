// Clips: which a cell gets wrong, and on which two cells differ.

// Class predicted for a clip by a training, and the true one.
function predictedClass(predictions, split, training, clip) {
  const label = facts.clips[split].labels[clip], classes = facts.classes.length;
  return (label + predictions[split][training * facts.counts[split] + clip]) % classes;
}

const isRight = (predictions, split, training, clip) =>
  predictions[split][training * facts.counts[split] + clip] === 0;

const className = number => facts.classes[number] ?? `class ${number}`;

// Exact two-sided McNemar test: a fair coin thrown first + second times.
function mcnemar(first, second) {
  const count = first + second, least = Math.min(first, second);
  let chance = 0, logarithm = -count * Math.log(2);
  for (let k = 0; k <= least; k++) {
    chance += Math.exp(logarithm);
    logarithm += Math.log((count - k) / (k + 1));
  }
  return Math.min(1, 2 * chance);
}

const chance = p => p < 0.001 ? "p < 0.001" : `p = ${p.toFixed(p < 0.1 ? 3 : 2)}`;

// Which clips both have right, one, or neither, with one seed.
function compared(predictions, split, first, second) {
  const found = { both: [], a: [], b: [], neither: [] };
  for (let clip = 0; clip < facts.counts[split]; clip++) {
    const one = isRight(predictions, split, first, clip);
    const other = isRight(predictions, split, second, clip);
    found[one ? (other ? "both" : "a") : (other ? "b" : "neither")].push(clip);
  }
  return found;
}

function clipName(split, clip, play) {
  const id = facts.clips[split].ids[clip];
  if (!play.has(id)) return make("td", {}, id);
  const button = make("button", { type: "button", class: "play", title: `Show clip ${id}`,
    "aria-label": `Show clip ${id}`, onclick: () => play.show(id) }, "▶");
  return make("td", {}, button, " ", id);
}

// Text that may break after "_".
const breakable = text => text.split("_").flatMap((word, at) => at ? ["_", make("wbr"), word] : [word]);

function clipTable(heads, rows) {
  return make("div", { class: "clips" }, make("table", { class: "numbers" },
    make("thead", {}, make("tr", {}, ...heads.map(head => make("th", { scope: "col" }, head)))),
    make("tbody", {}, ...rows)));
}

function said(number, isTrue) {
  return make("td", { class: isTrue ? "right" : "wrong" }, isTrue ? "✓\u00a0" : "✗\u00a0",
    ...breakable(className(number)));
}

// Clips that one cell gets wrong with some seed, those most seeds get wrong first.
function mistakes(table, predictions, i, split, play) {
  const trainings = table.trainings(i).filter(({ training }) => training >= 0);
  const wrong = [];
  for (let clip = 0; clip < facts.counts[split]; clip++) {
    const taken = new Map();
    for (const { training } of trainings) {
      if (isRight(predictions, split, training, clip)) continue;
      const name = className(predictedClass(predictions, split, training, clip));
      taken.set(name, (taken.get(name) ?? 0) + 1);
    }
    const misses = Array.from(taken.values()).reduce((sum, count) => sum + count, 0);
    if (misses) wrong.push({ clip, misses, taken });
  }
  wrong.sort((one, other) => other.misses - one.misses || one.clip - other.clip);
  const several = trainings.length > 1, labels = facts.clips[split].labels;
  const rows = wrong.map(({ clip, misses, taken }) => make("tr", {},
    clipName(split, clip, play), make("td", {}, ...breakable(className(labels[clip]))),
    make("td", {}, Array.from(taken, ([name, count]) => several ? `${name} (${count})` : name).join(", ")),
    several ? make("td", {}, `${misses} of ${trainings.length}`) : null));
  const what = several ? `are wrong with at least one of ${trainings.length} seeds` : "are wrong";
  return [
    make("p", {}, `${wrong.length} of ${many(facts.counts[split], `${NAMES[split]} clip`)} ${what}.`),
    clipTable(["clip", "true class", "taken for", ...(several ? ["seeds"] : [])], rows),
  ];
}

// Two cells clip by clip, with the seeds that both have.
function differences(table, predictions, a, b, split, place, play, choosePlace) {
  const places = facts.seeds.map((_, at) => at).filter(at => [a, b].every(i =>
    table.training[i * facts.seeds.length + at] >= 0));
  if (!places.length) return [make("p", {}, "No seed with which both were trained to the end.")];
  const at = places.includes(place) ? place : places[0];
  const pair = at => [a, b].map(i => table.training[i * facts.seeds.length + at]);
  if (pair(at)[0] === pair(at)[1]) {
    return [make("p", { class: "copied" }, "Both are the same function with the same training: "
      + "no clip can differ.")];
  }
  const all = places.map(at => ({ at, found: compared(predictions, split, ...pair(at)) }));
  const rows = all.map(({ at: own, found }) => make("tr", { class: own === at ? "mean" : "" },
    make("th", { scope: "row" }, make("label", {}, make("input", { type: "radio", name: "place",
      checked: own === at, onchange: () => choosePlace(own) }), ` ${facts.seeds[own]}`)),
    ...["both", "a", "b", "neither"].map(kind => make("td", {}, String(found[kind].length))),
    make("td", {}, chance(mcnemar(found.a.length, found.b.length)))));
  const found = all.find(one => one.at === at).found, [first, second] = pair(at);
  const labels = facts.clips[split].labels;
  const clips = [...found.a, ...found.b];
  const list = clips.map(clip => make("tr", {}, clipName(split, clip, play),
    make("td", {}, ...breakable(className(labels[clip]))), ...[first, second].map(training => said(
      predictedClass(predictions, split, training, clip), isRight(predictions, split, training, clip)))));
  return [
    make("table", { class: "numbers" }, make("caption", {},
      `Of ${many(facts.counts[split], `${NAMES[split]} clip`)}, right by`),
    make("thead", {}, make("tr", {}, ...["seed", "both", "A only", "B only", "neither", "McNemar"]
      .map(head => make("th", { scope: "col" }, head)))), make("tbody", {}, ...rows)),
    make("p", { class: "hint" }, "Exact test of two trainings; clips count as independent, though few "
      + "persons perform them, and nothing is corrected for trying many pairs."),
    make("h3", {}, `Seed ${facts.seeds[at]}: ${many(clips.length, "clip")} on which one is right`),
    clipTable(["clip", "true class", "A says", "B says"], list),
  ];
}
