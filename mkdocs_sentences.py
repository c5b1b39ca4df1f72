"""Sentences whose numbers benchmarks have written beside themselves, as the pages must have them.

`tests/test_pages.py` looks for each on its page. Tables are written by `mkdocs_results.py` and
`mkdocs_measured.py`; a sentence is written by hand, and only its numbers come from
`benchmarks/*.json`.
"""

import math
from typing import Any

from mkdocs_results import kept, part, share

README = "README.md"
ACCURACY = "results/forecast-accuracy.md"
MAPS = "results/phase-maps.md"
SCALING = "results/scaling.md"


def sentences() -> list[tuple[str, str]]:
    """Pages, and what each must say; blanks and ends of lines are alike."""
    return [
        *before_training(),
        *small_scales(),
        *during_training(),
        *maps(),
        *scaling(),
        *explorer(),
        *reduction(),
        *cross_check(),
        *words(),
    ]


def before_training() -> list[tuple[str, str]]:
    """Forecasts before training (`benchmarks/forecast.json`)."""
    of = kept("forecast")["together"]["held out"]
    right = f"{of['num_right']} of {of['num_verdicts']} right"
    error = share(of["error"])
    return [
        (README, f"median error of $t_{{50}}$ {error} before training, {of['num_timed']} held-out"),
        (README, f"| verdicts of forecasts before training | {right} |"),
        (ACCURACY, f"over all panels they contain {share(of['coverage'])}."),
        ("results/forecasters.md", f"a calibrated family | {of['num_timed']} | {error} |"),
    ]


def small_scales() -> list[tuple[str, str]]:
    """Forecasts of diagonal nets by the initial scale (`benchmarks/forecast.json`)."""
    by = kept("forecast")["sparse"]["held out, by scale"]
    few = by["10"]
    factors = f"{few['median']:.3f}, {few['nine in ten']:.2f} and {few['worst']:.2f}"
    nine, worst = (
        [f"{100 * (by[scale][key] - 1):.0f}" for scale in ("30", "100", "1000")]
        for key in ("nine in ten", "worst")
    )
    return [
        (ACCURACY, f"factors of {factors}."),
        (ACCURACY, f"too late by a factor of {few['textbook']:.0f} in the median"),
        (ACCURACY, f"are within {_listed(nine)} %, and the worst are off by {_listed(worst)} %"),
    ]


def _listed(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}"


def during_training() -> list[tuple[str, str]]:
    """The time that remains (`benchmarks/torch_remaining.json`)."""
    found = kept("torch_remaining")
    kinds = [of for key, of in found.items() if key.startswith("held out, ")]
    others = [of for key, of in found.items() if key.startswith("calibrating, ")]
    first = [of["at the first verdict"] for of in kinds]
    runs, reached, with_verdict, generalised, alike = (
        sum(of[key] for of in kinds)
        for key in ("runs", "runs that reach the level", "runs with a verdict",
                    "of these, runs that generalised",
                    "of these, grok or immediate as the outcome")
    )  # fmt: skip
    test, half = (_inside(first, key) for key in ("t_test", "t50"))
    controls = sum(of["controls"] for of in [*kinds, *others])
    silent = controls - sum(of["controls with a verdict"] for of in [*kinds, *others])
    leads = sorted(of["t_test lead"] for of in first)
    assert (generalised, silent) == (with_verdict, controls)
    return [
        (README, f"predicted {leads[0]:.1f} to {leads[-1]:.1f} times earlier, with an interval"),
        (README, f"| {runs} held-out PyTorch trainings, AdamW and SGD: times of accuracy 0.95 | "
                 f"{test[0]} of {test[1]} in their intervals; no verdict on {controls} controls |"),
        (ACCURACY, f"counts for the {reached} of {runs} runs that reach 0.95"),
        (ACCURACY, f"all {with_verdict} runs with a verdict generalised. In {alike} of them"),
        (ACCURACY, f"contain {test[0]} of {test[1]} times of 0.95 ({share(test[0] / test[1])}) and "
                   f"{half[0]} of {half[1]} of one half ({share(half[0] / half[1])})"),
    ]  # fmt: skip


def _inside(answers: list[dict[str, Any]], key: str) -> tuple[int, int]:
    """How many times lie in their intervals, and of how many.

    Half times are of the kinds of runs that have them for most of their answers, as in the table.
    """
    least = 0 if key == "t_test" else 0.5
    asked = [of for of in answers if of[f"{key} number"] > least * of["answers"]]
    inside = [part(of[f"{key} in interval"], of[f"{key} number"]).split(" of ") for of in asked]
    return sum(int(few) for few, _ in inside), sum(int(all_) for _, all_ in inside)


