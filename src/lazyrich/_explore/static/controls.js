// Controls made from the fields of an experiment, as the server describes them.

const PLACES = 200; // of a slider with a logarithmic scale, without the one for zero

// An element with properties, attributes (with a dash, or role and for) and children.
export const make = (tag, parts = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(parts))
    if (name.includes("-") || ["role", "for", "form", "list"].includes(name)) element.setAttribute(name, value);
    else element[name] = value;
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
};

// Five significant digits, as short as they can be written.
export const short = (value) => {
  if (typeof value !== "number") return String(value);
  return String(Number(value.toPrecision(5)));
};

const isWhole = (field) => field.type === "integer";

// The places of a slider and back. Zero, where it is allowed on a logarithmic scale, is the first.
const scaleOf = (field) => {
  const { low, high, zero } = field;
  if (field.scale === "linear") {
    const step = isWhole(field) ? 1 : (high - low) / 100;
    return {
      min: low, max: high, step,
      place: (value) => value,
      value: (place) => (isWhole(field) ? Math.round(place) : Number(Number(place).toPrecision(4))),
    };
  }
  const [a, b] = [Math.log(low), Math.log(high)];
  const first = zero ? -1 : 0;
  return {
    min: first, max: PLACES, step: 1,
    place: (value) => (value <= 0 ? first : Math.round((PLACES * (Math.log(value) - a)) / (b - a))),
    value: (place) => {
      if (place < 0) return 0;
      const value = Math.exp(a + ((b - a) * place) / PLACES);
      return isWhole(field) ? Math.round(value) : Number(value.toPrecision(3));
    },
  };
};

// Puts elements in a place, and moves none that is there in the same order: it would lose the focus.
const arrange = (place, elements) => {
  for (const old of [...place.children]) if (!elements.includes(old)) old.remove();
  for (const [at, element] of elements.entries())
    if (place.children[at] !== element) place.insertBefore(element, place.children[at] ?? null);
};

const idOf = (key) => "field-" + key.replaceAll(".", "-");

export class Controls {
  #main;
  #more;
  #changed;
  #unread;
  #rows = new Map();

  // `changed(field, value, changes)`: `changes` replaces a whole part of the experiment, if given;
  // `unread()`: a box has become, or is no longer, one whose text is not a number.
  constructor(main, more, changed, unread) {
    this.#main = main;
    this.#more = more;
    this.#changed = changed;
    this.#unread = unread;
  }

