"""Jobs of Inside: the weights of a run over time, as figures whose traces move."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pydantic
import xarray as xr

from ..._core.errors import InputError
from ..._core.files import replacing
from ..._core.precision import in_double
from ..._run.extend import parameters
from ..._run.prepared import prepare
from ..._run.simulate import simulate
from ...experiments.experiment import Experiment
from ...plot import describe, plotly
from ...plot.describe._captions import powers
from ...plot.describe._symbols import symbol, worded
from ...records.file import open_record
from ...records.transition import transition
from ..job import Args, Place, Send
from ..views import VIEWS, Looked, short
from .map_runs import run_of_cell

# The most frames.
_FRAMES = 100
# The most numbers in the parameters of all frames, in memory during the run: 400 MB.
_MAX_PARAMETERS = 50_000_000
# The views are made from `parameters`, and not from the probes `weights`, `kernel_spectrum` or
# `fourier_power_first`: embeddings and spectra of layers have no probe, so nets need `parameters`
# anyway; and a spectrum of the first 256 samples is enough here, where `kernel_spectrum` has all.
_PROBES = (
    "train_loss", "test_loss", "train_accuracy", "test_accuracy", "param_norm",
    "cosine_to_kernel", "cosine_to_rich", "distance_to_kernel", "distance_to_rich",
    "population_error", "error_variance", "error_misalignment", "error_linear",
    "kernel_alignment_labels", "kernel_alignment_start", "parameters",
)  # fmt: skip
_MAX_LISTED = 30

_Hash = Annotated[str, pydantic.Field(pattern="^[0-9a-f]{64}$")]


class _Nothing(Args):
    pass


class _Of(Args):
    """A run of the Lab by its hash, or a run of the store by its number."""

    run: _Hash | None = None
    sweep: Annotated[str, pydantic.Field(pattern="^[0-9a-f]{16}$")] | None = None
    cell: Annotated[int, pydantic.Field(ge=0, lt=2**31)] | None = None

    def found(self, place: Place) -> tuple[Experiment, str]:
        """The experiment of the run, and the thresholds by which it is judged, as JSON.

        - **Raises** [`InputError`][lazyrich.InputError] if there is no such run, or if files
            cannot describe its experiment.
        """
        if (self.run is None) == (self.cell is None):
            raise InputError("run", self.run, "name one run, of the Lab or a cell of the map")
        if self.cell is not None:
            return run_of_cell(place, self.sweep, self.cell), "{}"
        path = place.scratch / f"record-{self.run}.nc"
        if not path.is_file():
            raise InputError("run", self.run, "is no longer kept: run it again in the Lab")
        record = open_record(path)
        return _experiment_of(record, place), str(record.attrs.get("thresholds", "{}"))


def _experiment_of(record: xr.Dataset, place: Place) -> Experiment:
    return Experiment.from_toml(str(record.attrs["experiment"]), place.scratch, same_folder=True)


def list_runs(args: dict[str, Any], send: Send, place: Place) -> dict[str, Any]:
    """The runs of the Lab that are kept, the last one first."""
    del send
    _Nothing.read(args)
    found: list[tuple[str, Experiment, str]] = []
    paths = sorted(place.scratch.glob("record-*.nc"), key=lambda p: p.stat().st_mtime, reverse=True)
    for path in paths[:_MAX_LISTED]:
        digest = path.stem.removeprefix("record-")
        try:
            _Of.read({"run": digest})
            record = open_record(path)
            experiment = _experiment_of(record, place)
            outcome = transition(record).outcome.replace("_", " ")
        except InputError:
            continue
        found.append((digest, experiment, outcome))
    values = [_values(experiment) for _, experiment, _ in found]
    runs = []
    for (digest, experiment, outcome), own in zip(found, values, strict=True):
        words = f"{experiment.name}: {outcome}, α = {experiment.init_scale:g}"
        words += f", λ = {experiment.weight_decay:g}, seed {experiment.seed}"
        others = [other for other in values if other["name"] == own["name"]]
        runs.append({"run": digest, "words": ", ".join([words, *_differences(own, others)])})
    return {"runs": runs}


def _values(experiment: Experiment) -> dict[str, Any]:
    keys = experiment.keys()
    return {key: experiment.value(key) for key in keys}


def _differences(own: dict[str, Any], others: list[dict[str, Any]]) -> list[str]:
    """The values in which a run differs from others of its name, in words."""
    found = []
    for key, value in own.items():
        if key in ("init_scale", "weight_decay", "seed", "probes") or key.startswith("times."):
            continue
        if value is False or all(key in other and other[key] == value for other in others):
            continue
        found.append(symbol(key) if value is True else f"{symbol(key)} = {worded(value)}")
    return found


def frames(args: dict[str, Any], send: Send, place: Place) -> dict[str, Any]:
    """The views of a run, if it was recorded for them; otherwise what is needed."""
    del send
    experiment, thresholds = _Of.read(args).found(place)
    path = _file(experiment, thresholds, place)
    if path.is_file():
        return dict(json.loads(path.read_text(encoding="utf-8")))
    words = (
        "Its weights were not kept. The run is repeated from the same start, and its parameters "
        f"are recorded at up to {_FRAMES} times."
    )
    return {"views": None, "words": words, "name": experiment.name}


def record(args: dict[str, Any], send: Send, place: Place) -> dict[str, Any]:
    """Repeats a run with its parameters recorded, and returns its views."""
    experiment, thresholds = _Of.read(args).found(place)
    path = _file(experiment, thresholds, place)
    if not path.is_file():
        found = views_of(experiment, send, thresholds)
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(found), encoding="utf-8")
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _file(experiment: Experiment, thresholds: str, place: Place) -> Path:
    """The file of a run's views: equal runs that are judged differently have other words."""
    parts = f"{experiment.content_hash} {experiment.name} {thresholds}"
    return place.scratch / f"inside-{hashlib.sha256(parts.encode()).hexdigest()}.json"


