"""Tables of results that are not of forecasts, from the numbers that benchmarks have written.

As in `mkdocs_results.py`, which has the tables of forecasts.
"""

import math

from mkdocs_results import kept, table


def tables() -> dict[str, str]:
    """Every table by its name, which stands in the comments around it."""
    return {
        "sweeps": sweeps(),
        "precision": precision(),
        "words by data set": words(),
        "cross check": cross_check(),
        "speed of the explorer": speed_of_the_explorer(),
    }


def sweeps() -> str:
    """The cost of a sweep beside its runs (`benchmarks/sweeps.json`)."""
    rows = [
        [f"{of['runs']:,}", str(of["batches"]), f"{of['seconds']:.0f}",
         f"{of['milliseconds a run, simulating']:.0f}",
         f"{of['milliseconds a run, overhead']:#.2g}",
         *(f"{of[f'milliseconds a run, {what}']:.2f}" for what in ("opening", "consolidating"))]
        for of in kept("sweeps")["sweeps"]
    ]  # fmt: skip
    head = (
        "runs | batches | seconds | simulating, ms per run | overhead, ms per run | opening "
        "| consolidating"
    )
    return table(head, rows)


def precision() -> str:
    """Both precisions side by side (`benchmarks/precision.json`)."""
    rows = []
    for of in kept("precision")["problems"]:
        solver = "" if of["dynamics"] == of["solver"][0] else f" ({of['solver'][0]})"
        single = [_power(of["distance"]), _power(of["shift"])]
        tenth = [_power(of.get(key, math.nan)) for key in ("solver_distance", "solver_shift")]
        rows.append(
            [of["name"], f"`{of['dynamics']}`{solver}",
             ", ".join(f"{n:,}" for n in of["gradients"]),
             ", ".join(f"{s:.2f}" for s in of["seconds"]), f"{of['gain']:.2f}", *single,
             ", ".join(filter(None, tenth))]
        )  # fmt: skip
    head = (
        "problem | dynamics | gradients | seconds | gain | distance | change of $t_{50}$ "
        "| the same for a tenth of `rtol`"
    )
    return table(head, rows)


def _power(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.0e}"


_WORDS_SHOWN = ("train", "early", "late", "ceiling", "chance", "t_train", "t_change")


def words() -> str:
    """Outcome words, as `python benchmarks/words.py --kept` prints them."""
    head = f"{'data':<19}{'model':<9}{'word':<11}{'state':<8}"
    lines = [head + "".join(f"{key:>9}" for key in _WORDS_SHOWN) + "  forecast"]
    for of in kept("words"):
        numbers = ["–" if of[key] is None else f"{of[key]:.3g}" for key in _WORDS_SHOWN]
        said = f"{of['verdict']} ({of['confidence']})"
        mark = "" if of["right"] is None else ("right" if of["right"] else "WRONG")
        name = f"{of['data']:<19}{of['model']:<9}{of['word']:<11}{of['state']:<8}"
        lines.append((name + "".join(f"{n:>9}" for n in numbers) + f"  {said:<19}{mark}").rstrip())
    return "\n".join(["```text", *lines, "```"])


def cross_check() -> str:
    """The flow beside gradient descent (`benchmarks/cross_check.json`)."""
    times = kept("cross_check")["times"]
    columns = [times[key] for key in ("flow", "descent", "descent, half", "extrapolated")]
    rows = []
    for curve in ("train_loss", "test_loss", "train_accuracy", "test_accuracy"):
        for key in (key for key in times["flow"] if key.startswith(curve)):
            name = key.replace("train_", "training ").replace("test_", "test ")
            if "mean of" in key:
                low, high = key.split("mean of ")[1].split(" to ")
                name = f"mean over 25 levels from {low} to {high}"
            ratio = columns[0][key] / columns[-1][key]
            rows.append([name, *(_four(column[key]) for column in columns), f"{ratio:.3f}"])
    head = "level passed | flow | rate 0.1 | rate 0.05 | extrapolated | flow / extrapolated"
    return table(head, rows)


def _four(value: float) -> str:
    """Four digits."""
    return f"{value:,.0f}" if value >= 999.95 else f"{value:#.4g}"


def speed_of_the_explorer() -> str:
    """How long the explorer takes (`benchmarks/explorer.json`)."""
    found = kept("explorer")
    waits = {
        "command to controls": ["the command", "the controls of the page"],
        "slider to forecast": ["a change of a slider", "its forecast on the screen"],
        "run to first curve": ["*Run*", "the first points of its curves on the screen"],
    }
    rows = [[*ends, f"{found[key]['median']:#.2g}"] for key, ends in waits.items()]
    return table("from | to | seconds", rows)
