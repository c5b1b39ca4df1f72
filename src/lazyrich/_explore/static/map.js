// The Map: a store's phase diagram, the curves of a cell, the full figure of a run.

import { draw, followWidth } from "./figure.js";

const make = (tag, fields = {}, ...children) => {
  const found = Object.assign(document.createElement(tag), fields);
  found.append(...children.filter((child) => child !== null));
  return found;
};

let labels = 0;

const labelled = (text, input) => {
  input.id = "map-menu-" + labels++;
  return make("span", { className: "labelled" }, make("label", { htmlFor: input.id, textContent: text }), input);
};

const menu = (options, value, act) => {
  const found = make("select", { onchange: () => act(found.value) });
  for (const [name, text] of options) found.append(make("option", { value: name, textContent: text }));
  found.value = value;
  return found;
};

// Middle of the cells between these edges, and the cell of a position.
const cellOf = (edges, at) => {
  for (let i = 0; i + 1 < edges.length; i++)
    if (at >= Math.min(edges[i], edges[i + 1]) && at <= Math.max(edges[i], edges[i + 1])) return i;
  return -1;
};

// The hatch of a sample of the key, as an image of CSS.
const striped = ({ shape, size, fgcolor }) => {
  const step = Math.round(size / 2); // px, as a sample is smaller than a cell
  const lines = (angle) => `repeating-linear-gradient(${angle}deg, ${fgcolor} 0 1px, transparent 1px ${step}px)`;
  const turns = { "/": [-45], "\\": [45], x: [-45, 45], "+": [0, 90] };
  if (shape === ".") return `radial-gradient(${fgcolor} ${step / 4}px, transparent ${step / 3.5}px) 0 0 / ${step}px ${step}px`;
  return turns[shape].map(lines).join(", ");
};

const MARKS = {
  circle: "●", "circle-open": "○", square: "■", "square-open": "□", "diamond-open": "◇", "triangle-up-open": "△",
  "triangle-down-open": "▽", "x-thin-open": "×", "cross-thin-open": "+", "line-ew-open": "–",
};

// An entry of the key: a patch for cells, otherwise a line or a mark on white, as on the map.
const entry = (trace) => {
  const sample = make("span", { className: "sample" });
  sample.setAttribute("aria-hidden", "true");
  if (trace.type === "heatmap") {
    const hatch = trace.meta?.hatch;
    sample.style.background = (hatch ? striped(hatch) + ", " : "") + trace.colorscale[1][1];
  } else {
    sample.classList.add("drawn");
    const { mode = "lines", line = {}, marker = {} } = trace;
    if (mode.includes("markers")) sample.append(MARKS[marker.symbol] ?? "●");
    const dashed = line.dash && line.dash !== "solid" ? "dashed" : "solid";
    if (mode.includes("lines")) sample.style.setProperty("--stroke", `${line.width > 1.2 ? 2 : 1}px ${dashed} #1a1a1a`);
  }
  return make("li", {}, sample, trace.name);
};

// What the figure shows, each part once.
const keyOf = ({ data }) => {
  const parts = new Map();
  for (const trace of data)
    if (trace.name && trace.showlegend !== false && !trace.colorbar) {
      const name = trace.legendgroup ?? trace.name;
      if (!parts.has(name)) parts.set(name, trace.type === "contour" ? { ...trace, name } : trace);
    }
  return [...parts.values()].map(entry);
};

const LETTER = 8; // px of a letter of a tick

// Fewer ticks where their labels would touch.
const thinned = (axis, width) => {
  if (!axis?.ticktext) return;
  const longest = Math.max(...axis.ticktext.map((text) => String(text).length));
  const every = Math.ceil((axis.ticktext.length * (longest + 2) * LETTER) / width);
  if (every < 2) return;
  axis.tickvals = axis.tickvals.filter((_, place) => place % every === 0);
  axis.ticktext = axis.ticktext.filter((_, place) => place % every === 0);
};

const counted = (counts) =>
  Object.entries(counts)
    .filter(([outcome]) => outcome !== "missing")
    .map(([outcome, number]) => `${number.toLocaleString("en")} ${outcome.replaceAll("_", " ")}`)
    .join(", ");

const WIDE = 760; // px of a figure with panels beside each other
const ROW = 220; // px of a row of panels

const heightOf = ({ layout }) => {
  const axes = Object.entries(layout).filter(([key]) => /^yaxis\d*$/.test(key));
  return new Set(axes.map(([, axis]) => axis.domain[0].toFixed(3))).size * ROW + 120;
};

