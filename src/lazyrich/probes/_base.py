"""What a probe is and what it sees."""

import abc
from collections.abc import Collection
from typing import Any, ClassVar, Literal

import equinox as eqx
import jax
from jaxtyping import Array, Float, Shaped

from .._core.errors import InputError, did_you_mean
from ..losses import AbstractLoss
from ..models import AbstractLinearModel, AbstractModel

Labels = Literal["signs", "classes", "reals"]
"""What labels are: -1 or 1, whole numbers that name classes, or any real numbers."""


class RunContext(eqx.Module):
    """What stays the same over a run.

    `kernel` and `rich` are the weights of the early and the late predictor, None where
    there is none; those of a linear model have the shape of its weights. What only some probes
    ask for can be None: `x_train`; `teacher`, the $\\sqrt\\tau \\beta$ of labels $\\frac\\tau2
    (\\beta \\cdot x)^2$ on inputs $N(0, I/D)$; `twin`, the linearised twin.
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
    def is_linear(self) -> bool:
        """Whether the model computes a linear function, which has weights."""
        return isinstance(self.model, AbstractLinearModel)

    @property
    def weights_shape(self) -> tuple[int, ...]:
        """The shape of a linear model's weights, empty for other models."""
        if not isinstance(self.model, AbstractLinearModel):
            return ()
        return tuple(jax.eval_shape(self.model.weights, self.params).shape)


class RunState(eqx.Module):
    """A run at one time; `weights` are those of a linear model's function, else None."""

    time: Float[Array, ""]
    params: Any
    weights: Float[Array, "..."] | None
    f_train: Float[Array, " n *c"]
    f_test: Float[Array, " m *c"]


class AbstractProbe(eqx.Module):
    """A number, or an array of them, measured at every recorded time.

    `name` is the variable's name in the record; every built-in probe is dimensionless. A probe
    is compiled with the rest, so it computes with `jax.numpy`.

    A class gives its probes their name and long name by `named`, or by properties of its own.
    """

    named: ClassVar[tuple[str, str]] = ("", "")
    """Name and long name of the class's probes; `{field}` stands for the value of a field."""
    meaning: ClassVar[str] = ""
    """What is measured, in a line, for the table of a record's variables."""
    needs_inputs: ClassVar[bool] = False
    """Whether the context should hold the training inputs."""
    needs_twin: ClassVar[bool] = False
    """Whether the context should hold the linearised twin."""

    @property
    def name(self) -> str:
        """The variable's name in the record."""
        return self.named[0].format_map(vars(self))

    @property
    def long_name(self) -> str:
        """What axes and legends call it."""
        return self.named[1].format_map(vars(self))

    @property
    def units(self) -> str:
        """The unit, "1" for a pure number."""
        return "1"

    @property
    def against(self) -> str:
        """The predictor it is measured against, `kernel` or `rich`; empty if there is none."""
        return ""

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the axes of what it returns; none for a number."""
        return ()

    def applies(self, context: RunContext) -> bool:
        """Whether the probe has a meaning for a run; a record leaves out those without."""
        del context
        return True

    @abc.abstractmethod
    def __call__(self, state: RunState, context: RunContext) -> Float[Array, "..."]:
        """The value, an array with as many axes as `dims`; NaN where it has none."""


def check_probe(probe: Any, names: Collection[str]) -> None:
    """Raises [`InputError`][lazyrich.InputError] for what is neither a known name nor a probe."""
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
