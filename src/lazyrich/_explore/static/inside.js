// Inside: the weights of a run over time. All frames are here; moving through them asks nothing.

import { draw, followWidth } from "./figure.js";

const make = (tag, fields = {}, ...children) => {
  const found = Object.assign(document.createElement(tag), fields);
  found.append(...children.filter((child) => child !== null));
  return found;
};

const STEP = 90; // ms between frames while it plays

const SUPERSCRIPT = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };

// A time as in the captions: 2.56×10⁶.
const shown = (time) => {
  if (time === 0) return "0";
  if (Math.abs(time) >= 0.01 && Math.abs(time) < 1e5)
    return Number(time.toPrecision(4)).toLocaleString("en", { maximumSignificantDigits: 4 });
  const [digits, exponent] = time.toExponential(2).split("e");
  return digits + "×10" + [...exponent.replace("+", "")].map((sign) => SUPERSCRIPT[sign]).join("");
};

class InsideView {
  constructor(root, app) {
    this.app = app;
    this.timer = null;
    this.job = null;
    this.problem = make("p", { className: "error", role: "alert", hidden: true });
    this.pick = make("div", { className: "bar" });
    this.lead = make("p");
    this.task = make("div", { className: "bar", id: "inside-task" });
    this.play = make("button", { type: "button", textContent: "Play", id: "inside-play" });
    this.play.onclick = () => (this.timer ? this.stop() : this.run());
    this.range = make("input", { type: "range", min: 0, value: 0, step: 1, id: "inside-time" });
    this.range.setAttribute("aria-label", "Time");
    this.range.oninput = () => {
      this.stop();
      this.frame(Number(this.range.value));
    };
    this.time = make("output", { id: "inside-shown" });
    this.time.setAttribute("for", "inside-time");
    this.curves = make("div", { id: "inside-curves", className: "middle" });
    this.caption = make("figcaption");
    this.views = make("div", { className: "views", id: "inside-views" });
    this.body = make(
      "div",
      { hidden: true },
      make("div", { className: "bar sticky" }, this.play, this.range, this.time),
      make("figure", {}, this.curves, this.caption),
      this.views,
    );
    root.replaceChildren(make("h2", { textContent: "Inside" }), this.pick, this.problem, this.lead, this.task, this.body);
  }

  fail(error) {
    if (error.kind === "stale" || error.kind === "cancelled") return;
    this.problem.textContent = error.message;
    this.problem.hidden = false;
  }

  async show(state) {
    this.problem.hidden = true;
    let runs;
    try {
      ({ runs } = await this.app.socket.ask("inside.list"));
    } catch (error) {
      return this.fail(error);
    }
    let asked = this.asked(state);
    if (!asked && runs.length) asked = { run: runs[0].run };
    this.showMenu(runs, asked);
    if (!asked) return this.showNothing();
    // A view that is shown again stays as it was, and what is being recorded goes on.
    if ((this.found || this.job) && this.of === JSON.stringify(asked)) return;
    this.of = JSON.stringify(asked);
    await this.look(asked);
  }

  asked({ run, sweep, cell }) {
    if (run) return { run };
    if (cell !== undefined && /^\d+$/.test(cell)) return { ...(sweep ? { sweep } : {}), cell: Number(cell) };
    return null;
  }

  showMenu(runs, asked) {
    const options = runs.map(({ run, words }) => [JSON.stringify({ run }), words]);
    const now = JSON.stringify(asked);
    if (asked && !options.some(([value]) => value === now))
      options.unshift([now, asked.cell === undefined ? "a run of the Lab" : `run ${asked.cell} of the map`]);
    const menu = make("select", { id: "inside-run" });
    for (const [value, text] of options) menu.append(make("option", { value, textContent: text }));
    menu.value = now;
    menu.onchange = () => this.app.go("inside", JSON.parse(menu.value));
    this.pick.replaceChildren(...(options.length ? [make("span", { className: "labelled" }, make("label", { htmlFor: "inside-run", textContent: "Run" }), menu)] : []));
  }

  showNothing() {
    this.stop();
    this.body.hidden = true;
    this.task.replaceChildren();
    this.lead.replaceChildren(
      "Here are the weights of a run over time, beside the predictors that theory names. Run an experiment in the ",
      make("a", { href: "#lab", textContent: "Lab" }),
      ", or choose a run of the ",
      make("a", { href: "#map", textContent: "Map" }),
      ", and come back.",
    );
  }

  async look(asked) {
    this.stop();
    this.found = null;
    this.body.hidden = true;
    this.job?.cancel();
    this.job = null;
    this.task.replaceChildren();
    this.lead.textContent = "Reading the run.";
    const isOther = () => this.of !== JSON.stringify(asked);
    let found;
    try {
      found = await this.app.socket.ask("inside.frames", asked);
    } catch (error) {
      if (isOther() || error.kind === "stale") return;
      this.lead.textContent = "";
      return this.fail(error);
    }
    if (isOther()) return;
    if (found.views) return this.open(found);
    this.lead.textContent = `${found.name}. ${found.words}`;
    const record = make("button", { type: "button", className: "main", id: "inside-record", textContent: "Repeat and record" });
    record.onclick = () => this.record(asked);
    this.task.replaceChildren(record);
  }

