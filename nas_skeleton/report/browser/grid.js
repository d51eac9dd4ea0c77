// The table: only the rows that are seen exist, so thousands of architectures scroll at once.

const ROW = 30; // pixels, as in the style sheet
const SPARE = 6; // rows above and below what is seen

class Grid {
  // columns: {key, title, says, of(i) for sorting, fill(cell, i), test}; on: choose, compare, sort.
  constructor(columns, on) {
    this.columns = columns;
    this.on = on;
    this.order = [];
    this.active = 0; // place in the order that keys move
    this.chosen = { a: null, b: null };
    this.table = byId("grid");
    this.scroller = byId("scroller");
    this.above = make("tr", { role: "presentation", "aria-hidden": "true" });
    this.below = make("tr", { role: "presentation", "aria-hidden": "true" });
    this.rows = [];
    this.body = this.table.tBodies[0];
    this.body.append(this.above, this.below);
    this.heads = columns.map(column => make("th", { scope: "col", class: column.key },
      make("button", { type: "button", tabindex: "-1", title: column.says,
        onclick: () => on.sort(column.key) }, column.title)));
    this.table.tHead.append(make("tr", { "aria-rowindex": "1" }, ...this.heads));
    let waiting = false;
    this.scroller.onscroll = () => {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => { waiting = false; this.draw(); });
    };
    new ResizeObserver(() => this.draw()).observe(this.scroller);
    this.body.onclick = event => {
      const row = event.target.closest("tr");
      if (row?.at === undefined) return;
      this.active = row.at;
      (event.shiftKey ? on.compare : on.choose)(this.order[row.at]);
      this.draw();
    };
    this.table.onkeydown = event => this.key(event);
    this.table.onfocus = () => this.draw();
    this.table.onblur = () => this.table.removeAttribute("aria-activedescendant");
  }

  show(order, sort) {
    this.order = order;
    this.active = Math.max(0, order.indexOf(this.chosen.a));
    this.table.setAttribute("aria-rowcount", order.length + 1);
    this.heads.forEach((head, at) => {
      const own = this.columns[at].key === sort.key;
      if (own) head.setAttribute("aria-sort", sort.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    this.draw();
  }

  mark(chosen) {
    this.chosen = chosen;
    this.draw();
  }

  // Scroll as little as it takes to see a place of the order.
  reveal(at) {
    const head = this.table.tHead.offsetHeight, room = this.scroller.clientHeight - head;
    const top = this.scroller.scrollTop;
    if (at * ROW < top) this.scroller.scrollTop = at * ROW;
    else if ((at + 1) * ROW > top + room) this.scroller.scrollTop = (at + 1) * ROW - room;
  }

  key(event) {
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / ROW) - 2);
    const last = this.order.length - 1;
    const moves = {
      ArrowDown: this.active + 1, ArrowUp: this.active - 1, PageDown: this.active + page,
      PageUp: this.active - page, Home: 0, End: last,
    };
    if (event.target !== this.table || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in moves && last >= 0) {
      this.active = Math.min(last, Math.max(0, moves[event.key]));
      this.reveal(this.active);
      this.draw();
    } else if (last >= 0 && (event.key === "Enter" || event.key === " ")) {
      this.on.choose(this.order[this.active]);
    } else if (last >= 0 && event.key.toLowerCase() === "c") {
      this.on.compare(this.order[this.active]);
    } else return;
    event.preventDefault();
  }

  // Bring the rows that exist to where they are seen. `all`: so many from the top, for paper.
  draw(all = 0) {
    const first = all ? 0 : Math.max(0, Math.floor(this.scroller.scrollTop / ROW) - SPARE);
    const fitting = Math.ceil(this.scroller.clientHeight / ROW) + 2 * SPARE;
    const count = Math.max(0, Math.min(all || fitting, this.order.length - first));
    while (this.rows.length < count) {
      const cells = this.columns.map(column => make("td", { class: column.key, role: "gridcell" }));
      this.rows.push(make("tr", { id: `row-${this.rows.length}` }, ...cells));
    }
    const shown = this.rows.slice(0, count);
    shown.forEach((row, k) => this.fill(row, first + k));
    if (this.body.children.length !== count + 2) {
      this.body.replaceChildren(this.above, ...shown, this.below);
    }
    this.above.style.height = `${first * ROW}px`;
    this.below.style.height = all ? "0" : `${(this.order.length - first - count) * ROW}px`;
    const here = shown.find(row => row.at === this.active);
    if (here && document.activeElement === this.table) {
      this.table.setAttribute("aria-activedescendant", here.id);
    } else this.table.removeAttribute("aria-activedescendant");
  }

  fill(row, at) {
    const i = this.order[at], { a, b } = this.chosen;
    row.at = at;
    row.setAttribute("aria-rowindex", at + 2);
    row.setAttribute("aria-selected", i === a || i === b);
    row.className = `${at % 2 ? "odd" : "even"}${i === a ? " a" : i === b ? " b" : ""}${
      at === this.active ? " active" : ""}`;
    this.columns.forEach((column, k) => column.fill(row.cells[k], i));
  }
}
