"""Probes along a run: inside the solver, or from its states afterwards."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from .._core.errors import InputError
from ..dynamics import Trajectory
from ..models import AbstractLinearModel, AbstractModel
from ..predictors import Predictor
from ..probes import AbstractProbe, Moment, Setting, accuracy
from ..records.schema import VARIABLES
from ..tasks import Blocks, Samples

# Times whose parameters are held at once: 20 MB each at d = 100,000 and depth 2.
_BATCH = 20


class Observer(eqx.Module):
    """Every probe at one moment of a run, for a solver to ask; test data are in memory."""

    setting: Setting
    x_train: Shaped[Array, "n d"]
    x_test: Shaped[Array, "m d"]
    probes: tuple[AbstractProbe, ...]

    def __call__(self, time: Any, params: Any) -> dict[str, Array]:
        """Values by the probes' names."""
        model = self.setting.model
        if isinstance(model, AbstractLinearModel):
            weights = model.weights(params)
            f_train = model.evaluate(weights, self.x_train)
            f_test = model.evaluate(weights, self.x_test)
        else:
            weights = None
            f_train, f_test = model.apply(params, self.x_train), model.apply(params, self.x_test)
        moment = Moment(jnp.asarray(time), params, weights, f_train, f_test)
        return {probe.name: probe(moment, self.setting) for probe in self.probes}


# Bytes that a probe's values may take in a record.
_MOST_BYTES = 2**31
_TAKEN = ("time", "predictor")  # axes that records have


def check_probes(observer: Observer, params: Any, num_records: int) -> None:
    """Tries every probe on shapes, before anything is solved.

    - **Raises** [`InputError`][lazyrich.InputError] for one that fails, that returns no array of
        real numbers with the axes it names, or more than a record holds.
    """
    for probe in observer.probes:
        alone = dataclasses.replace(observer, probes=(probe,))
        try:
            found = jax.eval_shape(lambda p, alone=alone: alone(jnp.zeros(()), p), params)
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


def gathered(blocks: Blocks) -> Samples:
    """Samples that come in blocks, all of them in memory."""
    parts = list(blocks)
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


class HeldOut(NamedTuple):
    """What one pass over the test data leaves: outputs of every function asked about, labels."""

    along: Float[Array, "t m"]  # of the states of a run
    references: Float[Array, "p m"]  # of the predictors
    y: Shaped[Array, " m"]


def pass_over_test(
    model: AbstractLinearModel,
    trajectory: Trajectory,
    references: dict[str, Predictor],
    test: Blocks,
    progress: Callable[[float], None],
) -> tuple[Float[Array, "t ..."], HeldOut]:
    """Weights along a run of a linear model, and what they and the predictors' give on test data.

    A block at a time, for all times at once: test data of panel 1b alone would fill 8 GB, and
    drawing them takes half of that panel's time.
    """
    times = jnp.asarray(trajectory.times)
    weights = weights_along(model, trajectory.params_at, times, trajectory.states)
    every = jnp.concatenate([weights, *(jnp.asarray(p.weights)[None] for p in references.values())])
    f, y = [], []
    for done, block in enumerate(test):
        progress(done / test.num_blocks)
        f.append(evaluate_all(model, every, block.x))
        y.append(block.y)
    outputs = jnp.concatenate(f, axis=1)
    along, others = outputs[: len(weights)], outputs[len(weights) :]
    return weights, HeldOut(along, others, jnp.concatenate(y))


def measure_states(
    setting: Setting,
    trajectory: Trajectory,
    weights: Float[Array, "t ..."],
    x_train: Shaped[Array, "n d"],
    f_test: Float[Array, "t m"],
    probes: tuple[AbstractProbe, ...],
) -> dict[str, Array]:
    """Values of probes over the states of a run of a linear model."""
    assert isinstance(setting.model, AbstractLinearModel)  # only reductions of these replay
    f_train = evaluate_all(setting.model, weights, x_train)
    times = jnp.asarray(trajectory.times)
    along = (times, trajectory.states, weights, f_train, f_test)
    return probe_along(setting, trajectory.params_at, along, probes)