class MapView {
  constructor(root, app) {
    this.app = app;
    this.known = new Map(); // answers for cells of the view that is shown
    this.cell = null;
    this.asked = null; // the last question for a cell, until it fails
    this.failed = ""; // what the error that is shown belongs to: map, cell, run or start
    this.started = null;
    this.controls = make("div", { className: "bar" });
    this.notes = make("div");
    this.problem = make("p", { className: "error", role: "alert", hidden: true });
    this.figure = make("div", { id: "map-figure" });
    this.caption = make("figcaption");
    this.legend = make("ul", { className: "key", id: "map-key" });
    this.keys = make("div", { tabIndex: 0, id: "map-cells", className: "cells" }, this.figure);
    // Otherwise screen readers keep the arrow keys for themselves.
    this.keys.setAttribute("role", "application");
    this.keys.onkeydown = (event) => this.key(event);
    this.where = make("h3", { textContent: "A cell" });
    this.cellWords = make("p", { className: "note", id: "map-cell-words" });
    this.small = make("div", { id: "map-curve", className: "small" });
    this.runs = make("ul", { className: "runs" });
    this.side = make("section", { className: "side", hidden: true }, this.where, this.cellWords, this.small, this.runs);
    this.side.setAttribute("aria-label", "The chosen cell");
    this.run = make("section", { id: "map-run", hidden: true });
    this.run.setAttribute("aria-label", "The chosen run");
    this.missing = make("div", { className: "bar", id: "map-missing" });
    this.body = make(
      "div",
      { hidden: true },
      this.controls,
      this.missing,
      make("div", { className: "beside" }, make("figure", {}, this.keys, this.legend, this.caption), this.side),
      this.run,
    );
    this.empty = make("div", { hidden: true });
    root.replaceChildren(make("h2", { textContent: "Map" }), this.problem, this.empty, this.notes, this.body);
  }

  // --- What is asked for. ---

  get view() {
    const slice = {};
    for (const [key, value] of Object.entries(this.state))
      if (key.startsWith("at.") && /^\d+$/.test(value)) slice[key.slice(3)] = Number(value);
    const { sweep, x, y, colour } = this.state;
    const asked = { slice };
    if (sweep) asked.sweep = sweep;
    if (x) asked.x = x;
    if (y) asked.y = y;
    if (colour) asked.colour = colour;
    return asked;
  }

  get columns() {
    return this.body.clientWidth >= WIDE ? 2 : 1;
  }

  set(changes) {
    this.state = { ...this.state, ...changes };
    for (const [key, value] of Object.entries(this.state)) if (value === null) delete this.state[key];
    this.app.keep(this.state);
  }

  fail(error, of) {
    if (error.kind === "stale" || error.kind === "cancelled") return;
    this.failed = of;
    this.problem.textContent = error.message;
    this.problem.hidden = false;
  }

  // Ends the error of an earlier answer of the same kind; with no kind, of any. An answer of another
  // kind, which may come late, does not wipe it away.
  passed(of = this.failed) {
    if (this.failed === of) this.problem.hidden = true;
  }

  async show(state) {
    if (this.state?.sweep !== state.sweep) this.run.hidden = true;
    this.state = { ...state };
    this.passed();
    // A store of many runs takes seconds to read.
    if (!this.open) this.notes.replaceChildren(make("p", { className: "note", textContent: "Reading the store." }));
    try {
      const sweep = this.state.sweep ? { sweep: this.state.sweep } : {};
      this.open = await this.app.socket.ask("map.open", sweep);
    } catch (error) {
      if (error.kind === "stale") return; // a newer one shows the store
      this.body.hidden = this.empty.hidden = true;
      this.notes.replaceChildren();
      return this.fail(error, "map");
    }
    if (this.open.store === null) return this.showEmpty();
    this.empty.hidden = true;
    this.body.hidden = false;
    await this.redraw();
    if (this.state.run !== undefined && /^\d+$/.test(this.state.run)) await this.showRun(Number(this.state.run));
  }

  showEmpty() {
    this.body.hidden = true;
    this.notes.replaceChildren();
    this.empty.hidden = false;
    const { command, then } = this.open;
    this.empty.replaceChildren(
      make("p", {}, "A map shows the runs of a sweep over two of its keys. The explorer was started without the store of a sweep. These commands make a small one, in about a minute, and open it:"),
      make("pre", { className: "wrapped", textContent: command + "\n" + then, tabIndex: 0 }),
      make("p", { className: "note" }, "The name of the folder follows --store. ", "Any experiment of lazyrich list, or your own TOML file, can be swept."),
    );
  }

