// The Lab: controls of an experiment, its forecast while they move, its run over the forecast.

import { Controls, make, short } from "./controls.js";
import { draw } from "./figure.js";
import { experimentOf, keepRunning, keepRuns, keptRuns, stateOf, takeRunning } from "./kept.js";

const DEFAULT = "lyu2024/1a";
const MOST_RUNS = 7; // that have colours of their own
const DESCRIBE_AFTER = 250; // ms after the last change: texts for saving follow later than curves
const PREPARE_AFTER = 600; // ms without a change
const SAY_AFTER = 400; // ms until a forecast that takes longer says so
const WIDE = 760; // px of a figure with panels beside each other
const MOST_FILE = 2 ** 18; // bytes of a TOML file that the server reads
const MOST_LISTED = 100; // runs
const MOST_NAME = 80; // letters of a name that are shown
const ONE_STEP = 2000; // ms between changes of one control that are one step for the browser's Back

const words = (text) => (text ?? "–").replaceAll("_", " ");
const stopped = (text) => text + (/[.!?]$/.test(text) ? "" : ".");
const sentence = (text) => text.charAt(0).toUpperCase() + stopped(text.slice(1));
const told = (outcome) => `The outcome of the run is “${words(outcome)}”.`;
const number = (value) => (typeof value === "number" ? Number(value.toPrecision(4)).toLocaleString("en") : "–");

const cut = (text) => (text.length > MOST_NAME ? text.slice(0, MOST_NAME - 1) + "…" : text);
// Replaces what is in an element; what has the focus and comes again keeps it.
const replace = (place, children) => {
  const focused = place.contains(document.activeElement) ? document.activeElement.id : "";
  place.replaceChildren(...children);
  if (focused) document.getElementById(focused)?.focus();
};
const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

// --- The view. ---

class Lab {
  #app;
  #parts;
  #controls;
  #experiment = null; // what the controls say: base and changes
  #described = null; // what the server last said of it
  #of = null; // the experiment that it was said of
  #locked = ""; // why the controls cannot be used: a description of another experiment is awaited
  #refused = ""; // why the experiment cannot be used
  #staysWith = null; // the experiment beside which the error of an action was shown
  #opened = 0; // how many experiments have been begun
  #compared = 0; // how many comparisons have been asked for
  #says = { lock: "", forecast: "", values: "" }; // what is waited for, the first of them is shown
  #focused = null; // the control that was in use when they were locked
  #changed = { key: "", at: 0 }; // the last change of a control
  #time = "log";
  #forecast = null; // the last answer
  #asking = 0; // forecasts that have been asked for, whose answer has not come
  #running = null; // the run in progress: its answer, and the identifier once it is known
  #runs = new Map(); // finished runs: identifier to answer, with name and experiment
  #pinned = new Set();
  #shown = null; // what the figure shows: kind, data, run, and the experiment it belongs to
  #drawing = null;
  #later = null; // the next figure while one is drawn
  #timers = {};
  #prepared = ""; // the sizes for which runs are compiled
  #preparing = false;
  #turn = 0;

