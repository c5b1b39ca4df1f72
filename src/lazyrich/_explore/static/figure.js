// Figures: Plotly's JSON from the server, in the colours of the page.

const drawn = new Map();
const hidden = new WeakMap(); // names of the curves of a figure that the user has hidden
let loading = null;

// Plotly's script, asked for once. Call early: it is larger than all else.
export const load = () =>
  (loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = "static/plotly.js";
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => {
      loading = null;
      script.remove();
      reject(new Error("the script of the figures could not be loaded; reload the page"));
    };
    document.head.append(script);
  }));

const NO_ROOM = 480; // px of a figure without Plotly's buttons

const CONFIG = {
  responsive: true,
  displaylogo: false,
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
};

const colour = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

const isDark = matchMedia("(prefers-color-scheme: dark)");

// Colours are made for white paper. On dark paper greys turn into greys as far from black, and of
// hues too dark to be seen the lightness grows.
const CONTRAST = 3.5;
const FAINT = 0.7;

const luminance = (rgb) => {
  const [r, g, b] = rgb.map((part) => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};

const hex = (rgb) => "#" + rgb.map((part) => Math.round(part).toString(16).padStart(2, "0")).join("");

const shade = (text) => {
  const found = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i.exec(text);
  if (!found) return text;
  let rgb = found.slice(1).map((part) => parseInt(part, 16));
  if (Math.max(...rgb) - Math.min(...rgb) <= 8) return hex(rgb.map((part) => 255 - 0.87 * part));
  const paper = luminance([20, 20, 20]);
  while ((luminance(rgb) + 0.05) / (paper + 0.05) < CONTRAST)
    rgb = rgb.map((part) => Math.min(255, part * 1.05 + 3));
  return hex(rgb);
};

const shaded = (value) => {
  if (typeof value === "string") return shade(value);
  if (Array.isArray(value)) return value;
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => {
      const keeps = key === "meta" || key === "customdata" || key === "text" || key === "colorscale";
      return [key, keeps ? item : shaded(item)];
    }),
  );
};

const NARROW = 300; // px of a panel in which the title of an axis is cut before its explanation

// The key below the axes, whatever the height; titles of axes no wider than their panels.
const fitted = (layout, width) => {
  if (layout.legend?.orientation === "h")
    layout.legend = { ...layout.legend, yref: "container", y: 0, yanchor: "bottom" };
  const across = width - (layout.margin?.l ?? 60) - (layout.margin?.r ?? 20);
  for (const [key, axis] of Object.entries(layout)) {
    if (!/^xaxis\d*$/.test(key) || !axis.title?.text) continue;
    const [low, high] = axis.domain ?? [0, 1];
    if (across * (high - low) < NARROW) axis.title.text = axis.title.text.replace(/ \(.*\)$/, "");
  }
};

const PHASE = 5.5; // px of a letter of a phase's label

// Labels of phases, of which those that would overlap the one before are left out.
const spaced = (layout, width) => {
  const across = width - (layout.margin?.l ?? 60) - (layout.margin?.r ?? 20);
  const ends = {};
  layout.annotations = layout.annotations?.filter(({ font, text, x, xref, yref }) => {
    const { range, domain = [0, 1] } = layout["xaxis" + (xref ?? "x").slice(1)] ?? {};
    if (font?.size !== 10 || !range) return true;
    const middle = across * (domain[0] + ((domain[1] - domain[0]) * (x - range[0])) / (range[1] - range[0]));
    const half = (text.length * PHASE) / 2;
    if (middle - half < (ends[yref] ?? -Infinity)) return false;
    ends[yref] = middle + half;
    return true;
  });
};

const STACKED = 600; // px of a figure in which its panels stand below each other
const ROW = 190; // px of a row of panels with its axis
const GAP = 84; // px between panels below each other: an axis and a title

const numbered = (layout, letter) =>
  Object.keys(layout)
    .filter((key) => new RegExp(`^${letter}axis\\d*$`).test(key))
    .sort((one, other) => (one.slice(5) || 1) - (other.slice(5) || 1));

const ENTRY = 230; // px of a wide entry of the key, beside its neighbours
const LINE = 30; // px of a line of the key

