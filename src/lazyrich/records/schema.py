"""The schema of a record: the name and the meaning of every variable and attribute.

Records of runs and of logs take their labels from this module, and so does
`docs/reference/record.md`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import xarray as xr

from .._core.errors import InputError
from ..probes import BUILT_IN, ON_REQUEST, AbstractProbe
from .monitored import MONITORED

Group = Literal["time", "curve", "on request", "predictor", "scale", "kkt", "end", "monitor"]


@dataclass(frozen=True)
class Variable:
    """One variable of a record.

    - `name`, `dims`, `units` (`"1"` for a pure number) and `long_name`, as in the dataset.
    - `meaning`, a line of Markdown; `group`, its part of the record.
    """

    name: str
    dims: tuple[str, ...]
    long_name: str
    meaning: str
    group: Group
    units: str = "1"

    @property
    def labels(self) -> dict[str, str]:
        """The attributes that this variable has in every record."""
        return {"long_name": self.long_name, "units": self.units}


@dataclass(frozen=True)
class Attribute:
    """One attribute of a record; `always`, whether the record of a log has it as well."""

    name: str
    meaning: str
    always: bool = False


@dataclass(frozen=True)
class Axis:
    """The quantity on the time axis: `sentence` for tables, `label` for figures."""

    long_name: str
    sentence: str
    label: str


AXES: dict[str, Axis] = {
    "1": Axis(
        "gradient-flow time",
        "gradient-flow time, learning rate × steps",
        "gradient-flow time t (learning rate × steps)",
    ),
    "log10(1 + t)": Axis(
        "log10 of one plus gradient-flow time",
        "log10(1 + t), t being gradient-flow time",
        "log₁₀(1 + t), t the gradient-flow time",
    ),
    "step": Axis("step", "steps of the optimiser", "step"),
    "epoch": Axis("epoch", "passes over the training data", "epoch"),
}
"""The possible axes of time, keyed by the `units` of `time`."""


def axis_of(record: xr.Dataset) -> Axis:
    """The time axis of a record or of a sweep's dataset."""
    return AXES.get(str(record["time"].attrs.get("units", "1")), AXES["1"])


def _of(probes: Iterable[AbstractProbe], group: Group) -> list[Variable]:
    return [
        Variable(p.name, ("time", *p.dims), p.long_name, p.meaning, group, p.units) for p in probes
    ]


def _column(name: str, long_name: str, meaning: str) -> Variable:
    return Variable(f"predictor_{name}", ("predictor",), long_name, meaning, "predictor")


def _number(name: str, long_name: str, meaning: str, group: Group = "scale") -> Variable:
    return Variable(name, (), long_name, meaning, group)


_SCORES = "accuracies of the predictor, for labels that are signs"
_LOSSES = "losses of the predictor, for regression"
_CERTIFICATE = (
    "[certificate](../explanation/predictors.md) of the predictor, and why it is not certified"
)
_OF_LABELS = (
    "variance of the labels, summed over outputs: the smallest squared loss of a constant; for "
    "the squared loss"
)
_KKT = (
    "KKT residuals of the last parameters; for a diagonal linear network and labels that are signs"
)