  async record(asked) {
    const bar = make("progress", { max: 1 });
    bar.setAttribute("aria-label", "Progress of the run");
    const words = make("span", { textContent: "Starting." });
    const cancel = make("button", { type: "button", textContent: "Cancel" });
    this.task.replaceChildren(bar, words, cancel);
    cancel.focus();
    const onprogress = ({ stage, fraction, detail }) => {
      if (fraction === null) bar.removeAttribute("value");
      else bar.value = fraction;
      words.textContent = stage + (detail ? ", " + detail : "") + ".";
    };
    const job = this.app.socket.ask("inside.record", asked, { slot: "inside", onprogress });
    this.job = job;
    cancel.onclick = () => {
      words.textContent = "Cancelling.";
      job.cancel();
    };
    const ended = () => this.job === job && (this.job = null);
    try {
      const found = await job.finally(ended);
      // Who has gone on to another control stays there.
      if (this.of === JSON.stringify(asked)) await this.open(found, this.task.contains(document.activeElement));
    } catch (error) {
      if (this.of !== JSON.stringify(asked)) return;
      this.fail(error);
      const isFocused = this.task.contains(document.activeElement);
      await this.look(asked);
      if (isFocused) this.task.querySelector("button")?.focus();
    }
  }

  async open(found, focus = false) {
    this.found = found;
    this.problem.hidden = true;
    this.task.replaceChildren();
    this.lead.textContent = `${found.name}: ${found.says}. ${found.words}`;
    this.body.hidden = false;
    this.caption.textContent = found.curves.caption;
    this.range.max = found.times.length - 1;
    const { layout } = found.curves.figure;
    layout.shapes = layout.shapes ?? [];
    this.line = layout.shapes.length;
    layout.shapes.push({
      type: "line", xref: "x", yref: "paper", x0: 1, x1: 1, y0: 0, y1: 1, line: { color: "#303030", width: 2.5 },
    });
    const start = Math.max(0, found.times.findIndex((time) => time > 0));
    this.now = start;
    this.place(start);
    this.parts = found.views.map((view) => {
      const place = make("div", { className: "middle" });
      const section = make(
        "section",
        {},
        make("h3", { textContent: view.title }),
        make("figure", {}, place, make("figcaption", { textContent: view.words })),
      );
      section.dataset.view = view.name;
      return { view, place, section };
    });
    this.views.replaceChildren(...this.parts.map(({ section }) => section));
    await draw(this.curves, found.curves.figure, found.curves.caption);
    await Promise.all(this.parts.map(({ view, place }) => draw(place, view.figure, `${view.title}. ${view.words}`)));
    if (this.found !== found) return;
    this.frame(this.now); // the time may have been moved while they were drawn
    if (focus && document.activeElement === document.body) this.range.focus();
  }

  // The position of the line of time: zero is not on a log axis.
  at(frame) {
    const { layout } = this.found.curves.figure;
    const time = this.found.times[frame];
    const axis = layout.xaxis ?? layout.xaxis2;
    if (axis?.type === "log" && axis.range) return Math.max(time, 10 ** axis.range[0]);
    return time;
  }

  // Puts the numbers of a frame into the figures, also for the next time that they are drawn.
  place(frame) {
    const shape = this.found.curves.figure.layout.shapes[this.line];
    shape.x0 = shape.x1 = this.at(frame);
    for (const { moving, held, figure } of this.found.views)
      for (const { trace, key, values } of moving) figure.data[trace][key] = values[held ? held[frame] : frame];
  }

  frame(frame) {
    if (!this.found) return;
    this.now = frame;
    this.range.value = frame;
    const text = `t = ${shown(this.found.times[frame])}`;
    this.time.textContent = text;
    this.range.setAttribute("aria-valuetext", text);
    this.place(frame);
    if (this.waiting) return;
    // Changes within one picture of the screen are drawn once.
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.move(this.now);
    });
  }

  move(frame) {
    if (!window.Plotly || !this.found || !this.curves.layout) return;
    const at = this.at(frame);
    window.Plotly.relayout(this.curves, { [`shapes[${this.line}].x0`]: at, [`shapes[${this.line}].x1`]: at });
    for (const { view, place } of this.parts) {
      if (!place.layout) continue;
      const traces = new Map();
      for (const { trace, key, values } of view.moving) {
        const changes = traces.get(trace) ?? {};
        changes[key] = [values[view.held ? view.held[frame] : frame]];
        traces.set(trace, changes);
      }
      for (const [trace, changes] of traces) window.Plotly.restyle(place, changes, [trace]);
    }
  }

  run() {
    if (!this.found) return;
    const last = this.found.times.length - 1;
    if (this.now >= last) this.frame(0);
    this.play.textContent = "Pause";
    this.timer = setInterval(() => {
      if (this.now >= last) this.stop();
      else this.frame(this.now + 1);
    }, STEP);
  }

  stop() {
    clearInterval(this.timer);
    this.timer = null;
    this.play.textContent = "Play";
  }
}

export const start = (root, app) => {
  const view = new InsideView(root, app);
  followWidth(root);
  return { show: (state) => view.show(state), hide: () => view.stop() };
};
