"""What a loss is."""

import abc
from typing import Any, ClassVar

import jax.numpy as jnp
import jax.scipy.special as jss
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Shaped

from .._core.description import Choice
from .._core.errors import InputError
from .._core.precision import in_double, promoted, real_array
from ..tasks import Meaning


class AbstractLoss(Choice):
    r"""A loss $\ell(f, y)$ of a sample's output and its label, averaged over samples.

    Outputs `f` are `(n,)` for a model with one output, else `(n, c)`. The dual is $s =
    -\partial \ell / \partial f$, the force on an output; gradient flow moves parameters
    along $\frac1n \sum_i J_i^\top s_i$. Losses of one output act elementwise, on any shape.

    Outputs and labels of any real type are computed with in float64. Inside a `jax.jit` or
    `jax.grad` of the user's own the precision is that of the trace.
    """

    is_classification: ClassVar[bool]
    """Whether labels are signs or classes, and no output too far on the label's side."""

    @property
    def constant_curvature(self) -> float | None:
        r"""$\partial^2 \ell / \partial f^2$ if it is one number for all outputs and labels.

        The dual is then linear in an output, which a method for regression losses requires.
        """
        return None

    @property
    def steepest(self) -> float | None:
        """The largest curvature in one output, where it is far larger than that at time 0 can be.

        A flow on such a loss turns stiff when outputs come to where it curves.
        """
        return None

    @abc.abstractmethod
    def value(self, f: Float[Array, "..."], y: Shaped[Array, "..."]) -> Float[Array, "..."]:
        r"""$\ell(f, y)$, one number a sample."""

    @abc.abstractmethod
    def dual(self, f: Float[Array, "*n"], y: Shaped[Array, "..."]) -> Float[Array, "*n"]:
        r"""$-\partial \ell / \partial f$."""

    @abc.abstractmethod
    def curvature(self, f: Float[Array, "*n"], y: Shaped[Array, "..."]) -> Float[Array, "*n"]:
        r"""$\partial^2 \ell / \partial f^2$, of an output with itself."""

    @abc.abstractmethod
    def log_value(self, f: Float[Array, "..."], y: Shaped[Array, "..."]) -> Float[Array, "..."]:
        r"""$\log \ell(f, y)$, to full relative accuracy however small the loss."""

    @promoted
    def curvature_root(
        self, f: Float[Array, "*n"], y: Shaped[Array, "..."], v: Float[Array, "*n"]
    ) -> Float[Array, "*n"]:
        r"""$B v$ for the Hessian $B B^\top = \partial^2 \ell / \partial f^2$ of each sample."""
        return jnp.sqrt(self.curvature(f, y)) * v

    @promoted
    def curvature_root_transposed(
        self, f: Float[Array, "*n"], y: Shaped[Array, "..."], v: Float[Array, "*n"]
    ) -> Float[Array, "*n"]:
        r"""$B^\top v$."""
        return self.curvature_root(f, y, v)

    @promoted
    def mean(self, f: Float[Array, " n *c"], y: Shaped[Array, " n ..."]) -> Float[Array, ""]:
        """Mean over samples."""
        return jnp.mean(self.value(f, y))

    @promoted
    def log_mean(self, f: Float[Array, " n *c"], y: Shaped[Array, " n ..."]) -> Float[Array, ""]:
        """Logarithm of the mean over samples, exact below underflow of the mean."""
        return jss.logsumexp(self.log_value(f, y)) - jnp.log(f.shape[0])

    def blank(self, outputs: tuple[int, ...], y: ArrayLike) -> float:
        """The mean loss of an output of zero, for outputs of shape `(n, *c)`."""
        return float(self.mean(jnp.zeros(outputs), jnp.asarray(y)))

    def variance(self, outputs: tuple[int, ...], y: ArrayLike) -> float:
        """The mean loss of the best constant output, for outputs of shape `(n, *c)`.

        Not a number for a loss whose runs are scored by accuracies.
        """
        del outputs, y
        return float("nan")

    @property
    def takes(self) -> Meaning:
        """What labels are to it, beside one output."""
        return "signs" if self.is_classification else "reals"

    @in_double
    def labels(self, y: Any, outputs: tuple[int, ...], key: str) -> Shaped[Array, " n *c"]:
        """Labels as the other methods take them, for outputs of a shape.

        What labels mean is decided here: by the loss and the shape of the outputs, never by the
        labels' type or number of axes. Labels `(n,)` and `(n, 1)` are the same; so are 1 and 1.0
        of any type.

        - **Takes** `y`, real numbers, one or a row a sample; `outputs`, `(n,)` or `(n, c)`; `key`,
            what an error calls the labels.
        - **Returns** float64 of the outputs' shape; or, where labels are classes, `int32` `(n,)`.
        - **Raises** [`InputError`][lazyrich.InputError] for a label without a meaning to this
            loss, naming it and what to do.
        """
        labels = finite_labels(y, outputs, key)
        if self.is_classification:
            _check_one_output(type(self).__name__, labels, outputs, key)
            _check_signs(type(self).__name__, labels, key)
        return jnp.asarray(in_shape(type(self).__name__, labels, outputs, key), jnp.float64)

    def meaning(self, y_train: Shaped[Array, " n *c"], y_test: Shaped[Array, " m *c"]) -> Meaning:
        """What labels are, of those that `labels` returns.

        Real numbers that are all -1 or 1, one a sample, are signs to any loss of one output: their
        accuracy is recorded, too.
        """
        signs = all(bool(jnp.all(jnp.abs(y) == 1)) for y in (y_train, y_test))
        return "signs" if signs and y_train.ndim == 1 else "reals"


