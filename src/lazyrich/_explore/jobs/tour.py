"""Jobs of the Tour: its stories, and whether a run shows what its step says."""

import functools
import math
from importlib.resources import files
from typing import Annotated, Any, Literal

import numpy as np
import pydantic
import xarray as xr

from ... import studies
from ..._core.errors import InputError
from ..._core.keys import at_key
from ..._core.toml import parse_toml
from ...experiments.experiment import Experiment
from ...forecasts import Forecast, forecast
from ...plot.describe._captions import powers
from ...records.file import open_record
from ...records.summary import summarise
from ..job import Args, Place, Send

_Text = Annotated[str, pydantic.Field(min_length=1, max_length=2000)]


class Claim(Args):
    """A number that a step names, and its bounds: `is` is for words."""

    model_config = pydantic.ConfigDict(populate_by_name=True)

    text: _Text
    quantity: _Text
    over: str | None = None
    minus: str | None = None
    word: str | None = pydantic.Field(None, alias="is")
    at_least: float | None = None
    at_most: float | None = None

    @property
    def claimed(self) -> str:
        """The bounds in words."""
        if self.word is not None:
            return self.word.replace("_", " ")
        low, high = self.at_least, self.at_most
        if low is not None and high is not None:
            return f"{low:,g} to {high:,g}"
        return f"at least {low:,g}" if low is not None else f"at most {high:,g}"

    def holds(self, value: float | str | None) -> bool:
        """Whether a measured value is within the bounds."""
        if self.word is not None:
            return value == self.word
        if not isinstance(value, float) or math.isnan(value):
            return False
        low, high = self.at_least, self.at_most
        return (low is None or value >= low) and (high is None or value <= high)


class _Run(Args):
    name: _Text
    changes: dict[str, Any]


class Step(Args):
    """A step of a story: text, and one experiment or several that are compared."""

    title: _Text
    text: _Text
    look: _Text
    setting: _Text
    shows: list[Claim]
    changes: dict[str, Any] = pydantic.Field(default_factory=dict)
    runs: list[_Run] = pydantic.Field(default_factory=list)
    time: Literal["log", "linear"] = "log"
    inside: bool = False


class Story(Args):
    """A story: five steps or fewer."""

    id: _Text
    title: _Text
    words: _Text
    steps: list[Step]


class _Setting(Args):
    base: _Text
    changes: dict[str, Any]


class Tour(Args):
    """All stories, and the experiments from which their steps begin."""

    settings: dict[str, _Setting]
    stories: list[Story]

    def runs_of(self, step: Step) -> dict[str, dict[str, Any]]:
        """The experiments of a step by name, each with base and changes, as the Lab takes them."""
        setting = self.settings[step.setting]
        own = step.runs or [_Run(name="the run", changes={})]
        return {
            run.name: {
                "base": setting.base,
                "changes": {**setting.changes, **step.changes, **run.changes},
            }
            for run in own
        }


@functools.cache
def tour() -> Tour:
    """The tour, from its file."""
    text = files(__package__).joinpath("tour.toml").read_text(encoding="utf-8")
    return Tour.read(parse_toml(text))


class _Nothing(Args):
    pass


def list_stories(args: dict[str, Any], send: Send, place: Place) -> dict[str, Any]:
    """Every story with its steps: texts, experiments, and what they claim."""
    del send, place
    _Nothing.read(args)
    whole = tour()
    stories = []
    for story in whole.stories:
        steps = [
            {
                "title": step.title,
                "text": " ".join(step.text.split()),
                "look": step.look,
                "time": step.time,
                "inside": step.inside,
                "runs": [
                    {"name": name, "experiment": found}
                    for name, found in whole.runs_of(step).items()
                ],
                "shows": [{"text": c.text, "claimed": c.claimed} for c in step.shows],
            }
            for step in story.steps
        ]
        stories.append({"id": story.id, "title": story.title, "words": story.words, "steps": steps})
    return {"stories": stories}


