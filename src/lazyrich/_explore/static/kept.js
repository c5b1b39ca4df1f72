// What the Lab keeps of an experiment: in the address, and in the browser for as long as the tab is.

const MOST_TEXT = 8000; // letters of a TOML text in the address
const TEXT = "lazyrich text ";
const RUNS = "lazyrich runs";
const RUNNING = "lazyrich running";
const OWN_KEYS = ["base", "toml", "text", "time"];

const fromText = (text) => {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
};

const toText = (value) => (typeof value === "string" && fromText(value) === value ? value : JSON.stringify(value));

// Without room in the browser, or without its leave, nothing is kept.
const store = (key, text) => {
  try {
    sessionStorage.setItem(key, text);
  } catch {}
};

const stored = (key) => {
  try {
    return sessionStorage.getItem(key);
  } catch {
    return null;
  }
};

// A short name of a text: its letters as a number (FNV-1a).
const nameOf = (text) => {
  let found = 0x811c9dc5;
  for (let place = 0; place < text.length; place++) found = Math.imul(found ^ text.charCodeAt(place), 0x01000193);
  return (found >>> 0).toString(16) + "-" + text.length;
};

// Base and changes of a state; null if its text is not in this tab.
export const experimentOf = (state) => {
  const changes = {};
  for (const [key, text] of Object.entries(state)) if (!OWN_KEYS.includes(key)) changes[key] = fromText(text);
  if (state.text !== undefined) {
    const toml = stored(TEXT + state.text);
    return toml === null ? null : { base: { toml }, changes };
  }
  return { base: state.toml !== undefined ? { toml: state.toml } : state.base, changes };
};

// The state of an experiment: text by key. A long TOML text stays in the browser.
export const stateOf = ({ base, changes }, time = "log") => {
  const state = {};
  if (typeof base === "string") state.base = base;
  else if (base.toml.length <= MOST_TEXT) state.toml = base.toml;
  else {
    state.text = nameOf(base.toml);
    store(TEXT + state.text, base.toml);
  }
  for (const [key, value] of Object.entries(changes)) state[key] = toText(value);
  if (time !== "log") state.time = time;
  return state;
};

// Which runs are listed: name, experiment and pin of each, for a page that is loaded again. Their
// records are with the server.
export const keepRuns = (runs) =>
  store(RUNS, JSON.stringify(runs.map(({ experiment, ...run }) => ({ ...run, state: stateOf(experiment) }))));

export const keptRuns = () => {
  const found = fromText(stored(RUNS) ?? "[]");
  if (!Array.isArray(found)) return [];
  return found.map(({ state, ...run }) => ({ ...run, experiment: experimentOf(state) })).filter((run) => run.experiment);
};

const LEAVES = 1000; // ms in which a page that is left gives up its lock

let release = () => {};

// The run in progress, for a page that is loaded again meanwhile; null, when it has ended. The page
// holds a lock as long as the run goes on: a tab that is duplicated has a copy of what is kept, and
// would otherwise take the run of the first tab for one of its own.
export const keepRunning = (run) => {
  release();
  release = () => {};
  if (run === null) return store(RUNNING, "null");
  const lock = `${RUNNING} ${Date.now()} ${Math.random()}`;
  const ended = new Promise((resolve) => (release = resolve));
  navigator.locks?.request(lock, () => ended).catch(() => {});
  store(RUNNING, JSON.stringify({ ...run, lock, experiment: undefined, state: stateOf(run.experiment) }));
};

// The run that was in progress when this tab's page was left, once; null, while another tab has it.
export const takeRunning = async () => {
  const found = fromText(stored(RUNNING) ?? "null");
  store(RUNNING, "null");
  if (!found?.state) return null;
  if (navigator.locks && found.lock) {
    try {
      await navigator.locks.request(found.lock, { signal: AbortSignal.timeout(LEAVES) }, () => {});
    } catch {
      return null;
    }
  }
  const experiment = experimentOf(found.state);
  return experiment && { ...found, experiment };
};