  // --- The diagram. ---

  async redraw() {
    this.known.clear();
    const { view } = this;
    const isOther = () => JSON.stringify(view) !== JSON.stringify(this.view);
    let found;
    try {
      found = await this.app.socket.ask("map.figure", view, { slot: "map" });
    } catch (error) {
      if (isOther()) return;
      this.shown = null; // the menus are of a map that is not there
      return this.fail(error, "map");
    }
    // The menus have been changed meanwhile, and their own answer comes.
    if (isOther()) return;
    this.passed("map");
    this.found = found;
    this.showControls();
    this.showMissing();
    this.notes.replaceChildren(...found.notes.map((text) => make("p", { className: "error", textContent: text })));
    this.caption.textContent = found.caption;
    const first = found.figure.data.find((trace) => trace.type === "heatmap");
    this.edges = first ? { x: first.x, y: first.y } : null;
    this.legend.replaceChildren(...keyOf(found.figure));
    found.figure.layout.showlegend = false;
    thinned(found.figure.layout.xaxis, this.figure.clientWidth - 80);
    this.keys.setAttribute(
      "aria-label",
      `Phase diagram over ${found.label_x} and ${found.label_y}. Arrow keys choose a cell, Enter opens its run.`,
    );
    await draw(this.figure, found.figure, found.caption);
    this.listen();
    if (this.cell && this.found === found) this.select(...this.cell, false);
  }

  listen() {
    if (this.listening || !this.figure.on) return;
    this.listening = true;
    this.figure.on("plotly_hover", ({ points }) => this.over(points[0], false));
    this.figure.on("plotly_click", ({ points }) => this.over(points[0], true));
  }

  over(point, clicked) {
    if (!this.edges) return;
    let [row, column] = [cellOf(this.edges.y, point.y), cellOf(this.edges.x, point.x)];
    if (Array.isArray(point.pointNumber)) [row, column] = point.pointNumber;
    if (row < 0 || column < 0) return;
    this.choose(column, row, clicked);
  }

