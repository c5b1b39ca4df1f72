"""The base class of losses."""

import abc
from typing import Any, ClassVar

import jax.numpy as jnp
import jax.scipy.special as jss
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Shaped
from scipy import optimize

from .._core.description import Choice
from .._core.errors import InputError
from .._core.precision import in_double, promoted, real_array
from ..tasks import Meaning


class AbstractLoss(Choice):
    r"""A loss $\ell(f, y)$ of a sample's output and its label, averaged over samples.

    Outputs `f` have shape `(n,)` for a model with one output, otherwise `(n, c)`. The dual
    $s = -\partial \ell / \partial f$ is the force on an output. Gradient flow is
    $\dot\theta = \frac1n \sum_i J_i^\top s_i$. Losses of one output act elementwise, on any shape.

    Outputs and labels may have any real type; the computation is in float64. Inside a `jax.jit`
    or `jax.grad` of your own, the precision is that of the trace.
    """

    is_classification: ClassVar[bool]
    """Whether labels are signs or classes, so that the loss decreases with the margin."""

    @property
    def constant_curvature(self) -> float | None:
        r"""$\partial^2 \ell / \partial f^2$ if it is constant, otherwise `None`.

        A constant curvature makes the dual linear in an output, which
        [`DualROS34PW2`][lazyrich.solvers.DualROS34PW2] requires.
        """
        return None

    @property
    def is_softmax(self) -> bool:
        """Whether the loss is a function of the softmax probabilities of the outputs."""
        return False

    @property
    def steepest(self) -> float | None:
        """The largest curvature in one output if it is far above that at time 0, else `None`.

        A flow on such a loss becomes stiff when outputs reach the region of large curvature.
        """
        return None

    @abc.abstractmethod
    def value(self, f: Float[Array, "..."], y: Shaped[Array, "..."]) -> Float[Array, "..."]:
        r"""$\ell(f, y)$, one number for each sample."""

    @abc.abstractmethod
    def dual(self, f: Float[Array, "*n"], y: Shaped[Array, "..."]) -> Float[Array, "*n"]:
        r"""$-\partial \ell / \partial f$."""

    @abc.abstractmethod
    def curvature(self, f: Float[Array, "*n"], y: Shaped[Array, "..."]) -> Float[Array, "*n"]:
        r"""$\partial^2 \ell / \partial f^2$, the diagonal over outputs."""

    @abc.abstractmethod
    def log_value(self, f: Float[Array, "..."], y: Shaped[Array, "..."]) -> Float[Array, "..."]:
        r"""$\log \ell(f, y)$, with full relative accuracy for arbitrarily small losses."""

    @promoted
    def curvature_root(
        self, f: Float[Array, "*n"], y: Shaped[Array, "..."], v: Float[Array, "*n"]
    ) -> Float[Array, "*n"]:
        r"""$B v$, where $B B^\top = \partial^2 \ell / \partial f^2$ is each sample's Hessian.

        $B$ is zero at outputs where the loss is not convex.
        """
        return jnp.sqrt(jnp.maximum(self.curvature(f, y), 0.0)) * v

    @promoted
    def curvature_root_transposed(
        self, f: Float[Array, "*n"], y: Shaped[Array, "..."], v: Float[Array, "*n"]
    ) -> Float[Array, "*n"]:
        r"""$B^\top v$ with the same $B$."""
        return self.curvature_root(f, y, v)

    @in_double
    def curvature_at_labels(self, y: Shaped[Array, " n ..."]) -> float:
        """The mean curvature at outputs equal to the labels, for a regression."""
        constant = self.constant_curvature
        return float(jnp.mean(self.curvature(y, y))) if constant is None else constant

    @promoted
    def mean(self, f: Float[Array, " n *c"], y: Shaped[Array, " n ..."]) -> Float[Array, ""]:
        """The mean over samples."""
        return jnp.mean(self.value(f, y))

    @promoted
    def log_mean(self, f: Float[Array, " n *c"], y: Shaped[Array, " n ..."]) -> Float[Array, ""]:
        """The logarithm of the mean over samples, accurate even where the mean underflows."""
        return jss.logsumexp(self.log_value(f, y)) - jnp.log(f.shape[0])

    @in_double
    def blank(self, outputs: tuple[int, ...], y: ArrayLike) -> float:
        """The mean loss of outputs that are all zero, for outputs of shape `(n, *c)`."""
        return float(self.mean(jnp.zeros(outputs), jnp.asarray(y)))

    @in_double
    def variance(self, outputs: tuple[int, ...], y: ArrayLike) -> float:
        """The mean loss of the best constant output, for outputs of shape `(n, *c)`.

        Not-a-number for classification, whose runs are scored by accuracies.
        """
        if self.is_classification:
            return float("nan")
        labels = jnp.asarray(y, jnp.float64)

        def mean_and_slope(constant: np.ndarray) -> tuple[float, np.ndarray]:
            f = jnp.broadcast_to(jnp.asarray(constant).reshape(outputs[1:]), outputs)
            slope = -jnp.mean(self.dual(f, labels), axis=0)
            return float(self.mean(f, labels)), np.ravel(slope)

        start = np.ravel(jnp.mean(labels, axis=0))
        found = optimize.minimize(mean_and_slope, start, jac=True, options={"gtol": 1e-12})
        return float(found.fun)

    @in_double
    def typical_output(self, outputs: tuple[int, ...], y: ArrayLike) -> float:
        """The typical size of outputs, for outputs of shape `(n, *c)`.

        It is 1 for classification, and for regression the root mean square of `targets`, or 1
        if they are zero.
        """
        if self.is_classification:
            return 1.0
        targets = np.abs(np.asarray(self.targets(outputs, y)))
        largest = float(np.max(targets, initial=0.0))
        # Divided by the largest first, because squares may overflow or underflow.
        return largest * float(np.sqrt(np.mean((targets / largest) ** 2))) if largest > 0 else 1.0

    @in_double
    def targets(self, outputs: tuple[int, ...], y: ArrayLike) -> Float[Array, "..."]:
        """The outputs of shape `(n, *c)` that minimise a loss for regression: the labels."""
        return jnp.asarray(y, jnp.float64).reshape(outputs)

    @property
    def takes(self) -> Meaning:
        """The meaning of labels that this loss accepts for a model of one output."""
        return "signs" if self.is_classification else "reals"

    @in_double
    def labels(self, y: Any, outputs: tuple[int, ...], key: str) -> Shaped[Array, " n *c"]:
        """Labels in the form that the other methods take, for outputs of a given shape.

        Only the loss and the shape of the outputs decide what labels mean. The type of the labels
        and their number of axes do not matter: labels `(n,)` and `(n, 1)` mean the same, and so do
        1 and 1.0.

        - **Takes** `y`, real numbers, one or one row for each sample; `outputs`, the shape `(n,)`
            or `(n, c)`; `key`, the name of the labels in error messages.
        - **Returns** float64 of the outputs' shape; for classes `int32` of shape `(n,)`.
        - **Raises** [`InputError`][lazyrich.InputError] for a label that the loss does not accept.
            The message names the label and a remedy.
        """
        labels = finite_labels(y, outputs, key)
        if self.is_classification:
            _check_one_output(type(self).__name__, labels, outputs, key)
            _check_signs(type(self).__name__, labels, key)
        return jnp.asarray(in_shape(type(self).__name__, labels, outputs, key), jnp.float64)

    @in_double
    def meaning(
        self, y_train: Shaped[ArrayLike, " n *c"], y_test: Shaped[ArrayLike, " m *c"]
    ) -> Meaning:
        """The meaning of labels that `labels` returned.

        For a loss of one output, real numbers that are all -1 or 1 count as signs, and their
        accuracy is recorded as well.
        """
        signs = all(bool(jnp.all(jnp.abs(y) == 1)) for y in (y_train, y_test))
        return "signs" if signs and jnp.ndim(y_train) == 1 else "reals"