# These take a trajectory's parts and not the whole: what it cost would be compiled in.
@eqx.filter_jit
def weights_along(
    model: AbstractLinearModel, params_at: Callable[[Any, Any], Any], times: Array, states: Any
) -> Float[Array, "t ..."]:
    """Weights at every time of a run."""

    def at(moment: tuple[Array, Any]) -> Array:
        return model.weights(params_at(*moment))

    return jax.lax.map(at, (times, states), batch_size=_BATCH)


@eqx.filter_jit
def evaluate_all(
    model: AbstractLinearModel, weights: Float[Array, "t ..."], x: Array
) -> Float[Array, "t n"]:
    """Outputs of many weights on the same inputs."""
    return jax.vmap(lambda w: model.evaluate(w, x))(weights)


@eqx.filter_jit
def probe_along(
    setting: Setting,
    params_at: Callable[[Any, Any], Any],
    along: tuple[Any, ...],
    probes: tuple[AbstractProbe, ...],
) -> dict[str, Array]:
    """Values of probes at every time of a run."""

    def at(moment: tuple[Any, ...]) -> dict[str, Array]:
        time, state, weights, f_train, f_test = moment
        seen = Moment(time, params_at(time, state), weights, f_train, f_test)
        return {probe.name: probe(seen, setting) for probe in probes}

    return jax.lax.map(at, along, batch_size=_BATCH)


def outputs_of_references(
    model: AbstractModel, references: dict[str, Predictor], x: Shaped[Array, "m d"]
) -> Float[Array, "p m"]:
    """Outputs of the predictors on inputs in memory; none where there are none."""
    if not references:
        return jnp.zeros((0, len(x)))
    assert isinstance(model, AbstractLinearModel)  # predictors are known for these alone
    weights = jnp.stack([jnp.asarray(p.weights) for p in references.values()])
    return evaluate_all(model, weights, x)


def scales_of(setting: Setting, outputs: tuple[int, ...], params: Any) -> dict[str, float]:
    """These numbers, for training outputs of shape `(n, *c)`; NaN where one has no meaning."""
    loss, y_train, y_test = setting.loss, setting.y_train, setting.y_test
    chance = math.nan
    if setting.labels != "reals" and len(y_test):
        chance = float(np.max(np.unique(np.asarray(y_test), return_counts=True)[1]) / len(y_test))
    return {
        "train_variance": loss.variance(outputs, y_train),
        "test_variance": loss.variance((len(y_test), *outputs[1:]), y_test),
        "blank_loss": loss.blank(outputs, y_train),
        "test_chance": chance,
        "init_rms": rms(params),
    }


def rms(params: Any) -> float:
    """Root mean square of all parameters, NaN where there is none."""
    values = [np.ravel(leaf).astype(float) for leaf in jax.tree.leaves(params)]
    number = sum(len(each) for each in values)
    return math.sqrt(sum(float(each @ each) for each in values) / number) if number else math.nan


Columns = dict[str, tuple[str, np.ndarray]]
"""Long names and values of a table's columns."""


def reference_table(
    references: dict[str, Predictor],
    setting: Setting,
    x_train: Shaped[Array, "n d"],
    f_test: Float[Array, "p m"],
) -> Columns:
    """What each predictor achieves, a value for each; empty if there are none."""
    if not references:
        return {}
    found = list(references.values())
    f_train = outputs_of_references(setting.model, references, x_train)
    f = {
        "train": (f_train, setting.y_train),
        "test": (f_test, setting.y_test),
    }
    columns: dict[str, Any] = {"label": [predictor.name for predictor in found]}
    for part, (outputs, labels) in f.items():
        if setting.labels == "signs":
            columns[f"{part}_accuracy"] = jax.vmap(lambda f, y=labels: accuracy(f, y))(outputs)
        if not setting.loss.is_classification:
            losses = jax.vmap(lambda f, y=labels: setting.loss.mean(f, y))(outputs)
            columns[f"{part}_loss"] = losses
    for key in ("objective", "bound", "gap", "status", "why"):
        columns[key] = [getattr(predictor, key) for predictor in found]
    return {
        key: (VARIABLES[f"predictor_{key}"].long_name, np.asarray(values))
        for key, values in columns.items()
    }
