// The Tour: stories in steps. Each step is an experiment of the Lab; the page measures what it says.

import { draw } from "./figure.js";

const make = (tag, fields = {}, ...children) => {
  const found = Object.assign(document.createElement(tag), fields);
  found.append(...children.filter((child) => child !== null));
  return found;
};

const button = (id, text, act, main = false) =>
  make("button", { type: "button", id: "tour-" + id, textContent: text, onclick: act, className: main ? "main" : "" });

// Text in a link, as the Lab reads it.
const written = (value) => {
  if (typeof value !== "string") return JSON.stringify(value);
  try {
    JSON.parse(value);
    return JSON.stringify(value);
  } catch {
    return value;
  }
};

const ROW = 215; // px of a row of panels

const heightOf = ({ layout }) => {
  const axes = Object.entries(layout).filter(([key]) => /^yaxis\d*$/.test(key));
  const rows = new Set(axes.map(([, axis]) => axis.domain[0].toFixed(3))).size;
  return rows * (rows === 1 ? 1.5 * ROW : ROW) + 110;
};

class TourView {
  constructor(root, app) {
    this.app = app;
    this.kept = new Map(); // what steps have shown: by story and step
    this.job = null;
    this.problem = make("p", { className: "error", role: "alert", hidden: true });
    this.stories = make("nav", { className: "stories" });
    this.stories.setAttribute("aria-label", "Stories");
    this.count = make("p", { className: "note" });
    this.title = make("h3", { tabIndex: -1, id: "tour-title" });
    this.text = make("p", { className: "story" });
    this.look = make("p", { className: "note" });
    this.previous = button("previous", "← Previous", () => this.step(-1));
    this.next = button("next", "Next →", () => this.step(1));
    this.forecast = button("forecast", "Forecast", () => this.askForecast());
    this.run = button("run", "Run this", () => this.runAll(), true);
    this.lab = button("lab", "Open in the Lab", () => this.openLab());
    this.inside = button("inside", "Look inside", () => this.app.go("inside", { run: this.now.runs[0] }));
    this.progress = make("div", { className: "bar", id: "tour-progress" });
    this.rows = make("tbody");
    this.table = make(
      "table",
      { className: "claims", id: "tour-claims" },
      make("caption", { textContent: "What this step says, and what the page measures" }),
      make("thead", {}, make("tr", {}, ...["quantity", "expected", "measured"].map((text) => make("th", { scope: "col", textContent: text })))),
      this.rows,
    );
    this.figure = make("div", { id: "tour-figure" });
    this.caption = make("figcaption");
    this.drawing = make("figure", { hidden: true }, this.figure, this.caption);
    this.empty = make("p", { className: "note", textContent: "Press Run this. The curves appear here." });
    // The process that knows the stories may still be starting.
    this.waiting = make("p", { className: "note", textContent: "The stories are being read." });
    root.replaceChildren(
      make("h2", { textContent: "Tour" }),
      this.problem,
      this.stories,
      this.waiting,
      (this.body = make(
        "div",
        { className: "beside turned", hidden: true },
        make(
          "section",
          {},
          this.count,
          this.title,
          this.text,
          make("div", { className: "bar" }, this.forecast, this.run, this.lab, this.inside),
          this.progress,
          this.look,
          this.table,
          make("div", { className: "bar" }, this.previous, this.next),
          make("p", { className: "note", textContent: "Arrow keys or Page Up and Page Down turn the pages." }),
        ),
        make("section", {}, this.empty, this.drawing),
      )),
    );
    this.keys = (event) => this.key(event);
  }

