"""Forecasts of PyTorch modules, by the forecast of lazyrich on the module itself."""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from torch import Tensor, nn

from ..._core.description import small_letters
from ..._core.errors import InputError
from ..._core.given import check_function
from ..._core.precision import in_double
from ..._run.prepared import prepare
from ...dynamics import GradientFlow
from ...dynamics._method import start_radius
from ...experiments import Experiment
from ...forecasts import Forecast, forecast as forecast_of
from ...forecasts.by_family import TIMES_HOLD
from ...forecasts.options import How
from ...forecasts.verdict import Reason, confidence_of
from ...forecasts.without_pilots import no_gradient_step
from ...losses import AbstractLoss
from ...models import FromTorch, has_invariant_block, measured_homogeneity
from ...records.transition import Thresholds
from ...tasks import Arrays
from ..functional import unwrapped
from .answer import TorchForecast
from .data import arrays_of, batch_size_of
from .losses import converted_loss
from .optimisers import Trained, trained_by
from .pilot_run import PlannedTraining
from .pilots import forecast_by_pilots

# The most training samples that are read.
_MOST = 20_000
# The horizon with weight decay, in units of 1/lambda, if none is given.
_HORIZON = 10.0
_SOLVE = "Solve the transition (passage='solved'): it gives the outcome and step50."
_FIT = " For step_fit, which is not known, simulate `experiment` or follow the training."
# Inputs on which the degree is measured.
_FEW = 8


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
    itself is not changed. Except for pilots, dropout and batch normalisation must be in `eval`
    mode.

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
        `thresholds` as in [`forecast`][lazyrich.forecast], see below for `pilot`; `max_test`, the
        number of test samples; `seed`, of the choice of samples;
        `select`, a choice among the outputs, such as `lambda f: f[:, -1]`; `degree`, the degree of
        homogeneity, by default measured; `progress`, whether to show the stages on stderr: much of
        the first forecast of a net is compilation, which a second one does not repeat.
    - `passage="pilot"` trains copies of the net on `train`, in the mode (`train` or `eval`) that
        the net has, in batches if `train` is a `DataLoader`, otherwise on all samples; with copies
        of the optimiser at 16 and 8 times its learning rate, and at 4 times where these disagree.
        This takes 3/16 or 7/16 of `steps`, which is required. Any loss that a
        [`Monitor`][lazyrich.torch.Monitor] takes is accepted. Net, optimiser and random states stay
        as they are, to the last bit.
    - Without pilots, if a step does not follow the gradient, as with Adam, the verdict is
        `cannot_say` and nothing is computed. No step is given that is not known: without a
        calibration of such nets, `step50` is known only for pilots and if the transition is solved
        (`passage="solved"`).
    - **Raises** [`InputError`][lazyrich.InputError] for what cannot be used.
    """
    if not isinstance(net, nn.Module):
        raise InputError("net", type(net).__name__, "should be a torch.nn.Module")
    check_function("select", select, "outputs")
    if passage == "pilot":
        named = small_letters(loss.kind_name()) if isinstance(loss, AbstractLoss) else loss
        planned = PlannedTraining(
            net=net, train=train, test=test, loss=named, optimizer=optimizer,
            steps=_pilot_steps(
                steps, t1=t1, subset=subset, weight_decay=weight_decay, degree=degree
            ),
            select=select, seed=seed, most=_MOST, max_test=max_test, thresholds=thresholds,
            name=name,
        )  # fmt: skip
        return forecast_by_pilots(planned, progress=progress)
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
    if degree is None and not trained.dynamics.rescales_gradients:
        degree = _degree(model, x)
    model = model.model_copy(update={**changes, "degree": degree})
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


def _pilot_steps(steps: Any, **others: Any) -> int:
    """The number of steps planned. What pilots do not use is refused."""
    for key, value in others.items():
        if value is not None:
            accepted = "should be left out for pilots, which take steps, optimizer and all samples"
            raise InputError(key, value, accepted)
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 1:
        accepted = "should be given for pilots: the number of steps planned, a whole number"
        raise InputError("steps", steps, accepted)
    return int(steps)


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
        name=experiment.name,
        verdict=found.verdict,
        confidence=confidence,
        reasons=(*(reason.text for reason in extra), *reasons),
        advice=_advice(found, solved=solved),
        step_fit=found.t_fit / unit,
        step_kernel_end=found.t_kernel_end / unit,
        step50=t50 / unit,
        step50_interval=(around[0] / unit, around[1] / unit),
        time_per_step=unit,
        flow=found,
        experiment=experiment,
    )


def _advice(found: Forecast, *, solved: bool) -> str:
    if solved or found.verdict != "cannot_say":
        return found.advice
    return _SOLVE + (_FIT if math.isnan(found.t_fit) else "")


def _unknown(experiment: Experiment) -> TorchForecast:
    """The answer for an optimiser whose steps do not follow the gradient."""
    text = f"{no_gradient_step(experiment)}, and no runs calibrate it, so"
    return TorchForecast(
        name=experiment.name,
        verdict="cannot_say",
        confidence="low",
        reasons=(f"{text} neither the outcome nor a number of steps can be given",),
        advice="Run pilots (passage='pilot'), or follow the training with lazyrich.torch.Monitor.",
        step_fit=math.nan,
        step_kernel_end=math.nan,
        step50=math.nan,
        step50_interval=(math.nan, math.nan),
        time_per_step=math.nan,
        flow=None,
        experiment=experiment,
    )
