"""Modular arithmetic."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import jax.nn as jnn
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from annotated_types import Interval
from jaxtyping import PRNGKeyArray

from .._core.description import described_function
from .._core.errors import InputError
from .._core.own_code import remedy_for
from .._core.precision import in_double
from ._base import AbstractTask, Blocks, Samples, Sizes, Split

Operation = Literal["addition", "subtraction", "multiplication", "division", "x2_plus_xy"]


class ModularArithmetic(AbstractTask):
    r"""All pairs of residues modulo `p`, labelled by the result of an operation.

    Inputs are two one-hot blocks, shape `(n, 2p)`, `int8`; labels are classes in $[0, p)$. The
    pairs are split once at random: the first $\lfloor$`train_fraction` $\cdot$ all$\rfloor$ are
    the training set, the others the test set.

    - **Takes** `operation`: `addition`, `subtraction`, `multiplication`, `division` ($a b^{-1}$
        for $b \ne 0$ and a prime `p`), `x2_plus_xy` ($a^2 + ab$), or a function of your own that
        maps two integer arrays `(m,)` to one; its values are taken modulo `p`.
    - `random_labels`, whether labels are independent of the inputs. This is a control: training
        pairs then contain no information on test pairs.
    - **Raises** [`InputError`][lazyrich.InputError] if a part of the split is empty, or for
        division modulo a number that is not prime.
    - **Source** Lyu et al., ICLR 2024, arXiv:2311.18817, figure 2: addition, $p = 97$, 3763 of
        9409 pairs.
    """

    p: Annotated[int, Interval(ge=2, le=2**20)] = 97
    operation: Operation | Callable[..., Any] = "addition"
    train_fraction: Annotated[float, Interval(gt=0, lt=1)] = 0.4
    random_labels: bool = False

    def model_post_init(self, context: object) -> None:
        del context
        if self.operation == "division" and not _is_prime(self.p):
            raise InputError("p", self.p, "should be prime for division")
        num_pairs = self.p * (self.p - (self.operation == "division"))
        if not 0 < int(self.train_fraction * num_pairs) < num_pairs:
            accepted = f"should leave training and test pairs of all {num_pairs}"
            raise InputError("train_fraction", self.train_fraction, accepted)

    def table(self) -> dict[str, Any]:
        # A file can contain the name of a user's function, not the function.
        own = {"operation": described_function(self.operation)} if callable(self.operation) else {}
        return {**super().table(), **own}

    @property
    def family(self) -> str:
        # Subtraction is addition with the second residues in another order, and the product of
        # residues that are not zero is addition modulo p - 1, in the order of their logarithms.
        cyclic = self.operation == "multiplication" and _is_prime(self.p)
        if self.operation in ("addition", "subtraction") or cyclic:
            return super().family
        name = "own operation" if callable(self.operation) else self.operation
        return f"{super().family}, {name}"

    def null_control(self) -> dict[str, Any] | None:
        return {} if self.random_labels else {"random_labels": True}

    def sizes(self) -> Sizes:
        num_train = int(self.train_fraction * self.p**2)
        left = self.p**2 - num_train
        keys = ("p", "p", "p")
        return Sizes(num_train, 2 * self.p, left, num_bytes=1, keys=keys, block=left)

    @in_double
    def sample(self, key: PRNGKeyArray) -> Split:
        a, b = np.divmod(np.arange(self.p**2), self.p)
        if self.operation == "division":
            a, b = a[b > 0], b[b > 0]
        labels = self._labels(a, b)
        order_key, label_key = jr.split(key)
        if self.random_labels:
            labels = np.asarray(jr.randint(label_key, labels.shape, 0, self.p))
        order = np.asarray(jr.permutation(order_key, len(a)))
        num_train = int(self.train_fraction * len(a))
        train, test = (self._samples(a[part], b[part], labels[part])
                       for part in np.split(order, [num_train]))  # fmt: skip
        return Split(train, Blocks(lambda index: test, 1))

    def _samples(self, a: np.ndarray, b: np.ndarray, labels: np.ndarray) -> Samples:
        x = [jnn.one_hot(residues, self.p, dtype=jnp.int8) for residues in (a, b)]
        return Samples(jnp.concatenate(x, axis=1), jnp.asarray(labels, jnp.int32))

    def _labels(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        if self.operation == "division":
            inverse = np.array([0, *(pow(r, -1, self.p) for r in range(1, self.p))])
            return a * inverse[b] % self.p
        function = self.operation if callable(self.operation) else _OPERATIONS[self.operation]
        try:
            values = np.asarray(function(a, b))
        except Exception as error:
            accepted = f"should map two integer arrays to one: {remedy_for(error)}"
            raise InputError("operation", described_function(function), accepted) from error
        if values.shape != a.shape or values.dtype.kind not in "iu":
            shown = f"values {values.dtype} {values.shape}"
            raise InputError("operation", shown, f"should give whole numbers {a.shape}")
        return values % self.p


_OPERATIONS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "addition": lambda a, b: a + b,
    "subtraction": lambda a, b: a - b,
    "multiplication": lambda a, b: a * b,
    "x2_plus_xy": lambda a, b: a**2 + a * b,
}


def _is_prime(number: int) -> bool:
    return all(number % factor for factor in range(2, int(number**0.5) + 1))