  async show(state) {
    document.addEventListener("keydown", this.keys);
    if (!this.list) {
      try {
        ({ stories: this.list } = await this.app.socket.ask("tour.list"));
      } catch (error) {
        return this.fail(error);
      }
      this.stories.replaceChildren(
        ...this.list.map((story, place) => {
          const open = button(`story-${place}`, story.title, () => this.open(place, 0, true));
          open.title = story.words;
          return open;
        }),
      );
      this.waiting.hidden = true;
      this.body.hidden = false;
    }
    const place = Math.max(0, this.list.findIndex(({ id }) => id === state.story));
    const last = this.list[place].steps.length - 1;
    const step = /^\d+$/.test(state.step ?? "") ? Math.min(last, Number(state.step) - 1) : 0;
    this.open(place, Math.max(0, step), false);
  }

  hide() {
    document.removeEventListener("keydown", this.keys);
  }

  key(event) {
    const step = { ArrowRight: 1, PageDown: 1, ArrowLeft: -1, PageUp: -1 }[event.key];
    const taken = event.target.closest?.("input, select, textarea, [role=tab], .js-plotly-plot");
    if (!step || taken || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    this.step(step);
  }

  // The page before or after, also across stories.
  step(by) {
    let { story } = this;
    let step = this.place + by;
    if (step < 0) {
      if (story === 0) return;
      story -= 1;
      step = this.list[story].steps.length - 1;
    } else if (step >= this.list[story].steps.length) {
      if (story === this.list.length - 1) return;
      story += 1;
      step = 0;
    }
    this.open(story, step, true);
  }

  open(story, step, moved) {
    if (this.story === story && this.place === step && this.now) return;
    this.job?.cancel();
    this.job = this.task = null;
    Object.assign(this, { story, place: step });
    const { id, title, words, steps } = this.list[story];
    this.page = steps[step];
    const key = `${id}/${step}`;
    if (!this.kept.has(key)) this.kept.set(key, { key, runs: [], data: null, rows: null });
    this.now = this.kept.get(key);
    this.app.keep({ story: id, step: step + 1 }, moved);
    [...this.stories.children].forEach((each, place) => {
      if (place === story) each.setAttribute("aria-current", "true");
      else each.removeAttribute("aria-current");
    });
    this.count.textContent = `${title}: ${words} Step ${step + 1} of ${steps.length}.`;
    this.title.textContent = this.page.title;
    this.text.textContent = this.page.text;
    this.look.textContent = this.page.look;
    this.previous.disabled = story === 0 && step === 0;
    this.next.disabled = story === this.list.length - 1 && step === steps.length - 1;
    this.problem.hidden = true;
    this.progress.replaceChildren();
    this.run.textContent = this.page.runs.length > 1 ? `Run these ${this.page.runs.length}` : "Run this";
    this.forecast.hidden = this.page.runs.length > 1;
    this.busy(false);
    this.showRows();
    this.present();
    if (moved) {
      this.title.focus({ preventScroll: true });
      this.app.say(`${this.page.title}. Step ${step + 1} of ${steps.length}.`);
    }
  }

  fail(error) {
    if (error.kind === "stale" || error.kind === "cancelled") return;
    this.problem.textContent = error.message;
    this.problem.hidden = false;
  }

  busy(on) {
    this.run.disabled = this.forecast.disabled = on;
    this.inside.hidden = !this.page.inside || !this.now.runs.length || on;
  }

  showRows() {
    const rows = this.now.rows ?? this.page.shows;
    this.rows.replaceChildren(
      ...rows.map(({ text, claimed, measured, holds }) => {
        const came = make("td", { textContent: measured === undefined ? "–" : measured });
        if (measured !== undefined) came.append(holds ? " ✓" : " ✗ not as expected");
        return make("tr", {}, make("th", { scope: "row", textContent: text }), make("td", { textContent: claimed }), came);
      }),
    );
  }

  present() {
    const { data } = this.now;
    this.drawing.hidden = data === null;
    this.empty.hidden = data !== null;
    if (data === null) return;
    const { title, ...layout } = data.figure[this.page.time].layout;
    const figure = { data: data.figure[this.page.time].data, layout: { ...layout, margin: { ...layout.margin, t: 52 } } };
    this.figure.style.height = heightOf(figure) + "px";
    this.caption.textContent = data.caption;
    return draw(this.figure, figure, data.caption);
  }

  openLab() {
    const { base, changes } = this.page.runs[0].experiment;
    const state = Object.fromEntries(Object.entries(changes).map(([key, value]) => [key, written(value)]));
    if (this.page.time === "linear") state.time = "linear";
    this.app.go("lab", { base, ...state });
  }

  // --- Forecasts and runs. ---

  // Begins a task of this page, which ends when the page is turned: `isOn()` is false from then on.
  begin() {
    const task = (this.task = {});
    const pressed = document.activeElement;
    this.problem.hidden = true;
    this.busy(true);
    const bar = make("progress", { max: 1 });
    bar.setAttribute("aria-label", "Progress");
    const words = make("span", { className: "note", textContent: "Starting." });
    const cancel = button("cancel", "Cancel", () => this.job?.cancel());
    this.progress.replaceChildren(bar, words, cancel);
    // The button that was pressed cannot be used meanwhile.
    this.pressed = pressed;
    cancel.focus();
    const onprogress = ({ stage, fraction, detail }) => {
      if (fraction === null || fraction === undefined) bar.removeAttribute("value");
      else bar.value = fraction;
      words.textContent = stage + (detail ? ": " + detail : "");
    };
    return { onprogress, isOn: () => this.task === task };
  }

  end() {
    this.job = this.task = null;
    const isFocused = this.progress.contains(document.activeElement);
    this.progress.replaceChildren();
    this.busy(false);
    if (isFocused) this.pressed.focus({ preventScroll: true });
  }

  async askForecast() {
    const { now, page } = this;
    const { onprogress, isOn } = this.begin();
    const show = (data) => {
      if (!data.figure) return;
      now.data = data;
      if (this.now === now) this.present();
    };
    const args = { experiment: page.runs[0].experiment, columns: 1, patient: true };
    this.job = this.app.socket.ask("lab.forecast", args, { slot: "tour", onprogress, onpart: show });
    try {
      const data = await this.job;
      show(data);
      if (isOn()) this.app.say(data.words);
    } catch (error) {
      if (isOn()) this.fail(error);
    }
    if (isOn()) this.end();
  }

  async runAll() {
    const { now, page } = this;
    const { id } = this.list[this.story];
    const step = this.place;
    const { onprogress, isOn } = this.begin();
    try {
      const runs = [];
      for (const { name, experiment } of page.runs) {
        const told = (data) => onprogress(page.runs.length > 1 ? { ...data, stage: `${name}: ${data.stage}` } : data);
        const onpart = (data) => {
          if (page.runs.length > 1) return;
          now.data = data;
          if (this.now === now) this.present();
        };
        this.job = this.app.socket.ask("lab.run", { experiment, columns: 1 }, { slot: "tour-run", onprogress: told, onpart });
        runs.push(await this.job);
        if (!isOn()) return; // the page was turned just before the answer came
      }
      now.runs = runs.map(({ run }) => run);
      now.data = runs[0];
      if (runs.length > 1) {
        const names = page.runs.map(({ name }) => name);
        this.job = this.app.socket.ask("lab.compare", { runs: now.runs, names, columns: 1 }, { slot: "tour" });
        now.data = await this.job;
      }
      if (!isOn()) return;
      this.present();
      onprogress({ stage: "measuring", fraction: null });
      this.job = this.app.socket.ask("tour.check", { story: id, step, runs: now.runs }, { slot: "tour" });
      now.rows = (await this.job).shows;
      if (!isOn()) return;
      this.showRows();
      const wrong = now.rows.filter(({ holds }) => !holds).length;
      this.app.say(wrong ? `${wrong} of ${now.rows.length} numbers are not as expected.` : "All numbers are as expected.");
    } catch (error) {
      if (isOn()) this.fail(error);
    }
    if (isOn()) this.end();
  }
}

export const start = (root, app) => {
  const view = new TourView(root, app);
  return { show: (state) => view.show(state), hide: () => view.hide() };
};
