"""The base class of probes, and the arguments of a probe."""

import abc
from collections.abc import Collection
from typing import Any, ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from .._core.errors import InputError, did_you_mean
from ..dynamics import GradientFlow
from ..losses import AbstractLoss
from ..models import AbstractLinearModel, AbstractModel

Labels = Literal["signs", "classes", "reals"]
"""Kinds of labels: -1 or 1 (signs), integers that name classes, or real numbers."""


class RunContext(eqx.Module):
    """The constants of a run.

    - `kernel` and `rich`: the weights of the early and of the late predictor, in the shape of the
        weights of the linear model; None if there is no such predictor.
    - `x_train`, `teacher` and `twin` are None if no probe needs them. `teacher` is $\\sqrt\\tau
        \\beta$ for labels $\\frac\\tau2 (\\beta \\cdot x)^2$ on inputs $N(0, I/D)$. `twin` is the
        linearised twin.
    """

    y_train: Shaped[Array, " n *c"]
    y_test: Shaped[Array, " m *c"]
    params: Any
    init_scale: float | Float[Array, ""]
    weight_decay: float | Float[Array, ""]
    kernel: Float[Array, "..."] | None
    rich: Float[Array, "..."] | None
    model: AbstractModel
    loss: AbstractLoss = eqx.field(static=True)
    labels: Labels = eqx.field(static=True)
    loss_divisor: float | Float[Array, ""] = 1.0
    x_train: Shaped[Array, "n d"] | None = None
    teacher: Float[Array, " d"] | None = None
    twin: Any = None

    @property
    def flow(self) -> GradientFlow:
        """The gradient flow of the run, for probes that need the inputs."""
        assert self.x_train is not None  # ensured by `applies` of such probes
        decay = jnp.asarray(self.weight_decay)
        return GradientFlow(
            self.x_train, self.y_train, decay, self.model, self.loss, self.loss_divisor
        )

    @property
    def is_linear(self) -> bool:
        """Whether the model is linear in its input, and so has weights."""
        return isinstance(self.model, AbstractLinearModel)

    @property
    def weights_shape(self) -> tuple[int, ...]:
        """The shape of the weights of a linear model; empty for other models."""
        if not isinstance(self.model, AbstractLinearModel):
            return ()
        return tuple(jax.eval_shape(self.model.weights, self.params).shape)


class RunState(eqx.Module):
    """A run at one time. `weights` are the weights of a linear model, None for other models."""

    time: Float[Array, ""]
    params: Any
    weights: Float[Array, "..."] | None
    f_train: Float[Array, " n *c"]
    f_test: Float[Array, " m *c"]


class AbstractProbe(eqx.Module):
    """A number or an array that is measured at every recorded time.

    `name` is the name of the variable in the record, and differs from the names of all other
    variables and of built-in probes. All built-in probes are dimensionless. Probes are compiled
    together with the solve, so they compute with `jax.numpy`.

    A class sets name and long name of its probes with `named` or by overriding the properties.
    """

    named: ClassVar[tuple[str, str]] = ("", "")
    """Name and long name of the probes; `{field}` is replaced by the value of the field."""
    meaning: ClassVar[str] = ""
    """What is measured, in one line, for the table of the variables of a record."""
    needs_inputs: ClassVar[bool] = False
    """Whether the probe requires the training inputs in the context."""
    needs_twin: ClassVar[bool] = False
    """Whether the probe requires the linearised twin in the context."""
    needs_forces: ClassVar[bool] = False
    """Whether the probe requires residuals that are not zero, as in a run with weight decay."""

    needs_balance: ClassVar[bool] = False
    """Whether the probe requires dynamics that end where decay and gradient balance."""

    @property
    def name(self) -> str:
        """The name of the variable in the record."""
        return self.named[0].format_map(vars(self))

    @property
    def long_name(self) -> str:
        """The label of axes and legends."""
        return self.named[1].format_map(vars(self))

    @property
    def units(self) -> str:
        """The unit; "1" for a pure number."""
        return "1"

    @property
    def against(self) -> str:
        """The predictor that the probe compares with, `kernel` or `rich`; empty if none."""
        return ""

    @property
    def scale_degree(self) -> int | None:
        r"""The $k$ of a value that is multiplied by $c^k$ along with all parameters by $c$.

        For nets with $f(c\theta) = f(\theta)$, and used by
        [`invariant_run`][lazyrich.invariant_run]. None if there is no such power.
        """
        return None

    @property
    def dims(self) -> tuple[str, ...]:
        """The names of the axes of the value; empty for a number."""
        return ()

    def num_values(self, num_train: int, dim: int, num_params: int) -> int:
        """A lower bound on the number of values at one time, to refuse records that do not fit.

        - **Takes** the numbers of training samples, of inputs and of parameters.
        """
        del num_train, dim, num_params
        return 1

    def applies(self, context: RunContext) -> bool:
        """Whether the probe is defined for a run. Records omit probes that are not."""
        del context
        return True

    @abc.abstractmethod
    def __call__(self, state: RunState, context: RunContext) -> Float[Array, "..."]:
        """The value, with as many axes as `dims`; NaN if it is undefined at this time."""


def check_probes(value: Any, names: Collection[str]) -> None:
    """Raises [`InputError`][lazyrich.InputError] unless given a list of known names or probes."""
    if not isinstance(value, list | tuple):
        accepted = (
            'should be a list, such as ["train_loss", "test_loss"]; on the command line +NAME adds '
            "a probe"
        )
        raise InputError("probes", value, accepted)
    for probe in value:
        _check_probe(probe, names)


def _check_probe(probe: Any, names: Collection[str]) -> None:
    """Raises [`InputError`][lazyrich.InputError] unless given a known name or a valid probe."""
    if isinstance(probe, str) and probe not in names:
        near = did_you_mean(probe, names)
        raise InputError("probes", probe, f"should be among {', '.join(names)}{near}")
    if isinstance(probe, type) and issubclass(probe, AbstractProbe):
        raise InputError("probes", probe.__name__, f"should be called: {probe.__name__}()")
    if not isinstance(probe, str | AbstractProbe):
        raise InputError("probes", probe, "should be a name, or a probe of lr.probes.AbstractProbe")
    if isinstance(probe, AbstractProbe) and not (probe.name and probe.long_name):
        accepted = "should have a name and a long name: set `named` in its class"
        raise InputError("probes", type(probe).__name__, accepted)