def finite_labels(y: Any, outputs: tuple[int, ...], key: str) -> np.ndarray:
    """Labels as real numbers, in number as many as the outputs."""
    labels = real_array(y, key)
    if labels.ndim not in (1, 2) or len(labels) != outputs[0]:
        raise InputError(key, labels.shape, f"needs a label for each of {outputs[0]} inputs")
    bad = np.argwhere(~np.isfinite(labels))
    if len(bad):
        raise label_error(key, labels, bad[0], "should be finite")
    return labels


def label_error(key: str, labels: np.ndarray, place: Any, accepted: str) -> InputError:
    """What is wrong with the label at an index."""
    index = tuple(int(i) for i in np.atleast_1d(place))
    value = labels[index].item()
    whole = isinstance(value, float) and value.is_integer() and abs(value) < 2**53
    shown = f"{key}[{', '.join(map(str, index))}]"
    return InputError(shown, int(value) if whole else value, accepted)


def in_shape(loss: str, labels: np.ndarray, outputs: tuple[int, ...], key: str) -> np.ndarray:
    """One label for each output, in the outputs' shape."""
    if labels.size != np.prod(outputs):
        given, wanted = (int(np.prod(shape[1:])) for shape in (labels.shape, outputs))
        accepted = f"{loss} needs one for each output of the model, {wanted} a sample, not {given}"
        raise InputError(key, f"labels {labels.shape}", accepted)
    return labels.reshape(outputs)


def are_whole(labels: np.ndarray) -> np.ndarray:
    """Which labels are whole numbers, whatever their type."""
    return np.asarray(labels == np.floor(labels))


def are_one_hot(labels: np.ndarray) -> bool:
    """Whether every row is a unit vector."""
    if labels.ndim != 2 or labels.shape[1] < 2:
        return False
    return bool(np.all((labels == 0) | (labels == 1)) and np.all(labels.sum(axis=1) == 1))


def _check_one_output(loss: str, labels: np.ndarray, outputs: tuple[int, ...], key: str) -> None:
    if labels.shape[1:] not in ((), (1,)):
        cure = "one label a sample, -1 or 1"
        if are_one_hot(labels):
            cure += "; of one-hot rows make classes, y.argmax(axis=1), and use CrossEntropy"
        raise InputError(key, f"labels {labels.shape}", f"{loss} needs {cure}")
    if len(outputs) > 1:
        accepted = (
            f"{loss} needs one output a sample, of shape ({outputs[0]},), such as outputs = 0 of "
            "an MLP; for classes use CrossEntropy"
        )
        raise InputError("model", f"outputs {outputs}", accepted)


def _check_signs(loss: str, labels: np.ndarray, key: str) -> None:
    bad = np.argwhere(np.abs(labels.astype(np.float64)) != 1)
    if not len(bad):
        return
    cure, values = "", np.unique(labels)
    if set(values.tolist()) <= {0, 1}:
        cure = "; of labels 0 and 1 make 2*y - 1"
    elif len(values) == 2:
        low, high = (f"{value:g}" for value in values.tolist())
        cure = f"; of labels {low} and {high} make np.where(y == {high}, 1, -1)"
    elif np.all(are_whole(labels)):
        cure = "; for classes use CrossEntropy, for numbers Squared"
    else:
        cure = "; for numbers use Squared"
    raise label_error(key, labels, bad[0], f"{loss} needs labels -1 or 1{cure}")
