"""Runs the stories of the explorer's tour and writes them as a page: `make gallery`."""

import json
import tomllib
from functools import cache
from typing import Any

import tomli_w
from mkdocs_gallery import DOCS, described

import lazyrich as lr
from lazyrich._explore.jobs.tour import Step, Story, measured, tour

FIGURES = DOCS / "figures" / "tour"
KEPT = FIGURES / "measured.toml"

Rows = list[dict[str, Any]]


def name_of(story: Story, number: int) -> str:
    """The name of a step's figure."""
    return f"{story.id}_{number + 1}"


def page(rows: dict[str, Rows]) -> str:
    """The page of the tour.

    - **Takes** `rows`, for each step by the name of its figure, its claims and what was measured.
    """
    return str(described()["tour_head"]) + "".join(_story(story, rows) for story in tour().stories)


def _story(story: Story, rows: dict[str, Rows]) -> str:
    steps = [
        _step(step, name_of(story, number), rows.get(name_of(story, number), []))
        for number, step in enumerate(story.steps)
    ]
    return "\n".join([f"\n## {story.title}\n", f"*{story.words}*", *steps])


def _step(step: Step, name: str, rows: Rows) -> str:
    lines = [f"| {row['text']} | {row['claimed']} | {row['measured']} |" for row in rows]
    table = "\n".join(["| | claimed | measured |", "|---|---|---|", *lines])
    figure = f"![{step.title}](../figures/tour/{name}.png)"
    text = f"{step.text.strip()}\n{step.look}"
    return "\n\n".join([f"\n### {step.title}", text, figure, table]) + "\n"


@cache
def _record(base: str, experiment: lr.Experiment) -> Any:
    """The record of a run, which is judged by the thresholds of its panel."""
    record = lr.simulate(experiment)
    record.attrs["thresholds"] = json.dumps(lr.studies.thresholds(base).table())
    return record


def drawn(step: Step) -> tuple[Any, Rows]:
    """The figure of a step, and its claims with what was measured."""
    runs, records = tour().runs_of(step), {}
    for name, run in runs.items():
        experiment = lr.studies.load(run["base"]).with_changes(run["changes"])
        records[name] = _record(run["base"], experiment)
    rows = measured(step, records)
    if len(records) > 1:
        return lr.plot.run(records, time=step.time), rows
    (run,), (record,) = runs.values(), records.values()
    experiment = lr.studies.load(run["base"]).with_changes(run["changes"])
    said = lr.forecast(experiment, thresholds=lr.studies.thresholds(run["base"]))
    return lr.plot.run(record, said, time=step.time), rows


def main() -> None:
    """Runs all steps, and writes page and figures."""
    FIGURES.mkdir(exist_ok=True, parents=True)
    rows: dict[str, Rows] = {}
    for story in tour().stories:
        for number, step in enumerate(story.steps):
            name = name_of(story, number)
            figure, rows[name] = drawn(step)
            figure.savefig(FIGURES / f"{name}.png", dpi=100)
    KEPT.write_text(tomli_w.dumps(rows), encoding="utf-8")
    (DOCS / "results" / "tour.md").write_text(page(rows), encoding="utf-8")


def kept() -> dict[str, Rows]:
    """What was measured when the page was written."""
    return tomllib.loads(KEPT.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