def finite_labels(y: Any, outputs: tuple[int, ...], key: str) -> np.ndarray:
    """Labels as finite real numbers, as many as outputs."""
    labels = real_array(y, key)
    if labels.ndim not in (1, 2) or len(labels) != outputs[0]:
        raise InputError(key, labels.shape, f"should have a label for each of {outputs[0]} inputs")
    bad = np.argwhere(~np.isfinite(labels))
    if len(bad):
        raise label_error(key, labels, bad[0], "should be finite")
    return labels


def label_error(key: str, labels: np.ndarray, place: Any, accepted: str) -> InputError:
    """The error for the label at an index."""
    index = tuple(int(i) for i in np.atleast_1d(place))
    value = labels[index].item()
    whole = isinstance(value, float) and value.is_integer() and abs(value) < 2**53
    shown = f"{key}[{', '.join(map(str, index))}]"
    return InputError(shown, int(value) if whole else value, accepted)


def in_shape(loss: str, labels: np.ndarray, outputs: tuple[int, ...], key: str) -> np.ndarray:
    """Labels in the shape of the outputs, one for each output."""
    if labels.size != np.prod(outputs):
        given, wanted = (int(np.prod(shape[1:])) for shape in (labels.shape, outputs))
        accepted = (
            f"{loss} needs one label for each output of the model: {wanted} for each sample, "
            f"got {given}"
        )
        raise InputError(key, f"labels {labels.shape}", accepted)
    return labels.reshape(outputs)


def are_whole(labels: np.ndarray) -> np.ndarray:
    """Which labels are whole numbers, of any type."""
    return np.asarray(labels == np.floor(labels))


def are_one_hot(labels: np.ndarray) -> bool:
    """Whether every row is a unit vector."""
    if labels.ndim != 2 or labels.shape[1] < 2:
        return False
    return bool(np.all((labels == 0) | (labels == 1)) and np.all(labels.sum(axis=1) == 1))


def _check_one_output(loss: str, labels: np.ndarray, outputs: tuple[int, ...], key: str) -> None:
    if labels.shape[1:] not in ((), (1,)):
        remedy = "one label for each sample, -1 or 1"
        if are_one_hot(labels):
            remedy += "; convert one-hot rows by y.argmax(axis=1) and use CrossEntropy"
        raise InputError(key, f"labels {labels.shape}", f"{loss} needs {remedy}")
    if len(outputs) > 1:
        accepted = (
            f"{loss} needs one output for each sample, shape ({outputs[0]},), such as outputs = 0 "
            "of an MLP; for classes use CrossEntropy"
        )
        raise InputError("model", f"outputs {outputs}", accepted)


def _check_signs(loss: str, labels: np.ndarray, key: str) -> None:
    bad = np.argwhere(np.abs(labels.astype(np.float64)) != 1)
    if not len(bad):
        return
    remedy, values = "", np.unique(labels)
    if set(values.tolist()) <= {0, 1}:
        remedy = "; convert labels 0 and 1 by 2*y - 1"
    elif len(values) == 2:
        low, high = (f"{value:g}" for value in values.tolist())
        remedy = f"; convert labels {low} and {high} by np.where(y == {high}, 1, -1)"
    elif np.all(are_whole(labels)):
        remedy = "; for classes use CrossEntropy, for numbers Squared"
    else:
        remedy = "; for numbers use Squared"
    raise label_error(key, labels, bad[0], f"{loss} needs labels -1 or 1{remedy}")
