// One cell, or two beside each other: picture, numbers of every training, learning curves.

const CURVE = { wide: 440, high: 210, left: 44, right: 10, top: 10, bottom: 34 };
const LINES = [["valid", "validation", ""], ["test", "test", "7 4"], ["train", "training", "2 4"]];

function numbersOf(table, i, places) {
  const has = split => facts.counts[split] > 0;
  const splits = ["valid", "test"].filter(has);
  const rows = table.trainings(i).map(({ seed, training }) => {
    const copied = training >= 0 && table.owner[training] !== i;
    const status = training === DIVERGED ? "diverged" : copied ? "copied" : "";
    return make("tr", {}, make("th", { scope: "row" }, `seed ${seed} `, make("span", { class: status }, status)),
      ...splits.map(split => make("td", {}, training < 0 ? "–" : percent(table.share(split, training)))));
  });
  const several = table.finished[i] > 1;
  if (several) {
    const over = places.length < facts.seeds.length ? ` (${many(places.length, "seed")})` : "";
    rows.push(make("tr", { class: "mean" }, make("th", { scope: "row", title: "Over seeds" }, `mean ± s.d.${over}`),
      ...splits.map(split => make("td", {},
        `${percent(table[`${split}Mean`][i])} ± ${percent(table[`${split}Noise`][i])}`))));
  }
  rows.push(make("tr", { class: "error" }, make("th", { scope: "row", title: "Of the accuracy on so many clips" }, "binomial s.e."),
    ...splits.map(split => make("td", {},
      `± ${percent(clipError(table[`${split}Mean`][i], facts.counts[split]))}`))));
  return make("table", { class: "numbers" },
    make("thead", {}, make("tr", {}, make("td"),
      ...splits.map(split => make("th", { scope: "col" }, `${split} %`)))),
    make("tbody", {}, ...rows));
}

// Curves of one cell or two. Thin lines are seeds, thick ones their means.
function curvePicture(table, curves, chosen) {
  const { wide, high, left, right, top, bottom } = CURVE, epochs = facts.epochs;
  const last = epochs[epochs.length - 1];
  const x = epoch => left + epoch / last * (wide - left - right);
  const y = share => high - bottom - share * (high - top - bottom);
  const names = chosen.map(([, i]) => `#${table.arch[i]}`).join(" and ");
  const picture = drawn("svg", {
    viewBox: `0 0 ${wide} ${high}`, class: "curves", role: "img",
    "aria-label": `Learning curves of ${names}; the numbers are below`,
  });
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    picture.append(drawn("line", { x1: left, x2: wide - right, y1: y(share), y2: y(share), class: "grid" }));
    picture.append(drawn("text", { x: left - 6, y: y(share) + 4, class: "end" }, `${100 * share}`));
  }
  for (const epoch of epochs) {
    picture.append(drawn("text", { x: x(epoch), y: high - bottom + 16, class: "middle" }, epoch));
  }
  picture.append(drawn("text", { x: (left + wide - right) / 2, y: high - 4, class: "middle" }, "epoch"));
  picture.append(drawn("text", {
    x: 0, y: 0, class: "middle", transform: `translate(11 ${(top + high - bottom) / 2}) rotate(-90)`,
  }, "top-1 %"));
  const line = (shares, name) => {
    const points = shares.map((share, at) => [x(epochs[at]), y(share)]).filter(([, py]) => py === py);
    const joined = points.map(point => point.map(number => number.toFixed(1)).join(",")).join(" ");
    return drawn("polyline", { points: joined, class: name });
  };
  for (const [which, i] of chosen) {
    for (const [split, name, dash] of LINES) {
      const shares = curvesOf(table, curves, i, split);
      if (!shares.length) continue;
      const mean = epochs.map((_, at) => meanAndDeviation(shares.map(own => own[at]))[0]);
      const own = line(mean, `${which} ${split}`);
      if (dash) own.setAttribute("stroke-dasharray", dash);
      if (shares.length > 1 && split !== "train") {
        for (const seed of shares) picture.append(line(seed, `${which} seed`));
      }
      picture.append(own);
    }
  }
  return picture;
}

// Per finished training the shares of right clips by epoch, NaN where it was not evaluated.
function curvesOf(table, curves, i, split) {
  const count = facts.epochs.length, clips = facts.counts[split];
  const trainings = table.trainings(i).filter(({ training }) => training >= 0);
  const shares = trainings.map(({ training }) => facts.epochs.map((_, at) => {
    const hits = curves[split][training * count + at];
    return hits < 0 ? NaN : hits / clips;
  }));
  return shares.filter(own => own.some(share => share === share));
}

// The same for those who cannot see it, or want the digits.
function curveNumbers(table, curves, chosen) {
  const body = facts.epochs.map((epoch, at) => make("tr", {},
    make("th", { scope: "row" }, String(epoch)),
    ...chosen.flatMap(([, i]) => LINES.map(([split]) => {
      const shares = curvesOf(table, curves, i, split).map(own => own[at]);
      return make("td", {}, shares.length ? percent(meanAndDeviation(shares)[0]) : "–");
    }))));
  const heads = chosen.flatMap(([which]) => LINES.map(([, name]) => make("th", { scope: "col" },
    chosen.length > 1 ? `${which.toUpperCase()} ${name}` : name)));
  return make("details", { class: "digits" }, make("summary", {}, "Numbers of the curve"),
    make("table", { class: "numbers" },
      make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "epoch"), ...heads)),
      make("tbody", {}, ...body)));
}

// Picture, name and numbers of one cell; `link` makes a button that shows another.
function cellCard(table, i, which, places, link, extra) {
  const rank = table.rank[i] === table.rank[i] ? `rank ${table.rank[i]} of ${table.ranked}` : "not ranked";
  const card = make("article", { class: `card ${which}` },
    make("h2", {}, make("span", { class: `mark ${which}` }, which.toUpperCase()), ` #${table.arch[i]} `,
      make("small", {}, rank)),
    ...extra);
  if (!facts.names) card.append(cellPicture(table, i));
  card.append(make("code", { class: "name" },
    ...nameOf(table, i).split("+").flatMap((node, at) => at ? ["+", make("wbr"), node] : [node])));
  if (table.isCopy[i]) {
    card.append(make("p", { class: "copied" }, "A copy: it computes the same function as ",
      link(table.source[i]), ", which was trained; no independent result."));
  } else {
    const others = table.members.get(table.functional[i]).filter(other => other !== i);
    const few = others.slice(0, 6).flatMap((other, at) => at ? [", ", link(other)] : [link(other)]);
    const more = others.length > 6 ? ` and ${others.length - 6} more` : "";
    if (others.length) card.append(make("p", {}, "The same function: ", ...few, more));
  }
  card.append(numbersOf(table, i, places));
  const costs = [["parameters", short(table.params[i])], ["MACs per clip", short(table.macs[i])],
    ["latency", `${short(table.latency[i])} ms`], ["training", `${short(table.time[i])} s`]];
  card.append(make("dl", { class: "costs" },
    ...costs.map(([name, text]) => make("div", {}, make("dt", {}, name), make("dd", {}, text)))));
  return card;
}

// Which line is which.
function curveKey(table, chosen) {
  const marks = chosen.length > 1 ? chosen.map(([which, i]) =>
    make("span", { class: `key ${which}` }, `${which.toUpperCase()} #${table.arch[i]}`)) : [];
  const lines = LINES.filter(([split]) => facts.counts[split]).map(([split, name]) =>
    make("span", { class: `stroke ${split}` }, name));
  return make("p", { class: "legend" }, ...marks, ...lines);
}
