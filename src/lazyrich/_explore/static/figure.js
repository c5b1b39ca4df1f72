// Figures: Plotly's JSON from the server, in the colours of the page.

const drawn = new Map();
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

const CONFIG = {
  responsive: true,
  displaylogo: false,
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
};

const colour = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

const isDark = matchMedia("(prefers-color-scheme: dark)");

// Greys are inks of a white page: they turn into greys as far from a black one. Hues stay.
const shade = (text) => {
  const found = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i.exec(text);
  if (!found) return text;
  const parts = found.slice(1).map((part) => parseInt(part, 16));
  if (Math.max(...parts) - Math.min(...parts) > 8) return text;
  const grey = Math.round(255 - 0.87 * parts[0]).toString(16).padStart(2, "0");
  return "#" + grey + grey + grey;
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

const themed = (figure) => {
  const dark = isDark.matches;
  const data = dark ? figure.data.map(shaded) : figure.data;
  const layout = structuredClone(figure.layout ?? {});
  const [ink, paper, line, grid, box] = ["ink", "paper", "line", "grid", "box"].map(colour);
  Object.assign(layout, { paper_bgcolor: paper, plot_bgcolor: paper, autosize: true });
  delete layout.width;
  delete layout.height;
  layout.font = { ...layout.font, color: ink, family: getComputedStyle(document.body).fontFamily };
  layout.hoverlabel = { bgcolor: box, bordercolor: line, font: { color: ink }, ...layout.hoverlabel };
  layout.modebar = { bgcolor: "rgba(0,0,0,0)", color: colour("soft"), activecolor: ink };
  for (const key of Object.keys(layout))
    if (/^[xy]axis\d*$/.test(key))
      Object.assign(layout[key], { gridcolor: grid, linecolor: ink, tickcolor: ink, zerolinecolor: line });
  if (dark) layout.shapes = (layout.shapes ?? []).map(shaded);
  return { data, layout };
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
  const { data, layout } = themed(figure);
  await Plotly.react(place, data, layout, CONFIG);
};

isDark.addEventListener("change", () => {
  for (const [place, figure] of drawn)
    if (place.isConnected) draw(place, figure, place.getAttribute("aria-label"));
    else drawn.delete(place);
});
