"""The maps of docs/how-to/maps.md at full size: 20 x 20 x 5 runs each, and a boundary to 5 %.

python benchmarks/maps.py [STORE]

Writes `maps.json` beside this file and `docs/figures/map_*.png`. What STORE holds already is
not run again; the times printed are then those of what was missing.
"""

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import lazyrich as lr

ROOT = Path(__file__).parents[1]


def panels(store: str) -> dict[str, Any]:
    """Both maps of the study."""
    found = {}
    for name in ("sparse", "separated"):
        begun = time.perf_counter()
        (result,) = lr.reproduce("maps", store, panel=name, preset="paper")
        seconds = time.perf_counter() - begun
        diagram = lr.maps.phase_diagram(result.dataset)
        late = ("grokked", "improved") if name == "sparse" else "misgrokked"
        between = (("immediate", "gradual"), late)
        edge = lr.maps.boundary(result.dataset, between=between)
        said = lr.maps.boundary(result.dataset, between=between, of="forecast_outcome")
        lines = [line if line["place"].notnull().any() else None for line in (edge, said)]
        figure = lr.plot.map(diagram, lines[0], forecast=lines[1])
        figure.savefig(ROOT / "docs" / "figures" / f"map_{name}.png", dpi=120)
        found[name] = {
            "runs": len(result.sweep),
            "seconds": seconds,
            "outcomes": result.outcomes,
            "boundary": edge["place"].values.tolist(),
            "boundary as forecast": said["place"].values.tolist(),
            "forecasts": asdict(lr.sweeps.forecast_scores(result.dataset)),
            "forecast seconds": float(result.dataset["forecast_seconds"].sum()),
            "steps": float(result.dataset["num_steps"].sum()),
        }
        if name == "sparse":
            fit = lr.maps.scaling_fit(result.dataset.sel(init_scale=slice(30, None)))
            found[name]["slope"] = [fit.slope, *fit.slope_interval]
            found[name]["offset"] = [fit.offset, *fit.offset_interval]
        print(name, json.dumps(found[name], indent=1), flush=True)
    return found


def located(store: str) -> dict[str, Any]:
    """The boundary of the sparse map on a grid of 5 % steps, by bisection."""
    experiment, over = lr.studies.panels("maps")["sparse"].varied("paper")
    scales = 1.05 ** np.arange(0, 95)  # 1 to 98
    begun = time.perf_counter()
    found = lr.maps.refine(
        experiment,
        {"weight_decay": over["weight_decay"], "seed": over["seed"], "init_scale": scales},
        store,
    )
    brackets = [len(crossing.brackets) for crossing in found.crossings.values()]
    edge = lr.maps.boundary(found.dataset)
    return {
        "runs": found.num_runs,
        "of": found.num_lattice,
        "share": found.num_runs / found.num_lattice,
        "rounds": found.num_rounds,
        "lines": len(brackets),
        "lines with one boundary": brackets.count(1),
        "seconds": time.perf_counter() - begun,
        "boundary": edge["place"].values.tolist(),
        "low": edge["low"].values.tolist(),
        "high": edge["high"].values.tolist(),
    }


def main(store: str) -> None:
    results = {"maps": panels(store), "located": located(f"{store}-refined")}
    print(json.dumps(results["located"], indent=1))
    text = json.dumps(results, indent=1) + "\n"
    Path(__file__).with_name("maps.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "maps-store")