def maps() -> list[tuple[str, str]]:
    """Both maps and the boundary that is located (`benchmarks/maps.json`)."""
    found = kept("maps")
    sparse, separated = found["maps"]["sparse"], found["maps"]["separated"]
    located = found["located"]
    law = [f"{value:.3f}" for value in sparse["slope"]]
    offset = [f"{value:.2f}" for value in sparse["offset"]]
    right, wide = sparse["forecasts"], separated["forecasts"]
    edges = [f"{value:.1f}" for value in located["boundary"]]
    early = 1 - math.exp(wide["bias"])
    return [
        (MAPS, f"All {right['num_runs']:,} forecasts take {sparse['forecast seconds']:.0f} s of "
               f"one core, and {right['num_right']:,} of their verdicts come true."),
        (MAPS, f"The median error of the half times is {share(right['error'])}"),
        (MAPS, f"{share(right['coverage'])} of the times lie in their intervals"),
        (MAPS, f"takes {located['runs']} of its {located['of']:,} runs, {share(located['share'])}, "
               f"in {located['rounds']} rounds"),
        (MAPS, f"moves from $\\alpha = {edges[0]}$ at"),
        (MAPS, f"and {edges[-1]} at 0.1"),
        (MAPS, f"= {law[0]} \\log\\alpha - {offset[0].strip('-')}$, with 95 % intervals of "
               f"$[{law[1]}, {law[2]}]$ and $[{offset[1]}, {offset[2]}]$ over seeds"),
        (MAPS, f"{separated['outcomes']['misgrokked']:,} of {separated['runs']:,} runs misgrok"),
        (MAPS, f"half times are {share(early)} early in the median, and {share(wide['coverage'])} "
               "lie in their intervals."),
        (MAPS, f"is given for {wide['num_verdicts']} runs, and {wide['num_right']} of these"),
    ]  # fmt: skip


def scaling() -> list[tuple[str, str]]:
    """A sweep of 10,000 runs (`benchmarks/sweeps.json`)."""
    found = kept("sweeps")
    of, plan = found["sweeps"][-1], found["plans"][-1]
    simulating, overhead = (of[f"milliseconds a run, {key}"] for key in ("simulating", "overhead"))
    return [
        (README, f"| {of['runs']:,} small runs in one sweep | {simulating:.0f} ms a run, "
                 f"{overhead:.1f} ms of it overhead |"),
        (SCALING, f"it takes {of['seconds']:.0f} s, {simulating:.1f} ms of one core per run"),
        (SCALING, f"is **{overhead:.2f} ms per run**"),
        (SCALING, f"A run takes {of['bytes a run'] / 1000:.1f} kB in the store"),
        (SCALING, f"compiling a first batch takes {found['seconds to start']:.0f} s once"),
        (SCALING, f"Planning stores {plan['bytes a run']:.0f} bytes per run: a million runs are "
                  f"planned in {plan['seconds']:.1f} s"),
    ]  # fmt: skip


def explorer() -> list[tuple[str, str]]:
    """Ten changes a second (`benchmarks/explorer.json`)."""
    of = kept("explorer")["ten changes a second"]
    return [
        ("how-to/explore.md",
         f"{of['changes']} in all, {of['figures drawn']} forecasts were drawn, at most "
         f"{of['longest pause between figures, s']:.2f} s apart."),
    ]  # fmt: skip


def reduction() -> list[tuple[str, str]]:
    """Rodas5P beside Tsit5 (`benchmarks/results.json`)."""
    found, page = kept("results"), "explanation/reduction.md"
    said = []
    for key in ("grokking", "misgrokking", "small"):
        of = found[key]
        ratio = of["Tsit5 / Rodas5P, seconds"]
        ours = f"{of['Rodas5P, right-hand sides']:.0f} + {of['Rodas5P, Jacobians']:.0f}"
        theirs = f"{of['Tsit5, right-hand sides']:,.0f}"
        said.append((page, f"| {ours} | {theirs} | {ratio:#.2g} |"))
    descent = [
        100 * round(next(v for name, v in found[key].items() if "extrapolated" in name) / 100)
        for key in ("grokking", "misgrokking")
    ]
    gram, side = (found["products"][f"{key}, ms"] for key in
                  ("weighted Gram matrix", "right-hand side"))  # fmt: skip
    said.append((page, f"it takes {descent[0]:,} and {1000 * round(descent[1] / 1000):,} times"))
    said.append((page, f"{gram:.0f} ms and {side:.0f} ms on one core."))
    return said


def cross_check() -> list[tuple[str, str]]:
    """The cost and the differences of both methods (`benchmarks/cross_check.json`)."""
    found, page = kept("cross_check"), "results/lyu2024.md"
    flow, *descents = (of["gradients"] for of in found["cost"].values())
    times = found["times"]
    off = {key: abs(value / times["extrapolated"][key] - 1) for key, value in times["flow"].items()}
    losses = max(value for key, value in off.items() if "loss" in key)
    means = max(value for key, value in off.items() if "mean" in key)
    tests = [value for key, value in off.items() if "accuracy" in key and "mean" not in key]
    beyond = {3: "three"}.get(sum(value > 0.01 for value in tests))
    return [
        (page, f"{flow:,} gradients) and by gradient descent at the rates 0.1 and 0.05"),
        (page, f"({descents[0]:,} and {descents[1]:,} gradients)"),
        (page, f"Losses agree within {share(losses)}"),
        (page, f"{beyond} of five single levels are beyond 1 %, by up to {share(max(tests))}"),
        (page, f"agrees within {share(means)}"),
    ]


def words() -> list[tuple[str, str]]:
    """How many verdicts are given, and are right (`benchmarks/words.json`)."""
    rows, page = kept("words"), "results/words.md"
    given = [row for row in rows if row["right"] is not None]
    sure = sum(row["confidence"] == "high" for row in given)
    assert all(row["right"] for row in given)
    return [
        (page, f"outcome words of {len(rows)} runs beside their numbers"),
        (
            page,
            f"There are {len(given)} verdicts, {sure} of them of high confidence, and all agree",
        ),
    ]