  constructor(root, app) {
    this.#app = app;
    this.#parts = build(root);
    const { main, more } = this.#parts;
    const change = (field, value, part) => (part ? this.#choose(field, value) : this.#change(field, value));
    this.#controls = new Controls(main, more, change, () => this.#gate());
    this.#listen();
  }

  async begin() {
    const { experiments, source } = await this.#app.socket.ask("lab.list");
    const { base } = this.#parts;
    this.source = source?.endsWith(".toml") ? "file" : null;
    if (this.source) base.append(make("option", { value: "file", textContent: source.split("/").pop() }));
    const groups = new Map();
    for (const { name, words: text } of experiments) {
      const [study] = name.split("/");
      if (!groups.has(study)) groups.set(study, make("optgroup", { label: study }));
      groups.get(study).append(make("option", { value: name, textContent: `${name}: ${text}` }));
    }
    base.append(...groups.values());
    const offer = (ended) =>
      ended && !this.#running && this.#offer(ended, "was going on when this page was loaded again, which has cancelled it");
    takeRunning().then(offer, () => {});
    this.#restore().catch(() => {});
  }

  // Says that a run has ended before its time, and offers it again. Runs end with the page that
  // asked for them: nobody would look at them, and they keep the next one waiting.
  #offer({ name, experiment, isControl }, why) {
    const { again, againWords, againRun } = this.#parts;
    againWords.textContent = `${isControl ? "The null control of" : "The run of"} ${name} ${why}.`;
    again.hidden = false;
    againRun.onclick = async () => {
      again.hidden = true;
      this.#parts.run.focus(); // the button that had the focus is gone
      if (!same(experiment, this.#experiment)) await this.#open(experiment, false, true);
      if (!same(experiment, this.#experiment) || this.#parts.run.disabled) return;
      await (isControl ? this.#pressControl() : this.#pressRun());
    };
  }

  // Lists the runs of this tab before it was loaded again, if the server still has them.
  async #restore() {
    const kept = keptRuns();
    if (!kept.length) return;
    const { runs } = await this.#app.socket.ask("lab.finished", { runs: kept.map(({ run }) => run) });
    for (const { pinned, ...run } of kept) {
      if (!runs[run.run] || this.#runs.has(run.run)) continue;
      this.#runs.set(run.run, { ...runs[run.run], ...run });
      if (pinned) this.#pinned.add(run.run);
    }
    this.#listRuns();
    const done = this.#runs.get(this.#described?.run);
    if (done && this.#of === this.#experiment && [undefined, "forecast"].includes(this.#shown?.kind)) this.#showRun(done);
  }

  // Shows what a fragment says.
  async show(state) {
    const time = state.time === "linear" ? "linear" : "log";
    if (this.#time !== time) this.#setTime(time, false);
    if (["base", "toml", "text"].every((key) => state[key] === undefined)) {
      if (this.#experiment === null) await this.#open({ base: this.source ?? DEFAULT, changes: {} }, true);
      else this.#keep();
      return;
    }
    const experiment = experimentOf(state);
    if (experiment === null) {
      this.#showBase();
      this.#gate();
      return this.#fail("The TOML file of this address is not in this tab any more: choose it again.", true);
    }
    if (this.#experiment === null || !same(experiment, this.#experiment)) await this.#open(experiment, false);
  }

  // --- Which experiment. ---

  // Begins another experiment; `fresh`, whether with the first of its presets. Until the server has
  // described it the controls are locked, because they are still those of the one before. What is
  // refused replaces nothing. `isStep`, whether the browser's Back undoes it.
  async #open(experiment, fresh, isStep = false) {
    const turn = ++this.#turn;
    clearTimeout(this.#timers.describe);
    this.#fail("");
    this.#lock("Reading the experiment.");
    try {
      let described = await this.#app.socket.ask("lab.describe", { experiment });
      const { changes } = described.presets[0];
      if (fresh && Object.keys(changes).length) {
        experiment = { base: experiment.base, changes: { ...changes } };
        if (turn === this.#turn) described = await this.#app.socket.ask("lab.describe", { experiment });
      }
      if (turn !== this.#turn) return;
      this.#experiment = experiment;
      this.#opened += 1;
      this.#refused = "";
      this.#take(described, true);
      this.#clear();
      this.#lock("");
      this.#keep(isStep);
      const done = this.#runs.get(described.run);
      if (done) this.#showRun(done);
      this.#askForecast();
    } catch (error) {
      if (turn !== this.#turn) return;
      this.#lock("");
      this.#showBase();
      if (this.#experiment) {
        this.#controls.update(this.#described.fields, this.#of === this.#experiment);
        if (this.#of !== this.#experiment) this.#describe();
      }
      this.#failed(error, this.#experiment);
    }
  }

  // A kind, with the values that choosing it means for what the controls show.
  async #choose({ key }, value) {
    const turn = ++this.#turn;
    this.#lock("Reading the values of the new kind.");
    if (this.#of !== this.#experiment) await this.#describe();
    if (turn !== this.#turn) return;
    const choice = this.#described.fields.find((field) => field.key === key)?.choices.find((one) => one.value === value);
    const prefixes = Object.keys(choice?.changes ?? {});
    // A new kind begins with its own values: changes of the old kind are gone.
    const kept = Object.entries(this.#experiment.changes).filter(([k]) => !prefixes.some((p) => k === p || k.startsWith(p + ".")));
    const changes = { ...Object.fromEntries(kept), ...choice?.changes };
    await this.#open({ base: this.#experiment.base, changes }, false, true);
  }

  #change(field, value) {
    if (this.#locked) return; // an event that was under way
    const { base, changes } = this.#experiment;
    this.#experiment = { base, changes: { ...changes, [field.key]: value } };
    this.#turn += 1;
    const now = Date.now();
    this.#keep(field.key !== this.#changed.key || now - this.#changed.at > ONE_STEP);
    this.#changed = { key: field.key, at: now };
    this.#askForecast();
    clearTimeout(this.#timers.describe);
    this.#timers.describe = setTimeout(() => this.#describe(), field.type === "choice" ? 0 : DESCRIBE_AFTER);
  }

  // Locks the controls, and says why; with an empty text, unlocks them.
  #lock(why) {
    const { fields } = this.#parts;
    if (why && !this.#locked) this.#focused = document.activeElement?.id;
    this.#locked = why;
    fields.disabled = Boolean(why);
    fields.setAttribute("aria-busy", Boolean(why));
    clearTimeout(this.#timers.lock);
    if (why) this.#timers.lock = setTimeout(() => this.#busy("lock", why), SAY_AFTER);
    else this.#busy("lock", "");
    this.#gate();
    if (!why && document.activeElement === document.body) document.getElementById(this.#focused)?.focus();
  }

  // Whether runs can be started, and why not.
  #gate() {
    const { run, control, forecast, runNote } = this.#parts;
    const why = this.#controls.problem || this.#refused;
    const off = Boolean(this.#locked || why || !this.#described || this.#described.size.error);
    run.disabled = forecast.disabled = off;
    control.disabled = off || !this.#described.null_control.possible;
    runNote.textContent = why ? `Run is off: ${why}` : "";
    runNote.hidden = !why;
  }

  #keep(isStep = false) {
    this.#app.keep(stateOf(this.#experiment, this.#time), isStep);
    this.#showBase();
    this.#parts.link.href = location.href;
  }

  #showBase() {
    const { base } = this.#parts;
    if (this.#experiment === null) {
      base.selectedIndex = -1; // so that every choice is a change
      return;
    }
    const name = typeof this.#experiment.base === "string" ? this.#experiment.base : "text";
    if (name === "text" && !base.querySelector('option[value="text"]'))
      base.prepend(make("option", { value: "text", textContent: "TOML file of yours" }));
    base.value = name;
  }

  // Asks for controls and texts of changed values.
  async #describe() {
    clearTimeout(this.#timers.describe);
    const experiment = this.#experiment;
    try {
      const described = await this.#app.socket.ask("lab.describe", { experiment });
      if (experiment !== this.#experiment) return;
      if (this.#refused) this.#passed();
      this.#refused = "";
      this.#take(described, false);
      this.#gate();
    } catch (error) {
      if (experiment !== this.#experiment) return;
      if (error.kind === "failed") this.#refused = error.message;
      this.#gate();
      this.#failed(error, experiment, false);
    }
  }

  // What the server says of the experiment; `all`, whether also of the control in use.
  #take(described, all) {
    this.#described = described;
    this.#of = this.#experiment;
    this.#showDescribed(all);
  }

  #showDescribed(all) {
    const { fields, presets, size, command, toml, python, null_control: control, name } = this.#described;
    const parts = this.#parts;
    this.#controls.update(fields, all);
    replace(
      parts.presets,
      (presets.length < 2 ? [] : presets).map((preset) => {
        const button = make("button", { type: "button", id: "lab-size-" + preset.name, textContent: preset.name, title: preset.words });
        const on = Object.entries(preset.changes).every(([key, value]) => same(this.#experiment.changes[key], value));
        const isBase = Object.keys(preset.changes).length === 0 && Object.keys(this.#experiment.changes).length > 0;
        button.setAttribute("aria-pressed", on && !isBase);
        button.onclick = () => this.#open({ base: this.#experiment.base, changes: { ...preset.changes } }, false, true);
        return button;
      }),
    );
    parts.size.textContent = size.error || size.words;
    parts.size.hidden = !parts.size.textContent;
    parts.command.textContent = command;
    parts.commandNote.hidden = typeof this.#experiment.base === "string";
    parts.toml.textContent = toml;
    parts.python.textContent = python;
    parts.controlNote.textContent = control.why;
    parts.title.textContent = cut(name);
    parts.title.title = name;
  }

  // --- Errors. ---

  // `experiment`, what the question was about; `stays`, whether the error is of an action (a file,
  // a save, a run) and not of the values.
  #failed(error, experiment, stays = true) {
    if (error.kind === "stale" || error.kind === "cancelled") return;
    if (error.kind === undefined) throw error;
    // An error of values that are not in the controls any more is beside none of them.
    const isNow = experiment === this.#experiment;
    if (isNow && this.#controls.fail(error.message)) this.#staysWith = stays ? experiment : null;
    else this.#fail(isNow ? error.message : `${this.#nameOf(experiment)}: ${error.message}`, stays);
    if (stays) return;
    this.#parts.figure.classList.toggle("old", this.#isEarlier());
    this.#busy("values", this.#isEarlier() ? "Text, figure and table below are of the last values that could be used." : "");
  }

  // Whether what is shown belongs to other values than those of the controls.
  #isEarlier() {
    return this.#shown !== null && this.#shown.experiment !== this.#experiment;
  }

  // Shows nothing, where what was shown belongs to another experiment.
  #clear() {
    const { figure, caption } = this.#parts;
    this.#shown = this.#later = this.#forecast = null;
    this.#words("", "");
    this.#facts(null, null);
    this.#advise("", []);
    caption.textContent = "";
    figure.classList.add("empty");
    figure.classList.remove("old");
    this.#busy("forecast", "");
    this.#busy("values", "");
    for (const key of ["shows", "drawn", "run"]) delete figure.dataset[key];
    this.#parts.insideRow.hidden = true;
    const { pin, saves } = this.#parts;
    for (const button of [pin, saves.record, saves.report]) button.disabled = true;
    for (const button of [saves.pdf, saves.png]) button.disabled = false;
  }

  // The error of an action stays beside the values it came with: a forecast that is still being
  // computed for them does not wipe it away. The next action and other values do.
  #fail(text, stays = false) {
    const { error, figure } = this.#parts;
    this.#staysWith = stays ? this.#experiment : null;
    error.textContent = text;
    error.hidden = !text;
    if (text) return;
    this.#controls.clear();
    if (!this.#isEarlier()) figure.classList.remove("old");
  }

  // The values are good.
  #passed() {
    if (this.#staysWith === null || this.#staysWith !== this.#experiment) this.#fail("");
  }

  #busy(what, text) {
    this.#says[what] = text;
    const { lock, forecast, values } = this.#says;
    const line = lock || forecast || values;
    if (this.#parts.busy.textContent !== line) this.#parts.busy.textContent = line;
  }

  // --- The forecast. ---

  async #askForecast(patient = false) {
    const experiment = this.#experiment;
    const [opened, compared] = [this.#opened, this.#compared];
    clearTimeout(this.#timers.prepare);
    clearTimeout(this.#timers.say);
    this.#timers.say = setTimeout(() => {
      const earlier = this.#isEarlier() ? " Until then, text, figure and table below are of the earlier values." : "";
      this.#busy("forecast", `Computing the forecast. New sizes are compiled first, which takes some seconds.${earlier}`);
      this.#parts.figure.classList.toggle("old", Boolean(earlier));
    }, SAY_AFTER);
    this.#parts.forecast.hidden = true;
    this.#parts.results.setAttribute("aria-busy", "true");
    const args = { experiment, columns: this.#columns(), patient };
    // While a slider moves, an answer for a value just passed is better than none.
    const take = (data) => opened === this.#opened && this.#takeForecast({ ...data, columns: args.columns }, experiment, compared);
    this.#asking += 1;
    const answer = this.#app.socket.ask("lab.forecast", args, { onpart: take });
    try {
      take(await answer.finally(() => (this.#asking -= 1)));
    } catch (error) {
      if (experiment === this.#experiment && error.kind !== "stale") {
        clearTimeout(this.#timers.say);
        this.#parts.results.setAttribute("aria-busy", "false");
        this.#busy("forecast", "");
        this.#failed(error, experiment, false);
      }
      return;
    }
    if (experiment !== this.#experiment) return;
    clearTimeout(this.#timers.say);
    this.#parts.results.setAttribute("aria-busy", "false");
    this.#busy("forecast", "");
    this.#busy("values", "");
    this.#timers.prepare = setTimeout(() => this.#prepare(), PREPARE_AFTER);
  }

  #takeForecast(data, experiment, compared) {
    const isNewest = experiment === this.#experiment;
    if (isNewest) this.#passed();
    const done = isNewest ? this.#runs.get(data.run) : null;
    if (data.waits) {
      if (!isNewest) return;
      this.#parts.forecast.hidden = false;
      if (done) return this.#showRun(done, compared);
      this.#clear();
      this.#words(data.waits + ".", "");
      return;
    }
    this.#forecast = data;
    if (done) this.#showRun(done, compared);
    else if (isNewest && this.#running?.run === data.run && this.#running.data) this.#showPart(this.#running.data);
    else this.#present({ kind: "forecast", data, experiment }, data.words, data.stage);
    if (done) return;
    this.#facts(data, null);
    this.#advise(data.advice, data.reasons);
  }

  // Compiles the run while nothing else happens, so that its curves begin at once.
  #prepare() {
    const described = this.#described;
    if (this.#running || this.#preparing || !described || described.size.slow) return;
    const sizes = described.fields.filter((f) => f.type !== "number" && !["seed", "name"].includes(f.key));
    const shape = JSON.stringify(sizes.map((f) => [f.key, f.value]));
    if (shape === this.#prepared) return;
    this.#prepared = shape;
    this.#preparing = true;
    // A run that is asked for meanwhile waits, because it needs the same code.
    const asked = this.#app.socket.ask("lab.prepare", { experiment: this.#experiment });
    const ended = () => (this.#preparing = false);
    asked.then(ended, ended);
  }

  // --- Runs. ---

  // Runs an experiment. `shows`, what the controls say meanwhile: its curves are drawn while they do.
  async #run(experiment, shows = experiment, isControl = false) {
    const { progress, progressWords } = this.#parts;
    const name = this.#nameOf(experiment);
    const asked = { name: this.#nameOf(shows), experiment: shows, isControl };
    this.#parts.again.hidden = true;
    keepRunning(asked);
    const isShown = () => same(shows, this.#experiment);
    const say = (text) => (progressWords.textContent = isShown() ? text : `${name}: ${text}`);
    const columns = this.#columns();
    const answer = this.#app.socket.ask(
      "lab.run",
      { experiment, columns },
      {
        slot: "lab.run",
        onprogress: ({ stage, fraction, detail }) => {
          if (fraction === null) progress.removeAttribute("value");
          else progress.value = fraction;
          say(`${stage}${detail ? ": " + detail : ""}`);
        },
        onwaiting: () => say("waiting until the run is compiled"),
        onpart: (data) => {
          if (this.#running?.answer !== answer) return;
          Object.assign(this.#running, { data: { ...data, columns }, run: data.run });
          if (isShown()) this.#showPart(this.#running.data);
        },
      },
    );
    this.#running = { answer, data: null, run: null };
    this.#parts.runBar.hidden = false;
    this.#parts.cancel.disabled = false;
    progress.removeAttribute("value");
    say("waiting");
    try {
      const run = { ...(await answer), name, experiment, columns };
      // Figures of other runs are asked for again when they are shown.
      for (const other of this.#runs.values()) delete other.figure;
      this.#runs.delete(run.run);
      this.#runs.set(run.run, run);
      for (const other of [...this.#runs.keys()].slice(0, -MOST_LISTED)) this.#forget(other);
      return run;
    } catch (error) {
      if (error.kind === "lost") this.#offer(asked, "was cancelled, because the connection to the server was lost");
      throw error;
    } finally {
      if (this.#running?.answer === answer) {
        keepRunning(null);
        this.#running = null;
        // The button that has the focus goes.
        if (this.#parts.runBar.contains(document.activeElement)) this.#parts.run.focus();
        this.#parts.runBar.hidden = true;
      }
    }
  }

  #forget(run) {
    this.#runs.delete(run);
    this.#pinned.delete(run);
  }

  async #pressRun() {
    const experiment = this.#experiment;
    this.#fail("");
    try {
      const run = await this.#run(experiment);
      if (same(experiment, this.#experiment)) this.#showRun(run);
      this.#app.say(`The run has ended: ${words(run.outcome)}.`, true);
      this.#listRuns();
    } catch (error) {
      this.#ended(error, experiment);
    }
  }

  // A run that has no end of its own: the forecast is shown again.
  #ended(error, experiment) {
    if (error.kind !== "cancelled" && error.kind !== "stale") return this.#failed(error, experiment);
    if (this.#running) return; // a newer run has taken its place
    this.#app.say("The run was cancelled.", true);
    if (this.#forecast && experiment === this.#experiment)
      this.#present({ kind: "forecast", data: this.#forecast, experiment }, this.#forecast.words, "");
  }

  async #pressControl() {
    const experiment = this.#experiment;
    const { changes } = this.#described.null_control;
    const control = { base: experiment.base, changes: { ...experiment.changes, ...changes } };
    this.#fail("");
    try {
      const known = [...this.#runs.values()].find((run) => same(run.experiment, experiment));
      const run = known ?? (await this.#run(experiment, experiment, true));
      const other = await this.#run(control, experiment, true);
      for (const each of [run, other]) this.#pinned.add(each.run);
      this.#listRuns();
      if (experiment !== this.#experiment) return this.#app.say("The null control has ended: both runs are in the list.", true);
      const names = ["true labels", "random labels"];
      await this.#compare([run, other], names, `Null control: ${this.#toldApart(run, other)}`);
    } catch (error) {
      this.#ended(error, experiment);
    }
  }

  #toldApart(run, control) {
    const text = `the outcome is “${words(run.outcome)}”, with random labels “${words(control.outcome)}”.`;
    const learned = ["grokked", "immediate", "gradual"];
    if (learned.includes(run.outcome) && !learned.includes(control.outcome))
      return `${text} So the change of the test score is learned from the labels.`;
    if (learned.includes(control.outcome)) return `${text} So the score does not show that anything was learned.`;
    return text;
  }

  // A short name: what differs from the panel.
  #nameOf({ base, changes }) {
    const name = typeof base === "string" ? base : "TOML file";
    const symbols = { init_scale: "α", weight_decay: "λ", "task.n": "P", "task.d": "d", "model.depth": "L" };
    const given = Object.entries(changes).filter(([key]) => key !== "task.num_test");
    const parts = given.map(([key, value]) => {
      if (value === true) return key.split(".").pop().replaceAll("_", " ");
      const text = cut(value?.kind ?? (typeof value === "number" ? short(value) : String(value)));
      return `${symbols[key] ?? key.split(".").pop()} = ${text}`;
    });
    return [name, ...parts].join(", ");
  }

  #showPart(data) {
    this.#present({ kind: "run", data, run: null, experiment: this.#experiment }, "The run goes on.", "");
  }

  // Shows a finished run, unless a comparison has been asked for after the `compared` so far.
  async #showRun(run, compared = this.#compared) {
    const experiment = this.#experiment;
    if (!run.figure) {
      try {
        const args = { runs: [run.run], columns: this.#columns() };
        const data = await this.#app.socket.ask("lab.compare", args, { slot: "lab.show" });
        Object.assign(run, data, { columns: args.columns });
      } catch (error) {
        if (error.kind === "failed") this.#forget(run.run);
        this.#listRuns();
        return this.#failed(error, experiment);
      }
    }
    if (experiment !== this.#experiment || compared !== this.#compared) return;
    const { outcome, says, advice, warnings, seconds, solver } = run;
    const cost = `${solver?.num_steps ?? "–"} steps; ${number(seconds)} s on the clock, with compilation`;
    this.#present({ kind: "run", data: run, run, experiment }, `${told(outcome)} ${sentence(says)}`, cost);
    this.#facts(this.#forecast?.run === run.run ? this.#forecast : null, run);
    this.#advise(advice, warnings);
  }

  #listRuns() {
    const { runs, compare, runsBox } = this.#parts;
    runsBox.hidden = this.#runs.size === 0;
    replace(
      runs,
      [...this.#runs.values()].map((run) => {
        const id = "pin-" + run.run.slice(0, 8);
        const box = make("input", { type: "checkbox", id, checked: this.#pinned.has(run.run) });
        box.onchange = () => {
          if (box.checked) this.#pinned.add(run.run);
          else this.#pinned.delete(run.run);
          this.#countPinned();
        };
        const show = make("button", { type: "button", id: "show-" + id, textContent: "Show", "aria-label": "Show " + run.name });
        show.onclick = () => this.#open(run.experiment, false, true);
        const label = make("label", { for: id }, `${run.name}: ${words(run.outcome)}${run.t50 ? `, half of the change first reached at t = ${number(run.t50)}` : ""}`);
        return make("li", {}, box, label, show);
      }),
    );
    this.#countPinned();
    compare.hidden = false;
  }

  #countPinned() {
    keepRuns([...this.#runs.values()].map(({ run, name, experiment }) => ({ run, name, experiment, pinned: this.#pinned.has(run) })));
    const { compare } = this.#parts;
    const num = this.#pinned.size;
    compare.disabled = num < 2 || num > MOST_RUNS;
    compare.textContent = num < 2 ? "Compare (pin two runs)" : `Compare ${num} runs`;
    if (num > MOST_RUNS) compare.textContent = `Compare (at most ${MOST_RUNS})`;
  }

  async #pressPin() {
    const shown = this.#shown;
    if (!shown?.run) return;
    this.#pinned.add(shown.run.run);
    this.#listRuns();
    this.#app.say("The run is pinned.");
  }

  async #pressCompare() {
    const experiment = this.#experiment;
    const runs = [...this.#pinned].map((run) => this.#runs.get(run));
    const texts = runs.map((run) => `${run.name}: ${words(run.outcome)}`);
    try {
      await this.#compare(runs, shorter(runs.map((run) => run.name)), texts.join("; ") + ".");
    } catch (error) {
      this.#failed(error, experiment);
    }
  }

  // Shows runs over each other, unless something else has been opened before the answer.
  async #compare(runs, names, text) {
    const experiment = this.#experiment;
    const compared = ++this.#compared;
    const args = { runs: runs.map((run) => run.run), names, columns: this.#columns() };
    const data = { ...(await this.#app.socket.ask("lab.compare", args)), columns: args.columns };
    if (experiment !== this.#experiment || compared !== this.#compared) return;
    this.#present({ kind: "compare", data, run: null, runs: args.runs, names, experiment }, text, "");
    this.#facts(null, null);
    this.#advise("", []);
    this.#app.say(text);
  }

  // --- What is shown. ---

  #present(shown, text, note) {
    const runs = shown.runs ?? (shown.run ? [shown.run.run] : []);
    this.#shown = { names: [], ...shown, runs, columns: shown.data.columns };
    this.#words(text, note);
    const { pin, saves, figure } = this.#parts;
    pin.disabled = !shown.run;
    this.#parts.insideRow.hidden = !shown.run?.has_inside;
    for (const button of [saves.record, saves.report]) button.disabled = !shown.run;
    // A forecast that needs pilots has no figure.
    const isEmpty = !shown.data.figure;
    for (const button of [saves.pdf, saves.png]) button.disabled = isEmpty;
    figure.classList.toggle("empty", isEmpty);
    if (!this.#isEarlier()) figure.classList.remove("old");
    figure.dataset.shows = shown.kind;
    this.#draw();
    // The width may have changed since the figure was asked for.
    this.#resized().catch(() => {});
  }

  #words(text, note) {
    this.#parts.words.textContent = text;
    this.#parts.note.textContent = note;
    this.#parts.note.hidden = !note;
  }

  async #draw() {
    if (!this.#shown) return;
    if (this.#drawing) {
      this.#later = this.#shown;
      return;
    }
    const { figure, caption } = this.#parts;
    const { data } = this.#shown;
    if (!data.figure) {
      caption.textContent = "";
      for (const key of ["drawn", "run"]) delete figure.dataset[key];
      return;
    }
    const chosen = untitled(data.figure[this.#time]);
    caption.textContent = data.caption;
    this.#drawing = draw(figure, chosen, data.caption);
    try {
      await this.#drawing;
    } finally {
      this.#drawing = null;
    }
    if (!this.#shown) return;
    figure.dataset.drawn = String(Number(figure.dataset.drawn ?? 0) + 1);
    figure.dataset.run = data.run ?? "";
    if (this.#later) {
      this.#later = null;
      await this.#draw();
    }
  }

  // Asks for the figure in other columns, where the width has changed.
  async #resized() {
    const columns = this.#columns();
    if (!this.#shown || this.#shown.columns === columns) return;
    const { kind, runs, names } = this.#shown;
    if (kind === "forecast") {
      // The answer that is awaited comes here again.
      if (this.#asking === 0) this.#askForecast(true);
      return;
    }
    if (!runs.length) return;
    const shown = this.#shown;
    const data = await this.#app.socket.ask("lab.compare", { runs, names, columns }, { slot: "lab.columns" });
    if (shown === this.#shown) {
      Object.assign(shown, { data: { ...shown.data, ...data }, columns });
      this.#draw();
    }
  }

  #columns() {
    return this.#parts.figure.clientWidth >= WIDE ? 2 : 1;
  }

  #facts(forecast, run) {
    const rows = [
      ["verdict, outcome", words(forecast?.verdict), words(run?.outcome)],
      ["confidence", words(forecast?.confidence), ""],
      ["half of the change first reached, t50", forecast ? within(forecast) : "–", number(run?.t50)],
      ["half of the change kept from then on", "", number(run?.t_change)],
      ["end of the kernel phase", number(forecast?.t_kernel_end), ""],
      ["textbook, (1/λ) log α", number(forecast?.textbook), ""],
    ];
    this.#parts.facts.hidden = !forecast && !run;
    this.#parts.factRows.replaceChildren(
      ...rows.map(([name, said, came]) =>
        make("tr", {}, make("th", { scope: "row", textContent: name }), make("td", { textContent: said }),
          make("td", { textContent: came })),
      ),
    );
  }

  #advise(advice, reasons) {
    const { advice: line, reasons: list, why } = this.#parts;
    line.textContent = advice ? stopped(`Next: ${advice}`) : "";
    list.replaceChildren(...(reasons ?? []).map((text) => make("li", { textContent: text })));
    why.hidden = !reasons?.length;
  }

  // --- Buttons. ---

  #setTime(time, isKept = true) {
    this.#time = time;
    for (const radio of this.#parts.times) radio.checked = radio.value === time;
    if (isKept && this.#experiment) this.#keep();
    this.#draw();
  }

  async #save(what) {
    const args = { what, experiment: this.#experiment };
    if (this.#shown?.run) Object.assign(args, { run: this.#shown.run.run, experiment: this.#shown.run.experiment });
    try {
      const job = ["toml", "python"].includes(what) ? "save.text" : "save";
      const { name, type, base64 } = await this.#app.socket.ask(job, args, { slot: "save." + what });
      const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
      const address = URL.createObjectURL(new Blob([bytes], { type }));
      const link = make("a", { href: address, download: name });
      link.click();
      setTimeout(() => URL.revokeObjectURL(address), 10_000);
      this.#app.say(`Saved ${name}.`);
    } catch (error) {
      this.#failed(error, args.experiment);
    }
  }

  async #copy(text, what) {
    try {
      await navigator.clipboard.writeText(text);
      this.#app.say(`The ${what} is copied.`);
    } catch {
      this.#app.say(`The browser did not allow copying; select the ${what} and copy it.`);
    }
  }

  async #openFile(file) {
    if (!file) return;
    if (file.size > MOST_FILE) {
      const size = (file.size / 2 ** 20).toPrecision(3);
      return this.#fail(`${cut(file.name)} has ${size} MiB; a TOML file of an experiment may have 0.25 MiB.`, true);
    }
    await this.#open({ base: { toml: await file.text() }, changes: {} }, true, true);
  }

  #listen() {
    const parts = this.#parts;
    parts.base.onchange = () => {
      if (parts.base.value !== "text") this.#open({ base: parts.base.value, changes: {} }, true, true);
    };
    parts.file.onchange = () => {
      const [file] = parts.file.files;
      parts.file.value = "";
      this.#openFile(file);
    };
    // A file that is dropped beside the box would replace the page.
    parts.root.ondragover = (event) => event.preventDefault();
    parts.root.ondrop = (event) => {
      event.preventDefault();
      this.#openFile(event.dataTransfer.files[0]);
    };
    parts.run.onclick = () => this.#pressRun();
    parts.forecast.onclick = () => this.#askForecast(true);
    parts.cancel.onclick = () => {
      this.#running?.answer.cancel();
    };
    parts.control.onclick = () => this.#pressControl();
    parts.pin.onclick = () => this.#pressPin();
    parts.inside.onclick = () => this.#app.go("inside", { run: this.#shown.run.run });
    parts.compare.onclick = () => this.#pressCompare();
    for (const [what, button] of Object.entries(parts.saves)) button.onclick = () => this.#save(what);
    for (const radio of parts.times) radio.onchange = () => this.#setTime(radio.value);
    parts.copyCommand.onclick = () => this.#copy(parts.command.textContent, "command");
    parts.copyPython.onclick = () => this.#copy(parts.python.textContent, "Python code");
    parts.copyLink.onclick = () => this.#copy(location.href.replace(location.hash, "") + location.hash, "link");
    new ResizeObserver(() => {
      clearTimeout(this.#timers.resize);
      this.#timers.resize = setTimeout(() => this.#resized().catch(() => {}), DESCRIBE_AFTER);
    }).observe(parts.figure);
    parts.form.onsubmit = (event) => event.preventDefault();
  }
}

// Names without what all of them begin with.
const shorter = (names) => {
  const parts = names.map((name) => name.split(", "));
  const common = parts[0].filter((part) => parts.every((other) => other.includes(part)));
  const left = parts.map((own) => own.filter((part) => !common.includes(part)).join(", "));
  return left.map((text, place) => text || (common.length ? "other values unchanged" : names[place]));
};

const within = ({ t50, t50_interval: [low, high] }) =>
  low === null || high === null ? number(t50) : `${number(t50)} (${number(low)} to ${number(high)})`;

// The name is above the figure already; Plotly's buttons are above the labels of the phases.
const untitled = ({ data, layout: { title, ...layout } }) => ({
  data,
  layout: { ...layout, margin: { ...layout.margin, t: 52 } },
});

// --- The elements. ---

const build = (root) => {
  const button = (id, text, parts = {}) => make("button", { type: "button", id: "lab-" + id, textContent: text, ...parts });
  const base = make("select", { id: "lab-base" });
  const file = make("input", { type: "file", id: "lab-file", accept: ".toml,application/toml" });
  const presets = make("div", { className: "row", role: "group", "aria-label": "Size" });
  const size = make("p", { className: "note", id: "lab-size", hidden: true });
  const main = make("div", { className: "fields" });
  const more = make("div", { className: "fields" });
  const run = button("run", "Run", { className: "main" });
  const forecast = button("forecast", "Forecast", { hidden: true });
  const control = button("null", "Null control", { "aria-describedby": "lab-null-note" });
  const runNote = make("p", { className: "error", id: "lab-run-note", role: "status", hidden: true });
  run.setAttribute("aria-describedby", "lab-run-note");
  const controlNote = make("p", { className: "note", id: "lab-null-note" });
  const progress = make("progress", { max: 1, "aria-label": "Progress of the run" });
  const progressWords = make("span", { className: "note" });
  const cancel = button("cancel", "Cancel");
  const runBar = make("div", { className: "row", id: "lab-progress", hidden: true }, progress, progressWords, cancel);
  const againWords = make("span", { className: "note" });
  const againRun = button("again-run", "Run it again");
  const again = make("div", { className: "row", id: "lab-again", role: "status", hidden: true }, againWords, againRun);
  const fields = make("fieldset", { "aria-label": "Values" }, presets, main, make("details", {}, make("summary", { textContent: "More" }), more));
  const fold = make(
    "details",
    { className: "fold", id: "lab-fold", open: matchMedia("(min-width: 50rem)").matches },
    make("summary", { textContent: "Controls" }),
    fields,
  );
  const form = make(
    "form",
    { className: "controls", "aria-label": "Experiment" },
    make("label", { for: "lab-base", textContent: "Experiment" }),
    base,
    make("label", { for: "lab-file", textContent: "or a TOML file" }),
    file,
    make("div", { className: "row" }, run, forecast, control),
    runNote,
    controlNote,
    runBar,
    again,
    size,
    fold,
  );

  const title = make("h2", { textContent: "Lab" });
  const error = make("p", { className: "error", id: "lab-error", role: "alert", hidden: true });
  const text = make("p", { id: "lab-words" });
  const note = make("p", { className: "note", hidden: true });
  const busy = make("p", { className: "note busy", id: "lab-busy", "aria-live": "polite" });
  const times = ["log", "linear"].map((scale) =>
    make("input", { type: "radio", name: "lab-time", id: "lab-time-" + scale, value: scale, checked: scale === "log" }),
  );
  const time = make(
    "fieldset",
    { className: "row" },
    make("legend", { textContent: "Time axis" }),
    ...times.flatMap((radio) => [radio, make("label", { for: radio.id, textContent: radio.value })]),
  );
  const pin = button("pin", "Pin this run", { disabled: true });
  const inside = button("inside", "Look inside");
  const insideRow = make(
    "div",
    { className: "row", hidden: true },
    inside,
    make("span", { className: "note", textContent: "repeats this run and shows its weights over time" }),
  );
  const figure = make("div", { id: "lab-figure", className: "figure" });
  const caption = make("figcaption");
  const factRows = make("tbody");
  const facts = make(
    "table",
    { id: "lab-facts", hidden: true },
    make("caption", { textContent: "Forecast and run" }),
    make("thead", {}, make("tr", {}, make("td"), ...["forecast", "run"].map((name) => make("th", { scope: "col", textContent: name })))),
    factRows,
  );
  const advice = make("p", { id: "lab-advice" });
  const reasons = make("ul");
  const why = make("details", { hidden: true }, make("summary", { textContent: "Reasons and warnings" }), reasons);
  const runs = make("ul", { className: "runs" });
  const compare = button("compare", "Compare", { disabled: true });
  const runsBox = make(
    "section",
    { id: "lab-runs", hidden: true, "aria-label": "Runs" },
    make("h3", { textContent: "Runs" }),
    make("p", { className: "note", textContent: "Pin runs with the boxes to draw them over each other." }),
    runs,
    compare,
  );
  const saves = {};
  for (const [what, label] of [["toml", "TOML"], ["python", "Python"], ["pdf", "Figure, PDF"], ["png", "Figure, PNG"], ["record", "Record, netCDF"], ["report", "Report, HTML"]])
    saves[what] = button("save-" + what, label, { disabled: ["record", "report"].includes(what) });
  const command = make("code");
  const commandNote = make("p", { className: "note", textContent: "Save the TOML under this name first: the changes are in it.", hidden: true });
  const copyCommand = button("copy-command", "Copy the command");
  const copyLink = button("copy-link", "Copy a link to this state");
  const copyPython = button("copy-python", "Copy the Python code");
  const link = make("a", { textContent: "This state as a link", id: "lab-link" });
  const toml = make("code");
  const python = make("code");
  const code = (inner, name) => make("pre", { tabIndex: 0, role: "group", "aria-label": name }, inner);
  const results = make(
    "div",
    { className: "results", id: "lab-results", "aria-busy": "true" },
    title,
    error,
    busy,
    text,
    note,
    make("div", { className: "row" }, time, pin),
    make("figure", {}, figure, caption),
    insideRow,
    facts,
    advice,
    why,
    runsBox,
    make("section", { "aria-label": "Save" }, make("h3", { textContent: "Save" }), make("div", { className: "row", id: "lab-saves" }, ...Object.values(saves))),
    make(
      "section",
      { "aria-label": "Repeat elsewhere" },
      make("h3", { textContent: "Repeat elsewhere" }),
      code(command, "Command"),
      commandNote,
      make("div", { className: "row" }, copyCommand, copyPython, copyLink, link),
      make("details", {}, make("summary", { textContent: "Python" }), code(python, "Python")),
      make("details", {}, make("summary", { textContent: "TOML" }), code(toml, "TOML")),
    ),
  );
  root.replaceChildren(make("div", { className: "lab" }, form, results));
  return {
    root, fields, base, file, presets, size, main, more, run, runNote, forecast, control, controlNote, progress, progressWords, cancel, runBar, again, againWords, againRun,
    form, title, error, words: text, note, busy, times, pin, inside, insideRow, figure, caption, facts, factRows, advice, reasons, why,
    runs, compare, runsBox, saves, command, commandNote, copyCommand, copyLink, copyPython, link, toml, python, results,
  };
};

export const start = async (root, app) => {
  const lab = new Lab(root, app);
  await lab.begin();
  return { show: (state) => lab.show(state) };
};