  key(event) {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowDown: [0, -1], ArrowUp: [0, 1] }[event.key];
    if (!this.found || (!step && event.key !== "Enter" && event.key !== " ")) return;
    if (event.target !== this.keys) return;
    event.preventDefault();
    const [column, row] = this.cell ?? [0, 0];
    if (!step) return this.choose(column, row, true);
    if (!this.cell) return this.choose(0, 0, false);
    const within = (at, size) => Math.max(0, Math.min(size - 1, at));
    this.choose(
      within(column + step[0], this.found.columns.length),
      within(row + step[1], this.found.rows.length),
      false,
    );
  }

  // Shows a cell that the user has chosen; `opened`, also its first run in full.
  choose(column, row, opened) {
    const { columns, rows } = this.found;
    if (column >= columns.length || row >= rows.length) return;
    this.passed("cell");
    const chosen = this.select(column, row, opened);
    this.app.say(this.where.textContent + ": " + this.cellWords.textContent);
    return chosen;
  }

  async select(column, row, opened) {
    const { columns, rows, words, label_x, label_y } = this.found;
    if (column >= columns.length || row >= rows.length) return;
    this.cell = [column, row];
    this.mark(column, row);
    this.side.hidden = false;
    this.where.textContent = `${label_x} = ${columns[column]}, ${label_y} = ${rows[row]}`;
    this.cellWords.textContent = words ? words[row][column] : "";
    const key = `${column},${row}`;
    let found = this.known.get(key);
    if (!found) {
      const of = this.found;
      // A cell is asked for once: a second question would end the first, which may open its run.
      if (this.asked?.key !== key || this.asked.of !== of) {
        const answer = this.app.socket.ask("map.cell", { ...this.view, column, row }, { slot: "cell" });
        this.asked = { key, of, answer };
      }
      const { answer } = this.asked;
      const isOther = () => this.cell?.[0] !== column || this.cell?.[1] !== row;
      try {
        found = await answer;
      } catch (error) {
        if (this.asked?.answer === answer) this.asked = null;
        return isOther() ? undefined : this.fail(error, "cell");
      }
      if (isOther()) return;
      // The map has been drawn again meanwhile, because runs have ended.
      if (of !== this.found) return this.select(column, row, opened);
      this.known.set(key, found);
    }
    this.passed("cell");
    this.showCell(found);
    const first = found.runs.find((run) => run.outcome !== "missing" && !run.why);
    if (opened && first) this.showRun(first.run, true);
  }

  mark(column, row) {
    if (!this.edges || !window.Plotly || !this.figure.layout) return;
    const [x, y] = [this.edges.x, this.edges.y];
    const shape = {
      type: "rect", x0: x[column], x1: x[column + 1], y0: y[row], y1: y[row + 1],
      line: { color: "#1a1a1a", width: 3 }, fillcolor: "rgba(0,0,0,0)",
    };
    // Kept in the figure as well, for the next time that it is drawn.
    this.found.figure.layout.shapes = [shape];
    window.Plotly.relayout(this.figure, { shapes: [shape] });
  }

  showCell(found) {
    this.small.hidden = found.figure === null;
    if (found.figure) draw(this.small, found.figure, "Scores over time of the runs at " + found.where);
    this.runs.replaceChildren(
      ...found.runs.map((run) => {
        if (run.outcome === "missing") return make("li", {}, `${run.label}: not run yet`);
        if (run.why) return make("li", {}, `${run.label}: ${run.why}`);
        const open = make("button", { type: "button", textContent: `${run.label}: ${run.outcome}` });
        open.onclick = () => this.showRun(run.run, true);
        if (run.colour) {
          const sample = make("span", { className: "sample drawn", textContent: MARKS[run.mark] ?? "●" });
          sample.setAttribute("aria-hidden", "true");
          sample.style.color = run.colour;
          sample.style.setProperty("--stroke", `1px solid ${run.colour}`);
          open.prepend(sample);
        }
        return make("li", {}, open);
      }),
    );
  }

  async showRun(run, move = false) {
    let found;
    const of = this.state.sweep;
    const pressed = document.activeElement;
    const args = { ...(of ? { sweep: of } : {}), run, columns: this.columns };
    try {
      found = await this.app.socket.ask("map.run", args, { slot: "run-figure" });
    } catch (error) {
      return of === this.state.sweep ? this.fail(error, "run") : undefined;
    }
    if (of !== this.state.sweep) return;
    this.set({ run });
    this.passed("run");
    const figure = make("div", { id: "map-run-figure" });
    figure.style.height = heightOf(found.figure) + "px";
    const title = found.changes.map(({ label, value }) => `${label} = ${value}`).join(", ");
    const head = make("h3", { textContent: `The run at ${title}`, tabIndex: -1 });
    const inLab = make("button", { type: "button", textContent: "Open in the Lab" });
    inLab.onclick = () => this.app.go("lab", this.labState(found.experiment));
    const inside = make("button", { type: "button", textContent: "Look inside" });
    inside.onclick = () => this.app.go("inside", { sweep: found.sweep, cell: found.run });
    this.run.replaceChildren(
      head,
      make("p", {}, make("strong", { textContent: found.outcome.replaceAll("_", " ") }), ": " + found.says + "."),
      make("p", { className: "note", textContent: `Next: ${found.advice}` + (/[.!?]$/.test(found.advice) ? "" : ".") }),
      make("div", { className: "bar" }, ...(found.experiment ? [inLab, inside] : [])),
      make("figure", {}, figure, make("figcaption", { textContent: found.caption })),
    );
    this.run.hidden = false;
    await draw(figure, found.figure, found.caption);
    // Who has gone on to another control stays there.
    if (move && [pressed, document.body].includes(document.activeElement)) {
      head.focus({ preventScroll: true });
      head.scrollIntoView({ block: "nearest" });
    }
  }

  // The state of the Lab for an experiment: a text that is no number or flag is written as it is.
  labState({ base, changes }) {
    const parsed = (text) => {
      try {
        return JSON.parse(text);
      } catch {
        return text;
      }
    };
    const written = Object.entries(changes).map(([key, value]) => {
      const plain = typeof value === "string" && parsed(value) === value;
      return [key, plain ? value : JSON.stringify(value)];
    });
    return { ...(typeof base === "string" ? { base } : base), ...Object.fromEntries(written) };
  }

  // --- Controls. ---

  showControls() {
    const { keys, colours, sweeps } = this.open;
    const { x, y } = this.found;
    // Menus in use stay: runs that end draw the map again.
    const shown = JSON.stringify([keys, colours, sweeps, this.view, x, y, this.open.sweep]);
    if (this.shown === shown) return;
    this.shown = shown;
    const again = (changes) => {
      this.cell = null;
      this.side.hidden = true;
      this.set(changes);
      this.redraw();
    };
    const onAxes = new Set(keys.filter(({ key }) => key === x || key === y).map(({ axis }) => axis));
    const without = Object.fromEntries([...onAxes].map((axis) => ["at." + axis, null]));
    const names = keys.map(({ key, label }) => [key, label]);
    for (const [key, label] of [[x, this.found.label_x], [y, this.found.label_y]])
      if (!names.some(([name]) => name === key)) names.push([key, label]);
    const swap = (axis) => (value) => {
      const other = axis === "x" ? "y" : "x";
      // The answer to the last change may not be there yet.
      const now = { x: this.state.x ?? x, y: this.state.y ?? y };
      const changes = { ...now, [axis]: value };
      if (changes[other] === value) changes[other] = now[axis];
      const { axis: mine } = keys.find(({ key }) => key === value) ?? {};
      again({ ...without, ...changes, ["at." + mine]: null, run: this.state.run ?? null });
    };
    const parts = [];
    if (sweeps.length > 1) {
      const pick = (value) => this.app.go("map", { sweep: value });
      parts.push(labelled("Sweep", menu(sweeps.map(({ name, title }) => [name, title]), this.open.sweep, pick)));
    }
    parts.push(labelled("Across", menu(names, x, swap("x"))), labelled("Up", menu(names, y, swap("y"))));
    const colour = (value) => {
      this.set({ colour: value });
      this.redraw();
    };
    parts.push(labelled("Colour", menu(colours.map(({ name, label }) => [name, label]), this.state.colour ?? "outcome", colour)));
    for (const axis of new Set(keys.map((key) => key.axis))) {
      if (onAxes.has(axis)) continue;
      const own = keys.filter((key) => key.axis === axis);
      const options = [["", "all"]];
      own[0].values.forEach((_, place) => options.push([String(place), own.map((key) => key.values[place]).join(", ")]));
      const set = (value) => again({ ["at." + axis]: value === "" ? null : value });
      parts.push(labelled(own.map((key) => key.label).join(", "), menu(options, this.state["at." + axis] ?? "", set)));
    }
    const focused = this.controls.contains(document.activeElement)
      ? [...this.controls.querySelectorAll("select")].indexOf(document.activeElement)
      : -1;
    this.controls.replaceChildren(...parts);
    // The menu that was changed keeps the focus.
    if (focused >= 0) this.controls.querySelectorAll("select")[focused]?.focus();
  }

  // --- Missing runs. ---

  showMissing() {
    if (this.started) return;
    const { missing, runs, counts, why_not, can_start } = this.open;
    const parts = [];
    const done = runs - missing;
    if (done) parts.push(make("span", { textContent: `${done.toLocaleString("en")} runs: ${counted(counts)}.` }));
    if (missing) {
      const words = `${missing.toLocaleString("en")} of ${runs.toLocaleString("en")} runs are missing. `;
      parts.push(make("span", { textContent: words + (why_not ?? "") }));
      if (can_start) {
        const start = make("button", { type: "button", className: "main", textContent: "Start the missing runs" });
        start.onclick = () => this.start();
        parts.push(start);
      }
    }
    this.missing.replaceChildren(...parts);
  }

  async start() {
    const bar = make("progress", { max: 1, value: 0 });
    bar.setAttribute("aria-label", "Runs that are done");
    const words = make("span", { textContent: "Starting." });
    const cancel = make("button", { type: "button", textContent: "Cancel" });
    this.missing.replaceChildren(bar, words, cancel);
    this.passed();
    cancel.focus();
    let last = -1;
    const onprogress = ({ fraction, detail, stage, done }) => {
      bar.value = fraction;
      words.textContent = detail || stage + ".";
      if (done > last && last >= 0) this.redraw();
      last = Math.max(last, done);
    };
    const sweep = this.open.sweep;
    const job = this.app.socket.ask("map.start", { sweep }, { slot: "missing", onprogress });
    cancel.onclick = () => {
      words.textContent = "Cancelling. Finished batches are kept.";
      job.cancel();
    };
    this.started = job;
    let said = "All runs are done.";
    try {
      await job;
    } catch (error) {
      said = error.kind === "cancelled" ? "Cancelled. Finished batches are kept." : "";
      this.fail(error, "start");
    }
    this.started = null;
    try {
      // Another sweep may have been chosen meanwhile.
      const now = this.state.sweep ? { sweep: this.state.sweep } : {};
      this.open = await this.app.socket.ask("map.open", now, { slot: "map.counts" });
      await this.redraw();
    } catch (error) {
      this.fail(error, "map");
    }
    // The button that had the focus is gone.
    if (document.activeElement === document.body) (this.missing.querySelector("button") ?? this.keys).focus();
    this.app.say(said, true);
  }
}

export const start = (root, app) => {
  const view = new MapView(root, app);
  followWidth(root);
  return { show: (state) => view.show(state) };
};
