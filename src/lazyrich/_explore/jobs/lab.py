"""Jobs of the Lab that answer at once: the list, the controls, the forecast, the comparison."""

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

import pydantic

from ... import plot, studies
from ..._core.errors import InputError
from ...experiments import Experiment
from ...experiments.sizes import check_fits
from ...forecasts import Forecast, forecast
from ...forecasts.without_pilots import needs_pilots
from ...plot.describe._captions import powers
from ...plot.description import Figure
from ...records.described import description_of
from ...records.summary import jsonable
from ..asked import Asked, Found, command_of, find, null_control, python_of, toml_of
from ..fields import fields_of
from ..finished import forecast_of, keep_forecast, record_of
from ..job import Args, Place, Send

# The most runs that have colours of their own.
_MOST_RUNS = 7


class _Nothing(Args):
    pass


class _Describe(Args):
    experiment: Asked


class _Forecast(Args):
    experiment: Asked
    columns: Literal[1, 2] = 1
    patient: bool = False


class _Compare(Args):
    runs: Annotated[list[str], pydantic.Field(min_length=1, max_length=_MOST_RUNS)]
    names: list[Annotated[str, pydantic.Field(max_length=200)]] = pydantic.Field(
        default_factory=list
    )
    columns: Literal[1, 2] = 1


def list_experiments(args: dict[str, Any], send: Send, place: Place) -> dict[str, Any]:
    """The experiments that the Lab can begin with: every panel, and the command's file."""
    del send
    _Nothing.read(args)
    listed = [{"name": name, "words": _words_on(studies.load(name))} for name in studies.names()]
    return {"experiments": listed, "source": place.source}


def _words_on(experiment: Experiment) -> str:
    """Model, task and loss in a line."""
    parts = (experiment.model, experiment.task, experiment.loss)
    model, task, loss = (part.kind_name() for part in parts)
    return f"{model} on {task}, {loss}"


def describe(args: dict[str, Any], send: Send, place: Place) -> dict[str, Any]:
    """The controls of an experiment, and the texts that make it elsewhere."""
    del send
    found = find(_Describe.read(args).experiment, place)
    experiment = found.experiment
    return {
        "name": experiment.name,
        "words": _words_on(experiment),
        "fields": fields_of(experiment, found.base),
        "presets": _presets(found),
        "size": size_of(experiment),
        "toml": toml_of(found),
        "python": python_of(found),
        "command": command_of(found),
        "null_control": null_control(experiment),
        "hash": experiment.content_hash,
        "run": found.run,
    }


# A panel with more inputs than this begins in a smaller version.
_MANY_INPUTS = 10_000
_SMALLER = {"task.n": 100, "task.d": 2000, "task.num_test": 1000}


def _presets(found: Found) -> list[dict[str, Any]]:
    """Changes to begin with, the first one first: a panel at the size of the Lab, and as it is."""
    base, presets = found.base, []
    sizes = base.task.sizes()
    if sizes is not None and sizes.dim > _MANY_INPUTS:
        keys = base.keys()
        changes = {
            key: small for key, small in _SMALLER.items() if key in keys and base.value(key) > small
        }
        words = f"smaller than the original, which has {sizes.dim:,} inputs"
        presets.append({"name": "Small size", "words": words, "changes": changes})
    presets.append({"name": "Original size", "words": "all values as in the panel", "changes": {}})
    return presets


# Training samples times parameters above which a forecast takes seconds. At 5e7 (panel lyu2024/1a)
# it takes seven on two cores.
_SLOW = 1e7
# Seconds of a step and of a multiplication in it, on one core.
_STEP, _PRODUCT = 3e-5, 1e-9
_LONG = 60.0


def size_of(experiment: Experiment) -> dict[str, Any]:
    """Whether an experiment fits in memory, and whether its forecast and run take long.

    `error` says why it does not fit, empty if it does; `slow`, whether it takes more than a moment,
    in `words`.
    """
    try:
        check_fits(experiment)
    except InputError as error:
        return {"error": str(error), "slow": True, "words": ""}
    sizes = experiment.task.sizes()
    num_params = None if sizes is None else experiment.model.num_params(sizes.dim)
    work = 0.0 if sizes is None else float(sizes.num_train) * (num_params or sizes.dim)
    words = []
    if work > _SLOW:
        slow = "forecast and run take from seconds to minutes, so they wait until you press"
        if needs_pilots(experiment):
            slow = "the run takes from seconds to minutes"
        size = f"{sizes.num_train if sizes else 0:,} samples and {num_params or 0:,} parameters"
        words.append(f"{size}: {slow}")
    rate = getattr(experiment.dynamics, "learning_rate", None)
    if rate is not None:
        steps = experiment.t1 / rate
        seconds = steps * (_STEP + 6 * _PRODUCT * work)
        if seconds > _LONG:
            words.append(f"a run of {steps:,.0f} steps takes about {_duration(seconds)}")
    return {"error": "", "slow": work > _SLOW, "words": "; ".join(words)}


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:.0f} seconds"


