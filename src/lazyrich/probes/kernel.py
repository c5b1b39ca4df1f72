"""The tangent kernel along a run: its alignment, spectrum and task difficulty."""

from typing import Any, ClassVar, Literal

import equinox as eqx
import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jaxtyping import Array, Float

from .._core.norms import tree_norm
from .._core.precision import promoted
from ._base import AbstractProbe, RunContext, RunState


class _OfKernel(AbstractProbe):
    """A probe of the kernel on the training inputs, for a model with one output."""

    needs_inputs: ClassVar[bool] = True

    def applies(self, context: RunContext) -> bool:
        return (
            context.x_train is not None
            and context.y_train.ndim == 1
            and (context.labels != "classes")
        )

    def kernel(self, state: RunState, context: RunContext) -> Float[Array, "n n"]:
        """The current kernel."""
        return kernel_at(state.params, context)


class KernelAlignment(_OfKernel):
    r"""Centred alignment of $K_t$ with the labels or with the initial kernel.

    $\langle K, A \rangle_F / (\|K\|_F \|A\|_F)$ with $K = K_t$ and $A = y_c y_c^\top$ or $A = K_0$,
    where both kernels and the labels $y_c$ are centred. It lies between 0 and 1, and is 1 if the
    two are proportional. NaN if all labels are equal.

    - **Source** Kumar et al., ICLR 2024, arXiv:2310.06110: "centered kernel alignment", after
        Cortes, Mohri & Rostamizadeh, JMLR 13 (2012).
    """

    meaning: ClassVar = (
        r"$\langle K_t, A\rangle / (\lVert K_t\rVert\,\lVert A\rVert)$ of the tangent kernel "
        r"with $A = yy^\top$ or with $A = K_0$, on training inputs"
    )
    to: Literal["labels", "start"] = eqx.field(static=True)

    @property
    def name(self) -> str:
        return f"kernel_alignment_{self.to}"

    @property
    def long_name(self) -> str:
        other = "the labels" if self.to == "labels" else "its start"
        return f"alignment of the tangent kernel with {other}"

    @property
    def scale_degree(self) -> int:
        return 0

    @promoted
    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        kernel = centred(self.kernel(state, context))
        kernel = kernel / tree_norm(kernel)
        if self.to == "labels":
            y = context.y_train - jnp.mean(context.y_train)
            y = y / tree_norm(y)
            return y @ kernel @ y
        start = centred(kernel_at(context.params, context))
        return jnp.sum(kernel * (start / tree_norm(start)))


class KernelTop(_OfKernel):
    """The largest eigenvalue of $K_t$, or the share of the labels in its top eigenvectors.

    The share is a share of $\\|y\\|^2$. Neither labels nor kernel are centred. The `num`
    eigenvectors with the largest eigenvalues are used. Each record costs an eigendecomposition.
    """

    meaning: ClassVar = (
        "largest eigenvalue of the tangent kernel on training inputs, and the share of the "
        "labels in its top eigenvectors"
    )
    measure: Literal["eigenvalue", "label_power"] = eqx.field(static=True)
    num: int = eqx.field(static=True, default=10)

    @property
    def name(self) -> str:
        return f"kernel_top_{self.measure}"

    @property
    def long_name(self) -> str:
        if self.measure == "eigenvalue":
            return "largest eigenvalue of the tangent kernel"
        return f"share of the labels in the top {self.num} eigenvectors of the tangent kernel"

    @property
    def scale_degree(self) -> int:
        return -2 if self.measure == "eigenvalue" else 0

    @promoted
    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        values, vectors = jnp.linalg.eigh(self.kernel(state, context))
        if self.measure == "eigenvalue":
            return values[-1]
        y = context.y_train
        return jnp.sum((y @ vectors[:, -self.num :]) ** 2) / jnp.sum(y**2)


class KernelSpectrum(_OfKernel):
    r"""All eigenvalues of $K_t$, descending, or the share of the labels in each eigenvector.

    The share of eigenvector $v_i$ is $(v_i^\top y)^2 / \|y\|^2$, in the order of the eigenvalues;
    the shares add up to 1. If eigenvalues are equal, only the sum of their shares is defined.
    Neither labels nor kernel are centred. The shape is `(n,)`. Each record costs an
    eigendecomposition, of the order of $n^3$ operations.

    - **Takes** `measure`: `eigenvalues` or `label_power`.
    """

    meaning: ClassVar = (
        "eigenvalues of the tangent kernel on training inputs in descending order, and the share "
        "of the labels in each eigenvector, along the dimension `eigenvalue`; for one output"
    )
    measure: Literal["eigenvalues", "label_power"] = eqx.field(static=True, default="eigenvalues")

    @property
    def name(self) -> str:
        return "kernel_spectrum" if self.measure == "eigenvalues" else "kernel_label_power"

    @property
    def long_name(self) -> str:
        if self.measure == "eigenvalues":
            return "eigenvalues of the tangent kernel"
        return "share of the labels in each eigenvector of the tangent kernel"

    @property
    def dims(self) -> tuple[str, ...]:
        return ("eigenvalue",)

    def num_values(self, num_train: int, dim: int, num_params: int) -> int:
        del dim, num_params
        return num_train

    @property
    def scale_degree(self) -> int:
        return -2 if self.measure == "eigenvalues" else 0

    @promoted
    def __call__(self, state: RunState, context: RunContext) -> Float[Array, " n"]:
        values, vectors = jnp.linalg.eigh(self.kernel(state, context))
        if self.measure == "eigenvalues":
            return values[::-1]
        y = context.y_train
        return ((y @ vectors) ** 2 / jnp.sum(y**2))[::-1]


class TaskDifficulty(_OfKernel):
    r"""$y^\top K_t^{-1} y$: the squared norm of the smallest parameter change that fits the labels.

    This holds to first order, for initial outputs of zero. NaN if rounding errors make the Cholesky
    factorisation of the kernel fail.

    - **Source** Kumar et al., ICLR 2024, arXiv:2310.06110: task-model alignment.
    """

    named: ClassVar = ("task_difficulty", "task difficulty, labels in the inverse kernel")
    meaning: ClassVar = (
        r"$y^\top K_t^{-1} y$ on training data: squared norm of the smallest parameter change that "
        "fits the labels, to first order"
    )

    @property
    def scale_degree(self) -> int:
        return 2

    @promoted
    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        lower = jnp.linalg.cholesky(self.kernel(state, context))
        return jnp.sum(jsl.solve_triangular(lower, context.y_train, lower=True) ** 2)


def kernel_at(params: Any, context: RunContext) -> Float[Array, "n n"]:
    """The kernel of `params` on the training inputs."""
    assert context.x_train is not None  # `needs_inputs` is set
    return context.model.tangent_kernel(params, context.x_train)


def centred(kernel: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """The kernel minus the means of its rows and columns."""
    rows = kernel - jnp.mean(kernel, axis=0, keepdims=True)
    return rows - jnp.mean(rows, axis=1, keepdims=True)
