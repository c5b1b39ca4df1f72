// The frame of the page: tabs, the state in the fragment of the address, and the line of status.

import { load } from "./figure.js";
import { NoAnswer, Socket } from "./socket.js";

const VIEWS = ["lab", "map", "inside", "tour"];

const PURPOSES = { quick: "forecasts", run: "runs" };

const byId = (id) => document.getElementById(id);
const tabOf = (view) => byId("tab-" + view);

// --- The line of status. ---

const workers = {};
let connection = "connecting";
let reason = "";
let said = "";

const status = () => {
  if (connection === "lost") return (reason || "Connection lost") + "; trying again.";
  if (connection === "stopped")
    return "The server has stopped. Start lazyrich explore again and open the address that it prints.";
  if (connection === "connecting") return "Connecting.";
  const problem = Object.values(workers).find((worker) => worker.state === "failed")?.problem;
  if (problem) return problem;
  const starting = Object.values(workers).filter((worker) => worker.state === "starting");
  if (starting.length) return "Starting: " + starting.map(({ worker }) => PURPOSES[worker]).join(" and ") + ".";
  return said;
};

const say = (text) => {
  said = text;
  showStatus();
};

const showStatus = () => {
  const line = byId("status");
  const text = status();
  if (line.textContent !== text) line.textContent = text;
  line.classList.toggle("lost", connection === "lost" || connection === "stopped");
};

const states = {};
const started = {};
let shown = null;

const socket = new Socket((state, data) => {
  if (state === "worker") workers[data.worker] = data;
  else [connection, reason] = [state, data?.reason];
  showStatus();
  if (state === "open" && shown !== null && !started[shown]) follow();
});

// --- The state in the fragment: #lab?base=lyu2024/1a&init_scale=30. ---

const parsed = () => {
  const [view, query = ""] = location.hash.slice(1).split(/\?(.*)/s);
  const state = Object.fromEntries(new URLSearchParams(query));
  return { view: VIEWS.includes(view) ? view : "lab", state };
};

const written = (view, state) => {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(state))
    if (value !== null && value !== undefined) query.set(key, value);
  // Slashes, colons and commas may stand in a fragment, and are easier to read.
  const text = query.toString().replaceAll("%2F", "/").replaceAll("%3A", ":").replaceAll("%2C", ",");
  return "#" + view + (text ? "?" + text : "");
};

class App {
  constructor(view) {
    this.view = view;
    this.socket = socket;
  }

  // What the fragment says of this view: text by key.
  get state() {
    return states[this.view] ?? {};
  }

  // Keeps the state of this view in the fragment, without a call of its `show`. `isStep`, whether
  // the browser's Back returns to the state before.
  keep(state, isStep = false) {
    states[this.view] = Object.fromEntries(Object.entries(state).map(([k, v]) => [k, String(v)]));
    if (shown === this.view) this.#record(written(this.view, this.state), isStep);
  }

  // Shows a view with a state, or with the one it had.
  go(view, state) {
    this.#record(written(view, state ?? states[view] ?? {}), true);
    return follow();
  }

  #record(fragment, isStep) {
    const now = parsed();
    if (fragment === written(now.view, now.state)) return;
    history[isStep ? "pushState" : "replaceState"](null, "", fragment);
  }

  // Says a sentence in the line of status, which screen readers read aloud. An answer that comes
  // when this view is left is not said there, unless it is said `always`.
  say(text, always = false) {
    if (always || shown === this.view) say(text);
  }
}

const begin = async (view) => {
  const root = byId(view);
  try {
    const { start } = await import(`./${view}.js`);
    return (await start(root, new App(view))) ?? {};
  } catch (error) {
    // It is begun again when it is shown again, or when there is a connection again.
    delete started[view];
    if (!(error instanceof NoAnswer)) console.error(error);
    const words = document.createElement("p");
    words.className = "error";
    words.textContent = "This view failed: " + error.message;
    root.replaceChildren(words);
    return {};
  }
};

const leave = async (view) => {
  const parts = await started[view];
  if (shown !== view) parts?.hide?.();
};

// Shows what the fragment says: the tab at once, its content when it is there.
const follow = async () => {
  const { view, state } = parsed();
  const before = shown;
  states[view] = state;
  shown = view;
  if (before !== null && before !== view) {
    leave(before);
    say(""); // what was said belongs to the view that is left
  }
  for (const other of VIEWS) {
    const on = other === view;
    byId(other).hidden = !on;
    tabOf(other).setAttribute("aria-selected", on);
    tabOf(other).tabIndex = on ? 0 : -1;
  }
  document.title = tabOf(view).textContent + " – lazyrich explorer";
  started[view] ??= begin(view);
  const parts = await started[view];
  if (shown === view) await parts.show?.(states[view]);
};

// A question without an answer is said; what else fails is a fault of the page, and in its console.
addEventListener("unhandledrejection", (event) => {
  if (!(event.reason instanceof NoAnswer)) return;
  event.preventDefault();
  if (event.reason.kind === "failed") say(event.reason.message);
});

// --- Tabs. ---

const app = new App("lab");
for (const [place, view] of VIEWS.entries()) {
  const tab = tabOf(view);
  tab.onclick = () => app.go(view);
  tab.onkeydown = (event) => {
    const last = VIEWS.length - 1;
    const next = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: last }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    const other = VIEWS[(next + VIEWS.length) % VIEWS.length];
    tabOf(other).focus();
    app.go(other);
  };
}
addEventListener("hashchange", follow);
// What was said of the last action does not outlive the next one.
for (const kind of ["click", "change", "input"])
  addEventListener(
    kind,
    ({ target }) => {
      if (target.closest?.("button, input, select, summary, a")) say("");
    },
    true,
  );
follow();
showStatus();
// The controls come first, then Plotly.
requestAnimationFrame(() => setTimeout(() => load().catch(() => {}), 0));