def forecast_experiment(args: dict[str, Any], send: Send, place: Place) -> dict[str, Any]:
    """The forecast of an experiment, first by the calibrated constant if a solve follows.

    A forecast that takes long is computed only for a page that is `patient`; otherwise `waits` says
    why there is none. One without curves, as for AdamW, has no `figure`, and takes no time.
    """
    asked = _Forecast.read(args)
    found = find(asked.experiment, place)
    size = size_of(found.experiment)
    is_slow = size["slow"] and not needs_pilots(found.experiment)
    if is_slow and not size["error"] and not asked.patient:
        return {"waits": size["words"], "run": found.run}

    def first(early: Forecast) -> None:
        words = "Forecast by the constant of the family; the transition is being solved."
        send("part", _shown(early, found, asked.columns, words) | {"run": found.run})

    send("progress", {"stage": "forecasting", "fraction": None, "detail": ""})
    said = forecast(found.experiment, thresholds=found.thresholds, watcher=first)
    keep_forecast(said, found.run, place)
    words = "" if said.curves else _NO_CURVES
    if said.num_steps:
        words = "The transition was solved from the end of the kernel phase on."
    return _shown(said, found, asked.columns, words) | {"run": found.run}


_NO_CURVES = "This forecast has no curves. Press Run to see those of the run."
_VERDICTS = {
    "grok": "Grokking is forecast: the test score rises long after the training data are fitted.",
    "misgrok": "Misgrokking is forecast: the test score falls long after the training data are "
    "fitted.",
    "immediate": "No delay is forecast: the test score is good when the training data are fitted.",
    "none": "No change is forecast: the test score stays where it is.",
    "cannot_say": "Whether the test score changes cannot be said here.",
}


def _shown(said: Forecast, found: Found, columns: int, stage: str) -> dict[str, Any]:
    figures: dict[str, Any] = {"figure": None, "caption": ""}
    if said.curves:
        until = found.experiment.t1
        figures = _figures(plot.describe.forecast, said, columns=columns, until=until)
    facts = jsonable(
        {
            "verdict": said.verdict,
            "confidence": said.confidence,
            "t50": said.t50,
            "t50_interval": said.t50_interval,
            "t_kernel_end": said.t_kernel_end,
            "t_fit": said.t_fit,
            "textbook": said.textbook,
            "outcome": said.outcome,
        }
    )
    return {
        **facts,
        **figures,
        "advice": powers(said.advice),
        "reasons": [powers(reason) for reason in said.reasons],
        "stage": stage,
        "words": f"{_VERDICTS[said.verdict]} {_times(said)}".strip(),
        "seconds": sum(said.seconds.values()),
    }


def _figures(describe: Callable[..., Figure], *shown: Any, **options: Any) -> dict[str, Any]:
    """What is described over logarithmic and over linear time, and the caption of both."""
    figures = {
        scale: plot.plotly(describe(*shown, time=scale, **options)) for scale in ("log", "linear")
    }
    return {"figure": figures, "caption": figures["log"]["layout"]["meta"]["caption"]}


def _times(said: Forecast) -> str:
    parts = []
    if math.isfinite(said.t_fit):
        parts.append(f"fit at t = {_number(said.t_fit)}")
    if math.isfinite(said.t_kernel_end):
        parts.append(f"kernel phase until t = {_number(said.t_kernel_end)}")
    if math.isfinite(said.t50):
        low, high = map(_number, said.t50_interval)
        within = f" ({low} to {high})" if all(map(math.isfinite, said.t50_interval)) else ""
        parts.append(f"half of the change at {_number(said.t50)}{within}")
    if math.isfinite(said.textbook):
        parts.append(f"(1/λ) log α = {_number(said.textbook)}")
    text = ", ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _number(value: float) -> str:
    """Three significant digits, with a power of ten for large and small numbers only."""
    if 1e-3 <= abs(value) < 1e6:
        return f"{float(f'{value:.3g}'):,.10g}"
    return powers(f"{value:.3g}")


def compare(args: dict[str, Any], send: Send, place: Place) -> dict[str, Any]:
    """Finished runs over each other; one without a name as after it has run."""
    del send
    asked = _Compare.read(args)
    if len(asked.runs) == 1 and not asked.names:
        (run,) = asked.runs
        return drawn(record_of(run, place), forecast_of(run, place), asked.columns)
    records = {}
    for number, run in enumerate(asked.runs):
        record = record_of(run, place)
        name = asked.names[number] if number < len(asked.names) else f"run {number + 1}"
        unique = name if name not in records else f"{name} ({number + 1})"
        records[unique] = record
    said = forecast_of(asked.runs[0], place) if len(records) == 1 else None
    return drawn(records, said, asked.columns)


def drawn(records: Any, said: Any, columns: int) -> dict[str, Any]:
    """The figure of a record, or of several, over logarithmic and over linear time until `t1`."""
    several = [*records.values()] if isinstance(records, dict) else [records]
    until = max(float(description_of(record)["t1"]) for record in several)
    return _figures(plot.describe.run, records, said, columns=columns, until=until)
