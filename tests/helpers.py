"""Small problems that several tests pose."""

import contextlib
import dataclasses
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar, cast

import html5lib
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import xarray as xr
from jax import monitoring

import lazyrich as lr
from lazyrich import cli
from lazyrich.dynamics import Problem
from lazyrich.losses import AbstractLoss
from lazyrich.models import AbstractModel
from lazyrich.tasks import Samples

P = ParamSpec("P")
R = TypeVar("R")


def in_double(function: Callable[P, R]) -> Callable[P, R]:
    """Runs a function that makes arrays, or the answer to compare with, with 64-bit types."""
    return cast(Callable[P, R], jax.enable_x64(True)(function))


def html_faults(text: str) -> list[str]:
    """What is wrong with the syntax of an HTML page: the faults of the standard's parser."""
    parser = html5lib.HTMLParser()
    parser.parse(text)
    return [fault for _, fault, _ in parser.errors]


def leaves(found: Any) -> list[Any]:
    """The leaves of a result, whose parts may be dataclasses that JAX does not take apart."""
    kept: list[Any] = []
    for leaf in jax.tree.leaves(found):
        if dataclasses.is_dataclass(leaf) and not isinstance(leaf, type):
            parts = [getattr(leaf, field.name) for field in dataclasses.fields(leaf)]
            kept += [inner for part in parts for inner in leaves(part)]
        else:
            kept.append(leaf)
    return kept


def given(values: Any) -> Any:
    """A NumPy array, which every public function takes, although hints speak of JAX arrays."""
    return np.asarray(values)


@in_double
def normal(seed: int, *shape: int) -> Any:
    """Standard normal numbers."""
    return np.asarray(jr.normal(jr.key(seed), shape))


@in_double
def samples(n: int = 6, d: int = 30, seed: int = 0, labels: str = "signs") -> Samples:
    """Gaussian inputs with random labels: separable, since d exceeds n."""
    x_key, y_key = jr.split(jr.key(seed))
    x = jr.normal(x_key, (n, d))
    y = jr.rademacher(y_key, (n,), jnp.float64) if labels == "signs" else jr.normal(y_key, (n,))
    return Samples(x, y)


@in_double
def diagonal_problem(
    depth: int, loss: AbstractLoss, weight_decay: float, init_scale: float = 3.0, **kwargs: Any
) -> Problem:
    train = samples(labels="signs" if loss.is_classification else "real", **kwargs)
    model = lr.models.DiagonalLinear(depth=depth)
    start = model.init(jr.key(0), train.x.shape[1])
    params = jax.tree.map(lambda p: init_scale * p, start)
    return Problem(train, params, weight_decay, model, loss)


@in_double
def problem_of(
    x: Any, y: Any, params: Any, decay: float, model: AbstractModel, loss: AbstractLoss
) -> Problem:
    """A problem of NumPy arrays, in double precision."""
    params = jax.tree.map(jnp.asarray, params)
    return Problem(Samples(jnp.asarray(x), jnp.asarray(y)), params, decay, model, loss)


@in_double
def entry_of(tree: Any, place: int = -1) -> Any:
    """An entry of every array of a pytree, which JAX rounds where 64-bit types are off."""
    return jax.tree.map(lambda a: a[place], tree)


def built_in(place: Any) -> set[str]:
    """The names of the kinds that lazyrich brings for a place, without those of other tests."""
    return {name for name, kind in place.kinds.items() if kind.__module__.startswith("lazyrich.")}


def small_experiment(**changes: Any) -> lr.Experiment:
    """Sparse classification that groks, small enough to solve in a moment."""
    fields: dict[str, Any] = {
        "task": lr.tasks.SparseClassification(n=60, d=400, num_test=500),
        "init_scale": 30.0,
        "weight_decay": 1e-3,
        "t1": 2e4,
        "times": lr.dynamics.Times(num_log=60, num_linear=20),
    }
    return lr.Experiment(**{**fields, **changes})


def silent(time: float, num_steps: int, so_far: Any = None, /) -> None:
    """A progress listener that does not listen."""
    del time, num_steps, so_far


def relative_error(ours: Any, theirs: Any) -> float:
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


@in_double
def turning_problem(init_scale: float = 0.05) -> Problem:
    """A deep linear net that leaves a saddle slowly and is stiff from there on."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(8, 5))
    y = x @ rng.normal(size=5) * 300
    model = lr.models.MLP(widths=(6, 6), activation="identity", bias=False)
    params = jax.tree.map(lambda p: init_scale * p, model.init(jr.key(0), 5))
    train = Samples(jnp.asarray(x), jnp.asarray(y))
    return Problem(train, params, 0.01, model, lr.losses.Squared())


def bits(tree: Any) -> list[tuple[Any, ...]]:
    """Every bit of the arrays in a pytree."""
    leaves = map(np.asarray, jax.tree.leaves(tree))
    return [(leaf.shape, str(leaf.dtype), leaf.tobytes()) for leaf in leaves]


def assert_same_record(ours: xr.Dataset, theirs: xr.Dataset) -> None:
    """Whether two records agree to the last bit, except in what a run costs."""
    assert list(ours.variables) == list(theirs.variables)
    for name, variable in ours.variables.items():
        other = theirs.variables[name]
        assert variable.dims == other.dims
        assert variable.attrs == other.attrs
        if variable.dtype.kind in "OUT":
            assert variable.values.tolist() == other.values.tolist()
        else:
            assert bits(variable.values) == bits(other.values), name
    for name in ("experiment", "experiment_hash", "ending", "solver"):
        assert ours.attrs[name] == theirs.attrs[name]


@contextlib.contextmanager
def compilations() -> Iterator[list[str]]:
    """The compilations inside a `with`."""
    seen: list[str] = []
    inside = True

    def listen(event: str, duration_secs: float, **kwargs: Any) -> None:
        del duration_secs, kwargs
        if inside and event.endswith("backend_compile_duration"):
            seen.append(event)

    monitoring.register_event_duration_secs_listener(listen)
    try:
        yield seen
    finally:
        inside = False  # the oldest JAX cannot take a listener back


def call_command(monkeypatch, *arguments):
    """The exit code of `lazyrich` with these arguments. Warnings are shown, and are no errors."""
    monkeypatch.setattr(sys, "argv", ["lazyrich", *map(str, arguments)])
    monkeypatch.setenv("LAZYRICH_CACHE", "off")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with pytest.raises(SystemExit) as exit_:
            cli.main()
    return exit_.value.code or 0