// The height of the key below the axes, with the title of the axis.
const keyHeight = (data, width) => {
  const entries = data.filter((trace) => trace.name && trace.showlegend !== false).length;
  return 60 + LINE * Math.ceil(entries / Math.max(1, Math.floor(width / ENTRY)));
};

// Puts panels that stand beside each other below each other; returns the height of the figure.
const stack = (data, layout, width) => {
  const upright = numbered(layout, "y").filter((key) => !layout[key].overlaying);
  const across = numbered(layout, "x");
  const starts = new Set(across.map((key) => layout[key].domain?.[0] ?? 0));
  const rows = new Set(upright.map((key) => layout[key].domain?.[0] ?? 0));
  const key = keyHeight(data, width);
  if (starts.size < 2 || width >= STACKED) return rows.size > 1 ? rows.size * ROW + key : null;
  const height = upright.length * (ROW + GAP) - GAP;
  for (const key of across) layout[key].domain = [0, 1];
  for (const [place, key] of upright.entries()) {
    const top = 1 - (place * (ROW + GAP)) / height;
    layout[key].domain = [Math.max(0, top - ROW / height), top];
    delete layout[key].matches;
    const name = key.replace("axis", "");
    for (const part of data)
      if (part.colorbar && (part.yaxis ?? "y") === name)
        Object.assign(part.colorbar, { x: 1, y: top - ROW / height / 2, len: ROW / height });
  }
  return height + Math.max(160, key);
};

const LABEL = 44; // px of a power of ten
const ENLARGED = 1.25; // by Plotly, of a power of ten beside other labels

// Over more than a decade and a half the powers of ten have labels, and the digits between have not.
const decades = ({ type, range, tickvals, tickfont, domain = [0, 1] }, width, size = 12) => {
  if (type !== "log" || !range || tickvals) return {};
  const span = Math.abs(range[1] - range[0]);
  const most = Math.min(8, Math.floor((width * (domain[1] - domain[0])) / LABEL));
  const font = { ...tickfont, size: (tickfont?.size ?? size) / ENLARGED };
  return span < 1.5 ? {} : { dtick: Math.ceil(span / Math.max(most, 1)), tickangle: 0, tickfont: font };
};

const titleOf = ({ title }) => (title?.text ? { title: { font: { size: 13 }, ...title } } : {});

const themed = (figure, width) => {
  const white = figure.layout?.meta?.white === true;
  // Cells have the same colours in the dark, and so have the lines on them.
  const dark = isDark.matches && !white;
  const data = dark ? figure.data.map(shaded) : structuredClone(figure.data);
  // A faint line is fainter on dark paper.
  if (dark) for (const trace of data) if (trace.line?.width && trace.opacity < FAINT) trace.opacity = FAINT;
  const layout = structuredClone(figure.layout ?? {});
  const [ink, paper, line, grid, box] = ["ink", "paper", "line", "grid", "box"].map(colour);
  Object.assign(layout, { paper_bgcolor: paper, plot_bgcolor: white ? "#ffffff" : paper, autosize: true });
  delete layout.width;
  delete layout.height;
  const height = stack(data, layout, width);
  fitted(layout, width);
  spaced(layout, width);
  layout.font = { ...layout.font, color: ink, family: getComputedStyle(document.body).fontFamily };
  layout.hoverlabel = { bgcolor: box, bordercolor: line, font: { color: ink }, ...layout.hoverlabel };
  layout.modebar = { bgcolor: "rgba(0,0,0,0)", color: colour("soft"), activecolor: ink };
  const across = width - (layout.margin?.l ?? 60) - (layout.margin?.r ?? 20);
  const axisTheme = { gridcolor: grid, linecolor: ink, tickcolor: ink, zerolinecolor: line };
  for (const key of Object.keys(layout))
    if (/^[xy]axis\d*$/.test(key))
      Object.assign(layout[key], axisTheme, decades(layout[key], key[0] === "x" ? across : Infinity, layout.font.size), titleOf(layout[key]));
  if (dark) layout.shapes = (layout.shapes ?? []).map(shaded);
  return { data, layout, height };
};

