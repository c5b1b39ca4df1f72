"""Runs the experiments of `docs/results/gallery.toml` and writes the gallery: `make gallery`."""

import json
import shlex
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import tomli_w

import lazyrich as lr
from lazyrich.sweeps import parse_values

DOCS = Path(__file__).parent / "docs"
FIGURES = DOCS / "figures" / "gallery"


def described() -> dict[str, Any]:
    """The words above the gallery, `head`, and its entries in order, `entry`."""
    return tomllib.loads((DOCS / "results" / "gallery.toml").read_text(encoding="utf-8"))


def entries() -> list[dict[str, Any]]:
    """The entries of the gallery in order."""
    return list(described()["entry"])


def experiment_of(entry: dict[str, Any]) -> lr.Experiment:
    """The experiment of an entry: a panel with changes, or TOML."""
    if "toml" in entry:
        return lr.Experiment.from_toml(entry["toml"], DOCS)
    return lr.studies.load(entry["experiment"]).with_changes(entry.get("changes", {}))


def page(captions: dict[str, str]) -> str:
    """The page of the gallery.

    - **Takes** `captions`, the caption of each entry's figure by name.
    """
    return described()["head"] + "".join(map(_section, entries(), map(captions.get, _names())))


def _names() -> list[str]:
    return [entry["name"] for entry in entries()]


def _section(entry: dict[str, Any], caption: str | None) -> str:
    figure = f"![{entry['title']}](../figures/gallery/{entry['name']}.png)"
    shown = f"```toml\n{entry['toml'].strip()}\n```\n" if "toml" in entry else ""
    command = f"<!-- not run: `make gallery` runs it -->\n```console\n$ {command_of(entry)}\n```\n"
    caption = f"*{caption}*\n" if caption else ""
    parts = (f"## {entry['title']}", entry["words"].strip(), figure, caption, shown, command)
    return "\n" + "\n\n".join(part.strip() for part in parts if part) + "\n"


def command_of(entry: dict[str, Any]) -> str:
    """The command that runs an entry; entries with TOML are in a file of their name."""
    name = f"{entry['name']}.toml" if "toml" in entry else entry["experiment"]
    changes = [f"--set {key}={_shown(value)}" for key, value in entry.get("changes", {}).items()]
    over = [f"--over {key}={values}" for key, values in entry.get("over", {}).items()]
    if over:
        return " ".join(["lazyrich sweep", name, *over, "--store runs --forecast"])
    return " ".join(["lazyrich run", name, *changes])


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return shlex.quote(value)
    return json.dumps(value, separators=(",", ":"))


def drawn(entry: dict[str, Any]) -> Any:
    """The figure of an entry, from a run or a sweep of it."""
    experiment = experiment_of(entry)
    if "over" in entry:
        over = {key: parse_values(key, values) for key, values in entry["over"].items()}
        with tempfile.TemporaryDirectory() as folder:
            runs = lr.sweep(experiment, over, folder, forecast=True)
        diagram = lr.maps.phase_diagram(runs, *over)
        return lr.plot.map(diagram)
    panel = entry.get("experiment")
    thresholds = lr.Thresholds() if panel is None else lr.studies.thresholds(panel)
    forecast = lr.forecast(experiment, thresholds=thresholds)
    record = lr.simulate(experiment, progress=True)
    record.attrs["thresholds"] = json.dumps(thresholds.table())
    curves = lr.studies.curves_at(experiment.published, experiment.value)
    return lr.plot.run(record, forecast, curves=curves or None)


def main() -> None:
    """Runs all entries, or those whose names are given, and writes page and figures."""
    FIGURES.mkdir(exist_ok=True, parents=True)
    wanted, kept = sys.argv[1:] or _names(), DOCS / "figures" / "gallery" / "captions.toml"
    captions = tomllib.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    for entry in entries():
        if entry["name"] not in wanted:
            continue
        figure = drawn(entry)
        figure.savefig(FIGURES / f"{entry['name']}.png", dpi=120)
        captions[entry["name"]] = figure.caption
        ordered = {name: captions[name] for name in _names() if name in captions}
        kept.write_text(tomli_w.dumps(ordered), encoding="utf-8")
        (DOCS / "results" / "gallery.md").write_text(page(ordered), encoding="utf-8")


if __name__ == "__main__":
    main()
