"""Jobs of Inside: the weights of a run over time, as figures whose traces move."""

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pydantic
import xarray as xr
from jaxtyping import Float

from ..._core.errors import InputError
from ..._core.files import replacing
from ..._core.precision import in_double
from ..._run.extend import parameters
from ..._run.prepared import PreparedProblem, prepare
from ..._run.simulate import simulate
from ...experiments.experiment import Experiment
from ...models import AbstractLinearModel
from ...plot import describe, plotly
from ...plot.describe._captions import powers
from ...plot.description.style import KERNEL, RICH, TEST, TRAIN
from ...probes import residue_spectrum
from ...records.file import open_record
from ...records.transition import transition
from ..job import Args, Place, Send
from .map import run_of_cell

# The most frames, and the most numbers that one view may have in all its frames together.
_FRAMES, _MAX_NUMBERS, _LEAST_FRAMES = 100, 400_000, 20
# The most coordinates, residues and eigenvalues in a figure.
_COORDINATES, _SAMPLES, _RESIDUES = 120, 256, 200
# The most numbers in the parameters of all frames, in memory during the run: 400 MB.
_MAX_PARAMETERS = 50_000_000
# The products of one kernel that are computed at every frame.
_MAX_KERNEL = 2e8
# The products of all singular values of a net at one time, and the most layers with a view.
_MAX_SVD, _LAYERS = 2e8, 4
_LAYER_LOOKS = (
    ("#d55e00", "circle"), ("#0072b2", "square"), ("#009e73", "diamond"), ("#cc79a7", "cross"),
)  # fmt: skip
_PROBES = (
    "train_loss", "test_loss", "train_accuracy", "test_accuracy", "param_norm",
    "cosine_to_kernel", "cosine_to_rich", "distance_to_kernel", "distance_to_rich",
    "population_error", "error_variance", "error_misalignment", "error_linear",
    "kernel_alignment_labels", "kernel_alignment_start", "parameters",
)  # fmt: skip
_PARTS = {
    "error_variance": "variance",
    "error_misalignment": "misalignment",
    "error_linear": "linear modes",
    "population_error": "all",
}
_MAX_LISTED = 30
_SIGNED = [[0.0, "#2166ac"], [0.5, "#f7f7f7"], [1.0, "#b2182b"]]
# Bars that are seen on white and on dark paper.
_PART = "#0072b2"

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
    found = []
    paths = sorted(place.scratch.glob("record-*.nc"), key=lambda p: p.stat().st_mtime, reverse=True)
    for path in paths[:_MAX_LISTED]:
        digest = path.stem.removeprefix("record-")
        try:
            _Of.read({"run": digest})
            record = open_record(path)
            experiment = _experiment_of(record, place)
            words = f"{experiment.name}: {transition(record).outcome.replace('_', ' ')}"
        except InputError:
            continue
        words += f", α = {experiment.init_scale:g}, λ = {experiment.weight_decay:g}"
        found.append({"run": digest, "words": f"{words}, seed {experiment.seed}"})
    return {"runs": found}


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


@dataclass
class View:
    """A figure with moving traces.

    - `moving`: for each, the number of the trace, the attribute, and its values by frame, or by
        entries of `held`.
    - `held`: for each frame, the place of its values, where several frames share them.
    """

    name: str
    title: str
    words: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]
    moving: list[tuple[int, str, np.ndarray]] = field(default_factory=list)
    held: np.ndarray | None = None

    def table(self) -> dict[str, Any]:
        """The view as JSON, with four digits of each moving number."""
        moving = [{"trace": t, "key": k, "values": _short(v)} for t, k, v in self.moving]
        for part in moving:
            self.data[part["trace"]][part["key"]] = part["values"][0]
        layout = {"margin": {"l": 60, "r": 10, "t": 24, "b": 85}, "hovermode": "closest"}
        layout |= {"legend": {"orientation": "h"}}
        for key, axis in self.layout.items():
            if key.startswith(("xaxis", "yaxis")):
                axis |= {"automargin": True, "showline": True, "exponentformat": "power"}
            if key.startswith("xaxis") and "title" in axis:
                axis["title"]["standoff"] = 6
        figure = {"data": self.data, "layout": layout | self.layout}
        about = {"name": self.name, "title": self.title, "words": self.words}
        held = None if self.held is None else self.held.tolist()
        return {**about, "figure": figure, "moving": moving, "held": held}