_Hash = Annotated[str, pydantic.Field(pattern="^[0-9a-f]{64}$")]


class _Check(Args):
    story: Annotated[str, pydantic.Field(max_length=100)]
    step: Annotated[int, pydantic.Field(ge=0, lt=100)]
    runs: Annotated[list[_Hash], pydantic.Field(min_length=1, max_length=10)]


def check(args: dict[str, Any], send: Send, place: Place) -> dict[str, Any]:
    """What a step claims beside what the records of its runs show.

    - **Takes** `runs`, the identifiers of the Lab's records, in the order of the step.
    """
    del send
    asked = _Check.read(args)
    step = step_of(asked.story, asked.step)
    experiments = tour().runs_of(step)
    if len(asked.runs) != len(experiments):
        raise InputError("runs", len(asked.runs), f"should be {len(experiments)} for this step")
    records = {}
    for name, run in zip(experiments, asked.runs, strict=True):
        path = place.scratch / f"record-{run}.nc"
        if not path.is_file():
            raise InputError("runs", run[:8], "is no longer kept: run the step again")
        records[name] = open_record(path)
    return {"shows": measured(step, records)}


def step_of(story: str, number: int) -> Step:
    """A step by the name of its story.

    - **Raises** [`InputError`][lazyrich.InputError] if there is no such step.
    """
    known = {one.id: one for one in tour().stories}
    if story not in known:
        raise InputError("story", story, f"should be one of {', '.join(known)}")
    steps = known[story].steps
    if number >= len(steps):
        raise InputError("step", number, f"should be from 0 to {len(steps) - 1}")
    return steps[number]


def measured(step: Step, records: dict[str, xr.Dataset]) -> list[dict[str, Any]]:
    """Each claim of a step with the value that the records show, and whether it holds."""
    experiments = tour().runs_of(step)
    shown = {name: _Shown(records[name], experiments[name]) for name in records}
    first = next(iter(shown))
    rows = []
    for claim in step.shows:
        value = _value(claim.quantity, shown, first)
        for other, combine in ((claim.over, np.divide), (claim.minus, np.subtract)):
            if other is not None and isinstance(value, float):
                with np.errstate(all="ignore"):
                    value = float(combine(value, _value(other, shown, first)))
        text = value.replace("_", " ") if isinstance(value, str) else None
        if isinstance(value, float) and math.isfinite(value):
            text = powers(f"{value:.4g}" if abs(value) >= 1e5 else f"{value:,.4g}")
        rows.append(
            {
                "text": claim.text,
                "claimed": claim.claimed,
                "measured": text or "none",
                "holds": claim.holds(value),
            }
        )
    return rows


class _Shown:
    """The summary of a run, and its forecast, which is computed where a claim needs it."""

    def __init__(self, record: xr.Dataset, state: dict[str, Any]) -> None:
        self._state = state
        self.summary = summarise(record)

    @property
    def experiment(self) -> Experiment:
        return studies.load(self._state["base"]).with_changes(self._state["changes"])

    @functools.cached_property
    def forecast(self) -> dict[str, Any]:
        found: Forecast = forecast(self.experiment)
        return found.summary()

    def value(self, key: str) -> float | str:
        """A number or a word at a key; NaN where it is unknown."""
        kind, _, rest = key.partition(".")
        if kind == "forecast":
            found = at_key(self.forecast, rest)
        elif kind == "scaled":
            found = at_key(self.summary, rest)
            found = None if found is None else found * self.experiment.weight_decay
        else:
            found = at_key(self.summary, key)
        if isinstance(found, str):
            return found
        return math.nan if found is None else float(found)


def _value(text: str, shown: dict[str, _Shown], first: str) -> float | str:
    """The value of `KEY` for the first run, or of `KEY @ NAME`."""
    key, _, name = text.partition(" @ ")
    return shown[name or first].value(key)
