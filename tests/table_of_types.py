"""Every loss on every model with labels and parameters of every type.

Run as a script, in JAX's default configuration: prints one line of JSON for each combination of
the part of the table that its argument names, `few` or `all`.
"""

import itertools
import json
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lazyrich as lr

N, D, C = 6, 3, 3
LOSSES = {
    "Logistic": lr.losses.Logistic(),
    "Exponential": lr.losses.Exponential(),
    "Hinge": lr.losses.Hinge(width=0.5),
    "SquaredHinge": lr.losses.SquaredHinge(width=0.5),
    "CrossEntropy": lr.losses.CrossEntropy(),
    "Squared": lr.losses.Squared(),
}
LABELS = (
    "float64", "float32", "float16", ">f8", "int8", "int64", "uint8", "bool", "strided", "2**40",
)  # fmt: skip
SHAPES = ("(n,)", "(n, 1)", "(n, c)")
PARAMS = ("float64", "float32", "float16", "bfloat16", "int32", ">f4", "strided")
X = np.random.default_rng(0).normal(size=(N, D))


def init(key: Any, dim: int) -> Any:
    del key
    return {"w": jnp.linspace(-1.0, 1.0, dim), "b": jnp.zeros(1)}


def tangents(params: Any, x: Any) -> Any:
    return jnp.tanh(x @ params["w"]) + params["b"]


def init_columns(key: Any) -> Any:
    del key
    return np.linspace(-1, 1, D * C, dtype=np.float32).reshape(D, C)


MODELS = {
    "diagonal": lr.models.DiagonalLinear(),
    "one output": lr.models.MLP(widths=(2,), activation="tanh"),
    "(n, 1) outputs": lr.models.MLP(widths=(2,), activation="tanh", outputs=1),
    "classes": lr.models.MLP(widths=(), outputs=C),
    "own": lr.models.Functions(init_params=init, function=tangents),
    "own, (n, 1)": lr.models.Functions(
        init_params=init, function=lambda p, x: tangents(p, x)[:, None]
    ),
    "own classes": lr.models.Functions(init_params=init_columns, function=lambda p, x: x @ p),
}


def labels(loss: str, dtype: str, shape: str, outputs: int) -> Any:
    """Labels that float64 could hold as well, in a type and a shape."""
    classes = loss == "CrossEntropy" or (loss == "Squared" and outputs > 1)
    y = np.array([0, 2, 1, 0, 2, 1]) if classes else np.array([1, -1, 1, 1, -1, 1])
    if dtype in ("uint8", "bool"):
        y = np.minimum(np.abs(y), 1) if dtype == "bool" else np.abs(y)
    if shape == "(n, 1)":
        y = y[:, None]
    if shape == "(n, c)":
        y = np.stack([y, 1 - y, y], axis=1)
    if dtype == "2**40":
        return y.astype(np.int64) * 2**40
    return np.repeat(y, 2, axis=0)[::2] if dtype == "strided" else y.astype(dtype)


def typed(params: Any, dtype: str) -> Any:
    """Parameters that every type holds exactly, in one of them."""

    def leaf(value: Any) -> Any:
        # Halves of whole numbers, or these where halves are none.
        exact = np.round(2 * np.asarray(value, float))
        exact = np.where(exact == 0, 1, exact) if dtype == "int32" else exact / 2
        if dtype == "bfloat16":
            return jnp.asarray(exact, jnp.bfloat16)
        return np.repeat(exact, 2, axis=0)[::2] if dtype == "strided" else exact.astype(dtype)

    return jax.tree.map(leaf, params)


def numbers(loss: Any, model: Any, y: Any, params: Any, dynamics: Any) -> list[float]:
    """A run of a few steps: what it ends in."""
    task = lr.tasks.Arrays(x_train=X, y_train=y, x_test=X + 0.1, y_test=y)
    times = lr.dynamics.Times(first=0.1, num_log=2, num_linear=0)
    experiment = lr.Experiment(
        task=task, model=model, loss=loss, t1=0.5, dynamics=dynamics, times=times
    )
    record = lr.simulate(experiment, params=params)
    return [float(record[name][-1]) for name in sorted(map(str, record.data_vars))
            if record[name].dims == ("time",) and record[name].dtype.kind == "f"]  # fmt: skip


def outcome(loss: Any, model: Any, y: Any, params: Any) -> Any:
    """The numbers, or the one line that says why there are none."""
    try:
        return numbers(loss, model, y, params, lr.dynamics.GradientDescent(learning_rate=0.25))
    except lr.InputError as error:
        return str(error)


def rows(part: str) -> Any:
    """Loss, model, labels, shape, parameters."""
    if part == "few":
        pairs = (("Logistic", "own"), ("CrossEntropy", "own classes"), ("Squared", "own"))
        few = [(*pair, dtype, SHAPES[i % 2], "float64")
               for pair in pairs for i, dtype in enumerate(LABELS)]  # fmt: skip
        refused = [("CrossEntropy", name, "int8", shape, "float32")
                   for name in ("own", "diagonal") for shape in SHAPES]  # fmt: skip
        return [*few, *refused, *(("Logistic", "own", "float64", "(n,)", of) for of in PARAMS)]
    labels = itertools.product(LOSSES, MODELS, LABELS, SHAPES, ("float64",))
    params = itertools.product(LOSSES, MODELS, ("float64",), ("(n,)",), PARAMS)
    # Seven has no divisor in common with types times shapes, so that all of these come in turn.
    return [*list(labels)[::7], *params]


def main(part: str) -> None:
    """Prints a line for each combination: what it is, what it gives, what float64 gives."""
    assert not jax.config.read("jax_enable_x64")
    known: dict[str, Any] = {}
    for loss, name, dtype, shape, of in rows(part):
        model = MODELS[name]
        y = labels(loss, dtype, shape, C if "classes" in name else 1)
        start = typed(model.init(jax.random.key(0), D), of)
        double = jax.tree.map(lambda p: np.asarray(p).astype(np.float64), start)
        found = []
        for args in ((y, start), (y.astype(np.float64), double)):
            arrays = [np.asarray(leaf) for leaf in jax.tree.leaves(args)]
            key = repr([loss, name, [(a.dtype, a.strides, a.tolist()) for a in arrays]])
            if key not in known:
                known[key] = outcome(LOSSES[loss], model, *args)
            found.append(known[key])
        line = {"row": [loss, name, dtype, shape, of], "ours": found[0], "double": found[1]}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