def _short(values: Any) -> Any:
    """Numbers with four digits, unknown ones as None."""
    array = np.asarray(values, dtype=float)
    flat = [float(f"{x:.4g}") if math.isfinite(x) else None for x in array.ravel().tolist()]
    return np.array(flat, dtype=object).reshape(array.shape).tolist()


@dataclass(frozen=True)
class Looked:
    """A run whose parameters were recorded.

    - `at`, the places in the record of the frames; `rows`, their parameters as one row each;
        `unravel`, from a row to the parameters.
    """

    prepared: PreparedProblem
    record: xr.Dataset
    at: np.ndarray
    rows: Float[np.ndarray, "t p"]
    unravel: Callable[[Any], Any]

    @property
    def model(self) -> Any:
        """The model that the parameters belong to."""
        return self.prepared.problem.model

    def each(self, function: Callable[[Any], Any]) -> np.ndarray:
        """A function of the parameters at every frame."""
        compiled = jax.jit(lambda row: function(self.unravel(row)))
        return np.stack([np.asarray(compiled(jnp.asarray(row))) for row in self.rows])

    def curve(self, name: str) -> np.ndarray:
        """A variable of the record at the frames."""
        return self.record[name].values[self.at]


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
    views = [view.table() for make in _VIEWS for view in make(run)]
    events = transition(found)
    return {
        "name": experiment.name,
        "words": _lead(experiment, views),
        "says": f"{events.outcome.replace('_', ' ')}: {powers(events.says)}",
        "times": _short(times[at]),
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
    figure["layout"] |= {"showlegend": False, "title": None}
    figure["layout"]["margin"] = {"l": 60, "r": 10, "t": 24, "b": 45}
    return {"figure": figure, "caption": shown.caption}


# --- The views. ---


def _linear(run: Looked) -> Iterator[View]:
    """The weights of a linear model beside both predictors."""
    model = run.model
    if not isinstance(model, AbstractLinearModel):
        return
    weights = run.each(model.weights)
    both = {
        role: np.asarray(found.weights)
        for role, found in run.prepared.data.predictors.items()
        if found.is_certified
    }
    if weights.ndim == 3:
        yield _matrix(weights, both)
    elif weights.ndim == 2:
        yield _vector(weights, both, run.prepared.experiment.loss.is_classification)


def _vector(weights: np.ndarray, both: dict[str, np.ndarray], by_angle: bool) -> View:
    """Bars of w, with a mark of each predictor at every coordinate."""
    num = weights.shape[1]
    if by_angle:
        # Labels that are classes fix the direction of w only.
        weights = _unit(weights)
        both = {role: _unit(w) for role, w in both.items()}
    weight = np.max(np.abs(weights), axis=0)
    for w in both.values():
        weight = np.maximum(weight, np.abs(w))
    rank = [np.abs(both[role]) for role in ("rich", "kernel") if role in both] or [weight]
    shown = np.argsort(-weight, kind="stable")[:_COORDINATES]
    # Ordered by the rich predictor; its zeros, up to rounding, by the kernel predictor.
    keys = [np.round(r / max(r.max(), 1e-300), 3) for r in rank]
    shown = shown[np.lexsort([-key[shown] for key in keys[::-1]])]
    some = f"{len(shown)} of {num:,}" if len(shown) < num else f"All {num:,}"
    words = (
        f"{some} coordinates of w, ordered by the rich predictor"
        + (", those with the largest weights" if len(shown) < num else "")
        + (". All are directions, w / ‖w‖₂." if by_angle else ".")
    )
    place = np.arange(1, len(shown) + 1)
    names = [f"coordinate {i + 1}" for i in shown]
    hover = "%{text}: %{y:.3g}<extra>%{fullData.name}</extra>"
    data: list[dict[str, Any]] = [
        {"type": "bar", "x": place.tolist(), "name": "w(t)", "text": names,
         "textposition": "none", "marker": {"color": TEST.colour}, "hovertemplate": hover}
    ]  # fmt: skip
    looks = {"kernel": ("circle-open", KERNEL.colour), "rich": ("diamond", RICH.colour)}
    for role, w in both.items():
        symbol, colour = looks[role]
        data.append(
            {"type": "scatter", "mode": "markers", "x": place.tolist(), "y": _short(w[shown]),
             "name": f"{role} predictor", "text": names, "hovertemplate": hover,
             "marker": {"symbol": symbol, "color": colour, "size": 7, "line": {"width": 1.5}}}
        )  # fmt: skip
    heights = np.concatenate([weights[:, shown].ravel(), *(w[shown] for w in both.values())])
    reach = 1.08 * max(float(np.abs(heights).max()), 1e-300)
    label = "w / ‖w‖₂" if by_angle else "w"
    layout = {"xaxis": {"title": {"text": "coordinate, ordered by the rich predictor"}},
              "yaxis": {"title": {"text": label}, "range": [-reach, reach]},
              "bargap": 0.1}  # fmt: skip
    return View("weights", "Weights and both predictors", words, data, layout,
                [(0, "y", weights[:, shown])])  # fmt: skip


def _unit(w: np.ndarray) -> np.ndarray:
    norm = np.linalg.norm(w, axis=-1, keepdims=True)
    return w / np.where(norm > 0, norm, 1.0)


def _matrix(weights: np.ndarray, both: dict[str, np.ndarray]) -> View:
    """W between the kernel completion and the completion of least nuclear norm."""
    num, rows, columns = weights.shape
    step = max(1, int(np.ceil(np.sqrt(rows * columns * _LEAST_FRAMES / _MAX_NUMBERS))))
    small = weights[:, ::step, ::step]
    keep = min(num, max(_LEAST_FRAMES, _MAX_NUMBERS // small[0].size))
    # Frames that are left out show the one before.
    nearest = np.linspace(0, num - 1, keep).round().astype(int)
    held = np.searchsorted(nearest, np.arange(num), side="right") - 1
    panels: list[tuple[str, np.ndarray | None]] = []
    if "kernel" in both:
        panels.append(("kernel completion", both["kernel"][::step, ::step]))
    panels.append(("W(t)", None))
    if "rich" in both:
        panels.append(("least nuclear norm", both["rich"][::step, ::step]))
    known = [values for _, values in panels if values is not None] or [small[-1]]
    reach = max(float(np.abs(values).max()) for values in known)
    signed = min(float(values.min()) for values in known) < -0.05 * reach
    data: list[dict[str, Any]] = []
    layout: dict[str, Any] = {}
    for place, (name, values) in enumerate(panels):
        axis, last = "" if place == 0 else str(place + 1), place == len(panels) - 1
        data.append(
            {"type": "heatmap", "z": None if values is None else _short(values), "name": name,
             "zmin": -reach if signed else 0.0, "zmax": reach, "showscale": last,
             "colorscale": _SIGNED if signed else "Viridis", "colorbar": {"thickness": 10},
             "xaxis": f"x{axis}", "yaxis": f"y{axis}",
             "hovertemplate": "row %{y}, column %{x}: %{z:.3g}<extra>" + name + "</extra>"}
        )  # fmt: skip
        left, bare = place / len(panels), {"showticklabels": False, "ticks": "", "showgrid": False}
        layout[f"xaxis{axis}"] = bare | {"domain": [left + 0.01, left + 1 / len(panels) - 0.02],
                                         "title": {"text": name}, "anchor": f"y{axis}",
                                         "constrain": "domain"}  # fmt: skip
        layout[f"yaxis{axis}"] = bare | {"autorange": "reversed", "scaleanchor": f"x{axis}",
                                         "constrain": "domain", "domain": [0.0, 1.0],
                                         "anchor": f"x{axis}"}  # fmt: skip
    moving = next(i for i, (_, values) in enumerate(panels) if values is None)
    words = "The entries of W beside the two completions that theory names"
    words += f"; every {step}th row and column is shown" if step > 1 else ""
    words += f". W changes at {keep} of the {num} times." if keep < num else "."
    return View("matrix", "W between its two completions", words, data, layout,
                [(moving, "z", small[nearest])], held)  # fmt: skip


def _fourier(run: Looked) -> Iterator[View]:
    """The spectrum of the first layer over residues, and the embeddings at one frequency."""
    layers = run.model.layer_weights(run.prepared.problem.params)
    if not layers:
        return
    inputs, outputs = layers[0].shape[1], layers[-1].shape[0]
    if outputs < 3 or inputs != 2 * outputs:
        return
    first = run.each(lambda params: run.model.layer_weights(params)[0])  # (t, h, 2p)
    power = np.stack([np.asarray(residue_spectrum(w, outputs)).sum(0) for w in first])
    share = power / np.where(power.sum(1) > 0, power.sum(1), 1.0)[:, None]
    best = int(np.argmax(share[-1])) + 1
    number = np.arange(1, share.shape[1] + 1)
    hover = "frequency %{x}: %{y:.3g}<extra>%{fullData.name}</extra>"
    data = [
        {"type": "bar", "x": number.tolist(), "name": "now", "hovertemplate": hover,
         "marker": {"color": TEST.colour}},
        {"type": "scatter", "mode": "lines", "x": number.tolist(), "y": _short(share[0]),
         "name": "at the start", "hovertemplate": hover,
         "line": {"color": TRAIN.colour, "dash": "dash"}},
    ]  # fmt: skip
    layout = {"xaxis": {"title": {"text": f"frequency over residues mod {outputs}"}},
              "yaxis": {"title": {"text": "share of the power"},
                        "range": [0, 1.08 * float(share.max())]}}  # fmt: skip
    words = "Share of each frequency in the power of the first layer, over all neurons."
    yield View("fourier", "Fourier spectrum", words, data, layout, [(0, "y", share)])
    if outputs <= _RESIDUES:
        yield _embeddings(first[:, :, :outputs], best)


def _embeddings(first: np.ndarray, k: int) -> View:
    """The residues of the first operand in the plane of one frequency."""
    p = first.shape[2]
    centred = first - first.mean(axis=2, keepdims=True)
    angle = 2 * np.pi * k * np.arange(p) / p
    waves = np.stack([np.cos(angle), np.sin(angle)], axis=1)  # (p, 2)
    points = []
    for weights in centred:
        # The nearest orthonormal pair turns with the weights, so that the picture does not flip.
        left, _, right = np.linalg.svd(weights @ waves, full_matrices=False)
        points.append(weights.T @ (left @ right))
    found = np.stack(points)
    found = found / np.maximum(np.sqrt((found**2).sum(2).max(1)), 1e-300)[:, None, None]
    # In steps of the inverse of k the angles increase by one p-th of a turn.
    step = next((s for s in range(1, p) if (s * k) % p == 1), 1)
    order = (step * np.arange(p + 1)) % p
    data = [
        {"type": "scatter", "mode": "lines+markers+text", "name": "residues",
         "text": [str(r) for r in order[:-1]] + [""], "textposition": "top center",
         "line": {"color": KERNEL.colour, "width": 1}, "marker": {"color": TEST.colour, "size": 7},
         "hovertemplate": "residue %{text}<extra></extra>", "x": None, "y": None}
    ]  # fmt: skip
    side = {"range": [-1.2, 1.2], "zeroline": False}
    layout = {"xaxis": side | {"title": {"text": f"along cos(2π·{k}·r/{p})"}},
              "yaxis": side | {"title": {"text": f"along sin(2π·{k}·r/{p})"},
                               "scaleanchor": "x"},
              "showlegend": False}  # fmt: skip
    words = (
        f"The weights of each residue of the first operand, in the plane of frequency {k}, the "
        "strongest at the end, over the longest of them. Lines join residues that follow each "
        f"other at this frequency, in steps of {step}. An even circle is what addition mod {p} "
        "needs; random weights give an uneven one, as at the start."
    )
    moving = [(0, "x", found[:, order, 0]), (0, "y", found[:, order, 1])]
    return View("embeddings", "Embeddings", words, data, layout, moving)


def _committee(run: Looked) -> Iterator[View]:
    """The parts of a committee's error over all inputs."""
    names = [name for name in _PARTS if name in run.record]
    if "population_error" not in names:
        return
    parts = np.stack([run.curve(name) for name in names], axis=1)
    positive = parts[parts > 0]
    low, high = float(positive.min()), float(positive.max())
    low = max(low, high * 1e-8)
    data = [
        {"type": "bar", "x": [_PARTS[name] for name in names], "name": "error",
         "marker": {"color": [TEST.colour if n == "population_error" else _PART for n in names]},
         "hovertemplate": "%{x}: %{y:.3g}<extra></extra>"}
    ]  # fmt: skip
    layout = {"yaxis": {"type": "log", "title": {"text": "part of the error over all inputs"},
                        "range": [np.log10(low) - 0.2, np.log10(high) + 0.2]},
              "xaxis": {"title": {"text": ""}}, "showlegend": False}  # fmt: skip
    words = (
        "The error over all inputs is the sum of three parts: of the variance of the outputs, of "
        "the misalignment of the second moment of the weights with the teacher, and of what is "
        "still linear in the input."
    )
    yield View("error", "Parts of the error", words, data, layout, [(0, "y", parts)])


def _spectrum(run: Looked) -> Iterator[View]:
    """The eigenvalues of the tangent kernel on training inputs."""
    problem = run.prepared.problem
    outputs = problem.train.y.size
    if problem.train.y.ndim > 1 or run.prepared.experiment.loss.takes == "classes":
        return
    num = min(outputs, _SAMPLES)
    if not isinstance(run.model, AbstractLinearModel) and num * run.rows.shape[1] > _MAX_KERNEL:
        return
    x = problem.train.x[:num]
    kernels = run.each(lambda params: run.model.tangent_kernel(params, x))
    values = np.linalg.eigvalsh(kernels)[:, ::-1]
    # Eigenvalues that are zero up to rounding are left out.
    values = np.where(values > 1e-13 * values[:, :1], values, np.nan)
    rank = np.arange(1, num + 1)
    hover = "eigenvalue %{x}: %{y:.3g}<extra>%{fullData.name}</extra>"
    data = [
        {"type": "scatter", "mode": "lines+markers", "x": rank.tolist(), "name": "now",
         "marker": {"color": TEST.colour, "size": 4}, "line": {"color": TEST.colour},
         "hovertemplate": hover},
        {"type": "scatter", "mode": "lines", "x": rank.tolist(), "y": _short(values[0]),
         "name": "at the start", "line": {"color": TRAIN.colour, "dash": "dash"},
         "hovertemplate": hover},
    ]  # fmt: skip
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    layout = {"xaxis": {"type": "log", "title": {"text": "rank"}},
              "yaxis": {"type": "log", "title": {"text": "eigenvalue"},
                        "range": [np.log10(low) - 0.2, np.log10(high) + 0.2]}}  # fmt: skip
    some = f"the first {num} of {outputs}" if num < outputs else f"all {num}"
    words = f"Eigenvalues of the tangent kernel on {some} training inputs. A lazy net keeps them."
    yield View("spectrum", "Spectrum of the tangent kernel", words, data, layout,
               [(0, "y", values)])  # fmt: skip


def _layers(run: Looked) -> Iterator[View]:
    """The singular values of each layer of a net."""
    first = run.model.layer_weights(run.prepared.problem.params)
    if not first or sum(weights.size * min(weights.shape) for weights in first) > _MAX_SVD:
        return
    data: list[dict[str, Any]] = []
    moving: list[tuple[int, str, np.ndarray]] = []
    low, high = math.inf, 0.0
    for place, weights in enumerate(first[:_LAYERS]):

        def values_of(params: Any, place: int = place) -> Any:
            return jnp.linalg.svd(run.model.layer_weights(params)[place], compute_uv=False)

        values = run.each(values_of)
        # Singular values that are zero up to rounding are left out.
        values = np.where(values > 1e-7 * values[:, :1], values, np.nan)
        if not np.isfinite(values).any():
            continue
        low, high = min(low, float(np.nanmin(values))), max(high, float(np.nanmax(values)))
        colour, symbol = _LAYER_LOOKS[place]
        name = f"layer {place + 1}, {weights.shape[1]} to {weights.shape[0]}"
        moving.append((len(data), "y", values))
        data.append(
            {"type": "scatter", "mode": "lines+markers", "name": name,
             "x": list(range(1, values.shape[1] + 1)), "line": {"color": colour, "width": 1},
             "marker": {"color": colour, "symbol": symbol, "size": 5},
             "hovertemplate": "singular value %{x}: %{y:.3g}<extra>%{fullData.name}</extra>"}
        )  # fmt: skip
    if not data:
        return
    layout = {"xaxis": {"type": "log", "title": {"text": "rank"}},
              "yaxis": {"type": "log", "title": {"text": "singular value"},
                        "range": [np.log10(low) - 0.2, np.log10(high) + 0.2]}}  # fmt: skip
    words = "Singular values of the weights of each layer. A rich net uses few directions."
    yield View("layers", "Spectra of the layers", words, data, layout, moving)


_VIEWS: tuple[Callable[[Looked], Iterator[View]], ...] = (
    _linear, _fourier, _committee, _spectrum, _layers,
)  # fmt: skip
