"""Forecasts of PyTorch modules, by the forecast of lazyrich on the module itself."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from torch import Tensor, nn

from ..._core.errors import InputError
from ..._core.precision import in_double
from ..._core.shown import as_html, interval, number, rows
from ..._run.prepared import prepare
from ...dynamics import GradientFlow
from ...dynamics._method import start_radius
from ...experiments import Experiment
from ...forecasts import Forecast, forecast as forecast_of
from ...forecasts.conclude import TIMES_HOLD
from ...forecasts.options import How
from ...forecasts.verdict import Confidence, Reason, Verdict, confidence_of
from ...models import FromTorch, has_invariant_block, measured_homogeneity
from ...records.summary import jsonable
from ...records.transition import Thresholds
from ...tasks import Arrays
from ..functional import unwrapped
from .data import arrays_of, batch_size_of
from .losses import converted_loss
from .optimisers import Trained, trained_by

# The most training samples that are read.
_MOST = 20_000
# The horizon with weight decay, in units of 1/lambda, if none is given.
_HORIZON = 10.0
_SOLVE = "Solve the transition (passage='solved')."
# Inputs on which the degree is measured.
_FEW = 8


@dataclass(frozen=True, kw_only=True)
class TorchForecast:
    """The forecast of a PyTorch module. Steps are those of the optimiser, NaN where unknown.

    - `verdict`, `confidence`, `reasons` and `advice` are as in [`Forecast`][lazyrich.Forecast].
    - `step_fit`, the step at which the training data are fitted; `step_kernel_end`, at which the
        run leaves the kernel regime; `step50`, at which half of the change of the test score is
        made, and `step50_interval`. They count from the present parameters.
    - `time_per_step`, the gradient-flow time of a step.
    - `flow`, the forecast in gradient-flow time, or None if the steps of the optimiser do not
        follow the gradient; `experiment`, what it is a forecast of. Both can be passed to all that
        takes forecasts and experiments.
    - `step_fit` and `step_kernel_end` are those of the kernel at the present parameters. They have
        no interval: the smaller the net, the earlier it leaves this kernel.
    """

    verdict: Verdict
    confidence: Confidence
    reasons: tuple[str, ...]
    advice: str
    step_fit: float
    step_kernel_end: float
    step50: float
    step50_interval: tuple[float, float]
    time_per_step: float
    flow: Forecast | None
    experiment: Experiment

    def __str__(self) -> str:
        steps = {"step_fit": self.step_fit, "step_kernel_end": self.step_kernel_end}
        known = {name: number(step) for name, step in steps.items() if not math.isnan(step)}
        if not math.isnan(self.step50):
            known["step50"] = f"{number(self.step50)}, from {interval(self.step50_interval)}"
        return rows(
            forecast=self.experiment.name,
            verdict=f"{self.verdict} (confidence: {self.confidence})",
            next=self.advice,
            **known,
            because=self.reasons[0] if self.reasons else "",
        )

    def _repr_html_(self) -> str:
        return as_html(self)

    def summary(self) -> dict[str, Any]:
        """The forecast as a dictionary for JSON. Unknown values are None."""
        own = {name: value for name, value in vars(self).items() if name != "experiment"}
        found: dict[str, Any] = jsonable({**own, "flow": None})
        return {**found, "flow": None if self.flow is None else self.flow.summary()}


def forecast(
    net: nn.Module,
    train: Any,
    test: Any,
    *,
    loss: Any,
    optimizer: Any = None,
    weight_decay: float | None = None,
    steps: int | None = None,
    t1: float | None = None,
    subset: int | None = None,
    seed: int = 0,
    max_test: int = 2000,
    passage: How | None = None,
    select: Callable[[Any], Tensor] | None = None,
    degree: float | None = None,
    thresholds: Thresholds = Thresholds(),
    name: str = "torch",
    progress: bool = False,
) -> TorchForecast:
    r"""Says of a PyTorch module when it leaves the kernel regime, and when its test score changes.

    The module becomes the model [`FromTorch`][lazyrich.models.FromTorch] of an experiment with its
    present parameters, and the answer is that of [`forecast`][lazyrich.forecast] for it. The module
    itself is not changed. Dropout and batch normalisation must be in `eval` mode.

    - **Takes** `net`; `train` and `test`: pairs `(x, y)` of tensors or arrays, a `Dataset`, or a
        `DataLoader`; `loss`, the name of a loss of lazyrich, such as `cross_entropy`, or
        `torch.nn.CrossEntropyLoss`, `MSELoss`, `BCEWithLogitsLoss` or `SoftMarginLoss` as a module
        or function;
        `optimizer`, a `torch.optim.SGD`, `Adam` or `AdamW` with the parameters of `net`. The
        learning rate, which should be constant, and the weight decay are read from it. Without it
        only flow times are known, and `weight_decay` is that of the training;
        `steps`, the number of steps planned, or `t1`, the same as a gradient-flow time; by default
        $10/\lambda$, needed without weight decay;
        `subset`, the size of the random subsets that the kernel is computed on; `passage` and
        `thresholds` as in [`forecast`][lazyrich.forecast]; `max_test`, the number of test samples;
        `seed`, of the choice of samples;
        `select`, a choice among the outputs, such as `lambda f: f[:, -1]`; `degree`, the degree of
        homogeneity, by default measured; `progress`, whether to show the stages on stderr: much of
        the first forecast of a net is compilation, which a second one does not repeat.
    - If a step does not follow the gradient, as with Adam, the verdict is `cannot_say` and nothing
        is computed. No step is given that is not known: without a calibration of such nets,
        `step50` is known only if the transition is solved (`passage="solved"`).
    - **Raises** [`InputError`][lazyrich.InputError] for what cannot be used.
    """
    if not isinstance(net, nn.Module):
        raise InputError("net", type(net).__name__, "should be a torch.nn.Module")
    (x, y), num_train = arrays_of(train, _MOST, seed, "train")
    (x_test, y_test), _ = arrays_of(test, max_test, seed + 1, "test")
    model = _model(net, select, x)
    converted = converted_loss(loss, _num_outputs(model, x))
    trained = trained_by(
        optimizer, net, weight_decay, converted.factor, batch_size_of(train, num_train)
    )
    horizon = _horizon(trained, steps, t1)
    prefix = "" if select is None else "net."
    changes = {"undecayed": tuple(prefix + one for one in trained.undecayed)}
    model = model.model_copy(
        update={**changes, "degree": _degree(model, x) if degree is None else degree}
    )
    task = Arrays(
        x_train=_flat(x),
        y_train=converted.labels(y),
        x_test=_flat(x_test),
        y_test=converted.labels(y_test),
    )
    experiment = Experiment(
        task=task,
        model=model,
        loss=converted.loss,
        weight_decay=trained.weight_decay,
        t1=horizon,
        dynamics=trained.dynamics,
        name=name,
    )
    if passage == "pilot":
        accepted = "is for models of lazyrich: forecast a net of the same layers, such as MLP"
        raise InputError("passage", "pilot", accepted)
    if experiment.dynamics.rescales_gradients:
        return _unknown(experiment)
    found = forecast_of(
        experiment,
        num_samples=subset,
        passage=passage,
        max_test=max_test,
        thresholds=thresholds,
        progress=progress,
    )
    extra = _reasons(experiment, trained, num_train, len(x))
    return _in_steps(found, experiment, trained, extra, solved=found.num_steps > 0)


class _Selected(nn.Module):
    """A net whose outputs are a choice among the outputs of another."""

    def __init__(self, net: nn.Module, select: Callable[[Any], Tensor]):
        super().__init__()
        self.net, self.select = net, select
        self.training = net.training

    def forward(self, x: Tensor) -> Tensor:
        return self.select(self.net(x))


def _model(net: nn.Module, select: Callable[[Any], Tensor] | None, x: np.ndarray) -> FromTorch:
    whole = net if select is None else _Selected(unwrapped(net), select)
    shape = None if x.ndim == 2 else x.shape[1:]
    return FromTorch(whole, input_shape=shape)


def _flat(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), -1)


def _num_outputs(model: FromTorch, x: np.ndarray) -> int:
    flat = model.cast_inputs(_flat(x[:1]))  # type: ignore[arg-type]
    whole = np.issubdtype(flat.dtype, np.integer)
    return math.prod(model.net.output_shape(flat.shape[1], whole))


@in_double
def _degree(model: FromTorch, x: np.ndarray) -> float | None:
    params = model.init(jax.random.key(0), 0)
    some = model.cast_inputs(_flat(x[:_FEW]))  # type: ignore[arg-type]
    found = measured_homogeneity(model, params, some)
    # The norm of an invariant block can shrink without an effect: no problem of least norm.
    return None if not found or has_invariant_block(model, params, some) else found


def _horizon(trained: Trained, steps: int | None, t1: float | None) -> float:
    if steps is not None and steps < 1:
        raise InputError("steps", steps, "should be at least 1")
    if t1 is not None:
        return t1
    if steps is not None and not math.isnan(trained.time_per_step):
        return steps * trained.time_per_step
    if trained.weight_decay > 0:
        return _HORIZON / trained.weight_decay
    if steps is not None:
        accepted = "needs an SGD optimizer, whose steps have a gradient-flow time; give t1"
        raise InputError("steps", steps, accepted)
    raise InputError("steps", None, "is needed without weight decay: the number of steps planned")


@in_double
def _reasons(
    experiment: Experiment, trained: Trained, num_train: int, num_read: int
) -> list[Reason]:
    """What lowers the confidence in the times as steps."""
    found = []
    if num_read < num_train:
        found.append(Reason(1, f"{num_read} of {num_train} training samples were used"))
    if not math.isnan(trained.largest):
        problem = prepare(experiment).problem
        sharpness = start_radius(GradientFlow.of(problem), problem.params)
        ratio = trained.rate * sharpness / trained.largest
        if ratio > 1:
            text = f"the learning rate is {ratio:.2g} times the largest that is stable at the"
            found.append(Reason(2, f"{text} present parameters, so steps do not follow the flow"))
    return found


def _in_steps(
    found: Forecast, experiment: Experiment, trained: Trained, extra: list[Reason], *, solved: bool
) -> TorchForecast:
    unit = trained.time_per_step
    # A range of constants of other families is no interval for this net.
    known = solved or found.family.known or found.verdict != "cannot_say"
    t50, around, reasons = found.t50, found.t50_interval, found.reasons
    if not known:
        reasons = tuple(
            reason.removesuffix(TIMES_HOLD) for reason in reasons if not reason.startswith("t50")
        )
        t50, around = math.nan, (math.nan, math.nan)
        extra = [*extra, Reason(1, "no runs calibrate step50 for such a net: solve the transition")]
    weights = {"high": 0, "medium": 1, "low": 2}
    confidence = confidence_of([Reason(weights[found.confidence], ""), *extra])
    return TorchForecast(
        verdict=found.verdict,
        confidence=confidence,
        reasons=(*(reason.text for reason in extra), *reasons),
        advice=found.advice if solved or found.verdict != "cannot_say" else _SOLVE,
        step_fit=found.t_fit / unit,
        step_kernel_end=found.t_kernel_end / unit,
        step50=t50 / unit,
        step50_interval=(around[0] / unit, around[1] / unit),
        time_per_step=unit,
        flow=found,
        experiment=experiment,
    )


def _unknown(experiment: Experiment) -> TorchForecast:
    """The answer for an optimiser whose steps do not follow the gradient."""
    kind = experiment.dynamics.kind_name()
    text = f"a step of {kind} is not proportional to the gradient, and no runs calibrate it, so"
    return TorchForecast(
        verdict="cannot_say",
        confidence="low",
        reasons=(f"{text} neither the outcome nor a number of steps can be given",),
        advice="Follow the training with lazyrich.torch.Monitor, then ask lazyrich.remaining.",
        step_fit=math.nan,
        step_kernel_end=math.nan,
        step50=math.nan,
        step50_interval=(math.nan, math.nan),
        time_per_step=math.nan,
        flow=None,
        experiment=experiment,
    )
