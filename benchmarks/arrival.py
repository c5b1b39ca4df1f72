"""The balance of weight decay and loss on plateaus and at the end of runs.

    python benchmarks/arrival.py [NAME ...]

Each line has the smallest value of `arrival` on the plateau, its median over the last five
records, and what the outcome says. `relu` also prints the last values of the whole residual, which
does not vanish where a net slides along kinks. Names are panels at full size, `relu`, and
`modular`: addition modulo 13 by a quadratic net of 64 units.
"""

import sys
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

import lazyrich as lr

PROBES = ("train_loss", "test_loss", "train_accuracy", "test_accuracy", "param_norm", "arrival")


class Whole(lr.probes.Arrival):
    """The norm of the whole gradient of the objective, over the norms of its two parts."""

    named: ClassVar = ("whole", "relative norm of the gradient of the objective")

    def __call__(self, state: Any, context: Any) -> Any:
        velocity = context.flow.vf(0.0, state.params, None)
        decay = jax.tree.map(lambda p: context.weight_decay * p, state.params)
        force = jax.tree.map(jnp.add, velocity, decay)
        left, *parts = map(context.model.norm, (velocity, decay, force))
        return left / sum(parts)


def relu() -> lr.Experiment:
    """Twenty random points with the labels of XOR, by 32 ReLUs."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(20, 4))
    y = np.sign(x[:, 0] * x[:, 1])
    return lr.Experiment(
        task=lr.tasks.Arrays(x_train=x, y_train=y, x_test=x, y_test=y),
        model=lr.models.MLP(widths=(32,)),
        loss=lr.losses.Logistic(),
        init_scale=4.0,
        weight_decay=1e-2,
        t1=4e3,
        probes=(*PROBES, Whole()),
    )


def modular() -> lr.Experiment:
    """A smooth net on modular addition, with weight decay."""
    return lr.Experiment(
        task=lr.tasks.ModularArithmetic(p=13, train_fraction=0.85),
        model=lr.models.MLP(
            widths=(64,), outputs=13, one_hot=2, activation="quadratic", bias=False
        ),
        loss=lr.losses.CrossEntropy(),
        init_scale=2.0,
        weight_decay=3e-3,
        t1=2e5,
        dynamics=lr.dynamics.Flow(rtol=1e-4),
        probes=PROBES,
    )


def experiment_of(name: str) -> lr.Experiment:
    """An experiment by its name."""
    if name in ("relu", "modular"):
        return {"relu": relu, "modular": modular}[name]()
    return lr.studies.load(name).with_changes({"probes": PROBES, "times.num_linear": 40})


for name in sys.argv[1:] or ("lyu2024/3", "relu", "modular", "lyu2024/1a"):
    record = lr.simulate(experiment_of(name))
    events, arrival = lr.transition(record), record["arrival"]
    plateau = arrival.sel(time=slice(*events.plateau))
    numbers = f"{float(plateau.min()):.2g} {float(arrival[-5:].median()):.2g}"
    print(f"{name:12s} {numbers}  {events.says}")
    if "whole" in record:
        print(f"{'':12s} whole residual {record['whole'].values[-5:].round(2)}")