VARIABLES: dict[str, Variable] = {
    variable.name: variable
    for variable in (
        Variable(
            "time",
            ("time",),
            AXES["1"].long_name,
            "gradient-flow time; or, if `units` say so, $\\log_{10}(1 + t)$, a step or an epoch",
            "time",
        ),
        Variable("step", ("time",), "step", "step of the optimiser, if a log has it", "time"),
        Variable(
            "epoch",
            ("time",),
            "epoch",
            "passes over the training data, if a log has them",
            "time",
        ),
        *_of(BUILT_IN.values(), "curve"),
        *_of(ON_REQUEST.values(), "on request"),
        Variable("predictor", ("predictor",), "predictor", "`kernel` or `rich`", "predictor"),
        _column("label", "name", "name of the predictor, such as `L1 max margin`"),
        _column("train_accuracy", "train accuracy", _SCORES),
        _column("test_accuracy", "test accuracy", _SCORES),
        _column("train_loss", "train loss", _LOSSES),
        _column("test_loss", "test loss", _LOSSES),
        _column("objective", "margin or norm achieved", _CERTIFICATE),
        _column("bound", "proven bound on it", _CERTIFICATE),
        _column("gap", "relative duality gap", _CERTIFICATE),
        _column("status", "status", _CERTIFICATE),
        _column("why", "why it is not certified", _CERTIFICATE),
        _number("train_variance", "variance of the training labels", _OF_LABELS),
        _number("test_variance", "variance of the test labels", _OF_LABELS),
        _number(
            "blank_loss",
            "training loss of an output of zero",
            "training loss of zero outputs",
        ),
        _number(
            "test_chance",
            "largest share of one label among the test data",
            "largest share of one label among the test data: accuracy of the best constant",
        ),
        _number(
            "num_test",
            "number of test samples",
            "number of test samples, for the standard error of the accuracy",
        ),
        _number(
            "init_rms",
            "root mean square of the initial parameters",
            r"root mean square of $\theta(0)$",
        ),
        *(Variable(name, dims, *words, "monitor", units) for name, dims, words, units in MONITORED),
        _number("kkt_stationarity", "final KKT stationarity", _KKT, "kkt"),
        _number("kkt_complementarity", "final KKT complementarity", _KKT, "kkt"),
        Variable(
            "final_parameters",
            ("parameter",),
            "parameters at the end of the run",
            "parameters at the end, flattened; only with `keep_params`",
            "end",
        ),
        Variable(
            "kept_time",
            ("kept_time",),
            "time of kept parameters",
            "times at which parameters were kept, on the axis of `time`",
            "end",
        ),
        Variable(
            "kept_parameters",
            ("kept_time", "parameter"),
            "parameters at chosen times",
            "parameters at these times, flattened; only with times in `keep_params`",
            "end",
        ),
    )
}
"""Every variable that a record can contain, except a user's own probes."""


def names_of(group: Group) -> tuple[str, ...]:
    """The names of the variables in a group, in order."""
    return tuple(name for name, variable in VARIABLES.items() if variable.group == group)


# Sweeps keep summaries of probes and forecasts under names that begin so.
_OF_SWEEPS = ("early_", "late_", "forecast_", "predictor_")


def check_names(probes: Iterable[AbstractProbe], taken: Iterable[str] = ()) -> None:
    """Refuses probes whose values would replace other values of a record.

    - **Takes** the `probes` of an experiment; `taken`, further names that are in use.
    - **Raises** [`InputError`][lazyrich.InputError] for two own probes of one name, or for an own
        probe with the name of a built-in probe, of another variable, or of an axis, or with a name
        that begins as the columns of sweeps do.
    """
    known = BUILT_IN | ON_REQUEST
    probes = tuple(probes)
    own = [p.name for p in probes if type(p) is not type(known.get(p.name))]
    axes = {dim for probe in probes for dim in probe.dims}
    others = (
        (known, "a built-in probe"),
        (axes, "an axis of a probe"),
        ({*VARIABLES, *taken}, "another variable of the dataset"),
    )
    for place, name in enumerate(own):
        what = next((words for names, words in others if name in names), "")
        if name in own[:place]:
            what = "another of your probes"
        if name.startswith(_OF_SWEEPS):
            accepted = f"should not begin with {' or '.join(_OF_SWEEPS)}, as columns of sweeps do"
            raise InputError("probes", name, accepted)
        if what:
            accepted = f"names must differ, and {name} is also the name of {what}: use another name"
            raise InputError("probes", name, accepted)


