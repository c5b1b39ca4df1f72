"""The calibration of forecasts: how far off they are, on runs that their constants are not from.

python benchmarks/forecast.py [STORE] [PANEL ...]

Runs the study `forecast` at full size, forecasts every run, and writes `forecast.json` beside this
file and `docs/figures/forecast.png`. The first half of a panel's seeds are those that calibrate: it
prints which kappa they come to, in the middle and at the ends of the shortest interval with eight
runs in ten, less that of `src/lazyrich/forecasts/calibration.toml`. All others are held out. What
STORE holds already is not run again.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import lazyrich as lr

ROOT = Path(__file__).parents[1]


def flat(dataset: xr.Dataset) -> xr.Dataset:
    """Runs along one dimension, with what is the same in all panels."""
    names = [n for n in dataset if str(n).startswith("forecast_")]
    kept = dataset[["outcome", "t50", "textbook", "clock", *names]]
    of_run = {
        f"{str(key).rpartition('.')[-1]}_of_run": value.broadcast_like(kept["outcome"]).variable
        for key, value in dataset.coords.items()
        if value.ndim
    }
    kept = kept.drop_vars(list(kept.coords)).assign(of_run)
    return kept.stack(run=dataset["outcome"].dims, create_index=False)


def constants(runs: xr.Dataset) -> dict[str, dict[str, float]]:
    """Of every family the kappa that its calibrating runs come to, and what a solve is off by."""
    found = {}
    families = runs["forecast_family"].values
    for family in np.unique(families):
        here = runs.isel(run=families == family)
        off = (here["clock"] - here["forecast_clock"]).values
        off = off[np.isfinite(off)]
        if len(off):
            low, high = shortest(off)
            middle = float(np.median(off))
            found[str(family)] = {"runs": len(off), "low": low, "middle": middle, "high": high}
            ratio = np.log(here["forecast_t50"].values / here["t50"].values)
            solved = np.isfinite(ratio) & (here["forecast_num_gradients"].values > 0)
            if solved.any():
                found[str(family)]["error"] = float(np.quantile(np.abs(ratio[solved]), 0.8))
    return found


def shortest(values: np.ndarray) -> tuple[float, float]:
    """The shortest interval that holds eight values in ten."""
    values = np.sort(values)
    num = int(np.ceil(0.8 * len(values)))
    begin = int(np.argmin(values[num - 1 :] - values[: len(values) - num + 1]))
    return float(values[begin]), float(values[begin + num - 1])


def by_scale(held: xr.Dataset) -> dict[str, dict[str, float]]:
    """Of every scale the ratios of times, whichever is the larger over the other, and how late
    the textbook is."""
    found = {}
    scales = held.get("init_scale_of_run", held["t50"] * np.nan).values
    for scale in np.unique(scales[np.isfinite(scales)]):
        here = held.isel(run=scales == scale)
        came, said = here["t50"].values, here["forecast_t50"].values
        ratio = np.exp(np.abs(np.log(said / came)))
        ratio, late = ratio[np.isfinite(ratio)], (here["textbook"].values / came)
        if len(ratio):
            median, most = (float(q) for q in np.quantile(ratio, (0.5, 0.9)))
            found[f"{scale:g}"] = {"median": median, "nine in ten": most, "worst": ratio.max()}
            found[f"{scale:g}"] |= {"textbook": float(np.nanmedian(late))}
    return found


def main(store: str, names: list[str]) -> None:
    results: dict[str, Any] = {}
    every = []
    for name in names or lr.studies.panels("forecast"):
        (result,) = lr.reproduce("forecast", store, panel=name, preset="paper", workers=1)
        runs = flat(result.dataset)
        runs.to_dataframe().to_csv(Path(store) / f"forecast-{name}.csv", float_format="%.6g")
        seeds = np.unique(runs["seed_of_run"])
        calibrates = runs["seed_of_run"].values < seeds[-(-len(seeds) // 2)]
        held = runs.isel(run=~calibrates)
        every.append(held)
        results[name] = {
            "outcomes": result.outcomes,
            "held out": asdict(lr.sweeps.forecast_scores(held)),
            "all": asdict(lr.sweeps.forecast_scores(runs)),
            "held out, by scale": by_scale(held),
            "kappa less that of the table": constants(runs.isel(run=calibrates)),
            "forecast seconds": float(np.median(runs["forecast_seconds"])),
        }
        print(name, json.dumps(results[name], indent=1), flush=True)
    held = xr.concat(every, "run")
    results["together"] = {"held out": asdict(lr.sweeps.forecast_scores(held))}
    print(json.dumps(results["together"], indent=1))
    if names:
        return
    lr.plot.forecasts(held).savefig(ROOT / "docs" / "figures" / "forecast.png", dpi=120)
    text = json.dumps(results, indent=1) + "\n"
    Path(__file__).with_name("forecast.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "forecast-store", sys.argv[2:])