  // What is wrong with the first box whose text is not a number; empty if there is none.
  get problem() {
    return [...this.#rows.values()].find((row) => row.unread)?.unread ?? "";
  }

  // Shows fields. Controls that are there already keep their place and the focus. `all`, whether
  // also the box in which the user types gets the value: otherwise an answer leaves it alone.
  update(fields, all = false) {
    const shape = (field) => JSON.stringify([field.key, field.type, field.choices, field.low, field.high]);
    const isTyped = ({ unread, inputs: [box] }) => !all && (unread || (box.type === "text" && box === document.activeElement));
    const kept = (field) => {
      const row = this.#rows.get(field.key);
      return row && (row.shape === shape(field) || isTyped(row)) ? row : null;
    };
    const focused = document.activeElement?.id;
    this.#rows = new Map(fields.map((f) => [f.key, kept(f) ?? { ...this.#row(f), shape: shape(f) }]));
    const rows = (group) => fields.filter((f) => f.group === group).map((f) => this.#rows.get(f.key).element);
    arrange(this.#main, rows("main"));
    arrange(this.#more, rows("more"));
    if (focused && document.activeElement?.id !== focused) document.getElementById(focused)?.focus();
    for (const { key, value } of fields) {
      const row = this.#rows.get(key);
      if (all) row.unread = "";
      if (!row.unread) row.set(value, all);
    }
    if (all) this.clear();
  }

  // Shows an error beside the control of its key; false if no control has it.
  fail(words) {
    const key = /^([\w.]+) = /.exec(words)?.[1] ?? "";
    const row = this.#rows.get(key) ?? this.#rows.get(key + ".kind") ?? this.#byEnd(key);
    if (!row) return false;
    this.#mark(row, words);
    return true;
  }

  #mark({ error, element, inputs }, words) {
    error.textContent = words;
    error.hidden = false;
    element.closest("details:not([open])")?.setAttribute("open", "");
    for (const input of inputs) input.setAttribute("aria-invalid", "true");
  }

  #byEnd(key) {
    const [found] = [...this.#rows].filter(([other]) => key && other.endsWith("." + key));
    return found?.[1];
  }

  // Removes all errors, but for those of boxes whose text is not a number.
  clear() {
    for (const { error, inputs, unread } of this.#rows.values()) {
      if (unread) continue;
      error.hidden = true;
      error.textContent = "";
      for (const input of inputs) input.removeAttribute("aria-invalid");
    }
  }

  #row(field) {
    const id = idOf(field.key);
    const error = make("p", { className: "error", id: id + "-error", hidden: true });
    const help = field.help ? make("p", { className: "help", id: id + "-help", textContent: field.help }) : null;
    const made = this.#input(field, id);
    const label = make("label", { for: id, textContent: field.label, title: field.key });
    const describedBy = [help?.id, error.id].filter(Boolean).join(" ");
    for (const input of made.inputs) input.setAttribute("aria-describedby", describedBy);
    const element = make("div", { className: "field " + field.type }, label, ...made.inputs, help, error);
    return { element, error, ...made };
  }

  #input(field, id) {
    const change = (value, changes) => this.#changed(field, value, changes);
    if (field.type === "flag") {
      const box = make("input", { type: "checkbox", id });
      box.onchange = () => change(box.checked);
      return { inputs: [box], set: (value) => (box.checked = value) };
    }
    if (field.type === "choice") return this.#choice(field, id, change);
    if (field.type === "text" || field.type === "numbers") {
      const text = make("input", { type: "text", id });
      const read = field.type === "text" ? (words) => words : numbers;
      text.onchange = () => change(read(text.value));
      const shown = (value) => (Array.isArray(value) ? value.join(", ") : value);
      const set = (value, all) => (all || document.activeElement !== text) && (text.value = shown(value));
      return { inputs: [text], set };
    }
    return this.#number(field, id, change);
  }

  #choice(field, id, change) {
    const select = make("select", { id });
    for (const [place, choice] of field.choices.entries()) {
      const label = choice.why ? `${choice.label} (not here)` : choice.label;
      const option = make("option", { value: String(place), textContent: label, disabled: Boolean(choice.why) });
      if (choice.why) option.title = choice.why;
      select.append(option);
    }
    select.onchange = () => {
      const choice = field.choices[Number(select.value)];
      const part = choice.changes && Object.keys(choice.changes).length ? choice.changes : null;
      change(choice.value, part);
    };
    const set = (value) => (select.value = String(field.choices.findIndex((c) => c.value === value)));
    return { inputs: [select], set };
  }

  #number(field, id, change) {
    const box = make("input", { type: "number", id, step: isWhole(field) ? "1" : "any" });
    box.inputMode = isWhole(field) ? "numeric" : "decimal";
    // A number is sent as it is: the server says what is wrong with it. Of other texts, and of
    // numbers that are too large for a computer, the browser gives nothing.
    box.oninput = () => {
      const row = this.#rows.get(field.key);
      const was = row.unread;
      const isNumber = box.value !== "" && Number.isFinite(Number(box.value));
      const found = box.validity.badInput ? "this is not a number that can be used (the largest is 1.8×10³⁰⁸)" : "a number is missing";
      row.unread = isNumber ? "" : `${field.key}: ${found}`;
      if (row.unread) this.#mark(row, row.unread);
      else if (was) this.clear();
      if (row.unread !== was) this.#unread();
      if (isNumber) change(Number(box.value));
    };
    const row = { inputs: [box], set: null };
    let slider = null;
    let scale = null;
    if (field.scale !== "none" && field.group === "main") {
      scale = scaleOf(field);
      const { min, max, step } = scale;
      slider = make("input", { type: "range", id: id + "-slider", min, max, step, "aria-label": field.label });
      slider.oninput = () => {
        const value = scale.value(Number(slider.value));
        this.#rows.get(field.key).unread = "";
        box.value = short(value);
        slider.setAttribute("aria-valuetext", short(value));
        change(value);
      };
      row.inputs.push(slider);
    }
    row.set = (value, all) => {
      if (all || document.activeElement !== box) box.value = short(value);
      if (slider && (all || document.activeElement !== slider)) slider.value = scale.place(value);
      slider?.setAttribute("aria-valuetext", short(value));
    };
    return row;
  }
}

// Numbers in a text, separated by commas or spaces; the text itself if some are not numbers.
const numbers = (text) => {
  const parts = text.split(/[\s,]+/).filter(Boolean).map(Number);
  return parts.some(Number.isNaN) ? text : parts;
};