CURVES: tuple[str, ...] = tuple(
    name
    for name, variable in VARIABLES.items()
    if variable.group in ("curve", "on request", "monitor") and variable.dims == ("time",)
)
"""The curves over time that have a name of their own."""

ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute(
        "experiment",
        "the experiment as TOML. Your own arrays are named by their digest; your own probes are "
        "left out. For a log, the known keys: `name`, `weight_decay`, `init_scale`",
        always=True,
    ),
    Attribute(
        "experiment_hash",
        "SHA-256 of everything that the computation depends on; empty for a log without an "
        "experiment, and if `mapped_from` names another run",
        always=True,
    ),
    Attribute("precision", "type of parameters, data and derivatives, `float64` or `float32`"),
    Attribute("homogeneity", "degree of the model in its parameters, 0 without a degree", True),
    Attribute(
        "ending",
        "`completed`, `crossed`, `stationary`, `max_steps`, `max_gradients`, `max_seconds`, "
        "`too_stiff`, `chattering`, `step_underflow`, `diverged` (values that are not finite), see "
        "[the flow engine](../explanation/flow.md), `not_interpolated` or `off_manifold`, see "
        "[the limit of small decay](../explanation/small-decay.md), or `imprecise` (spoiled by "
        "rounding or by errors of steps), see [precision](../explanation/precision.md). While a "
        "run goes on, a [watcher](#while-a-run-goes-on) gets records with `running`",
        always=True,
    ),
    Attribute("lazyrich_version", "the version that wrote the record", always=True),
    Attribute(
        "thresholds",
        "JSON: the [thresholds](#the-transition) by which the run is judged, if they are not "
        "the defaults",
    ),
    Attribute("source", "the program that logged the run, for a log of another program"),
    Attribute(
        "log",
        "JSON: how a log was read: `columns`, its names by variable, and `notes`, a line for each "
        "decision",
    ),
    Attribute(
        "monitor",
        "JSON: what a [monitor](../how-to/watch-torch.md) measured: `net`, `optimizer`, `loss`, "
        "how many samples of how many (`num_train`, `num_test`), and `notes`, a line for each "
        "failure",
    ),
    Attribute(
        "own_params",
        "SHA-256 of initial parameters passed to `simulate`; empty for those of the model",
    ),
    Attribute(
        "loss_floor",
        "training loss of outputs with an error equal to the tolerance, "
        r"$(\text{rtol} \times \text{rms of the labels})^2$; zero for classification and for "
        "discrete optimisers",
    ),
    Attribute(
        "resolved_until",
        "last recorded time at which the training loss is not below `loss_floor`; later "
        "fluctuations are solver errors. NaN if the loss is always below",
    ),
    Attribute(
        "solver",
        "JSON: `name`, `num_steps` (accepted), `num_rejected`, `num_gradients`, `num_jacobians`; "
        "`methods`, the same for each method from its time `since` on, if the run changed its "
        "method",
    ),
    Attribute("seconds", "JSON: wall time of each stage, compilation included"),
    Attribute("machine", "JSON: device, cores, system, Python and JAX versions"),
    Attribute(
        "labels",
        "numbers that replace the labels of a classification, such as `yes is 1, no is -1`",
    ),
    Attribute(
        "parameter_layout",
        "JSON: `names`, `shapes` and `structure` of the kept parameters, see "
        "[parameters](../how-to/own-data.md#parameters-at-the-end-and-at-times-of-your-choice)",
    ),
    Attribute(
        "mapped_from",
        "JSON: `experiment_hash`, `weight_decay` and `init_scale` of the run that was solved, if "
        "[`invariant_run`][lazyrich.invariant_run] made the record from it",
    ),
    Attribute(
        "moved_from",
        "weight decay of the run that was solved, if "
        "[`at_weight_decay`][lazyrich.at_weight_decay] made the record from it",
    ),
    Attribute("extended_at", "JSON: times from which [`extend`][lazyrich.extend] continued"),
)
"""Every attribute that a record can have."""


def variables_table(*groups: Group) -> str:
    """The variables of some groups as a Markdown table, one row for each meaning."""
    rows: dict[str, list[str]] = {}
    for variable in VARIABLES.values():
        if variable.group in groups:
            rows.setdefault(variable.meaning, []).append(f"`{variable.name}`")
    return _table("variable", [(", ".join(names), meaning) for meaning, names in rows.items()])


def attributes_table() -> str:
    """The attributes as a Markdown table."""
    return _table("attribute", [(f"`{part.name}`", part.meaning) for part in ATTRIBUTES])


def _table(head: str, rows: list[tuple[str, str]]) -> str:
    lines = [f"| {head} | meaning |", "|---|---|"]
    return "\n".join(lines + [f"| {name} | {meaning} |" for name, meaning in rows])
