"""Tables of results on forecasts, from the numbers that benchmarks have written beside themselves.

`benchmarks/NAME.json` is written by `python benchmarks/NAME.py`. `python mkdocs_tables.py` puts the
tables into the pages, so a number of such a table is the one that was printed.
"""

import json
import math
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent
NONE = "–"


def kept(name: str) -> Any:
    """The numbers of a benchmark."""
    return json.loads((ROOT / "benchmarks" / f"{name}.json").read_text(encoding="utf-8"))


def table(columns: str, rows: list[list[str]]) -> str:
    """A table in Markdown; the names of columns are separated by bars."""
    lines = [f"| {columns} |", "|" + "---|" * (columns.count("|") - columns.count(r"\|") + 1)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def share(value: float | None, digits: int = 1) -> str:
    """A share as a percentage: with `digits` decimals below ten per cent, and none above."""
    if value is None or math.isnan(value):
        return NONE
    percent = 100 * value
    text = f"{percent:.{digits}f}" if abs(percent) < 9.95 else f"{percent:.0f}"
    return f"$-{text[1:]}$ %" if text.startswith("-") and float(text) else f"{text.strip('-')} %"


def part(of: float, whole: int) -> str:
    """A share of `whole` runs as numbers of runs."""
    return f"{round(of * whole)} of {whole}"


def tables() -> dict[str, str]:
    """Every table of forecasts by its name, which stands in the comments around it."""
    return {
        "forecast accuracy": accuracy(),
        "pilots": pilots(),
        "forecasters": forecasters(),
        "pilots of modules": pilots_of_modules(),
        "remaining": remaining(),
        "remaining, few classes": few_classes(),
        "remaining and the norm law": norm_law(),
        "cost of the monitor": cost_of_the_monitor(),
    }


def accuracy() -> str:
    """Forecasts before training (`benchmarks/forecast.json`)."""
    panels = {
        "sparse": "diagonal nets that grok, $L = 2$",
        "deeper": "the same, $L = 3$ and 4",
        "separated": "diagonal nets that misgrok, solved",
        "completion": "matrix completion",
        "modular": "modular addition, $p = 19$",
        "modular-31": "modular addition, $p = 31$",
        "polynomial": "polynomial regression, solved",
        "student": "student and teacher, solved",
        "null": "null control, random labels",
        "together": "all",
    }
    found, rows = kept("forecast"), []
    for panel, name in panels.items():
        of = found[panel]["held out"]
        timed, runs = of["num_timed"], of["num_runs"]
        number = str(timed) if timed == runs or panel == "together" else f"{timed} of {runs}"
        right = f"{of['num_right']} of {of['num_verdicts']}"
        numbers = [share(of[key]) for key in ("error", "bias", "spread")]
        rest = [share(of["coverage"], 0), share(of["baseline"], 0)]
        rows.append(
            [name, number, *numbers, *rest, right + (": `none`" if panel == "null" else "")]
        )
    head = (
        "panel | runs with a time | error | bias | spread | in its interval | baseline "
        "| verdicts that came true"
    )
    return table(head, rows)


def pilots() -> str:
    """Pilots before training (`benchmarks/pilot.json`)."""
    kinds = {
        "MLP, AdamW": r"MLP, AdamW, $\beta_2 = 0.98$",
        "MLP, AdamW, beta2 = 0.999": r"the same, $\beta_2 = 0.999$",
        "larger MLP, AdamW": r"larger MLP, AdamW, $\beta_2 = 0.98$",
        "MLP, SGD with momentum": "MLP, SGD, momentum 0.9",
        "transformer, AdamW": r"transformer, AdamW, $\beta_2 = 0.98$",
    }
    found = kept("pilot")
    rows = [_pilot(name, found[kind]["held out"]) for kind, name in kinds.items()]
    rows.append(_pilot("all", found["all held out"]))
    controls = [found[f"{net}, random labels"]["held out"] for net in ("MLP", "transformer")]
    runs, right = (sum(c[key] for c in controls) for key in ("runs", "verdict right"))
    alike = sum(c["generalises or not, right"] for c in controls)
    cost = sum(c["cost"] * c["runs"] for c in controls) / runs
    rows.append(
        ["controls: MLP and transformer, random labels", str(runs), *[NONE] * 4,
         f"{right}: `none`", str(alike), f"{cost:.2f}"]
    )  # fmt: skip
    head = (
        "held-out runs | runs | median | nine in ten | MAPE | in interval | verdict right "
        "| generalises or not, right | cost, in runs"
    )
    return table(head, rows)


def _pilot(name: str, of: dict[str, Any]) -> list[str]:
    errors = [share(of[key]) for key in ("median", "nine in ten", "MAPE")]
    verdicts = [str(of["verdict right"]), str(of["generalises or not, right"])]
    inside = part(of["in interval"], of["timed"])
    return [name, str(of["runs"]), *errors, inside, *verdicts, f"{of['cost']:.2f}"]


def forecasters() -> str:
    """Other forecasters on the same MLPs by AdamW (`benchmarks/pilot.json`)."""
    found = kept("pilot")
    same = found["MLPs by AdamW, all kinds"]
    ours, others = same["held out"], same["baselines"]
    num = found["MLP, AdamW"]["constants"]["runs"]
    whole = found["MLP, AdamW"]["calibrating"]["runs"]
    seen = f"{ours['cost']:.2f} of a run's steps at other learning rates"
    without = [share(ours["median without the constant"]), "", ""]
    rows = [
        ["pilots", f"{seen}; {num} runs of one kind for a constant", "time, interval, verdict",
         str(ours["timed"]), *_errors(ours)],
        ["pilots, without the constant", f"the same without the {num} runs", "time, verdict",
         str(ours["timed"]), *without],
    ]  # fmt: skip
    baselines = {
        "norm law": ("norm law of arXiv:2605.18845",
                     f"the run up to its fit; {whole} runs for two constants"),
        "textbook, two constants": (r"$(c/\lambda) \log (\alpha/\alpha^*)$",
                                    f"{whole} runs for two constants"),
        "textbook": (r"textbook, $(1/\lambda) \log \alpha$, $\alpha > 1$ only", "nothing"),
        "a constant": (f"the median $t_{{50}}$ of the {whole} runs", f"{whole} runs"),
    }  # fmt: skip
    for key, (name, needs) in baselines.items():
        rows.append([name, needs, "time", str(others[key]["runs"]), *_errors(others[key])])
    head = "forecaster | what it must have seen | what it says | runs | median | nine in ten | MAPE"
    return table(head, rows)


def _errors(of: dict[str, Any]) -> list[str]:
    return [share(of[key]) for key in ("median", "nine in ten", "MAPE")]


def pilots_of_modules() -> str:
    """Pilots of PyTorch modules (`benchmarks/torch_pilot.json`)."""
    found = kept("torch_pilot")["table"]
    rows = []
    for key, name in {"mlp": "MLP", "transformer": "transformer"}.items():
        of = found[key]
        timed, nets = of["with both times"], of["nets"]
        error = share(of["median error"]) + (f" ({timed} times)" if timed < nets else "")
        right = of["generalises or not, right"]
        rest = f"; {nets - right} `cannot_say`" if right < nets else ""
        rows.append(
            [name, str(nets), error, share(of["largest error"]),
             f"{of['in the interval']} of {timed}", f"{right}{rest}", f"{of['mean cost']:.2f}"]
        )  # fmt: skip
    controls = [of for key, of in found.items() if "random labels" in key]
    nets = sum(of["nets"] for of in controls)
    right = sum(of["verdict none"] for of in controls)
    cost = sum(of["mean cost"] * of["nets"] for of in controls) / nets
    rows.append(
        ["controls, random labels", str(nets), *[NONE] * 3, f"{right}: `none`", f"{cost:.2f}"]
    )
    head = (
        "nets | number | median error | largest | in interval | generalises or not, right "
        "| cost, in trainings"
    )
    return table(head, rows)


def remaining() -> str:
    """The time that remains, during training (`benchmarks/torch_remaining.json`)."""
    found = kept("torch_remaining")
    kinds = {
        "held out, mlp": r"MLP, AdamW, $\beta_2 = 0.98$",
        "held out, transformer": r"transformer, AdamW, $\beta_2 = 0.98$",
        "held out, default betas": r"MLP, AdamW, $\beta_2 = 0.999$",
        "held out, sgd": "MLP, SGD",
    }
    rows = []
    for kind, name in kinds.items():
        of, first = found[kind], found[kind]["at the first verdict"]
        rows.append([*_verdicts(name, of), *_time(first, "t_test"), *_time(first, "t50")[1:]])
    head = (
        "held-out runs | runs | with a verdict | controls with a verdict "
        r"| first verdict: $t_\text{test}$ over now | error of $t_\text{test}$ | in interval "
        r"| error of $t_\text{half}$ | in interval"
    )
    return table(head, rows)


def _verdicts(name: str, of: dict[str, Any]) -> list[str]:
    controls = of["controls"]
    said = f"{of['controls with a verdict']} of {controls}" if controls else NONE
    return [name, str(of["runs"]), str(of["runs with a verdict"]), said]


def _time(first: dict[str, Any], key: str) -> list[str]:
    """By how much an answer leads, its error, and how often it is in its interval."""
    number = first.get(f"{key} number", 0)
    if not number or (key == "t50" and number < first["answers"] / 2):
        return [NONE, NONE, NONE]
    few = f" ({number} runs)" if number < 3 else ""
    error = share(first[f"{key} error"], 0) + few
    return [f"{first[f'{key} lead']:.1f}", error, part(first[f"{key} in interval"], number)]


def few_classes() -> str:
    """The same where a label is frequent (`benchmarks/torch_remaining_few.json`)."""
    found = kept("torch_remaining_few")
    kinds = {"held out, parity": "parity", "held out, small p": "addition modulo 7, 11, 13"}
    rows = []
    for kind, name in kinds.items():
        of = found[kind]
        cells = _verdicts(name, of)
        cells.insert(3, str(of["of these, runs that generalised"]))
        rows.append([*cells, *_time(of["at the first verdict"], "t_test")])
    head = (
        "runs | number | with a verdict | of these, generalised | controls with a verdict "
        r"| $t_\text{test}$ over now | error of $t_\text{test}$ | in interval"
    )
    return table(head, rows)


def norm_law() -> str:
    """`remaining` beside the norm law (`benchmarks/torch_remaining.json`)."""
    found = kept("torch_remaining")
    law, mlp, transformer = (
        found[key] for key in ("norm law, held out", "held out, mlp", "held out, transformer")
    )
    asked = {
        "MLP: norm law, at the fit": law["mlp"],
        "MLP: `remaining`, first answer with a time": mlp["at the first time"],
        "MLP: `remaining`, first verdict": mlp["at the first verdict"],
        "transformer: norm law, at the fit": law["transformer"],
        "transformer: `remaining`, first verdict": transformer["at the first verdict"],
    }
    keys = ("t_test error", "MAPE of the delay")
    rows = [[name, *(share(of[key], 0) for key in keys)] for name, of in asked.items()]
    return table(r"held-out runs | error of $t_\text{test}$ | mean error of the delay", rows)


def cost_of_the_monitor() -> str:
    """The share of the monitor in a training (`benchmarks/torch_monitor.json`)."""
    found = kept("torch_monitor")["rows"]
    steps = [*found[0]["share"]]
    rows = []
    for row in found:
        name = "full batch" if row["batch"] is None else f"batch {row['batch']}"
        values = [row["share"][step] for step in steps]
        rows.append([f"share of the monitor, {name}", *(share(v, 1 + (v < 0.01)) for v in values)])
    return table(" | ".join(["steps of the training", *(f"{int(s):,}" for s in steps)]), rows)