// Draws a figure in an element, or changes the one that is there. `caption` is its accessible name.
export const draw = async (place, figure, caption = figure.layout?.meta?.caption) => {
  drawn.set(place, figure);
  place.classList.add("figure");
  place.setAttribute("role", "figure");
  place.setAttribute("aria-label", caption || "Figure");
  const Plotly = await load();
  // A newer figure of this element has been asked for, or the element is gone.
  if (drawn.get(place) !== figure || !place.isConnected) return;
  const width = place.clientWidth;
  const { data, layout, height } = themed(figure, width);
  place.style.minHeight = height ? `${height}px` : "";
  if (!hidden.has(place)) {
    hidden.set(place, new Set());
    resized.observe(place);
  }
  for (const trace of data) if (hidden.get(place).has(groupOf(trace))) trace.visible = "legendonly";
  widths.set(place, width);
  // Over a narrow figure the buttons would hide its title.
  await Plotly.react(place, data, layout, { ...CONFIG, displayModeBar: width < NO_ROOM ? false : "hover" });
  listCurves(place, Plotly);
};

// What shares an entry of the key.
const groupOf = (trace) => trace.legendgroup || trace.name;

// Boxes below a figure that show and hide its curves, because the key of Plotly needs a mouse.
const listCurves = (place, Plotly) => {
  const isCurves = place.data.every(({ type }) => type === "scatter") && place.layout.showlegend !== false;
  const entries = isCurves ? place.data.filter((trace) => trace.name && trace.showlegend !== false) : [];
  let list = place.nextElementSibling;
  if (!list?.matches("details.curves")) {
    if (entries.length < 2) return;
    list = document.createElement("details");
    list.className = "curves";
    list.innerHTML = "<summary>Show or hide curves</summary><div class=row></div>";
    place.after(list);
    place.on("plotly_restyle", () => listCurves(place, Plotly));
  }
  const off = hidden.get(place);
  off.clear();
  for (const trace of place.data) if (trace.visible === "legendonly") off.add(groupOf(trace));
  list.hidden = entries.length < 2;
  const names = JSON.stringify(entries.map((trace) => [groupOf(trace), trace.name]));
  if (list.dataset.names !== names) {
    list.dataset.names = names;
    list.lastChild.replaceChildren(...entries.map((trace) => curveBox(place, trace, Plotly)));
  }
  for (const [at, label] of [...list.lastChild.children].entries()) label.firstChild.checked = !off.has(groupOf(entries[at]));
};

const curveBox = (place, { name, ...trace }, Plotly) => {
  const box = Object.assign(document.createElement("input"), { type: "checkbox" });
  const label = document.createElement("label");
  const group = groupOf({ name, ...trace });
  box.onchange = () => {
    const all = place.data.flatMap((other, at) => (groupOf(other) === group ? [at] : []));
    Plotly.restyle(place, { visible: box.checked ? true : "legendonly" }, all);
  };
  label.append(box, " " + plain(name));
  return label;
};

// Names are escaped for Plotly.
const plain = (name) => new DOMParser().parseFromString(name, "text/html").body.textContent;

// A figure whose width has changed is laid out anew: its panels may have to stand below each other.
const SETTLED = 150; // ms without a change
const widths = new WeakMap();
const timers = new WeakMap();
const resized = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    clearTimeout(timers.get(target));
    const redraw = () => {
      const isOther = target.clientWidth && target.clientWidth !== widths.get(target);
      if (isOther && drawn.has(target)) draw(target, drawn.get(target), target.getAttribute("aria-label"));
    };
    timers.set(target, setTimeout(redraw, SETTLED));
  }
});

isDark.addEventListener("change", () => {
  for (const [place, figure] of drawn)
    if (place.isConnected) draw(place, figure, place.getAttribute("aria-label"));
    else drawn.delete(place);
});

const WAIT = 150; // ms after the last change of a window's width

// Draws the figures in an element again when its width has changed: panels and ticks depend on it.
export const followWidth = (root) => {
  let timer = null;
  let width = root.clientWidth;
  new ResizeObserver(() => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      // A hidden element has no width.
      const before = width;
      if (!root.clientWidth || root.clientWidth === before) return;
      width = root.clientWidth;
      if (!before) return; // shown for the first time
      for (const [place, figure] of drawn)
        if (root.contains(place)) draw(place, figure, place.getAttribute("aria-label"));
    }, WAIT);
  }).observe(root);
};
