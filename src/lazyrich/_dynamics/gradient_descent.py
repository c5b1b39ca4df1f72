"""Plain gradient descent: the brute-force reference."""

from collections.abc import Callable
from typing import Annotated, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Gt
from jaxtyping import Array, Float

from ._base import AbstractDynamics, Effort, Ending, Problem, Trajectory


class GradientDescent(AbstractDynamics):
    r"""Full-batch gradient descent, step by step.

    $\theta \leftarrow \theta - \eta (\nabla \mathcal L(\theta) + \lambda\theta)$, at time
    $t = \eta \times$ step.

    - **Takes** `learning_rate`, $\eta$. Recorded times are rounded to whole steps.
    """

    learning_rate: Annotated[float, Gt(0)] = 1e-2

    def follow(
        self,
        problem: Problem,
        times: Float[np.ndarray, " t"],
        progress: Progress,
        observe: Callable[[Any, Any], Any] | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> Trajectory:
        marks = np.unique(np.rint(times / self.learning_rate).astype(np.int64))
        params, step, kept = jax.tree.map(jnp.asarray, problem.params), 0, []
        ending: Ending = "completed"
        for mark in marks:
            params = _descend(
                problem, params, jnp.asarray(self.learning_rate), jnp.asarray(int(mark) - step)
            )
            if not all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(params)):
                ending = "diverged"
                break
            step = int(mark)
            kept.append(params)
            progress(step * self.learning_rate)
        return Trajectory(
            times=marks[: len(kept)] * self.learning_rate,
            states=jax.tree.map(lambda *leaves: jnp.stack(leaves), *kept),
            params_at=_identity,
            ending=ending,
            effort=Effort("GradientDescent", step, 0, step, 0),
        )


def _identity(time: Any, params: Any) -> Any:
    del time
    return params


@eqx.filter_jit
def _descend(problem: Problem, params: Any, learning_rate: Array, num_steps: Array) -> Any:
    train, model, loss = problem.train, problem.model, problem.loss

    def mean_loss(params: Any) -> Array:
        return loss.mean(model.apply(params, train.x), train.y)

    def step(_: Any, params: Any) -> Any:
        gradient = jax.grad(mean_loss)(params)
        return jax.tree.map(
            lambda p, g: p - learning_rate * (g + problem.weight_decay * p), params, gradient
        )

    return jax.lax.fori_loop(0, num_steps, step, params)