@in_double
def views_of(experiment: Experiment, send: Send, thresholds: str = "{}") -> dict[str, Any]:
    """Runs an experiment with its parameters recorded, and makes every view that applies.

    - **Raises** [`InputError`][lazyrich.InputError] for parameters that are too many to keep.
    """
    looking = recorded(experiment)

    def listener(stage: str, fraction: float | None, detail: str = "") -> None:
        send("progress", {"stage": stage, "fraction": fraction, "detail": detail})

    found = simulate(looking, listener=listener)
    found.attrs["thresholds"] = thresholds
    send("progress", {"stage": "preparing the frames", "fraction": None, "detail": ""})
    prepared = prepare(looking)
    first = parameters(found, looking)
    _, unravel = jax.flatten_util.ravel_pytree(jax.tree.map(jnp.asarray, first))
    times = found["time"].values
    at = np.unique(np.linspace(0, len(times) - 1, min(_FRAMES, len(times))).round().astype(int))
    run = Looked(prepared, found, at, found["parameters"].values[at], unravel)
    views = [view.table() for make in VIEWS for view in make(run)]
    events = transition(found)
    return {
        "name": experiment.name,
        "words": _lead(experiment, views),
        "says": f"{events.outcome.replace('_', ' ')}: {powers(events.says)}",
        "times": short(times[at]),
        "views": views,
        "curves": _curves(found),
    }


def recorded(experiment: Experiment) -> Experiment:
    """The experiment with its parameters recorded, at about a hundred times.

    - **Raises** [`InputError`][lazyrich.InputError] for parameters that are too many to keep.
    """
    dim = experiment.task.sizes()
    num = None if dim is None else experiment.model.num_params(dim.dim)
    if num is not None and num * _FRAMES > _MAX_PARAMETERS:
        accepted = (
            f"are too many to keep at {_FRAMES} times: at most {_MAX_PARAMETERS // _FRAMES:,}"
        )
        raise InputError("parameters", num, accepted)
    some = {"times.num_log": 60, "times.num_linear": _FRAMES - 61}
    return experiment.with_changes({"probes": list(_PROBES), **some})


def _lead(experiment: Experiment, views: list[dict[str, Any]]) -> str:
    if views:
        return ""
    kind = type(experiment.model).__name__
    return f"There is no view of the parameters of {kind}; the curves are all that can be shown."


def _curves(found: xr.Dataset) -> dict[str, Any]:
    """The small figure over time, whose vertical line the page moves."""
    panels = ["score"]
    if any(name in found for name in ("cosine_to_rich", "distance_to_rich")):
        panels.append("direction")
    elif "kernel_alignment_labels" in found:
        panels.append("alignment")
    elif "param_norm" in found:
        panels.append("norm")
    shown = describe.run(found, panels=panels, columns=1, curves={})
    figure = plotly(shown)
    figure["layout"] |= {"title": None}
    figure["layout"]["margin"] = {"l": 60, "r": 10, "t": 52, "b": 45}
    return {"figure": figure, "caption": shown.caption}
