"""What a probe is and what it sees."""

import abc
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float

from .._losses import AbstractLoss
from .._models import AbstractModel


class Setting(eqx.Module):
    """What stays the same over a run.

    - `kernel` and `rich`, weights `(d,)` of the early and the late predictor; zero where
        there is none.
    - `binary`, whether all labels are -1 or 1.
    """

    y_train: Float[Array, " n"]
    y_test: Float[Array, " m"]
    params: Any
    init_scale: float | Float[Array, ""]
    weight_decay: float | Float[Array, ""]
    kernel: Float[Array, " d"]
    rich: Float[Array, " d"]
    model: AbstractModel = eqx.field(static=True)
    loss: AbstractLoss = eqx.field(static=True)
    binary: bool = eqx.field(static=True)


class Moment(eqx.Module):
    """A run at one time; `weights` are those of the linear function it computes."""

    time: Float[Array, ""]
    params: Any
    weights: Float[Array, " d"]
    f_train: Float[Array, " n"]
    f_test: Float[Array, " m"]


class AbstractProbe(eqx.Module):
    """A number measured at every recorded time.

    `name` is the variable's name in the record; every built-in probe is dimensionless.
    """

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """The variable's name in the record."""

    @property
    @abc.abstractmethod
    def long_name(self) -> str:
        """What axes and legends call it."""

    @property
    def units(self) -> str:
        """The unit, "1" for a pure number."""
        return "1"

    @abc.abstractmethod
    def __call__(self, moment: Moment, setting: Setting) -> Float[Array, ""]:
        """The value; NaN where it has none."""
