"use strict";
(() => {
  const make = (name, fields, ...children) => {
    const found = Object.assign(document.createElement(name), fields);
    found.append(...children);
    return found;
  };

  const unpack = async (text) => {
    const packed = Uint8Array.from(atob(text.trim()), (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  };

  const choice = (type, name, label, checked, act, ...sample) => {
    const input = make("input", { type, name, checked, onchange: () => act(input.checked) });
    return make("label", {}, input, " ", ...sample, label);
  };

  // The hatch of a patch, as an image of CSS.
  const striped = ({ shape, fgcolor }) => {
    const lines = (angle) => `repeating-linear-gradient(${angle}deg, ${fgcolor} 0 1px, transparent 1px 4px)`;
    const turns = { "/": [-45], "\\": [45], x: [-45, 45], "+": [0, 90] };
    if (shape === ".") return `radial-gradient(${fgcolor} 1px, transparent 1.2px)`;
    return turns[shape].map(lines).join(", ");
  };

  const MARKS = {
    "circle-open": "○", square: "■", "square-open": "□", diamond: "◆", "diamond-open": "◇",
    "triangle-up": "▲", "triangle-up-open": "△", "triangle-down": "▼", "triangle-down-open": "▽",
    "star-open": "☆", "x-thin-open": "×", "cross-thin-open": "+", "y-down-open": "Y", "line-ew-open": "–",
  };

  // Names are markup for Plotly, and text for the page.
  const plain = (text) => text.replace(/&(lt|gt|amp);/g, (_, name) => ({ lt: "<", gt: ">", amp: "&" })[name]);

  const marked = (part) => {
    const found = make("span", { className: "sample mark", textContent: MARKS[part.marker.symbol] ?? "●" });
    found.style.color = part.line.color;
    return found;
  };

  // The sample of a key: a line, its mark, or a patch for bands, spans and cells; none for a colour bar.
  const sample = (part) => {
    const found = make("span", { className: "sample" });
    if (part.colorbar) return [];
    const scale = part.type === "heatmap" ? part.colorscale : null;
    const patch = Array.isArray(scale) ? scale[1][1] : part.fillcolor;
    if (patch) {
      found.classList.add("patch");
      found.style.background = patch;
      const hatch = part.meta?.hatch;
      if (hatch) found.style.backgroundImage = striped(hatch);
      if (hatch?.shape === ".") found.style.backgroundSize = "4px 4px";
      found.style.opacity = part.opacity ?? 1;
    } else if (part.mode === "markers") {
      return [marked(part)];
    } else if (part.line) {
      const dashes = { solid: "solid", dot: "dotted" };
      found.style.borderTop = `3px ${dashes[part.line.dash ?? "solid"] ?? "dashed"} ${part.line.color}`;
      if (part.mode?.includes("markers")) return [found, marked(part)];
    }
    return [found];
  };

  const isDashed = (part) => part.mode?.includes("lines") && (part.line?.dash ?? "solid") !== "solid";

  const LETTER = 6.5; // px of a letter of a phase's label
  const NARROW = 500; // px of a figure whose axis has a title without its explanation

  // The layout for a width: labels of phases that would overlap the one before are left out.
  const fitted = (layout, width) => {
    const found = structuredClone(layout);
    const { l, r } = found.margin;
    const ends = {};
    found.annotations = found.annotations.filter(({ font, text, x, xref, yref }) => {
      if (font?.size !== 10) return true;
      const { range: [low, high], domain: [from, to] } = found["xaxis" + xref.slice(1)];
      const middle = (width - l - r) * (from + ((to - from) * (x - low)) / (high - low));
      const half = (text.length * LETTER) / 2;
      if (middle - half < (ends[yref] ?? -Infinity)) return false;
      ends[yref] = middle + half;
      return true;
    });
    for (const [key, axis] of Object.entries(found))
      if (width < NARROW && /^xaxis\d*$/.test(key)) axis.title.text = axis.title.text.replace(/ \(.*\)$/, "");
    return found;
  };

  const group = (title, choices) =>
    make("fieldset", { className: "controls" }, make("legend", { textContent: title }), ...choices);

  const show = (figure, place) => {
    const views = JSON.parse(document.getElementById(figure.dataset.views).textContent);
    const names = Object.keys(views);
    // A view without numbers of its own has those of the first.
    for (const view of Object.values(views)) view.data ??= views[names[0]].data;
    const hidden = new Set();
    let now = names[0];
    const live = make("div", { className: "live" });
    const config = {
      responsive: true,
      displaylogo: false,
      modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    };
    const draw = () => {
      const { data } = views[now];
      const layout = fitted(views[now].layout, live.clientWidth);
      for (const part of [...data, ...layout.shapes]) part.visible = !hidden.has(part.legendgroup);
      return Plotly.react(live, data, layout, config);
    };
    const parts = new Map();
    const labels = new Map();
    for (const part of [...views[now].data, ...views[now].layout.shapes]) {
      // A group whose parts have one name has this label.
      const label = plain(part.name);
      labels.set(part.legendgroup, (labels.get(part.legendgroup) ?? label) === label ? label : part.legendgroup);
      // Of the parts of a group a solid one is its sample.
      if (!parts.has(part.legendgroup) || (isDashed(parts.get(part.legendgroup)) && part.line && !isDashed(part)))
        parts.set(part.legendgroup, part);
    }
    const title = views[now].layout.meta.key;
    const toggle = (part) => (on) => {
      hidden[on ? "delete" : "add"](part);
      draw();
    };
    const shown = [...parts].map(([name, part]) =>
      choice("checkbox", "", labels.get(name), true, toggle(name), ...sample(part)),
    );
    const scales = names.map((name) =>
      choice("radio", "view-" + place, name, name === now, () => {
        now = name;
        draw();
      }),
    );
    const controls = names.length > 1 ? [group("Time axis:", scales)] : [];
    figure.prepend(...controls, group(title ? title + ":" : "Show:", shown), live);
    figure.classList.add("on");
    let timer = null;
    let width = live.clientWidth;
    addEventListener("resize", () => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        if (live.clientWidth === width || !live.clientWidth) return;
        width = live.clientWidth;
        draw();
      }, 150);
    });
    return draw();
  };

  const copy = async (block, button) => {
    try {
      await navigator.clipboard.writeText(block.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(block);
      button.textContent = "Selected";
    }
  };

  // Paper has no folds: what is folded is open while the page is printed.
  addEventListener("beforeprint", () => {
    for (const fold of document.querySelectorAll("details:not([open])")) {
      fold.open = true;
      fold.dataset.folded = "";
    }
  });
  addEventListener("afterprint", () => {
    for (const fold of document.querySelectorAll("details[data-folded]")) {
      fold.open = false;
      delete fold.dataset.folded;
    }
  });

  const start = async () => {
    for (const block of document.querySelectorAll("pre[data-copy]")) {
      const button = make("button", { type: "button", textContent: "Copy " + block.dataset.copy });
      button.onclick = () => copy(block, button);
      block.before(button);
    }
    const packed = document.getElementById("plotly");
    // Without a way to unpack the script, the still images stay.
    if (!packed || !("DecompressionStream" in window)) return;
    const code = await unpack(packed.textContent);
    document.head.append(make("script", { textContent: code }));
    document.querySelectorAll("figure[data-views]").forEach(show);
  };

  document.addEventListener("DOMContentLoaded", start);
})();
