"""Probes at one time of a run, computed inside a solver."""

import dataclasses
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from .._core.errors import InputError
from .._core.precision import doubled, float_type
from ..models import AbstractLinearModel
from ..probes import AbstractProbe, RunContext, RunState


class Observer(eqx.Module):
    """A function for the solver that computes all probes at one time. Test data are in memory.

    `x_train` and `x_test` have the type of the run's parameters; the context is in float64.
    """

    context: RunContext
    x_train: Shaped[Array, "n d"]
    x_test: Shaped[Array, "m d"]
    probes: tuple[AbstractProbe, ...]
    begin: float | Float[Array, ""] = 0.0  # the time of the run at time 0 of the solver

    def __call__(self, time: Any, params: Any) -> dict[str, Array]:
        """The values of the probes, by name."""
        dtype = float_type(params)
        model = jax.tree.map(lambda number: number.astype(dtype), self.context.model)
        if isinstance(model, AbstractLinearModel):
            weights = model.weights(params)
            f_train = model.evaluate(weights, self.x_train)
            f_test = model.evaluate(weights, self.x_test)
        else:
            weights = None
            f_train, f_test = model.apply(params, self.x_train), model.apply(params, self.x_test)
        now = jnp.asarray(time + self.begin)
        # Outputs have the precision of the run. All that is computed from them is in float64.
        state = RunState(now, *doubled((params, weights, f_train, f_test)))
        return {probe.name: probe(state, self.context) for probe in self.probes}


# The most bytes that the values of a probe may take in a record.
_MOST_BYTES = 2**31
_TAKEN = ("time", "predictor")  # axes of every record


def check_probes(observer: Observer, params: Any, num_records: int) -> None:
    """Checks every probe with abstract arrays before the solve.

    - **Raises** [`InputError`][lazyrich.InputError] if a probe fails, if it does not return an
        array of real numbers with the axes in `dims`, or if its values are too large for a record.
    """
    for probe in observer.probes:
        single = dataclasses.replace(observer, probes=(probe,))
        try:
            found = jax.eval_shape(lambda p, single=single: single(jnp.zeros(()), p), params)
        except jax.errors.TracerArrayConversionError:
            accepted = "computes with NumPy on values that are compiled: use jax.numpy in it"
            raise InputError("probes", probe.name, accepted) from None
        except jax.errors.ConcretizationTypeError:
            accepted = "branches on values, or makes Python numbers of them: use jnp.where in it"
            raise InputError("probes", probe.name, accepted) from None
        except InputError:
            raise
        except Exception as error:
            message = " ".join(str(error).split())[:200]
            accepted = f"should return numbers, and raises {type(error).__name__}: {message}"
            raise InputError("probes", probe.name, accepted) from None
        value, dims = found[probe.name], probe.dims
        if not hasattr(value, "shape") or value.dtype.kind not in "biuf":
            raise InputError("probes", probe.name, "should return one array of real numbers")
        if len(value.shape) != len(dims) or set(dims) & set(_TAKEN) or len(set(dims)) != len(dims):
            accepted = (
                f"returns shape {value.shape} and names the axes {dims}: it should return a "
                f"number, or name each axis in `dims`, none of them {' or '.join(_TAKEN)}"
            )
            raise InputError("probes", probe.name, accepted)
        size = 8 * num_records * math.prod(value.shape)
        if size > _MOST_BYTES:
            accepted = (
                f"takes {size:,} bytes at {num_records} times, at most {_MOST_BYTES:,} are kept: "
                "lower times.num_log and times.num_linear"
            )
            raise InputError("probes", probe.name, accepted)
