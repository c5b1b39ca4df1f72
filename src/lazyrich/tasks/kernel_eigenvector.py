"""Labels that are an eigenvector of the model's initial tangent kernel."""

from collections.abc import Callable
from typing import Annotated

import jax.numpy as jnp
import jax.random as jr
from annotated_types import Ge
from jaxtyping import Array, PRNGKeyArray

from .._core.errors import InputError
from .._core.precision import in_double
from ._base import AbstractTask, Blocks, Samples, Sizes, Split


class KernelEigenvector(AbstractTask):
    r"""Gaussian inputs $N(0, I/d)$, labelled by an eigenvector of the centred initial kernel.

    The kernel is $K_0$ of the initialised model on all inputs, training and test; the means of
    rows and columns are subtracted. Its eigenvectors are in decreasing order of their eigenvalues.
    They are scaled to a mean square of one over all inputs, with the sign that makes the largest
    entry positive. The larger the index, the worse the kernel is aligned with the labels.

    - **Takes** `n`, `d`, `num_test`; `index`, the number of the eigenvector, from 1 on.
    - **Source** Kumar et al., ICLR 2024, arXiv:2310.06110, figure 5: "the $k$-th eigenvector".
        The paper does not state the scale.
    """

    n: Annotated[int, Ge(1)] = 100
    d: Annotated[int, Ge(1)] = 100
    num_test: Annotated[int, Ge(1)] = 100
    index: Annotated[int, Ge(1)] = 1

    def model_post_init(self, context: object) -> None:
        del context
        if self.index >= self.n + self.num_test:
            accepted = f"should be less than the {self.n + self.num_test} inputs"
            raise InputError("index", self.index, accepted)

    @property
    def labels_from_start(self) -> bool:
        return True

    def sizes(self) -> Sizes:
        kernel = 8 * (self.n + self.num_test) ** 2
        key = "n" if self.n > self.num_test else "num_test"
        return Sizes(self.n, self.d, self.num_test, block=self.num_test, other={key: kernel})

    @in_double
    def sample(self, key: PRNGKeyArray) -> Split:
        x = jr.normal(key, (self.n + self.num_test, self.d)) / jnp.sqrt(self.d)
        return self._split(x, jnp.zeros(len(x)))

    @in_double
    def labelled(self, split: Split, kernel: Callable[[Array], Array]) -> Split:
        test = next(iter(split.test))
        x = jnp.concatenate([split.train.x, test.x])
        rows = kernel(x) - jnp.mean(kernel(x), axis=0, keepdims=True)
        vectors = jnp.linalg.eigh(rows - jnp.mean(rows, axis=1, keepdims=True))[1]
        chosen = vectors[:, -self.index]
        sign = jnp.sign(chosen[jnp.argmax(jnp.abs(chosen))])
        return self._split(x, sign * jnp.sqrt(len(x)) * chosen)

    def _split(self, x: Array, y: Array) -> Split:
        test = Samples(x[self.n :], y[self.n :])
        return Split(Samples(x[: self.n], y[: self.n]), Blocks(lambda index: test, 1))
